"""The calls of BentoML's own client in this process: HTTP and websockets, against Bentos that are files alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import yaml  # type: ignore[import-untyped]
from starlette.types import Message, Scope

from management.backends.backend import Backend
from management.backends.launcher import Launch, Phase
from management.backends.preparation import ImageIsEnvironment
from management.control.bentos import Bentos
from management.control.codespaces.codespaces import Codespaces
from management.control.repository.stored_models import StoredModels
from management.control.repository.uploads import Uploads
from management.packaging.build import BentoHome
from tests.support.chains.fuzz import EchoLauncher, EchoPlatform, Fuzzed

BAD: Final = "9.0.0"
"""Version of a Bento whose replicas end while they start."""
_SERVICES: Final = [{"name": "Echo", "config": {"resources": {"cpu": "100m", "memory": "128Mi"}}}, {"name": "Side"}]
BENTOS: Final[dict[str, dict[str, Any]]] = {
    **{f"echo:{version}": {"services": _SERVICES, "entry_service": "Echo"} for version in ("1.0.0", "2.0.0", BAD)},
    **{
        f"{name}:1.0.0": {"services": [{"name": "Seer"}], "entry_service": "Seer", "labels": {"model_type": label}}
        for name, label in (("diagnosis", "tcm_diagnosis"), ("herbs", "treatment"))
    },
}
"""The Bentos that are there, by tag."""


class DyingEchoLauncher(EchoLauncher):
    """Replicas of the version ``BAD`` end at once."""

    def becomes(self, launch: Launch) -> Phase:
        return Phase.EXITED if launch.docker_image.endswith(f":{BAD}") else super().becomes(launch)


class ClientPlatform(EchoPlatform):
    """One whose store is in its home, and whose Bentos need no environment."""

    @cached_property
    def backend(self) -> Backend:
        own = super().backend
        return replace(own, driver=DyingEchoLauncher(self.address), environments=ImageIsEnvironment())

    @cached_property
    def bentos(self) -> Bentos:
        return Bentos(self.store, self._home, self.settings.bentos)

    @cached_property
    def stored_models(self) -> StoredModels:
        return StoredModels(self._home, self.settings.bentos)

    @cached_property
    def uploads(self) -> Uploads:
        return Uploads(self._home, self.settings.bentos)

    @cached_property
    def codespaces(self) -> Codespaces:
        return Codespaces(self._home, self.settings.bentos, self.bentos, self.uploads)

    @property
    def _home(self) -> BentoHome:
        return BentoHome(self.settings.storage.home)


def add_bentos(home: Path) -> None:
    """Write the files of the Bentos."""
    for tag, about in BENTOS.items():
        name, version = tag.split(":")
        folder = home / "bentos" / name / version
        folder.mkdir(parents=True, exist_ok=True)
        created = f"2026-01-0{version[0]}T00:00:00+00:00"
        content = {"name": name, "version": version, "creation_time": created, "bentoml_version": "1.4.39"}
        (folder / "bento.yaml").write_text(yaml.safe_dump(content | about))


async def exchange(api: Fuzzed, scope: Scope, received: Sequence[Message], stays: float = 0.0) -> list[Message]:
    """Return what the application sends to a caller that says this, and leaves ``stays`` seconds later."""
    waiting, sent = list(received), list[Message]()

    async def receive() -> Message:
        if waiting:
            return waiting.pop(0)
        if scope["type"] == "http":
            await asyncio.Event().wait()
        await asyncio.sleep(stays)
        return {"type": "websocket.disconnect", "code": 1001}

    async def send(message: Message) -> None:
        sent.append(message)

    await api.app(scope, receive, send)
    return sent
