"""What the local BentoCloud keeps, and the shapes in which BentoML's client wants it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

AT = "2026-11-27T12:00:00Z"
ORGANIZATION = "tests"
CLUSTER = "first"
NAMESPACE = "yatai"
USER = {"name": "tester", "email": "tester@example.com", "first_name": "Test", "last_name": "Er"}
INSTANCE_TYPES = {  # name: cores, memory, GPUs, price
    "cpu.1": ("1000m", "2Gi", "", "0.05"),
    "cpu.4": ("4000m", "16Gi", "", "0.20"),
    "cpu.4.old": ("4000m", "16Gi", "", "0.30"),
    "gpu.t4.1": ("4000m", "16Gi", "1", "0.60"),
}
ROUTING = {"route_type": "header", "route_by": "x-canary", "weights": {}}
SERVING = ("running", "unhealthy", "scaled-to-zero")

Body = dict[str, Any]


def resource(kind: str, name: str, labels: list[Body] | None = None) -> Body:
    return {
        "uid": f"{kind}-{name}",
        "created_at": AT,
        "updated_at": AT,
        "deleted_at": None,
        "name": name,
        "resource_type": kind,
        "labels": labels or [],
    }


def cluster() -> Body:
    more = {"description": "", "organization_name": ORGANIZATION, "creator": USER, "is_first": True}
    return {**resource("cluster", CLUSTER), **more}


def instance_types() -> list[Body]:
    found = []
    for name, (cpu, memory, gpu, price) in INSTANCE_TYPES.items():
        requests = {"cpu": cpu, "memory": memory, **({"gpu": gpu} if gpu else {})}
        config = {
            "group": "default",
            "resources": {"requests": requests, "limits": requests},
            "price": price,
            "gpu_config": {"type": "nvidia-t4", "memory": "16Gi"} if gpu else None,
        }
        shown = {"display_name": name, "description": f"{cpu} {memory}", "config": config}
        found.append({**resource("resource_instance", f"id-of-{name}"), **shown})
    return found


@dataclass
class Package:
    """A Bento, or a model, that was announced, and perhaps sent."""

    kind: str
    repository: str
    version: str
    manifest: Body
    upload_status: str = "pending"
    content: bytes = b""
    strategy: str | None = "proxy"

    def shape(self, **more: Any) -> Body:
        return {
            **resource(self.kind, self.version),
            "description": "",
            "version": self.version,
            "image_build_status": "pending",
            "upload_status": self.upload_status,
            "upload_finished_reason": "",
            "presigned_upload_url": "",
            "presigned_download_url": "",
            "manifest": self.manifest,
            "transmission_strategy": self.strategy,
            "build_at": AT,
            **more,
        }


def repository(kind: str, name: str) -> Body:
    return {**resource(f"{kind}_repository", name), "description": "", f"latest_{kind}": None}


@dataclass
class Deployed:
    """A deployment: what it is told, what serves meanwhile, and the words it goes through."""

    name: str
    config: Body
    bento: Package
    words: list[str]
    pace: float
    """Seconds that each word lasts; the last one stays."""
    labels: list[Body] = field(default_factory=list)
    serving: Body | None = None
    """The configuration that was last told when it came to serve."""
    revision: int = 1
    counted: int | None = None
    """Replicas, where the cloud chose another number than the least."""
    garbled: bool = False
    """Whether it is shown with a canary whose weight is missing, so that the client cannot read its configuration."""
    begun: float = field(default_factory=time.monotonic)

    @property
    def status(self) -> str:
        passed = int((time.monotonic() - self.begun) / self.pace) if self.pace else len(self.words)
        word = self.words[min(passed, len(self.words) - 1)]
        if word in SERVING:
            self.serving = self.config
        return word

    def becomes(self, *words: str, config: Body | None = None) -> None:
        """Goes through these words from now on."""
        _ = self.status
        self.words, self.begun = list(words), time.monotonic()
        if config is not None:
            self.config, self.revision = config, self.revision + 1

    @property
    def pods(self) -> int:
        """Replicas that answer."""
        if self.status in ("terminated", "terminating", "scaled-to-zero", "failed", "unhealthy"):
            return 0
        if self.serving is None:
            return 0
        if self.counted is not None:
            return self.counted
        (service,) = self.serving["services"].values()
        return int(service["scaling"]["min_replicas"])

    def environment(self) -> dict[str, str]:
        """That of what serves."""
        config = self.serving or self.config
        return {variable["name"]: variable["value"] for variable in config.get("envs") or ()}

    def shape(self, url: str | None) -> Body:
        bento = self.bento.shape(repository=repository("bento", self.bento.repository))
        kept = ("access_authorization", "envs", "labels", "secrets", "services")
        target = {
            **resource("deployment_target", "main"),
            "creator": USER,
            "config": {name: self.config[name] for name in kept if name in self.config},
            "bento": bento,
        }
        revision = {
            **resource("deployment_revision", f"{self.name}-{self.revision}"),
            "creator": USER,
            "status": "active",
            "targets": [target, {**target, "name": "canary"}] if self.garbled else [target],
        }
        return {
            **resource("deployment", self.name, self.labels),
            "status": self.status,
            "kube_namespace": NAMESPACE,
            "creator": USER,
            "cluster": cluster(),
            "latest_revision": revision,
            "manifest": {"dev": False, "routing": ROUTING if self.garbled else None},
            **({} if url is None else {"urls": [url]}),
        }

    def copy(self, name: str, deployment_id: str, instance: str | None = None) -> Deployed:
        """Another one like this, of that deployment, made by the same server or by that instance."""
        mark = self.environment()["ATELIER_ORDER"].split(".")
        marked = ".".join([instance or mark[0], deployment_id, mark[2]])
        config = {**self.config, "name": name, "envs": [{"name": "ATELIER_ORDER", "value": marked}]}
        return Deployed(name, config, self.bento, ["running"], self.pace)

    def pod_shapes(self) -> list[Body]:
        return [
            {
                "name": f"{self.name}-{number}",
                "namespace": NAMESPACE,
                "labels": {"yatai.ai/bento-deployment": self.name},
                "pod_status": {"status": "Running", "reason": ""},
                "status": {"phase": "Running", "ready": True},
                "runner_name": next(iter(self.config["services"])),
            }
            for number in range(self.pods)
        ]
