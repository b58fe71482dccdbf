"""Configurations as the database keeps them, read by this version and by the one before."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from management.domain.records import ModelConfig, Resources, Revision, Scaling
from management.domain.strategy import Strategy
from management.store import revision_json

CONFIG = ModelConfig("A", "1", "custom", "bentoml", "a:1", {"cpu": "1"}, Scaling())
FIRST: dict[str, Any] = {
    "name": "A",
    "version": "1",
    "model_type": "custom",
    "framework": "bentoml",
    "docker_image": "a:1",
    "resource_requirements": {"cpu": "1"},
    "scaling": {"min_replicas": 1, "max_replicas": 1, "target_cpu_utilization": 80},
    "environment_variables": {},
    "resources": {"cpu_millicores": 0, "memory_bytes": 0, "gpus": 0},
}
"""A configuration as the first version wrote it."""


def test_a_default_api_is_kept_and_one_that_was_not_chosen_leaves_no_trace() -> None:
    without, chosen = Revision(1, CONFIG), Revision(2, replace(CONFIG, default_api="greet"))
    assert revision_json.to_revision(revision_json.of_revision(chosen)) == chosen
    assert revision_json.to_revision(revision_json.of_revision(without)) == without
    assert "default_api" not in revision_json.of_revision(without)["config"]


def test_what_is_not_used_is_written_as_the_first_version_wrote_it() -> None:
    assert revision_json.of_revision(Revision(1, CONFIG)) == {"number": 1, "config": FIRST}


def test_what_the_first_version_wrote_is_read() -> None:
    found = revision_json.to_revision({"number": 3, "config": FIRST})
    assert found == Revision(3, replace(CONFIG, resources=Resources(0, 0, 0)))
    assert (found.config.access_authorization, found.config.labels) == (True, {})
    assert found.config.strategy is Strategy.ROLLING_UPDATE
    assert found.config.scaling.target_concurrency is None


@pytest.mark.parametrize(
    ("changes", "written"),
    [
        ({"access_authorization": False}, {"access_authorization": False}),
        ({"labels": {"team": "a b", "": "", "日": "本"}}, {"labels": {"team": "a b", "": "", "日": "本"}}),
        *(({"strategy": each}, {"strategy": each.value}) for each in Strategy if each is not Strategy.ROLLING_UPDATE),
        ({"scaling": Scaling(target_concurrency=4)}, {"scaling": {**FIRST["scaling"], "target_concurrency": 4}}),
    ],
)
def test_what_is_used_is_kept(changes: dict[str, Any], written: dict[str, Any]) -> None:
    revision = Revision(1, replace(CONFIG, **changes))
    value = json.loads(json.dumps(revision_json.of_revision(revision)))
    assert value == {"number": 1, "config": {**FIRST, **written}}
    found = revision_json.to_revision(value)
    assert found == revision
    assert type(found.config.strategy) is Strategy
