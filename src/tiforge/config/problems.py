"""What is wrong with a config: all of it at once, each with its line and what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tiforge.config.layers import Gathered
from tiforge.errors import ConfigurationError
from tiforge.secrets import redact


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        where: The file, or the environment variable.
        line: The line in the file, from 1, where the key or its table stands there.
        key: As `sources.mimecast-eu.region`.
        message: What is wrong, and what to write instead.
    """

    where: str
    line: int | None
    key: str
    message: str

    def __str__(self) -> str:
        place = self.where if self.line is None else f"{self.where}:{self.line}"
        return f"{place}: {self.key}: {self.message}"


class ConfigProblems(ConfigurationError):
    """Everything that is wrong with a config.

    Args:
        problems: At least one.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = sorted(problems, key=lambda each: (each.where, each.line or 0, each.key))
        super().__init__("\n".join(str(each) for each in self.problems))

    def as_data(self) -> list[dict[str, object]]:
        """Return the problems as JSON data."""
        return [asdict(each) for each in self.problems]


def problem(gathered: Gathered, path: tuple[str, ...], message: str) -> Problem:
    """Make a problem at a key: on its line, or on that of the nearest table above it."""
    key = ".".join(path)
    above = [path[:end] for end in range(len(path), 0, -1)]
    variable = next((gathered.origins[each] for each in above if each in gathered.origins), None)
    line = next((gathered.lines[each] for each in above if each in gathered.lines), None)
    if variable is None and path not in gathered.lines:
        # A table that nothing but variables make up.
        variable = next((name for each, name in gathered.origins.items() if each[: len(path)] == path), None)
    if variable is not None:
        return Problem(f"environment variable {variable}", None, key, redact(message))
    return Problem(str(gathered.file), line, key, redact(message))


def problems_of(
    error: ValidationError, model: type[BaseModel], gathered: Gathered, above: tuple[str, ...] = ()
) -> Iterable[Problem]:
    """Turn pydantic's errors into problems.

    Args:
        error: What pydantic raised.
        model: The model that refused, for the keys that it has.
        gathered: What was read.
        above: The path of the table that the model stands for.
    """
    for detail in error.errors(include_url=False):
        steps = _keys(detail, _at(gathered.merged, above))
        message = _message(detail, model, steps).replace("{key}", ".".join((*above, *steps)))
        yield problem(gathered, (*above, *steps), message)


def _at(data: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        data = data.get(step) if isinstance(data, Mapping) else None
    return data


def _keys(detail: ErrorDetails, data: Any) -> tuple[str, ...]:
    """Drop the steps that pydantic adds for places in lists and members of unions, which are no keys."""
    kept: list[str] = []
    *above, last = detail["loc"] or ("",)
    for step in above:
        if isinstance(data, Mapping) and step in data:
            kept.append(str(step))
            data = data[step]
        elif isinstance(data, list | tuple) and isinstance(step, int):
            data = data[step] if step < len(data) else None
    if isinstance(data, Mapping) and (last in data or detail["type"] == "missing"):
        kept.append(str(last))
    return tuple(kept)


_WRITE: Final = {
    "bool_type": "write true or false",
    "bool_parsing": "write true or false",
    "int_type": "write a whole number, as 5",
    "int_parsing": "write a whole number, as 5",
    "int_from_float": "write a whole number, as 5",
    "float_type": "write a number, as 0.5",
    "float_parsing": "write a number, as 0.5",
    "string_type": 'write text in quotes, as "…"',
    "string_too_short": "must not be empty",
    "tuple_type": 'write a list, as ["…"]',
    "list_type": 'write a list, as ["…"]',
    "set_type": 'write a list, as ["…"]',
    "frozen_set_type": 'write a list, as ["…"]',
    "dict_type": "write a table: a header [{key}] of its own, with its keys below",
    "model_type": "write a table: a header [{key}] of its own, with its keys below",
    "path_type": 'write a path in quotes, as "out/"',
    "byte_size": 'write a size, as 65536, "16MiB" or "1GB"',
    "byte_size_unit": 'write a size, as 65536, "16MiB" or "1GB"',
    "time_delta_type": "write a duration in quotes, as 90s, 15m, 12h or 30d",
    "time_delta_parsing": "write a duration in quotes, as 90s, 15m, 12h or 30d",
    "literal_error": "write {expected}",
    "enum": "write {expected}",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "string_pattern_mismatch": "does not match the pattern {pattern}",
}
"""What to write, by the type of pydantic's error. The value that was given is never shown: it may be a secret."""


def _message(detail: ErrorDetails, model: type[BaseModel], steps: tuple[str, ...]) -> str:
    kind = detail["type"]
    if kind == "extra_forbidden":
        return f"there is no such key{closest(steps[-1], _fields(model, steps[:-1]))}"
    if kind == "missing":
        return "is missing; it has no default"
    message = detail["msg"].removeprefix("Value error, ")
    if kind == "value_error":
        return message
    if kind in _WRITE:
        return _WRITE[kind].format_map({**detail.get("ctx", {}), "key": "{key}"})
    return message[:1].lower() + message[1:]


def _fields(model: type[BaseModel], steps: tuple[str, ...]) -> list[str]:
    for step in steps:
        field = model.model_fields.get(step)
        inner = _model_in(field.annotation) if field else None
        if inner is None:
            return []
        model = inner
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model that a table or a list of tables is checked by."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_in(each) for each in get_args(annotation))
    return next((each for each in found if each is not None), None)


def closest(name: str, names: Iterable[str]) -> str:
    """Return `; did you mean …?`, or the names there are."""
    known = sorted(names)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if near:
        return f"; did you mean `{near[0]}`?"
    return f"; there are: {', '.join(known)}" if known else ""
