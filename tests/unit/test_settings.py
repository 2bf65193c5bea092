"""Settings: the types that plugins build their models of, and what they say to a wrong value."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tiforge import Duration, LocalPath, Settings, Size, TlpLevel
from tiforge.secrets import Secret
from tiforge.settings import When, parse_duration, relative_to
from tiforge.stix import TLP


class Sample(Settings):
    wait: Duration = timedelta(seconds=1)
    size: Size = 1  # type: ignore[assignment]
    level: TlpLevel = TLP.RED
    when: When | None = None
    path: LocalPath = Path("a")
    secret: Secret = "value-of-the-secret"  # type: ignore[assignment]


def refusal(**values: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        Sample.model_validate(values)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90), ("15m", 900), ("12h", 43_200), ("30d", 2_592_000), ("2w", 1_209_600), ("1h30m", 5_400),
        ("1h 30m", 5_400), (" 10 s ", 10), ("250ms", 0.25), ("1.5h", 5_400), ("0s", 0), ("PT15M", 900),
        ("P1D", 86_400),
    ],
)  # fmt: skip
def test_durations_as_people_write_them(text: str, seconds: float) -> None:
    """A duration is numbers with units, or ISO 8601's form."""
    assert Sample(wait=text).wait == timedelta(seconds=seconds)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["", "15", "m", "15 minutes", "15M", "-5m", "1h-30m", "fast", "1..5h", "15m!", "½h", "9" * 400 + "w"]
)
def test_what_is_no_duration_is_told_what_to_write(text: str) -> None:
    """The message shows how a duration is written, or why the number is too large."""
    with pytest.raises(ValueError, match=r"write it as 90s, 15m|longer than the calendar"):
        parse_duration(text)


@pytest.mark.parametrize("value", [15, 1.5, 0])
def test_a_bare_number_has_no_unit(value: object) -> None:
    """A number alone is refused rather than taken for seconds."""
    assert "has no unit" in refusal(wait=value)


@pytest.mark.parametrize("value", ["-P1D", "-PT5M", timedelta(seconds=-1)])
def test_a_duration_is_not_negative(value: object) -> None:
    """A wait that ends before it begins is refused."""
    assert "not negative" in refusal(wait=value)


@given(st.text())
def test_no_text_raises_anything_else(text: str) -> None:
    """Whatever the text, it is a duration or a ValueError."""
    try:
        duration = parse_duration(text)
    except ValueError:
        return
    assert duration >= timedelta(0)


@given(st.integers(0, 10**6), st.sampled_from("smhd"))
def test_units_are_what_they_say(number: int, unit: str) -> None:
    """A number and a unit are that many of the unit."""
    word = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}[unit]
    assert parse_duration(f"{number}{unit}") == timedelta(**{word: number})


@pytest.mark.parametrize(
    ("text", "size"), [("65536", 65_536), ("16MiB", 2**24), ("1GB", 10**9), (1, 1), ("1 kb", 1000)]
)
def test_sizes_as_people_write_them(text: object, size: int) -> None:
    """A size is bytes, with decimal or binary units."""
    assert Sample(size=text).size == size  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "big", "0", 0, -1, "16 MiBs", None, []])
def test_what_is_no_size_is_refused(text: object) -> None:
    """Nothing, less than nothing and words are no sizes."""
    assert "size" in refusal(size=text)


@pytest.mark.parametrize(
    ("text", "level"), [("red", TLP.RED), ("TLP:AMBER+STRICT", TLP.AMBER_STRICT), ("white", TLP.CLEAR)]
)
def test_levels_by_name(text: str, level: TLP) -> None:
    """A level is written by its name."""
    assert Sample(level=text).level is level  # type: ignore[arg-type]


def test_an_unknown_level_is_told_the_known_ones() -> None:
    """The message lists the five levels."""
    assert "clear, green, amber, amber+strict, red" in refusal(level="purple")


def test_a_schedule_that_is_none_says_so() -> None:
    """The schedule's own message arrives."""
    assert "write five cron fields" in refusal(when="now and then")
    assert Sample(when="every 15m").when.interval == timedelta(minutes=15)  # type: ignore[arg-type,union-attr]


@pytest.mark.parametrize("name", ["wait", "size", "level", "when", "path"])
@pytest.mark.parametrize("value", [[], {}, [1], {"a": 1}, object(), b"\xff"], ids=["a", "b", "c", "d", "e", "f"])
def test_other_kinds_are_refused(name: str, value: object) -> None:
    """A value of a foreign kind is a validation error of that key, and nothing else is raised."""
    assert name in refusal(**{name: value})


def test_a_misspelled_key_is_refused() -> None:
    """An unknown key is named: a typing slip is never silently a default."""
    text = refusal(wiat="5s")
    assert "wiat" in text
    assert "not permitted" in text


def test_settings_do_not_change() -> None:
    """A value cannot be set after validation."""
    with pytest.raises(ValidationError, match="frozen"):
        Sample().wait = timedelta(0)  # type: ignore[misc]


def test_defaults_are_validated_too() -> None:
    """A default written as text is the type that it stands for."""

    class Written(Settings):
        wait: Duration = "15m"  # type: ignore[assignment]

    assert Written().wait == timedelta(minutes=15)


def test_relative_paths_start_from_the_folder_of_the_config(tmp_path: Path) -> None:
    """Inside the block a relative path is joined to the folder, an absolute one stays; afterwards nothing is."""
    with relative_to(tmp_path):
        assert Sample(path="b/c").path == tmp_path / "b/c"  # type: ignore[arg-type]
        assert Sample(path="/b").path == Path("/b")  # type: ignore[arg-type]
    assert Sample(path="b").path == Path("b")  # type: ignore[arg-type]


def test_a_wrong_value_is_not_shown() -> None:
    """The text of a validation error holds no input: under another key it may be a secret."""
    assert "hunter2-hunter2" not in refusal(secret=["hunter2-hunter2"], other="hunter2-hunter2")


def test_the_schema_can_be_written() -> None:
    """Every type has a JSON schema, and keys are described by the docstrings below them."""
    schema = Sample.model_json_schema()
    assert set(schema["properties"]) == set(Sample.model_fields)
    assert json.loads(json.dumps(schema)) == schema
