"""The settings of the backend ``kubernetes``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field
from pydantic_settings import SettingsConfigDict
from typing_extensions import override

from management.backends.backend import BackendSettings
from management.backends.kubernetes import placement

IN_CLUSTER: Final = "KUBERNETES_SERVICE_HOST"
"""Environment variable that every container of a cluster has."""


def _selector(text: str) -> str:
    placement.node_selector(text)
    return text


def _tolerations(text: str) -> str:
    placement.tolerations(text)
    return text


class KubernetesSettings(BackendSettings):
    """The backend ``kubernetes``."""

    model_config = SettingsConfigDict(env_prefix="ATELIER_KUBERNETES_")
    library = "kubernetes"

    kubeconfig: Path | None = None
    """File with the cluster's address and credentials. Default: the service account of the Pod that the server runs in;
    outside of a cluster ``KUBECONFIG``, or ``~/.kube/config``."""

    context: str = ""
    """Context of that file. Default: its current one."""

    namespace: Annotated[str, Field(pattern=r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?$")] = ""
    """Namespace of the replicas. Default: that of the server's Pod or of the context, or ``default``."""

    images: str = "*"
    """Names of images that may be deployed: patterns with ``*``, separated by commas, such as
    ``registry.example/team/*``."""

    pull: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"
    """When nodes pull an image."""

    pull_secrets: str = ""
    """Names of the namespace's image pull secrets, separated by commas."""

    user: Annotated[int, Field(ge=1)] = 1034
    """Number of the user that replicas run as. The default is that of images which BentoML builds."""

    read_only: bool = True
    """Whether the root file system of replicas is read-only; ``/tmp`` is writable in any case."""

    node_selector: Annotated[str, AfterValidator(_selector)] = ""
    """Labels of the nodes that may run replicas, such as ``disk=ssd,zone=a``."""

    tolerations: Annotated[str, AfterValidator(_tolerations)] = ""
    """Taints that replicas tolerate: ``key``, ``key:Effect`` or ``key=value:Effect``, separated by commas."""

    spread: str = "kubernetes.io/hostname"
    """Labels of nodes over whose values the replicas of a model are spread, separated by commas; empty for none."""

    priority_class: str = ""
    """Priority class of the replicas' Pods. Default: that of the namespace."""

    @override
    def check(self) -> None:
        if self.kubeconfig is not None and not self.kubeconfig.is_file():
            raise ValueError(f"ATELIER_KUBERNETES_KUBECONFIG: there is no file {self.kubeconfig}")
        files = os.environ.get("KUBECONFIG", "~/.kube/config").split(os.pathsep)
        in_cluster = bool(os.environ.get(IN_CLUSTER))
        if not (self.kubeconfig or in_cluster or any(Path(file).expanduser().is_file() for file in files)):
            raise ValueError("no cluster is configured: set ATELIER_KUBERNETES_KUBECONFIG, or run in a cluster")
