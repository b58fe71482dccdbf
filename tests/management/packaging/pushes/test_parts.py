"""Parts arrive in any order and more than once; what they make comes in whole, and two uploads never mix."""

from __future__ import annotations

import hashlib
import os
import threading
import tracemalloc
from pathlib import Path

import pytest

from management.domain.bento_tag import StoredKind, Tag
from management.packaging.archives.admission import Taken
from management.packaging.archives.refusals import ArchiveRefused, BentoTaken, DiskFull, Stopped
from management.packaging.archives.room import Room
from management.packaging.archives.workplace import PREFIX, remove_abandoned
from management.packaging.build import BentoHome
from management.packaging.model_shelf import ModelShelf
from management.packaging.pushes.parts import PartUpload
from management.packaging.pushes.refusals import TooMuch, UnknownUpload, WrongParts
from management.packaging.pushes.uploads import MAX_PARTS, LocalUpload, PendingUploads
from management.packaging.shelf import BentoShelf
from management.settings import BentoSettings
from tests.support.bentos.bento_archives import files, member, model_yaml, tar
from tests.support.bentos.pushes import assembly, begun, put
from tests.support.bentos.uploading import dies, pushed_through

IRIS, HELLO = Tag("iris", "1"), Tag("hello", "1.0.0")
MIB = 1024 * 1024


@pytest.fixture
def home(tmp_path: Path) -> BentoHome:
    return BentoHome(tmp_path / "bentoml")


def model(weights: bytes = b"w") -> bytes:
    return tar({"./model.yaml": model_yaml(), "./weights": weights})


def parted(content: bytes, size: int = 4096) -> dict[int, bytes]:
    return {number + 1: content[start : start + size] for number, start in enumerate(range(0, len(content), size))}


def put_all(home: BentoHome, upload_id: str, content: bytes, size: int = 4096) -> list[tuple[int, str]]:
    """Put all parts, the last one first."""
    numbered = sorted(parted(content, size).items(), reverse=True)
    return [(number, put(home, upload_id, number, part)) for number, part in numbered]


def completed(home: BentoHome, upload_id: str, parts: list[tuple[int, str]]) -> Taken:
    return pushed_through(assembly(home, upload_id, parts), b"", home)


def kept(home: BentoHome) -> bytes:
    return (home.home / "models" / "iris" / "1" / "weights").read_bytes()


def uploads(home: BentoHome) -> list[str]:
    return [folder.name for folder in (home.home / ".pushes" / "uploads").iterdir()]


def test_parts_in_any_order_make_the_archive_and_nothing_of_them_stays(home: BentoHome) -> None:
    upload = begun(home, IRIS)
    parts = put_all(home, upload, model(bytes(range(256)) * 100))
    assert len(parts) > 5
    assert completed(home, upload, parts) == Taken(IRIS, is_new=True)
    assert kept(home) == bytes(range(256)) * 100
    assert uploads(home) == []
    with pytest.raises(UnknownUpload):
        assembly(home, upload, parts)


def test_a_bento_comes_in_parts_too(home: BentoHome) -> None:
    upload = begun(home, HELLO, StoredKind.BENTO)
    assert completed(home, upload, put_all(home, upload, tar(files()))) == Taken(HELLO, is_new=True)
    assert BentoShelf(home).tags() == [HELLO]


def test_the_etag_is_the_digest_of_the_part_and_a_part_that_comes_again_replaces_it(home: BentoHome) -> None:
    upload = begun(home, IRIS)
    first, second = put(home, upload, 1, b"first"), put(home, upload, 1, b"second")
    assert (first, second) == tuple(hashlib.sha256(text).hexdigest() for text in (b"first", b"second"))
    assert put(home, upload, 1, b"second") == second
    assert PendingUploads(home).get(upload).parts() == {(1, second): 6}
    with pytest.raises(WrongParts) as caught:
        completed(home, upload, [(1, first)])
    assert (caught.value.kind, caught.value.number) == ("part_other", 1)


