"""What arrives in pieces goes to the disk in a thread, and nothing stays of it when its sender leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from management.domain.bento_tag import StoredKind
from management.errors import (
    BentoAlreadyExists,
    BentoModelTaken,
    InvalidBento,
    InvalidModelFiles,
    InvalidRequest,
    ManagementError,
    PayloadTooLarge,
    Problem,
    StorageFull,
    StoredModelTaken,
    UploadNotFound,
)
from management.faults import disk
from management.packaging.archives.refusals import ArchiveRefused, BentoTaken, DiskFull, WrongDigest
from management.packaging.pushes.refusals import InvalidPath, InvalidTag, TooLong, TooMuch, UnknownUpload, WrongParts

DIGEST_FIELD: Final = "Content-Digest"
"""The header of a problem with a digest."""
WRITE_BYTES: Final = 1024 * 1024
"""Bytes of an upload that are gathered for one write."""
_PROBLEMS: Final[Mapping[type[Exception], Problem]] = {
    InvalidTag: Problem("tag", "push_tag"),
    WrongDigest: Problem(DIGEST_FIELD, "digest"),
}
_ERRORS: Final[Mapping[type[Exception], type[ManagementError]]] = {
    DiskFull: StorageFull,
    TooLong: PayloadTooLarge,
    TooMuch: PayloadTooLarge,
    UnknownUpload: UploadNotFound,
}
REFUSALS: Final[tuple[type[Exception], ...]] = (
    ArchiveRefused,
    BentoTaken,
    WrongParts,
    InvalidPath,
    *_PROBLEMS,
    *_ERRORS,
)
"""What ``translated`` has an error of the API for."""

Outcome_co = TypeVar("Outcome_co", covariant=True)
Outcome = TypeVar("Outcome")


class Receiver(Protocol[Outcome_co]):
    """What takes the pieces. Its methods block, and all but ``stop`` are called in one thread."""

    def open(self, length: int, /) -> None:
        """Prepare for so many bytes, or for any number where it is 0."""

    def write(self, piece: bytes, /) -> None:
        """Take a piece."""

    def finish(self) -> Outcome_co:
        """Return what came of it."""

    def stop(self) -> None:
        """Let ``finish`` end soon, because its caller has left."""

    def close(self) -> None:
        """Remove what is left; called in any case."""


async def received(
    receiver: Receiver[Outcome], pieces: AsyncIterator[bytes], length: int, kind: StoredKind = StoredKind.BENTO
) -> Outcome:
    """Give the pieces to the receiver, of which ``length`` bytes were announced, and return what came of them.

    Raises the errors of the API for what the receiver refuses. It is closed whatever happens, also when the caller
    leaves.
    """
    thread = ThreadPoolExecutor(1, thread_name_prefix="bento-upload")  # it orders the steps, also after a cancel
    run = asyncio.get_running_loop().run_in_executor
    try:
        await run(thread, receiver.open, length)
        async for piece in _gathered(pieces):
            await run(thread, receiver.write, piece)
        return await run(thread, receiver.finish)
    except REFUSALS as refused:
        raise translated(refused, kind) from None
    finally:
        receiver.stop()
        closing = run(thread, receiver.close)
        thread.shutdown(wait=False)
        await asyncio.shield(closing)


async def in_thread(work: Callable[..., Outcome], *given: Any, executor: Executor | None = None) -> Outcome:
    """Run what reads and writes files. Raises the errors of the API for what it refuses.

    Without an ``executor`` it runs in a thread of the event loop's.
    """
    try:
        return await asyncio.get_running_loop().run_in_executor(executor, partial(work, *given))
    except REFUSALS as refused:
        raise translated(refused, StoredKind.BENTO) from None
    except OSError as error:
        if disk.is_full(error):
            raise StorageFull from None
        raise


def translated(refused: Exception, kind: StoredKind) -> ManagementError:
    """Return the error of the API for a refusal of a Bento or of a stored model."""
    if isinstance(refused, ArchiveRefused):
        invalid = InvalidModelFiles if kind is StoredKind.MODEL else InvalidBento
        return invalid(Problem(refused.member, refused.kind, refused.values))
    if isinstance(refused, BentoTaken):
        return _taken(refused, kind)
    if isinstance(refused, InvalidPath):
        return InvalidRequest(Problem(refused.path, "source_path"))
    if isinstance(refused, WrongParts):
        field = "part_number" if refused.kind == "part_number" else "parts"
        return InvalidRequest(Problem(field, refused.kind, {"expected": refused.number}))
    problem = _PROBLEMS.get(type(refused))
    return InvalidRequest(problem) if problem else _ERRORS[type(refused)]()


def _taken(refused: BentoTaken, kind: StoredKind) -> ManagementError:
    if kind is StoredKind.MODEL:
        return StoredModelTaken({"model": refused.tag})
    return BentoModelTaken({"model": refused.tag}) if refused.is_model else BentoAlreadyExists({"bento": refused.tag})


async def _gathered(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield larger pieces: each write goes to a thread."""
    gathered = bytearray()
    async for piece in pieces:
        gathered += piece
        if len(gathered) >= WRITE_BYTES:
            yield bytes(gathered)
            gathered.clear()
    if gathered:
        yield bytes(gathered)
