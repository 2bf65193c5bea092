"""No secret in any output, file or table: every command, every fault, at --debug, against servers that echo."""

from __future__ import annotations

import json
import re
import sqlite3
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.shell import Shell, interrupt, line_with
from tiforge.secrets import REDACTED
from tiforge.testing.serving import serving
from tiforge_mimecast.emulator import Emulator, Fault, credentials, make_rows

MARKED = {
    "CLIENT_SECRET": 'marked client/secret+with "quotes" & \\slashes é-0123456789',
    "APP_KEY": "marked/app+key=0123456789-abcdefghij",
    "ACCESS_KEY": "marked.access/key+0123456789-abcdefghij",
    "SECRET_KEY": b64encode(b"marked secret key 0123456789 ?>?>").decode(),
    "PASSWORD": 'marked"pass\\word of é & 0123456789',
}
STORE_PASSWORD = "marked store/password@0123456789"
PROXY_PASSWORD = "marked proxy/password@0123456789"
ISSUED = ("emulator-access-token-", "emulator-only-renewed-")

V2 = """
api = "2.0"
client_id = "emulator-client-id"
client_secret = { env = "CLIENT_SECRET" }
"""
V1 = """
api = "1.0"
app_id = "emulator-app-id"
app_key = { env = "APP_KEY" }
access_key = { env = "ACCESS_KEY" }
secret_key = { env = "SECRET_KEY" }
"""
LOGIN = """
email = "service@example.com"
password = { env = "PASSWORD" }
"""

LOOKS = [
    ["check", "--debug"],
    ["check", "--json", "--debug"],
    ["status", "--debug"],
    ["status", "--json"],
    ["log", "show", "--debug"],
    ["log", "count", "--debug"],
    ["log", "export", "--debug"],
    ["deadletter", "list", "--debug"],
    ["deadletter", "list", "--json"],
    ["deadletter", "retry", "files", "--debug"],
    ["replay", "files", "--from", "start", "--debug"],
    ["backfill", "feed", "--since", "1d", "--debug"],
    ["plugins", "list"],
    ["config", "schema"],
]


def forms(secret: str) -> set[str]:
    """Return the ways in which a secret may stand in a text."""
    raw = secret.encode()
    found = {secret, quote(secret), quote(secret, safe=""), quote_plus(secret), repr(secret)[1:-1]}
    found |= {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(raw)[2:-1]}
    found |= {secret.encode().decode("latin-1")}
    for shift in range(3):  # within something longer, as `user:password`
        encoded = b64encode(b"\0" * shift + raw).decode().rstrip("=")
        found.add(encoded[0 if shift == 0 else shift + 1 : -1])
    return found


