"""What a request changes: the desired state alone, in one transaction. The leader does whatever follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import uuid4

from management.control import eviction, secrets
from management.domain.capacity import Capacity, requested_resources
from management.domain.clock import SYSTEM, Clock
from management.domain.config_change import ConfigChange, with_fields_of_the_model
from management.domain.records import (
    GATEWAY,
    NOTHING,
    Deletion,
    Deployment,
    Event,
    LoadReport,
    ModelConfig,
    Resources,
    Revision,
    Scaling,
)
from management.errors import InvalidModelConfig, ModelAlreadyExists, ModelBeingDeleted, ModelNotFound, Problem
from management.store import Session

DELETION_SECONDS: Final = {Deletion.FORCED: 1, Deletion.GRACEFUL: 5}
"""``Retry-After``, in seconds, for an id whose model is being deleted."""


@dataclass(frozen=True)
class DeploymentCommands:
    """The commands deploy, update, scale, activate and delete. One that raises ManagementError changes nothing."""

    capacity: Capacity
    hold_seconds: float = 0.0
    """Seconds for which the load does not change a number of replicas that a caller chose."""
    clock: Clock = SYSTEM
    gives_secrets: bool = True
    """Whether the backend can give secrets to replicas."""
    open_models: bool = True
    """Whether a model's own address may need no key."""

    def deploy(
        self, session: Session, model_id: str, config: ModelConfig, actor: str, *, start: bool = True
    ) -> Deployment:
        """Adds a model with ``min_replicas`` replicas, or one where that is 0 and some are allowed.

        Without ``start`` it is stopped.
        """
        _refuse_taken(session.deployments.get(model_id))
        config = self._with_secrets(session, self._checked(config))
        now = self.clock.now()
        replicas = config.scaling.clamped(1) if start else 0
        deployment = Deployment(uuid4().hex, model_id, Revision(1, config), replicas, now, now)
        if replicas:
            self._make_room(session, NOTHING, deployment)
        else:  # a single replica has to fit
            self.capacity.check(session.deployments.all(), config.resources)
        session.deployments.add(deployment)
        self._add_event(
            session,
            deployment,
            actor,
            "deploy",
            {"version": config.version, "docker_image": config.docker_image} | _access(config),
        )
        return deployment

    def update(
        self, session: Session, model_id: str, change: ConfigChange, actor: str, *, start: bool = False
    ) -> Deployment:
        """Merges the change into the config. With ``start`` a model that was stopped starts.

        A change of the default API, or of fields of the model rather than of a revision, makes no new revision.
        """
        deployment = _get(session, model_id)
        before = deployment.target.config
        config = self._checked(change.applied_to(before))
        if config.scaling.min_replicas > config.scaling.max_replicas:
            raise InvalidModelConfig(Problem("config.scaling_config", "scaling"))
        if change.secrets is not None:
            config = self._with_secrets(session, config)
        stays = with_fields_of_the_model(replace(config, default_api=before.default_api), before) == before
        replicas = _replicas_after(deployment, config.scaling, start=start)
        keeps_pause = config.scaling == before.scaling and not (start and deployment.replicas == 0)
        number = deployment.target.number if stays else deployment.revision_counter + 1
        changed = replace(
            deployment,
            target=Revision(number, config),
            revision_counter=max(deployment.revision_counter, number),
            last_stable=Revision(number, config) if stays and deployment.is_stable else deployment.last_stable,
            replicas=replicas,
            updated_at=self.clock.now(),
            rolled_back_from="",
            rollback_reason="",
            autoscaling_paused_until=deployment.autoscaling_paused_until if keeps_pause else None,
            **_failures_reset(),
        )
        self._make_room(session, requested_resources(deployment), changed)
        session.deployments.put(changed)
        self._add_event(
            session, changed, actor, "update", {"revision": number, "version": config.version} | _access(config)
        )
        return changed

    def scale(self, session: Session, model_id: str, replicas: int, actor: str) -> Deployment:
        """Sets the number of replicas; 0 stops the model."""
        deployment = _get(session, model_id)
        scaling = deployment.target.config.scaling
        if replicas and scaling.clamped(replicas) != replicas:
            bounds = f"{scaling.min_replicas}..{scaling.max_replicas}"
            raise InvalidModelConfig(Problem("replicas", "beyond", {"expected": bounds}))
        paused_until = self.clock.unix() + self.hold_seconds
        changed = replace(
            deployment,
            replicas=replicas,
            updated_at=self.clock.now(),
            **_failures_reset(),
            autoscaling_paused_until=paused_until,
        )
        self._make_room(session, requested_resources(deployment), changed)
        session.deployments.put(changed)
        self._add_event(session, changed, actor, "scale", {"from": deployment.replicas, "to": replicas})
        return changed

    def activate(self, session: Session, model_id: str) -> Deployment:
        """Starts a model that is scaled to zero; any other is left as it is."""
        deployment = _get(session, model_id)
        if not deployment.scaled_to_zero:
            return deployment
        changed = replace(deployment, replicas=deployment.target.config.scaling.clamped(1), **_failures_reset())
        self._make_room(session, requested_resources(deployment), changed)
        session.deployments.put(changed)
        now = self.clock.unix()  # reported here, so that the model is not evicted before its worker reports the load
        session.load_reports.put([LoadReport(GATEWAY, deployment.id, 0, 1, 0, now, now)])
        self._add_event(session, changed, GATEWAY, "wake", {"from": 0, "to": changed.replicas})
        return changed

    def delete(self, session: Session, model_id: str, *, force: bool, actor: str) -> Deployment:
        """Marks the model for deletion. A graceful deletion that is under way can be forced afterwards."""
        deployment = session.deployments.get(model_id)
        if deployment is None:
            raise ModelNotFound({"model_id": model_id})
        deletion = Deletion.FORCED if force or deployment.deletion is Deletion.FORCED else Deletion.GRACEFUL
        changed = replace(deployment, deletion=deletion, updated_at=self.clock.now())
        session.deployments.put(changed)
        self._add_event(session, changed, actor, "delete", {"force": force})
        return changed

    def _checked(self, config: ModelConfig) -> ModelConfig:
        if not config.access_authorization and not self.open_models:
            raise InvalidModelConfig(Problem("config.access_authorization", "open_refused"))
        return config

    def _with_secrets(self, session: Session, config: ModelConfig) -> ModelConfig:
        if config.secrets and not self.gives_secrets:
            raise InvalidModelConfig(Problem(secrets.FIELD, "secrets_unsupported"))
        return secrets.with_versions(session, config)

    def _make_room(self, session: Session, before: Resources, changed: Deployment) -> None:
        eviction.make_room(session, self.capacity, changed, before, self.clock)

    def _add_event(
        self, session: Session, deployment: Deployment, actor: str, action: str, details: Mapping[str, Any]
    ) -> None:
        session.events.add(Event(self.clock.now(), deployment.model_id, deployment.id, actor, action, details))


def _access(config: ModelConfig) -> dict[str, Any]:
    """What an event tells of a model whose own address needs no key."""
    return {} if config.access_authorization else {"access_authorization": False}


def _refuse_taken(deployment: Deployment | None) -> None:
    if deployment is None:
        return
    details = {"model_id": deployment.model_id}
    if deployment.deletion is None:
        raise ModelAlreadyExists(details)
    raise ModelBeingDeleted(details, retry_after=DELETION_SECONDS[deployment.deletion])


def _get(session: Session, model_id: str) -> Deployment:
    deployment = session.deployments.get(model_id)
    if deployment is None or deployment.deletion:
        raise ModelNotFound({"model_id": model_id})
    return deployment


def _failures_reset() -> dict[str, Any]:
    """A new desired state is tried as if nothing had failed before."""
    return {"failures": 0, "retry_at": None, "failed": False, "reason": "", "scaled_to_zero": False}


def _replicas_after(deployment: Deployment, scaling: Scaling, *, start: bool) -> int:
    """Replicas after an update: a stopped model stays stopped unless it is to ``start``.

    One scaled to zero starts to show that it works.
    """
    starts = deployment.replicas or deployment.scaled_to_zero or start
    return scaling.clamped(deployment.replicas or 1) if starts else 0
