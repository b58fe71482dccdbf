"""Makes the wishes come true: looks at every replica, plans, acts, and records it all before and after.

One supervisor acts at a time: the one that holds the lease. Every step can be the last before a kill; the next
supervisor goes on from the records and from what runs.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from management.backends.base import Launch, Launcher, LaunchRefusedError, Observation
from management.control import evaluation
from management.control.autoscaling.autoscaler import Autoscaler
from management.control.evaluation import (
    Settled,
)
from management.control.journal import Ledger
from management.control.leader_loop import BACKEND_RETRY_SECONDS, LeaderLoop
from management.control.replicas import transitions
from management.control.replicas.plan import Action, Drain, Erase, GiveUp, RollBack, Start, Stop, plan
from management.control.replicas.probes import Watch
from management.control.replicas.usage import Meter
from management.domain.records import Deployment, Replica, ReplicaState
from management.errors import BackendUnavailable, StoreUnavailable
from management.faults import failpoints
from management.settings import Settings

ORPHAN_SECONDS: Final = 10.0
"""Between two looks for what no record knows."""
GOODBYE_SECONDS: Final = 2.0
"""That replicas have to end when the server does."""
TAIL_LINES: Final = 20
"""Of the log of a replica that failed."""

logger = logging.getLogger(__name__)


class Supervisor(LeaderLoop):
    """Starts and stops single replicas, so that those that run are those that are desired."""

    busy_seconds = 0.05
    idle_seconds = 0.5

    def __init__(
        self,
        ledger: Ledger,
        launcher: Launcher,
        autoscaler: Autoscaler,
        settings: Settings,
        recorded: Callable[[], Awaitable[None]],
    ) -> None:
        """``recorded`` is called after a look that wrote something down."""
        super().__init__(ledger, settings.lease_seconds, logger)
        self._autoscaler = autoscaler
        self._ledger = ledger
        self._launcher, self._settings, self._recorded = launcher, settings, recorded
        self._ending: dict[str, asyncio.Task[None]] = {}
        self._watch = Watch(launcher, self._clock, self.wake)
        self._meter = Meter(launcher, ledger, autoscaler.measured)
        self._orphans_at = 0.0

    async def lease_taken(self) -> None:
        """Forgets what was seen when this worker led last, and looks for orphans."""
        await self._watch.close()
        failpoints.reach("lease.taken")
        self._orphans_at = 0.0

    async def each_step(self) -> None:
        """Ends orphans, now and then.

        Not only after the lease was taken: a worker that slept in the middle of a start may wake up when another leads.
        """
        at = self._clock.steady()
        if at >= self._orphans_at:
            await self._end_orphans()
            self._orphans_at = at + ORPHAN_SECONDS

    async def _end_orphans(self) -> None:
        # What lies on disk is looked at first: a replica is recorded before anything of it is there.
        running, left = await self._launcher.running(), await self._launcher.left()
        _, replicas = await self._ledger.read()
        for replica_id in set(running) - {one.id for one in replicas if one.state.alive}:
            logger.warning("replica %s runs and nothing is recorded of it: it is ended", replica_id)
            await self._launcher.stop(replica_id, 0.0)
        for replica_id in set(left) - {one.id for one in replicas} - self._ending.keys():
            await self._launcher.clean(replica_id)

    async def look(self) -> bool:
        """One look at everything; True when something is on its way and deserves another look soon."""
        deployments, replicas = await self._ledger.read()
        alive = [one for one in replicas if one.state.alive]
        seen = await self._watch.seen(alive)
        own: dict[str, list[Replica]] = defaultdict(list)
        for one in replicas:
            own[one.deployment_id].append(one)
        busy = False
        for deployment in deployments:
            try:
                busy |= await self._look_after(deployment, own[deployment.id], seen)
            except (StoreUnavailable, BackendUnavailable):
                raise
            except Exception:  # one bad model must not be everybody's
                logger.exception("model %s cannot be looked after", deployment.model_id)
        if busy:
            await self._recorded()
        await self._meter.look([one.id for one in alive])
        await self._autoscaler.look(deployments, replicas)
        return busy or self._watch.history.doubtful()

    def suspect(self, replica_id: str) -> None:
        """Somebody could not reach it: it is looked at now."""
        self._watch.history.suspect(replica_id)
        self.wake()

    async def _look_after(
        self, deployment: Deployment, replicas: list[Replica], seen: Mapping[str, Observation]
    ) -> bool:
        """Settles what was seen of one deployment's replicas, then does what is planned for it."""
        settled = transitions.settle(deployment, replicas, seen, self._context())
        if settled.news or settled.changed:
            await self._record(deployment, settled)
            return True  # the plan is made from the records, at the next look
        for replica in settled.restart:
            await self._launch(deployment, replica)
        for replica_id, grace_seconds in settled.end.items():
            self._end(replica_id, grace_seconds)
        actions = await self._plan(deployment, replicas)
        for action in actions:
            await self._act(deployment, replicas, action)
        moving = any(one.state in (ReplicaState.STARTING, ReplicaState.DRAINING) for one in replicas)
        return bool(actions) or moving  # a pause before the next try is long, and may be a second longer

    async def _plan(self, deployment: Deployment, replicas: list[Replica]) -> list[Action]:
        needed = deployment.wanted.config.resources.gpus
        room = len(await self._ledger.free_gpus()) // needed if needed else deployment.replicas + 1
        attempts = self._settings.crash_attempts if deployment.proven else self._settings.start_attempts
        return plan(deployment, replicas, now=self._clock.unix(), attempts=attempts, room=room)

    async def _act(self, deployment: Deployment, replicas: list[Replica], action: Action) -> None:
        by_id = {one.id: one for one in replicas}
        match action:
            case Start():
                replica = await self._ledger.started(deployment)  # first: one that no record knows is an orphan
                if replica is not None:
                    failpoints.reach("start.recorded")
                    await self._launch(deployment, replica)
            case Drain(replica_id):
                await self._ledger.draining(by_id[replica_id])
                failpoints.reach("drain.recorded")
            case Stop(replica_id):
                if by_id[replica_id].state is not ReplicaState.DRAINING:
                    await self._ledger.draining(by_id[replica_id])
                self._end(replica_id, 0.0)
            case RollBack():
                await self._ledger.changed(deployment, evaluation.rolled_back, "rolled_back")
            case GiveUp():
                await self._ledger.changed(deployment, evaluation.given_up, "given_up")
            case Erase():
                await self._ledger.erased(deployment)
                failpoints.reach("erase.recorded")
                for one in replicas:
                    await self._launcher.clean(one.id)

    async def _launch(self, deployment: Deployment, replica: Replica) -> None:
        config = replica.revision.config
        launch = Launch(
            replica.id,
            deployment.model_id,
            config.docker_image,
            config.resources,
            config.environment_variables,
            replica.gpus,
        )
        try:
            await self._launcher.start(launch)
            failpoints.reach("start.launched")
        except LaunchRefusedError as error:
            await self._record(deployment, transitions.refused(deployment, replica, str(error), self._context()))

    async def _record(self, deployment: Deployment, settled: Settled) -> None:
        """Writes down what was seen, with the log's last lines of what failed, and cleans up behind it."""
        failed = [one.replica.id for one in settled.news if one.failed]
        gone = [one.replica.id for one in settled.news if one.state is ReplicaState.GONE]
        tails = {replica_id: await self._launcher.log(replica_id, TAIL_LINES) for replica_id in failed}
        failpoints.reach("look.seen")
        forgotten = await self._ledger.settled(deployment, settled, tails)
        failpoints.reach("look.recorded")
        for replica_id in failed:
            self._end(replica_id, 0.0)  # what is left of it, and of what it started
        for replica_id in gone:
            await self._launcher.stop(replica_id, 0.0)  # also what it had started, should it have died by itself
        for replica_id in (*gone, *forgotten):
            await self._launcher.clean(replica_id)

    def _context(self) -> transitions.Context:
        watch = self._watch
        return transitions.Context(
            self._clock.now(), self._settings, watch.history.health(), frozenset(self._ending), watch.history.ages()
        )

    def _end(self, replica_id: str, grace_seconds: float) -> None:
        """In a task of its own: others need not wait for it."""
        if replica_id not in self._ending:
            self._ending[replica_id] = asyncio.create_task(self._ended(replica_id, grace_seconds))

    async def _ended(self, replica_id: str, grace_seconds: float) -> None:
        try:
            failpoints.reach("stop.begun")
            await self._launcher.stop(replica_id, grace_seconds)
            failpoints.reach("stop.done")
        except BackendUnavailable:
            await asyncio.sleep(BACKEND_RETRY_SECONDS)
        except Exception:  # it is tried again at the next look
            logger.exception("replica %s cannot be ended", replica_id)
        finally:
            self._ending.pop(replica_id, None)
            self.wake()

    async def end_at_once(self, model_id: str) -> bool:
        """Whether replicas of a model that is being deleted were ended, and what they left on the disk is gone.

        Only where nothing can be recorded first: their records are settled at the next look that can write.
        """
        deployments, replicas = await self._ledger.read()
        ids = {one.id for one in deployments if one.model_id == model_id}
        own = [one.id for one in replicas if one.deployment_id in ids]
        for replica_id in own:
            await self._launcher.stop(replica_id, 0.0)
            await self._launcher.clean(replica_id)
        return bool(own)

    async def log(self, deployment: Deployment, replicas: Sequence[Replica], lines: int) -> dict[str, list[str]]:
        """The last lines that each of these replicas of the deployment wrote, by its id."""
        return {one.id: await self._launcher.log(one.id, lines) for one in replicas}

    async def close(self, *, stop_replicas: bool) -> None:
        """After ``run`` was cancelled: ends what is being ended and, if so asked, every replica. Frees the lease."""
        await self._watch.close()
        await self._meter.close()
        with suppress(StoreUnavailable):  # what still runs is adopted, or ended as an orphan, at the next start
            if stop_replicas and await self._leads_at_last():
                for replica_id in await self._ledger.let_go():
                    self._end(replica_id, min(GOODBYE_SECONDS, self._settings.stop_seconds))
        ended = dict(self._ending)
        await asyncio.gather(*ended.values(), return_exceptions=True)
        with suppress(BackendUnavailable):  # likewise
            for replica_id in ended:
                await self._launcher.clean(replica_id)
        await self._give_back_lease()

    async def _leads_at_last(self) -> bool:
        """Takes the lease to end the replicas, also that of a worker that died a moment ago."""
        deadline = self._clock.steady() + self._settings.lease_seconds + 1.0
        while not await self._ledger.lead():
            if self._clock.steady() > deadline:
                return False
            await asyncio.sleep(0.1)
        return True