class Everything:
    """All that tiforge gave away."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        self.seen: list[tuple[str, str]] = []

    def run(self, *arguments: object, typed: str = "") -> None:
        done = self.shell.run(*arguments, typed=typed)
        self.seen += [(f"stdout of {arguments}", done.out), (f"stderr of {arguments}", done.err)]

    def files(self) -> Iterator[tuple[str, str]]:
        for path in sorted(self.shell.folder.rglob("*")):
            if path.is_file() and path.name != ".env":
                yield str(path), path.read_bytes().decode("utf-8", "replace")
        for path in self.shell.folder.glob("*.db"):
            with sqlite3.connect(path) as store:
                yield f"tables of {path}", "\n".join(store.iterdump())

    def check(self, *secrets: str) -> None:
        """Look for each secret in each form, everywhere."""
        seen = [*self.seen, *self.files()]
        assert any(text for place, text in seen if place.startswith("stderr"))
        for place, text in seen:
            for secret in secrets:
                for form in forms(secret):
                    assert form not in text, f"{form!r} in {place}: {around(text, form)}"
            for issued in ISSUED:
                assert issued not in text, f"{issued!r} in {place}: {around(text, issued)}"


def around(text: str, form: str) -> str:
    at = text.find(form)
    return text[max(0, at - 200) : at + 100]


@pytest.fixture(autouse=True)
def marked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the emulator take credentials that are hard to write."""
    for name, value in MARKED.items():
        monkeypatch.setattr(credentials, name, value)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A folder whose `.env` holds the secrets."""
    from dotenv import set_key

    for name, value in MARKED.items():
        set_key(tmp_path / ".env", name, value)
    return Shell(tmp_path)


@pytest.fixture
def everything(shell: Shell) -> Everything:
    """What is given away."""
    return Everything(shell)


def write(shell: Shell, url: str, account: str, *, top: str = "") -> None:
    shell.write(
        f'{top}\n[retry]\nattempts = 3\nwait_initial = "1ms"\nwait_max = "300ms"\n'
        f'[sources.feed]\ntype = "mimecast"\nbase_url = "{url}"\n{account}\n\n'
        '[sources.feed.http]\nread_timeout = "500ms"\n'
        '[sinks.files]\ntype = "stix_file"\npath = "out"\n'
    )


FAULTS = [
    [Fault.RATE_LIMITED, Fault.RATE_LIMITED_BARE, Fault.SERVER_ERROR, Fault.CUT_SHORT, Fault.NONE],
    [Fault.EXPIRED_TOKEN, Fault.KEY_EXPIRED, Fault.CUT_CSV, Fault.FORBIDDEN],
    [Fault.SLOW, Fault.SLOW, Fault.SLOW],
    [Fault.ZIP_BOMB],
    [Fault.EVIL_MEMBER, Fault.BARE_JSON],
    [Fault.HTML, Fault.HTML, Fault.HTML],
    [Fault.FAIL_IN_200],
    [Fault.NONE, Fault.KEY_EXPIRED, Fault.KEY_EXPIRED, Fault.KEY_EXPIRED],
]


@pytest.mark.parametrize("account", [V2, V1 + LOGIN], ids=["2.0", "1.0"])
def test_every_command_and_every_fault(account: str, shell: Shell, everything: Everything) -> None:
    """Good runs, each fault of the emulator, the daemon, and all that there is to look at afterwards."""
    assert {fault for faults in FAULTS for fault in faults} == set(Fault)
    emulator = Emulator(make_rows(60), page_size=10)
    with serving(emulator.app) as url:
        write(shell, url, account)
        everything.run("run", "--debug")
        for faults in FAULTS:
            emulator.clear_faults()
            emulator.inject(*faults)
            everything.run("backfill", "feed", "--since", "7d", "--debug")
        emulator.clear_faults()
        for command in LOOKS:
            everything.run(*command)
        emulator.inject(Fault.SERVER_ERROR, Fault.EXPIRED_TOKEN, Fault.KEY_EXPIRED)
        write(shell, url, account, top='[store]\nurl = "sqlite:///another.db"')  # where nothing waits
        daemon = shell.start("serve", "--debug")
        assert daemon.stderr is not None
        line = line_with(daemon.stderr, '"finished"', "finished")
        done = interrupt(daemon)
        everything.seen += [("stdout of serve", done.out), ("stderr of serve", line + done.err)]
    assert emulator.token_requests + emulator.logins > 1
    everything.check(*MARKED.values())


@pytest.mark.parametrize("account", [V2, V1, V1 + LOGIN], ids=["2.0", "1.0", "1.0 with a login"])
def test_refused_credentials(
    account: str, shell: Shell, everything: Everything, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The errors say which settings to look at, not what is in them."""
    for name in MARKED:
        monkeypatch.setattr(credentials, name, b64encode(name.encode() * 3).decode())
    emulator = Emulator(make_rows(10))
    if "password" in account:
        monkeypatch.setattr(credentials, "APP_KEY", MARKED["APP_KEY"])
        emulator.bindings._secrets = {MARKED["ACCESS_KEY"]: MARKED["SECRET_KEY"]}
        emulator.inject(Fault.KEY_EXPIRED)
    with serving(emulator.app) as url:
        write(shell, url, account)
        for command in (["run", "--debug"], ["run", "--json"], ["check", "--debug"], ["status", "--json"]):
            everything.run(*command)
    everything.check(*MARKED.values())
    assert "refused" in str(everything.seen) or "Check `" in str(everything.seen)


def echo(status: int, kind: str) -> ASGIApp:
    """A server that answers with what it was asked, headers and body, as a careless gateway does."""

    async def answer(request: Request) -> Response:
        # What is most worth stealing comes first: a long text is cut.
        headers = sorted(request.headers.items(), key=lambda header: "authorization" not in header[0])
        told = "".join(f"{name}: {value}\n" for name, value in headers)
        body = (await request.body()).decode("utf-8", "replace")
        told = f"{told}{body}" if "authorization" in told else f"{body}{told}"
        if kind == "json":
            fail = [{"code": told, "message": told, "errors": [{"code": "err", "message": told}]}]
            return Response(
                json.dumps({"fail": fail, "meta": {"status": status}}), status, media_type="application/json"
            )
        back = {
            "x-echo": re.sub(r"[^ -~]", " ", told).strip(),
            "location": "https://x.example/" + quote(told)[:2000],
        }
        return Response(told, status, back, media_type=f"text/{kind}")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        # Without routes: a proxy is asked for whole addresses.
        await (await answer(Request(scope, receive)))(scope, receive, send)

    return app


