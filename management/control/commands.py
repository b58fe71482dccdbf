"""What a request changes: the wish alone, in one transaction. Whatever follows from it is the supervisor's work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import uuid4

from management.control import eviction
from management.domain.capacity import Capacity, asked
from management.domain.clock import SYSTEM, Clock
from management.domain.config_change import ConfigChange
from management.domain.records import (
    GATEWAY,
    NOTHING,
    Demand,
    Deployment,
    Event,
    ModelConfig,
    Removal,
    Resources,
    Revision,
    Scaling,
)
from management.errors import InvalidModelConfig, ModelAlreadyExists, ModelBeingDeleted, ModelNotFound, Problem
from management.store import Session

DELETION_SECONDS: Final = {Removal.FORCE: 1, Removal.DRAIN: 5}
"""Seconds after which to ask again for an id whose model is being deleted."""


@dataclass(frozen=True)
class Wishes:
    """Deploy, update, scale and delete. Each raises ManagementError and then changes nothing."""

    capacity: Capacity
    hold_seconds: float = 0.0
    """For which the load does not change a number of replicas that somebody chose."""
    clock: Clock = SYSTEM

    def deploy(self, session: Session, model_id: str, config: ModelConfig, actor: str) -> Deployment:
        """A new model; as many replicas as ``min_replicas`` says, and one where that is none but some are allowed."""
        _refuse_taken(session.deployments.get(model_id))
        at = self.clock.now()
        replicas = config.scaling.clamped(1)
        deployment = Deployment(uuid4().hex, model_id, Revision(1, config), replicas, at, at)
        if replicas:
            self._check_room(session, NOTHING, deployment)
        else:  # one could run some time
            self.capacity.check(session.deployments.all(), config.resources)
        session.deployments.add(deployment)
        self._note(
            session, deployment, actor, "deploy", {"version": config.version, "docker_image": config.docker_image}
        )
        return deployment

    def update(self, session: Session, model_id: str, change: ConfigChange, actor: str) -> Deployment:
        """Merges what is given into the config. Unless it is the scaling alone, that makes a new revision."""
        deployment = _present(session, model_id)
        before = deployment.wanted.config
        config = change.applied_to(before)
        if config.scaling.min_replicas > config.scaling.max_replicas:
            raise InvalidModelConfig(Problem("config.scaling_config", "scaling"))
        stays = replace(config, scaling=before.scaling) == before
        number = deployment.wanted.number if stays else deployment.latest + 1
        changed = replace(
            deployment,
            wanted=Revision(number, config),
            latest=max(deployment.latest, number),
            served=Revision(number, config) if stays and deployment.proven else deployment.served,
            replicas=_replicas_after(deployment, config.scaling),
            updated_at=self.clock.now(),
            abandoned="",
            abandoned_for="",
            held_until=deployment.held_until if config.scaling == before.scaling else None,
            **_tried_anew(),
        )
        self._check_room(session, asked(deployment), changed)
        session.deployments.put(changed)
        self._note(session, changed, actor, "update", {"revision": number, "version": config.version})
        return changed

    def scale(self, session: Session, model_id: str, replicas: int, actor: str) -> Deployment:
        """So many replicas; none stops the model."""
        deployment = _present(session, model_id)
        scaling = deployment.wanted.config.scaling
        if replicas and scaling.clamped(replicas) != replicas:
            bounds = f"{scaling.min_replicas}..{scaling.max_replicas}"
            raise InvalidModelConfig(Problem("replicas", "beyond", {"expected": bounds}))
        held_until = self.clock.unix() + self.hold_seconds
        changed = replace(
            deployment, replicas=replicas, updated_at=self.clock.now(), **_tried_anew(), held_until=held_until
        )
        self._check_room(session, asked(deployment), changed)
        session.deployments.put(changed)
        self._note(session, changed, actor, "scale", {"from": deployment.replicas, "to": replicas})
        return changed

    def wake(self, session: Session, model_id: str) -> Deployment:
        """Starts a model that was ended because nobody asked; any other is left as it is."""
        deployment = _present(session, model_id)
        if not deployment.dormant:
            return deployment
        changed = replace(deployment, replicas=deployment.wanted.config.scaling.clamped(1), **_tried_anew())
        self._check_room(session, asked(deployment), changed)
        session.deployments.put(changed)
        at = self.clock.unix()  # so that it is not the next one to make place: the worker reports it a second later
        session.demands.put([Demand(GATEWAY, deployment.id, 0, 1, 0, at, at)])
        self._note(session, changed, GATEWAY, "wake", {"from": 0, "to": changed.replicas})
        return changed

    def delete(self, session: Session, model_id: str, *, force: bool, actor: str) -> Deployment:
        """Nothing of it is wanted any more. A deletion that waits for requests in flight can be forced afterwards."""
        deployment = session.deployments.get(model_id)
        if deployment is None:
            raise ModelNotFound({"model_id": model_id})
        removal = Removal.FORCE if force or deployment.removal is Removal.FORCE else Removal.DRAIN
        changed = replace(deployment, removal=removal, updated_at=self.clock.now())
        session.deployments.put(changed)
        self._note(session, changed, actor, "delete", {"force": force})
        return changed

    def _check_room(self, session: Session, before: Resources, changed: Deployment) -> None:
        eviction.make(session, self.capacity, changed, before, self.clock)

    def _note(
        self, session: Session, deployment: Deployment, actor: str, action: str, details: Mapping[str, Any]
    ) -> None:
        session.events.add(Event(self.clock.now(), deployment.model_id, deployment.id, actor, action, details))


def _refuse_taken(deployment: Deployment | None) -> None:
    if deployment is None:
        return
    about = {"model_id": deployment.model_id}
    if deployment.removal is None:
        raise ModelAlreadyExists(about)
    raise ModelBeingDeleted(about, retry_after=DELETION_SECONDS[deployment.removal])


def _present(session: Session, model_id: str) -> Deployment:
    deployment = session.deployments.get(model_id)
    if deployment is None or deployment.removal:
        raise ModelNotFound({"model_id": model_id})
    return deployment


def _tried_anew() -> dict[str, Any]:
    """A new wish is tried as if nothing had failed before."""
    return {"failures": 0, "retry_at": None, "gave_up": False, "reason": "", "dormant": False}


def _replicas_after(deployment: Deployment, scaling: Scaling) -> int:
    """Of an update: one that was stopped stays so; one that sleeps is started, to show that the update works."""
    return scaling.clamped(deployment.replicas or 1) if deployment.replicas or deployment.dormant else 0
