"""Each step of a push arrives at another control plane, and all of them know what came before it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from management.control.repository.uploads import Uploads
from management.domain.bento_tag import StoredKind, Tag
from management.errors import InvalidRequest, PayloadTooLarge, UploadNotFound
from management.packaging.pushes.registrations import PushStatus
from management.packaging.shared.objects import PIECE_BYTES
from management.packaging.shared.shared_pushes import TICKETS, UPLOADS
from management.packaging.shared.shelves import SharedModelShelf
from management.packaging.shared.sweep import sweep
from management.settings import BentoSettings
from tests.management.packaging.shared.conftest import ControlPlane
from tests.support.bentos.bento_archives import model_yaml, tar
from tests.support.bentos.pushes import Ahead

IRIS, MODEL = Tag("iris", "1"), StoredKind.MODEL
LIMITS = BentoSettings(upload_bytes=3 * PIECE_BYTES)


async def content(data: bytes) -> AsyncIterator[bytes]:
    yield data


@pytest.fixture
def pair(plane: ControlPlane) -> tuple[Uploads, Uploads]:
    ours, theirs = plane("a"), plane("b")
    return Uploads(ours.home, LIMITS, shared=ours), Uploads(theirs.home, LIMITS, shared=theirs)


async def test_parts_that_came_to_several_make_one_model_once(
    pair: tuple[Uploads, Uploads], plane: ControlPlane
) -> None:
    a, b = pair
    archive = tar({"./model.yaml": model_yaml(), "./weights": bytes(PIECE_BYTES + 1000)})
    await a.register(MODEL, IRIS, manifest={"size_bytes": len(archive)})
    upload_id = await b.start(MODEL, IRIS)
    seen = await a.registration(MODEL, IRIS)
    assert seen is not None
    assert seen.status is PushStatus.UPLOADING
    half = len(archive) // 2
    first = await a.put_part(upload_id, 1, content(b"not the first part"), 0)
    second = await b.put_part(upload_id, 2, content(archive[half:]), 0)
    again = await b.put_part(upload_id, 1, content(archive[:half]), 0)
    with pytest.raises(InvalidRequest):
        await a.complete(upload_id, [(1, first), (2, second)])
    assert (await a.complete(upload_id, [(2, second), (1, again)])).is_new
    for uploads in pair:
        with pytest.raises(UploadNotFound):
            await uploads.complete(upload_id, [(2, second), (1, again)])
        with pytest.raises(UploadNotFound):
            await uploads.put_part(upload_id, 1, content(b"late"), 0)
    looking = plane("looking")
    assert SharedModelShelf(looking).tags() == [IRIS]
    assert looking.objects.below(UPLOADS) == []


async def test_the_parts_of_all_control_planes_count_for_the_limit(pair: tuple[Uploads, Uploads]) -> None:
    a, b = pair
    upload_id = await a.start(MODEL, IRIS)
    await a.put_part(upload_id, 1, content(bytes(2 * PIECE_BYTES)), 0)
    with pytest.raises(PayloadTooLarge):
        await b.put_part(upload_id, 2, content(bytes(PIECE_BYTES + 1)), 0)


async def test_a_ticket_opens_everywhere_for_its_hour(plane: ControlPlane) -> None:
    ours, theirs, clock = plane("a"), plane("b"), Ahead()
    a, b = (Uploads(each.home, LIMITS, clock, shared=each) for each in (ours, theirs))
    text = await a.ticket(MODEL, IRIS)
    assert await b.of_ticket(text) == (MODEL, IRIS)
    assert await b.of_ticket("x" * 43) is None
    assert text not in str(ours.objects.below(TICKETS))
    clock.seconds = 3600.0
    assert await b.of_ticket(text) is None


async def test_uploads_go_a_day_after_their_last_part(pair: tuple[Uploads, Uploads], plane: ControlPlane) -> None:
    a, b = pair
    upload_id = await a.start(MODEL, IRIS)
    await b.put_part(upload_id, 1, content(b"part"), 0)
    looking = plane("looking")
    sweep(looking)
    assert await b.target(upload_id) == (MODEL, IRIS)
    sweep(looking, Ahead(24 * 3600 + 60))
    with pytest.raises(UploadNotFound):
        await b.target(upload_id)
    assert looking.objects.below(UPLOADS) == []


def test_what_obstore_left_of_a_killed_write_goes_with_the_sweep(tmp_path: Path, plane: ControlPlane, url: str) -> None:
    if not url.startswith("file"):
        return  # a bucket has a rule of its life cycle for it
    ours = plane("a")
    ours.objects.send("archives/whole", iter([b"1"]))
    left = tmp_path / "shared" / "archives" / "of-a-killed-push.tar#1"
    left.write_bytes(b"half")
    ours.objects.remove_unfinished(3600.0)
    assert left.exists()
    ours.objects.remove_unfinished(-1.0)
    assert not left.exists()
    assert len(ours.objects.below("archives")) == 1