@pytest.mark.parametrize("status", [200, 302, 400, 401, 404, 418, 500])
def test_a_server_that_echoes(status: int, shell: Shell, everything: Everything) -> None:
    """Whatever comes back is redacted before it is shown, logged or stored."""
    for kind in ("json", "html", "plain"):
        with serving(echo(status, kind)) as url:
            for account in (V2, V1 + LOGIN):
                write(shell, url, account)
                everything.run("run", "--now", "--debug")
    everything.run("check", "--debug")
    everything.run("status", "--debug")
    everything.check(*MARKED.values())
    assert status in (200, 302) or REDACTED in str(everything.seen)


def test_a_proxy_that_echoes(shell: Shell, everything: Everything) -> None:
    """Its password is kept out too: the address that is written, the header that is sent."""
    account = quote(PROXY_PASSWORD, safe="")
    with serving(echo(407, "plain")) as proxy:
        address = proxy.replace("http://", f"http://me:{account}@")
        for target in ("https://api.example.com", "http://127.0.0.1:9"):
            write(shell, target, V2)
            text = shell.config.read_text(encoding="utf-8")
            shell.write(text.replace("read_timeout", 'proxy = { env = "PROXY" }\nread_timeout'))
            for value in (address, address.replace("http", "nonsense", 1), address.rsplit(":", 1)[0] + ":9"):
                shell.environment["PROXY"] = value
                everything.run("check", "--debug")
                everything.run("run", "--now", "--debug")
    everything.check(*MARKED.values(), PROXY_PASSWORD, account)
    assert REDACTED in str(everything.seen)


@pytest.mark.postgresql
def test_the_stores_password(postgresql_url: str, shell: Shell, everything: Everything) -> None:
    """Of a database that works, and of one that cannot be reached."""
    import psycopg

    account = quote(STORE_PASSWORD, safe="")
    url = re.sub(r"^postgresql://([^:@/]*):?[^@/]*@", rf"postgresql://\1:{account}@", postgresql_url)
    assert account in url
    emulator = Emulator(make_rows(20))
    with serving(emulator.app) as feed:
        write(shell, feed, V2, top='[store]\nurl = { env = "STORE" }')
        shell.environment["STORE"] = url
        everything.run("run", "--debug")
        for command in LOOKS:
            everything.run(*command)
        for broken in (
            f"postgresql://me:{account}@127.0.0.1:9/db",
            f"postgresql://me:{account}@127.0.0.1:port/db",
            f"mysql://me:{account}@127.0.0.1/db",
            f"postgresql://me:{STORE_PASSWORD}",
        ):
            shell.environment["STORE"] = broken
            everything.run("status", "--debug")
            everything.run("status", "--json", "--debug")
    with psycopg.connect(postgresql_url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        assert len(tables) > 4
        for (table,) in tables:
            rows: list[Any] = connection.execute(f'SELECT t::text FROM "{table}" t').fetchall()
            everything.seen.append((f"table {table}", "\n".join(row[0] for row in rows)))
    everything.check(*MARKED.values(), STORE_PASSWORD, account)


def test_a_secret_that_is_written_into_the_config(shell: Shell, everything: Everything) -> None:
    """Even there, and where the table it stands in is wrong."""
    secret = "marked-in-the-config-0123456789"
    for table in (
        f'client_secret = "{secret}"\ncolour = "{secret}"\n',
        f'client_id = 5\nclient_secret = ["{secret}"]\n',
        f'client_id = "x"\nclient_secret = "{secret}"\ntlp = "{secret}"\nschedule = "{secret}"\n',
        f'client_id = "x"\nclient_secret = "{secret}"\nfeeds = ["{secret}"]\nlag = "{secret}"\n',
        f'client_id = "x"\nclient_secret = "{secret}"\nbase_url = "https://me:{secret}@example.com"\n',
        f'client_id = "x"\nclient_secret = {{ env = "{secret}" }}\nregion = "{secret}"\n',
    ):
        shell.write(f'[sources.feed]\ntype = "mimecast"\n{table}')
        for command in (["check", "--debug"], ["run", "--json", "--debug"]):
            everything.run(*command)
    shell.config.unlink()
    (shell.folder / "some.toml").write_text(f'client_secret = "{secret}\n', encoding="utf-8")
    everything.run("check", "--config", "some.toml")
    (shell.folder / "some.toml").unlink()
    for place, text in everything.seen:
        if "NOT_SET" not in text and "is not set; export it" not in text:
            assert secret not in text, place
