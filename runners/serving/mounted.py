"""A model as the HTTP application sees it: a proxy to call it, its routes, and an example."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter

from runners.contract import ModelProxy
from web.download.client import Downloader


@dataclass(frozen=True)
class MountedModel:
    """A model behind an application. ``output`` is an example output of the native API for the input ``example``."""

    proxy: ModelProxy
    router: Callable[[ModelProxy, Downloader], APIRouter]
    output: dict[str, Any]
    example: dict[str, Any] | None = None
