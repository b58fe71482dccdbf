"""The simulated Pods of ``benchmarks.observing``."""

from __future__ import annotations

from pathlib import Path

from benchmarks.observing.pods import Cluster
from management.backends.kubernetes import manifest
from management.backends.kubernetes.client import KubernetesApi
from management.backends.kubernetes.launcher import KubernetesLauncher
from management.backends.kubernetes.pod_state import PodState
from management.backends.kubernetes.settings import KubernetesSettings
from management.backends.launcher import Phase
from tests.doubles.launchers import launch, until
from tests.doubles.management import settings


async def test_simulated_pods_answer_for_themselves_and_change_when_they_are_told_to(tmp_path: Path) -> None:
    cluster, told = Cluster(), settings(tmp_path)
    async with cluster.running(tmp_path) as configuration:
        own = KubernetesSettings(kubeconfig=configuration)
        launcher = KubernetesLauncher(KubernetesApi(own), own, told.replicas, told.storage.home)
        try:
            wanted = [launch(), launch()]
            for each in wanted:
                await launcher.start(each)
            looks = [await until(launcher, each.replica_id, Phase.READY) for each in wanted]
            assert len({look.address for look in looks}) == 2
            assert cluster.node.probes >= 2
            cluster.changes_per_second = 100.0
            name = manifest.name(wanted[0].replica_id)
            assert await launcher._cache.until(name, _has_changed, 10)
        finally:
            await launcher.close()


def _has_changed(pod: PodState | None) -> bool:
    return pod is not None and "changed" in pod.pod["metadata"].get("annotations", {})
