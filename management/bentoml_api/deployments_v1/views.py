"""Deployments as version 1's calls tell them: a target has one configuration, without services."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from management.bentoml_api.deployments_v1.translation import PROTECTED, PUBLIC
from management.bentoml_api.views import deployments
from management.bentoml_api.views.deployments import ShownDeployment
from management.bentoml_api.views.instances import amounts
from management.bentoml_api.views.resources import EPOCH, MASK
from management.bentoml_api.views.stored import StoredItem, with_repository
from management.domain.bento_tag import StoredKind, tag_of
from management.packaging.pushes.registrations import PushStatus


def listed(shown: ShownDeployment, *, masked: bool) -> dict[str, Any]:
    """A deployment in a list."""
    told = deployments.listed(shown, masked=masked)
    revision = told["latest_revision"]
    bento = _bento(shown.deployment.target.config.docker_image, revision["targets"][0]["bento"])
    own = {"config": _config(shown, masked=masked), "bento": bento, "canary_rules": None}
    targets = [] if bento is None else [{**target, **own} for target in revision["targets"]]
    return {**told, "latest_revision": {**revision, "targets": targets}}


def full(shown: ShownDeployment, url: str, *, masked: bool) -> dict[str, Any]:
    """A deployment, and the URL of its own address on the server at ``url``."""
    return {**listed(shown, masked=masked), "urls": deployments.urls(shown, url)}


def _bento(image: str, stored: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The Bento of a target, which version 1 cannot read without: one outside the store is told by its tag."""
    if stored is None:
        try:
            stored = with_repository(StoredItem(StoredKind.BENTO, tag_of(image), {}, EPOCH, PushStatus.PENDING))
        except ValueError:  # an earlier version accepted the name
            return None
    return {**stored, "models": []}


def _config(shown: ShownDeployment, *, masked: bool) -> dict[str, Any]:
    """The configuration as the client sends it back: the resources are those of the type where it has one."""
    config = shown.deployment.target.config
    own = None if shown.instance else amounts(config.resource_requirements)
    variables = config.environment_variables.items()
    return {
        "resources": {"requests": own, "limits": own},
        "resource_instance": shown.instance,
        "hpa_conf": deployments.scaling(config),
        "envs": [{"key": name, "value": MASK if masked else value} for name, value in variables],
        "access_control": PROTECTED if config.access_authorization else PUBLIC,
        "deployment_strategy": config.strategy.value,
        "kubeResourceUid": "",
        "kubeResourceVersion": "",
    }
