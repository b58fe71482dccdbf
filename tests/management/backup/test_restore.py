"""Restoring: everything of an archive comes into its place or nothing does, and nothing of one that is wrong."""

from __future__ import annotations

import fcntl
import gzip
import io
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from management.backup.archive import DATABASE, FORMAT, INSTANCE, KEY, MANIFEST
from management.backup.errors import BackupError
from management.backup.restore import restore
from management.backup.swap import JOURNAL, UNFINISHED, interrupted
from management.packaging.build import LOCK
from management.platform import Platform
from management.settings import StorageSettings
from tests.doubles.management import settings
from tests.support.archives import MODEL, Files, archive, database, manifest, member, whole
from tests.support.servers import ROOT


def left(target: StorageSettings) -> list[str]:
    """Every file of the folders, but for the locks and what was set aside."""
    roots = (target.home, target.bentoml_home)
    files = (file.relative_to(root) for root in roots for file in root.rglob("*") if file.is_file())
    return sorted(str(file) for file in files if file.suffix != ".lock" and not file.parts[0].startswith("before-"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def put_back(folders: Iterable[Path]) -> None:
    """What an operator does who wants the old state again; of several folders, the earliest comes last."""
    for folder in reversed(list(folders)):
        for file in folder.iterdir():
            place = folder.parent / file.name
            if place.is_dir():
                shutil.rmtree(place)
            file.rename(place)


def test_a_restore_replaces_nothing_without_force_and_sets_it_aside_with_it(target: StorageSettings) -> None:
    files = {DATABASE: database(1), KEY: b"the new key\n", MODEL: b"new"}
    target.home.mkdir()
    (target.home / "admin.key").write_text("the old key\n")
    (target.home / "atelier.db").write_bytes(database(5))
    (target.home / "bentocloud.token").write_text("in no archive\n")
    old = target.bentoml_home / "models" / "old" / "1" / "model.yaml"
    old.parent.mkdir(parents=True)
    old.write_text("old")
    with pytest.raises(BackupError, match="--force sets them aside"):
        restore(target, io.BytesIO(whole(files)))
    assert (target.home / "admin.key").read_text() == "the old key\n"
    done = restore(target, io.BytesIO(whole(files)), force=True)
    assert left(target) == ["admin.key", "atelier.db", "bentocloud.token", "models/weights/1.0.0/model.yaml"]
    assert (target.home / "admin.key").read_text() == "the new key\n"
    state, store = done.set_aside
    assert contents(state) == {"admin.key": b"the old key\n", "atelier.db": database(5)}
    assert contents(store) == {"models/old/1/model.yaml": b"old"}
    assert state.parent == target.home
    assert state.stat().st_mode & 0o777 == 0o700


def test_a_restore_into_an_empty_home_sets_nothing_aside(target: StorageSettings) -> None:
    (target.bentoml_home / "models").mkdir(parents=True)  # as BentoML makes it
    assert restore(target, io.BytesIO(whole({DATABASE: database(), MODEL: b"new"}))).set_aside == ()
    assert left(target) == ["atelier.db", "models/weights/1.0.0/model.yaml"]
    assert not list(target.bentoml_home.glob("before-*"))
    assert not (target.home / UNFINISHED).exists()


def test_the_log_of_a_database_that_is_gone_is_not_taken_for_that_of_the_restored_one(target: StorageSettings) -> None:
    target.home.mkdir()
    (target.home / "atelier.db-wal").write_bytes(b"of the old database")
    (folder,) = restore(target, io.BytesIO(whole({DATABASE: database()}))).set_aside
    assert left(target) == ["atelier.db"]
    assert contents(folder) == {"atelier.db-wal": b"of the old database"}


def test_a_restore_that_cannot_be_finished_leaves_everything_as_it_was(
    target: StorageSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    assert not list(target.home.glob("before-*"))


KILLED = """
import io, os, signal, sys
from pathlib import Path

from management.backup.restore import restore
from management.settings import StorageSettings

new = sys.stdin.buffer.read()

def killed(home, renames):
    "Whether a restore was killed after so many renames, or came to its end before."
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    left = [renames]
    def hook(event, _):
        if event == "os.rename":
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
    os.environ["BENTOML_HOME"] = str(home.parent / "bentoml")
    sys.addaudithook(hook)
    restore(StorageSettings(home=home), io.BytesIO(new), force=True)
    os._exit(0)

print(*(killed(Path(home), renames) for renames, home in enumerate(sys.argv[1:])))
"""


def kill_restores(targets: Sequence[StorageSettings], new: bytes) -> list[bool]:
    """Which restores were killed: the first one before any rename, the next one after one, and so on."""
    command = [sys.executable, "-c", KILLED, *(str(target.home) for target in targets)]
    done = subprocess.run(command, cwd=ROOT, input=new, check=True, timeout=60, capture_output=True)
    return [word == b"True" for word in done.stdout.split()]


OTHER = "store/bentos/echo/1/bento.yaml"  # of a store that the archive has nothing of
OLD: Files = {DATABASE: database(5), INSTANCE: b"the old secret", KEY: b"the old key", "store/models/old/1/a": b"old"}
NEW: Files = {DATABASE: database(), INSTANCE: b"the new secret", KEY: b"the new key", MODEL: b"new"}


def filled(folder: Path, monkeypatch: pytest.MonkeyPatch) -> StorageSettings:
    """StorageSettings of folders that hold the old state."""
    monkeypatch.setenv("BENTOML_HOME", str(folder / "bentoml"))
    for name, content in {**OLD, OTHER: b"old"}.items():
        part, _, path = name.partition("/")
        file = folder / {"state": "home", "store": "bentoml"}[part] / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return StorageSettings(home=folder / "home")


def state(target: StorageSettings) -> dict[str, bytes]:
    """Every file but the locks and what was set aside, as an archive names those in the home."""
    here = {f"state/{name}": (target.home / name) for name in left(target) if "/" not in name}
    stores = {f"store/{name}": (target.bentoml_home / name) for name in left(target) if "/" in name}
    return {name: file.read_bytes() for name, file in (here | stores).items()}


@pytest.mark.server
def test_a_killed_restore_loses_nothing_and_no_server_starts_until_it_is_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    renames = len(OLD) + len(NEW)
    targets = [filled(tmp_path / str(number), monkeypatch) for number in range(renames + 1)]
    assert kill_restores(targets, whole(NEW)) == [True] * renames + [False]
    for target in targets[:-1]:
        monkeypatch.setenv("BENTOML_HOME", str(target.home.parent / "bentoml"))
        assert "run it again" in str(interrupted(target.home))
        done = restore(target, io.BytesIO(whole(NEW)), force=True)
        assert interrupted(target.home) is None
        assert state(target) == {**NEW, OTHER: b"old"}
        put_back(done.set_aside)
        assert state(target) == {**OLD, OTHER: b"old"}


@pytest.mark.server
def test_what_a_killed_restore_had_unpacked_is_removed_by_the_next_one(target: StorageSettings) -> None:
    assert kill_restores([target], whole(NEW)) == [True]
    assert [file.read_bytes() for file in target.bentoml_home.rglob("model.yaml")] == [b"new"]
    restore(target, io.BytesIO(whole(NEW)))
    assert state(target) == NEW


def test_a_restore_that_version_0_1_0_left_unfinished_is_replaced_and_what_it_moved_away_stays(
    target: StorageSettings,
) -> None:
    target.home.mkdir()
    hidden = target.home / ".admin.key.0123456789abcdef"  # as it set the old key aside
    hidden.write_bytes(b"the old key")
    (target.home / "admin.key").write_bytes(b"a half-restored key")
    (target.home / JOURNAL).write_text('{"done": false}')
    with pytest.raises(BackupError, match="--force"):
        restore(target, io.BytesIO(whole(NEW)))
    (folder,) = restore(target, io.BytesIO(whole(NEW)), force=True).set_aside
    assert contents(folder) == {"admin.key": b"a half-restored key", JOURNAL: b'{"done": false}'}
    assert hidden.read_bytes() == b"the old key"
    assert interrupted(target.home) is None


def test_no_two_restores_run_at_once_and_none_beside_a_build(target: StorageSettings) -> None:
    new = whole({DATABASE: database()})
    for folder, name in ((target.home, "restore.lock"), (target.bentoml_home, LOCK)):
        folder.mkdir(exist_ok=True)
        with (folder / name).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with pytest.raises(BackupError, match=f"{folder} is in use"):
                restore(target, io.BytesIO(new))
            assert left(target) == []


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
    "is not in the manifest": (archive(*FILES, member("store/models/a/b/c", b"more"), LAST), "match its manifest"),
    "is missing": (archive(*FILES[:2], LAST), "match its manifest"),
    "is another one": (archive(*FILES[:2], member(MODEL, b"name: another"), LAST), "match its manifest"),
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
    target: StorageSettings, tmp_path: Path, data: bytes, why: str
) -> None:
    with pytest.raises(BackupError, match=why):
        restore(target, io.BytesIO(data), force=True)
    assert left(target) == []
    assert not list(tmp_path.parent.glob("outside"))


def test_a_database_that_is_damaged_is_not_restored(target: StorageSettings) -> None:
    sound = bytearray(database(5000))
    middle = len(sound) // 2
    sound[middle : middle + 2000] = b"\xff" * 2000
    with pytest.raises(BackupError, match=r"damaged|cannot be read"):
        restore(target, io.BytesIO(whole({DATABASE: bytes(sound)})))


@pytest.mark.parametrize("name", [UNFINISHED, JOURNAL])
async def test_no_server_starts_on_what_an_interrupted_restore_left(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("{}")
    with pytest.raises(RuntimeError, match="was interrupted; run it again"):
        await Platform(lambda: settings(tmp_path)).start()
