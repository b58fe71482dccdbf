"""Restoring: everything of an archive comes into its place or nothing does, and nothing of one that is wrong."""

from __future__ import annotations

import fcntl
import gzip
import io
import shutil
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from management.backup.archive import DATABASE, FORMAT, KEY, MANIFEST, BackupError
from management.backup.replacing import JOURNAL
from management.backup.restore import restore
from management.packaging.build import LOCK
from management.platform import Platform
from management.settings import Settings
from tests.doubles.management import settings
from tests.support.archives import MODEL, Files, archive, database, manifest, member, whole
from tests.support.servers import ROOT


def left(target: Settings) -> list[str]:
    """Every file of the folders, but for the locks."""
    roots = (target.home, target.bentoml_home)
    files = (one.relative_to(root) for root in roots for one in root.rglob("*") if one.is_file())
    return sorted(str(one) for one in files if one.suffix != ".lock")


def test_a_restore_replaces_nothing_unless_it_is_told_to(target: Settings) -> None:
    files = {DATABASE: database(1), KEY: b"the new key\n", MODEL: b"new"}
    target.home.mkdir()
    (target.home / "admin.key").write_text("the old key\n")
    (target.home / "atelier.db").write_bytes(database(5))
    old = target.bentoml_home / "models" / "old" / "1" / "model.yaml"
    old.parent.mkdir(parents=True)
    old.write_text("old")
    with pytest.raises(BackupError, match="--force replaces it"):
        restore(target, io.BytesIO(whole(files)))
    assert (target.home / "admin.key").read_text() == "the old key\n"
    restore(target, io.BytesIO(whole(files)), force=True)
    assert left(target) == ["admin.key", "atelier.db", "models/weights/1.0.0/model.yaml"]
    assert (target.home / "admin.key").read_text() == "the new key\n"


def test_the_log_of_a_database_that_is_gone_is_not_taken_for_that_of_the_restored_one(target: Settings) -> None:
    target.home.mkdir()
    (target.home / "atelier.db-wal").write_bytes(b"of the old database")
    restore(target, io.BytesIO(whole({DATABASE: database()})))
    assert left(target) == ["atelier.db"]