def test_of_one_part_that_comes_twice_at_once_one_stays(home: BentoHome) -> None:
    upload = begun(home, IRIS)
    for _ in range(5):
        begin = threading.Barrier(4)

        def receive(number: int, begin: threading.Barrier = begin) -> None:
            part = PartUpload(home, BentoSettings(), PendingUploads(home).get(upload), 1)
            part.open(0)
            part.write(b"%d" % number)
            begin.wait(30)
            part.finish()
            part.close()

        threads = [threading.Thread(target=receive, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(PendingUploads(home).get(upload).parts()) == 1


def test_parts_that_are_missing_or_others_are_refused_and_the_upload_goes_on(home: BentoHome) -> None:
    upload = begun(home, IRIS)
    parts = sorted(put_all(home, upload, model()))
    other = (2, hashlib.sha256(b"").hexdigest())
    wrong = {
        "none": ([], "part_missing", 1),
        "not the first": (parts[1:], "part_missing", 1),
        "a gap": ([parts[0], parts[2]], "part_missing", 2),
        "one twice": ([parts[0], *parts], "part_missing", 2),
        "one that never came": ([*parts, (len(parts) + 1, other[1])], "part_missing", len(parts) + 1),
        "another content": ([parts[0], other, *parts[2:]], "part_other", 2),
        "no digest": ([(1, "../about.json"), *parts[1:]], "part_other", 1),
    }
    for name, (given, kind, number) in wrong.items():
        with pytest.raises(WrongParts) as caught:
            completed(home, upload, given)
        assert (caught.value.kind, caught.value.number) == (kind, number), name
    assert completed(home, upload, parts).is_new


def test_a_part_that_the_disk_did_not_keep_is_noticed(home: BentoHome) -> None:
    upload = begun(home, IRIS)
    parts = put_all(home, upload, model())
    found = PendingUploads(home).get(upload)
    assert isinstance(found, LocalUpload)
    number, digest = min(parts)
    content = found.file(number, digest).read_bytes()
    found.file(number, digest).write_bytes(bytes(len(content)))
    with pytest.raises(WrongParts) as caught:
        completed(home, upload, parts)
    assert (caught.value.kind, caught.value.number) == ("part_other", number)
    assert ModelShelf(home).tags() == []
    assert uploads(home) == []


@pytest.mark.parametrize("number", [0, -1, MAX_PARTS + 1])
def test_a_number_that_no_part_has_is_refused(number: int, home: BentoHome) -> None:
    with pytest.raises(WrongParts) as caught:
        put(home, begun(home, IRIS), number, b"x")
    assert (caught.value.kind, caught.value.number) == ("part_number", MAX_PARTS)


@pytest.mark.parametrize("upload_id", ["", ".", "..", "../tickets", "A" * 43, "A" * 42 + "/", "A" * 100, "é" * 43])
def test_an_id_that_was_not_given_is_unknown(upload_id: str, home: BentoHome) -> None:
    begun(home, IRIS)
    with pytest.raises(UnknownUpload):
        put(home, upload_id, 1, b"x")


def test_another_path_to_an_upload_is_no_id_of_it(home: BentoHome) -> None:
    upload = begun(home, IRIS)
    for path in (f"../uploads/{upload}", f"./{upload}", f"{upload}/", f"{upload}/."):
        with pytest.raises(UnknownUpload):
            put(home, path, 1, b"x")


def test_an_id_cannot_be_guessed(home: BentoHome) -> None:
    ids = {begun(home, IRIS) for _ in range(20)}
    assert len(ids) == 20
    assert {len(upload) for upload in ids} == {43}


def test_all_parts_together_are_no_larger_than_an_archive(home: BentoHome) -> None:
    limits = BentoSettings(upload_bytes=2000)
    upload = begun(home, IRIS)
    put(home, upload, 1, bytes(1000), limits)
    with pytest.raises(TooMuch):
        put(home, upload, 2, bytes(1001), limits)
    announced = PartUpload(home, limits, PendingUploads(home).get(upload), 2)
    with pytest.raises(TooMuch):
        announced.open(1001)
    announced.close()
    unannounced = PartUpload(home, limits, PendingUploads(home).get(upload), 2)
    unannounced.open(0)
    unannounced.write(bytes(600))
    with pytest.raises(TooMuch):
        unannounced.write(bytes(600))
    unannounced.close()
    put(home, upload, 1, bytes(2000), limits)  # instead of the first one
    with pytest.raises(TooMuch):
        put(home, upload, 2, b"x", limits)


def test_parts_that_come_at_once_are_counted_together(home: BentoHome) -> None:
    limits = BentoSettings(upload_bytes=2000)
    pending = PendingUploads(home).get(begun(home, IRIS))
    parts = [PartUpload(home, limits, pending, number) for number in (1, 2)]
    for part in parts:
        part.open(1500)
        part.write(bytes(1500))
    parts[0].finish()
    with pytest.raises(TooMuch):
        parts[1].finish()
    for part in parts:
        part.close()
    assert list(pending.parts().values()) == [1500]


def test_another_tag_or_kind_than_the_upload_is_of_is_refused_and_ends_it(home: BentoHome) -> None:
    for tag, kind, content, reason in (
        (Tag("iris", "2"), StoredKind.MODEL, model(), "archive_other_tag"),
        (Tag("hello", "2.0.0"), StoredKind.BENTO, tar(files()), "archive_other_tag"),
        (HELLO, StoredKind.MODEL, tar(files()), "archive_no_model"),
        (IRIS, StoredKind.BENTO, model(), "archive_no_bento"),
        (IRIS, StoredKind.MODEL, b"nothing", "archive_broken"),
    ):
        upload = begun(home, tag, kind)
        parts = put_all(home, upload, content)
        with pytest.raises(ArchiveRefused) as caught:
            completed(home, upload, parts)
        assert caught.value.kind == reason
    assert uploads(home) == []
    assert ModelShelf(home).tags() == BentoShelf(home).tags() == []


def test_two_uploads_of_one_tag_never_mix_and_one_wins(home: BentoHome) -> None:
    contents = {weights: model(weights * 20_000) for weights in (b"a", b"b")}
    begun_uploads = {weights: begun(home, IRIS) for weights in contents}
    parts: dict[bytes, list[tuple[int, str]]] = {weights: [] for weights in contents}
    for number in parted(contents[b"a"]):
        for weights, content in contents.items():
            part = parted(content)[number]
            parts[weights].append((number, put(home, begun_uploads[weights], number, part)))
    outcomes: list[str] = []
    begin = threading.Barrier(2)

    def complete(weights: bytes) -> None:
        one = assembly(home, begun_uploads[weights], parts[weights])
        begin.wait(30)
        try:
            one.open(0)
            one.finish()
            outcomes.append(weights.decode())
        except BentoTaken:
            outcomes.append("taken")
        one.close()

    threads = [threading.Thread(target=complete, args=(weights,)) for weights in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winner = kept(home)[:1]
    assert kept(home) == winner * 20_000
    assert sorted(outcomes) == sorted([winner.decode(), "taken"])


def test_an_upload_is_completed_once_however_often_it_is_asked(home: BentoHome) -> None:
    upload = begun(home, IRIS)
    parts = put_all(home, upload, model())
    first, second = (assembly(home, upload, parts) for _ in range(2))
    late = PartUpload(home, BentoSettings(), PendingUploads(home).get(upload), 1)
    late.open(0)
    first.open(0)
    with pytest.raises(UnknownUpload):
        second.open(0)
    with pytest.raises(UnknownUpload):
        late.finish()
    assert first.finish().is_new
    for step in (first, second, late):
        step.close()


def test_a_caller_who_has_left_ends_the_work(home: BentoHome) -> None:
    upload = begun(home, IRIS)
    one = assembly(home, upload, put_all(home, upload, model()))
    one.open(0)
    one.stop()
    with pytest.raises(Stopped):
        one.finish()
    assert len(list(home.home.glob(f"{PREFIX}*/parts/*-*"))) == len(one._parts)
    one.close()
    assert ModelShelf(home).tags() == []


def test_a_full_disk_is_said_and_a_part_can_come_again(home: BentoHome, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = begun(home, IRIS)
    parts = put_all(home, upload, model())
    with monkeypatch.context() as full:
        full.setattr("management.packaging.archives.room.SPARE_BYTES", 2**62)
        full.setattr("management.packaging.archives.room.LOOK_BYTES", 1)
        with pytest.raises(DiskFull):
            put(home, upload, 1, b"x")
        with pytest.raises(DiskFull):
            completed(home, upload, parts)
    part = PartUpload(home, BentoSettings(), PendingUploads(home).get(upload), 9)
    part.open(0)
    monkeypatch.setattr("management.packaging.archives.room.SPARE_BYTES", 2**62)
    monkeypatch.setattr("management.packaging.archives.room.LOOK_BYTES", 1)
    with pytest.raises(DiskFull):
        part.write(b"x")
    part.close()
    monkeypatch.undo()
    assert completed(home, upload, parts).is_new


def test_a_completion_asks_for_room_for_its_largest_part(home: BentoHome, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = begun(home, IRIS)
    one = assembly(home, upload, put_all(home, upload, model(bytes(5000)), size=6000))
    asked: list[int] = []
    monkeypatch.setattr(Room, "require", lambda _, size: asked.append(size))
    one.open(0)
    one.close()
    assert asked == [6000]


def test_the_disk_never_holds_an_archive_twice(home: BentoHome) -> None:
    upload = begun(home, IRIS)
    parts = put_all(home, upload, model(os.urandom(400_000)), size=50_000)
    one = assembly(home, upload, parts)
    one.open(0)
    sizes: list[int] = []
    write = one._upload.write
    one._upload.write = lambda piece: (write(piece), sizes.append(received(home)))[0]  # type: ignore[method-assign,func-returns-value]
    one.finish()
    one.close()
    assert len(sizes) == len(parts)
    assert max(sizes) < 410_000 + 2 * 50_000


def received(home: BentoHome) -> int:
    """Return the bytes in workplaces."""
    return sum(file.stat().st_size for file in home.home.glob(f"{PREFIX}*/**/*") if file.is_file())


def test_a_large_upload_takes_no_memory(home: BentoHome) -> None:
    upload = begun(home, IRIS)
    head = tar({"./model.yaml": model_yaml()})[:1024] + member("./weights", size=200 * MIB).tobuf()
    parts = []
    tracemalloc.start()
    for number in range(1, 6):
        part = PartUpload(home, BentoSettings(), PendingUploads(home).get(upload), number)
        part.open(40 * MIB)
        part.write(head if number == 1 else b"")
        for _ in range(40):
            part.write(os.urandom(MIB))
        part.write(bytes(1024) if number == 5 else b"")
        parts.append((number, part.finish()))
        part.close()
    assert completed(home, upload, parts).is_new
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30 * MIB
    assert (home.home / "models" / "iris" / "1" / "weights").stat().st_size == 200 * MIB


@pytest.mark.server
def test_killed_at_any_step_nothing_is_half_there_and_the_next_upload_goes_through(tmp_path: Path) -> None:
    content = model()
    died = 0
    for step in range(1, 1000):
        home = BentoHome(tmp_path / str(step))
        if not dies(step, lambda home=home: push(home, content)):  # type: ignore[misc]
            break
        died += 1
        assert ModelShelf(home).tags() in ([], [IRIS])
        if home.home.is_dir():
            remove_abandoned(home)
        push(home, content)
        assert kept(home) == b"w"
    assert died > 40


def push(home: BentoHome, content: bytes) -> None:
    upload = begun(home, IRIS)
    completed(home, upload, put_all(home, upload, content, size=8192))
