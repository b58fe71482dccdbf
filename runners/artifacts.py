"""Weights: what is shipped, and what lies in the BentoML model store under which tag.

    python -m runners.artifacts                      put the models where they are served from (what ``make`` does)
    python -m runners.artifacts embedding imagenet   change the embedding network (vectors of two networks never mix)
    python -m runners.artifacts embedding satellite

A model in the store is one ONNX or safetensors file. Its metadata explains it: transform numbers, version, licence and,
of the models that were trained here, labels, thresholds, training configuration, data counts and figures. What was put
there is compared, in the precision that this machine serves in, with float32.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Literal

import bentoml
from bentoml.exceptions import NotFound

from runners.errors import ModelUnavailable
from runners.models import facts as facts_of_tensors

SATELLITE: Final = "satellite:1.0.0"
SUMMARIZATION: Final = "summarization:1.0.0"
DIAGNOSIS: Final = "tcm-diagnosis:1.0.0"
TREATMENT: Final = "tcm-treatment:1.0.0"
WEIGHTS: Final = Path(__file__).parent / "weights"
TENSORS, GRAPH = ".safetensors", ".onnx"
SHIPPED: Final = {
    tag: WEIGHTS / f"{tag.replace(':', '-')}{TENSORS if tag == SUMMARIZATION else GRAPH}"
    for tag in (SATELLITE, SUMMARIZATION, DIAGNOSIS, TREATMENT)
}
Trunk = Literal["imagenet", "satellite"]
EMBEDDINGS: Final[dict[Trunk, str]] = {
    "imagenet": "embedding:imagenet1k-v1",
    "satellite": "embedding:satellite-1.0.0",
}
PICTURES: Final = (SATELLITE, *EMBEDDINGS.values())


def path(tag: str) -> Path:
    """The file of that exact tag. Raises ModelUnavailable when it is not in the store, and says what puts it there."""
    found = _found(tag)
    if found is None:
        raise ModelUnavailable(f"{tag} is not in the model store; run: python -m runners.artifacts")
    return found


def embedding_tag() -> str:
    """The tag that embeddings are made with: the one ``embedding`` model in the store."""
    tags = _embeddings()
    if len(tags) != 1:
        found = ", ".join(tags) or "none"
        cure = "python -m runners.artifacts" + (" embedding NAME" if tags else "")
        raise ModelUnavailable(f"one embedding model is wanted in the store, found {found}; run: {cure}")
    return tags[0]


def publish() -> list[str]:
    """Puts the shipped models into the store where they are missing and returns all tags; never changes a choice."""
    with _only_writer():
        for tag, shipped in SHIPPED.items():
            if not _found(tag):
                _store(tag, shipped)
        if not _embeddings():
            _store_chosen_embedding()
        return [*SHIPPED, embedding_tag()]


def choose_embedding(trunk: Trunk) -> str:
    """Makes ``trunk`` the network of all further embeddings and returns its tag."""
    with _only_writer():
        wanted = EMBEDDINGS[trunk]
        if not _found(wanted):
            _store_embedding(trunk)
        for tag in _listed():
            if tag != wanted:
                bentoml.models.delete(tag)
        return wanted


def _store_chosen_embedding() -> None:
    """The network that an older version stored in another form is had again, or none; else it is the first choice."""
    chosen: list[Trunk] = [trunk for trunk, tag in EMBEDDINGS.items() if tag in _listed()]
    if len(chosen) == 1:
        _store_embedding(chosen[0])
    else:
        _store_first_embedding()


def _store_first_embedding() -> None:
    try:
        _store_embedding("imagenet")
    except OSError as error:
        print(f"ImageNet weights cannot be downloaded ({type(error).__name__}): embedding with the satellite trunk")
        _store_embedding("satellite")


def _store_embedding(trunk: Trunk) -> None:
    from runners import imagenet
    from runners.models import graphs

    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / f"embedding{GRAPH}"
        if trunk == "imagenet":
            graphs.trunk(SHIPPED[SATELLITE], made, imagenet.FACTS, imagenet.download(Path(folder)))
        else:
            whole = _facts(SHIPPED[SATELLITE])
            kept = {key: whole[key] for key in ("network", "licence", "transform")}
            graphs.trunk(SHIPPED[SATELLITE], made, {**kept, "weights": f"the trunk of {SATELLITE}"})
        _store(EMBEDDINGS[trunk], made)


def _embeddings() -> list[str]:
    return sorted(tag for tag in _listed() if _found(tag))


def _listed() -> list[str]:
    try:
        return [str(model.tag) for model in bentoml.models.list("embedding")]
    except NotFound:
        return []


def _found(tag: str) -> Path | None:
    """The file of the tag, if it is there: a store that an older version filled may hold another one."""
    try:
        file = _file(bentoml.models.get(tag), tag)
    except NotFound:
        return None
    return file if file.is_file() else None


def _store(tag: str, source: Path) -> None:
    facts = _facts(source)
    if tag in PICTURES:
        from runners import agreement

        agreement.check(source)
    shown = {key: facts[key] for key in ("network", "weights", "licence")}
    with suppress(NotFound):
        bentoml.models.delete(tag)
    with bentoml.models.create(tag, labels={"project": "atelier"}, metadata=shown) as model:
        shutil.copyfile(source, _file(model, tag))


def _facts(file: Path) -> dict[str, Any]:
    if file.suffix != GRAPH:
        return facts_of_tensors.read(file)
    from runners.models import onnx_file

    return onnx_file.read_facts(file)


def _file(model: bentoml.Model, tag: str) -> Path:
    kind = SHIPPED[tag].suffix if tag in SHIPPED else GRAPH
    return Path(model.path) / f"model{kind}"


@contextmanager
def _only_writer() -> Iterator[None]:
    # BentoML's store half-writes when two processes write one tag at a time.
    home = Path(os.environ.get("BENTOML_HOME", Path.home() / "bentoml"))
    home.mkdir(parents=True, exist_ok=True)
    with (home / ".atelier.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> None:
    """The command line at the top of this file."""
    parser = argparse.ArgumentParser(prog="python -m runners.artifacts", description="The models in the BentoML store.")
    commands = parser.add_subparsers(dest="command", metavar="{publish,embedding}")
    commands.add_parser("publish", help="put the shipped models into the store (the default)")
    embedding = commands.add_parser("embedding", help="change the network that embeds")
    embedding.add_argument("trunk", choices=sorted(EMBEDDINGS), help="imagenet is downloaded from torchvision")
    arguments = parser.parse_args()
    try:
        tags = [choose_embedding(arguments.trunk)] if arguments.command == "embedding" else publish()
    except OSError as error:
        sys.exit(f"the weights cannot be had: {type(error).__name__}. Nothing was changed.")
    except ModelUnavailable as error:
        sys.exit(error.message)
    print("models: " + ", ".join(tags))


if __name__ == "__main__":
    main()
