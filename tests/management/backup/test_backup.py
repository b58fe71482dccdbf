"""Back-up and restore: of a server that runs, into one that is the same."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from management.backends.replica.identity import of_home
from management.backup.archive import DATABASE, back_up
from management.backup.errors import BackupError
from management.backup.restore import restore
from management.cli.main import main
from management.configuration import settings
from management.settings import StorageSettings
from tests.support.archives import database, whole
from tests.support.management_servers import echo_config, managing

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
            before = {model["model_id"]: model for model in api.get("/models").json()}
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
            after = {model["model_id"]: model for model in api.get("/models").json()}
            assert after.keys() == before.keys()
            for model_id, model in after.items():
                assert model["version"] == before[model_id]["version"]
        with server.client(json.loads(made.stdout)["key"]) as shop:
            answer = shop.post("/models/two/inference", json={"input_data": {"say": "again"}, "timeout": 60})
        assert answer.status_code == 200, answer.text


def test_a_restored_server_knows_what_the_old_one_started(target: StorageSettings, tmp_path: Path) -> None:
    target.home.mkdir()
    old = of_home(target.home)
    back_up(target, tmp_path / "file.tar.gz")
    new = target.model_copy(update={"home": tmp_path / "new"})
    with (tmp_path / "file.tar.gz").open("rb") as file:
        restore(new, file)
    (kept,) = (path for path in new.home.iterdir() if path.suffix != ".lock")
    assert kept.stat().st_mode & 0o777 == 0o600
    assert of_home(new.home) == old


def test_nothing_is_restored_while_a_server_runs(echo_bentos: Path, run: Callable[[Path], Run], tmp_path: Path) -> None:
    file = tmp_path / "file.tar.gz"
    file.write_bytes(whole({DATABASE: database()}))
    with managing(echo_bentos) as server:
        here = StorageSettings(home=server.home)
        with file.open("rb") as opened, pytest.raises(BackupError, match="stop it first"):
            restore(here, opened, force=True)
        with server.client() as api:
            assert api.get("/models").status_code == 200


def test_a_database_that_is_written_to_is_copied_as_it_was_at_one_moment(
    target: StorageSettings, tmp_path: Path
) -> None:
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
            content = made.extractfile(DATABASE)
            assert content is not None
            (tmp_path / f"{number}.db").write_bytes(content.read())
        copy = sqlite3.connect(tmp_path / f"{number}.db")
        ones, twos = (copy.execute(f"SELECT count(*), max(n) FROM {name}").fetchone() for name in ("one", "two"))
        assert ones == twos
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        copy.close()


def test_a_link_in_a_store_is_refused_and_leaves_no_half_archive(target: StorageSettings, tmp_path: Path) -> None:
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
