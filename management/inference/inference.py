"""Inference of any model: those of the model contract as ever, and every other Bento by one of its own APIs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from management.domain.bento import BentoApi
from management.errors import (
    InferenceTimeout,
    InvalidRequest,
    ItemRefused,
    ManagementError,
    ModelBusy,
    ModelFailed,
    StreamingApi,
    TaskApi,
)
from management.gateway import contract
from management.gateway.call import CallOptions
from management.gateway.contract import Item, Result
from management.gateway.gateway import Gateway
from management.gateway.replica_answer import EVENT_STREAM
from management.gateway.replica_errors import ReplicaError
from management.inference import joining, schema_check
from management.inference.answers import Head, Output, output_of
from management.inference.arguments import Arguments, merged
from management.inference.bodies import call_of
from management.inference.choice import chosen
from management.inference.files import FileReader, file_names
from management.urls import own_address
from web import memory
from web.download.client import Downloader

PARALLEL_CALLS: Final = 32
"""Calls that one batch makes at a time."""
MARGIN_SECONDS: Final = 0.05
"""Seconds after the gateway's deadline, which is to pass first: it counts the call as one that timed out."""


@dataclass(frozen=True)
class ItemOutcome:
    """What a model gave for one input: an output, or an error instead of it."""

    output: Mapping[str, Any] | None = None
    confidence: float | None = None
    error: ManagementError | None = None


class Inference:
    """Calls models by the documented body, for every front that takes it."""

    def __init__(self, gateway: Gateway, downloader: Downloader, public_url: str) -> None:
        """``public_url`` is the server's."""
        self._gateway, self._downloader, self._url = gateway, downloader, public_url

    async def infer(
        self, model_id: str, items: Sequence[Item], options: CallOptions, api: str | None = None
    ) -> list[ItemOutcome]:
        """Return an outcome for each item, in order. ``api`` names one of the Bento's APIs.

        Raises ManagementError where no item can have an output.
        """
        bento = await self._gateway.bento(model_id)
        target = chosen(bento, self._gateway.default_api(model_id), api)
        if target is None:
            return [_of_contract(result) for result in await self._gateway.infer(model_id, items, options)]
        self._refuse_unanswerable(model_id, target)
        return await _ApiCalls(self._gateway, self._downloader, model_id, target, options).make(items)

    def _refuse_unanswerable(self, model_id: str, api: BentoApi) -> None:
        """Raise StreamingApi or TaskApi for an API that does not answer a call at once."""
        url = own_address(self._url, model_id) + api.route.removeprefix("/")
        details = {"model_id": model_id, "api": api.name, "url": url}
        if api.is_task:
            raise TaskApi({**details, "url": f"{url}/submit"})
        if api.streams:
            raise StreamingApi(details)


