"""The objects of a shared folder or an S3-compatible bucket, by obstore; no other module knows that library.

Each call has a deadline of its own, which also holds for a file system that hangs. After a failed call, others fail at
once for ``PAUSE_SECONDS``, so that a store that is away holds up few threads.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as DeadlinePassed
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotModifiedError, PermissionDeniedError
from obstore.exceptions import UnauthenticatedError as NoCredentials
from obstore.store import LocalStore, S3Store
from typing_extensions import override

from management.errors import SharedStoreUnavailable
from management.faults import disk
from management.faults.outage import Outage
from management.packaging.archives.refusals import DiskFull
from management.packaging.shared.credentials import of_files
from management.packaging.shared.objects import PIECE_BYTES, ObjectStore, StoredObject, Version

CALL_SECONDS: Final = 5.0
"""Seconds of a small call, with its second attempt."""
PIECE_SECONDS: Final = 30.0
"""Seconds in which a piece of an archive is sent or fetched."""
PAUSE_SECONDS: Final = 2.0
"""Seconds after a failed call during which further ones fail at once."""
MOST_CALLS: Final = 32
"""Calls under way at a time; further ones wait until their own deadline."""
RETRY_AFTER_SECONDS: Final = 5
"""Seconds after which a caller should try again."""
UNFINISHED: Final = "*#*"
"""Form of the files that obstore writes a large object to before it has its name."""
ANSWERS: Final = (FileNotFoundError, AlreadyExistsError, NotModifiedError)
"""What a store raises as an answer."""

Answer = TypeVar("Answer")
logger = logging.getLogger(__name__)


class ObstoreClient(ObjectStore):
    """The objects below a URL of the form ``file:///folder`` or ``s3://bucket/prefix?endpoint=...&region=...``.

    All methods block, and raise SharedStoreUnavailable when the store does not answer in time or refuses its
    credentials.
    """

    def __init__(self, url: str) -> None:
        self._pool = ThreadPoolExecutor(MOST_CALLS, thread_name_prefix="shared-store")
        self._outage = Outage(logger, "the shared store", "pushes and lists get 503, and what runs goes on")
        self._lock = threading.Lock()
        self._away_until = 0.0
        parts = urlsplit(url)
        self._folder = Path(unquote(parts.path)) if parts.scheme == "file" else None
        self._small: LocalStore | S3Store
        self._large: LocalStore | S3Store
        if self._folder is None:
            self._small, self._large = _bucket(url, CALL_SECONDS / 2), _bucket(url, PIECE_SECONDS)
        else:
            self._small = self._large = LocalStore()

    @override
    def read(self, key: str, known: Version | None = None) -> Version | None:
        try:
            return self._call(CALL_SECONDS, self._read, key, known)
        except FileNotFoundError:
            return None
        except NotModifiedError:
            return known

    def _read(self, key: str, known: Version | None) -> Version:
        given = obstore.get(
            self._small, self._path(key), options={"if_none_match": known.mark} if known and known.mark else {}
        )
        return Version(bytes(given.bytes()), given.meta["e_tag"] or "")

    @override
    def create(self, key: str, content: bytes) -> bool:
        try:
            self._call(CALL_SECONDS, partial(obstore.put, self._small, self._path(key), content, mode="create"))
        except AlreadyExistsError:
            return False
        return True

    @override
    def write(self, key: str, content: bytes) -> None:
        self._call(CALL_SECONDS, partial(obstore.put, self._small, self._path(key), content))

    @override
    def remove(self, key: str) -> None:
        try:
            self._call(CALL_SECONDS, obstore.delete, self._small, self._path(key))
        except FileNotFoundError:
            return

    @override
    def below(self, prefix: str) -> list[StoredObject]:
        found: list[StoredObject] = []
        batches = iter(obstore.list(self._small, self._path(prefix), chunk_size=1000))
        while (batch := self._call(CALL_SECONDS, self._batch, batches)) is not None:
            found += batch
        return sorted(found, key=lambda each: each.key)

    def _batch(self, batches: Iterator[object]) -> list[StoredObject] | None:
        self._require_folder()
        batch: list[Mapping[str, object]] | None = next(batches, None)  # type: ignore[assignment]
        if batch is None:
            return None
        return [
            StoredObject(self._key(str(each["path"])), int(str(each["size"])), _moment(each["last_modified"]))
            for each in batch
        ]

    @override
    def pieces(self, key: str, size: int) -> Iterator[bytes]:
        for start in range(0, size, PIECE_BYTES):
            length = min(PIECE_BYTES, size - start)
            fetch = partial(obstore.get_range, self._large, self._path(key), start=start, length=length)
            piece = bytes(self._call(PIECE_SECONDS, fetch))
            if len(piece) != length:
                raise FileNotFoundError(key)
            yield piece

    @override
    def send(self, key: str, pieces: Iterator[bytes]) -> int:
        writer = self._call(
            CALL_SECONDS,
            partial(obstore.open_writer, self._large, self._path(key), buffer_size=PIECE_BYTES, max_concurrency=1),
        )
        size = 0
        for piece in pieces:
            self._call(PIECE_SECONDS, writer.write, piece)
            size += len(piece)
        self._call(PIECE_SECONDS, writer.close)
        return size

    @override
    def remove_unfinished(self, seconds: float) -> None:
        if self._folder is not None:  # a bucket has a rule of its life cycle for it
            self._call(CALL_SECONDS, _remove_unfinished, self._folder, time.time() - seconds)

    def _call(self, seconds: float, work: Callable[..., Answer], *given: object) -> Answer:
        """Return what the work returns, in a thread of the store's own."""
        self._require_turn(seconds)
        try:
            answer = self._pool.submit(self._answered, work, *given).result(seconds)
        except ANSWERS:
            self._mark_here()
            raise
        except (BaseError, OSError, DeadlinePassed) as error:
            if isinstance(error, OSError) and disk.is_full(error):
                raise DiskFull from None
            self._mark_away(error)
            raise _unavailable() from None
        self._mark_here()
        return answer

    def _require_turn(self, seconds: float) -> None:
        """Raise SharedStoreUnavailable soon after a failed call; after a pause, the first call alone tries again."""
        with self._lock:
            now = time.monotonic()
            if now < self._away_until:
                raise _unavailable()
            if self._away_until:
                self._away_until = now + seconds

    def _answered(self, work: Callable[..., Answer], *given: object) -> Answer:
        self._require_folder()
        return work(*given)

    def _require_folder(self) -> None:
        """Raise OSError without the shared folder: one that is not mounted must not look like an empty one."""
        if self._folder is not None and not self._folder.is_dir():
            raise NotADirectoryError("the folder is not there")

    def _mark_away(self, error: BaseException) -> None:
        with self._lock:
            self._away_until = time.monotonic() + PAUSE_SECONDS
            self._outage.report(_cause(error))
        logger.debug("a call to the shared store failed: %s", type(error).__name__)

    def _mark_here(self) -> None:
        if self._away_until:
            with self._lock:
                self._away_until = 0.0
                self._outage.end()

    def _path(self, key: str) -> str:
        return key if self._folder is None else f"{self._folder.as_posix().strip('/')}/{key}"

    def _key(self, path: str) -> str:
        if self._folder is None:
            return path
        return path.removeprefix(f"{self._folder.as_posix().strip('/')}/")


