"""Write STIX patterns with correct escaping, and read the observables out of them (STIX 2.1 section 9)."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from tiforge.errors import InvalidObject


class Observable(NamedTuple):
    """One thing that a pattern looks for.

    Attributes:
        path: The object path, as `file:hashes.'SHA-256'` or `ipv4-addr:value`.
        value: The value, unescaped.
    """

    path: str
    value: str


_STRING: Final = r"'((?:[^'\\]|\\.)*)'"
_PATH: Final = r"[a-z0-9-]+:[A-Za-z0-9_]+(?:\.(?:[A-Za-z0-9_]+|'[^'\\]+'))*"
_COMPARISON: Final = rf"\s*({_PATH})\s*=\s*{_STRING}\s*"
_ONE: Final = re.compile(rf"\[{_COMPARISON}\]", re.DOTALL)
_MANY: Final = re.compile(rf"\[{_COMPARISON}(?:\s(?:OR|AND)\s{_COMPARISON})*\]", re.DOTALL)
_EACH: Final = re.compile(_COMPARISON, re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)


def equals(path: str, value: str) -> str:
    r"""Write the pattern that one object path has one value.

    Args:
        path: As `file:hashes.'SHA-256'`; trusted, as it is written by the program.
        value: Any text; `\` and `'` in it are escaped.

    Returns:
        As `[ipv4-addr:value = '192.0.2.7']`.
    """
    if "\\" in value or "'" in value:
        value = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"[{path} = '{value}']"


def observables(pattern: str) -> tuple[Observable, ...]:
    """Return what a pattern looks for: each equality that it names, in order, each once.

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
    head, *steps = re.findall(r"[^.']+(?=\.|$)|'[^']+'", path)
    return ".".join([head, *(_step(step.strip("'")) for step in steps)])


def _step(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_]+", name) else f"'{name}'"


def _unescape(text: str) -> str:
    return _ESCAPE.sub(r"\1", text) if "\\" in text else text


def _by_grammar(pattern: str) -> tuple[Observable, ...]:
    from stix2patterns.exceptions import ParseException
    from stix2patterns.v21.pattern import Pattern

    try:
        comparisons = Pattern(pattern).inspect().comparisons
    except ParseException as error:
        raise InvalidObject(f"The pattern {pattern!r:.120} does not parse: {error}.") from None
    found: list[Observable] = []
    for type, tests in comparisons.items():
        for steps, operator, operand in tests:
            path = f"{type}:" + ".".join(_step(str(step)) for step in steps)
            if operator == "=":
                values = [operand]
            elif operator == "IN":
                values = list(operand) if not isinstance(operand, str) else _members(operand)
            else:
                continue
            found.extend(Observable(path, _literal(str(value))) for value in values)
    return tuple(dict.fromkeys(found))


def _members(operand: str) -> list[str]:
    return re.findall(rf"{_STRING}|[^,()\s]+", operand)


def _literal(text: str) -> str:
    quoted = re.fullmatch(_STRING, text, re.DOTALL)
    return _unescape(quoted[1]) if quoted else text
