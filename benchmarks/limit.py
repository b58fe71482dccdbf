"""What this machine could do at most: the same pipeline in one process, without HTTP: python -m benchmarks.limit TASK.

Prints the pictures a second as JSON. ``BENTOML_HOME`` says where the models are.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from typing import Final

BATCH: Final = 32
WARM_BATCHES: Final = 2
Pipeline = Callable[[list[bytes]], object]


def pipeline(task: str) -> Pipeline:
    """What makes answers of a batch of files, on every core: the decoder and the model that Atelier serves."""
    from runners.contract import InferenceRequest
    from runners.embedding import EmbeddingModel
    from runners.satellite import SatelliteModel

    model = SatelliteModel() if task == "classify" else EmbeddingModel()
    return lambda files: model.infer([InferenceRequest(input_data={"image": file}) for file in files])


def per_second(run: Pipeline, files: list[bytes], seconds: float) -> float:
    """Pictures a second, one batch after the other for at least so long."""
    following = cycle(files)
    for _ in range(WARM_BATCHES):
        run(list(islice(following, BATCH)))
    began, done = time.perf_counter(), 0
    while time.perf_counter() < began + seconds:
        run(list(islice(following, BATCH)))
        done += BATCH
    return done / (time.perf_counter() - began)


def main() -> None:
    """The command line at the top of this file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.limit", description=__doc__)
    parser.add_argument("task", choices=("classify", "embed"))
    parser.add_argument("pictures", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--seconds", type=float, default=3.0, help="at least (default: %(default)s)")
    told = parser.parse_args()
    files = [one.read_bytes() for one in told.pictures]
    print(json.dumps({"per_second": per_second(pipeline(told.task), files, told.seconds)}))


if __name__ == "__main__":
    main()
