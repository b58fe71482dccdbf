"""Bodies that are nearly what a model of pydantic takes, written as JSON that is nearly JSON."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel

OMITTED: Final = 0.5
"""Chance of a field to be left out that has a default."""
DAMAGED: Final = 0.04
"""Chance of a body of which a piece is missing, or another one added."""


class Raw(str):
    """What is written into a text of JSON as it is."""

    __slots__ = ()


ODD: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, 1, -1, 65, 2**31, 2**63, 2**64 - 1, 0.5, -0.0, 1e308, 5e-324),
    *(Raw("NaN"), Raw("-Infinity"), Raw("1e999"), Raw(str(2**64)), Raw("9" * 5000), Raw("-"), Raw("01"), Raw("tru")),
    *("", " ", "0", "1", "-1", "1e5", "1_0", "\u00b2", "\u0663", "9" * 30, "9" * 5000, "true", "null", "latest", "*"),
    *("\0", "a\tb\r\n", "\x1b[31m", "\u202e", "\ufeff", "caf\u00e9", "\u4f60\u597d", "\U0001f600", "x" * 5000),
    *("../..", "/etc/passwd", "a/b", "a:b:c", "record not found", "${HOME}", "%s%n{0}", "<b>", "'\"\\"),
    *(Raw('"\\ud800"'), Raw('"\\udc00\\ud800"'), Raw('"\\u0000"'), Raw('"\\x"'), Raw('{"a": 1, "a": 2}')),
    *([], {}, [None], [[]], {"": {}}, {"a": {"b": [1, "c"]}}, ["x"] * 300, {str(number): "" for number in range(80)}),
    *(Raw("[" * 50 + "]" * 50), Raw("[" * 70 + "]" * 70), Raw("[" * 100_000), Raw('{"a":' * 60 + "1" + "}" * 60)),
)
"""Values that hardly any field takes, and some that are no JSON at all."""
PIECES: Final = (b"", b",", b"}", b"\xff", b"\xef\xbb\xbf", b"\0", b"[" * 200, b'"', b"\xed\xa0\x80", b" " * 3000)
"""What a damaged body has too much."""


class NearlyRight:
    """Makes bodies; ``known`` has values that are right for a field, by its name or that of its model and its own."""

    def __init__(self, chance: random.Random, known: Mapping[str, Sequence[Any]]) -> None:
        self.chance, self.known = chance, known
        self.wrong = 0.0
        """Chance of each value to be another one than its field takes."""

    def of(self, model: type[BaseModel], **chosen: Any) -> Any:
        """A value for the model, with these fields unless they become wrong."""
        value: dict[str, Any] = {}
        for name, field in model.model_fields.items():
            absent = self.wrong if field.is_required() else OMITTED
            if name in chosen:
                value[name] = self.odd() if self.chance.random() < self.wrong else chosen[name]
            elif self.chance.random() >= absent:
                value[name] = self._value(field.annotation, name, model)
        if self.chance.random() < self.wrong:
            value[self.chance.choice(["later", "", "__class__", "\U0001f600"])] = self.odd()
        return value

    def odd(self) -> Any:
        """A value that fits hardly anywhere."""
        return self.chance.choice(ODD)

    def written(self, value: Any) -> bytes:
        """The value as a text of JSON, some of which are damaged where values may be wrong."""
        data = _written(value, ascii_only=self.chance.random() < 0.5).encode("utf-8", "surrogatepass")
        if self.wrong and self.chance.random() < DAMAGED:
            at = self.chance.randrange(len(data) + 1)
            return data[:at] + self.chance.choice(PIECES) + data[at + self.chance.randrange(3) :]
        return data

    def _value(self, kind: Any, name: str, model: type[BaseModel]) -> Any:
        if self.chance.random() < self.wrong:
            return self.odd()
        origin, parts = get_origin(kind), get_args(kind)
        if origin is Annotated:
            return self._value(parts[0], name, model)
        if origin in (UnionType, Union):
            some = [part for part in parts if part is not type(None)]
            return None if self.chance.random() < 0.15 else self._value(self.chance.choice(some), name, model)
        if origin is list:
            return [self._value(parts[0], name, model) for _ in range(self.chance.choice([0, 1, 1, 2, 3]))]
        return self._whole(kind, parts, name, model)

    def _whole(self, kind: Any, parts: tuple[Any, ...], name: str, model: type[BaseModel]) -> Any:
        """A model, models by name, or what has no parts."""
        if parts and isinstance(parts[-1], type) and issubclass(parts[-1], BaseModel):
            names = [self._known(f"{name}.key", model) for _ in range(self.chance.choice([0, 1, 1, 1, 2]))]
            return {str(each): self.of(parts[-1]) for each in names}
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return self.of(kind)
        return self._scalar(kind, name, model)

    def _scalar(self, kind: Any, name: str, model: type[BaseModel]) -> Any:
        found = self._known(name, model)
        if found is not None:
            return found
        if kind is int:
            return self.chance.choice([0, 1, 1, 2, 3, 64])
        if kind is bool:
            return self.chance.random() < 0.5
        if kind is str:
            return self.chance.choice(["a", "b", "1"])
        return None if kind is Any else {}

    def _known(self, name: str, model: type[BaseModel]) -> Any:
        values = self.known.get(f"{model.__name__}.{name}", self.known.get(name, ()))
        return self.chance.choice(values) if values else None


def _written(value: Any, *, ascii_only: bool) -> str:
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        pairs = (f"{json.dumps(key)}: {_written(each, ascii_only=ascii_only)}" for key, each in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, list):
        return f"[{', '.join(_written(each, ascii_only=ascii_only) for each in value)}]"
    return json.dumps(value, ensure_ascii=ascii_only)
