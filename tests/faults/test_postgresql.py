"""PostgreSQL fails, and control planes that share it: models answer on, and nothing acknowledged is lost or doubled."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx
import pytest

from management.domain import keys
from management.domain.clock import now
from management.domain.keys import Role
from management.store import Store
from tests.support.calls import deploy, hosts, infer, status, until
from tests.support.chains.chain import Chain, ControlPlane, chain
from tests.support.load import Traffic, rate
from tests.support.management_servers import Management, echo_config, managing
from tests.support.postgresql.databases import migrated_database
from tests.support.postgresql.server import PostgresqlServer, running, server_folder
from tests.support.running.effort import effort
from tests.support.running.figures import SLACK, Figure
from tests.support.victims import processes

pytestmark = [pytest.mark.slow, pytest.mark.server, pytest.mark.postgresql]

CALLS_PER_SECOND: Final = 25
AWAY_SECONDS: Final = 3.0
"""For which the database is away."""
FROZEN_SECONDS: Final = 12.0
LONGEST_CHANGE: Final = 15.0
AGAIN_SECONDS: Final = 5.0
"""From the database's return until a change is taken again."""
HANDOVER_SECONDS: Final = 5.0
LEASE_SECONDS: Final = "3"
"""The default; tests of control planes that are killed often have a shorter one."""
SKEW_SECONDS: Final = 300
NO_REPLICAS: Final = {"min_replicas": 0, "max_replicas": 0}


@dataclass
class Changes:
    """Deployments that start nothing, one after the other until the block ends, and what became of them."""

    server: Management
    acknowledged: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    longest: float = 0.0

    @contextmanager
    def made(self) -> Iterator[None]:
        stop = threading.Event()

        def work() -> None:
            number = 0
            with self.server.client() as api:
                while not stop.wait(0.02):
                    number += 1
                    self._change(api, f"m{number}")

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _change(self, api: httpx.Client, model_id: str) -> None:
        began = time.monotonic()
        answer = deploy_idle(api, model_id)
        self.longest = max(self.longest, time.monotonic() - began)
        if answer.status_code == 202:
            self.acknowledged.add(model_id)
        elif answer.status_code == 503 and answer.json()["error"]["code"] == "STORE_UNAVAILABLE":
            self.refused.add(model_id)
        else:
            self.wrong.append(answer.text)

    def check(self, listed: set[str]) -> int:
        """All that was acknowledged is there; return how many are whose answer was lost."""
        assert not self.wrong
        assert self.acknowledged, "some changes came before it or after it"
        assert self.refused, "it was away"
        assert self.acknowledged <= listed
        assert listed <= self.acknowledged | self.refused
        return len(listed - self.acknowledged)


def deploy_idle(api: httpx.Client, model_id: str, **headers: str) -> httpx.Response:
    body = {"config": echo_config(model_id, scaling_config=NO_REPLICAS)}
    return api.post("/models/deploy", json=body, headers=headers)


def listed(api: httpx.Client) -> set[str]:
    found: set[str] = set()
    while page := api.get("/models", params={"limit": 500, "offset": len(found)}).json():
        found |= {model["model_id"] for model in page}
    return found


def scales(api: httpx.Client) -> bool:
    return api.post("/models/echo/scale", params={"wait": 30}, json={"replicas": 2}).status_code == 200


@pytest.fixture(scope="module")
def database() -> Iterator[PostgresqlServer]:
    with running() as server:
        yield server


@pytest.mark.parametrize("fault", effort(["restarted", "killed", "frozen"], ["killed", "frozen"]))
def test_a_database_that_goes_away_under_load_stops_changes_alone(
    fault: str, database: PostgresqlServer, echo_bentos: Path, figure: Figure
) -> None:
    with (
        migrated_database(database) as url,
        managing(echo_bentos, ATELIER_DATABASE_URL=url) as server,
        server.client() as api,
    ):
        assert deploy(api).status_code == 200
        changes = Changes(server)
        with rate(server, CALLS_PER_SECOND) as traffic, changes.made():
            until(lambda: len(changes.acknowledged) > 20)
            _break(database, fault)
            began = time.monotonic()
            before = len(changes.acknowledged)
            until(lambda: len(changes.acknowledged) > before, SLACK * AGAIN_SECONDS)
            again = time.monotonic() - began
        assert not traffic.failed, traffic.told
        until(lambda: scales(api), SLACK * AGAIN_SECONDS)
        unsure = changes.check(listed(api) - {"echo"})
        assert changes.longest < SLACK * LONGEST_CHANGE
        assert status(api)["replicas"] == {"desired": 2, "current": 2, "ready": 2}
        assert len(hosts(server)) == 2, "none is doubled"
    figure(
        f"0 of {len(traffic.answers):,} inferences failed; {len(changes.acknowledged)} changes acknowledged, 0 lost; "
        f"{len(changes.refused)} refused after {changes.longest:.1f} s at most, {unsure} of them done; "
        f"changes again {again:.1f} s after it was back",
        goal=f"0 failed, 0 lost, refused within {LONGEST_CHANGE:g} s; changes again within {AGAIN_SECONDS:g} s",
    )


