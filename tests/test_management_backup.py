"""Back-up and restore: of a server that runs, into one that is the same; and nothing from an archive that is wrong."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from management.backends.instance import of_home
from management.backup import DATABASE, FORMAT, KEY, MANIFEST, BackupError, back_up
from management.cli.main import main
from management.restore import restore
from management.settings import Settings, settings
from tests.archives import MODEL, Files, archive, database, manifest, member, whole
from tests.management_servers import echo_config, managing
from tests.servers import ROOT

Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], Run]]:
    """Runs commands of somebody whose folders are in this one."""

    def at(folder: Path) -> Run:
        monkeypatch.setenv("ATELIER_HOME", str(folder / "home"))
        monkeypatch.setenv("BENTOML_HOME", str(folder / "bentoml"))
        settings.cache_clear()
        return lambda *arguments, text=None: CliRunner().invoke(main, arguments, input=text)

    yield at
    settings.cache_clear()


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of folders that are not there yet."""
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    return Settings(home=tmp_path / "home")


def left(target: Settings) -> list[str]:
    """Every file of the folders."""
    roots = (target.home, target.bentoml_home)
    return sorted(str(one.relative_to(root)) for root in roots for one in root.rglob("*") if one.is_file())


def test_a_restore_gives_a_server_with_the_same_deployments_and_keys(
    echo_bentos: Path, tmp_path_factory: pytest.TempPathFactory, run: Callable[[Path], Run]
) -> None:
    old, new = tmp_path_factory.mktemp("o"), tmp_path_factory.mktemp("n")
    shutil.copytree(echo_bentos, old / "bentoml", symlinks=False)
    file = old / "backup.tar.gz"
    with managing(old / "bentoml", home=old / "home", ATELIER_API_KEY="") as server:
        first = (server.home / "admin.key").read_text().strip()
        made = run(old)("keys", "create", "shop", "--role", "operator", "--json")
        with server.client(first) as api:
            for model_id, replicas in (("one", 1), ("two", 2)):
                scaling = {"min_replicas": 1, "max_replicas": 2}
                config = echo_config(model_id, scaling_config=scaling)
                assert api.post("/models/deploy", params={"wait": 60}, json={"config": config}).status_code == 200
                api.post(f"/models/{model_id}/scale", params={"wait": 60}, json={"replicas": replicas})
            before = {one["model_id"]: one for one in api.get("/models").json()}
            done = run(old)("backup", str(file))
        assert done.exit_code == 0, done.stderr
        assert "the database, the first key, 0 models, 2 Bentos" in done.stderr
        assert file.stat().st_mode & 0o777 == 0o600
    done = run(new)("restore", str(file))
    assert done.exit_code == 0, done.stderr
    for kept in ("atelier.db", "admin.key"):
        assert (new / "home" / kept).stat().st_mode & 0o777 == 0o600
    assert (new / "home").stat().st_mode & 0o777 == 0o700
    with managing(new / "bentoml", home=new / "home", ATELIER_API_KEY="") as server:
        with server.client(first) as api:
            after = {one["model_id"]: one for one in api.get("/models").json()}
            assert after.keys() == before.keys()
            for model_id, one in after.items():
                assert one["version"] == before[model_id]["version"]
        with server.client(json.loads(made.stdout)["key"]) as shop:
            answer = shop.post("/models/two/inference", json={"input_data": {"say": "again"}, "timeout": 60})
        assert answer.status_code == 200, answer.text


def test_a_restored_server_knows_what_the_old_one_started(target: Settings, tmp_path: Path) -> None:
    target.home.mkdir()
    old = of_home(target.home)
    back_up(target, tmp_path / "file.tar.gz")
    new = target.model_copy(update={"home": tmp_path / "new"})
    with (tmp_path / "file.tar.gz").open("rb") as file:
        restore(new, file)
    (kept,) = new.home.iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert of_home(new.home) == old


def test_nothing_is_restored_while_a_server_runs(echo_bentos: Path, run: Callable[[Path], Run], tmp_path: Path) -> None:
    file = tmp_path / "file.tar.gz"
    file.write_bytes(whole({DATABASE: database()}))
    with managing(echo_bentos) as server:
        here = Settings(home=server.home)
        with file.open("rb") as opened, pytest.raises(BackupError, match="stop it first"):
            restore(here, opened, force=True)
        with server.client() as api:
            assert api.get("/models").status_code == 200


