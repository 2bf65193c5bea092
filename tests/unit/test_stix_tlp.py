"""The Traffic Light Protocol: names, markings, and which is the strictest."""

from __future__ import annotations

import pytest
import stix2
from hypothesis import given
from hypothesis import strategies as st

from tiforge.stix import TLP


@pytest.mark.parametrize(
    ("level", "referee"),
    [
        (TLP.CLEAR, stix2.TLP_WHITE),
        (TLP.GREEN, stix2.TLP_GREEN),
        (TLP.AMBER, stix2.TLP_AMBER),
        (TLP.RED, stix2.TLP_RED),
    ],
)
def test_markings_are_those_of_stix2(level: TLP, referee: object) -> None:
    """The markings are the four that the specification fixes."""
    assert level.marking == referee.id  # type: ignore[attr-defined]


@pytest.mark.parametrize("level", list(TLP))
def test_a_marking_is_read_as_its_level(level: TLP) -> None:
    """Each level's marking stands for that level."""
    assert TLP.strictest([level.marking]) is level


@given(st.lists(st.sampled_from(list(TLP)), min_size=1))
def test_the_strictest_wins(levels: list[TLP]) -> None:
    """Of several markings the strictest counts, in any order, and foreign markings do not."""
    marks = [f"marking-definition--{'0' * 8}", *(level.marking for level in levels)]
    assert TLP.strictest(marks) is max(levels)


def test_no_marking_is_no_level() -> None:
    """An object that no TLP marks has no level, which is not the same as clear."""
    assert TLP.strictest([]) is None
    assert TLP.strictest(["marking-definition--x"]) is None


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("red", TLP.RED), ("TLP:RED", TLP.RED), (" tlp:amber ", TLP.AMBER), ("amber+strict", TLP.AMBER_STRICT),
        ("TLP:AMBER+STRICT", TLP.AMBER_STRICT), ("Amber-Strict", TLP.AMBER_STRICT), ("green", TLP.GREEN),
        ("clear", TLP.CLEAR), ("WHITE", TLP.CLEAR),
    ],
)  # fmt: skip
def test_names_as_people_write_them(name: str, level: TLP) -> None:
    """Case, prefix and the old word for clear do not matter."""
    assert TLP.named(name) is level


@pytest.mark.parametrize("name", ["", "tlp:", "purple", "named", "strictest", "4", "mro", "__class__"])
def test_other_names_say_what_to_write(name: str) -> None:
    """An unknown name is told the known ones."""
    with pytest.raises(ValueError, match="clear, green, amber"):
        TLP.named(name)
