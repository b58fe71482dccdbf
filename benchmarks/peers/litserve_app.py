"""LitServe with dynamic batches, as in its guide to fast serving: python -m benchmarks.peers.litserve_app PORT.

Tried at 32 clients on 2 cores: one worker with 2 threads, two workers with 1 and with 2 threads each, a batch timeout
of 5 and of 20 ms, ``fast_queue``, and decoding in a pool of 2 threads. The fastest configuration was kept. With
``BENCH_ENGINE=openvino`` it has Atelier's engine, so that what the server wins and what the engine wins stand apart.
"""

# LitServe reads the annotations of decode_request at run time: no "from __future__ import annotations" here.
import sys
from typing import Any

import litserve
import torch
from fastapi import Request
from torch import Tensor

from benchmarks.peers.network import MAX_BATCH_SIZE, batched, picture, task
from machine.devices import cores

WAIT_SECONDS = 0.005
WORKERS = cores()
THREADS = 1  # of each worker


class PictureAPI(litserve.LitAPI):
    """Decodes pictures, and runs the network once for each batch."""

    def setup(self, device: str) -> None:
        """Load the network in the worker's process."""
        torch.set_num_threads(THREADS)
        self._model = batched(task(), THREADS)

    def decode_request(self, request: Request) -> Tensor:
        """Decode an uploaded picture; LitServe passes the form as the request."""
        form: Any = request
        return self._model.transform(picture(form["image"].file.read()))

    def batch(self, inputs: list[Tensor]) -> list[Tensor]:
        """Return the inputs as a list; the model stacks them."""
        return list(inputs)

    def predict(self, x: list[Tensor]) -> list[dict[str, Any]]:
        """Return the answers for a batch."""
        return self._model(x)

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the list of answers unchanged."""
        return output

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        """Return the answer, which is sent as JSON."""
        return output


if __name__ == "__main__":
    api = PictureAPI(max_batch_size=MAX_BATCH_SIZE, batch_timeout=WAIT_SECONDS, api_path=f"/{task()}")
    server = litserve.LitServer(api, accelerator="cpu", devices=1, workers_per_device=WORKERS, timeout=60)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, generate_client_file=False)
