"""The bodies of version 1's calls on deployments, as far as this server reads them: ``schemasv1``, ``modelschemas``."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from management.bentoml_api.parsing import ClientBody
from management.bentoml_api.schemas import LabelBody, ReplicasBody, Text
from management.forms import fields

TagPart = Annotated[str, Field(max_length=255)]


class AmountsBody(ClientBody):
    """Amounts of each resource."""

    cpu: fields.Cpu | None = None
    memory: fields.Memory | None = None
    gpu: fields.Gpus | None = None
    custom: dict[str, Any] | None = None


class TargetResourcesBody(ClientBody):
    """What each replica is given, and what it may take."""

    requests: AmountsBody | None = None
    limits: AmountsBody | None = None


class TargetConfigBody(ClientBody):
    """The configuration of a target."""

    resources: TargetResourcesBody | None = None
    resource_instance: str | None = None
    hpa_conf: ReplicasBody | None = None
    envs: list[LabelBody] | None = None
    access_control: str | None = None
    deployment_strategy: str | None = None
    enable_ingress: bool | None = None
    kube_resource_uid: Annotated[str | None, Field(alias="kubeResourceUid")] = None
    kube_resource_version: Annotated[str | None, Field(alias="kubeResourceVersion")] = None
    runners: dict[str, Any] | None = None
    enable_stealing_traffic_debug_mode: bool | None = None
    enable_debug_mode: bool | None = None
    enable_debug_pod_receive_production_traffic: bool | None = None
    bento_deployment_overrides: dict[str, Any] | None = None
    bento_request_overrides: dict[str, Any] | None = None
    bento_function_overrides: dict[str, Any] | None = None
    traffic_control: dict[str, Any] | None = None
    deployment_cold_start_wait_timeout: Any = None


class TargetBody(ClientBody):
    """A Bento and its configuration."""

    bento_repository: TagPart
    bento: TagPart
    config: TargetConfigBody
    canary_rules: list[Any] | None = None


class TargetsBody(ClientBody):
    """All that a deployment is from now on."""

    targets: Annotated[list[TargetBody], Field(min_length=1)]
    labels: list[LabelBody] | None = None
    description: str | None = None
    do_not_deploy: bool | None = None


class NamedTargetsBody(TargetsBody):
    """A deployment to create."""

    name: Text
    kube_namespace: Text
