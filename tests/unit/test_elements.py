"""The reader of JSON texts, against any text, cut anywhere."""

from __future__ import annotations

import json
import tracemalloc

import ijson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiforge.elements import Elements, Fault, NoBundle

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda each: st.lists(each, max_size=4) | st.dictionaries(st.text(max_size=8), each, max_size=4),
    max_leaves=12,
)  # fmt: skip
OBJECTS = st.lists(st.dictionaries(st.text(max_size=8), JSON, max_size=5).map(lambda each: each | {"type": "x"}))
SPACED = st.sampled_from([None, 1, 4])


def cut(text, sizes):
    """Cut a text into chunks of the given sizes, over and over."""
    at = turn = 0
    while at < len(text):
        size = sizes[turn % len(sizes)]
        yield text[at : at + size]
        at += size
        turn += 1


def values(text, sizes=(7,), max_size=10**6):
    found, fault = [], None
    try:
        for element in Elements(cut(text, sizes), max_size):
            assert element.number == len(found) + 1
            found.append(element.value if not element.error else Ellipsis)
    except Fault as error:
        fault = error
    return found, fault


SIZES = st.lists(st.integers(1, 50), min_size=1, max_size=5)


@settings(max_examples=200, deadline=None)
@given(OBJECTS, SIZES, SPACED, st.sampled_from(["bundle", "list", "lines", "late"]), st.booleans())
def test_any_shape_any_split(objects, sizes, indent, shape, ascii):
    """The elements are the objects, however the text is written and wherever it is cut."""
    dumped = [json.dumps(each, ensure_ascii=ascii, indent=indent) for each in objects]
    joined = ",".join(dumped)
    text = {
        "bundle": '{"type":"bundle", "id":"]}[{", "objects" : [' + joined + ' ] , "x":{"objects":[1]}}',
        "list": f" [ {joined} ] ",
        "lines": "\n".join(json.dumps(each, ensure_ascii=ascii) for each in objects),
        "late": '{"x":[{"objects":[[1]]}],"objects":[' + joined + '],"type":"bundle"}',
    }[shape].encode()
    assert values(text, sizes) == (objects, None)
    if shape != "lines":
        prefix = "item" if shape == "list" else "objects.item"
        assert list(ijson.items(text, prefix, use_float=True)) == objects


@settings(max_examples=200, deadline=None)
@given(OBJECTS, st.data(), SIZES)
def test_truncated_anywhere(objects, data, sizes):
    """What is whole comes through once and in order; that something is missing is known, unless nothing is."""
    shape = data.draw(st.sampled_from(["bundle", "list", "lines"]))
    dumped = [json.dumps(each).encode() for each in objects]
    text = {
        "bundle": b'{"type":"bundle","objects":[' + b",".join(dumped) + b'],"id":"x"}',
        "list": b"[" + b",".join(dumped) + b"]",
        "lines": b"\n".join(dumped),
    }[shape]
    part = text[: data.draw(st.integers(0, len(text)))]
    found, fault = values(part, sizes)
    assert found == objects[: len(found)]
    if part != text and part.strip() and shape != "lines":
        assert fault is not None
        assert fault.incomplete


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200), SIZES)
def test_any_bytes(text, sizes):
    """No bytes at all raise anything but a `Fault`, and the split does not matter."""
    found, fault = values(text, sizes)
    again, other = values(text, (10**6,))
    assert found == again
    assert (fault and fault.reason) == (other and other.reason)


@settings(max_examples=500, deadline=None)
@given(st.text('{}[],:"\\ \n0a', max_size=60), SIZES)
def test_any_punctuation(text, sizes):
    """The same for texts of JSON's own characters; what the reference reads is read alike."""
    found, fault = values(text.encode(), sizes)
    again, other = values(text.encode(), (10**6,))
    assert (found, fault and fault.reason) == (again, other and other.reason)
    try:
        whole = json.loads(text)
    except ValueError:
        return
    if isinstance(whole, list):
        assert (found, fault) == (whole, None)
    elif isinstance(whole, dict) and not isinstance(whole.get("objects"), list):
        assert (found, fault) == ([whole], None)


@pytest.mark.parametrize(
    "text", [b"[1,]", b"[,1]", b"[1 2]", b'{"a" 1}', b'{"a":1,}', b"[1}", b"[:]", b'{"objects":[]']
)
def test_texts_that_are_nearly_json(text):
    """Each is a fault, whatever was read before it."""
    assert values(text)[1] is not None


def test_a_bad_line_costs_that_line():
    """The lines around it are read."""
    assert values(b'{"a":1}\n{bad}\nnonsense\n{"a":2}\n') == ([{"a": 1}, ..., ..., {"a": 2}], None)


def test_long_lines_and_long_strings():
    """Longer than what is looked through for the end of a line."""
    sizes = (1000,)
    long = {"type": "x", "name": 'y"]}\\' * 30_000}
    text = json.dumps(long).encode()
    assert values(text + b"\n" + text, sizes) == ([long, long], None)
    assert values(b"[" + text + b"," + text + b"]", sizes) == ([long, long], None)
    assert values(text, sizes, max_size=100_000) == ([...], None)
    assert values(b"[" + text + b",1," + text + b"]", sizes, max_size=100_000) == ([..., 1, ...], None)


