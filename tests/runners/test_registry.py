"""Each row of the registry says what the model's folder and its Bento say."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from fastapi import FastAPI

from management.domain.model_types import MODEL_TYPES
from management.packaging.build import recipes
from runners import registry
from runners.artifacts import store
from runners.registry import MODELS, Model
from runners.serving.application import application
from runners.serving.infer_route import CHECKED_INFER, INFER
from runners.serving.service import EdgedService
from tests.support.servers import ROOT

each_model = pytest.mark.parametrize("row", MODELS, ids=lambda row: row.name)


def test_nothing_is_named_twice() -> None:
    for names in (
        [row.name for row in MODELS],
        [row.class_name for row in MODELS],
        [row.bento for row in MODELS],
        [row.port for row in MODELS],
        [route.path for row in MODELS for route in row.routes],
        [file for row in MODELS for file in row.weights],
    ):
        assert len(names) == len(set(names))


@each_model
def test_a_row_leads_to_a_service_of_its_name_and_port(row: Model) -> None:
    service = row.load()
    assert isinstance(service, EdgedService)
    assert (service.name, service.config["http"]["port"]) == (row.class_name, row.port)
    assert service.import_string == row.service


@each_model
def test_a_model_has_the_routes_of_its_row_and_no_other(row: Model) -> None:
    app = application(row.title, row.description, {row.name: row.mounted()})
    paths = {path for _, path in app.state.endpoints}
    assert paths == {INFER, CHECKED_INFER, *(route.path for route in row.routes)}


@each_model
def test_the_examples_call_routes_of_the_model(row: Model) -> None:
    assert row.examples
    for call in row.examples:
        assert "{url}" in call
        assert any(f"{{url}}{route.path}" in call for route in row.routes)


@each_model
def test_its_bento_serves_that_service_under_that_type_with_those_weights(row: Model) -> None:
    (recipe,) = (recipe for recipe in recipes() if recipe.name == row.bento)
    bento = yaml.safe_load(recipe.file.read_text(encoding="utf-8"))
    assert (bento["name"], bento["service"]) == (row.bento, row.service)
    assert bento["labels"]["model_type"] == row.model_type
    assert set(row.tags) <= set(bento.get("models", ()))


@each_model
def test_its_type_is_one_of_the_api(row: Model) -> None:
    assert row.model_type in MODEL_TYPES


@each_model
def test_its_weights_are_shipped(row: Model) -> None:
    assert all(store.SHIPPED[tag].is_file() for tag in row.tags)


@pytest.mark.server
def test_an_application_is_built_only_where_it_is_served() -> None:
    check = (
        "import gc, service\n"
        "from fastapi import FastAPI\n"
        "def built(): print(sorted(one.title for one in gc.get_objects() if isinstance(one, FastAPI)))\n"
        "built()\n"
        "service.Atelier.dependencies['treatment'].on.to_asgi(is_main=False)\n"
        "built()\n"
        "service.Atelier.to_asgi()\n"
        "built()\n"
    )
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "[]", "['Atelier', 'Atelier: model management']"]


@pytest.mark.server
def test_the_registry_needs_no_library() -> None:
    command = [sys.executable, "-S", "-c", "from runners import registry; print(len(registry.MODELS))"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) == len(MODELS)


def test_the_bento_of_a_model_alone_documents_its_routes() -> None:
    service: Any = registry.model("treatment").load()
    paths = service.openapi_spec.asdict()["paths"]
    assert {"/treat", "/health", "/infer"} <= set(paths)
    assert isinstance(service.mount_apps[0][0], FastAPI)
