"""Errors: what they say, and that foreign values in them are safe to print."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiforge import errors
from tiforge.errors import TiforgeError, Transient, quoted

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_is_a_sentence_and_a_hint(kind: type[TiforgeError]) -> None:
    """Its text is the message, then what to do; both can be had apart."""
    error = kind("It broke.", hint="Mend it.")
    assert str(error) == "It broke. Mend it."
    assert (error.message, error.hint) == ("It broke.", "Mend it.")
    assert str(kind("It broke.")) == "It broke."
    assert isinstance(error, TiforgeError)


@pytest.mark.parametrize("kind", KINDS)
def test_the_tree_in_the_docstring_is_whole(kind: type[TiforgeError]) -> None:
    """Every error stands in the module's tree."""
    assert kind.__name__ in (errors.__doc__ or "")


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_crosses_processes(kind: type[TiforgeError]) -> None:
    """An error raised in a worker arrives with its text."""
    error = pickle.loads(pickle.dumps(kind("It broke.", hint="Mend it.")))
    assert str(error) == "It broke. Mend it."


def test_a_transient_error_says_when() -> None:
    """The wait that an API asks for travels with the error; without one the engine chooses."""
    assert Transient("x", retry_after=30).retry_after == 30
    assert Transient("x").retry_after is None


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(ANYTHING)
def test_a_foreign_value_is_shown_safely(value: object) -> None:
    """Whatever it is, it is one short line of text that any terminal and file takes."""
    shown = quoted(value)
    assert len(shown) <= 700  # sixty characters, each escaped
    assert shown.encode("utf-8").isascii() or shown.isprintable()
    assert "\n" not in shown


def test_long_text_is_cut() -> None:
    """Text beyond the limit ends in an ellipsis."""
    assert quoted("a" * 61) == "'" + "a" * 60 + "'…"
    assert quoted("a" * 60) == "'" + "a" * 60 + "'"
    assert quoted("\x1b[31m") == "'\\x1b[31m'"


def test_what_has_no_short_form_is_named_by_kind() -> None:
    """A list, a huge number or an object of any class is told by what it is."""
    nested: list[object] = []
    for _ in range(5_000):
        nested = [nested]
    assert quoted(nested) == "of type list"
    assert quoted(10**5_000) == "a number beyond 64 bits"
    assert quoted(2**64 - 1) == str(2**64 - 1)