def test_an_object_of_another_type_with_a_list_of_that_name():
    """Only a bundle stands for its objects."""
    other = {"type": "x-list", "objects": [1, 2]}
    assert values(json.dumps(other).encode()) == ([other], None)
    assert values(json.dumps(other, indent=1).encode()) == ([other], None)


DEEP = b"[" * 2000 + b"]" * 2000
UNREADABLE = {
    "deep": (DEEP, "nested deeper than 100"),
    "deep in a property": (b'{"type":"x","a":' + DEEP + b',"b":1}', "nested deeper than 100"),
    "deep under a string": (b'{"a":["]",' + DEEP + b"]}", "nested deeper than 100"),
    "long string": (b'{"a":"' + b'\\"]}' * 30_000 + b'"}', "larger than"),
    "bare string": (b'"' + b"\\\\" * 60_000 + b'"', "larger than"),
    "long number": (b"1" * 120_000, "larger than"),
    "many": (b'{"a":[' + b"1," * 60_000 + b"1]}", "larger than"),
    "many properties": (b"{" + b'"a":1,' * 20_000 + b'"b":2}', "larger than"),
    "long name": (b'{"' + b"a" * 120_000 + b'":1}', "larger than"),
    "much space": (b'{"a":' + b" " * 120_000 + b"1}", "larger than"),
    "huge number": (b'{"a":1e99999999999999999999}', "not JSON"),
    "just too deep": (b'{"a":' + b"[" * 100 + b"]" * 100 + b"}", "nested deeper than 100"),
    "long integer": (b'{"a":%d}' % 2**70, "beyond 64 bits"),
    "lone surrogate": (b'{"a":"\\ud800"}', "not JSON"),
    "no UTF-8": (b'{"a":"\xff"}', "not JSON"),
    "NaN": (b'{"a":NaN}', "not JSON"),
}


@pytest.mark.parametrize("name", UNREADABLE)
@pytest.mark.parametrize("sizes", [(1000, 3), (997,), (10**6,)])
@pytest.mark.parametrize("shape", ["list", "bundle", "late", "lines"])
def test_what_cannot_be_read_costs_itself_alone(name, sizes, shape):
    """In whatever shape and however it is cut, the elements around it come through."""
    bad, reason = UNREADABLE[name]
    before, after = b'{"type":"x","n":1}', b'{"type":"x","n":2}'
    text = {
        "list": b"[" + b",".join((before, bad, after)) + b"]",
        "bundle": b'{"type":"bundle","objects":[' + b",".join((before, bad, after)) + b"]}",
        "late": b'{"x":' + bad + b',"objects":[' + b",".join((before, bad, after)) + b'],"type":"bundle"}',
        "lines": b"\n".join((before, bad, after)),
    }[shape]
    if shape == "lines" and name in ("bare string", "long number"):
        return  # of a text of lines, a line that is too long must be an object
    found = list(Elements(cut(text, sizes), 100_000))
    assert [each.value for each in found] == [{"type": "x", "n": 1}, None, {"type": "x", "n": 2}]
    assert reason in found[1].error
    assert found[1].raw
    assert found[1].raw == bad[:2000]
    if shape in ("bundle", "late"):
        assert list(Elements(cut(text, sizes), 100_000).of_bundle()) == found


@pytest.mark.parametrize(
    "text", [b"[" * 10**7, b'{"a":' * 10**5 + b" " * 10**7, b'["' + b"a" * 10**7, b"[" + b"1" * 10**7]
)
def test_what_does_not_end_takes_no_memory(text):
    """It is a fault, found by reading on without keeping."""
    tracemalloc.start()
    try:
        _, fault = values(text, (65536,), max_size=10**6)
        assert tracemalloc.get_traced_memory()[1] < 8 * 10**6
    finally:
        tracemalloc.stop()
    assert fault is not None
    assert not fault.incomplete


@pytest.mark.parametrize("text", ["{}", "[]", "5", '{"type":"x"}', '{"type":"x","objects":[]}', '{"objects":5}'])
def test_what_is_no_bundle(text):
    """Neither a list nor another object passes for one; what breaks off may have been one."""
    with pytest.raises(NoBundle):
        list(Elements([text.encode()], 1000).of_bundle())
    for broken in (b'{"typ', b'{"type":"bundle"', b"", b'{"type":"bundle","objects":[1]'):
        with pytest.raises(Fault) as caught:
            list(Elements([broken], 1000).of_bundle())
        assert caught.value.incomplete
    assert list(Elements([b'{"type":"bundle"} '], 1000).of_bundle()) == []
    with pytest.raises(Fault, match="behind the bundle"):
        list(Elements([b'{"type":"bundle"} {}'], 1000).of_bundle())
