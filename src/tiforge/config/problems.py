"""What is wrong with a config: all of it at once, each with its line and what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

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
    if path in gathered.origins:
        return Problem(f"environment variable {gathered.origins[path]}", None, key, redact(message))
    above = next((path[:end] for end in range(len(path), 0, -1) if path[:end] in gathered.lines), ())
    return Problem(str(gathered.file), gathered.lines.get(above), key, redact(message))


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
        steps = tuple(str(step) for step in detail["loc"])
        yield problem(gathered, _known((*above, *steps), above, gathered), _message(detail, model, steps))


def _known(path: tuple[str, ...], above: tuple[str, ...], gathered: Gathered) -> tuple[str, ...]:
    """Drop the steps that pydantic adds for members of unions and lists, which no key of the file has."""
    if path in gathered.lines or path in gathered.origins:
        return path
    kept = [step for at, step in enumerate(path) if at < len(above) or step.replace("_", "").isalnum()]
    return tuple(step for step in kept if not step.isdigit())


def _message(detail: ErrorDetails, model: type[BaseModel], steps: tuple[str, ...]) -> str:
    kind = detail["type"]
    if kind == "extra_forbidden":
        names = _fields(model, steps[:-1])
        return f"there is no such key{closest(steps[-1], names)}"
    if kind == "missing":
        return "is missing; it has no default"
    message = detail["msg"].removeprefix("Value error, ")
    if kind == "value_error":
        return message
    given = detail["input"]
    shown = "" if isinstance(given, dict | list | tuple) else f", not {type(given).__name__}"
    return message[:1].lower() + message[1:] + shown


def _fields(model: type[BaseModel], steps: tuple[str, ...]) -> list[str]:
    for step in steps:
        field = model.model_fields.get(step)
        inner = field.annotation if field else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        model = inner
    return list(model.model_fields)


def closest(name: str, names: Iterable[str]) -> str:
    """Return `; did you mean …?`, or the names there are."""
    known = sorted(names)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if near:
        return f"; did you mean `{near[0]}`?"
    return f"; there are: {', '.join(known)}" if known else ""
