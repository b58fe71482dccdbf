"""Sources come and go within bounds, and each state of them becomes one Bento that nothing changes afterwards."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from management.bentoml_api.views import stored
from management.domain.bento_tag import Tag
from management.packaging import bento_files
from management.packaging.archives.refusals import ArchiveRefused, DiskFull
from management.packaging.archives.room import Room
from management.packaging.build import BentoHome
from management.packaging.codespaces import assembly
from management.packaging.codespaces.sources import Codespace, made_of, names_of_bentos, root_of
from management.packaging.pushes.refusals import InvalidPath, TooLong, TooMuch
from management.packaging.shelf import BentoShelf
from management.settings import BentoSettings
from tests.support.bentos.codespaces import manifest, source

NOW = datetime(2026, 1, 2, tzinfo=UTC)
LIMITS = BentoSettings(unpacked_bytes=2000, files=3)


@pytest.fixture
def home(tmp_path: Path) -> BentoHome:
    return BentoHome(tmp_path / "bentoml")


@pytest.fixture
def codespace(home: BentoHome) -> Codespace:
    return Codespace.new(home, manifest())


def made(home: BentoHome, codespace: Codespace) -> Tag:
    with codespace.locked():
        tag = assembly.assemble(home, codespace, NOW)
    assert tag is not None
    return tag


def sources(home: BentoHome, tag: Tag) -> dict[str, str]:
    folder = home.folder(tag) / "src"
    return {file.relative_to(folder).as_posix(): file.read_text() for file in folder.rglob("*") if file.is_file()}


def test_each_change_is_a_bento_of_its_own_and_none_changes_afterwards(home: BentoHome, codespace: Codespace) -> None:
    codespace.put({"service.py": source("Hello"), "data/words.txt": b"a"}, LIMITS)
    first = made(home, codespace)
    codespace.put({"service.py": source("Servus")}, LIMITS)
    codespace.remove(["data/words.txt", "data", "never/there.txt"])
    second = made(home, codespace)
    assert (first.version, second.version) == ("1", "2")
    assert sources(home, first) == {"service.py": source("Hello").decode(), "data/words.txt": "a"}
    assert sources(home, second) == {"service.py": source("Servus").decode()}
    with codespace.locked():
        assert assembly.assemble(home, codespace, NOW) is None, "nothing has changed"


def test_the_bento_says_what_the_client_said_of_it(home: BentoHome, codespace: Codespace) -> None:
    codespace.put({"service.py": source(), "requirements.txt": b"numpy\nbentoml==1.4.39\n", "setup.sh": b""}, LIMITS)
    tag = made(home, codespace)
    bento = bento_files.read(home.folder(tag))
    assert [api.route for api in bento.apis] == ["/greet"]
    assert bento.python.requirements == ("numpy", "bentoml==1.4.39")
    assert bento.python.version == "3.11"
    assert set(sources(home, tag)) == {"service.py", "requirements.txt"}
    shelf = BentoShelf(home)
    kept, document = shelf.get(tag), shelf.document(tag)
    assert kept is not None
    assert document is not None
    shown = stored.of_bento(tag, kept, document).manifest
    unlike = {name for name, value in manifest().items() if shown[name] != value}
    assert unlike == {"name", "version", "size_bytes", "dev"}, "the client would take the rest for a change"


@pytest.mark.parametrize("path", ["../x.py", "/etc/x.py", "a/../../x.py", "a\\x.py", "a\nb", "", ".", "x" * 300])
def test_a_path_that_leads_out_of_the_codespace_is_refused(codespace: Codespace, path: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidPath):
        codespace.put({"service.py": source(), path: b"x"}, LIMITS)
    with pytest.raises(InvalidPath):
        codespace.remove([path])
    assert codespace.files() == []
    assert not (tmp_path / "x.py").exists()


def test_a_file_is_no_folder(home: BentoHome, codespace: Codespace) -> None:
    codespace.put({"a": b"1", "b/c": b"2"}, LIMITS)
    for path in ("a/b", "b"):
        with pytest.raises(InvalidPath):
            codespace.put({path: b"x"}, LIMITS)
    assert {file.path: file.size for file in codespace.files()} == {"a": 1, "b/c": 1}
    kept = {path.name for path in root_of(home).glob(f"{codespace.id}/*")}
    assert kept == {"files", "codespace.json", "lock"}, "nothing half-written stays"


def test_bounds_hold_for_all_files_together(codespace: Codespace, monkeypatch: pytest.MonkeyPatch) -> None:
    codespace.put({"a": bytes(1000), "b": bytes(1000)}, LIMITS)
    codespace.put({"a": bytes(999), "c": b"1"}, LIMITS)
    for more in ({"b": bytes(1001)}, {"d": b""}):
        with pytest.raises(TooMuch):
            codespace.put(more, LIMITS)

    def full(*_: Any) -> None:
        raise DiskFull

    monkeypatch.setattr(Room, "require", full)
    with pytest.raises(DiskFull):
        codespace.put({"a": b"2"}, LIMITS)


def test_what_describes_no_bento_makes_none(home: BentoHome) -> None:
    for wrong in ({"schema": 1}, {"services": 3}, {"schema": {"routes": [3]}}):
        with pytest.raises(ArchiveRefused):
            assembly.described(manifest(**wrong), Tag("a", "1"), NOW)
    with pytest.raises(TooLong):
        Codespace.new(home, {"schema": "x" * 2_000_000})


def test_models_are_those_of_the_store(home: BentoHome) -> None:
    service = {"name": "Hello", "service": "", "models": [{"tag": "lesson:1"}], "dependencies": [], "config": {}}
    needs = manifest(models=["lesson:1", "other:2"], services=[service])
    assert [model["tag"] for model in assembly.document(needs, Tag("a", "1"), NOW)["models"]] == ["other:2"]
    codespace = Codespace.new(home, needs)
    codespace.put({"service.py": source()}, LIMITS)
    with pytest.raises(ArchiveRefused, match="archive_models"), codespace.locked():
        assembly.assemble(home, codespace, NOW)
    assert codespace.state().number == 0, "the next try is the same one"


def test_a_bento_leads_to_its_codespace(home: BentoHome, codespace: Codespace) -> None:
    codespace.put({"service.py": source()}, LIMITS)
    tag = made(home, codespace)
    found = made_of(home, tag)
    assert found is not None
    assert found.id == codespace.id
    assert [(name, each.id) for name, each in names_of_bentos(home)] == [(tag.name, codespace.id)]
    for other in (Tag("hello", "1"), Tag("codespace-0123456789ab", "1"), Tag(f"{tag.name}0", "1")):
        assert made_of(home, other) is None
    codespace.take_away()
    assert made_of(home, tag) is None
    assert sources(home, tag), "what runs goes on running"
