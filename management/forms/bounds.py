"""Both bounds of a field, from its model's JSON schema: pydantic's error names only the violated bound."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, Final

from pydantic import BaseModel

_LEAST: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_MOST: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")


def of_field(model: type[BaseModel], location: Iterable[int | str]) -> tuple[float | None, float | None]:
    """The lower and the upper bound of a field; None for a bound that it does not have."""
    schema = _schema(model)
    nodes: list[Mapping[str, Any]] = [schema]
    for part in location:
        nodes = [inner for node in nodes for inner in _inside(schema, node, part)]
    variants = [variant for node in nodes for variant in _variants(schema, node)]
    return _first(variants, _LEAST), _first(variants, _MOST)


@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def _variants(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The node itself, the target of its reference, and each of its alternatives."""
    yield node
    reference = str(node.get("$ref", "")).rpartition("/")[2]
    for inner in (schema.get("$defs", {}).get(reference), *node.get("anyOf", ()), *node.get("allOf", ())):
        if inner is not None:
            yield from _variants(schema, inner)


def _inside(schema: Mapping[str, Any], node: Mapping[str, Any], part: int | str) -> Iterator[Mapping[str, Any]]:
    for variant in _variants(schema, node):
        inner = variant.get("items") if isinstance(part, int) else variant.get("properties", {}).get(part)
        if isinstance(inner, Mapping):
            yield inner


def _first(nodes: Iterable[Mapping[str, Any]], names: tuple[str, ...]) -> float | None:
    return next((node[name] for node in nodes for name in names if name in node), None)
