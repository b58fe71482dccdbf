"""Bentos and models come in and go out through threads, and what is wrong is said in the words of the API."""

from __future__ import annotations

import asyncio
import errno
import io
import tarfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from management.control.bentos import Bentos
from management.control.repository.stored_models import StoredModels
from management.control.repository.uploads import Uploads
from management.domain.bento_tag import StoredKind, Tag
from management.errors import (
    BentoAlreadyExists,
    BentoNotFound,
    InvalidBento,
    InvalidModelFiles,
    InvalidRequest,
    ManagementError,
    PayloadTooLarge,
    StorageFull,
    StoredModelNotFound,
    StoredModelTaken,
    UploadNotFound,
)
from management.packaging.archives.refusals import ContentChanged
from management.packaging.archives.workplace import PREFIX
from management.packaging.build import BentoHome
from management.packaging.pushes import records
from management.packaging.pushes.registrations import PushStatus
from management.settings import BentoSettings
from management.store import Store
from tests.support.bentos.bento_archives import files, model_yaml, tar
from tests.support.bentos.pushes import Ahead, pieces

IRIS, HELLO = Tag("iris", "1"), Tag("hello", "1.0.0")
BENTO, MODEL = StoredKind.BENTO, StoredKind.MODEL
ARCHIVE = tar({"./model.yaml": model_yaml(), "./weights": b"w"})
OTHER = tar({"./model.yaml": model_yaml(), "./weights": b"other"})
NOWHERE = Tag("..", "..")
LIMITS = BentoSettings(upload_bytes=1_000_000)


@pytest.fixture
def home(tmp_path: Path) -> BentoHome:
    return BentoHome(tmp_path / "bentoml")


@pytest.fixture
def models(home: BentoHome) -> StoredModels:
    return StoredModels(home, LIMITS)


@pytest.fixture
def uploads(home: BentoHome) -> Uploads:
    return Uploads(home, LIMITS)


@pytest.fixture
def bentos(home: BentoHome, tmp_path: Path) -> Iterator[Bentos]:
    store = Store(f"sqlite:///{tmp_path}/db")
    yield Bentos(store, home, LIMITS)
    store.close()


async def taken(content: AsyncIterator[bytes], length: int) -> bytes:
    """Return the archive that is sent, which is as long as it was said to be."""
    whole = b"".join([piece async for piece in content])
    assert len(whole) == length
    return whole


async def problem(work: Awaitable[object]) -> tuple[str, str]:
    """Return the field and the kind of the only problem of a request."""
    with pytest.raises(InvalidRequest) as caught:
        await work
    (found,) = caught.value.problems
    return found.field, found.kind


async def parts_of(uploads: Uploads, upload_id: str, content: bytes) -> list[tuple[int, str]]:
    half = len(content) // 2
    second = await uploads.put_part(upload_id, 2, pieces(content[half:]), len(content) - half)
    first = await uploads.put_part(upload_id, 1, pieces(content[:half]), half)
    return [(2, f'"{second}"'), (1, first)]


async def test_a_model_goes_in_and_comes_out_the_same(models: StoredModels) -> None:
    assert (await models.receive(IRIS, pieces(ARCHIVE), len(ARCHIVE))).is_new
    assert not (await models.receive(IRIS, pieces(ARCHIVE), 0)).is_new
    kept = await models.get(IRIS)
    assert (kept.tag, kept.document["name"]) == (IRIS, "iris")
    assert await models.all() == await models.all("iris") == [kept]
    assert await models.all("other") == []
    assert await models.page(None, 1, 0) == ([kept], 1)
    assert await models.page("iris", 1, 1) == ([], 1)
    length, content = await models.packed(IRIS)
    with tarfile.open(fileobj=io.BytesIO(await taken(content, length))) as archive:
        assert archive.getnames() == [".", "./model.yaml", "./weights"]


