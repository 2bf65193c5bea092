"""What a plugin author imports: all of it there, and nothing heavy loaded before it is used."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib import import_module

import pytest

import tiforge
import tiforge.testing

HEAVY = (
    "pydantic",
    "httpx",
    "sqlalchemy",
    "stix2",
    "stix2patterns",
    "stix2validator",
    "orjson",
    "typer",
    "pytest",
)


def loaded_by(statement: str) -> set[str]:
    """Run a statement in a fresh interpreter and return the names of all modules that it loaded."""
    code = f"import sys; before = set(sys.modules); {statement}; print(*set(sys.modules) - before, sep='\\n')"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("name", tiforge.__all__)
def test_each_public_name_is_there(name: str) -> None:
    """Every name of `__all__` can be had from the package, and is listed by `dir`."""
    assert getattr(tiforge, name) is not None
    assert name in dir(tiforge)


def test_the_map_of_homes_is_whole() -> None:
    """Each public name comes from exactly one module, and no other name is mapped."""
    mapped = [name for names in tiforge._HOME.values() for name in names]
    assert sorted([*mapped, "API_VERSION", "hookimpl"]) == sorted(tiforge.__all__)
    for module, names in tiforge._HOME.items():
        for name in names:
            assert getattr(tiforge, name) is getattr(import_module(f"tiforge.{module}"), name)


def test_type_checkers_see_the_same_names() -> None:
    """What is imported for type checkers alone is what the map gives at run time."""
    source = inspect.getsource(tiforge)
    typed = source[source.index("if TYPE_CHECKING:") : source.index("__version__")]
    for module, names in tiforge._HOME.items():
        assert f"from tiforge.{module} import" in typed
        for name in names:
            assert name in typed


@pytest.mark.parametrize("name", ["nothing", "errors_", "__path", "Sources"])
def test_other_names_are_not_there(name: str) -> None:
    """A misspelled name is an AttributeError that says which."""
    with pytest.raises(AttributeError, match=name):
        getattr(tiforge, name)
    with pytest.raises(AttributeError, match=name):
        getattr(tiforge.testing, name)


def test_importing_tiforge_loads_nothing_heavy() -> None:
    """A plugin's entry point imports `tiforge`; the start of every command pays for what that loads."""
    loaded = loaded_by("import tiforge")
    assert "tiforge.hookspecs" in loaded
    assert not loaded.intersection(HEAVY)


@pytest.mark.parametrize("name", ["InvalidObject", "Transient"])
def test_errors_load_nothing_heavy(name: str) -> None:
    """The errors are there without the models."""
    assert not loaded_by(f"from tiforge import {name}").intersection(HEAVY)


def test_records_do_not_load_the_referees() -> None:
    """The hot path needs neither `stix2` nor `pydantic`."""
    loaded = loaded_by("from tiforge import Record; import tiforge.stix")
    assert not loaded.intersection({"pydantic", "httpx", "sqlalchemy", "stix2", "stix2patterns", "stix2validator"})


def test_an_emulator_needs_no_pytest() -> None:
    """`tiforge demo` serves emulators in production environments."""
    loaded = loaded_by("import tiforge.testing.serving")
    assert not loaded.intersection({"pytest", "pydantic", "hypothesis"})


def test_the_pytest_plugin_is_light() -> None:
    """Every pytest run of a plugin author's project loads it, used or not."""
    loaded = loaded_by("import tiforge.testing.pytest_plugin")
    assert not loaded.intersection({"pydantic", "httpx", "stix2", "orjson", "tiforge.record"})


@pytest.mark.parametrize("name", tiforge.testing.__all__)
def test_the_contract_kit_is_there(name: str) -> None:
    """Each name of `tiforge.testing` resolves."""
    assert getattr(tiforge.testing, name).__doc__


@pytest.mark.parametrize("name", [name for name in tiforge.__all__ if inspect.isclass(getattr(tiforge, name))])
def test_each_public_class_says_what_it_is(name: str) -> None:
    """The reference is made of the docstrings."""
    assert inspect.getdoc(getattr(tiforge, name))