def _bucket(url: str, seconds: float) -> S3Store:
    """Return the bucket of a URL, with a deadline for each attempt of a request."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    endpoint = options.get("endpoint", "")
    return S3Store(
        parts.hostname or "",
        prefix=unquote(parts.path).strip("/") or None,
        config=cast("Any", {**options, **of_files()}),
        client_options={
            "timeout": timedelta(seconds=seconds),
            "connect_timeout": timedelta(seconds=min(2.0, seconds)),
            "allow_http": endpoint.startswith("http://"),
        },
        retry_config={"max_retries": 1, "retry_timeout": timedelta(seconds=2 * seconds)},
    )


def _remove_unfinished(folder: Path, before: float) -> None:
    for file in folder.rglob(UNFINISHED):
        with suppress(FileNotFoundError):
            if file.stat().st_mtime < before:
                file.unlink()


def _moment(value: object) -> datetime:
    assert isinstance(value, datetime)  # noqa: S101
    return value


def _cause(error: BaseException) -> str:
    if isinstance(error, PermissionDeniedError | NoCredentials):
        return "it refuses the credentials"
    if isinstance(error, DeadlinePassed):
        return "no answer in time"
    return "the folder is not there" if isinstance(error, NotADirectoryError) else "it cannot be read or written"


def _unavailable() -> SharedStoreUnavailable:
    return SharedStoreUnavailable(retry_after=RETRY_AFTER_SECONDS)