async def test_what_is_wrong_with_a_model_is_said_in_the_words_of_the_api(models: StoredModels) -> None:
    await models.receive(IRIS, pieces(ARCHIVE), 0)
    with pytest.raises(StoredModelTaken) as taken_already:
        await models.receive(IRIS, pieces(OTHER), 0)
    assert taken_already.value.details == {"model": "iris:1"}
    with pytest.raises(InvalidModelFiles) as refused:
        await models.receive(Tag("iris", "2"), pieces(ARCHIVE), 0)
    assert (refused.value.status, refused.value.problems[0].kind) == (422, "archive_other_tag")
    assert refused.value.problems[0].values == {"found": "iris:1", "expected": "iris:2"}
    with pytest.raises(StorageFull):
        await models.receive(IRIS, pieces(ARCHIVE), 2**60)
    assert await problem(models.receive(NOWHERE, pieces(ARCHIVE), 0)) == ("tag", "push_tag")
    for tag in (Tag("iris", "2"), NOWHERE):
        with pytest.raises(StoredModelNotFound):
            await models.get(tag)
        with pytest.raises(StoredModelNotFound):
            await models.packed(tag)


async def test_a_bento_is_received_under_its_tag_and_goes_out_without_its_models(bentos: Bentos) -> None:
    archive = tar(files())
    with pytest.raises(InvalidBento) as refused:
        await bentos.receive(pieces(archive), {}, 0, Tag("hello", "2.0.0"))
    assert refused.value.problems[0].kind == "archive_other_tag"
    assert (await bentos.receive(pieces(archive), {}, 0, HELLO)).is_new
    with pytest.raises(BentoAlreadyExists):
        await bentos.receive(pieces(tar({**files(), "src/service.py": b"other"})), {}, 0, HELLO)
    length, content = await bentos.packed(HELLO)
    packed = await taken(content, length)
    assert not (await bentos.receive(pieces(packed), {}, length, HELLO)).is_new
    assert (await bentos.document(HELLO))["entry_service"] == "Hello"
    for tag in (Tag("hello", "2.0.0"), NOWHERE):
        with pytest.raises(BentoNotFound):
            await bentos.packed(tag)
        with pytest.raises(BentoNotFound):
            await bentos.document(tag)


async def test_a_bento_whose_file_cannot_be_read_has_an_empty_document(bentos: Bentos, home: BentoHome) -> None:
    await bentos.receive(pieces(tar(files())), {}, 0)
    (home.folder(HELLO) / "bento.yaml").write_bytes(b"[" * 1000)
    assert await bentos.document(HELLO) == {}


async def test_what_no_archive_carries_is_refused_before_the_first_byte(models: StoredModels, home: BentoHome) -> None:
    await models.receive(IRIS, pieces(ARCHIVE), 0)
    (home.folder(IRIS, MODEL) / "link").symlink_to("/etc/hostname")
    with pytest.raises(InvalidModelFiles) as refused:
        await models.packed(IRIS)
    assert (refused.value.problems[0].field, refused.value.problems[0].kind) == ("link", "archive_link")


async def test_a_download_breaks_off_when_the_model_changes(models: StoredModels, home: BentoHome) -> None:
    await models.receive(IRIS, pieces(ARCHIVE), 0)
    length, content = await models.packed(IRIS)
    (home.folder(IRIS, MODEL) / "weights").unlink()
    with pytest.raises(ContentChanged):
        await taken(content, length)


async def test_a_caller_who_leaves_a_download_closes_the_file(models: StoredModels, home: BentoHome) -> None:
    large = tar({"./model.yaml": model_yaml(), "./weights": bytes(5_000_000)})
    await StoredModels(home, BentoSettings()).receive(IRIS, pieces(large), 0)
    _, content = await models.packed(IRIS)
    await anext(content)
    weights = home.folder(IRIS, MODEL) / "weights"
    assert weights in opened_files()
    await content.aclose()
    assert weights not in opened_files()


