"""Fields of a model rather than of a revision: changing them replaces nothing; and updates that start a model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from management.control.commands import DeploymentCommands
from management.control.evaluation import rolled_back
from management.domain.capacity import Capacity
from management.domain.config_change import ConfigChange
from management.domain.records import Deployment, Resources, Revision, Scaling
from management.domain.strategy import Strategy
from management.errors import InsufficientResources, InvalidModelConfig
from management.store import Session, Store
from tests.doubles.management import config, deployment, revision

COMMANDS = DeploymentCommands(Capacity(Resources(200, 2**40, 0)))
"""There is room for two replicas."""
OPTIONS: dict[str, Any] = {
    "access_authorization": False,
    "strategy": Strategy.RECREATE,
    "labels": {"team": "a"},
    "scaling": {"target_concurrency": 4},
}


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    store = Store(f"sqlite:///{tmp_path}/db")
    store.migrate()
    with store.writing() as writing:
        yield writing
    store.close()


def update(session: Session, *, start: bool = False, **changes: Any) -> Deployment:
    return COMMANDS.update(session, "echo", ConfigChange(**changes), "somebody", start=start)


@pytest.mark.parametrize("name", OPTIONS)
def test_a_field_of_the_model_makes_no_new_revision(session: Session, name: str) -> None:
    session.deployments.add(deployment(last_stable=revision()))
    before = deployment().target.config
    changed = update(session, **{name: OPTIONS[name]})
    assert (changed.target.number, changed.last_stable) == (1, changed.target), "it is what serves"
    assert getattr(changed.target.config, name) == (
        Scaling(0, 8, target_concurrency=4) if name == "scaling" else OPTIONS[name]
    )
    assert session.deployments.get("echo") == changed
    [event] = session.events.of("echo", 10)
    assert (event.action, event.details["revision"]) == ("update", 1)
    assert update(session, scaling={"target_concurrency": None}).target.config.scaling == before.scaling


def test_beside_another_change_they_are_part_of_its_revision(session: Session) -> None:
    session.deployments.add(deployment(last_stable=revision()))
    changed = update(session, version="2.0.0", **OPTIONS)
    assert (changed.target.number, changed.last_stable) == (2, revision())
    assert changed.target.config.strategy is Strategy.RECREATE


def test_what_is_not_named_stays_and_labels_are_all_named_anew(session: Session) -> None:
    session.deployments.add(deployment())
    update(session, **OPTIONS)
    config = update(session, version="2.0.0").target.config
    assert (config.access_authorization, config.strategy, config.labels) == (False, Strategy.RECREATE, {"team": "a"})
    assert config.scaling.target_concurrency == 4
    assert update(session, labels={"stage": "b"}).target.config.labels == {"stage": "b"}
    assert update(session, labels={}).target.config.labels == {}
    again = update(session, access_authorization=True, strategy=Strategy.ROLLING_UPDATE)
    assert (again.target.number, again.target.config.access_authorization) == (2, True)


def test_a_rollback_keeps_them() -> None:
    closed = replace(revision(2).config, **{**OPTIONS, "scaling": Scaling(1, 3), "access_authorization": True})
    opened = revision(1, access_authorization=False, labels={"old": "1"})
    back = rolled_back(deployment(target=Revision(2, closed), last_stable=opened)).target
    assert (back.number, back.config.version) == (1, "1.0.0")
    assert back.config.access_authorization, "who closes a model with an update that fails has closed it"
    assert (back.config.strategy, back.config.labels) == (Strategy.RECREATE, {"team": "a"})
    assert back.config.scaling == Scaling(1, 3)


@pytest.mark.parametrize(
    ("changes", "start", "replicas"),
    [
        ({"replicas": 0}, False, 0),
        ({"replicas": 0}, True, 1),
        ({"replicas": 0, "target": revision(scaling=Scaling(2, 3))}, True, 2),
        ({"replicas": 0, "target": revision(scaling=Scaling(0, 0))}, True, 0),
        ({"replicas": 2}, True, 2),
        ({"replicas": 0, "scaled_to_zero": True}, True, 1),
    ],
)
def test_an_update_starts_a_stopped_model_if_it_is_asked_to(
    session: Session, changes: dict[str, Any], replicas: int, *, start: bool
) -> None:
    session.deployments.add(deployment(**changes))
    changed = update(session, start=start, version="2.0.0")
    assert (changed.replicas, changed.scaled_to_zero) == (replicas, False)


def test_a_model_that_an_update_starts_follows_its_load_at_once(session: Session) -> None:
    session.deployments.add(deployment(replicas=0, autoscaling_paused_until=1e12))
    assert update(session, labels={"a": "b"}).autoscaling_paused_until == 1e12
    assert update(session, labels={"a": "b"}, start=True).autoscaling_paused_until is None


def test_a_model_that_does_not_fit_is_not_started(session: Session) -> None:
    session.deployments.add(deployment("other", replicas=2))
    session.deployments.add(deployment(replicas=0))
    with pytest.raises(InsufficientResources):
        update(session, start=True)
    assert update(session, version="2.0.0").replicas == 0


def test_models_are_listed_by_their_labels(session: Session) -> None:
    strange = 'a"b.$[0]'
    for name, labels in {"a": {"team": "x"}, "b": {}, "c": {"team": "x", strange: "1"}, "d": {"team": "y"}}.items():
        session.deployments.add(deployment(name, target=revision(labels=labels)))

    def listed(labels: dict[str, str] | None, limit: int = 10, offset: int = 0) -> tuple[list[str], int]:
        page = session.deployments.page(status=None, model_type=None, limit=limit, offset=offset, labels=labels)
        return [found.model_id for found in page.items], page.total

    assert listed(None) == listed({}) == (["a", "b", "c", "d"], 4)
    assert listed({"team": "x"}) == (["a", "c"], 2)
    assert listed({"team": "x"}, 1, 1) == (["c"], 2)
    assert listed({"team": "x", strange: "1"}) == (["c"], 1)
    assert listed({"team": "z"}) == ([], 0)
    page = session.deployments.page(status=None, model_type="other", limit=9, offset=0, labels={"team": "x"})
    assert page.total == 0


def test_a_server_that_keeps_models_closed_refuses_an_open_one(session: Session) -> None:
    closed = replace(COMMANDS, open_models=False)
    with pytest.raises(InvalidModelConfig) as refused:
        closed.deploy(session, "open", config(access_authorization=False), "ann")
    assert refused.value.problems[0].kind == "open_refused"
    closed.deploy(session, "shut", config(), "ann")
    with pytest.raises(InvalidModelConfig):
        closed.update(session, "shut", ConfigChange(access_authorization=False), "ann")


def test_an_event_says_that_a_model_is_open(session: Session) -> None:
    COMMANDS.deploy(session, "open", config(access_authorization=False), "ann")
    COMMANDS.update(session, "open", ConfigChange(access_authorization=True), "ann")
    closing, opening = session.events.of("open", 10)
    assert (opening.details["access_authorization"], "access_authorization" in closing.details) == (False, False)
