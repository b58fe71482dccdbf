"""LitServe with dynamic batches, as its guide to fast serving has it: python -m benchmarks.peers.litserve_app PORT.

Tried at 32 clients on 2 cores: one worker with 2 threads, two workers with 1 and with 2 threads each, a batch timeout
of 5 and of 20 ms, ``fast_queue``, and decoding in a pool of 2 threads. Kept: what answered most.
"""

# LitServe reads the types of decode_request as they stand: no annotations from the future here.
import sys
from typing import Any

import litserve
import torch
from fastapi import Request
from torch import Tensor

from benchmarks.peers.network import MOST, Batches, picture, task
from machine.devices import cores

WAIT_SECONDS = 0.005
WORKERS = cores()
THREADS = 1  # of each worker


class PictureAPI(litserve.LitAPI):
    """Decodes, gathers a batch, asks the network once."""

    def setup(self, device: str) -> None:
        """Loads the network in the worker's process."""
        torch.set_num_threads(THREADS)
        self._model = Batches(task())

    def decode_request(self, request: Request) -> Tensor:
        """An input of an uploaded picture; the form comes in the request's place."""
        form: Any = request
        return self._model.transform(picture(form["image"].file.read()))

    def batch(self, inputs: list[Tensor]) -> list[Tensor]:
        """The inputs as they are; the network puts them together."""
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
    server = litserve.LitServer(api, accelerator="cpu", devices=1, workers_per_device=WORKERS, timeout=60)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, generate_client_file=False)
