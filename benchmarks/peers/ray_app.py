"""Ray Serve with dynamic batches, as in its guide: python -m benchmarks.peers.ray_app PORT.

Tried at 32 clients on 2 cores: one replica with 2 threads, two replicas with 1 thread each, decoding in
threads, and RAY_SERVE_THROUGHPUT_OPTIMIZED=1. The fastest was kept: two replicas, with the variable.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import threading
from typing import Any

import ray
import torch
from ray import serve
from ray.serve.config import HTTPOptions
from starlette.requests import Request

from benchmarks.peers.network import MAX_BATCH_SIZE, Batches, picture, task
from machine.devices import cores

WAIT_SECONDS = 0.005
REPLICAS = cores()
THREADS = 1  # of each replica
OBJECT_STORE_BYTES = 200_000_000


@serve.deployment(num_replicas=REPLICAS, max_ongoing_requests=8 * MAX_BATCH_SIZE, ray_actor_options={"num_cpus": 1})
class Pictures:
    """Decodes pictures, and runs the network once for each batch."""

    def __init__(self) -> None:
        torch.set_num_threads(THREADS)
        self._model = Batches(task())

    @serve.batch(max_batch_size=MAX_BATCH_SIZE, batch_wait_timeout_s=WAIT_SECONDS)
    async def infer(self, bodies: list[bytes]) -> list[dict[str, Any]]:
        """Return the answers for a batch, in order."""
        return self._model([self._model.transform(picture(body)) for body in bodies])

    async def __call__(self, request: Request) -> Any:
        """Return the answer for the picture in the request's body."""
        return await self.infer(await request.body())


def main() -> None:
    """Serve until a signal, then shut Ray down."""
    deployed: Any = Pictures
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        ray.init(num_cpus=REPLICAS, include_dashboard=False, object_store_memory=OBJECT_STORE_BYTES, _temp_dir=folder)
        try:
            serve.start(http_options=HTTPOptions(host="127.0.0.1", port=int(sys.argv[1])))
            serve.run(deployed.bind(), route_prefix=f"/{task()}")
            ended = threading.Event()
            signal.signal(signal.SIGTERM, lambda *_: ended.set())
            ended.wait()
        finally:
            serve.shutdown()
            ray.shutdown()


if __name__ == "__main__":
    main()
