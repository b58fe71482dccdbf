"""Publishes the models into the BentoML model store.

    python -m runners.artifacts                      publish the shipped models (what ``make`` does)
    python -m runners.artifacts embedding imagenet   change the embedding network (vectors of two networks do not mix)
    python -m runners.artifacts embedding satellite

Each picture network is compared with float32, in the precision that this machine serves in.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import bentoml
from bentoml.exceptions import NotFound

from runners.artifacts import store
from runners.errors import ModelUnavailable
from runners.models import facts as facts_of_tensors


def publish() -> list[str]:
    """Publish the shipped models that are missing and return all tags; the chosen embedding network stays."""
    with _only_writer():
        for tag, shipped in store.SHIPPED.items():
            if not store.find(tag):
                _store(tag, shipped)
        if not store.stored_embeddings():
            _store_chosen_embedding()
        return [*store.SHIPPED, store.embedding_tag()]


def choose_embedding(trunk: store.Trunk) -> str:
    """Make ``trunk`` the network of all further embeddings and return its tag."""
    with _only_writer():
        chosen = store.EMBEDDINGS[trunk]
        if not store.find(chosen):
            _store_embedding(trunk)
        for tag in store.listed_embeddings():
            if tag != chosen:
                bentoml.models.delete(tag)
        return chosen


def _store_chosen_embedding() -> None:
    """Replace the stored network, which may have an older form; store the default if there is not exactly one."""
    chosen: list[store.Trunk] = [trunk for trunk, tag in store.EMBEDDINGS.items() if tag in store.listed_embeddings()]
    if len(chosen) == 1:
        _store_embedding(chosen[0])
    else:
        _store_default_embedding()


def _store_default_embedding() -> None:
    try:
        _store_embedding("imagenet")
    except OSError as error:
        print(f"ImageNet weights cannot be downloaded ({type(error).__name__}): embedding with the satellite trunk")
        _store_embedding("satellite")


def _store_embedding(trunk: store.Trunk) -> None:
    from runners.artifacts import imagenet
    from runners.models.vision import graphs

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"embedding{store.GRAPH}"
        if trunk == "imagenet":
            graphs.trunk(store.EMBEDDING_FILE, file, imagenet.FACTS, imagenet.download(Path(folder)))
        else:
            source = _facts(store.EMBEDDING_FILE)
            facts = {key: source[key] for key in ("network", "transform")} | {"licence": source["trunk_licence"]}
            facts["weights"] = f"the trunk of {source['trunk']}"
            graphs.trunk(store.EMBEDDING_FILE, file, facts)
        _store(store.EMBEDDINGS[trunk], file)


def _store(tag: str, source: Path) -> None:
    facts = _facts(source)
    if "transform" in facts:  # a picture network
        from runners.artifacts import precision_check

        precision_check.check(source)
    metadata = {key: facts[key] for key in ("network", "weights", "licence")}
    with suppress(NotFound):
        bentoml.models.delete(tag)
    with bentoml.models.create(tag, labels={"project": "atelier"}, metadata=metadata) as model:
        shutil.copyfile(source, store.file_in(model, tag))


def _facts(file: Path) -> dict[str, Any]:
    if file.suffix != store.GRAPH:
        return facts_of_tensors.read(file)
    from runners.models import onnx_file

    return onnx_file.read_facts(file)


@contextmanager
def _only_writer() -> Iterator[None]:
    # BentoML's store half-writes when two processes write one tag at a time.
    home = Path(os.environ.get("BENTOML_HOME", Path.home() / "bentoml"))
    home.mkdir(parents=True, exist_ok=True)
    with (home / ".atelier.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line that the module docstring shows."""
    parser = argparse.ArgumentParser(prog="python -m runners.artifacts", description="The models in the BentoML store.")
    commands = parser.add_subparsers(dest="command", metavar="{publish,embedding}")
    commands.add_parser("publish", help="put the shipped models into the store (the default)")
    embedding = commands.add_parser("embedding", help="change the network that embeds")
    embedding.add_argument("trunk", choices=sorted(store.EMBEDDINGS), help="imagenet is downloaded from torchvision")
    arguments = parser.parse_args(argv)
    try:
        tags = [choose_embedding(arguments.trunk)] if arguments.command == "embedding" else publish()
    except OSError as error:
        sys.exit(f"the weights cannot be obtained: {type(error).__name__}. Nothing was changed.")
    except ModelUnavailable as error:
        sys.exit(error.message)
    print("models: " + ", ".join(tags))
