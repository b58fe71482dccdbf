"""Calls to a model: directly in this process, or over the socket of another process of the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import bentoml
from _bentoml_impl.client import RemoteProxy

from runners.contract import InferenceRequest, InferenceResult, ModelProxy
from runners.errors import ModelTimeout
from runners.serving import ipc
from runners.settings import settings

ASK: Final = "ask"
"""Name of the function that implements the model contract in every service: requests in, as many results out."""
INFO: Final = "info"
"""Name of the optional function that returns a service's description."""


class LocalModel:
    """The service of this process; it accepts requests once its instance is created and warmed up.

    A call may take ``seconds``, by default ``request_seconds``. ``has_info`` is True if the service has a description.
    """

    def __init__(self, seconds: float | None = None, *, has_info: bool = False) -> None:
        self._seconds, self._has_info = seconds, has_info

    async def infer(self, requests: Sequence[InferenceRequest]) -> list[InferenceResult]:
        """Return a result for each request, through the service's batches. Raises ModelTimeout."""
        async with _deadline(self._seconds):
            results: list[InferenceResult] = await getattr(bentoml.get_current_service(), ASK)(requests=list(requests))
        return results

    async def info(self) -> dict[str, Any] | None:
        """Return the service's description, or None before its instance is created."""
        service = bentoml.get_current_service()
        if service is None:
            return None
        info: dict[str, Any] = await getattr(service, INFO)() if self._has_info else {}
        return info


class RemoteModel:
    """The service that this process's service depends on as ``attribute``; otherwise like ``LocalModel``."""

    def __init__(self, attribute: str, seconds: float | None = None, *, has_info: bool = False) -> None:
        self._attribute, self._seconds, self._has_info = attribute, seconds, has_info
        self._info: dict[str, Any] = {}

    async def infer(self, requests: Sequence[InferenceRequest]) -> list[InferenceResult]:
        """Return a result for each request, through the service's batches. Raises ModelUnavailable and ModelTimeout."""
        async with _deadline(self._seconds):
            results: list[InferenceResult] = await self._call(ASK, list(requests))
        return results

    async def info(self) -> dict[str, Any] | None:
        """Return the service's description, fetched once, or None while the service is not ready."""
        dependency = self._dependency()
        if isinstance(dependency, RemoteProxy) and not await dependency.is_ready():
            return None
        if self._has_info and not self._info:
            self._info = await self._call(INFO)
        return self._info

    def _dependency(self) -> Any:
        return getattr(bentoml.get_current_service(), self._attribute)

    async def _call(self, name: str, requests: list[InferenceRequest] | None = None) -> Any:
        dependency = self._dependency()
        if isinstance(dependency, RemoteProxy):
            return await ipc.client(dependency.to_async.url).call(name, requests)
        # If all is served as one process, BentoML creates the dependencies in this process.
        function = getattr(dependency, name)
        return await (function() if requests is None else function(requests=requests))


def model_under(attribute: str | None, seconds: float | None = None, *, has_info: bool = False) -> ModelProxy:
    """Return the service that this process's service depends on as ``attribute``; None is this process's service."""
    if attribute is None:
        return LocalModel(seconds, has_info=has_info)
    return RemoteModel(attribute, seconds, has_info=has_info)


@asynccontextmanager
async def _deadline(seconds: float | None) -> AsyncIterator[None]:
    """Raise ModelTimeout if the block takes longer than ``seconds``; None means ``request_seconds``."""
    try:
        async with asyncio.timeout(seconds or settings().request_seconds):
            yield
    except TimeoutError as error:
        raise ModelTimeout("The request took too long") from error
