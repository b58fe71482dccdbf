"""What is packed is what is kept, as long as was said, or an error."""

from __future__ import annotations

import io
import os
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from management.domain.bento_tag import StoredKind, Tag
from management.packaging.archives.pack import Pack, pack
from management.packaging.archives.refusals import ArchiveRefused, ContentChanged
from management.packaging.archives.room import Room
from management.packaging.archives.tree_digest import digest_of, digest_of_bento
from management.packaging.archives.unpack import unpack
from management.packaging.archives.upload import Upload
from management.packaging.build import BentoHome
from management.settings import BentoSettings
from tests.support.bentos.bento_archives import files, tar
from tests.support.bentos.uploading import pushed_through

LARGE = 9 * 1024**3
"""Bytes of a file whose size does not fit into a header of the first tar archives."""


def written(folder: Path, contents: dict[str, bytes]) -> Path:
    """Write the files into the folder, and return it."""
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def whole(found: Pack) -> bytes:
    content = b"".join(found.pieces())
    assert len(content) == found.length
    return content


def opened(found: Pack) -> tarfile.TarFile:
    return tarfile.open(fileobj=io.BytesIO(whole(found)))


def test_the_members_are_sorted_below_a_dot_and_of_no_user(tmp_path: Path) -> None:
    folder = written(tmp_path, {"b": b"2", "a/c": b"1", "a/b": bytes(512), "empty": b""})
    (folder / "b").chmod(0o750)
    (folder / "nothing").mkdir()
    archive = opened(pack(folder, StoredKind.MODEL))
    assert archive.getnames() == [".", "./a", "./a/b", "./a/c", "./b", "./empty", "./nothing"]
    owners = {(entry.uid, entry.gid, entry.uname, entry.gname) for entry in archive.getmembers()}
    assert owners == {(0, 0, "", "")}
    assert archive.getmember("./b").mode == 0o750
    assert archive.getmember("./b").mtime == int((folder / "b").stat().st_mtime)


def test_the_same_folder_gives_the_same_bytes(tmp_path: Path) -> None:
    folder = written(tmp_path, {f"{number}/{number}": b"x" * number for number in range(30)})
    assert whole(pack(folder, StoredKind.MODEL)) == whole(pack(folder, StoredKind.MODEL))


def test_a_kept_bento_comes_back_as_it_was_without_what_is_only_of_the_store(tmp_path: Path) -> None:
    home = BentoHome(tmp_path / "bentoml")
    tag = pushed_through(Upload(home, BentoSettings(), {}), tar({**files(), "models/a/b": b""}), home).tag
    folder = written(home.folder(tag), {"src/__pycache__/service.pyc": b"x", "models/iris": b"", "src/models/m": b""})
    (folder / "atelier.content").unlink()
    found = pack(folder, StoredKind.BENTO)
    (folder / "atelier.content").write_text("0")
    assert whole(pack(folder, StoredKind.BENTO)) == whole(found)
    target = tmp_path / "unpacked"
    target.mkdir()
    entries = unpack(io.BytesIO(whole(found)), target, BentoSettings(), Room(tmp_path), lambda: False)
    (folder / "atelier.content").unlink()
    assert digest_of(entries) == digest_of_bento(folder)
    assert sorted(entry.path for entry in entries) == ["bento.yaml", "src/models/m", "src/service.py"]


def test_a_model_keeps_its_own_folder_of_models(tmp_path: Path) -> None:
    folder = written(tmp_path, {"models/m": b"", "__pycache__/m.pyc": b""})
    assert opened(pack(folder, StoredKind.MODEL)).getnames() == [".", "./models", "./models/m"]


