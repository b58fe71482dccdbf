"""Sampling that depends on the task only: the same task gives the same tokens, in any batch and on any device.

With one random generator per batch, each row would depend on its neighbours. Here each row has its own seed, and the
Gumbel-max trick (Gumbel, 1954; Maddison et al., "A* Sampling", NIPS 2014) turns sampling into greedy search: the argmax
of ``logit / temperature + noise`` is distributed as the softmax; the noise of a token is a hash of (seed, step, token).
Only rounding is left: the shape of a batch changes the last bits of the logits, so that two tokens as close as that may
change places. In float32 that is rare; in bfloat16 it happens within long summaries.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from runners.models.summarizers.base import Task

TOP_K: Final = 50
"""Number of most likely tokens that are sampled from: the default of Hugging Face's sampling."""

UNIFORM_BITS: Final = 23
"""Bits of a uniform number: the largest, 1 - 2**-24, is still below 1 in float32."""

MASK: Final = 0xFFFFFFFF
"""The low 32 bits of an integer."""


def seed_of(task: Task) -> int:
    """Return a hash of 64 bits over every field of the task."""
    fields = repr((task.text, task.max_length, task.temperature, task.language, task.title))
    digest = hashlib.blake2b(fields.encode("utf-8", "surrogatepass"), digest_size=8)
    for image in task.images:
        digest.update(hashlib.blake2b(image).digest())
    return int.from_bytes(digest.digest(), "big")


class GumbelLogitsProcessor:
    """A logits processor for greedy search that samples: it leaves one token of each row.

    An object serves one call of ``generate``. ``seeds`` and ``temperatures`` (above 0) have an entry per row.
    """

    def __init__(self, seeds: Sequence[int], temperatures: Sequence[float]) -> None:
        self._seeds, self._temperatures = list(seeds), list(temperatures)
        self._step = 0

    @classmethod
    def for_tasks(cls, tasks: Sequence[Task]) -> GumbelLogitsProcessor:
        """Return the processor of a batch of tasks, each with a temperature above 0."""
        return cls([seed_of(task) for task in tasks], [task.temperature for task in tasks])

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Logits [N, V] -> [N, V], 0 at the sampled token of each row and -inf elsewhere."""
        logits, tokens = scores.float().topk(min(TOP_K, scores.shape[-1]))
        keys = torch.tensor([_key(seed, self._step) for seed in self._seeds], device=scores.device)
        temperatures = torch.tensor(self._temperatures, device=scores.device)
        ranks = (logits / temperatures[:, None] + gumbel(keys[:, None], tokens)).argmax(dim=-1, keepdim=True)
        self._step += 1
        sampled = tokens.gather(-1, ranks)
        return torch.full_like(scores, -torch.inf).scatter(-1, sampled, 0.0)


def gumbel(keys: Tensor, tokens: Tensor) -> Tensor:
    """Return standard Gumbel noise in float32, a function of int64 keys and tokens, which are broadcast."""
    hashed = _hash(keys ^ _hash(tokens + 0x9E3779B9))
    uniform = ((hashed >> (32 - UNIFORM_BITS)).float() + 0.5) / 2**UNIFORM_BITS
    return -torch.log(-torch.log1p(-uniform))


def _key(seed: int, step: int) -> int:
    digest = hashlib.blake2b(f"{seed} {step}".encode(), digest_size=4)
    return int.from_bytes(digest.digest(), "big")


def _hash(words: Tensor) -> Tensor:
    """Apply MurmurHash3's finalizer (Appleby, public domain) to 32-bit words held in int64."""
    words = words & MASK
    words = ((words ^ (words >> 16)) * 0x85EBCA6B) & MASK
    words = ((words ^ (words >> 13)) * 0xC2B2AE35) & MASK
    return words ^ (words >> 16)
