"""A disk that is full to the last byte: a model can be deleted, and a server starts, serves what it can, says so."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from management.configuration import Settings
from management.faults.disk import RESERVE_BYTES, Reserve
from management.platform import Platform
from management.settings import StorageSettings
from tests.doubles.management import settings
from tests.inputs.small_disk import fill, small_disk
from tests.support.calls import deploy, hosts, infer, until
from tests.support.management_servers import KEY, SERVE, managing
from tests.support.servers import ROOT, free_port, serving

SOON = 60.0
FORCED = {"force": True, "wait": 30}


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """It is full until the end of the block, also when something of it is freed now and then."""
    fill(disk / "filler")
    yield
    (disk / "filler").unlink()


def test_a_model_is_deleted_on_a_full_disk_and_no_other_change_is_made(echo_bentos: Path) -> None:
    with small_disk() as disk, managing(echo_bentos, home=disk) as server, server.client() as api:
        assert deploy(api).status_code == 200
        until((disk / "reserve").is_file)
        with filled(disk):
            assert deploy(api, "other").json()["error"]["code"] == "STORE_UNAVAILABLE"
            assert api.delete("/models/echo", params=FORCED).status_code == 200
            assert api.get("/models").json() == []
            until(lambda: not hosts(server))
            assert not (disk / "reserve").exists()


def test_where_nothing_was_kept_for_it_the_models_own_files_make_room(echo_bentos: Path) -> None:
    with small_disk() as disk, managing(echo_bentos, home=disk) as server, server.client() as api:
        assert deploy(api).status_code == 200
        (folder,) = (disk / "replicas").iterdir()
        (folder / "what the model wrote").write_bytes(bytes(2 * RESERVE_BYTES))
        with filled(disk):
            (disk / "reserve").unlink(missing_ok=True)
            fill(disk / "filler")
            assert infer(api, {}).status_code == 200
            assert api.delete("/models/echo", params=FORCED).status_code == 200
            assert api.get("/models").json() == []
            until(lambda: not hosts(server))


async def test_a_deletion_ends_no_replica_where_the_database_is_away_for_another_reason(
    target: StorageSettings,
) -> None:
    """A lock that lasts, or a slow disk, passes by itself; the model must go on if the deletion is not recorded."""
    platform = Platform(lambda: Settings(storage=target))
    target.home.mkdir(parents=True)
    ended: list[str] = []

    async def end_at_once(model_id: str) -> bool:
        ended.append(model_id)
        return True

    platform.supervisor.stop_at_once = end_at_once  # type: ignore[method-assign, union-attr]
    assert [step async for step in platform._room("echo")] == []
    assert ended == []


def test_the_reserve_is_made_where_there_is_room_and_given_where_there_is_none() -> None:
    with small_disk("16m") as disk:
        reserve = Reserve(settings(disk).storage.database_folder)
        reserve.keep()
        assert (disk / "reserve").stat().st_blocks * 512 == RESERVE_BYTES
        assert not reserve.give(), "there is room"
        fill(disk / "filler")
        assert reserve.give()
        assert not reserve.give(), "it has been given"
        reserve.keep()
        assert not (disk / "reserve").exists()
        (disk / "filler").unlink()
        reserve.keep()
        assert (disk / "reserve").is_file()


@contextmanager
def started(bentos: Path, home: Path) -> Iterator[tuple[str, Path]]:
    """The management alone, from its first moment on; its address, and what it writes."""
    port, log = free_port(), home.with_suffix(".log")
    environment = {**os.environ, "ATELIER_HOME": str(home), "ATELIER_API_KEY": KEY, "BENTOML_HOME": str(bentos)}
    with log.open("wb") as out:
        server = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(port), "1"], cwd=ROOT, env=environment, stdout=out, stderr=out
        )
        try:
            yield f"http://127.0.0.1:{port}", log
        finally:
            server.terminate()
            server.wait(60)
            log.unlink()


def eventually(true: Callable[[], bool], seconds: float = SOON) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def status(url: str) -> int:
    try:
        return httpx.get(url, headers={"X-API-Key": KEY}, trust_env=False, timeout=10).status_code
    except httpx.TransportError:
        return 0


@pytest.mark.slow
def test_a_server_starts_on_a_full_disk_says_so_and_manages_as_soon_as_there_is_room(echo_bentos: Path) -> None:
    with small_disk() as disk:
        fill(disk / "filler")
        with started(echo_bentos, disk) as (url, log):
            eventually(lambda: status(f"{url}/health") == 503)
            assert status(f"{url}/api/v1/models") == 503
            told = httpx.get(f"{url}/api/v1/models", headers={"X-API-Key": KEY}, trust_env=False)
            assert told.json()["error"]["code"] == "STORE_UNAVAILABLE"
            assert int(told.headers["retry-after"]) > 0
            assert "disk is full" in log.read_text()
            assert "Traceback" not in log.read_text()
            (disk / "filler").unlink()
            eventually(lambda: status(f"{url}/api/v1/models") == 200)


@pytest.mark.slow
def test_a_server_that_kept_a_reserve_manages_on_a_full_disk_at_once(echo_bentos: Path) -> None:
    with small_disk() as disk:
        with managing(echo_bentos, home=disk) as server, server.client() as api:
            assert deploy(api).status_code == 200
            until((disk / "reserve").is_file)
        fill(disk / "filler")
        with started(echo_bentos, disk) as (url, _):
            eventually(lambda: status(f"{url}/api/v1/models/echo/status") == 200)


@pytest.mark.server
@pytest.mark.slow
def test_the_models_endpoints_need_no_disk(store: Path) -> None:
    with small_disk() as disk:
        (disk / "bentoml").mkdir()
        for kept in ("models", "bentos"):
            (disk / "bentoml" / kept).symlink_to(store / kept)
        fill(disk / "filler")
        own = {"ATELIER_HOME": str(disk / "atelier"), "BENTOML_HOME": str(disk / "bentoml")}
        with serving("service:Atelier", store, **own) as server, server.client() as client:
            assert "cannot be deployed or managed" in server.log.read_text()
            assert client.post("/diagnose", json={"symptoms": ["headache"]}).status_code == 200
            assert client.get("/metrics").status_code == 200
            assert client.get("/health").json()["model_loaded"] is True
            assert client.get("/api/v1/models", headers={"X-API-Key": KEY}).status_code == 503
