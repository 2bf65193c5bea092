"""`tiforge validate`: hold files of STIX 2.1 against `stix2` and the OASIS validator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tiforge.cli.exits import Exit
from tiforge.cli.options import Json

if TYPE_CHECKING:
    from collections.abc import Iterator


def validate(
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="Bundles or JSON Lines.")],
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
    json: Json = False,
) -> None:
    """Validate files of STIX 2.1, object by object, with stix2 and stix2-validator."""
    from tiforge.cli import show

    findings: list[dict[str, Any]] = []
    objects = wrong = 0
    for file in files:
        for place, data, broken in _watched(file, machine=json):
            objects += 1
            errors, warnings = ([broken], []) if broken else _judged(data)
            wrong += bool(errors) or (strict and bool(warnings))
            if not errors and not warnings:
                continue
            id = data.get("id") if isinstance(data, dict) else None
            if json:
                found = {"file": str(file), "place": place, "id": id, "errors": errors, "warnings": warnings}
                findings.append(found)
                continue
            for kind, texts in (("error", errors), ("warning", warnings)):
                for text in texts:
                    show.say(f"{file}: {place}: {id or 'no id'}: {kind}: {text}")
    if json:
        show.json({"objects": objects, "invalid": wrong, "findings": findings})
    else:
        show.say(f"{objects:,} objects, {objects - wrong:,} valid, {wrong:,} not.")
    if wrong or not objects:
        raise typer.Exit(Exit.FAILED)


def _watched(file: Path, *, machine: bool) -> Iterator[tuple[str, Any, str | None]]:
    """Yield what `_objects` yields, with a bar on a terminal: the referees take milliseconds an object."""
    import sys

    if machine or not sys.stderr.isatty():
        yield from _objects(file)
        return
    from rich.progress import track

    from tiforge.cli.show import err, safe

    found = list(_objects(file))
    yield from track(found, description=safe(file.name), console=err(), transient=True)


def _objects(file: Path) -> Iterator[tuple[str, Any, str | None]]:
    """Yield the place and the data of each object, or what is broken there."""
    import orjson

    try:
        document = orjson.loads(file.read_bytes())
    except orjson.JSONDecodeError as error:
        lines = file.read_bytes().splitlines()
        if len(lines) < 2:
            yield "the file", None, f"is no JSON: {error}"
            return
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                yield f"line {number}", orjson.loads(line), None
            except orjson.JSONDecodeError as wrong:
                yield f"line {number}", None, f"is no JSON: {wrong}"
        return
    if isinstance(document, dict) and document.get("type") == "bundle":
        for number, each in enumerate(document.get("objects", [])):
            yield f"objects[{number}]", each, None
    elif isinstance(document, list):
        for number, each in enumerate(document):
            yield f"[{number}]", each, None
    else:
        yield "the file", document, None


def _judged(data: Any) -> tuple[list[str], list[str]]:
    import stix2.exceptions
    from stix2 import parse
    from stix2validator import ValidationError, ValidationOptions, validate_instance

    from tiforge.errors import InvalidObject
    from tiforge.stix import check

    if not isinstance(data, dict):
        return ["is no JSON object"], []
    errors: list[str] = []
    warnings: list[str] = []
    try:
        check(data)
    except InvalidObject as error:
        errors.append(str(error))
    try:
        parse(data, version="2.1", allow_custom=True)
    except (stix2.exceptions.STIXError, ValueError, TypeError, KeyError) as error:
        errors.append(f"stix2: {error}")
    try:
        # {103} wants ids of version 4. Those derived from content are of version 5, so that the same object
        # has the same id everywhere; STIX 2.1 section 2.9 allows it.
        options = ValidationOptions(version="2.1", disabled="uuid-check")
        result = validate_instance(data, options)
        errors += [str(each) for each in result.errors or []]
        warnings += [str(each) for each in result.warnings or []]
    except (ValidationError, ValueError, TypeError, KeyError) as error:
        errors.append(f"stix2-validator: {error}")
    return errors, warnings
