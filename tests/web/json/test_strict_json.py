"""What the strict reader takes and refuses, and what the writer never sends."""

from __future__ import annotations

import json
import math
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.running import cpu_time
from web.json import strict_json
from web.json.strict_json import InvalidJSON

REFUSED = {
    "bytes that are not UTF-8": (b'{"a": "\xff"}', "JSON is not UTF-8 at byte 7"),
    "surrogates written as bytes": (b'"\xed\xa0\x80"', "JSON is not UTF-8 at byte 1"),
    "UTF-16": ('{"a": 1}'.encode("utf-16-le"), "JSON is malformed at line 1, column 2"),
    "a byte order mark": (b'\xef\xbb\xbf{"a": 1}', "JSON begins with a byte order mark"),
    "nothing": (b"", "JSON is malformed at line 1, column 1"),
    "an object that does not end": (b'{"a": 1,\n "b": ', "JSON is malformed at line 2, column 7"),
    "text after the value": (b'{"a": 1} x', "JSON is malformed at line 1, column 10"),
    "a newline in a string": (b'"a\nb"', "JSON is malformed at line 1, column 3"),
    "NaN": (b'{"a": NaN}', "JSON has no NaN"),
    "Infinity": (b"[Infinity]", "JSON has no Infinity"),
    "minus Infinity": (b"[-Infinity]", "JSON has no Infinity"),
    "a number too large for a double": (b"[1e999]", "JSON holds a number too large for a double"),
    "a long number too large for a double": (b"9" * 5000 + b".5", "JSON holds a number too large for a double"),
    "a key twice": (b'{"a": 1, "a": 1}', "JSON gives the key 'a' twice"),
    "a key twice, once escaped": (b'[{"b": {"a": 1, "\\u0061": 2}}]', "JSON gives the key 'a' twice"),
    "a key twice that steers terminals": (b'{"\\u001b": 1, "\\u001b": 1}', r"JSON gives the key '\x1b' twice"),
    "an integer of 65 bits": (b"18446744073709551616", "JSON holds an integer of more than 64 bits"),
    "a negative integer of 65 bits": (b"-9223372036854775809", "JSON holds an integer of more than 64 bits"),
    "an integer of 5,000 digits": (b"9" * 5000, "JSON holds an integer of more than 64 bits"),
    "half of a pair": (rb'"\ud83d"', "JSON holds half of a surrogate pair"),
    "half of a pair in capitals": (rb'"\uDE00 "', "JSON holds half of a surrogate pair"),
    "a pair in the wrong order": (rb'["\ude00\ud83d"]', "JSON holds half of a surrogate pair"),
    "half of a pair in a key": (rb'{"\ud83d": 1}', "JSON holds half of a surrogate pair"),
    "65 levels": (b"[" * 65 + b"]" * 65, "JSON nests deeper than 64 levels"),
    "65 levels of both kinds": (b'{"a":[' * 32 + b"[1]" + b"]}" * 32, "JSON nests deeper than 64 levels"),
    "100,000 levels": (b"[" * 100_000 + b"]" * 100_000, "JSON nests deeper than 64 levels"),
    "100,000 levels that do not end": (b'{"a":' * 100_000, "JSON nests deeper than 64 levels"),
    "levels hidden behind a quote": (
        rb'["\\",' + b"[" * 65 + b"]" * 65 + rb',"\\"]',
        "JSON nests deeper than 64 levels",
    ),
    "a million escaped quotes": (b"[" * 65 + b'"' + rb"\"" * 1_000_000, "JSON nests deeper than 64 levels"),
    "a million strings": (b"[" * 65 + b'"' * 2_000_000, "JSON nests deeper than 64 levels"),
    "levels behind a string that does not end": (b"[" * 65 + rb'"\"', "JSON nests deeper than 64 levels"),
}


@pytest.mark.parametrize(("data", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_is_refused_with_its_reason(data: bytes, message: str) -> None:
    with pytest.raises(InvalidJSON) as caught:
        strict_json.loads(data)
    assert caught.value.message == message
    assert caught.value.__cause__ is None


ACCEPTED: dict[str, tuple[bytes, Any]] = {
    "the smallest integer of 64 bits": (b"-9223372036854775808", -(2**63)),
    "the largest integer of 64 bits": (b"18446744073709551615", 2**64 - 1),
    "a number too small for a double": (b"1e-999", 0.0),
    "the same key in two objects": (b'[{"a": 1}, {"a": 2}]', [{"a": 1}, {"a": 2}]),
    "a pair of surrogates": (rb'"\ud83d\ude00"', "😀"),
    "a backslash before the text of an escape": (rb'"\\ud83d"', r"\ud83d"),
    "64 levels": (b"[" * 64 + b"]" * 64, json.loads("[" * 64 + "]" * 64)),
    "100 objects side by side": (b"[" + b"{}," * 99 + b"{}]", [{}] * 100),
    "brackets in a string": (b'["' + b"[" * 100 + b'"]', ["[" * 100]),
    "brackets after an escaped quote": (b'["' + rb"\"" + b"[" * 100 + b'"]', ['"' + "[" * 100]),
    "brackets after a backslash and a quote": (b'["' + rb"\\\"" + b"[" * 100 + b'"]', ['\\"' + "[" * 100]),
}


@pytest.mark.parametrize(("data", "value"), ACCEPTED.values(), ids=ACCEPTED)
def test_what_is_json_is_read(data: bytes, value: Any) -> None:
    assert strict_json.loads(data) == value


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=30,
)


@given(json_values, st.booleans())
def test_whatever_python_can_write_is_read_back(value: Any, ascii_only: bool) -> None:
    assert strict_json.loads(json.dumps(value, ensure_ascii=ascii_only).encode()) == value
    assert strict_json.loads(strict_json.dumps(value)) == value


@given(st.text(st.sampled_from('[]{}"\\:, a1u')).map(str.encode))
def test_whatever_comes_is_read_as_python_reads_it_or_refused(data: bytes) -> None:
    try:
        value = strict_json.loads(data)
    except InvalidJSON:
        return
    assert value == json.loads(data)


@given(st.text(st.sampled_from('[]"\\ a'), max_size=40))
def test_no_string_hides_levels_or_makes_any(content: str) -> None:
    deep, flat = "[" * 65 + "]" * 65, "[" * 30 + "]" * 30
    text = json.dumps(content + "[" * 70)
    assert strict_json.loads(f"[{text}, {flat}, {text}]".encode())
    with pytest.raises(InvalidJSON, match="deeper"):
        strict_json.loads(f"[{text}, {deep}, {text}]".encode())


def test_an_image_of_20_megabytes_is_read_about_as_quickly_as_python_reads_it() -> None:
    data = b'{"items": [' + b"{}, " * 100 + b'{"image": "' + b"QUJD" * 5_000_000 + b'"}]}'
    plain, strict = (cpu_time.least(partial(loads, data)) for loads in (json.loads, strict_json.loads))
    assert strict < 5 * plain + 0.05


@pytest.mark.parametrize("value", [math.nan, math.inf, [-math.inf], {"a": "\ud83d"}])
def test_what_nobody_could_read_is_not_written(value: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json and the codec have one base in common
        strict_json.dumps(value)


def test_output_is_compact_and_in_utf_8() -> None:
    assert strict_json.dumps({"a": [1, "é"]}) == '{"a":[1,"é"]}'.encode()
