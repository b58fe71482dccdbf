"""What a machine has comes into the shared store by a command, and out of it into a back-up."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from management import configuration
from management.cli.main import main
from management.packaging.archives.upload import Upload
from management.packaging.build import BentoHome
from management.packaging.shared.opening import open_store
from management.packaging.shelf import BentoShelf
from management.settings import BentoSettings
from tests.support.bentos.bento_archives import files, model_yaml, tar
from tests.support.bentos.uploading import pushed_through

WHOLE = {
    **files(models=[{"tag": "iris:1"}]),
    "models/iris/1/model.yaml": model_yaml(),
    "models/iris/1/weights": b"w",
}


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "shared").mkdir()
    monkeypatch.setenv("ATELIER_STORE_URL", f"file://{tmp_path}/shared")
    on(monkeypatch, tmp_path, "a")
    yield
    configuration.settings.cache_clear()


def on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> BentoHome:
    """Let commands run on the machine of that name, and return its Bento store."""
    monkeypatch.setenv("ATELIER_HOME", str(tmp_path / name))
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / name / "bentoml"))
    configuration.settings.cache_clear()
    return BentoHome(tmp_path / name / "bentoml")


def built(home: BentoHome, contents: dict[str, bytes]) -> None:
    pushed_through(Upload(home, BentoSettings(), {}), tar(contents), home)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_everything_is_shared_once_and_then_found_there(tmp_path: Path) -> None:
    built(BentoHome(tmp_path / "a" / "bentoml"), WHOLE)
    first = run("share", "--json")
    assert (first.exit_code, json.loads(first.stdout)) == (0, {"new": 2, "present": 0, "refused": 0})
    assert "1/2 model iris:1: new" in first.stderr
    assert "2/2 bento hello:1.0.0: new" in first.stderr
    assert json.loads(run("share", "--json").stdout) == {"new": 0, "present": 2, "refused": 0}


def test_another_content_is_named_and_the_others_are_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built(BentoHome(tmp_path / "a" / "bentoml"), files())
    assert run("share").exit_code == 0
    there = on(monkeypatch, tmp_path, "b")
    built(there, {**files(), "src/service.py": b"other"})
    built(there, files(version="2"))
    done = run("share", "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (1, {"new": 1, "present": 0, "refused": 1})
    assert "hello:1.0.0: the store has another content" in done.stderr


def test_a_back_up_has_what_other_machines_took_in_and_goes_back_into_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built(BentoHome(tmp_path / "a" / "bentoml"), WHOLE)
    run("share")
    on(monkeypatch, tmp_path, "b")
    done = run("backup", str(tmp_path / "backup.tar.gz"))
    assert done.exit_code == 0, done.stderr
    with tarfile.open(tmp_path / "backup.tar.gz") as archive:
        names = archive.getnames()
    assert {"store/bentos/hello/1.0.0/bento.yaml", "store/models/iris/1/weights"} <= set(names)
    (tmp_path / "new").mkdir()
    monkeypatch.setenv("ATELIER_STORE_URL", f"file://{tmp_path}/new")
    home = on(monkeypatch, tmp_path, "c")
    assert run("restore", str(tmp_path / "backup.tar.gz")).exit_code == 0
    assert [str(tag) for tag in BentoShelf(home).tags()] == ["hello:1.0.0"]
    assert json.loads(run("share", "--json").stdout) == {"new": 2, "present": 0, "refused": 0}


def test_what_came_from_one_store_is_brought_into_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built(BentoHome(tmp_path / "a" / "bentoml"), WHOLE)
    run("share")
    (tmp_path / "new").mkdir()
    monkeypatch.setenv("ATELIER_STORE_URL", f"file://{tmp_path}/new")
    configuration.settings.cache_clear()
    shared = open_store(configuration.settings().storage)
    assert shared is not None
    assert shared.gone() == []
    assert json.loads(run("share", "--json").stdout) == {"new": 2, "present": 0, "refused": 0}


def test_a_store_that_is_away_is_named_and_nothing_is_backed_up(tmp_path: Path) -> None:
    (tmp_path / "shared").rmdir()
    built(BentoHome(tmp_path / "a" / "bentoml"), files())
    for command in (["share"], ["backup", str(tmp_path / "backup.tar.gz")]):
        done = run(*command)
        assert done.exit_code == 1
        assert "the shared store does not answer" in done.stderr
    assert not (tmp_path / "backup.tar.gz").exists()


def test_without_a_shared_store_there_is_nothing_to_share_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ATELIER_STORE_URL")
    configuration.settings.cache_clear()
    done = run("share")
    assert done.exit_code == 2
    assert "ATELIER_STORE_URL is not set" in done.stderr


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://store", "must begin with file:// or s3://"),
        ("file://host/folder", "an absolute path"),
        ("s3://bucket?endpoint=ftp://x", "no URL"),
        ("s3://bucket?secret=1", "endpoint and region"),
        ("s3://key:hidden-word@bucket/x", "without a user"),
    ],
)
def test_a_wrong_url_is_named_and_not_shown(monkeypatch: pytest.MonkeyPatch, url: str, reason: str) -> None:
    monkeypatch.setenv("ATELIER_STORE_URL", url)
    configuration.settings.cache_clear()
    done = run("share")
    assert done.exit_code == 2
    assert "ATELIER_STORE_URL" in done.stderr
    assert reason in done.stderr
    assert "hidden-word" not in done.output
