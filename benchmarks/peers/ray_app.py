"""Ray Serve with dynamic batches, as its guide has it: python -m benchmarks.peers.ray_app PORT."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from typing import Any

WAIT_SECONDS = float(os.environ.get("BENCH_WAIT", "0.005"))
POOL = os.environ.get("BENCH_POOL")
REPLICAS = int(os.environ.get("BENCH_WORKERS", "1"))
THREADS = int(os.environ.get("BENCH_THREADS", "2"))

import ray
from ray import serve
from ray.serve.config import HTTPOptions
from starlette.requests import Request

from benchmarks.peers.network import MOST, Batches, picture, task


@serve.deployment(num_replicas=REPLICAS, max_ongoing_requests=256, ray_actor_options={"num_cpus": 1})
class Pictures:
    """A replica."""

    def __init__(self) -> None:
        import torch

        torch.set_num_threads(THREADS)
        self._model = Batches(task())

    @serve.batch(max_batch_size=MOST, batch_wait_timeout_s=WAIT_SECONDS)
    async def infer(self, bodies: list[bytes]) -> list[dict[str, Any]]:
        if POOL == "thread":
            return self._model(bodies)
        if POOL == "all":
            return await asyncio.to_thread(self._model, bodies)
        return self._model([self._model.transform(picture(one)) for one in bodies])

    async def __call__(self, request: Request) -> dict[str, Any]:
        body = await request.body()
        if POOL:
            return await self.infer(await asyncio.to_thread(lambda: self._model.transform(picture(body))))
        return await self.infer(body)


def main() -> None:
    folder = tempfile.mkdtemp(prefix="ray-")
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=200_000_000, _temp_dir=folder, log_to_driver=True)
    serve.start(http_options=HTTPOptions(host="127.0.0.1", port=int(sys.argv[1])))
    serve.run(Pictures.bind(), route_prefix=f"/{task()}")
    print("ready", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
