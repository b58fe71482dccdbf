"""The Bentos: built, and served from their own files with nothing but their own dependencies."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from management.packaging.build import Recipe, _selected, recipes
from tests.conftest import encoded
from tests.support import clean_environment
from tests.support.servers import ROOT, free_port

MOST_MEMORY = 200e6  # bytes, resident, of the process that serves
pytestmark = pytest.mark.server

CALLS = {
    "tcm-diagnosis": ("/diagnose", {"symptoms": ["头痛", "乏力", "食欲不振"]}, "syndromes"),
    "tcm-treatment": ("/treat", {"symptoms": ["恶寒", "发热", "咳嗽"]}, "herbs"),
}
LARGER = {
    "satellite": ({"image": b64encode(encoded()).decode()}, "label"),
    "embedding": ({"image": b64encode(encoded()).decode()}, "embedding"),
    "summarization": ({"text": "The harbour is rebuilt. The council voted for it on Tuesday. It rained."}, "summary"),
}
OTHERS = {  # how files and folders begin that are not for a Bento of it
    "satellite": ("embedding", "summar", "documents", "tcm", "launch"),
    "embedding": ("satellite/service", "summar", "documents", "tcm", "launch"),
    "summarization": ("satellite", "embedding", "engines", "vision", "tcm", "launch"),
}
SERVE = """
import bentoml, sys, uvicorn
service = bentoml.load(sys.argv[1])
uvicorn.run(service.to_asgi(is_main=True), host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
"""
HEAVY = ("torch", "torchvision", "transformers", "PIL", "scipy", "sklearn", "onnx", "lxml", "cv2")


INSTALLED = """
import sys
from importlib.util import find_spec
print(*[name for name in sys.argv[1:] if find_spec(name)])
"""


@dataclass(frozen=True)
class Built:
    """A Bento in the tests' store, and a Python that has its dependencies alone."""

    name: str
    tag: str
    folder: Path
    python: Path

    def environment(self, home: Path) -> dict[str, str]:
        """Of a process that knows the store, and not where the project lies."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/root"),
            "BENTOML_HOME": str(home),
            "BENTOML_DO_NOT_TRACK": "True",
        }


def build_file(name: str) -> str:
    return next(str(recipe.file) for recipe in recipes() if recipe.name == name)


def built_tag(file: str) -> str:
    # Not by the command line, which prints the ":satellite:" of a tag as a picture of one.
    code = "import bentoml, sys; print(bentoml.bentos.build_bentofile(sys.argv[1], build_ctx='.').tag)"
    command = [sys.executable, "-c", code, file]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return printed.strip().splitlines()[-1]


@pytest.fixture(scope="module", params=sorted(CALLS))
def built(request: pytest.FixtureRequest, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    name: str = request.param
    tag = built_tag(build_file(name))
    folder = store / "bentos" / tag.replace(":", "/")
    requirements = (folder / "env" / "python" / "requirements.txt").read_text()
    return Built(name, tag, folder, clean_environment.make(tmp_path_factory.mktemp(name), requirements))


@contextmanager
def served(built: Built, home: Path) -> Iterator[tuple[httpx.Client, psutil.Process]]:
    """The Bento by ``bentoml serve``, from a folder that holds nothing of the project."""
    port = free_port()
    command = [str(built.python), "-m", "bentoml", "serve", built.tag, "--host", "127.0.0.1", "--port", str(port)]
    with running(command, port, built.environment(home), home / f"{built.name}.log") as found:
        yield found


@contextmanager
def running(
    command: list[str], port: int, environment: dict[str, str], log_file: Path
) -> Iterator[tuple[httpx.Client, psutil.Process]]:
    with log_file.open("wb") as log:
        process = subprocess.Popen(command, cwd="/", env=environment, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:
            _await_ready(client, process)
            yield client, psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def _await_ready(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        if process.poll() is not None:
            break
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        try:
            process.wait(timeout=0.1)
        except subprocess.TimeoutExpired:
            continue
    raise RuntimeError("the Bento does not become ready")


def test_a_bentos_environment_lacks_what_other_models_need(built: Built, store: Path) -> None:
    command = [str(built.python), "-c", INSTALLED, *HEAVY, "bentoml"]
    printed = subprocess.run(command, cwd="/", env=built.environment(store), capture_output=True, text=True, check=True)
    assert printed.stdout.split() == ["bentoml"]


@pytest.mark.slow
def test_a_bento_answers_with_nothing_but_its_own_files_and_dependencies(built: Built, store: Path) -> None:
    path, body, field = CALLS[built.name]
    with served(built, store) as (client, process):
        answer = client.post(path, json=body)
        assert answer.status_code == 200, answer.text
        assert answer.json()[field]
        item = {"requests": [{"input_data": body}]}
        assert client.post("/infer", json=item).json()[0]["error"] is None
        assert client.get("/health").json()["model_loaded"] is True
        resident = [member.memory_info().rss for member in (process, *process.children(recursive=True))]
    assert max(resident) < MOST_MEMORY


def test_a_bento_holds_no_other_models_files(built: Built) -> None:
    held = {part for path in (built.folder / "src").rglob("*.py") for part in path.parts}
    assert not held & {
        "satellite",
        "embedding",
        "summarization",
        "images",
        "engines",
        "launch",
        "documents",
        "summarizers",
    }
    assert not list(built.folder.rglob("*.safetensors"))


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGER)
def test_a_bento_of_one_model_is_loaded_by_its_tag_and_answers_in_one_process(
    name: str, store: Path, tmp_path: Path
) -> None:
    tag, port = built_tag(build_file(name)), free_port()
    asked, field = LARGER[name]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    folder = store / "bentos" / tag.replace(":", "/")
    requirements = (folder / "env" / "python" / "requirements.txt").read_text()
    command = [str(clean_environment.make(tmp_path / "python", requirements)), "-c", SERVE, tag, str(port)]
    with running(command, port, environment, store / f"{name}.log") as (client, _):
        (answer,) = client.post("/infer", json={"requests": [{"input_data": asked}]}).json()
    assert answer["error"] is None
    assert answer["output_data"][field]
    assert not [other for other in OTHERS[name] if list((folder / "src" / "runners").rglob(f"{other}*"))]


@pytest.mark.parametrize("recipe", recipes(), ids=lambda recipe: recipe.name)
def test_a_bento_has_every_file_of_ours_that_its_files_import(recipe: Recipe) -> None:
    selected = set(_selected(recipe))
    missing = {
        (file.relative_to(ROOT).as_posix(), imported.relative_to(ROOT).as_posix())
        for file in selected
        if file.suffix == ".py" and file.name != "artifacts.py"  # which publishes models where everything is there
        for imported in imported_files(file)
        if imported not in selected
    }
    assert not missing


def imported_files(file: Path) -> Iterator[Path]:
    """The project's files that a file imports anywhere in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{name}" for name in names)]
        for name in names:
            place = ROOT.joinpath(*name.split("."))
            yield from (path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file())


def test_the_front_doors_bento_has_every_file_that_it_imports(store: Path, tmp_path: Path) -> None:
    folder = store / "bentos" / built_tag("bentofile.yaml").replace(":", "/") / "src"
    environment = {**os.environ, "BENTOML_HOME": str(store), "PYTHONPATH": str(folder)}
    tables = "from runners.models.tcm import tables; assert tables.symptoms() and tables.herbs() and tables.wording()"
    subprocess.run([sys.executable, "-c", f"import service; {tables}"], cwd=tmp_path, env=environment, check=True)
