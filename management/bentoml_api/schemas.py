"""The bodies of the client's requests, as far as this server reads them: ``bentoml._internal.cloud.schemas``."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from management.bentoml_api.parsing import ClientBody
from management.forms.fields import Description

Text = Annotated[str, Field(max_length=4096)]


class VariableBody(ClientBody):
    """An environment variable."""

    name: Text
    value: str = ""


class LabelBody(ClientBody):
    """A label."""

    key: Text
    value: Text


class MetricBody(ClientBody):
    """What scaling aims at."""

    type: Text
    value: Any = None


class PolicyBody(ClientBody):
    """How the number of replicas follows the load."""

    metrics: list[MetricBody] | None = None
    scale_down_behavior: Any = None
    scale_up_behavior: Any = None
    scale_down_stabilization_window: Any = None
    scale_up_stabilization_window: Any = None


class ReplicasBody(ClientBody):
    """Bounds for the number of replicas."""

    min_replicas: int | None = None
    max_replicas: int | None = None
    policy: PolicyBody | None = None


class ServiceBody(ClientBody):
    """One service of a Bento."""

    instance_type: str | None = None
    scaling: ReplicasBody | None = None
    envs: list[VariableBody] | None = None
    deployment_strategy: str | None = None
    extras: dict[str, Any] | None = None
    cold_start_timeout: Any = None
    config_overrides: dict[str, Any] | None = None


class DeploymentBody(ClientBody):
    """A deployment to create, or all that one is from now on."""

    bento: Text
    name: Text | None = None
    dev: bool = False
    access_authorization: bool = False
    envs: list[VariableBody] | None = None
    labels: list[LabelBody] | None = None
    secrets: list[Text] | None = None
    services: dict[str, ServiceBody] = Field(default_factory=dict)
    canary: dict[str, Any] | None = None


class SourceBody(ClientBody):
    """A file of a codespace."""

    path: Text
    b64_encoded_content: str


class SourcesBody(ClientBody):
    """Files of a codespace to add, or to replace."""

    files: Annotated[list[SourceBody], Field(max_length=50_000)]


class RemovedSourcesBody(ClientBody):
    """Files of a codespace to remove."""

    paths: Annotated[list[Text], Field(max_length=50_000)]


class RepositoryBody(ClientBody):
    """A repository to create."""

    name: Text
    description: str | None = None


class VersionBody(ClientBody):
    """A Bento or a model to announce, or what changes of its announcement."""

    version: Text = ""
    description: str | None = None
    manifest: dict[str, Any] | None = None
    labels: list[LabelBody] | None = None


class PartBody(ClientBody):
    """A part of an upload that a URL is asked for."""

    upload_id: Text
    part_number: Annotated[int, Field(ge=1, le=10_000, strict=True)]


class UploadedPartBody(ClientBody):
    """A part that was uploaded."""

    part_number: int
    etag: Text


class CompletionBody(ClientBody):
    """All parts of an upload."""

    upload_id: Text
    parts: Annotated[list[UploadedPartBody], Field(max_length=10_000)]


class FinishBody(ClientBody):
    """How an upload ended, in the client's eyes."""

    status: str | None = None
    reason: str | None = None


class SecretItemBody(ClientBody):
    """One value of a secret."""

    key: Text
    sub_path: str | None = None
    value: str | None = None


class SecretContentBody(ClientBody):
    """The values of a secret, and how replicas receive them."""

    type: Text
    items: Annotated[list[SecretItemBody], Field(max_length=1000)]
    path: str | None = None
    stage: str | None = None


class CloudSecretBody(ClientBody):
    """A secret to set."""

    name: Text = ""
    content: SecretContentBody
    description: Description | None = None


class TokenBody(ClientBody):
    """An API token to create."""

    name: Text
    description: Description | None = None
    scopes: list[Text] | None = None
    expired_at: str | None = None