def test_a_database_that_is_written_to_is_copied_as_it_was_at_one_moment(target: Settings, tmp_path: Path) -> None:
    target.home.mkdir()
    connection = sqlite3.connect(target.home / "atelier.db", check_same_thread=False, isolation_level=None)
    connection.executescript(
        "PRAGMA journal_mode=WAL; CREATE TABLE alembic_version (v); INSERT INTO alembic_version VALUES ('0001');"
        "CREATE TABLE one (n INTEGER, filler BLOB); CREATE TABLE two (n INTEGER)"
    )
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            connection.execute("BEGIN")
            connection.execute("INSERT INTO one VALUES (?, zeroblob(3000))", (number,))
            connection.execute("INSERT INTO two VALUES (?)", (number,))
            connection.execute("COMMIT")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(10):
            back_up(target, tmp_path / f"{number}.tar.gz")
    finally:
        stop.set()
        writer.join()
        connection.close()
    for number in range(10):
        with tarfile.open(tmp_path / f"{number}.tar.gz") as made:
            made.extract(DATABASE, tmp_path / str(number), filter="data")
        copy = sqlite3.connect(tmp_path / str(number) / DATABASE)
        ones, twos = (copy.execute(f"SELECT count(*), max(n) FROM {name}").fetchone() for name in ("one", "two"))
        assert ones == twos
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        copy.close()


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
from management.restore import restore
from management.settings import Settings

def before_the_last(event, arguments):
    if event == "os.rename" and str(arguments[1]).endswith("/atelier.db"):
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(before_the_last)
restore(Settings(home=Path(sys.argv[1])), sys.stdin.buffer, force=True)
"""


def test_a_restore_that_was_killed_is_taken_back_by_the_next_one(target: Settings) -> None:
    target.home.mkdir()
    old = {target.home / "admin.key": b"the old key", target.home / "atelier.db-wal": b"the old log"}
    for file, content in old.items():
        file.write_bytes(content)
    new = whole({DATABASE: database(), KEY: b"the new key", MODEL: b"new"})
    command = [sys.executable, "-c", KILLED, str(target.home)]
    assert subprocess.run(command, cwd=ROOT, input=new, check=False, timeout=60).returncode == -signal.SIGKILL
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
    "is cut off": (whole(GOOD)[:-300], "no whole archive|was cut off"),
    "is no archive": (b"nonsense" * 100, "no whole archive"),
    "is empty": (b"", "no whole archive"),
    "is no archive in gzip": (gzip.compress(b"nonsense" * 100), "no whole archive"),
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


def test_a_link_in_a_store_is_refused_and_leaves_no_half_archive(target: Settings, tmp_path: Path) -> None:
    folder = target.bentoml_home / "models" / "weights" / "1.0.0"
    folder.mkdir(parents=True)
    (folder / "model.yaml").symlink_to("/etc/hostname")
    with pytest.raises(OSError, match="symbolic links"):
        back_up(target, tmp_path / "file.tar.gz")
    assert not list(tmp_path.glob("*file.tar.gz*"))


def test_an_archive_goes_through_a_pipe_as_well(run: Callable[[Path], Run], tmp_path: Path) -> None:
    model = tmp_path / "a" / "bentoml" / "models" / "weights" / "1.0.0" / "model.yaml"
    model.parent.mkdir(parents=True)
    model.write_text("name: weights")
    written = run(tmp_path / "a")("backup", "-")
    assert written.exit_code == 0, written.stderr
    data: Any = written.stdout_bytes
    done = run(tmp_path / "b")("restore", "-", "--json", text=data)
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["models"] == 1
    assert (tmp_path / "b" / "bentoml" / "models" / "weights" / "1.0.0" / "model.yaml").read_text() == "name: weights"


def test_where_nothing_is_kept_there_is_nothing_to_back_up(run: Callable[[Path], Run], tmp_path: Path) -> None:
    done = run(tmp_path)("backup", str(tmp_path / "file.tar.gz"))
    assert done.exit_code == 1
    assert "nothing is kept" in done.stderr
    assert not (tmp_path / "file.tar.gz").exists()