@pytest.mark.parametrize("name", ["n" * 99, "n" * 100, "n" * 255, "pakét 模型", "/".join(["folder"] * 60) + "/file"])
def test_long_names_and_other_letters_are_kept(name: str, tmp_path: Path) -> None:
    folder = written(tmp_path / "folder", {name: b"content"})
    found = pack(folder, StoredKind.MODEL)
    assert opened(found).getmember(f"./{name}").size == 7
    target = tmp_path / "unpacked"
    target.mkdir()
    unpack(io.BytesIO(whole(found)), target, BentoSettings(), Room(tmp_path), lambda: False)
    assert (target / name).read_bytes() == b"content"


def test_a_file_of_many_gigabytes_has_its_size_and_none_of_it_in_memory(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(LARGE)
    found = pack(tmp_path, StoredKind.MODEL)
    assert found.length > LARGE
    pieces = found.pieces()
    head = next(pieces) + next(pieces)
    with tarfile.open(fileobj=io.BytesIO(head)) as archive:
        assert [getattr(archive.next(), "size", None) for _ in range(2)] == [0, LARGE]
    tracemalloc.start()
    for _ in range(400):
        next(pieces)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    pieces.close()  # type: ignore[attr-defined]
    assert peak < 2 * 1024 * 1024


@pytest.mark.parametrize("name", ["link", "folder-link", "broken-link"])
def test_a_link_is_refused(name: str, tmp_path: Path) -> None:
    targets = {"link": "/etc/hostname", "folder-link": "/etc", "broken-link": "nowhere"}
    (tmp_path / name).symlink_to(targets[name])
    with pytest.raises(ArchiveRefused) as caught:
        pack(tmp_path, StoredKind.MODEL)
    assert (caught.value.kind, caught.value.member) == ("archive_link", name)


def test_a_pipe_is_refused_and_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ArchiveRefused) as caught:
        pack(tmp_path, StoredKind.MODEL)
    assert caught.value.kind == "archive_device"
    with pytest.raises(FileNotFoundError):
        pack(tmp_path / "absent", StoredKind.MODEL)


def grow(file: Path) -> None:
    with file.open("ab") as out:
        out.write(b"more")


def touch(file: Path) -> None:
    file.write_bytes(bytes(file.stat().st_size))
    os.utime(file, ns=(0, 1))


def become_link(file: Path) -> None:
    file.unlink()
    file.symlink_to("/etc/hostname")


def become_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def sent_before_an_error(found: Pack, change: Callable[[], None] = lambda: None) -> int:
    """Return the bytes that are yielded before an error, where the change comes after the third piece."""
    sent = 0
    try:
        for number, piece in enumerate(found.pieces()):
            sent += len(piece)
            if number == 2:
                change()
    except (ContentChanged, OSError):
        return sent
    raise AssertionError("the archive was sent whole")


@pytest.mark.parametrize(
    "change", [grow, touch, Path.unlink, lambda file: os.truncate(file, 1), become_pipe, become_link]
)
def test_a_file_that_changes_before_it_is_sent_ends_the_archive(change: Callable[[Path], None], tmp_path: Path) -> None:
    found = pack(written(tmp_path, {"a": b"1", "b": bytes(1000)}), StoredKind.MODEL)
    change(tmp_path / "b")
    assert sent_before_an_error(found) < found.length


@pytest.mark.parametrize("change", [grow, touch, lambda file: os.truncate(file, 1)])
def test_a_file_that_changes_while_it_is_sent_ends_the_archive(change: Callable[[Path], None], tmp_path: Path) -> None:
    found = pack(written(tmp_path, {"weights": bytes(600 * 1024)}), StoredKind.MODEL)
    sent = sent_before_an_error(found, lambda: change(tmp_path / "weights"))
    assert 256 * 1024 < sent < found.length


def test_a_bento_that_is_deleted_meanwhile_ends_the_archive(tmp_path: Path) -> None:
    home = BentoHome(tmp_path)
    folder = written(home.folder(Tag("hello", "1")), {"bento.yaml": b"", "src/a": b"1"})
    pieces = pack(folder, StoredKind.BENTO).pieces()
    next(pieces)
    folder.rename(tmp_path / "aside")
    with pytest.raises(ContentChanged):
        list(pieces)
