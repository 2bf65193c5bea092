"""Write STIX patterns with correct escaping, and read the observables out of them (STIX 2.1 section 9)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from tiforge.errors import InvalidObject, quoted


class Observable(NamedTuple):
    """One thing that a pattern looks for.

    Attributes:
        path: The object path, as `file:hashes.'SHA-256'` or `ipv4-addr:value`.
        value: The value, unescaped.
    """

    path: str
    value: str


# What follows is a part of the grammar, so that it never reads what the grammar would refuse. Each choice is
# settled by its first character: a hostile pattern costs time in proportion to its length.
_STRING: Final = r"'((?:[^'\\]|\\['\\])*)'"
_NAME: Final = r"[A-Za-z_][A-Za-z0-9_]*"
_PATH: Final = rf"[a-z_][a-z0-9_-]*:{_NAME}(?:\.(?:{_NAME}|'[^'\\]+'))*"
_BLANK: Final = r"[ \t\r\n]"
_COMPARISON: Final = rf"{_BLANK}*({_PATH}){_BLANK}*={_BLANK}*{_STRING}{_BLANK}*"
_ONE: Final = re.compile(rf"\[{_COMPARISON}\]")
_MANY: Final = re.compile(rf"\[{_COMPARISON}(?:(?:OR|AND){_BLANK}{_COMPARISON})*\]")
_EACH: Final = re.compile(_COMPARISON)
_ESCAPE: Final = re.compile(r"\\(['\\])")
_STEP: Final = re.compile(_NAME)
_STEPS: Final = re.compile(r"[^.']+(?=\.|$)|'[^']+'")
# t'…', h'…' and b'…' stand for the same text in the JSON of the object that the pattern is held against.
_LITERAL: Final = re.compile(rf"[thb]?{_STRING}")
_MEMBER: Final = re.compile(rf"[thb]?{_STRING}|[^,()\s]+")


def equals(path: str, value: str) -> str:
    r"""Write the pattern that one object path has one value.

    Args:
        path: As `file:hashes.'SHA-256'`; trusted, as it is written by the program.
        value: Any text; `\` and `'` in it are escaped.

    Returns:
        As `[ipv4-addr:value = '192.0.2.7']`.
    """
    if "\\" in value or "'" in value:
        value = _escape(value)
    return f"[{path} = '{value}']"


def observables(pattern: str) -> tuple[Observable, ...]:
    """Return what a pattern looks for: each equality that it names, each once, those of one type in order.

    The comparisons that feeds are made of are read by a regular expression; anything else goes through
    the grammar of `stix2-patterns`. A negated comparison, a range or a `LIKE` names no single value and is
    left out.

    Args:
        pattern: A STIX pattern.

    Returns:
        Path and value of each equality; those of an `IN` list one by one.

    Raises:
        InvalidObject: The pattern does not parse.
    """
    if match := _ONE.fullmatch(pattern):
        return (Observable(_normal(match[1]), _unescape(match[2])),)
    if _MANY.fullmatch(pattern):
        found = (Observable(_normal(each[1]), _unescape(each[2])) for each in _EACH.finditer(pattern))
        return tuple(dict.fromkeys(found))
    return _by_grammar(pattern)


def _normal(path: str) -> str:
    """Give a path one spelling: steps are quoted only where they hold more than letters and digits."""
    if "'" not in path:
        return path
    head, *steps = _STEPS.findall(path)
    return ".".join([head, *(_step(step.strip("'")) for step in steps)])


def _step(name: str) -> str:
    return name if _STEP.fullmatch(name) else f"'{_escape(name)}'"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


def _unescape(text: str) -> str:
    return _ESCAPE.sub(r"\1", text) if "\\" in text else text


def _by_grammar(pattern: str) -> tuple[Observable, ...]:
    from stix2patterns.exceptions import ParseException
    from stix2patterns.v21.pattern import Pattern

    try:
        comparisons = Pattern(pattern).inspect().comparisons
    except ParseException as error:
        reason = str(error)[:200]
        raise InvalidObject(f"The pattern {quoted(pattern, 120)} does not parse: {reason}.") from None
    except RecursionError:
        raise InvalidObject(
            f"The pattern {quoted(pattern, 120)} does not parse: it holds too many comparisons or parentheses."
        ) from None
    found: list[Observable] = []
    for type, tests in comparisons.items():
        for steps, operator, operand in tests:
            if operator in ("=", "=="):
                values = [operand]
            elif operator == "IN":
                values = [each[0] for each in _MEMBER.finditer(operand)]
            else:
                continue
            path = f"{type}:{_joined(steps)}"
            found.extend(Observable(path, _literal(value)) for value in values)
    return tuple(dict.fromkeys(found))


def _joined(steps: Sequence[object]) -> str:
    # The grammar's reader gives a list's index as a number, and as an object of its own where it is `[*]`.
    parts = [f".{_step(each)}" if isinstance(each, str) else _index(each) for each in steps]
    return "".join(parts).removeprefix(".")


def _index(step: object) -> str:
    return f"[{step}]" if isinstance(step, int) else "[*]"


def _literal(text: str) -> str:
    literal = _LITERAL.fullmatch(text)
    return _unescape(literal[1]) if literal else text
