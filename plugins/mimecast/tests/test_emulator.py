from __future__ import annotations

import asyncio
import io
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import tiforge_mimecast
from tiforge import Context, Transient
from tiforge.http import Client, HttpSettings, connect
from tiforge.testing import SourceContract, SourceUnderTest
from tiforge_mimecast.demo import MimecastDemo
from tiforge_mimecast.emulator import credentials, make_rows
from tiforge_mimecast.emulator.files import csv_file
from tiforge_mimecast.rows import Row, read_rows
from tiforge_mimecast.settings import MimecastSettings
from tiforge_mimecast.signing import mc_date, signature
from tiforge_mimecast.source import MimecastSource

if TYPE_CHECKING:
    from conftest import Bench

PATH = "/api/ttp/threat-intel/get-feed"
QUESTION = {"data": [{"feedType": "malware_grid"}]}


class TestContract(SourceContract):
    @pytest.fixture
    def source(self, bench: Bench) -> SourceUnderTest:
        bench.start(500)
        return SourceUnderTest(
            make=bench.source,
            least=500,
            since=bench.now - timedelta(days=3),
            boundaries=6,
            broken=lambda: bench.source(base_url="http://127.0.0.1:1"),
        )


def test_the_plugin_is_light_to_import() -> None:
    heavy = ("httpx", "pydantic", "starlette", "tiforge_mimecast.")
    code = f"import sys, tiforge_mimecast; print([name for name in sys.modules if name.startswith({heavy})])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


def test_what_the_plugin_provides() -> None:
    assert tiforge_mimecast.tiforge_api_version == 1
    assert list(tiforge_mimecast.tiforge_sources()) == [MimecastSource]
    assert [demo.name for demo in tiforge_mimecast.tiforge_demos()] == ["mimecast"]


def test_rows_follow_from_the_seed() -> None:
    end = datetime.fromisoformat("2026-01-01T00:00:00Z")
    rows = make_rows(4000, 3, end=end)
    text = csv_file(rows, 0, 4000)
    assert text == csv_file(make_rows(4000, 3, end=end), 0, 4000)
    assert text != csv_file(make_rows(4000, 4, end=end), 0, 4000)
    found = list(read_rows(io.BytesIO(text), where="x", accept_cut=lambda place, line: True))
    readable = [row for row in found if isinstance(row, Row)]
    hashes = [row.sha256 for row in readable if row.sha256]
    assert set(hashes) == set(rows.hashes())
    assert 0.2 < 1 - len(set(hashes)) / len(hashes) < 0.3
    assert 0 < len(found) - len(readable) < 40
    assert any("|" in row.name for row in readable)
    assert any(not row.sha256 and row.md5 for row in readable)
    assert any(not row.mime_type for row in readable)


def test_rows_of_given_hashes() -> None:
    given = [f"{number:064x}" for number in range(700)]
    rows = make_rows(10, hashes=given)
    found = list(
        read_rows(io.BytesIO(csv_file(rows, 0, len(rows))), where="x", accept_cut=lambda place, line: True)
    )
    assert [row.sha256 for row in found if isinstance(row, Row)] == given == list(rows.hashes())


def post(bench: Bench, path: str, **options: Any) -> tuple[int, dict[str, Any]]:
    async def go() -> tuple[int, dict[str, Any]]:
        client: Client
        async with connect(bench.url, HttpSettings()) as client:
            response = await client.post(path, **options)
            return response.status_code, response.json() if response.content[:1] == b"{" else {}

    return asyncio.run(go())


def test_the_token_endpoint_demands_its_form(bench: Bench) -> None:
    bench.start()
    good = {
        "client_id": credentials.CLIENT_ID,
        "client_secret": credentials.CLIENT_SECRET,
        "grant_type": "client_credentials",
    }
    assert post(bench, "/oauth/token", data=good)[1]["expires_in"] == 1799
    assert post(bench, "/oauth/token", json=good)[0] == 415
    for name in good:
        assert post(bench, "/oauth/token", data=good | {name: "x"})[0] in (400, 401)


