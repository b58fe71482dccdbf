"""LitServe with dynamic batches, as its guide to fast serving has it: python -m benchmarks.peers.litserve_app PORT."""

# LitServe reads the types of decode_request as they stand: no annotations from the future here.

import os
import sys
from typing import Any

import litserve
import torch
from fastapi import Request
from torch import Tensor

from benchmarks.peers.network import MOST, Batches, picture, task

WAIT_SECONDS = float(os.environ.get("BENCH_WAIT", "0.005"))
WORKERS = int(os.environ.get("BENCH_WORKERS", "1"))
THREADS = int(os.environ.get("BENCH_THREADS", "2"))
POOL = int(os.environ.get("BENCH_POOL", "0"))
FAST_QUEUE = os.environ.get("BENCH_FAST", "0") == "1"


class PictureAPI(litserve.LitAPI):
    """Decodes, gathers a batch, asks the network once."""

    def setup(self, device: str) -> None:
        """Loads the network in the worker's process."""
        torch.set_num_threads(THREADS)
        self._model = Batches(task())
        from concurrent.futures import ThreadPoolExecutor

        self._pool = ThreadPoolExecutor(POOL or 1)

    def decode_request(self, request: Request) -> Tensor:
        """An input of an uploaded picture."""
        data = request["image"].file.read()
        return data if POOL else self._model.transform(picture(data))

    def batch(self, inputs: list[Tensor]) -> list[Tensor]:
        """The inputs as they are; the network puts them together."""
        if POOL:
            return list(self._pool.map(lambda one: self._model.transform(picture(one)), inputs))
        return list(inputs)

    def predict(self, x: list[Tensor]) -> list[dict[str, Any]]:
        """All answers at once."""
        return self._model(x)

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """An answer each."""
        return output

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        """The answer, which is sent as JSON."""
        return output


if __name__ == "__main__":
    api = PictureAPI(max_batch_size=MOST, batch_timeout=WAIT_SECONDS, api_path=f"/{task()}")
    server = litserve.LitServer(
        api, accelerator="cpu", devices=1, workers_per_device=WORKERS, timeout=60, fast_queue=FAST_QUEUE
    )
    server.run(
        host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, generate_client_file=False, log_level="warning"
    )