def opened_files() -> set[Path]:
    """Return the files that this process has opened."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        try:
            found.add(link.readlink())
        except FileNotFoundError:
            continue
    return found


async def test_a_push_in_parts_is_known_to_every_worker(
    uploads: Uploads, home: BentoHome, models: StoredModels
) -> None:
    other = Uploads(home, LIMITS)
    await uploads.register(MODEL, IRIS, manifest={"module": "sklearn"}, labels={"a": "b"}, description="flowers")
    upload_id = await uploads.start(MODEL, IRIS)
    noted = await other.registration(MODEL, IRIS)
    assert noted is not None
    assert (noted.status, noted.manifest) == (PushStatus.UPLOADING, {"module": "sklearn"})
    assert upload_id not in str(noted)
    assert await other.target(upload_id) == (MODEL, IRIS)
    assert (await other.complete(upload_id, await parts_of(uploads, upload_id, ARCHIVE))).is_new
    assert [registration.status for registration in await uploads.registrations(MODEL)] == [PushStatus.SUCCESS]
    assert (await models.get(IRIS)).tag == IRIS
    for gone in (other.target(upload_id), other.complete(upload_id, []), other.put_part(upload_id, 1, pieces(b""), 0)):
        with pytest.raises(UploadNotFound):
            await gone


async def test_what_a_client_says_is_kept_as_it_says_it(uploads: Uploads) -> None:
    assert await uploads.finish(BENTO, HELLO, succeeded=False, reason="it broke") is None
    updated = await uploads.update(BENTO, HELLO, labels={"a": "b"}, manifest=None)
    assert (updated.manifest, updated.labels, updated.status) == ({}, {"a": "b"}, PushStatus.PENDING)
    updated = await uploads.update(BENTO, HELLO, description="text", status=PushStatus.UPLOADING)
    assert (updated.labels, updated.description, updated.status) == ({"a": "b"}, "text", PushStatus.UPLOADING)
    failed = await uploads.finish(BENTO, HELLO, succeeded=False, reason="it broke")
    assert failed is not None
    assert (failed.status, failed.reason) == (PushStatus.FAILED, "it broke")
    ended = await uploads.finish(BENTO, HELLO, succeeded=True)
    assert ended is not None
    assert (ended.status, ended.reason) == (PushStatus.SUCCESS, "")
    assert await uploads.register(BENTO, HELLO, manifest={}) == await uploads.registration(BENTO, HELLO)
    assert await uploads.registrations(MODEL) == []


async def test_what_is_wrong_with_a_push_is_said_in_the_words_of_the_api(uploads: Uploads) -> None:
    with pytest.raises(PayloadTooLarge):
        await uploads.register(MODEL, IRIS, manifest={"a": "x" * records.MAX_BYTES})
    for work in (uploads.start, uploads.ticket, uploads.update):
        assert await problem(work(MODEL, NOWHERE)) == ("tag", "push_tag")
    assert await problem(uploads.register(MODEL, NOWHERE, manifest={})) == ("tag", "push_tag")
    assert await uploads.registration(MODEL, NOWHERE) is None
    upload_id = await uploads.start(MODEL, IRIS)
    assert await problem(uploads.put_part(upload_id, 0, pieces(b"x"), 1)) == ("part_number", "part_number")
    for length in (0, 1_000_001):
        with pytest.raises(PayloadTooLarge):
            await uploads.put_part(upload_id, 1, pieces(bytes(1_000_001)), length)
    parts = await parts_of(uploads, upload_id, ARCHIVE)
    assert await problem(uploads.complete(upload_id, parts[:1])) == ("parts", "part_missing")
    assert await problem(uploads.complete(upload_id, [parts[0], (1, "0")])) == ("parts", "part_other")
    other = await uploads.start(MODEL, IRIS)
    assert (await uploads.complete(other, await parts_of(uploads, other, OTHER))).is_new
    with pytest.raises(StoredModelTaken):
        await uploads.complete(upload_id, parts)
    wrong = await uploads.start(BENTO, HELLO)
    with pytest.raises(InvalidBento):
        await uploads.complete(wrong, await parts_of(uploads, wrong, ARCHIVE))


async def test_a_full_disk_is_said_at_every_step(uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    upload_id = await uploads.start(MODEL, IRIS)
    parts = await parts_of(uploads, upload_id, ARCHIVE)

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as full:
        full.setattr("management.packaging.archives.room.SPARE_BYTES", 2**62)
        full.setattr(Path, "write_text", fail)
        for work in (
            uploads.register(MODEL, IRIS, manifest={}),
            uploads.start(MODEL, IRIS),
            uploads.ticket(MODEL, IRIS),
            uploads.put_part(upload_id, 3, pieces(b"x"), 1),
            uploads.complete(upload_id, parts),
        ):
            with pytest.raises(StorageFull):
                await work
    assert (await uploads.complete(upload_id, parts)).is_new


async def test_another_error_of_the_disk_stays_what_it_is(uploads: Uploads, home: BentoHome) -> None:
    home.home.mkdir()
    (home.home / records.FOLDER).write_text("no folder")
    with pytest.raises(OSError, match="File exists"):
        await uploads.register(MODEL, IRIS, manifest={})


async def test_a_caller_who_leaves_a_part_leaves_nothing_and_the_next_goes_on(
    uploads: Uploads, home: BentoHome
) -> None:
    upload_id = await uploads.start(MODEL, IRIS)
    arrived = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield bytes(100_000)
        arrived.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(uploads.put_part(upload_id, 1, endless(), 0))
    await arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not list(home.home.glob(f"{PREFIX}*"))
    assert (await uploads.complete(upload_id, await parts_of(uploads, upload_id, ARCHIVE))).is_new


async def test_a_completion_goes_on_when_its_caller_leaves(
    uploads: Uploads, home: BentoHome, models: StoredModels
) -> None:
    upload_id = await uploads.start(MODEL, IRIS)
    parts = await parts_of(uploads, upload_id, ARCHIVE)
    with home.locked():  # so that it waits
        task = asyncio.create_task(uploads.complete(upload_id, parts))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await until(models.all)
    assert (await models.get(IRIS)).tag == IRIS
    await uploads.close()
    await until(lambda: asyncio.to_thread(lambda: not list(home.home.glob(f"{PREFIX}*"))))


async def until(condition: Callable[[], Awaitable[Any]], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


async def test_a_server_that_ends_ends_its_completions(uploads: Uploads, home: BentoHome, models: StoredModels) -> None:
    upload_id = await uploads.start(MODEL, IRIS)
    parts = await parts_of(uploads, upload_id, ARCHIVE)
    with home.locked():
        task = asyncio.create_task(uploads.complete(upload_id, parts))
        await asyncio.sleep(0.05)
        closing = asyncio.create_task(uploads.close())
        await asyncio.sleep(0.05)
    await closing
    with pytest.raises((asyncio.CancelledError, ManagementError)):
        await task
    assert await models.all() == []
    assert not list(home.home.glob(f"{PREFIX}*"))


async def test_tickets_and_uploads_end_with_time(home: BentoHome) -> None:
    clock = Ahead()
    uploads = Uploads(home, LIMITS, clock)
    text = await uploads.ticket(BENTO, HELLO)
    assert await uploads.of_ticket(text) == (BENTO, HELLO)
    assert await uploads.of_ticket("no ticket") is None
    await uploads.register(BENTO, HELLO, manifest={})
    earlier = await uploads.start(BENTO, HELLO)
    clock.seconds = 25 * 3600.0
    assert await uploads.of_ticket(text) is None
    later = await uploads.start(BENTO, HELLO)  # removes what is left
    with pytest.raises(UploadNotFound):
        await uploads.target(earlier)
    assert await uploads.target(later) == (BENTO, HELLO)
    assert await uploads.registrations(BENTO) == []


def test_a_model_whose_tag_no_push_can_have_is_left_out(home: BentoHome) -> None:
    (home.home / "models" / "a--b" / "1").mkdir(parents=True)
    (home.home / "models" / "a--b" / "1" / "model.yaml").write_bytes(model_yaml("a--b"))
    assert asyncio.run(StoredModels(home, LIMITS).all()) == []
