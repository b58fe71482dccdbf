"""A preparer whose preparations a test sets."""

from __future__ import annotations

from collections.abc import Collection

from management.backends.preparation import (
    READY_AT_ONCE,
    EnvironmentState,
    ImageIsEnvironment,
    Preparation,
)


class FakePreparer(ImageIsEnvironment):
    """Environments are ready at once, but for the images that a test says something else about."""

    def __init__(self) -> None:
        self.states: dict[str, Preparation] = {}
        self.asked: list[tuple[str, float]] = []
        """Images and times of all calls of ``prepare``."""
        self.retained: set[str] = set()

    def set(self, image: str, state: EnvironmentState, *, reason: str = "", temporary: bool = False) -> None:
        """Say how far the environment of the image is."""
        self.states[image] = Preparation(state, "d1gest", "3.11", reason, temporary, seconds=2.5, size_bytes=1000)

    async def prepare(self, image: str, since: float) -> Preparation:
        self.asked.append((image, since))
        return self.states.get(image, READY_AT_ONCE)

    async def retain(self, images: Collection[str]) -> None:
        self.retained = set(images)
