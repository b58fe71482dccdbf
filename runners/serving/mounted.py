"""A model as an HTTP application sees it: how it is asked, what it says of itself, its routes, an example."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter

from runners.contract import Infer, InferenceRequest
from runners.download.client import Downloader

About = Callable[[], Awaitable[dict[str, Any] | None]]
Prepare = Callable[[InferenceRequest], Awaitable[InferenceRequest]]


@dataclass(frozen=True)
class Mounted:
    """A model behind an application, in this process or in another one.

    ``about`` is what ``/health`` tells of a model that is ready, None of one that is not. ``output`` is an example of
    what the native API gives for ``example``. ``prepare`` is the work on one item that must not hold up a batch; it
    raises RunnerError.
    """

    infer: Infer
    about: About
    router: Callable[[Infer, Downloader], APIRouter]
    output: dict[str, Any]
    example: dict[str, Any] | None = None
    prepare: Prepare | None = None
