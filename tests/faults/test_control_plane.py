"""A control plane that ends at any instant, in the middle of a change: its successor makes true what was acknowledged.

Fifteen rounds in each test, three of each change: at random instants or at failpoints, alone or beside a second server
of the same home, which serves on.
"""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx
import pytest

from management.faults.failpoints import EXIT, NAMES
from tests.support.calls import infer, until
from tests.support.chains.chain import Chain, ControlPlane, Wish, chain, change
from tests.support.load import Traffic, rate
from tests.support.running.effort import effort
from tests.support.running.figures import SLACK, Figure
from tests.support.victims import processes

pytestmark = pytest.mark.slow

ROUNDS: Final = {"sqlite": effort(15, 10), "postgresql": effort(15, 5)}
LONGEST_DELAY: Final = 1.5
"""Seconds from a change to the latest random kill: what the change takes."""
REACH_SECONDS: Final = 10.0
"""That a failpoint may take to be reached."""
TRUE_SECONDS: Final = 10.0
TRIES: Final = 8
"""Of a round whose server loses the lease, on a busy machine, before it comes to its failpoint."""
CALLS_PER_SECOND: Final = 25
"""To the second server."""

Scene = tuple[str, int, int, tuple[str, ...]]
SCENES: Final[Sequence[Scene]] = (
    (
        *("deploy", 0, 2),
        ("start.recorded", "start.launched", "turn.recorded", "change.committed", "start.spawned", "turn.observed"),
    ),
    (
        *("update", 2, 2),
        ("change.committed", "start.spawned", "drain.recorded", "start.recorded", "turn.recorded", "stop.done"),
    ),
    (
        *("scale up", 2, 3),
        ("change.written", "turn.observed", "start.launched", "lease.taken", "start.spawned", "start.recorded"),
    ),
    (
        *("scale down", 3, 2),
        ("stop.begun", "drain.recorded", "lease.taken", "stop.done", "turn.observed", "change.written"),
    ),
    (
        *("delete", 2, 0),
        ("removal.recorded", "stop.done", "change.committed", "stop.begun", "removal.recorded", "turn.recorded"),
    ),
)
"""The change, the replicas before and after it, and failpoints on its way: three alone, three beside another server."""


@dataclass(frozen=True)
class Round:
    """A change, and how the server that was asked for it ends."""

    kind: str
    old: Wish
    new: Wish
    failpoint: str
    """None: it is killed after the delay."""
    delay: float
    beside: bool
    """Whether a second server serves meanwhile, and makes the wish true itself."""


@dataclass
class Outcome:
    """What the rounds came to."""

    acknowledged: int = 0
    reached: set[str] = field(default_factory=set)
    seconds: list[tuple[float, str]] = field(default_factory=list)
    """Until the wish was true, and of which change."""
    asked: int = 0
    """By the caller of the second server."""


KILLS: Final = {False: "at random", True: "at failpoints"}
NEIGHBOURS: Final = {False: "alone", True: "beside another"}
ON_POSTGRESQL: Final = effort((False, True), (True,))
"""Whether the rounds on PostgreSQL, which several servers share, are at failpoints."""
CASES: Final = (
    *(
        pytest.param("sqlite", failpoints, beside, id=f"{KILLS[failpoints]} {NEIGHBOURS[beside]}")
        for failpoints in KILLS
        for beside in NEIGHBOURS
    ),
    *(
        pytest.param("postgresql", failpoints, True, marks=pytest.mark.postgresql, id=f"{KILLS[failpoints]} postgresql")
        for failpoints in ON_POSTGRESQL
    ),
)
"""The database, whether the servers are killed at failpoints, and whether another one serves meanwhile."""


@pytest.fixture
def servers(request: pytest.FixtureRequest, database: str, echo_bentos: Path) -> Iterator[Chain]:
    home = Path(tempfile.mkdtemp(prefix="at-"))  # short: sockets lie in it
    own = {} if database == "sqlite" else {"ATELIER_DATABASE_URL": request.getfixturevalue("postgresql_url")}
    with chain(echo_bentos, home, **own) as made:
        yield made
    shutil.rmtree(home, ignore_errors=True)


