"""What a deployment is to be, in the words of the documented API and of BentoML's client."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from management.domain.strategy import Strategy


@dataclass(frozen=True)
class Wish:
    """What a deployment is to be."""

    version: str
    bounds: tuple[int, int]
    variables: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    strategy: str = Strategy.ROLLING_UPDATE.value
    is_closed: bool = True
    secrets: list[str] = field(default_factory=list)
    concurrency: int | None = None


def client_body(wish: Wish) -> dict[str, Any]:
    """The wish in the client's words."""
    metrics = [] if wish.concurrency is None else [{"type": "concurrency", "value": wish.concurrency}]
    scaling = {"min_replicas": wish.bounds[0], "max_replicas": wish.bounds[1], "policy": {"metrics": metrics}}
    return {
        "bento": f"echo:{wish.version}",
        "access_authorization": wish.is_closed,
        "envs": [{"name": name, "value": value} for name, value in wish.variables.items()],
        "labels": [{"key": key, "value": value} for key, value in wish.labels.items()],
        "secrets": wish.secrets,
        "services": {"Echo": {"scaling": scaling, "deployment_strategy": wish.strategy}},
    }


def documented_body(wish: Wish, removed: dict[str, None] | None = None) -> dict[str, Any]:
    """The wish in the words of the documented API."""
    low, high = wish.bounds
    aim = wish.concurrency if removed is None else wish.concurrency or 0
    return {
        "version": wish.version,
        "docker_image": f"bentos/echo:{wish.version}",
        "scaling_config": {"min_replicas": low, "max_replicas": high, "target_concurrency": aim},
        "environment_variables": {**(removed or {}), **wish.variables},
        "labels": wish.labels,
        "strategy": wish.strategy,
        "access_authorization": wish.is_closed,
        "secrets": wish.secrets,
    }


def of_documented(told: dict[str, Any]) -> Wish:
    """What the documented API says of a deployment, but for the values of variables, which it hides."""
    config = told["config"]
    scaling = config["scaling_config"]
    return Wish(
        config["docker_image"].partition(":")[2],
        (scaling["min_replicas"], scaling["max_replicas"]),
        config["environment_variables"],
        config.get("labels", {}),
        config.get("strategy", Strategy.ROLLING_UPDATE.value),
        config.get("access_authorization", True),
        config["secrets"],
        scaling.get("target_concurrency"),
    )


def of_client(told: dict[str, Any]) -> Wish:
    """What the client is told of a deployment."""
    (target,) = told["latest_revision"]["targets"]
    config = target["config"]
    ((_, service),) = config["services"].items()
    scaling = service["scaling"]
    aims = {metric["type"]: metric["value"] for metric in scaling["policy"]["metrics"]}
    assert {label["key"]: label["value"] for label in told["labels"]} == {
        label["key"]: label["value"] for label in config["labels"]
    }
    return Wish(
        target["bento"]["version"],
        (scaling["min_replicas"], scaling["max_replicas"]),
        {each["name"]: each["value"] for each in config["envs"]},
        {each["key"]: each["value"] for each in config["labels"]},
        service["deployment_strategy"],
        config["access_authorization"],
        config["secrets"],
        aims.get("concurrency"),
    )