def _break(database: PostgresqlServer, fault: str) -> None:
    if fault == "frozen":
        with database.frozen():
            time.sleep(FROZEN_SECONDS)
        return
    if fault == "restarted":
        database.stop()
    else:
        database.kill_alone()
    time.sleep(AWAY_SECONDS)
    database.start()


def test_a_fail_over_to_a_standby_loses_nothing_that_was_acknowledged(echo_bentos: Path, figure: Figure) -> None:
    with running() as primary, server_folder() as folder, migrated_database_stays(primary) as url, ExitStack() as stack:
        standby = primary.standby(folder)
        standby.start()
        stack.callback(standby.kill)
        primary.sql("ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
        both = url.replace(f":{primary.port}/", f":{primary.port},127.0.0.1:{standby.port}/")
        with managing(echo_bentos, ATELIER_DATABASE_URL=both) as server, server.client() as api:
            assert deploy(api).status_code == 200
            changes = Changes(server)
            with rate(server, CALLS_PER_SECOND) as traffic, changes.made():
                until(lambda: len(changes.acknowledged) > 20)
                primary.kill()
                until(lambda: len(changes.refused) > 0)
                standby.sql("ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_promote()")
                began = time.monotonic()
                before = len(changes.acknowledged)
                until(lambda: len(changes.acknowledged) > before, SLACK * AGAIN_SECONDS)
                again = time.monotonic() - began
            assert not traffic.failed, traffic.told
            until(lambda: scales(api), SLACK * AGAIN_SECONDS)
            unsure = changes.check(listed(api) - {"echo"})
            assert len(hosts(server)) == 2, "none is doubled"
    figure(
        f"0 of {len(traffic.answers):,} inferences failed; {len(changes.acknowledged)} changes acknowledged, 0 lost, "
        f"{len(changes.refused)} refused, {unsure} of them done; changes again {again:.1f} s after the promotion",
        goal=f"0 failed, 0 lost; changes again within {AGAIN_SECONDS:g} s",
    )


@contextmanager
def migrated_database_stays(server: PostgresqlServer) -> Iterator[str]:
    """A database that ends with its server, which a test kills."""
    server.sql("CREATE DATABASE models")
    with closing(Store(server.url("models"))) as store:
        store.migrate()
    yield server.url("models")


@pytest.fixture
def planes(postgresql_url: str, echo_bentos: Path) -> Iterator[Chain]:
    home = Path(tempfile.mkdtemp(prefix="at-"))  # short: sockets lie in it
    more = {"ATELIER_DATABASE_URL": postgresql_url, "ATELIER_LEASE_SECONDS": LEASE_SECONDS}
    with chain(echo_bentos, home, **more) as made:
        yield made
    shutil.rmtree(home, ignore_errors=True)


def test_two_control_planes_mean_the_same_and_one_takes_over_from_the_other(planes: Chain, figure: Figure) -> None:
    leader = planes.start()
    other = planes.start()
    with leader.server.client() as api, other.server.client() as beside:
        assert deploy(api).status_code == 200
        until(lambda: infer(beside, {}).status_code == 200)
        check_idempotency_keys(api, beside)
        check_revoked_keys(planes, leader, other)
        held = planes.holder()
        with rate(other.server, CALLS_PER_SECOND) as traffic:
            leader.kill()
            began = time.monotonic()
            until(lambda: planes.holder() != held, SLACK * HANDOVER_SECONDS)
            seconds = time.monotonic() - began
            assert scales(beside)
        check_running(planes, beside, traffic)
    figure(
        f"the other one leads {seconds:.1f} s after SIGKILL; 0 of {len(traffic.answers):,} calls to it failed",
        goal=f"within {HANDOVER_SECONDS:g} s, 0 failed",
    )


def check_idempotency_keys(api: httpx.Client, beside: httpx.Client) -> None:
    """Twenty equal requests to both make one deployment, and get one answer."""
    with ThreadPoolExecutor(8) as pool:
        clients = [api, beside] * 10
        answers = list(pool.map(lambda client: deploy_idle(client, "once", **{"Idempotency-Key": "k"}), clients))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["deployment_id"] for answer in answers}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
    assert (
        deploy_idle(beside, "another", **{"Idempotency-Key": "k"}).json()["error"]["code"] == "IDEMPOTENCY_KEY_REUSED"
    )


