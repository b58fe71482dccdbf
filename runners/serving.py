"""What every BentoML service of ours has in common: its configuration, its outermost layer, and how it is asked."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from math import ceil
from typing import Any, Final

import aiohttp
import bentoml
from _bentoml_sdk import Service  # its public alias is typed as a decorator only
from bentoml.exceptions import BentoMLException
from starlette.routing import Match
from starlette.types import ASGIApp, Scope

from runners.contract import Infer, InferenceRequest, InferenceResult
from runners.errors import ModelTimeout, ModelUnavailable
from runners.machine import cores, gpus
from runners.mounted import About
from runners.native import CHECKED_INFER, INFER
from runners.reading import MAX_REQUEST_BYTES
from runners.settings import settings
from web.departure import while_awaited
from web.edge import Edge, Guard, Limits, Section, configure_access_log
from web.slow_headers import limit_header_time

# Nothing is sent anywhere, however a service is started. BentoML understands no other word for yes.
os.environ["BENTOML_DO_NOT_TRACK"] = "True"

MIB: Final = 1024 * 1024
BODY_BYTES: Final = 24 * MIB  # an image of 16 MiB as base64 in JSON, and the rest of its request
LIST_BYTES: Final = MAX_REQUEST_BYTES  # a list of images
TRUSTED_BYTES: Final = 2 * LIST_BYTES  # the same list, downloaded, with what BentoML puts around it
HEADER_SECONDS: Final = 10.0
PROBE_SECONDS: Final = 1.0
SPARE_SECONDS: Final = 10.0  # for an answer to come back in: who asks waits longer than who works
DOCUMENT_BYTES: Final = 16 * MIB
DOCUMENT_PATHS: Final = ("/summarize/text", "/summarize/file", "/summarize/image", "/batch/summarize")
DOCUMENT_TOO_LARGE: Final = "File too large (max 16MB)"
READ: Final = "/read"
SUMMARIZE: Final = "/summarize"
ABOUT: Final = "/about"
MODELS: Final = 3  # that keep cores busy in one server; those of Chinese medicine take microseconds
GPU_MODELS: Final = 2  # of them that always have a network


Call = Callable[..., Awaitable[Any]]
"""How a native API of a service is asked, wherever it runs. Raises ModelUnavailable."""


class EdgedService(Service[Any]):  # type: ignore[misc]
    """A BentoML service inside our outermost layer, instead of behind BentoML's metrics and timeout layers."""

    def sections(self) -> Sequence[Section]:
        """Parts of the paths that other applications serve beside this one. A subclass may have some."""
        return ()

    def guard(self) -> Guard | None:
        """The service's own door. A subclass may have one."""
        return None

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        """The application that ``bentoml serve`` runs; a service that another one depends on is not ``is_main``."""
        configure_access_log()
        limit_header_time(HEADER_SECONDS)
        app = super().to_asgi(is_main=is_main)
        return Edge(
            app,
            name=self.name,
            routes=_routes_of(app),
            limits=limits(trusted=not is_main),
            rewrites={INFER: CHECKED_INFER},
            hidden=frozenset({CHECKED_INFER, READ, SUMMARIZE, ABOUT}),
            trusted=not is_main,
            sections=self.sections() if is_main else (),
            guard=self.guard() if is_main else None,
        )


def limits(*, trusted: bool) -> Limits:
    """How much and how long a caller may ask, from the settings; a batch from our own front door has been counted."""
    lists, documents = (INFER, "/classify/batch", "/embed/batch"), DOCUMENT_PATHS
    sizes = dict.fromkeys(lists, LIST_BYTES) | dict.fromkeys(documents, DOCUMENT_BYTES)
    return Limits(
        body_bytes=TRUSTED_BYTES if trusted else BODY_BYTES,
        body_bytes_of={} if trusted else sizes,
        too_large_of=dict.fromkeys(documents, DOCUMENT_TOO_LARGE),
        request_seconds=settings().request_seconds,
        request_seconds_of=dict.fromkeys((*documents, INFER, READ, SUMMARIZE), _document_seconds()),
        body_seconds=settings().body_seconds,
        probe_seconds_of={"/readyz": PROBE_SECONDS},
    )


def _document_seconds() -> float:
    """What is slow ends by itself before this, and says so better."""
    return settings().document_seconds + SPARE_SECONDS


def _routes_of(app: Any) -> Callable[[Scope], bool]:
    def known(scope: Scope) -> bool:
        return any(route.matches(scope)[0] is not Match.NONE for route in app.router.routes)

    return known


