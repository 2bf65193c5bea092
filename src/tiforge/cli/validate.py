"""`tiforge validate`: hold files of STIX 2.1 against `stix2` and the OASIS validator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from tiforge.cli.exits import Exit
from tiforge.cli.options import Json

if TYPE_CHECKING:
    from collections.abc import Iterator


_CHUNK: Final = 256 * 1024
_LARGEST: Final = 16 * 1024 * 1024
"""The bytes of one object, at most."""
_MOST: Final = 1000
"""How many findings are listed as JSON; the others are counted."""
_LONGEST: Final = 2000
_EMPTY: Final = "the whole file"


def validate(
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="Bundles or JSON Lines.")],
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
    json: Json = False,
) -> None:
    """Validate files of STIX 2.1, object by object, with stix2 and stix2-validator."""
    from tiforge.cli import show

    findings: list[dict[str, Any]] = []
    objects = wrong = more = 0
    for file in files:
        for place, data, broken in _watched(file, machine=json):
            counts = place != _EMPTY
            objects += counts
            errors, warnings = ([broken], []) if broken else _judged(data)
            wrong += bool(errors) or (strict and bool(warnings))
            if not errors and not warnings:
                continue
            found_id = data.get("id") if isinstance(data, dict) else None
            id = found_id[:_LONGEST] if isinstance(found_id, str) else None
            errors, warnings = ([text[:_LONGEST] for text in texts] for texts in (errors, warnings))
            if json and len(findings) < _MOST:
                found = {"file": str(file), "place": place, "id": id, "errors": errors, "warnings": warnings}
                findings.append(found)
                continue
            if json:
                more += 1
                continue
            for kind, texts in (("error", errors), ("warning", warnings)):
                for text in texts:
                    show.say(f"{file}: {place}: {id or 'no id'}: {kind}: {text}")
    if json:
        show.json({"objects": objects, "invalid": wrong, "findings": findings, "more_findings": more})
    else:
        show.say(f"{objects:,} objects, {max(0, objects - wrong):,} valid, {wrong:,} not.")
    if wrong or not objects:
        raise typer.Exit(Exit.FAILED)


def _watched(file: Path, *, machine: bool) -> Iterator[tuple[str, Any, str]]:
    """Yield what `_objects` yields, with a bar on a terminal: the referees take milliseconds an object."""
    import sys

    if machine or not sys.stderr.isatty():
        yield from _objects(file)
        return
    from rich.progress import track

    from tiforge.cli.show import err, safe

    yield from track(_objects(file), description=safe(file.name), total=None, console=err(), transient=True)


def _objects(file: Path) -> Iterator[tuple[str, Any, str]]:
    """Yield the place and the data of each object, or what is broken there; one object is held at a time."""
    from tiforge.elements import Elements, Fault

    count = 0
    try:
        with file.open("rb") as text:
            for element in Elements(iter(lambda: text.read(_CHUNK), b""), _LARGEST):
                count = element.number
                yield f"object {count}", element.value, element.error
    except Fault as fault:
        yield f"after object {count}" if count else "the file", None, fault.reason
    except OSError as error:
        yield "the file", None, f"It cannot be read: {error.strerror or error}."
    else:
        if not count:
            yield _EMPTY, None, "It holds no object."


def _judged(data: Any) -> tuple[list[str], list[str]]:
    from stix2 import parse
    from stix2validator import ValidationOptions, validate_instance

    from tiforge.errors import InvalidObject
    from tiforge.stix import check

    if not isinstance(data, dict):
        return ["is no JSON object"], []
    if data.get("type") == "bundle":  # the bundles that are any stand for their objects
        return ["is a bundle whose `objects` are no list"], []
    errors: list[str] = []
    warnings: list[str] = []
    try:
        check(data)
    except InvalidObject as error:
        errors.append(str(error))
    try:
        parse(data, version="2.1", allow_custom=True)
    except Exception as error:  # noqa: BLE001 - on hostile data it raises whatever its parts raise
        errors.append(f"stix2: {error}")
    try:
        # {103} wants ids of version 4. Those derived from content are of version 5, so that the same object
        # has the same id everywhere; STIX 2.1 section 2.9 allows it.
        options = ValidationOptions(version="2.1", disabled="uuid-check")
        result = validate_instance(data, options)
        errors += [str(each) for each in result.errors or []]
        warnings += [str(each) for each in result.warnings or []]
    except Exception as error:  # noqa: BLE001 - as above
        errors.append(f"stix2-validator: {error}")
    return errors, warnings
