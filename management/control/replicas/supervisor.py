"""Turns the desired state into replicas: observes every replica, plans, acts, and records before and after each act.

One supervisor acts at a time: the one that holds the lease. It may be killed after any step; the next supervisor
continues from the records and from the replicas that run.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from management.backends.launcher import Launch, Launcher, LaunchRefused, Observation
from management.backends.preparation import EnvironmentPreparer, EnvironmentState, Preparation
from management.control import evaluation
from management.control.autoscaling.autoscaler import Autoscaler
from management.control.evaluation import Evaluation, MarkFailed, RemoveRecord, RollBack
from management.control.journal import Journal
from management.control.leader_loop import BACKEND_RETRY_SECONDS, LeaderLoop
from management.control.replicas import transitions
from management.control.replicas.plan import (
    Action,
    CountFailedEnvironment,
    Drain,
    Start,
    StartStable,
    Stop,
    is_at_rest,
    plan,
)
from management.control.replicas.preparations import Preparations
from management.control.replicas.prober import ReplicaProber
from management.control.replicas.usage import UsageSampler
from management.domain.records import Deployment, ModelConfig, Replica, ReplicaState, Revision
from management.domain.secrets import SecretContent
from management.errors import BackendUnavailable, SecretNotFound, SecretsUnreadable, StoreUnavailable
from management.faults import failpoints
from management.settings import ReplicaSettings

ORPHAN_INTERVAL_SECONDS: Final = 10.0
"""Seconds between two searches for replicas without a record."""
SHUTDOWN_GRACE_SECONDS: Final = 2.0
"""Seconds replicas have to end when the server shuts down."""
LOG_TAIL_LINES: Final = 20
"""Last lines of a failed replica's log that are recorded."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SupervisorHooks:
    """What the supervisor leaves to other parts of the management."""

    recorded: Callable[[], Awaitable[None]]
    """Called after a turn that recorded something."""
    contents: Callable[[Iterable[str]], Awaitable[SecretContent]]
    """Returns the present content of the secrets of these names. Raises SecretNotFound and SecretsUnreadable."""


