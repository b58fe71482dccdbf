"""Unpacked Bentos and their models come into the store whole, once, and under valid tags."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from management.domain.bento_tag import StoredKind, Tag
from management.packaging.archives.admission import Admission, Taken, admission, take_in
from management.packaging.archives.refusals import ArchiveRefused, BentoTaken, DiskFull, WrongDigest
from management.packaging.archives.tree_digest import digest_of, digest_of_bento, entries_of, is_content
from management.packaging.archives.upload import Upload
from management.packaging.archives.workplace import PREFIX, remove_abandoned, workplace
from management.packaging.build import BentoHome
from management.packaging.shelf import BentoShelf
from management.settings import BentoSettings
from tests.support.bentos.bento_archives import bento_yaml, files, model_yaml, tar
from tests.support.bentos.uploading import dies, pushed_through

HELLO = Tag("hello", "1.0.0")
NEEDS_MODEL = {"models": [{"tag": "iris:1"}]}
MODEL = {"models/iris/1/model.yaml": model_yaml(), "models/iris/1/weights": b"w", "models/iris/latest": b"1"}


@pytest.fixture
def home(tmp_path: Path) -> BentoHome:
    return BentoHome(tmp_path / "bentoml")


def pushed(
    archive: bytes, home: BentoHome, digests: dict[str, bytes] | None = None, admit: Admission = take_in
) -> Taken:
    return pushed_through(Upload(home, BentoSettings(), digests or {}, admit), archive, home)


def refused(archive: bytes, home: BentoHome, admit: Admission = take_in) -> str:
    with pytest.raises(ArchiveRefused) as caught:
        pushed(archive, home, admit=admit)
    assert not (home.home / "bentos").exists()
    assert not (home.home / "models").exists()
    return caught.value.kind


def test_the_same_content_is_kept_once(home: BentoHome) -> None:
    assert pushed(tar(files()), home) == Taken(HELLO, is_new=True)
    assert pushed(tar(files(), compression="gz"), home) == Taken(HELLO, is_new=False)
    assert BentoShelf(home).tags() == [HELLO]
    assert (home.home / "bentos" / "hello" / "latest").read_text() == "1.0.0"


def test_another_content_under_the_tag_is_refused_and_the_kept_one_stays(home: BentoHome) -> None:
    pushed(tar(files()), home)
    with pytest.raises(BentoTaken):
        pushed(tar({**files(), "src/service.py": b"other"}), home)
    assert (home.folder(HELLO) / "src" / "service.py").read_bytes() == files()["src/service.py"]


def test_an_execute_bit_is_content_and_what_a_replica_compiles_is_none(home: BentoHome) -> None:
    pushed(tar(files()), home)
    compiled = home.folder(HELLO) / "src" / "__pycache__"
    compiled.mkdir()
    (compiled / "service.pyc").write_bytes(b"x")
    (home.folder(HELLO) / "atelier.content").unlink()  # as in a Bento that was built here
    assert not pushed(tar(files()), home).is_new
    (home.folder(HELLO) / "src" / "service.py").chmod(0o755)
    with pytest.raises(BentoTaken):
        pushed(tar(files()), home)


def test_the_noted_digest_is_that_of_the_files(home: BentoHome) -> None:
    pushed(tar(files()), home)
    noted = digest_of_bento(home.folder(HELLO))
    (home.folder(HELLO) / "atelier.content").unlink()
    assert digest_of_bento(home.folder(HELLO)) == noted


@pytest.mark.parametrize(
    ("archive", "kind"),
    [
        (tar({"src/service.py": b""}), "archive_no_bento"),
        (tar({"hello/bento.yaml": bento_yaml()}), "archive_no_bento"),
        (tar({"bento.yaml": b"[" * 100_000}), "archive_unreadable"),
        (tar({"bento.yaml": b"a: 1"}), "archive_unreadable"),
        (tar({"bento.yaml": b"name: &a [*a]"}), "archive_unreadable"),
        (tar({"bento.yaml": b"\xff\xfe\x00"}), "archive_unreadable"),
        (tar(files(version="../../x")), "archive_tag"),
        (tar(files(version="latest")), "archive_tag"),
        (tar(files(version="1.0.0-Beta")), "archive_tag"),
        (tar(files(version="1" * 64)), "archive_tag"),
        (tar(files(name="a/b")), "archive_tag"),
        (tar(files(name="..")), "archive_tag"),
        (tar(files(name=["x"])), "archive_tag"),
        (tar(files(models=[{"tag": "../../x:1"}])), "archive_tag"),
        (tar(files(**NEEDS_MODEL)), "archive_models"),
        (tar(files(services=[{"name": "Hello", "models": [{"tag": "iris:1"}]}])), "archive_models"),
        (tar({**files(**NEEDS_MODEL), "models/iris/1/weights": b"w"}), "archive_unreadable"),
        (tar({**files(**NEEDS_MODEL), "models/iris/1/model.yaml": model_yaml("other")}), "archive_unreadable"),
    ],
)
def test_what_is_no_bento_is_refused_and_leaves_nothing(archive: bytes, kind: str, home: BentoHome) -> None:
    assert refused(archive, home) == kind


def test_another_tag_than_the_expected_one_is_refused(home: BentoHome) -> None:
    assert refused(tar(files()), home, admission(StoredKind.BENTO, Tag("hello", "2.0.0"))) == "archive_other_tag"
    assert pushed(tar(files()), home, admit=admission(StoredKind.BENTO, HELLO)).is_new


def test_aliases_of_aliases_do_not_fill_the_memory(home: BentoHome) -> None:
    levels = [b"l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [b"l%d: &l%d [%s]" % (n, n, b", ".join([b"*l%d" % (n - 1)] * 10)) for n in range(1, 12)]
    bomb = b"\n".join([*levels, b"name: *l11", b"version: *l11"])
    assert refused(tar({"bento.yaml": bomb}), home) == "archive_unreadable"


def test_the_models_in_the_archive_come_into_the_model_store(home: BentoHome) -> None:
    other = {"models/other/1/model.yaml": model_yaml("other")}
    pushed(tar({**files(**NEEDS_MODEL), **MODEL, **other}), home)
    assert (home.home / "models" / "iris" / "1" / "weights").read_bytes() == b"w"
    assert (home.home / "models" / "iris" / "latest").read_text() == "1"
    assert not (home.folder(HELLO) / "models").exists()
    assert not (home.home / "models" / "other").exists()  # no Bento needs it
    assert home.model("iris") == "iris:1"


def test_a_model_that_the_store_has_need_not_be_in_the_archive(home: BentoHome) -> None:
    pushed(tar({**files(**NEEDS_MODEL), **MODEL}), home)
    assert pushed(tar(files(version="2.0.0", **NEEDS_MODEL)), home).is_new


def test_another_model_under_the_tag_is_refused(home: BentoHome) -> None:
    pushed(tar({**files(**NEEDS_MODEL), **MODEL}), home)
    again = {**files(version="2.0.0", **NEEDS_MODEL), **MODEL, "models/iris/1/weights": b"another"}
    with pytest.raises(BentoTaken) as caught:
        pushed(tar(again), home)
    assert (caught.value.tag, caught.value.is_model) == ("iris:1", True)
    assert BentoShelf(home).tags() == [HELLO]


def test_a_model_of_another_registry_is_not_asked_for(home: BentoHome) -> None:
    downloaded = {"tag": "org--model:abc", "registry": "huggingface"}
    assert pushed(tar(files(models=[downloaded])), home).is_new


def test_what_bentoml_left_half_made_gives_way(home: BentoHome) -> None:
    (home.folder(HELLO) / "src").mkdir(parents=True)
    assert pushed(tar(files()), home).is_new
    assert BentoShelf(home).get(HELLO) is not None


def test_an_older_version_does_not_become_the_latest(home: BentoHome) -> None:
    pushed(tar(files(version="2.0.0", creation_time="2026-02-01T00:00:00+00:00")), home)
    pushed(tar(files()), home)
    assert (home.home / "bentos" / "hello" / "latest").read_text() == "2.0.0"


def test_a_wrong_digest_is_refused_before_anything_is_unpacked(home: BentoHome) -> None:
    with pytest.raises(WrongDigest):
        pushed(tar(files()), home, {"sha-256": bytes(32)})


def test_a_full_disk_is_said_before_the_upload(home: BentoHome) -> None:
    with pytest.raises(DiskFull):
        Upload(home, BentoSettings(), {}).open(2**60)


def test_two_uploads_at_once_keep_one_bento(home: BentoHome) -> None:
    outcomes: list[bool] = []
    begin = threading.Barrier(4)

    def push() -> None:
        upload = Upload(home, BentoSettings(), {})
        upload.open(0)
        upload.write(tar(files()))
        begin.wait(30)
        outcomes.append(upload.finish().is_new)
        upload.close()

    threads = [threading.Thread(target=push) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [False, False, False, True]


def test_what_a_killed_process_left_is_removed_and_what_another_works_in_is_not(home: BentoHome) -> None:
    with workplace(home) as used:
        left = home.home / f"{PREFIX}left"
        (left / "bento").mkdir(parents=True)
        remove_abandoned(home)
        assert not left.exists()
        assert used.exists()
    assert not used.exists()


def test_an_upload_is_a_private_folder_of_a_bento_that_all_may_read(home: BentoHome) -> None:
    before = os.umask(0o077)
    try:
        pushed(tar({**files(), "src/a/b.py": b""}), home)
    finally:
        os.umask(before)
    folders = [home.folder(HELLO), home.folder(HELLO) / "src", home.folder(HELLO) / "src" / "a"]
    assert [folder.stat().st_mode & 0o777 for folder in folders] == [0o755] * 3


@pytest.mark.server
def test_killed_at_any_step_nothing_half_made_is_in_the_store_and_the_next_push_goes_through(tmp_path: Path) -> None:
    archive = tar({**files(**NEEDS_MODEL), **MODEL})
    died = 0
    for step in range(1, 1000):
        home = BentoHome(tmp_path / str(step))
        if not dies(step, lambda home=home: pushed(archive, home)):  # type: ignore[misc]
            break
        died += 1
        _check_whole(home)
        remove_abandoned(home)
        assert not list(home.home.glob(f"{PREFIX}*")), step
        pushed(archive, home)
        _check_whole(home)
        assert BentoShelf(home).tags() == [HELLO]
    assert died > 20


def _check_whole(home: BentoHome) -> None:
    """Check that what is in the stores is whole."""
    for tag in BentoShelf(home).tags():
        noted = digest_of_bento(home.folder(tag))
        kept = (entry for entry in entries_of(home.folder(tag)) if is_content(entry.path))
        assert digest_of(kept) == noted
    for model in (home.home / "models").glob("*/*/"):
        assert {file.name for file in model.iterdir()} == {"model.yaml", "weights"}
