"""Archives of models come into the model store whole, once, and under the tag that was announced."""

from __future__ import annotations

import tarfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from management.domain.bento_tag import StoredKind, Tag
from management.packaging.archives import admission as admission_module
from management.packaging.archives.admission import Taken, admission
from management.packaging.archives.refusals import ArchiveRefused, BentoTaken, DiskFull
from management.packaging.archives.upload import Upload
from management.packaging.archives.workplace import remove_abandoned
from management.packaging.build import BentoHome
from management.settings import BentoSettings
from tests.support.bentos.bento_archives import bento_yaml, files, member, model_yaml, tar
from tests.support.bentos.uploading import dies, pushed_through

IRIS = Tag("iris", "1")
MODEL = {"./model.yaml": model_yaml(), "./deep/weights": b"w"}


@pytest.fixture
def home(tmp_path: Path) -> BentoHome:
    return BentoHome(tmp_path / "bentoml")


def upload(home: BentoHome, limits: dict[str, int] | None = None) -> Upload:
    return Upload(home, BentoSettings.model_validate(limits or {}), {}, admission(StoredKind.MODEL, IRIS))


def pushed(archive: bytes, home: BentoHome, limits: dict[str, int] | None = None) -> Taken:
    return pushed_through(upload(home, limits), archive, home)


def folder(home: BentoHome) -> Path:
    return home.home / "models" / "iris" / "1"


def test_a_model_comes_in_once_and_is_the_latest(home: BentoHome) -> None:
    archive = tar(MODEL, member("./", tarfile.DIRTYPE))
    assert pushed(archive, home) == Taken(IRIS, is_new=True)
    assert pushed(archive, home) == Taken(IRIS, is_new=False)
    assert (folder(home) / "deep" / "weights").read_bytes() == b"w"
    assert folder(home).stat().st_mode & 0o777 == 0o755
    assert (folder(home).parent / "latest").read_text() == "1"
    assert home.model("iris") == "iris:1"


def test_another_content_under_the_tag_is_refused_and_the_kept_one_stays(home: BentoHome) -> None:
    pushed(tar(MODEL), home)
    with pytest.raises(BentoTaken) as caught:
        pushed(tar({**MODEL, "./deep/weights": b"another"}), home)
    assert (caught.value.tag, caught.value.is_model) == ("iris:1", True)
    assert (folder(home) / "deep" / "weights").read_bytes() == b"w"


@pytest.mark.parametrize(
    ("archive", "kind"),
    [
        (tar({"weights": b"w"}), "archive_no_model"),
        (tar({"bento.yaml": bento_yaml()}), "archive_no_model"),
        (tar({"iris/model.yaml": model_yaml()}), "archive_no_model"),
        (tar({"model.yaml": b"[" * 100_000}), "archive_unreadable"),
        (tar({"model.yaml": b"\xff\xfe\x00"}), "archive_unreadable"),
        (tar({"model.yaml": b"name: iris"}), "archive_unreadable"),
        (tar({"model.yaml": model_yaml("other")}), "archive_other_tag"),
        (tar({"model.yaml": model_yaml("iris", "2")}), "archive_other_tag"),
        (tar({"model.yaml": model_yaml("..", "..")}), "archive_tag"),
        (tar({**MODEL, "../up": b""}), "archive_path"),
        (tar(MODEL, member("link", tarfile.SYMTYPE)), "archive_link"),
        (tar({**MODEL, "./model.yaml/x": b""}), "archive_twice"),
        (tar(MODEL)[:700], "archive_broken"),
    ],
)
def test_what_is_not_the_model_is_refused_and_leaves_nothing(archive: bytes, kind: str, home: BentoHome) -> None:
    with pytest.raises(ArchiveRefused) as caught:
        pushed(archive, home)
    assert caught.value.kind == kind
    assert not (home.home / "models").exists()


def test_the_limits_are_those_of_bentos(home: BentoHome) -> None:
    archive = tar({**MODEL, "./big": bytes(5000)})
    for limit, kind in (("file_bytes", "archive_file_size"), ("unpacked_bytes", "archive_size")):
        with pytest.raises(ArchiveRefused) as caught:
            pushed(archive, home, limits={limit: 4096})
        assert caught.value.kind == kind
    with pytest.raises(ArchiveRefused) as caught:
        pushed(archive, home, limits={"files": 2})
    assert caught.value.kind == "archive_files"


def test_a_full_disk_is_named_and_leaves_nothing(home: BentoHome, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = upload(home)
    waiting.open(0)
    waiting.write(tar(MODEL))
    monkeypatch.setattr("management.packaging.archives.room.SPARE_BYTES", 2**62)
    monkeypatch.setattr("management.packaging.archives.room.LOOK_BYTES", 1)
    with pytest.raises(DiskFull):
        waiting.finish()
    waiting.close()
    assert not (home.home / "models").exists()


def test_a_bento_finds_the_model_that_was_pushed_before_it(home: BentoHome) -> None:
    bento = tar(files(models=[{"tag": "iris:1"}]))
    with pytest.raises(ArchiveRefused) as caught:
        pushed_through(Upload(home, BentoSettings(), {}), bento, home)
    assert caught.value.kind == "archive_models"
    pushed(tar(MODEL), home)
    assert pushed_through(Upload(home, BentoSettings(), {}), bento, home).is_new


def test_a_model_that_came_with_a_bento_is_the_same_as_one_that_is_pushed(home: BentoHome) -> None:
    inner = {f"models/iris/1/{path.removeprefix('./')}": content for path, content in MODEL.items()}
    pushed_through(Upload(home, BentoSettings(), {}), tar({**files(models=[{"tag": "iris:1"}]), **inner}), home)
    assert not pushed(tar(MODEL), home).is_new


def test_of_two_models_at_once_under_one_tag_one_wins(home: BentoHome, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*given: Any) -> None:
        time.sleep(0.1)  # so that both would find an empty store if they did not wait for each other
        move(*given)

    move = admission_module._move_models
    monkeypatch.setattr(admission_module, "_move_models", slow)
    outcomes: list[str] = []
    begin = threading.Barrier(2)

    def push(weights: bytes) -> None:
        mine = upload(home)
        mine.open(0)
        mine.write(tar({**MODEL, "./deep/weights": weights}))
        begin.wait(30)
        try:
            mine.finish()
            outcomes.append(weights.decode())
        except BentoTaken:
            outcomes.append("taken")
        mine.close()

    threads = [threading.Thread(target=push, args=(weights,)) for weights in (b"a", b"b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == sorted([(folder(home) / "deep" / "weights").read_text(), "taken"])


@pytest.mark.server
def test_killed_at_any_step_no_half_of_a_model_is_in_the_store_and_the_next_push_goes_through(tmp_path: Path) -> None:
    died = 0
    for step in range(1, 1000):
        home = BentoHome(tmp_path / str(step))
        if not dies(step, lambda home=home: pushed(tar(MODEL), home)):  # type: ignore[misc]
            break
        died += 1
        if folder(home).exists():
            assert {file.name for file in folder(home).rglob("*")} == {"model.yaml", "deep", "weights"}
        remove_abandoned(home)
        pushed(tar(MODEL), home)
    assert died > 15
