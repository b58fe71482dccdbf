"""How a model's functions are asked: in this process by calling them, in another one of the server over its socket."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import bentoml
from _bentoml_impl.client import RemoteProxy

from runners.contract import Infer, InferenceRequest, InferenceResult
from runners.errors import ModelTimeout
from runners.serving import ipc
from runners.serving.ipc import Call
from runners.serving.mounted import About
from runners.settings import settings

ASK: Final = "ask"
"""The name that every service of ours gives the model contract: a batch of requests in, as many results out."""


def own(name: str = ASK) -> Call:
    """Calls a function of the service that this process is."""

    async def call(**arguments: Any) -> Any:
        return await getattr(bentoml.get_current_service(), name)(**arguments)

    return call


def dependency(attribute: str, name: str = ASK) -> Call:
    """Asks the service that this process's service depends on under ``attribute``. Raises ModelUnavailable."""

    async def call(requests: Sequence[InferenceRequest] | None = None) -> Any:
        found = getattr(bentoml.get_current_service(), attribute)
        if isinstance(found, RemoteProxy):
            return await ipc.line(found.to_async.url).ask(name, requests)
        # Served as one process, BentoML makes the services that this one depends on in here.
        return await (getattr(found, name)() if requests is None else getattr(found, name)(requests=requests))

    return call


def infer_of(call: Call, seconds: float | None = None) -> Infer:
    """The model contract over a function that speaks it, and has so long (``request_seconds``) to answer."""

    async def infer(requests: Sequence[InferenceRequest]) -> list[InferenceResult]:
        try:
            async with asyncio.timeout(seconds or settings().request_seconds):
                results: list[InferenceResult] = await call(requests=list(requests))
        except TimeoutError as error:
            raise ModelTimeout("The request took too long") from error
        return results

    return infer


def about_of(call: Call) -> About:
    """What a service says of itself."""

    async def about() -> dict[str, Any] | None:
        said: dict[str, Any] = await call()
        return said

    return about


def own_infer() -> Infer:
    """Asks the service that this process is, through its batches."""
    return infer_of(own())


def dependency_infer(attribute: str) -> Infer:
    """Asks the service that this process's service depends on under ``attribute``."""
    return infer_of(dependency(attribute))


def calls_to(attribute: str | None) -> tuple[Infer, About]:
    """How the service under ``attribute`` is asked and what it says of itself; None is the service of this process."""
    if attribute is None:
        return own_infer(), own_about
    return dependency_infer(attribute), dependency_about(attribute)


async def own_about() -> dict[str, Any] | None:
    """Nothing, of a service that is ready: its instance is made, and warmed up, before any request is taken."""
    return {} if bentoml.get_current_service() is not None else None


def dependency_about(attribute: str, facts: About | None = None) -> About:
    """Asks the service under ``attribute`` whether it is ready and, once, for the ``facts`` about it."""
    known: dict[str, Any] = {}

    async def about() -> dict[str, Any] | None:
        found = getattr(bentoml.get_current_service(), attribute)
        if isinstance(found, RemoteProxy) and not await found.is_ready():
            return None
        if facts is not None and not known:
            known.update(await facts() or {})
        return known

    return about
