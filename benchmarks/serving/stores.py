"""Creates a separate model store for the benchmark, offline: python -m benchmarks.serving.stores FOLDER.

It has the shipped models, and for embeddings the network that the peers serve: a ResNet18 for pictures of 224 pixels
with random weights. The weights do not change the cost.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path


def embedding_store(folder: Path) -> Path:
    """Create a BentoML home in the folder and return it. Raises CalledProcessError."""
    # BentoML reads its home once, on import, so this needs a process of its own.
    environment = {**os.environ, "BENTOML_HOME": str(folder), "BENTOML_DO_NOT_TRACK": "True"}
    command = [sys.executable, "-m", "benchmarks.serving.stores", str(folder)]
    subprocess.run(command, cwd=Path(__file__).parents[2], env=environment, check=True, capture_output=True)
    return folder


def link_models(store: Path, folder: Path) -> Path:
    """Create a home with the same models: two servers on one home would delete each other's metrics."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "models").symlink_to(store / "models")
    return folder


def main() -> None:
    """Run the command line at the top of this file; ``BENTOML_HOME`` is the folder."""
    from benchmarks.peers.network import load
    from runners.artifacts import imagenet, publish
    from runners.artifacts import store as artifacts
    from runners.models.vision import graphs

    network, _ = load("embed")
    state = {name: value.numpy() for name, value in network.state_dict().items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "embedding.onnx"
        graphs.trunk(
            artifacts.EMBEDDING_FILE,
            path,
            {**imagenet.FACTS, "weights": "random, for a benchmark"},
            state,
        )
        publish._store(artifacts.EMBEDDINGS["imagenet"], path)
    publish.publish()


if __name__ == "__main__":
    main()