def test_a_restore_that_cannot_be_finished_leaves_everything_as_it_was(
    target: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = Path("/dev/shm") / tmp_path.name  # another file system, to which nothing can be renamed
    if not elsewhere.parent.is_dir() or elsewhere.parent.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is one file system only")
    there = target.model_copy(update={"database_url": f"sqlite:///{elsewhere / 'atelier.db'}"})
    target.home.mkdir()
    (target.home / "admin.key").write_text("the old key\n")
    try:
        with pytest.raises(OSError, match="cross-device"):
            restore(there, io.BytesIO(whole({MODEL: b"new", KEY: b"new\n", DATABASE: database()})), force=True)
    finally:
        shutil.rmtree(elsewhere, ignore_errors=True)
    assert left(target) == ["admin.key"]
    assert (target.home / "admin.key").read_text() == "the old key\n"


KILLED = """
import os, signal, sys
from pathlib import Path

from management.backup.restore import restore
from management.settings import Settings

def before(event, arguments):
    if event == "os.rename" and str(arguments[1]).endswith(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(before)
restore(Settings(home=Path(sys.argv[1])), sys.stdin.buffer, force=True)
"""


def killed(target: Settings, new: bytes, before: str) -> None:
    """A restore that ends before it moves something to that name."""
    command = [sys.executable, "-c", KILLED, str(target.home), before]
    assert subprocess.run(command, cwd=ROOT, input=new, check=False, timeout=60).returncode == -signal.SIGKILL


@pytest.mark.server
def test_what_a_restore_had_unpacked_that_was_killed_goes_with_the_next_one(target: Settings) -> None:
    new = whole({DATABASE: database(), MODEL: b"new"})
    killed(target, new, before=JOURNAL)
    assert [one.read_bytes() for one in target.bentoml_home.rglob("model.yaml")] == [b"new"]
    restore(target, io.BytesIO(new))
    assert left(target) == ["atelier.db", "models/weights/1.0.0/model.yaml"]


def test_no_two_restores_run_at_once_and_none_beside_a_build(target: Settings) -> None:
    new = whole({DATABASE: database()})
    for folder, name in ((target.home, "restore.lock"), (target.bentoml_home, LOCK)):
        folder.mkdir(exist_ok=True)
        with (folder / name).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with pytest.raises(BackupError, match=f"{folder} is in use"):
                restore(target, io.BytesIO(new))
            assert left(target) == []


@pytest.mark.server
def test_a_restore_that_was_killed_is_taken_back_by_the_next_one(target: Settings) -> None:
    target.home.mkdir()
    old = {target.home / "admin.key": b"the old key", target.home / "atelier.db-wal": b"the old log"}
    for file, content in old.items():
        file.write_bytes(content)
    new = whole({DATABASE: database(), KEY: b"the new key", MODEL: b"new"})
    killed(target, new, before="/atelier.db")  # the last
    assert (target.home / "admin.key").read_bytes() == b"the new key"
    with pytest.raises(BackupError, match="--force replaces it"):
        restore(target, io.BytesIO(new))
    assert {file: file.read_bytes() for file in old} == old
    assert left(target) == ["admin.key", "atelier.db-wal"]
    restore(target, io.BytesIO(new), force=True)
    assert left(target) == ["admin.key", "atelier.db", "models/weights/1.0.0/model.yaml"]


GOOD: Files = {DATABASE: database(), KEY: b"key\n", MODEL: b"name: weights"}
FILES = [member(name, content) for name, content in GOOD.items()]
LAST = member(MANIFEST, manifest(GOOD))
OUTSIDE = "../../outside"


def with_file(name: str) -> bytes:
    return whole({**GOOD, name: b"content"})


WRONG: dict[str, tuple[bytes, str]] = {
    "climbs out": (with_file(f"store/models/{OUTSIDE}"), "no place"),
    "climbs out at once": (with_file(OUTSIDE), "no place"),
    "is absolute": (with_file("/etc/outside"), "no place"),
    "is absolute in a store": (with_file("store/models//etc/outside"), "no place"),
    "has a backslash": (with_file("store/models/a\\b/c/d"), "no place"),
    "has a control character": (with_file("store/models/a\nb/c/d"), "no place"),
    "is nothing of ours": (with_file("state/replicas/x"), "no place"),
    "is a store's name": (with_file("store/models"), "no place"),
    "is of another store": (with_file("store/tmp/a/b/c"), "no place"),
    "is a symbolic link": (
        archive(*FILES, member("store/models/a/b/c", b"", tarfile.SYMTYPE, "/etc"), LAST),
        "regular",
    ),
    "is a hard link": (archive(*FILES, member("store/models/a/b/c", b"", tarfile.LNKTYPE, KEY), LAST), "regular"),
    "is a device": (archive(*FILES, member("store/models/a/b/c", b"", tarfile.CHRTYPE), LAST), "regular"),
    "is a pipe": (archive(*FILES, member("store/models/a/b/c", b"", tarfile.FIFOTYPE), LAST), "regular"),
    "is a folder": (archive(*FILES, member("store/models/a", b"", tarfile.DIRTYPE), LAST), "regular"),
    "is there twice": (archive(*FILES, FILES[0], LAST), "twice"),
    "comes after the manifest": (archive(*FILES, LAST, member("store/models/a/b/c", b"late")), "after the manifest"),
    "is not in the manifest": (archive(*FILES, member("store/models/a/b/c", b"more"), LAST), "what its manifest"),
    "is missing": (archive(*FILES[:2], LAST), "what its manifest"),
    "is another one": (archive(*FILES[:2], member(MODEL, b"name: another"), LAST), "what its manifest"),
    "has no manifest": (archive(*FILES), "no manifest"),
    "has a manifest of nothing": (archive(*FILES, member(MANIFEST, b"[]")), "no manifest"),
    "is of a newer format": (whole(GOOD, format=FORMAT + 1), "format '2'"),
    "is of a newer database": (whole({DATABASE: database(version="9999")}), "newer version"),
    "has no database in its place": (whole({DATABASE: b"no database at all" * 100}), "cannot be read"),
    "is cut off": (whole(GOOD)[:-300], "not a complete back-up archive|was cut off"),
    "is no archive": (b"nonsense" * 100, "not a complete back-up archive"),
    "is empty": (b"", "not a complete back-up archive"),
    "is no archive in gzip": (gzip.compress(b"nonsense" * 100), "not a complete back-up archive"),
}


@pytest.mark.parametrize(("data", "why"), WRONG.values(), ids=WRONG.keys())
def test_nothing_is_taken_from_an_archive_that_is_wrong(
    target: Settings, tmp_path: Path, data: bytes, why: str
) -> None:
    with pytest.raises(BackupError, match=why):
        restore(target, io.BytesIO(data), force=True)
    assert left(target) == []
    assert not list(tmp_path.parent.glob("outside"))


def test_a_database_that_is_damaged_is_not_restored(target: Settings) -> None:
    sound = bytearray(database(5000))
    middle = len(sound) // 2
    sound[middle : middle + 2000] = b"\xff" * 2000
    with pytest.raises(BackupError, match=r"damaged|cannot be read"):
        restore(target, io.BytesIO(whole({DATABASE: bytes(sound)})))


async def test_no_server_starts_on_what_an_interrupted_restore_left(tmp_path: Path) -> None:
    (tmp_path / JOURNAL).write_text("{}")
    with pytest.raises(RuntimeError, match="was interrupted: run it again"):
        await Platform(lambda: settings(tmp_path)).start()
