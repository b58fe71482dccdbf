"""What BentoML made comes back byte by byte, in archives as BentoML's own client writes and reads them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from management.domain.bento_tag import StoredKind, Tag
from management.packaging.archives.admission import admission
from management.packaging.archives.pack import pack
from management.packaging.archives.tree_digest import Entry, entries_of
from management.packaging.archives.upload import Upload
from management.packaging.build import BentoHome
from management.settings import BentoSettings
from tests.support.bentos.uploading import pushed_through
from tests.support.servers import ROOT

pytestmark = pytest.mark.server

TAUGHT = ROOT / "tests" / "bentos" / "taught"
LESSON, BENTO = Tag("lesson", "1"), Tag("taught", "1.0.0")
PUSH = """
import bentoml, os, sys, tarfile
folder, source = sys.argv[1:]
with bentoml.models.create("lesson:1", labels={"stage": "test"}) as model:
    open(model.path_of("lesson.txt"), "w").write("Look twice.")
    open(model.path_of("weights.bin"), "wb").write(os.urandom(300_000))
    os.makedirs(model.path_of("deep/" + "folder/" * 20))
    open(model.path_of("deep/" + "folder/" * 20 + "模型"), "w").write("")
    os.chmod(model.path_of("lesson.txt"), 0o755)
bento = bentoml.bentos.build_bentofile(source + "/bentofile.yaml", version="1.0.0", build_ctx=source)

def without_models(entry):
    return None if entry.path == "./models" or entry.path.startswith("./models/") else entry

with tarfile.open(folder + "/models.tar", "w:") as archive:
    archive.add(model.path, arcname="./")
with tarfile.open(folder + "/bentos.tar", "w:") as archive:
    archive.add(bento.path, arcname="./", filter=without_models)
"""
PULL = """
import sys, tarfile, tempfile
from bentoml._internal.bento import Bento
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.models import Model
from bentoml._internal.utils.filesystem import safe_extract_tarfile
for name, kind, store in (
    ("models", Model, BentoMLContainer.model_store.get()),
    ("bentos", Bento, BentoMLContainer.bento_store.get()),
):
    with tarfile.open(f"{sys.argv[1]}/{name}.packed.tar", "r") as archive, tempfile.TemporaryDirectory() as folder:
        safe_extract_tarfile(archive, folder)
        kind.from_path(folder).save(store)
"""


def run(code: str, home: Path, *arguments: Path) -> None:
    environment = {**os.environ, "BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    subprocess.run(command, env=environment, check=True, capture_output=True)


def tree(home: Path, kind: StoredKind, tag: Tag) -> list[Entry]:
    entries = entries_of(BentoHome(home).folder(tag, kind))
    return sorted((entry for entry in entries if entry.path != "atelier.content"), key=lambda entry: entry.path)


def test_a_bento_and_its_model_come_back_as_bentoml_made_them(tmp_path: Path) -> None:
    own, server, other = (tmp_path / name for name in ("own", "server", "other"))
    run(PUSH, own, tmp_path, TAUGHT)
    home = BentoHome(server)
    for kind, tag in ((StoredKind.MODEL, LESSON), (StoredKind.BENTO, BENTO)):
        upload = Upload(home, BentoSettings(), {}, admission(kind, tag))
        assert pushed_through(upload, (tmp_path / f"{kind}.tar").read_bytes(), home).is_new
        found = pack(home.folder(tag, kind), kind)
        content = b"".join(found.pieces())
        assert len(content) == found.length
        (tmp_path / f"{kind}.packed.tar").write_bytes(content)
        again = Upload(home, BentoSettings(), {}, admission(kind, tag))
        assert not pushed_through(again, content, home).is_new
    run(PULL, other, tmp_path)
    for kind, tag in ((StoredKind.MODEL, LESSON), (StoredKind.BENTO, BENTO)):
        pushed, kept, pulled = (tree(place, kind, tag) for place in (own, server, other))
        assert len(pushed) > 3
        assert pushed == kept
        # BentoML's client gives every file that it pulls the same mode.
        assert [(entry.path, entry.sha256) for entry in pushed] == [(entry.path, entry.sha256) for entry in pulled]