@pytest.mark.parametrize(("database", "failpoints", "beside"), CASES)
def test_what_was_acknowledged_comes_true_after_the_control_plane_was_killed(
    database: str, failpoints: bool, beside: bool, servers: Chain, figure: Figure
) -> None:
    chance, number = random.Random(2 * failpoints + beside), ROUNDS[database]
    outcome = Outcome()
    leader = servers.start()
    for round_ in rounds(chance, number, failpoints=failpoints, beside=beside):
        for _ in range(TRIES):
            leader, reached = play(servers, leader, round_, outcome)
            if reached:
                break
        else:
            raise AssertionError(f"{round_} was not reached in {TRIES} tries")
    servers.close()
    assert not processes(servers.home)
    longest, which = max(outcome.seconds)
    figure(
        f"{number} rounds, {outcome.acknowledged} acknowledged, at {len(outcome.reached)} of {len(NAMES)} failpoints: "
        f"0 lost, 0 orphans, 0 doubles; true after {longest:.1f} s at most ({which}); "
        f"0 failed of {outcome.asked:,} beside",
        goal=f"0 lost, 0 orphans, 0 doubles, {TRUE_SECONDS:g} s, 0 failed",
    )


def test_every_failpoint_is_in_some_round() -> None:
    assert {point for *_, points in SCENES for point in points} == set(NAMES)


def rounds(chance: random.Random, count: int, *, failpoints: bool, beside: bool) -> Iterator[Round]:
    """As many of each change, three in a whole run; each begins with what the one before it wished."""
    version = "1.0.0"
    for number in range(count):
        kind, before, after, points = SCENES[number % len(SCENES)]
        old = Wish(version, before) if before else Wish()
        if kind == "update":
            version = "2.0.0" if version == "1.0.0" else "1.0.0"
        new = Wish(version, after) if after else Wish()
        failpoint = points[number // len(SCENES) + 3 * beside] if failpoints else ""
        delay = SLACK * REACH_SECONDS if failpoints else LONGEST_DELAY * chance.random() ** 2
        yield Round(kind, old, new, failpoint, delay, beside)


def play(servers: Chain, leader: ControlPlane, round_: Round, outcome: Outcome) -> tuple[ControlPlane, bool]:
    """A round; returns its successor, which leads, and whether it went as it was to go.

    Else another server had the lease by then and did the work: all that is promised was seen, but not at the failpoint.
    """
    reached = True
    armed = servers.launch(round_.failpoint) if round_.failpoint else None
    with leader.server.client() as api:
        servers.bring(api, round_.old)
    if armed:
        servers.succeed(leader, armed)
        leader = armed
    held = servers.holder()
    with ExitStack() as stack:
        successor = servers.start() if round_.beside else None
        traffic = stack.enter_context(rate(successor.server, CALLS_PER_SECOND)) if successor else None
        acknowledged = ask_and_kill(leader, round_)
        if round_.failpoint:
            reached = leader.process.returncode == EXIT
            assert reached or servers.holder() != held, f"{round_} was not reached\n{servers.logs()}"
            if reached:
                outcome.reached.add(round_.failpoint)
        successor = successor or servers.start()
        api = stack.enter_context(successor.server.client())
        began = time.monotonic()
        wish = round_.new if acknowledged else servers.wish(api)
        assert wish in (round_.old, round_.new), round_
        try:
            until(lambda: not servers.truth(api, wish), SLACK * TRUE_SECONDS)
        except AssertionError:
            raise AssertionError(f"{round_}: {servers.truth(api, wish)}\n{servers.logs()}") from None
        outcome.seconds.append((time.monotonic() - began, f"{round_.kind} {round_.failpoint}".strip()))
        outcome.acknowledged += acknowledged
        if wish.replicas:
            said = infer(api, {"n": 1})
            assert said.status_code == 200, (round_, said.text)
            assert said.json()["output_data"]["version"] == wish.version, round_
    if traffic is not None and round_.new.replicas:
        outcome.asked += check_served(traffic, round_)
    return successor, reached


def ask_and_kill(leader: ControlPlane, round_: Round) -> bool:
    """Whether the change was acknowledged before the server ended: by itself, or killed after the delay."""
    with ThreadPoolExecutor(1) as pool, leader.server.client() as api:
        asked = pool.submit(change, api, round_.kind, round_.new)
        deadline = time.monotonic() + round_.delay
        while not leader.ended and time.monotonic() < deadline:
            time.sleep(0.005)
        leader.kill()
        try:
            answer = asked.result()
        except httpx.TransportError:
            return False
    assert answer.status_code < 300 or answer.status_code >= 500, (round_, answer.text)
    return answer.is_success


def check_served(traffic: Traffic, round_: Round) -> int:
    """Nobody saw a failure: not since the model served first. The number of those who asked."""
    answers = traffic.answers
    if not round_.old.replicas:
        first = next((number for number, answer in enumerate(answers) if answer.good), len(answers))
        answers = answers[first:]
    assert all(answer.good for answer in answers), (round_, traffic.told)
    return len(answers)