class _ApiCalls:
    """The calls of one request, to one API."""

    def __init__(
        self,
        gateway: Gateway,
        downloader: Downloader,
        model_id: str,
        api: BentoApi,
        options: CallOptions,
    ) -> None:
        self._gateway, self._model_id, self._api = gateway, model_id, api
        self._options = options
        self._files = FileReader(downloader)
        self._places = asyncio.Semaphore(PARALLEL_CALLS)
        self._deadline = asyncio.get_running_loop().time() + options.seconds

    async def make(self, items: Sequence[Item]) -> list[ItemOutcome]:
        """Make the calls, and return their outcomes. Raises the error that all of them have."""
        async with self._in_time():
            ready = await asyncio.gather(*(self._prepared(item) for item in items))
        outcomes = await self._as_one(ready) or await self._each(ready)
        _raise_common(outcomes)
        return outcomes

    async def _prepared(self, item: Item) -> Arguments | ManagementError:
        """The checked arguments of an item, with their files; the error of one that cannot be called."""
        try:
            arguments = merged(item["input_data"], item["parameters"])
            if problems := await asyncio.to_thread(schema_check.problems, self._api, arguments):
                raise InvalidRequest(*problems)
            names = file_names(self._api)
            return await self._files.read(arguments, names) if names else arguments
        except ManagementError as error:
            return error

    async def _as_one(self, ready: Sequence[Arguments | ManagementError]) -> list[ItemOutcome] | None:
        """The outcomes of one call for all items; None where they need calls of their own."""
        calls = [arguments for arguments in ready if isinstance(arguments, Arguments)]
        one = joining.joined(self._api, calls)
        if one is None:
            return None
        try:
            outputs = joining.split(await self._call(one[0], self._options.request_id), one[1])
        except (ItemRefused, ModelFailed):
            return None  # an item may be at fault, and the others are not
        if outputs is None:
            return None
        left = iter(outputs)
        return [
            ItemOutcome(error=part) if isinstance(part, ManagementError) else ItemOutcome(next(left)) for part in ready
        ]

    async def _each(self, ready: Sequence[Arguments | ManagementError]) -> list[ItemOutcome]:
        alone = len(ready) == 1
        request_id = self._options.request_id
        return await asyncio.gather(
            *(self._outcome(part, request_id if alone else f"{request_id}.{n}") for n, part in enumerate(ready))
        )

    async def _outcome(self, arguments: Arguments | ManagementError, request_id: str) -> ItemOutcome:
        if isinstance(arguments, ManagementError):
            return ItemOutcome(error=arguments)
        try:
            async with self._places:
                return ItemOutcome(await self._call(arguments, request_id))
        except ManagementError as error:
            return ItemOutcome(error=error)

    async def _call(self, arguments: Arguments, request_id: str) -> Output:
        call = await call_of(self._api, arguments, request_id)
        left = self._deadline - asyncio.get_running_loop().time()
        size = len(call.body) if isinstance(call.body, bytes) else 0
        options = replace(self._options, seconds=max(left, 0.0), request_id=request_id, size=size)
        async with self._in_time(), self._gateway.open(self._model_id, call, options) as answer:
            head = Head(answer)
            if head.status == 200 and head.content_type == EVENT_STREAM:
                raise StreamingApi({"model_id": self._model_id, "api": self._api.name})
            body = await _whole(answer.pieces(self._options.seconds), self._model_id)
        try:
            return await output_of(head, body, self._api, self._model_id)
        except ModelBusy as busy:
            raise ModelBusy(busy.details, retry_after=self._gateway.retry_after(self._model_id)) from None

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        """End what takes longer than the request may: the gateway's own deadline is over once an answer begins."""
        details = {"model_id": self._model_id, "timeout": self._options.seconds}
        try:
            async with asyncio.timeout_at(self._deadline + MARGIN_SECONDS):
                yield
        except TimeoutError:
            raise InferenceTimeout(details) from None
        except InferenceTimeout:
            raise InferenceTimeout(details) from None


async def _whole(pieces: AsyncIterator[bytes], model_id: str) -> bytes:
    """The whole body. Raises ModelFailed when it breaks, or is larger than an answer of the contract may be."""
    body = bytearray()
    try:
        async for piece in pieces:
            memory.hold(len(piece))
            body += piece
            if len(body) > contract.MAX_ANSWER_BYTES:
                raise ModelFailed({"model_id": model_id, "reason": "the answer is too large"})
    except ReplicaError:
        raise ModelFailed({"model_id": model_id}) from None
    return bytes(body)


def _of_contract(result: Result) -> ItemOutcome:
    error = result.get("error")
    if error is not None:
        refused = ItemRefused(contract.code_of(error.get("code")), contract.message_of(error.get("message")))
        return ItemOutcome(confidence=result.get("confidence"), error=refused)
    return ItemOutcome(result.get("output_data"), result.get("confidence"))


def _raise_common(outcomes: Sequence[ItemOutcome]) -> None:
    """Raise an error that all calls have and none is at fault for, such as that no replica is ready."""
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    if len(errors) < len(outcomes) or len({error.code for error in errors}) > 1:
        return
    if errors[0].status >= 500 or isinstance(errors[0], InferenceTimeout):
        raise errors[0]