class Supervisor(LeaderLoop):
    """Starts and stops single replicas, so that the desired ones run."""

    busy_seconds = 0.05
    idle_seconds = 0.5

    def __init__(  # noqa: PLR0913, PLR0917 - its parts
        self,
        journal: Journal,
        launcher: Launcher,
        autoscaler: Autoscaler,
        settings: ReplicaSettings,
        hooks: SupervisorHooks,
        environments: EnvironmentPreparer | None = None,
    ) -> None:
        super().__init__(journal, logger)
        self._autoscaler = autoscaler
        self._launcher, self._settings, self._hooks = launcher, settings, hooks
        self._stopping: dict[str, asyncio.Task[None]] = {}
        self._prober = ReplicaProber(launcher, self._clock, self.wake)
        launcher.on_change(self._prober.history.probe_now)  # the next turn is soon enough
        self._preparations = Preparations(environments, journal)
        self._usage = UsageSampler(launcher, journal, autoscaler.measured)
        self._next_orphan_check_at = 0.0

    async def lease_taken(self) -> None:
        """Drops what was observed when this worker led last, and has orphans searched at once."""
        await self._prober.close()
        failpoints.reach("lease.taken")
        self._next_orphan_check_at = 0.0

    async def each_step(self) -> None:
        """Stops orphans, replicas without a record, at intervals.

        Once after taking the lease is not enough: a worker that was suspended in the middle of a start may go on with
        it when another worker leads.
        """
        now = self._clock.steady()
        if now >= self._next_orphan_check_at:
            await self._stop_orphans()
            self._next_orphan_check_at = now + ORPHAN_INTERVAL_SECONDS
            await self._retain_environments()

    async def _retain_environments(self) -> None:
        try:
            await self._preparations.retain(*await self._journal.read())
        except (StoreUnavailable, BackendUnavailable):
            raise
        except Exception:  # what cannot be tidied up must not stop the models
            logger.exception("environments cannot be tidied up")

    async def _stop_orphans(self) -> None:
        # The backend is read before the records: a replica is recorded before anything of it exists.
        running, leftovers = await self._launcher.list_running(), await self._launcher.list_leftovers()
        _, replicas = await self._journal.read()
        for replica_id in set(running) - {replica.id for replica in replicas if replica.state.alive}:
            logger.warning("replica %s runs without a record: it is stopped", replica_id)
            await self._launcher.stop(replica_id, 0.0)
        for replica_id in set(leftovers) - {replica.id for replica in replicas} - self._stopping.keys():
            await self._launcher.remove_files(replica_id)

    async def take_turn(self) -> bool:
        """Observes and reconciles all deployments. True when something is on its way, so that the next turn is soon."""
        deployments, replicas = await self._journal.read()
        alive = [replica for replica in replicas if replica.state.alive]
        observations = await self._prober.observations(alive)
        by_deployment: dict[str, list[Replica]] = defaultdict(list)
        for replica in replicas:
            by_deployment[replica.deployment_id].append(replica)
        news = {replica_id for replica_id, observation in observations.items() if not observation.plainly_ready}
        busy = False
        for deployment in deployments:
            own = by_deployment[deployment.id]
            if is_at_rest(deployment, own) and news.isdisjoint(replica.id for replica in own):
                continue
            try:
                busy |= await self._reconcile(deployment, own, observations)
            except (StoreUnavailable, BackendUnavailable):
                raise
            except Exception:  # an error of one model must not stop the others
                logger.exception("model %s cannot be reconciled", deployment.model_id)
        if busy:
            await self._hooks.recorded()
        await self._usage.sample([replica.id for replica in alive])
        await self._autoscaler.follow_load(deployments, replicas)
        return busy or self._prober.history.any_to_probe_again()

    def probe_now(self, replica_id: str) -> None:
        """Has a replica probed at once that could not be reached."""
        self._prober.history.probe_now(replica_id)
        self.wake()

    async def _reconcile(
        self, deployment: Deployment, replicas: list[Replica], observations: Mapping[str, Observation]
    ) -> bool:
        """Records what the observations of one deployment's replicas mean; where nothing changed, plans and acts."""
        evaluated = transitions.evaluate(deployment, replicas, observations, self._context(replicas))
        if evaluated.transitions or evaluated.deployment_update:
            await self._record(deployment, evaluated)
            return True  # the plan is made from the records, in the next turn
        for replica_id, reason in evaluated.waiting.items():
            await self._journal.record_waiting(replica_id, reason)
        for replica in evaluated.restart:
            await self._launch(deployment, replica)
        for replica_id, grace_seconds in evaluated.end.items():
            self._stop_in_background(replica_id, grace_seconds)
        preparation = await self._preparations.for_starts(deployment, replicas, self._attempts(deployment))
        actions = await self._plan(deployment, replicas, preparation.state)
        for action in actions:
            await self._act(deployment, replicas, action, preparation)
        moving = any(replica.state in (ReplicaState.STARTING, ReplicaState.DRAINING) for replica in replicas)
        return bool(actions) or moving  # a deployment that waits for its next attempt need not be seen soon

    async def _plan(
        self, deployment: Deployment, replicas: list[Replica], environment: EnvironmentState
    ) -> list[Action]:
        slots = await self._journal.free_slots(deployment, replicas)
        now, attempts = self._clock.unix(), self._attempts(deployment)
        return plan(deployment, replicas, now=now, attempts=attempts, free_slots=slots, environment=environment)

    def _attempts(self, deployment: Deployment) -> int:
        return self._settings.crash_attempts if deployment.is_stable else self._settings.start_attempts

    async def _act(
        self, deployment: Deployment, replicas: list[Replica], action: Action, preparation: Preparation
    ) -> None:
        by_id = {replica.id: replica for replica in replicas}
        match action:
            case Start():
                await self._start(deployment, deployment.target)
            case StartStable():
                if (stable := deployment.last_stable) is not None and await self._preparations.is_ready(stable):
                    await self._start(deployment, stable)
            case CountFailedEnvironment():
                now, settings = self._clock.unix(), self._settings
                await self._journal.change_deployment(
                    deployment,
                    lambda current: transitions.environment_failed(current, preparation, now, settings),
                    "environment_failed",
                )
            case Drain(replica_id):
                await self._journal.start_draining(by_id[replica_id])
                failpoints.reach("drain.recorded")
            case Stop(replica_id):
                if by_id[replica_id].state is not ReplicaState.DRAINING:
                    await self._journal.start_draining(by_id[replica_id])
                self._stop_in_background(replica_id, 0.0)
            case RollBack():
                await self._journal.change_deployment(deployment, evaluation.rolled_back, "rolled_back")
            case MarkFailed():
                await self._journal.change_deployment(deployment, evaluation.marked_failed, "given_up")
            case RemoveRecord():
                await self._journal.remove_deployment(deployment)
                failpoints.reach("removal.recorded")
                for replica in replicas:
                    await self._launcher.remove_files(replica.id)
                await self._launcher.remove_model_files(deployment.model_id)

    async def _start(self, deployment: Deployment, revision: Revision) -> None:
        added = await self._journal.add_replica(deployment, revision)  # first: a replica without a record is an orphan
        if added is not None:
            failpoints.reach("start.recorded")
            await self._launch(deployment, added)

    async def _launch(self, deployment: Deployment, replica: Replica) -> None:
        config = replica.revision.config
        try:
            launch = Launch(
                replica.id,
                deployment.model_id,
                config.docker_image,
                config.resources,
                config.environment_variables,
                replica.gpus,
                await self._secrets_of(config),
                config.labels,
            )
            await self._launcher.start(launch)
            failpoints.reach("start.launched")
        except LaunchRefused as error:
            await self._record(
                deployment, transitions.evaluate_refusal(deployment, replica, str(error), self._context([replica]))
            )

    async def _secrets_of(self, config: ModelConfig) -> SecretContent:
        """The present values of the secrets that a configuration names. Raises LaunchRefused, without any value."""
        try:
            return await self._hooks.contents([reference.name for reference in config.secrets])
        except (SecretNotFound, SecretsUnreadable) as error:
            reason = error.details.get("reason", "there is none of this name")
            raise LaunchRefused(f"secret {error.details['secret']!r} cannot be read: {reason}") from None

    async def _record(self, deployment: Deployment, evaluated: Evaluation) -> None:
        """Records the evaluation with the logs' last lines of failed replicas, and removes what ended replicas left."""
        failed = [transition.replica.id for transition in evaluated.transitions if transition.failed]
        gone = [transition.replica.id for transition in evaluated.transitions if transition.state is ReplicaState.GONE]
        tails = {replica_id: await self._launcher.log(replica_id, LOG_TAIL_LINES) for replica_id in failed}
        failpoints.reach("turn.observed")
        forgotten = await self._journal.apply(deployment, evaluated, tails)
        failpoints.reach("turn.recorded")
        for replica_id in failed:
            self._stop_in_background(replica_id, 0.0)  # what is left of its processes
        for replica_id in gone:
            await self._launcher.stop(replica_id, 0.0)  # also its child processes, where it ended by itself
        for replica_id in (*gone, *forgotten):
            await self._launcher.remove_files(replica_id)

    def _context(self, replicas: Sequence[Replica]) -> transitions.EvaluationContext:
        history, ids = self._prober.history, [replica.id for replica in replicas]
        return transitions.EvaluationContext(
            self._clock.now(), self._settings, history.health(ids), frozenset(self._stopping), history.ages(ids)
        )

    def _stop_in_background(self, replica_id: str, grace_seconds: float) -> None:
        """Stops the replica in a task of its own, so that no turn waits for it."""
        if replica_id not in self._stopping:
            self._stopping[replica_id] = asyncio.create_task(self._stop(replica_id, grace_seconds))

    async def _stop(self, replica_id: str, grace_seconds: float) -> None:
        try:
            failpoints.reach("stop.begun")
            await self._launcher.stop(replica_id, grace_seconds)
            failpoints.reach("stop.done")
        except BackendUnavailable:
            await asyncio.sleep(BACKEND_RETRY_SECONDS)
        except Exception:  # the next turn tries again
            logger.exception("replica %s cannot be stopped", replica_id)
        finally:
            self._stopping.pop(replica_id, None)
            self.wake()

    async def stop_at_once(self, model_id: str) -> bool:
        """Stops the replicas of a model that is being deleted, and removes their files. True if there were any.

        Only for a full disk, where nothing can be recorded first: the next turn that can write records their end.
        """
        deployments, replicas = await self._journal.read()
        ids = {deployment.id for deployment in deployments if deployment.model_id == model_id}
        replica_ids = [replica.id for replica in replicas if replica.deployment_id in ids]
        for replica_id in replica_ids:
            await self._launcher.stop(replica_id, 0.0)
            await self._launcher.remove_files(replica_id)
        return bool(replica_ids)

    async def log(self, deployment: Deployment, replicas: Sequence[Replica], lines: int) -> dict[str, list[str]]:
        """The last lines of the log of each of these replicas, by id."""
        return {replica.id: await self._launcher.log(replica.id, lines) for replica in replicas}

    async def close(self, *, stop_replicas: bool) -> None:
        """Waits for replicas that are being stopped, stops all others with ``stop_replicas``, and releases the lease.

        To be called after ``run`` was cancelled.
        """
        await self._prober.close()
        await self._usage.close()
        await self._preparations.close()
        with suppress(StoreUnavailable):  # the next start adopts replicas that still run, or stops them as orphans
            if stop_replicas and await self._wait_for_lease():
                for replica_id in await self._journal.forget_replicas():
                    self._stop_in_background(replica_id, min(SHUTDOWN_GRACE_SECONDS, self._settings.stop_seconds))
        stopping = dict(self._stopping)
        await asyncio.gather(*stopping.values(), return_exceptions=True)
        with suppress(BackendUnavailable):  # likewise
            for replica_id in stopping:
                await self._launcher.remove_files(replica_id)
        await self._give_back_lease()

    async def _wait_for_lease(self) -> bool:
        """Takes the lease to stop the replicas, and waits for that of a worker that died a moment ago to expire."""
        deadline = self._clock.steady() + self._journal.lease_seconds + 1.0
        while not await self._journal.take_lease():
            if self._clock.steady() > deadline:
                return False
            await asyncio.sleep(0.1)
        return True
