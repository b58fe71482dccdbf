"""docs/add-a-model.md, followed in a copy of the project: the blocks pasted, the model served, the promises held."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.make_files import PARTS
from tests.support.servers import ROOT, Server, serving

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "add-a-model.md").read_text(encoding="utf-8")
FILE = re.compile(
    r"^`(runners/sentiment/[\w.]+)`[^\n]*\n(?:[^`\n][^\n]*\n)*\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL
)
ROW = re.compile(r"^    Model\(.*?^    \),\n", re.MULTILINE | re.DOTALL)
CALL = re.compile(r"```bash\n(curl [^`]*?)\n```\n```json\n(.*?)\n```", re.DOTALL)
REGISTRY = "runners/registry.py"
TESTS = (
    "tests/runners/test_registry.py",
    "tests/e2e/test_model_rows.py",
    "tests/deploy/test_make_files.py",
    "tests/project/test_settings_page.py",
    "tests/management/packaging/test_bentos.py",
)
MADE = {*PARTS, "docs/settings.md"}
"""Files that the page's command writes."""
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv*", ".atelier", "node_modules", "__pycache__", ".*_cache", ".hypothesis", "data"
)


def digests(tree: Path) -> dict[str, str]:
    files = [path for path in tree.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {path.relative_to(tree).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def python(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with the page's blocks in it."""
    tree = tmp_path_factory.mktemp("copy") / "atelier"
    shutil.copytree(ROOT, tree, ignore=LEFT_OUT)
    before = digests(tree)
    for name, text in FILE.findall(PAGE):
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).write_text(text, encoding="utf-8")
    (row,) = ROW.findall(PAGE)
    registry = (tree / REGISTRY).read_text(encoding="utf-8")
    rows, end, rest = registry.partition("\n)\n\n\ndef model(")
    (tree / REGISTRY).write_text(f"{rows}\n{row.rstrip()}{end}{rest}", encoding="utf-8")
    for module in ("deploy.make_files", "docs.make_settings"):
        done = python(tree, module)
        assert done.returncode == 0, done.stderr
    after = digests(tree)
    changed = {name for name in after if after[name] != before.get(name)}
    assert {name for name in changed if not name.startswith("runners/sentiment/")} - MADE == {REGISTRY}
    return tree


@pytest.fixture(scope="module")
def alone(tree: Path, store: Path) -> Iterator[Server]:
    with serving("service:Sentiment", store, tree) as server:
        yield server


def test_the_pages_call_gives_the_pages_answer(alone: Server) -> None:
    ((command, answer),) = CALL.findall(PAGE)
    here = command.replace("http://127.0.0.1:8004", alone.url)
    printed = subprocess.run(["bash", "-c", here], capture_output=True, text=True, check=True).stdout
    given, documented = json.loads(printed), json.loads(answer)
    assert given.pop("timestamp")
    assert documented.pop("timestamp")
    assert given == documented


def test_the_rest_is_there_by_itself(alone: Server) -> None:
    with alone.client() as client:
        assert client.get("/health").json()["status"] == "healthy"
        assert "/sentiment" in client.get("/openapi.json").json()["paths"]
        results = client.post("/infer", json={"requests": [{"input_data": {"text": "awful"}}, {"input_data": {}}]})
        refused = client.post("/sentiment", json={"words": "awful"})
    good, bad = results.json()
    assert good["output_data"] == {"sentiment": "negative", "score": -2}
    assert bad["error"]["status"] == refused.status_code == 400


def test_the_front_door_has_it_beside_others(tree: Path, store: Path) -> None:
    with serving("service:Atelier", store, tree, ATELIER_MODELS="treatment,sentiment") as server:
        with server.client() as client:
            assert client.get("/health").json()["models"] == {"treatment": True, "sentiment": True}
            assert client.post("/sentiment", json={"text": "good"}).json()["sentiment"] == "positive"
        assert "/sentiment\n" in server.log.read_text()


def test_the_projects_own_tests_hold_for_it(tree: Path) -> None:
    chosen = "sentiment or named_twice or make_deploy_files or make_docs"
    done = python(tree, "pytest", *TESTS, "-k", chosen)
    assert done.returncode == 0, done.stdout


def test_its_code_is_as_the_project_wants_it(tree: Path) -> None:
    for command in (("check",), ("format", "--check")):
        done = python(tree, "ruff", *command, "--no-cache", "runners", "service.py")
        assert done.returncode == 0, done.stdout


def test_its_bento_is_built(tree: Path, store: Path, tmp_path: Path) -> None:
    (tmp_path / "models").symlink_to(store / "models")
    done = subprocess.run(
        [sys.executable, "-m", "management", "build", "sentiment"],
        cwd=tree,
        env={**os.environ, "BENTOML_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "bentos" / "sentiment" / "1.0.0" / "bento.yaml").is_file()
