"""Calls to a model: in this process directly, in another process of the server over its socket."""

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
"""Name that every service of ours gives the model contract: a batch of requests in, as many results out."""
INFO: Final = "info"
"""Name of the function by which a service describes itself, where it has one."""


class LocalModel:
    """The service that this process is; it takes requests only once its instance is made and warmed up.

    An answer may take ``seconds``, by default ``request_seconds``. ``has_info`` says whether the service describes
    itself.
    """

    def __init__(self, seconds: float | None = None, *, has_info: bool = False) -> None:
        self._seconds, self._has_info = seconds, has_info

    async def infer(self, requests: Sequence[InferenceRequest]) -> list[InferenceResult]:
        """Goes through the batches of the service. Raises ModelTimeout."""
        async with _deadline(self._seconds):
            results: list[InferenceResult] = await getattr(bentoml.get_current_service(), ASK)(requests=list(requests))
        return results

    async def info(self) -> dict[str, Any] | None:
        """None before the service is made."""
        service = bentoml.get_current_service()
        if service is None:
            return None
        info: dict[str, Any] = await getattr(service, INFO)() if self._has_info else {}
        return info


class RemoteModel:
    """The service that the service of this process depends on under ``attribute``; else as ``LocalModel``."""

    def __init__(self, attribute: str, seconds: float | None = None, *, has_info: bool = False) -> None:
        self._attribute, self._seconds, self._has_info = attribute, seconds, has_info
        self._info: dict[str, Any] = {}

    async def infer(self, requests: Sequence[InferenceRequest]) -> list[InferenceResult]:
        """Goes through the batches of the service. Raises ModelUnavailable and ModelTimeout."""
        async with _deadline(self._seconds):
            results: list[InferenceResult] = await self._call(ASK, list(requests))
        return results

    async def info(self) -> dict[str, Any] | None:
        """None while the service is not ready; what it says of itself is asked for once."""
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
        # Served as one process, BentoML makes the services that this one depends on in here.
        function = getattr(dependency, name)
        return await (function() if requests is None else function(requests=requests))


def model_under(attribute: str | None, seconds: float | None = None, *, has_info: bool = False) -> ModelProxy:
    """The service that this process's service depends on under ``attribute``; None is the service of this process."""
    if attribute is None:
        return LocalModel(seconds, has_info=has_info)
    return RemoteModel(attribute, seconds, has_info=has_info)


@asynccontextmanager
async def _deadline(seconds: float | None) -> AsyncIterator[None]:
    """Raises ModelTimeout where what is inside takes longer; None is ``request_seconds``."""
    try:
        async with asyncio.timeout(seconds or settings().request_seconds):
            yield
    except TimeoutError as error:
        raise ModelTimeout("The request took too long") from error
