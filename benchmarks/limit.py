"""Measures the machine's upper limit, the pipeline in one process without HTTP: python -m benchmarks.limit TASK.

As many callers as the comparison has clients call the model directly, each again after an answer. Prints the pictures a
second as JSON. ``BENTOML_HOME`` is the folder of the models.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, Final

from benchmarks.serving.evaluation import COMPARED_CLIENTS
from runners.contract import InferenceRequest

WARM_UP_SECONDS: Final = 1.0


def pipeline_of(task: str) -> Any:
    """Return the pipeline that Atelier serves: decoder, batches and network."""
    from runners.embedding.service import EmbeddingModel
    from runners.satellite.service import SatelliteModel

    return (SatelliteModel() if task == "classify" else EmbeddingModel()).pipeline


async def per_second(pipeline: Any, files: Sequence[bytes], seconds: float) -> float:
    """Return pictures a second, after a warm-up."""
    bodies, done = cycle(files), 0
    began = time.perf_counter() + WARM_UP_SECONDS

    async def caller() -> None:
        nonlocal done
        while (now := time.perf_counter()) < began + seconds:
            (result,) = await pipeline.answer([InferenceRequest(input_data={"image": next(bodies)})])
            if result.error is not None:
                raise RuntimeError(result.error.message)
            done += now >= began

    await asyncio.gather(*(caller() for _ in range(COMPARED_CLIENTS)))
    return done / (time.perf_counter() - began)


def main() -> None:
    """Run the command line at the top of this file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.limit", description=__doc__)
    parser.add_argument("task", choices=("classify", "embed"))
    parser.add_argument("pictures", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--seconds", type=float, default=3.0, help="at least (default: %(default)s)")
    arguments = parser.parse_args()
    files = [path.read_bytes() for path in arguments.pictures]
    print(json.dumps({"per_second": asyncio.run(per_second(pipeline_of(arguments.task), files, arguments.seconds))}))


if __name__ == "__main__":
    main()
