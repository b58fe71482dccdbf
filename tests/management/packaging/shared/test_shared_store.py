"""What one control plane takes in, the others have: the same contract on a folder and on a bucket."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from management.domain.bento_tag import StoredKind, Tag
from management.domain.clock import SYSTEM
from management.errors import BentoNotFound, SharedArchiveDamaged, SharedStoreUnavailable
from management.packaging.archives.admission import Taken
from management.packaging.archives.refusals import ArchiveRefused, BentoTaken
from management.packaging.archives.tree_digest import digest_of_bento
from management.packaging.archives.upload import Upload
from management.packaging.shared.copies import SET_ASIDE
from management.packaging.shared.pointers import ARCHIVES
from management.packaging.shared.shared_store import SharedStore
from management.packaging.shared.shelves import SharedBentoShelf, SharedModelShelf
from management.packaging.shared.sweep import sweep
from management.packaging.shelf import BentoShelf
from management.settings import BentoSettings
from tests.management.packaging.shared.conftest import ControlPlane
from tests.support.bentos.bento_archives import files, model_yaml, tar
from tests.support.bentos.pushes import Ahead
from tests.support.bentos.uploading import pushed_through

HELLO, IRIS = Tag("hello", "1.0.0"), Tag("iris", "1")
BENTO, MODEL = StoredKind.BENTO, StoredKind.MODEL
NEEDS_MODEL = {"models": [{"tag": "iris:1"}]}
MODEL_FILES = {"models/iris/1/model.yaml": model_yaml(), "models/iris/1/weights": b"w" * 100_000}
WHOLE = {**files(**NEEDS_MODEL), **MODEL_FILES}


def pushed(plane: SharedStore, contents: dict[str, bytes]) -> Taken:
    return pushed_through(Upload(plane.home, BentoSettings(), {}, plane.take_in), tar(contents), plane.home)


def archives(plane: SharedStore) -> list[str]:
    return [each.key for each in plane.objects.below(ARCHIVES)]


def test_what_one_control_plane_takes_in_is_listed_described_and_fetched_by_another(plane: ControlPlane) -> None:
    ours, theirs = plane("a"), plane("b")
    assert pushed(ours, WHOLE) == Taken(HELLO, is_new=True)

    shelf = SharedBentoShelf(theirs)
    assert shelf.tags() == [HELLO]
    assert [model.tag for model in SharedModelShelf(theirs).all()] == [IRIS]
    local = BentoShelf(ours.home)
    assert shelf.get(HELLO) == local.get(HELLO)
    assert shelf.document(HELLO) == local.document(HELLO)
    assert shelf.digest(HELLO) == digest_of_bento(ours.home.folder(HELLO))
    assert not theirs.home.folder(HELLO).exists()

    theirs.fetch(BENTO, HELLO)
    for name, content in files(**NEEDS_MODEL).items():
        assert (theirs.home.folder(HELLO) / name).read_bytes() == content
    assert (theirs.home.folder(IRIS, MODEL) / "weights").read_bytes() == b"w" * 100_000
    assert (theirs.home.home / "models" / "iris" / "latest").read_text() == "1"
    assert theirs.is_whole(HELLO)


def test_the_same_content_is_kept_once_and_another_is_refused(plane: ControlPlane) -> None:
    ours, theirs = plane("a"), plane("b")
    pushed(ours, WHOLE)
    kept = archives(ours)
    assert pushed(theirs, WHOLE) == Taken(HELLO, is_new=False)
    assert archives(ours) == kept
    with pytest.raises(BentoTaken):
        pushed(theirs, {**WHOLE, "src/service.py": b"other"})
    with pytest.raises(BentoTaken) as taken:
        pushed(theirs, {**files(version="2", **NEEDS_MODEL), **MODEL_FILES, "models/iris/1/weights": b"other"})
    assert taken.value.is_model
    assert archives(ours) == kept


def test_of_control_planes_that_take_in_a_tag_at_once_one_wins_and_the_others_agree(plane: ControlPlane) -> None:
    planes = [plane(f"plane-{number}") for number in range(6)]
    together = threading.Barrier(len(planes))
    outcomes: list[object] = []

    def push(number: int) -> None:
        together.wait()
        try:
            outcomes.append(pushed(planes[number], {**files(), "number": str(number % 2).encode()}).is_new)
        except BentoTaken:
            outcomes.append("taken")

    threads = [threading.Thread(target=push, args=[number]) for number in range(len(planes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, outcomes)) == ["False", "False", "True", "taken", "taken", "taken"]
    assert len(archives(planes[0])) == 1


def test_a_bento_takes_models_that_another_control_plane_took_in(plane: ControlPlane) -> None:
    ours, theirs = plane("a"), plane("b")
    with pytest.raises(ArchiveRefused) as refused:
        pushed(theirs, files(**NEEDS_MODEL))
    assert refused.value.kind == "archive_models"
    pushed(ours, WHOLE)
    assert pushed(theirs, files(version="2", **NEEDS_MODEL)).is_new
    theirs.fetch(BENTO, Tag("hello", "2"))
    assert (theirs.home.folder(IRIS, MODEL) / "weights").is_file()


def test_a_deleted_bento_is_gone_for_all_and_its_copies_go(plane: ControlPlane) -> None:
    ours, theirs = plane("a"), plane("b")
    pushed(ours, files())
    theirs.fetch(BENTO, HELLO)
    pointer = ours.delete(BENTO, HELLO)
    assert pointer is not None
    ours.forget(BENTO, HELLO, pointer)
    assert not ours.home.folder(HELLO).exists()
    shelf = SharedBentoShelf(theirs)
    assert not shelf.has(HELLO)
    assert shelf.tags() == []
    assert shelf.get(HELLO) is None
    with pytest.raises(BentoNotFound):
        theirs.fetch(BENTO, HELLO)
    assert archives(ours) == []
    assert theirs.gone() == [(BENTO, HELLO)]
    theirs.drop(BENTO, HELLO)
    assert not theirs.home.folder(HELLO).exists()
    assert theirs.gone() == []


def test_a_copy_of_what_a_tag_named_before_is_replaced(plane: ControlPlane) -> None:
    ours, theirs = plane("a"), plane("b")
    pushed(ours, files())
    theirs.fetch(BENTO, HELLO)
    pointer = ours.delete(BENTO, HELLO)
    assert pointer is not None
    ours.forget(BENTO, HELLO, pointer)
    pushed(ours, {**files(), "src/service.py": b"second"})
    theirs.fetch(BENTO, HELLO)
    assert (theirs.home.folder(HELLO) / "src" / "service.py").read_bytes() == b"second"


def test_what_was_built_here_is_set_aside_for_what_the_store_has(
    plane: ControlPlane, caplog: pytest.LogCaptureFixture
) -> None:
    ours, theirs = plane("a"), plane("b")
    pushed_through(Upload(theirs.home, BentoSettings(), {}), tar({**files(), "src/service.py": b"built"}), theirs.home)
    pushed(ours, files())
    with caplog.at_level(logging.WARNING):
        theirs.fetch(BENTO, HELLO)
    assert (theirs.home.folder(HELLO) / "src" / "service.py").read_bytes() == files()["src/service.py"]
    (aside,) = (theirs.home.home / SET_ASIDE / "bentos" / "hello").iterdir()
    assert (aside / "src" / "service.py").read_bytes() == b"built"
    assert "differs" in caplog.text


def test_what_is_here_is_shared_once(plane: ControlPlane) -> None:
    ours = plane("a")
    pushed_through(Upload(ours.home, BentoSettings(), {}), tar(WHOLE), ours.home)
    assert SharedBentoShelf(ours).tags() == []
    assert [ours.share(MODEL, IRIS), ours.share(BENTO, HELLO)] == [True, True]
    assert [ours.share(MODEL, IRIS), ours.share(BENTO, HELLO)] == [False, False]
    theirs = plane("b")
    theirs.fetch(BENTO, HELLO)
    assert digest_of_bento(theirs.home.folder(HELLO)) == digest_of_bento(ours.home.folder(HELLO))


def test_several_who_ask_at_once_fetch_once(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    pushed(plane("a"), WHOLE)
    theirs = plane("b")
    fetched: list[str] = []
    pieces = theirs.objects.pieces

    def counted(key: str, size: int) -> Iterator[bytes]:
        fetched.append(key)
        return pieces(key, size)

    monkeypatch.setattr(theirs.objects, "pieces", counted)
    threads = [threading.Thread(target=theirs.fetch, args=[BENTO, HELLO]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fetched) == 2
    assert theirs.is_whole(HELLO)


def test_a_damaged_archive_never_becomes_a_copy(plane: ControlPlane) -> None:
    ours, theirs = plane("a"), plane("b")
    pushed(ours, files())
    (archive,) = archives(ours)
    size = ours.objects.below(ARCHIVES)[0].size
    whole = b"".join(ours.objects.pieces(archive, size))
    for damaged in (whole.replace(b"import bentoml", b"import bentomy"), whole[:1000], bytes(size)):
        ours.objects.send(archive, iter([damaged]))
        with pytest.raises(SharedArchiveDamaged):
            theirs.fetch(BENTO, HELLO)
    ours.objects.remove(archive)
    with pytest.raises(SharedArchiveDamaged):
        theirs.fetch(BENTO, HELLO)
    assert not theirs.home.folder(HELLO).exists()
    assert not list(theirs.home.home.glob(".upload-*"))


class Killed(BaseException):
    """The end of a process: no call of it reaches the store any more."""


def test_a_push_that_dies_before_any_call_has_shared_nothing_or_all(plane: ControlPlane) -> None:
    listed: list[list[Tag]] = []
    for step in itertools.count(1):
        dying = plane(f"dying-{step}")
        call, steps = dying.objects._call, itertools.count(1)  # type: ignore[attr-defined]

        def until_killed(*given: Any, last: int = step, call: Any = call, steps: Any = steps) -> Any:
            if next(steps) >= last:
                raise Killed
            return call(*given)

        dying.objects._call = until_killed  # type: ignore[attr-defined]
        try:
            pushed(dying, WHOLE)
            break
        except Killed:
            looking = plane(f"looking-{step}")
            listed.append(SharedBentoShelf(looking).tags())
            for tag in listed[-1]:
                looking.fetch(BENTO, tag)
                assert looking.is_whole(tag)
    assert len(listed) > 5
    assert [] in listed
    after = plane("after")
    sweep(after, Ahead(24 * 3600 + 60))
    assert len(archives(after)) == 2
    assert SharedBentoShelf(after).tags() == [HELLO]


def test_a_sweep_leaves_what_is_named_and_what_is_young(plane: ControlPlane) -> None:
    ours = plane("a")
    pushed(ours, WHOLE)
    ours.objects.send(f"{ARCHIVES}/of-a-killed-push.tar", iter([b"left"]))
    kept = archives(ours)
    sweep(ours, SYSTEM)
    assert archives(ours) == kept
    sweep(ours, Ahead(24 * 3600 + 60))
    assert archives(ours) == [key for key in kept if "killed" not in key]
    plane("b").fetch(BENTO, HELLO)


def test_a_deletion_that_is_undone_names_the_same_again(plane: ControlPlane) -> None:
    ours = plane("a")
    pushed(ours, files())
    pointer = ours.delete(BENTO, HELLO)
    assert pointer is not None
    assert SharedBentoShelf(ours).tags() == []
    ours.restore(BENTO, HELLO, pointer)
    plane("b").fetch(BENTO, HELLO)


def test_a_store_that_creates_nothing_anew_is_refused(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = plane("a")
    ours.check()
    assert ours.objects.below("probes") == []
    monkeypatch.setattr(ours.objects, "create", lambda *_: True)
    with pytest.raises(RuntimeError, match="If-None-Match"):
        ours.check()


def test_a_bento_is_described_from_its_copy_while_the_store_is_away(plane: ControlPlane, tmp_path: Path) -> None:
    pushed(plane("a"), files())
    theirs = plane("b")
    theirs.fetch(BENTO, HELLO)
    fresh = plane("b")

    def away(*_: object) -> None:
        raise SharedStoreUnavailable

    fresh.objects.read = away  # type: ignore[assignment,method-assign]
    shelf = SharedBentoShelf(fresh)
    described = shelf.describe(HELLO)
    assert described is not None
    assert described.tag == HELLO
    with pytest.raises(SharedStoreUnavailable):
        shelf.get(HELLO)
    assert fresh.is_whole(HELLO)
