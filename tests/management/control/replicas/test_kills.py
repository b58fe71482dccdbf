"""A control plane that is killed at any step: before and after each transaction, and each call of the launcher."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from management.control.replicas import prober
from management.domain.records import Deletion
from tests.doubles.management import SlowLauncher, revision
from tests.doubles.stage import Death, Stage
from tests.support.running.small_states import every_step

SCENES: dict[str, tuple[dict[str, Any], int, int, int]] = {
    "deploy": ({"replicas": 2}, 0, 1, 2),
    "scale up": ({"replicas": 3}, 1, 1, 3),
    "scale down": ({"replicas": 1}, 1, 1, 1),
    "stop": ({"replicas": 0}, 0, 1, 0),
    "update": ({"target": revision(2)}, 2, 2, 2),
    "delete": ({"deletion": Deletion.GRACEFUL}, 0, 1, 0),
    "force": ({"deletion": Deletion.FORCED}, 0, 1, 0),
}
"""The new wish; how many serve all the time; the revision and the number of those that serve in the end."""


@every_step
@pytest.mark.parametrize("scene", SCENES)
async def test_a_kill_at_any_step_orphans_nothing_and_starts_nothing_twice(
    scene: str, stride: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prober, "PROBE_INTERVAL_SECONDS", 0.0)
    changes, least, number, replicas = SCENES[scene]
    stage = Stage(tmp_path, SlowLauncher(looks=2))
    await stage.lead()
    for steps in range(0, 1000, stride):
        if scene != "deploy":
            stage.wish(replicas=2)
            await stage.until(lambda: stage.rests(2, 1))
        stage.wish(**changes)
        death = Death(steps)
        stage.launcher.watch = stage.store.watch = death
        try:
            await stage.until(lambda: over(stage, number, replicas))
        except asyncio.CancelledError:
            assert death.came
        await asyncio.sleep(0)
        await stage.succeed()
        await stage.until(lambda: over(stage, number, replicas), always=lambda: stage.ready() >= least)
        assert await stage.honest(), steps
        assert set(stage.launcher.phases) <= {replica.id for replica in stage.replicas()}, steps
        with stage.store.writing() as session:
            for deployment in session.deployments.all():
                session.deployments.remove(deployment.id)
        await stage.succeed()  # and ends what now is an orphan
        await stage.look()
        if not death.came:
            assert steps > 5
            stage.store.close()
            return
    raise AssertionError("it takes too many steps")


def over(stage: Stage, number: int, replicas: int) -> bool:
    """Whether the scene has come to its end."""
    found = stage.found()
    return stage.rests(replicas, number) and (found is None or found.deletion is None)