def configuration(port: int, service_class: type[EdgedService] = EdgedService) -> dict[str, Any]:
    """The arguments of ``@bentoml.service`` that all our services share."""
    return {
        "service_class": service_class,
        "http": {"port": port},
        # Our own deadline answers first; BentoML's would leave the work running and its slot free.
        "traffic": {"timeout": int(_document_seconds() + settings().body_seconds) + 60},
        # BentoML's client closes its session under the calls in flight after every 100 requests or 300 seconds:
        # one call in ten fails under load (bentoml issue 5540). So the session is never renewed.
        "runner_connection": {"max_requests": 1_000_000_000, "max_age": 1e9},
        # A path with %0a forges lines in BentoML's access log; the outermost layer writes one of its own.
        "logging": {"access": {"enabled": False}},
    }


def resources() -> dict[str, float]:
    """What a model asks for: a GPU of its own where there are enough, else a part of one; on a CPU nothing."""
    if not gpus():
        return {}
    models = GPU_MODELS + (settings().checkpoint is not None)
    return {"gpu": 1 if gpus() >= models else 1 / ceil(models / gpus())}


def threads() -> int:
    """CPU threads of a model beside the others; each taking every core would only make them wait for one another."""
    return settings().threads or max(1, cores() // MODELS)


def own(api: str) -> Call:
    """Asks the service that this process is, through the batcher of its native API ``api``."""
    return _asking(lambda: getattr(bentoml.get_current_service().to_async, api))


def own_method(api: str) -> Call:
    """Calls a native API of this process's service that is not batched.

    Without the way to itself that BentoML makes: it has a hundred connections, and an API that asks a batched one
    would keep one of them while it waits for another.
    """
    return _asking(lambda: getattr(bentoml.get_current_service(), api).local)


def dependency(name: str, api: str) -> Call:
    """Asks the service that this process's service depends on under the attribute ``name``."""
    return _asking(lambda: getattr(getattr(bentoml.get_current_service(), name).to_async, api))


def abandoned_with_caller(call: Call) -> Call:
    """The same, given up when the caller leaves: the connection to the model's process closes, which tells it so."""

    async def awaited(**arguments: Any) -> Any:
        return await while_awaited(_called(call, arguments))

    return awaited


async def _called(call: Call, arguments: dict[str, Any]) -> Any:
    return await call(**arguments)


def _asking(find: Callable[[], Callable[..., Awaitable[Any]]]) -> Call:
    async def call(**arguments: Any) -> Any:
        try:
            return await find()(**arguments)
        except (BentoMLException, aiohttp.ClientError, TimeoutError) as error:
            raise ModelUnavailable("the model does not answer; try again") from error

    return call


def infer_of(call: Call, seconds: float | None = None) -> Infer:
    """The model contract over a native API that speaks it, and has so long (``request_seconds``) to answer."""

    async def infer(requests: Sequence[InferenceRequest]) -> list[InferenceResult]:
        try:
            async with asyncio.timeout(seconds or settings().request_seconds):
                results: list[InferenceResult] = await call(requests=list(requests))
        except TimeoutError as error:
            raise ModelTimeout("The request took too long") from error
        return results

    return infer


def about_of(call: Call) -> About:
    """What a service says of itself, over its native API."""

    async def about() -> dict[str, Any] | None:
        said: dict[str, Any] = await call()
        return said

    return about


def own_infer() -> Infer:
    """Asks the service that this process is, through its batcher."""
    return infer_of(own("infer"))


def dependency_infer(name: str) -> Infer:
    """Asks the service that this process's service depends on under the attribute ``name``."""
    return infer_of(dependency(name, "infer"))


async def own_about() -> dict[str, Any] | None:
    """Nothing, of a service that is ready: its instance is made, and warmed up, before any request is taken."""
    return {} if bentoml.get_current_service() is not None else None


def dependency_about(name: str, facts: About | None = None) -> About:
    """Asks the service under the attribute ``name`` whether it is ready and, once, for the ``facts`` about it."""
    known: dict[str, Any] = {}

    async def about() -> dict[str, Any] | None:
        # Readiness first: of a call with a body that is given up while the service starts, BentoML logs a traceback.
        if not await getattr(bentoml.get_current_service(), name).is_ready():
            return None
        if facts is not None and not known:
            known.update(await facts() or {})
        return known

    return about
