"""Mosec in two stages, as its picture example has it: python -m benchmarks.peers.mosec_app --port PORT."""

from __future__ import annotations

import json
import os
from typing import Any

import torch
from mosec import Server, Worker
from torch import Tensor

from benchmarks.peers.network import MOST, Batches, load, picture, task

WAIT_MS = int(os.environ.get("BENCH_WAIT", "5"))
WORKERS = int(os.environ.get("BENCH_WORKERS", "1"))
THREADS = int(os.environ.get("BENCH_THREADS", "1"))


class Preprocess(Worker):
    """Decodes one picture."""

    def __init__(self) -> None:
        super().__init__()
        torch.set_num_threads(1)
        _, self._transform = load(task())

    def deserialize(self, data: bytes) -> bytes:
        """The request's body is the picture."""
        return data

    def forward(self, data: bytes) -> Any:
        """An input of a picture, as NumPy, which is sent to the next stage."""
        return self._transform(picture(data)).numpy()


class Inference(Worker):
    """Asks the network once for a batch."""

    def __init__(self) -> None:
        super().__init__()
        torch.set_num_threads(THREADS)
        self._model = Batches(task())

    def serialize(self, data: Any) -> bytes:
        """JSON without the spaces and line breaks of the usual one."""
        return json.dumps(data, separators=(",", ":")).encode()

    def forward(self, data: list[Any]) -> list[dict[str, Any]]:
        """Answers in order."""
        inputs: list[Tensor] = [torch.from_numpy(one) for one in data]
        return self._model(inputs)


if __name__ == "__main__":
    server = Server()
    route = f"/{task()}"
    server.append_worker(Preprocess, num=WORKERS, route=route)
    server.append_worker(Inference, num=1, max_batch_size=MOST, max_wait_time=WAIT_MS, route=route)
    server.run()
