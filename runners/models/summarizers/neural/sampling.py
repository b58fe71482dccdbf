"""Sampling that is a function of the task: the same one gives the same words, in any batch and on any device.

One random generator for a batch would make every row depend on its neighbours. Here each row has a seed of its own, and
the Gumbel-max trick (Gumbel, 1954; Maddison et al., "A* Sampling", NIPS 2014) turns sampling into greedy search:
the largest of ``logit / temperature + noise`` is distributed as the softmax, where the noise of a token is a hash of
(seed, step, token). What remains is rounding: a batch's shape moves logits in their last bits, so that two tokens
which are that close may change places. In float32 that is rare; in bfloat16 it happens within long summaries.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from runners.models.summarizers.base import Task

TOP: Final = 50
"""How many of the most likely tokens are drawn from, as Hugging Face's sampling does unless told otherwise."""

BITS: Final = 23
"""Bits of a uniform number: float32 tells 1 - 2**-24, the largest, from 1."""

WORD: Final = 0xFFFFFFFF


def seed_of(task: Task) -> int:
    """64 bits that depend on everything in the task."""
    said = repr((task.text, task.max_length, task.temperature, task.language, task.title))
    digest = hashlib.blake2b(said.encode("utf-8", "surrogatepass"), digest_size=8)
    for image in task.images:
        digest.update(hashlib.blake2b(image).digest())
    return int.from_bytes(digest.digest(), "big")


class SeededSampling:
    """A logits processor for greedy search, good for one call of ``generate``: it leaves each row one token.

    ``seeds`` and ``temperatures`` (above 0) are one a row.
    """

    def __init__(self, seeds: Sequence[int], temperatures: Sequence[float]) -> None:
        self._seeds, self._temperatures = list(seeds), list(temperatures)
        self._step = 0

    @classmethod
    def of(cls, tasks: Sequence[Task]) -> SeededSampling:
        """For a batch of these tasks, each of a temperature above 0."""
        return cls([seed_of(task) for task in tasks], [task.temperature for task in tasks])

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [N, V] -> the same with -inf everywhere but at the token that was drawn."""
        logits, tokens = scores.float().topk(min(TOP, scores.shape[-1]))
        keys = torch.tensor([_key(seed, self._step) for seed in self._seeds], device=scores.device)
        heat = torch.tensor(self._temperatures, device=scores.device)
        drawn = (logits / heat[:, None] + gumbel(keys[:, None], tokens)).argmax(dim=-1, keepdim=True)
        self._step += 1
        chosen = tokens.gather(-1, drawn)
        return torch.full_like(scores, -torch.inf).scatter(-1, chosen, 0.0)


def gumbel(keys: Tensor, tokens: Tensor) -> Tensor:
    """Standard Gumbel noise, float32, of int64 keys and tokens that broadcast; equal where both are equal."""
    mixed = _mixed(keys ^ _mixed(tokens + 0x9E3779B9))
    uniform = ((mixed >> (32 - BITS)).float() + 0.5) / 2**BITS
    return -torch.log(-torch.log1p(-uniform))


def _key(seed: int, step: int) -> int:
    digest = hashlib.blake2b(f"{seed} {step}".encode(), digest_size=4)
    return int.from_bytes(digest.digest(), "big")


def _mixed(words: Tensor) -> Tensor:
    """MurmurHash3's finalizer (Appleby, public domain) of 32-bit words held in int64."""
    words = words & WORD
    words = ((words ^ (words >> 16)) * 0x85EBCA6B) & WORD
    words = ((words ^ (words >> 13)) * 0xC2B2AE35) & WORD
    return words ^ (words >> 16)