def signed(bench: Bench, **changes: str) -> dict[str, str]:
    date, request_id = mc_date(bench.now), "8578fcfc-a305-4d9a-99cb-f4d5ecefe297"
    headers = {"x-mc-app-id": credentials.APP_ID, "x-mc-date": date, "x-mc-req-id": request_id, **changes}
    sign = signature(
        credentials.SECRET_KEY,
        credentials.APP_KEY,
        date=headers["x-mc-date"],
        request_id=headers["x-mc-req-id"],
        path=PATH,
    )
    return {"Authorization": f"MC {credentials.ACCESS_KEY}:{sign}", **headers}


def test_signatures_are_checked(bench: Bench) -> None:
    bench.start()
    assert post(bench, PATH, json=QUESTION, headers=signed(bench))[0] == 200
    assert post(bench, PATH, json=QUESTION, headers=signed(bench))[0] == 409, "a request id is good for once"
    for changes in (
        {"x-mc-date": mc_date(bench.now - timedelta(minutes=16))},
        {"x-mc-date": "today"},
        {"x-mc-req-id": "7"},
        {"x-mc-app-id": "other"},
    ):
        assert post(bench, PATH, json=QUESTION, headers=signed(bench, **changes))[0] in (400, 401)
    forged = signed(bench, **{"x-mc-req-id": "8578fcfc-a305-4d9a-99cb-f4d5ecefe298"}) | {
        "x-mc-date": mc_date(bench.now + timedelta(seconds=1))
    }
    assert post(bench, PATH, json=QUESTION, headers=forged)[0] == 401


@pytest.mark.parametrize(
    "body", [b"{'data': [{'feedType': 'malware_grid', 'compress': True}]}", b"{}", b'{"data":[1]}', b""]
)
def test_a_body_that_is_not_json_is_refused(bench: Bench, body: bytes) -> None:
    bench.start()
    assert post(bench, PATH, content=body, headers=signed(bench))[0] == 400


def test_the_demo(tmp_path: Path) -> None:
    async def go(settings: MimecastSettings) -> tuple[set[str], int, int]:
        found: set[str] = set()
        rows = errors = 0
        async with MimecastSource(settings, Context("demo")) as source:
            cursor = None
            while errors < 10:
                try:
                    async for page in source.pull(cursor):
                        cursor = page.cursor
                        rows += page.rows
                        for record in page.records:
                            found |= {each.value for each in record.observables}  # type: ignore[union-attr]
                    break
                except Transient:
                    errors += 1
        return found, rows, errors

    with MimecastDemo().open(tmp_path, 400) as part:
        assert part.faults is not None
        assert "500" in part.faults(True)
        found, rows, errors = asyncio.run(go(MimecastSettings.model_validate(part.settings)))
        assert rows == part.rows == 400
        assert errors == 4
        assert set(part.values()) <= found
        assert part.requests() == 12
        assert "without" in part.faults(False)


def test_the_command(tmp_path: Path) -> None:
    listed = tmp_path / "hashes"
    listed.write_text("ab" * 32 + "\n")
    command = [sys.executable, "-m", "tiforge_mimecast.emulator", "--rows", "5", "--hashes", str(listed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Mimecast emulator on http://127.0.0.1:")
        process.terminate()
        process.stdout.read()
    assert process.returncode == 0


@pytest.mark.parametrize("library", ["starlette", "uvicorn"])
def test_without_its_libraries_it_says_what_to_install(library: str) -> None:
    code = (
        "import importlib.util as util, runpy; find = util.find_spec; "
        f"util.find_spec = lambda name: None if name == {library!r} else find(name); "
        "runpy.run_module('tiforge_mimecast.emulator', run_name='__main__')"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert f"needs {library}, which is not installed. Install it with: pip" in ran.stderr
    assert "tiforge-mimecast[emulator]" in ran.stderr
    assert "Traceback" not in ran.stderr
