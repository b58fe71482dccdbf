"""Mosec in two stages, as in its picture example: python -m benchmarks.peers.mosec_app --port PORT.

Tried at 32 clients on 2 cores: one and two workers that decode, one and two that infer, 1 and 2 threads each, a wait of
5 and of 20 ms, and one stage that does both in two workers. The fastest was kept: one worker that infers where decoding
is half of the work (classify), and one for each core where it is a small part (embed).
"""

from __future__ import annotations

import json
from typing import Any, Final

import torch
from mosec import Server, Worker
from torch import Tensor

from benchmarks.peers.network import MAX_BATCH_SIZE, Batches, load, picture, task
from machine.devices import cores

WAIT_MS: Final = 5
THREADS: Final = 1  # of each worker
DECODERS: Final = max(1, cores() // 2)
INFERRERS: Final = cores() if task() == "embed" else max(1, cores() - DECODERS)


class Preprocess(Worker):
    """Decodes pictures."""

    def __init__(self) -> None:
        super().__init__()
        torch.set_num_threads(THREADS)
        _, self._transform = load(task())

    def deserialize(self, data: bytes) -> bytes:
        """Return the request's body, which is the picture."""
        return data

    def forward(self, data: bytes) -> Any:
        """Return the picture as a NumPy array for the next stage."""
        return self._transform(picture(data)).numpy()


class Inference(Worker):
    """Runs the network once for each batch."""

    def __init__(self) -> None:
        super().__init__()
        torch.set_num_threads(THREADS)
        self._model = Batches(task())

    def serialize(self, data: Any) -> bytes:
        """Return compact JSON."""
        return json.dumps(data, separators=(",", ":")).encode()

    def forward(self, data: list[Any]) -> list[dict[str, Any]]:
        """Return the answers for a batch, in order."""
        inputs: list[Tensor] = [torch.from_numpy(body) for body in data]
        return self._model(inputs)


if __name__ == "__main__":
    server = Server()
    route = f"/{task()}"
    server.append_worker(Preprocess, num=DECODERS, route=route)
    server.append_worker(Inference, num=INFERRERS, max_batch_size=MAX_BATCH_SIZE, max_wait_time=WAIT_MS, route=route)
    server.run()
