"""Weights: what is shipped, and what lies in the BentoML model store under which tag.

    python -m runners.artifacts                      put the models where they are served from (what ``make`` does)
    python -m runners.artifacts embedding imagenet   change the embedding network (vectors of two networks never mix)
    python -m runners.artifacts embedding satellite

A model in the store is one safetensors or ONNX file. Its metadata explains it: transform numbers, version, licence and,
of the models that were trained here, labels, thresholds, training configuration, data counts and figures.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import bentoml
from bentoml.exceptions import NotFound

from runners.errors import ModelUnavailable
from runners.models import facts

SATELLITE: Final = "satellite:1.0.0"
SUMMARIZATION: Final = "summarization:1.0.0"
DIAGNOSIS: Final = "tcm-diagnosis:1.0.0"
TREATMENT: Final = "tcm-treatment:1.0.0"
WEIGHTS: Final = Path(__file__).parent / "weights"
TENSORS, GRAPH = ".safetensors", ".onnx"
SHIPPED: Final = {
    tag: WEIGHTS / f"{tag.replace(':', '-')}{kind}"
    for kind, tags in ((TENSORS, (SATELLITE, SUMMARIZATION)), (GRAPH, (DIAGNOSIS, TREATMENT)))
    for tag in tags
}
EMBEDDINGS: Final = {"imagenet": "embedding:imagenet1k-v1", "satellite": "embedding:satellite-1.0.0"}
DOWNLOAD_SECONDS: Final = 15.0  # without a byte

if TYPE_CHECKING:
    from runners.models.weights import Weights

Trunk = Literal["imagenet", "satellite"]


def path(tag: str) -> Path:
    """The file of that exact tag. Raises ModelUnavailable when it is not in the store, and says what puts it there."""
    try:
        model = bentoml.models.get(tag)
    except NotFound as error:
        raise ModelUnavailable(f"{tag} is not in the model store; run: python -m runners.artifacts") from error
    return _file(model, tag)


def load(tag: str) -> Weights:
    """The network of that exact tag. Raises ModelUnavailable."""
    return _read(path(tag))


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
            if not _stored(tag):
                _store_shipped(tag, shipped)
        if not _embeddings():
            _store_first_embedding()
        return [*SHIPPED, embedding_tag()]


def choose_embedding(trunk: Trunk) -> str:
    """Makes ``trunk`` the network of all further embeddings and returns its tag."""
    with _only_writer():
        wanted = EMBEDDINGS[trunk]
        if not _stored(wanted):
            _store(wanted, _imagenet() if trunk == "imagenet" else _satellite_trunk())
        for tag in _embeddings():
            if tag != wanted:
                bentoml.models.delete(tag)
        return wanted


def _store_first_embedding() -> None:
    try:
        _store(EMBEDDINGS["imagenet"], _imagenet())
    except OSError as error:
        print(f"ImageNet weights cannot be downloaded ({type(error).__name__}): embedding with the satellite trunk")
        _store(EMBEDDINGS["satellite"], _satellite_trunk())


def _imagenet() -> Weights:
    """torchvision's ImageNet weights. Raises OSError when they cannot be downloaded."""
    from torchvision.models import ResNet18_Weights

    from runners.models.transform import IMAGENET_TRANSFORM
    from runners.models.weights import Weights

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_SECONDS)  # torch.hub sets none: a silent server would hold set-up for ever
    try:
        state = ResNet18_Weights.IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True)
    except (RuntimeError, HTTPException) as error:  # another file's hash, or an answer that breaks off
        raise OSError("the download is damaged") from error
    finally:
        socket.setdefaulttimeout(before)
    tensors = {f"trunk.{name}": value for name, value in state.items() if not name.startswith("fc.")}
    facts = {
        "network": "ResNet18",
        "weights": "torchvision ResNet18_Weights.IMAGENET1K_V1",
        "licence": "BSD-3-Clause",
        "transform": IMAGENET_TRANSFORM.as_dict(),
    }
    return Weights(tensors, facts)


def _satellite_trunk() -> Weights:
    from runners.models.weights import Weights

    whole = _read(SHIPPED[SATELLITE])
    tensors = {name: value for name, value in whole.tensors.items() if name.startswith("trunk.")}
    facts = {
        "network": "ResNet18",
        "weights": f"the trunk of {SATELLITE}",
        "licence": whole.facts["licence"],
        "transform": whole.facts["transform"],
    }
    return Weights(tensors, facts)


def _embeddings() -> list[str]:
    try:
        return sorted(str(model.tag) for model in bentoml.models.list("embedding"))
    except NotFound:
        return []


def _stored(tag: str) -> bool:
    try:
        bentoml.models.get(tag)
    except NotFound:
        return False
    return True


def _read(path: Path) -> Weights:
    # The front door's process imports this file for its tags, and never loads torch.
    from runners.models.weights import read

    return read(path)


def _store(tag: str, stored: Weights) -> None:
    from runners.models.weights import save

    with _created(tag, stored.facts) as file:
        save(file, stored)


def _store_shipped(tag: str, shipped: Path) -> None:
    with _created(tag, _facts(shipped)) as file:
        shutil.copyfile(shipped, file)


def _facts(shipped: Path) -> dict[str, Any]:
    if shipped.suffix != GRAPH:
        return facts.read(shipped)
    from runners.models.tcm import onnx_file

    return onnx_file.read_facts(shipped)


@contextmanager
def _created(tag: str, told: Mapping[str, Any]) -> Iterator[Path]:
    shown = {key: told[key] for key in ("network", "weights", "licence")}
    with bentoml.models.create(tag, labels={"project": "atelier"}, metadata=shown) as model:
        yield _file(model, tag)


def _file(model: bentoml.Model, tag: str) -> Path:
    kind = SHIPPED[tag].suffix if tag in SHIPPED else TENSORS
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
