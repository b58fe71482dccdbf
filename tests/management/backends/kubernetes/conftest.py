"""A double of a cluster, and launchers for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from management.backends.kubernetes.client import KubernetesApi
from management.backends.kubernetes.launcher import KubernetesLauncher
from management.backends.kubernetes.settings import KubernetesSettings
from tests.doubles.kubernetes.api_server import ApiServer, kubeconfig
from tests.doubles.kubernetes.kubelet import Kubelet
from tests.doubles.management import settings


@dataclass(frozen=True)
class Cluster:
    """A cluster in this process, and what makes launchers for it."""

    api: ApiServer
    kubelet: Kubelet
    settings: KubernetesSettings
    home: Path
    made: list[KubernetesLauncher]

    def launcher(self, **changes: Any) -> KubernetesLauncher:
        """A launcher with these settings."""
        told = settings(self.home)
        own = self.settings.model_copy(update=changes)
        self.made.append(KubernetesLauncher(KubernetesApi(own), own, told.replicas, told.storage.home))
        return self.made[-1]


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    """One node that runs the echo, and has a metrics server."""
    api = ApiServer()
    kubelet = Kubelet(api)
    made: list[KubernetesLauncher] = []
    async with api.serving() as url, kubelet.running():
        yield Cluster(api, kubelet, KubernetesSettings(kubeconfig=kubeconfig(tmp_path, url)), tmp_path / "home", made)
        for launcher in made:
            await launcher.close()
