"""deploy/ says of each model what its row in the registry says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deploy import make_files
from deploy.make_files import PARTS, ROOT, render
from runners.registry import LIST_BYTES, MODELS, Model, Route

MOOD = replace(
    MODELS[0],
    name="mood",
    port=8004,
    routes=(Route("/mood"), Route("/mood/batch", LIST_BYTES)),
    prefixes=(),
    bento_name="tcm-diagnosis",  # a Bento's file says the version of its image
    loads_checkpoint=False,
    weights=("mood-2.1.0.onnx",),
)


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.fixture
def mood(monkeypatch: pytest.MonkeyPatch) -> Model:
    """The registry has one row more."""
    monkeypatch.setattr(make_files, "MODELS", (*MODELS, MOOD))
    return MOOD


@pytest.mark.parametrize("name", PARTS)
def test_each_file_is_what_make_deploy_files_writes(name: str) -> None:
    assert text_of(name) == render(name, text_of(name)), "run: make deploy-files"


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        (
            "deploy/nginx.conf",
            [
                "        8004    tcm-diagnosis:8004;",
                "        /mood                                tcm-diagnosis:8004;",
                "        listen 8004;",
                "        location ~ ^/(classify/batch|embed/batch|mood/batch|infer)$ {",
            ],
        ),
        ("deploy/prometheus.yml", ["  - job_name: tcm-diagnosis"]),
        ("deploy/compose.yaml", ['      - "127.0.0.1:${TCM_DIAGNOSIS_PORT:-8004}:8004"']),
        ("deploy/compose.gpu.yaml", ["  tcm-diagnosis: *gpu"]),
        ("deploy/.env.example", ["#TCM_DIAGNOSIS_PORT=8004"]),
        ("bentofile.yaml", ['  - "mood:2.1.0"']),
    ],
)
def test_a_new_row_has_its_lines(mood: Model, name: str, lines: list[str]) -> None:
    assert set(lines) <= set(render(name, text_of(name)).splitlines())


def test_the_alert_of_a_model_without_replicas_names_every_model(mood: Model) -> None:
    rule = render("deploy/alerts.yml", text_of("deploy/alerts.yml"))
    assert rule.count("absent(up{job=") == len(MODELS) + 1


def test_what_stands_between_the_comments_is_replaced_and_nothing_else() -> None:
    before = text_of("bentofile.yaml")
    stale = before.replace('  - "satellite:1.2.0"\n', '  - "satellite:0.0.1"\n')
    assert stale != before
    assert render("bentofile.yaml", stale) == before


def test_a_file_whose_comments_are_gone_is_refused() -> None:
    with pytest.raises(ValueError, match="has the parts"):
        render("bentofile.yaml", text_of("bentofile.yaml").replace("# end of models", ""))
