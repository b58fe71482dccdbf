"""A CPU-bound model for the benchmark of replicas: an item takes a fixed number of hashes, some milliseconds.

It imports nothing of the project, like a user's Bento.
"""

from __future__ import annotations

import hashlib
from typing import Any

import bentoml
from pydantic import BaseModel, Field

ROUNDS = 10_000


class Request(BaseModel):
    """One item."""

    input_data: dict[str, Any]
    parameters: dict[str, Any] = Field(default_factory=dict)


class Result(BaseModel):
    """The result of an item."""

    output_data: dict[str, Any]


@bentoml.service(name="Computing", workers=1)
class Computing:
    """Hashes its input."""

    @bentoml.api  # type: ignore[untyped-decorator]
    def infer(self, requests: list[Request]) -> list[Result]:
        """Return a hash of each item."""
        return [Result(output_data={"hash": _hash(request.input_data)}) for request in requests]


def _hash(data: dict[str, Any]) -> str:
    return hashlib.pbkdf2_hmac("sha256", repr(data).encode(), b"salt", ROUNDS).hex()