def check_revoked_keys(planes: Chain, *both: ControlPlane) -> None:
    """A key that is made, or revoked, is known to all of them within a second or so."""
    new = keys.make("shop", Role.VIEWER, now())

    def answers(expected: int) -> bool:
        return all(status_for(plane, new.text) == expected for plane in both)

    with closing(Store(planes.database)) as store:
        with store.writing() as session:
            session.keys.add(new.key)
        until(lambda: answers(200), SLACK * 2)
        with store.writing() as session:
            session.keys.revoke(new.key.id, now())
        until(lambda: answers(401), SLACK * 2)


def status_for(plane: ControlPlane, key: str) -> int:
    with plane.server.client(key) as api:
        return api.get("/models").status_code


def check_running(planes: Chain, api: httpx.Client, traffic: Traffic) -> None:
    """No call failed, and each replica runs once."""
    assert not traffic.failed, traffic.told
    assert traffic.answers
    assert status(api)["replicas"] == {"desired": 2, "current": 2, "ready": 2}
    assert sorted(processes(planes.home).values()) == [1, 1]


def test_a_leader_that_is_stopped_acts_no_more_when_it_goes_on(planes: Chain) -> None:
    leader = planes.start()
    other = planes.start()
    with other.server.client() as beside:
        assert deploy(beside).status_code == 200
        held = planes.holder()
        os.kill(leader.process.pid, signal.SIGSTOP)
        try:
            until(lambda: planes.holder() != held, SLACK * HANDOVER_SECONDS)
            now_held = planes.holder()
            with rate(other.server, CALLS_PER_SECOND) as traffic:
                assert scales(beside)
                os.kill(leader.process.pid, signal.SIGCONT)
                with leader.server.client() as api:
                    until(lambda: infer(api, {}).status_code == 200)
                    until(lambda: status(api)["replicas"]["ready"] == 2)
            check_running(planes, beside, traffic)
            assert planes.holder() == now_held
        finally:
            os.kill(leader.process.pid, signal.SIGCONT)


def skewed(seconds: int) -> dict[str, str]:
    """Variables of a process whose time of day is that far from the machine's."""
    program = shutil.which("faketime")
    if program is None:
        pytest.skip("faketime is not installed")
    command = [program, "-f", f"{seconds:+d}s", "env"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    pairs = (line.split("=", 1) for line in told if line.startswith(("LD_PRELOAD=", "FAKETIME=")))
    return {**dict(pairs), "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


@pytest.mark.parametrize("seconds", effort([-SKEW_SECONDS, SKEW_SECONDS], [-SKEW_SECONDS]))
def test_control_planes_whose_clocks_differ_share_the_lease_and_the_load(planes: Chain, seconds: int) -> None:
    """Neither takes the lease from the other, nor believes a model idle that the other one is asked for."""
    idle = {"ATELIER_IDLE_SECONDS": "3"}
    first = planes.start(**idle)
    wrong = planes.start(**idle, **skewed(seconds))
    with first.server.client() as api, wrong.server.client() as beside:
        assert abs(clock_of(beside) - clock_of(api) - seconds) < SKEW_SECONDS / 2
        assert deploy(api, scaling_config={"min_replicas": 0, "max_replicas": 1}).status_code == 200
        holder = planes.holder()
        for plane in (wrong, first):
            with rate(plane.server, 5) as traffic:
                until(lambda: len(traffic.answers) > 30)  # twice as long as an idle model is kept
            assert not traffic.failed, traffic.told
            assert planes.holder() == holder
        assert "rest" not in {event["action"] for event in api.get("/models/echo/events").json()}
        first.kill()
        until(lambda: planes.holder() != holder, SLACK * HANDOVER_SECONDS)
        until(lambda: status(beside)["status"] == "stopped")  # it is idle, also by the clock that is wrong
        assert infer(beside, {}).status_code == 200


def clock_of(api: httpx.Client) -> float:
    """The Unix time that a server believes in, by the header that every answer has."""
    from email.utils import parsedate_to_datetime

    return parsedate_to_datetime(api.get("/models").headers["date"]).timestamp()
