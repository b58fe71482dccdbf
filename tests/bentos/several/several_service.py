"""A Bento as its users write them: an API for each kind of argument and of answer."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Annotated, Any

import bentoml
import numpy as np
from bentoml.exceptions import BadInput, BentoMLException, ServiceUnavailable
from PIL.Image import Image
from pydantic import BaseModel, Field


class Address(BaseModel):
    street: str
    number: Annotated[int, Field(ge=1)]


class Person(BaseModel):
    name: str
    addresses: list[Address] = []
    home: Address | None = None


class Busy(BentoMLException):
    error_code = ServiceUnavailable.error_code


@bentoml.service(name="Several", workers=1)
class Several:
    """Says what it was given."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    @bentoml.api  # type: ignore[untyped-decorator]
    def greet(self, name: Annotated[str, Field(max_length=40)], times: Annotated[int, Field(ge=1, le=3)] = 1) -> str:
        return " ".join([f"Hello {name}!"] * times)

    @bentoml.api  # type: ignore[untyped-decorator]
    def total(self, numbers: list[float]) -> float:
        return sum(numbers)

    @bentoml.api  # type: ignore[untyped-decorator]
    def describe(self, person: Person, tags: dict[str, str] = {}) -> dict[str, Any]:  # noqa: B006
        return {"name": person.name, "streets": [address.street for address in person.addresses], "tags": tags}

    @bentoml.api  # type: ignore[untyped-decorator]
    def person(self, person: Person, /) -> Person:
        return person

    @bentoml.api  # type: ignore[untyped-decorator]
    def echo(self, text: str, /) -> str:
        return text

    @bentoml.api  # type: ignore[untyped-decorator]
    def half(self, picture: Image, note: str = "") -> Image:
        return picture.resize((picture.width // 2, picture.height // 2))

    @bentoml.api  # type: ignore[untyped-decorator]
    def sizes(self, files: list[Path], note: str = "") -> list[int]:
        return [len(file.read_bytes()) for file in files] + [len(note)]

    @bentoml.api  # type: ignore[untyped-decorator]
    def copy_of(self, file: Path) -> Path:
        return file

    @bentoml.api  # type: ignore[untyped-decorator]
    def length(self, file: Path, /) -> int:
        return len(file.read_bytes())

    @bentoml.api  # type: ignore[untyped-decorator]
    def shape(self, array: np.ndarray) -> list[int]:
        return list(array.shape)

    @bentoml.api(batchable=True, max_latency_ms=10_000)  # type: ignore[untyped-decorator]
    def double(self, array: np.ndarray) -> np.ndarray:
        self.rows.append(len(array))
        if (array < 0).any():
            raise BadInput("a number is below 0")
        return array * 2

    @bentoml.api  # type: ignore[untyped-decorator]
    def batches(self) -> list[int]:
        return self.rows

    @bentoml.api  # type: ignore[untyped-decorator]
    async def count(self, n: int) -> AsyncGenerator[str, None]:
        for number in range(n):
            yield str(number)

    @bentoml.task  # type: ignore[untyped-decorator]
    def later(self, n: int) -> int:
        return n

    @bentoml.api  # type: ignore[untyped-decorator]
    def fail(self, how: str) -> float:
        if how == "input":
            raise BadInput("this input has no result")
        if how == "busy":
            raise Busy("not now")
        if how == "sleep":
            time.sleep(3)
        if how == "nan":
            return float("nan")
        raise RuntimeError("a bug, whose text stays in the log")
