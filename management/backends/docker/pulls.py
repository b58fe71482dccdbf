"""Pulls of images that replicas wait for, each once for all that wait for it."""

from __future__ import annotations

import asyncio
import logging
from typing import Literal

from management.backends.docker.client import DockerEngine, DockerRefused
from management.backends.launcher import Launch, LaunchRefused, Observation, Phase
from management.errors import BackendUnavailable

logger = logging.getLogger(__name__)


class ImagePulls:
    """The pulls of one launcher; nothing of them outlives it, and the next start begins them again."""

    def __init__(self, engine: DockerEngine, policy: Literal["never", "missing"]) -> None:
        self._engine, self._policy = engine, policy
        self.running: dict[str, asyncio.Task[None]] = {}
        """Running pulls by image; several replicas may wait for one."""
        self._waiting: dict[str, str] = {}
        """The image that each replica waits for, by replica id."""
        self._refusals: dict[str, str] = {}
        """Why a replica's image cannot be pulled, by replica id."""

    def begin(self, launch: Launch) -> None:
        """Begin to pull the replica's image, once for all that wait for it; ``observation`` reports the outcome.

        The pull goes on after a replica's time to start is over, so that a later replica finds the image. Raises
        LaunchRefused where the settings allow no pull.
        """
        image = launch.docker_image
        if self._policy == "never":
            raise LaunchRefused(f"the engine has no image {image}")
        self._waiting[launch.replica_id] = image
        if image not in self.running:
            self.running[image] = asyncio.create_task(self._pull(image))

    async def _pull(self, image: str) -> None:
        refusal = None
        try:
            await self._engine.pull(image)
        except DockerRefused as error:
            refusal = f"the image {image} cannot be pulled: {error}"
        except BackendUnavailable:  # the next start begins it again
            logger.warning("pulling %s was interrupted", image)
        finally:
            del self.running[image]
            for replica_id in [waiting for waiting, awaited in self._waiting.items() if awaited == image]:
                del self._waiting[replica_id]
                if refusal is not None:
                    self._refusals[replica_id] = refusal

    def observation(self, replica_id: str) -> Observation:
        """Return the state of a replica that the engine knows nothing of; the reason of a failed pull is told once."""
        if replica_id in self._waiting:
            return Observation(Phase.STARTING)
        reason = self._refusals.pop(replica_id, None)
        return Observation(Phase.ABSENT) if reason is None else Observation(Phase.EXITED, reason=reason)

    def forget(self, replica_id: str) -> None:
        """Forget a replica that waits no longer."""
        self._waiting.pop(replica_id, None)
        self._refusals.pop(replica_id, None)
