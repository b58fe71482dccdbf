"""Files as a model's input, and the hints that fit a model's type and a Bento of one's own."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from management.backends.launcher import ImageRefused
from management.backends.process.images import (
    BentoStore,
)
from management.cli.config import completed
from management.cli.examples import example, example_of, input_of
from management.cli.main import main
from management.configuration import settings
from tests.e2e.test_client import scripted

ANSWER: dict[str, Any] = {
    "request_id": "r",
    "model_id": "m",
    "output_data": {},
    "confidence": None,
    "processing_time": 0.1,
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("ATELIER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ATELIER_API_KEY", "a-key-for-tests")
    settings.cache_clear()
    yield tmp_path
    settings.cache_clear()


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    made = {
        name: tmp_path / name for name in ("a.jpg", "b.png", "c.webp", "d.tif", "note.txt", "report.pdf", "in.json")
    }
    for name in ("a.jpg", "b.png", "c.webp", "d.tif"):
        Image.new("RGB", (4, 4), "green").save(made[name])
    made["note.txt"].write_text("头痛 乏力", encoding="utf-8")
    made["report.pdf"].write_bytes(b"%PDF-1.7\n\xff\xfe\0")
    made["in.json"].write_text('{"symptoms": ["头痛"]}', encoding="utf-8")
    return made


@pytest.mark.parametrize(
    ("name", "model_type", "fields"),
    [
        ("a.jpg", "image_classification", {"image"}),
        ("b.png", "image_embedding", {"image"}),
        ("c.webp", "multimodal", {"image"}),
        ("d.tif", "summarization", {"image"}),
        ("report.pdf", "summarization", {"file", "filename"}),
        ("note.txt", "summarization", {"file", "filename"}),
        ("report.pdf", "multimodal", {"file", "filename"}),
        ("note.txt", "tcm_diagnosis", {"text"}),
        ("note.txt", "multimodal", {"text"}),
        ("in.json", "treatment", {"symptoms"}),
    ],
)
def test_a_file_becomes_the_input_that_the_models_type_needs(
    files: dict[str, Path], name: str, model_type: str, fields: set[str]
) -> None:
    given = input_of(files[name], model_type)
    assert given.keys() == fields
    for field in fields & {"image", "file"}:
        assert base64.b64decode(given[field]) == files[name].read_bytes()


def infer(model_type: str, answer: Any, *arguments: str) -> tuple[Result, list[tuple[str, str, Any]]]:
    with scripted((200, {"model_id": "m", "model_type": model_type}), (200, answer)) as server:
        done = CliRunner().invoke(main, ["infer", "m", "--url", server.url, *arguments])
    return done, [(method, path, json.loads(body) if body else None) for method, path, body in server.seen]


def test_a_picture_is_sent_by_its_name(files: dict[str, Path]) -> None:
    done, seen = infer("image_classification", ANSWER, "--file", str(files["a.jpg"]), "--parameters", '{"lang": "en"}')
    assert done.exit_code == 0, done.stderr
    (_, _, body) = seen[1]
    assert base64.b64decode(body["input_data"]["image"]) == files["a.jpg"].read_bytes()
    assert body["parameters"] == {"lang": "en"}


def test_several_files_are_a_batch(files: dict[str, Path]) -> None:
    done, seen = infer(
        "image_embedding", [ANSWER, ANSWER], "--file", str(files["a.jpg"]), "--file", str(files["b.png"])
    )
    assert done.exit_code == 0, done.stderr
    assert seen[1][1].endswith("/batch_inference")
    assert len(seen[1][2]["requests"]) == 2


def test_an_api_is_called_argument_by_argument(files: dict[str, Path]) -> None:
    with scripted((200, ANSWER)) as server:
        arguments = ["--api", "half", "--input", f"picture=@{files['a.jpg']}", "--input", "size=3"]
        texts = ["--input", "name=Ada", "--input", 'list=["a"]', "--input", "note=NaN", "--input", "equation=a=b"]
        done = CliRunner().invoke(main, ["infer", "m", "--url", server.url, *arguments, *texts])
    assert done.exit_code == 0, done.stderr
    body = json.loads(server.seen[0][2])
    picture = {"base64": base64.b64encode(files["a.jpg"].read_bytes()).decode(), "filename": "a.jpg"}
    expected = {"picture": picture, "size": 3, "name": "Ada", "list": ["a"], "note": "NaN", "equation": "a=b"}
    assert (body["api"], body["input_data"]) == ("half", expected)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--input", "name"],
        ["--input", "a=1", "--input", "a=2"],
        ["--input", "a=@/nowhere"],
        ["--input", "a=1", "--batch"],
        ["--input", "a=1", "{}"],
    ],
)
def test_arguments_that_say_too_little_or_too_much_are_a_wrong_call(arguments: list[str]) -> None:
    done = CliRunner().invoke(main, ["infer", "m", *arguments])
    assert (done.exit_code, "Traceback" in done.output) == (2, False)


def test_a_bento_is_deployed_by_its_id_and_its_tag() -> None:
    given = {"model_id": "hello", "docker_image": "bentos/hello:1.2.0", "default_api": "greet"}
    described = {"name": "hello", "version": "1.2.0", "model_type": "custom", "framework": "bentoml"}
    assert completed(given) == given | described
    assert completed({**given, "version": "9", "model_type": "treatment"})["version"] == "9"
    assert "version" not in completed({"model_id": "hello"})


OPTIONS = {
    "--no-access-authorization": {"access_authorization": False},
    "--access-authorization": {"access_authorization": True},
    "--strategy Recreate": {"strategy": "Recreate"},
    "--label team=a=b --label empty=": {"labels": {"team": "a=b", "empty": ""}},
    "--target-concurrency 4": {"scaling_config": {"target_concurrency": 4}},
    "--max 3 --target-concurrency 0": {"scaling_config": {"max_replicas": 3, "target_concurrency": 0}},
    "--no-labels": {"labels": {}},
}


@pytest.mark.parametrize("flags", OPTIONS)
def test_the_options_of_a_model_are_flags(flags: str) -> None:
    with scripted((202, {"message": "ok"})) as server:
        done = CliRunner().invoke(main, ["update", "m", "--url", server.url, *flags.split()])
    assert done.exit_code == 0, done.stderr
    assert json.loads(server.seen[0][2]) == {"config": OPTIONS[flags]}


@pytest.mark.parametrize("flags", [["--label", "team"], ["--strategy", "Canary"], ["--label", "a=b", "--no-labels"]])
def test_flags_that_say_no_option_are_a_wrong_call(flags: list[str]) -> None:
    done = CliRunner().invoke(main, ["update", "m", *flags])
    assert (done.exit_code, "Traceback" in done.output) == (2, False)


@pytest.mark.parametrize(
    ("schema", "named", "shown"),
    [
        (
            {"properties": {"name": {"type": "string"}, "times": {"default": 2}}, "required": ["name"]},
            False,
            {"name": "text"},
        ),
        ({"properties": {"f": {"type": "file"}}, "required": ["f"]}, True, {"f": "https://example.com/file"}),
        ({"type": "string", "root_input": True}, True, {"input": "text"}),
        ({"properties": {"kind": {"enum": ["a", "b"]}}, "required": ["kind"]}, False, {"kind": "a"}),
    ],
)
def test_the_example_after_a_deployment_fits_the_bentos_api(schema: Any, named: bool, shown: Any) -> None:
    made = example_of({"name": "greet", "input": schema}, named=named)
    flags = shlex.split(made.arguments)
    assert json.loads(flags[-1]) == shown
    body = json.loads(shlex.split(made.body)[0])
    assert (body["input_data"], body.get("api")) == (shown, "greet" if named else None)
    assert flags[:-1] == (["--api", "greet"] if named else [])


def test_a_file_beside_data_or_one_that_is_no_text_is_a_wrong_call(files: dict[str, Path]) -> None:
    both = CliRunner().invoke(main, ["infer", "m", "{}", "--file", str(files["a.jpg"])])
    assert (both.exit_code, "not both" in both.stderr) == (2, True)
    done, _ = infer("tcm_diagnosis", ANSWER, "--file", str(files["report.pdf"]))
    assert (done.exit_code, "not UTF-8" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("model_type", "shown"),
    [
        ("image_classification", "--file picture.jpg"),
        ("image_embedding", "--file picture.jpg"),
        ("tcm_diagnosis", "头痛"),
        ("treatment", "恶寒"),
        ("summarization", '"text": "The council'),
        ("multimodal", '"key": "value"'),
    ],
)
def test_the_example_after_a_deployment_fits_the_type(model_type: str, shown: str) -> None:
    assert shown in example(model_type).arguments
    assert "input_data" in example(model_type).body


async def test_a_missing_bento_is_built_by_what_can_build_it(tmp_path: Path) -> None:
    store = BentoStore(tmp_path / "bentoml")
    with pytest.raises(ImageRefused) as ours:
        await store.check("atelier/tcm-diagnosis:9.0.0")
    assert ours.value.values["command"] == ".venv/bin/atelier build tcm-diagnosis --version 9.0.0"
    with pytest.raises(ImageRefused) as own:
        await store.check("me/sentiment:1.2.0")
    assert "bentoml build --version 1.2.0" in own.value.values["command"]
    assert f"BENTOML_HOME={tmp_path / 'bentoml'}" in own.value.values["command"]


def test_build_says_how_a_bento_of_ones_own_is_built() -> None:
    done = CliRunner().invoke(main, ["build", "sentiment"])
    assert done.exit_code == 2
    assert "bentoml build" in done.stderr
