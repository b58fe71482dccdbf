"""Applies specs to an engine, each in a task of its own: one may take as long as the upload of a model."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from management.backends.engine import Engine, EngineSpec
from management.backends.launcher import LaunchRefused
from management.domain.backoff import backoff
from management.domain.clock import Clock
from management.errors import BackendUnavailable

MAX_ATTEMPTS: Final = 8
"""Attempts to apply a spec that the engine accepts but never reports; each triggers a roll-out."""
MAX_PAUSE_SECONDS: Final = 60.0
"""Longest pause in seconds between two attempts."""
NOT_KEPT: Final = "the engine accepts the spec, but does not keep it"

logger = logging.getLogger(__name__)


@dataclass
class _Submission:
    spec: EngineSpec
    attempts: int = 0
    retry_at: float = 0.0
    accepted_at: float | None = None
    task: asyncio.Task[None] | None = None
    refusal: str | None = None


class ApplyQueue:
    """The last spec of each deployment, and its outcome."""

    def __init__(self, engine: Engine, clock: Clock, retry_seconds: float, done: Callable[[], None]) -> None:
        """``done`` is called when a spec was accepted, was refused, or could not be applied."""
        self._engine, self._clock, self._retry_seconds, self._done = engine, clock, retry_seconds, done
        self._submissions: dict[str, _Submission] = {}

    def submit(self, spec: EngineSpec) -> None:
        """Applies the spec, unless that is under way or a pause is not over; cancels another one of the deployment."""
        submission = self._submissions.get(spec.deployment_id)
        if submission is None or submission.spec != spec:
            if submission is not None and submission.task is not None:
                submission.task.cancel()  # this spec follows when the engine has ended the old one
                return
            submission = self._submissions[spec.deployment_id] = _Submission(spec)
        if submission.task is None and self._clock.steady() >= submission.retry_at:
            submission.task = asyncio.create_task(self._apply(submission))

    async def _apply(self, submission: _Submission) -> None:
        failures = 1
        try:
            if submission.attempts >= MAX_ATTEMPTS:
                raise LaunchRefused(NOT_KEPT)
            await self._engine.apply(submission.spec)
            submission.attempts += 1
            submission.accepted_at = self._clock.steady()
            failures += submission.attempts  # a spec that is accepted but not reported triggers a roll-out each time
        except LaunchRefused as refused:
            submission.refusal = str(refused)
        except BackendUnavailable as error:
            logger.warning("model %s: its spec could not be applied: %s", submission.spec.model_id, error.details)
        except Exception:  # the next turn tries again
            logger.exception("model %s: its spec could not be applied", submission.spec.model_id)
        finally:
            submission.retry_at = self._clock.steady() + backoff(failures, self._retry_seconds, MAX_PAUSE_SECONDS)
            submission.task = None
            self._done()

    def refusal(self, spec: EngineSpec) -> str | None:
        """Why this spec was refused; None if it was not. A second call returns None."""
        submission = self._submissions.get(spec.deployment_id)
        if submission is None or submission.refusal is None:
            return None
        del self._submissions[spec.deployment_id]
        return submission.refusal if submission.spec == spec else None

    def confirmed(self, deployment_id: str) -> None:
        """Forgets the attempts, because the engine reports the spec: the next spec starts afresh."""
        submission = self._submissions.get(deployment_id)
        if submission is not None and submission.task is None:
            del self._submissions[deployment_id]

    def in_grace(self, spec: EngineSpec, seconds: float) -> bool:
        """Whether the spec is being applied, or was accepted less than this time ago and is not confirmed."""
        submission = self._submissions.get(spec.deployment_id)
        if submission is None or submission.spec != spec:
            return False
        return submission.task is not None or (submission.accepted_at or -seconds) + seconds > self._clock.steady()

    def under_way(self) -> bool:
        """Whether any spec is being applied."""
        return any(submission.task is not None for submission in self._submissions.values())

    async def drop(self, deployment_id: str) -> None:
        """Cancels and forgets the spec of this deployment."""
        submission = self._submissions.get(deployment_id)
        if submission is not None:
            await _cancel(submission)
            self._submissions.pop(deployment_id, None)

    async def close(self) -> None:
        """Cancels and forgets all specs."""
        for deployment_id in list(self._submissions):
            await self.drop(deployment_id)


async def _cancel(submission: _Submission) -> None:
    if submission.task is not None:
        submission.task.cancel()
        await asyncio.gather(submission.task, return_exceptions=True)
