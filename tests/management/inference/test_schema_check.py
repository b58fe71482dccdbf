"""Which arguments a Bento's schema takes, and what a schema may not do to the server that reads it."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from management.domain.bento import BentoApi
from management.errors import InvalidRequest
from management.inference import extra_types, schema_check
from management.inference.arguments import Arguments, merged
from tests.support.running.figures import SLACK

HOSTILE = "a" * 64 + "!"
EXPONENTIAL = {
    **{f"A{n}": {"anyOf": [{"$ref": f"#/$defs/A{n + 1}"}, {"$ref": f"#/$defs/A{n + 1}"}]} for n in range(60)},
    "A60": {"type": "string"},
}


def api(schema: Any, **more: Any) -> BentoApi:
    """An API with the argument ``x``."""
    return BentoApi("api", "/api", arguments={"x": schema}, required=frozenset({"x"}), **more)


def found(called: BentoApi, **values: Any) -> dict[str, str]:
    """The kind of each problem by its field."""
    return {problem.field: problem.kind for problem in schema_check.problems(called, Arguments(values))}


def expected(called: BentoApi, **values: Any) -> str:
    """What the only problem says was expected."""
    (problem,) = schema_check.problems(called, Arguments(values))
    return str(problem.values["expected"])


@pytest.mark.parametrize(
    ("schema", "right", "wrong", "kind", "said"),
    [
        ({"type": "integer"}, 3, "3", "type", "integer"),
        ({"type": "integer"}, 3.0, True, "type", "integer"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, None, "3", "type", "integer or null"),
        ({"type": ["string", "null"]}, None, 3, "type", "string or null"),
        ({"type": "integer", "minimum": 1, "maximum": 5}, 5, 6, "range", "1..5"),
        ({"type": "number", "exclusiveMinimum": 0}, 0.1, 0, "range", "0.."),
        ({"type": "string", "maxLength": 3}, "abc", "abcd", "length", "0..3"),
        ({"type": "array", "minItems": 1, "items": {"type": "string"}}, ["a"], [], "length", "1.."),
        ({"enum": ["red", "blue", 3]}, "red", "green", "choice", "red, blue, 3"),
        ({"const": "cat"}, "cat", "dog", "choice", "cat"),
        ({"type": "string", "format": "date"}, "2026-02-28", "2026-02-30", "format", "date"),
        ({"type": "string", "format": "date-time"}, "2026-02-28T10:00:00Z", "soon", "format", "date-time"),
        ({"type": "string", "format": "uuid"}, "12345678-1234-5678-1234-567812345678", "1", "format", "uuid"),
        ({"type": "string", "format": "ipv4"}, "10.0.0.1", "10.0.0.256", "format", "ipv4"),
        ({"type": "string", "format": "unheard-of"}, "anything", 1, "type", "string"),
        ({"type": "integer", "multipleOf": 5}, 10, 11, "schema", "multipleOf 5"),
        ({"type": "tensor", "shape": [2, 2]}, [1, 2, 3, 4], [1, 2, 3], "type", "a tensor of shape [2, 2]"),
        ({"type": "tensor", "shape": [-1, 2]}, [[1, 2]], [1, 2, 3], "type", "a tensor of shape [-1, 2]"),
        ({"type": "dataframe"}, [{"a": 1}], [1], "type", "a list of records, or an object of columns"),
        ({"type": "dataframe"}, {"a": [1, 2]}, {"a": 1}, "type", "a list of records, or an object of columns"),
    ],
)
def test_each_keyword_is_checked_and_says_what_was_expected(
    schema: Any, right: Any, wrong: Any, kind: str, said: str
) -> None:
    assert found(api(schema), x=right) == {}
    assert found(api(schema), x=wrong) == {"input_data.x": kind}
    assert expected(api(schema), x=wrong) == said


@pytest.mark.parametrize(
    ("dtype", "right", "wrong"),
    [
        (None, [[1, 2.5], [True, 0]], [["a"]]),
        ("float32", 1, None),
        ("str_", ["a", "b"], [{"a": 1}]),
        (None, [[]], [[1], [2, 3]]),
        (None, [1, 2], [1, [2]]),
    ],
)
def test_a_tensor_is_nested_lists_of_equal_length(dtype: str | None, right: Any, wrong: Any) -> None:
    schema = {"type": "tensor", "format": "numpy-array", **({"dtype": dtype} if dtype else {})}
    assert found(api(schema), x=right) == {}
    assert found(api(schema), x=wrong) == {"input_data.x": "type"}


def test_a_problem_deep_inside_has_its_path_and_the_nearest_alternative() -> None:
    kind = {"type": "object", "required": ["kind"]}
    cat = {**kind, "properties": {"kind": {"const": "cat"}, "lives": {"type": "integer"}}}
    dog = {**kind, "properties": {"kind": {"const": "dog"}}}
    either = {"anyOf": [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}]}
    called = api({"type": "array", "items": either}, definitions={"Cat": cat, "Dog": dog})
    assert found(called, x=[{"kind": "cat", "lives": 9}, {"kind": "dog"}]) == {}
    assert found(called, x=[{"kind": "cat", "lives": "9"}]) == {"input_data.x.0.lives": "type"}
    assert found(called, x=[{}]) == {"input_data.x.0.kind": "missing"}


def test_a_field_is_shown_without_letters_that_a_terminal_obeys() -> None:
    assert found(api({}), x=1, **{"a\x1b[2J": 1}) == {"input_data.a?[2J": "unknown"}


def test_a_name_in_both_places_is_refused_and_each_problem_says_where_it_is() -> None:
    with pytest.raises(InvalidRequest) as caught:
        merged({"x": 1, "y": 1}, {"y": 2, "x": 3})
    assert [problem.field for problem in caught.value.problems] == ["parameters.x", "parameters.y"]
    called = api({"type": "integer"})
    assert [problem.field for problem in schema_check.problems(called, merged({}, {"x": "a"}))] == ["parameters.x"]


@pytest.mark.parametrize(
    ("schema", "definitions", "value"),
    [
        ({"type": "string", "pattern": "(a+)+$"}, {}, HOSTILE),
        ({"type": "object", "patternProperties": {"(a+)+$": {}}, "additionalProperties": False}, {}, {HOSTILE: 1}),
        ({"type": "object", "propertyNames": {"pattern": "(a+)+$"}}, {}, {HOSTILE: 1}),
        ({"type": "array", "uniqueItems": True}, {}, [{"n": n} for n in range(20_000)]),
        ({"$ref": "#/$defs/A0"}, EXPONENTIAL, 1),
        ({"$ref": "#/$defs/A"}, {"A": {"$ref": "#/$defs/A"}}, 1),
        ({"$ref": "#/$defs/A"}, {"A": {"allOf": [{"$ref": "#/$defs/B"}]}, "B": {"not": {"$ref": "#/$defs/A"}}}, 1),
        ({"$ref": "http://127.0.0.1:1/schema"}, {}, 1),
        ({"$ref": "file:///etc/passwd"}, {}, 1),
        ({"$dynamicRef": "#meta"}, {}, 1),
        ({"type": "quaternion"}, {}, 1),
        ({"minimum": "one"}, {}, 1),
        ({"type": "array", "items": {"type": "number"}}, {}, [0.5] * 1_000_000),
        ({"multipleOf": 0}, {}, 1),
    ],
)
def test_a_schema_of_any_kind_costs_little_and_what_it_cannot_say_is_left_to_the_bento(
    schema: Any, definitions: Any, value: Any
) -> None:
    started = time.monotonic()
    assert found(api(schema, definitions=definitions), x=value) == {}
    assert time.monotonic() - started < 3 * SLACK


def test_a_list_of_many_numbers_is_checked_to_its_end() -> None:
    called = api({"type": "array", "items": {"type": "number"}})
    assert "input_data.x" in next(iter(found(called, x=[*([0.5] * 10_000), "a"])))


KEYWORDS = st.sampled_from(
    (
        *("$ref", "additionalProperties", "allOf", "anyOf", "const", "enum", "format", "items", "maximum", "minLength"),
        *(
            "not",
            "oneOf",
            "pattern",
            "prefixItems",
            "properties",
            "propertyNames",
            "required",
            "shape",
            "type",
            "dtype",
        ),
    )
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["string", "file", "tensor", "#/$defs/x", "x", ""])
)
SCHEMAS = st.recursive(LEAVES, lambda inner: st.dictionaries(KEYWORDS, inner, max_size=4) | st.lists(inner, max_size=4))
VALUES = st.recursive(LEAVES, lambda inner: st.dictionaries(st.text(max_size=3), inner) | st.lists(inner, max_size=4))


@given(SCHEMAS, SCHEMAS, VALUES)
def test_no_schema_and_no_value_fail_the_check_itself(schema: Any, definition: Any, value: Any) -> None:
    for problem in schema_check.problems(api(schema, definitions={"x": definition}), Arguments({"x": value})):
        assert problem.field.startswith("input_data")


@given(st.lists(st.integers(0, 3), min_size=1, max_size=4), st.data())
def test_a_tensor_of_any_shape_has_that_shape(shape: list[int], data: st.DataObject) -> None:
    def nested(sides: list[int]) -> Any:
        return data.draw(st.integers()) if not sides else [nested(sides[1:]) for _ in range(sides[0])]

    value = nested(shape)
    cut = shape[: shape.index(0) + 1] if 0 in shape else shape  # an empty list shows nothing of what it would hold
    assert extra_types.shape_of(value) == tuple(cut)
