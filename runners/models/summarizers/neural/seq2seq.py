"""The engine of encoder-decoder checkpoints: BART, T5, PEGASUS, mBART, BARThez and their relatives."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import Any, Final, NamedTuple

import torch

from runners.errors import RunnerError
from runners.models.summarizers import batches, passes
from runners.models.summarizers.base import Summarizer, Task
from runners.models.summarizers.guard import raising
from runners.models.summarizers.neural import sequences
from runners.models.summarizers.neural.chunks import chunks
from runners.models.summarizers.neural.loading import Loaded
from runners.models.summarizers.neural.sampling import SeededSampling
from runners.models.summarizers.neural.wording import Counter, written

OWN: Final = 2
"""Tokens that may come with a summary and are not of it: a first one that is forced, and the end."""

Sentences = Callable[[str, str], list[str]]


class _Search(NamedTuple):
    """What must be equal within a batch."""

    max_length: int
    min_length: int
    sampled: bool
    code: str


class Seq2Seq(Summarizer):
    """Any checkpoint of ``AutoModelForSeq2SeqLM``; a text beyond its input is summarized in parts, and then those.

    At temperature 0 it searches as the checkpoint's generation config says (greedily, or with beams); above, it
    samples by ``SeededSampling``. Summaries do not depend on the batch, up to the rounding of the numbers computed in.
    """

    engine = "seq2seq"

    def __init__(self, loaded: Loaded, sentences: Sentences) -> None:
        """``sentences`` splits a text of a language."""
        self.model = loaded.checkpoint.shown
        self._network, self._tokenizer, self._device = loaded.model, loaded.processor, loaded.device
        self._sentences = sentences
        self._prefix = sequences.prefix(loaded.checkpoint)
        self._generation = sequences.generation(loaded.checkpoint, loaded.model)
        self._limit = sequences.input_limit(self._tokenizer, loaded.model.config)
        self._longest = sequences.output_limit(loaded.model.config) - OWN - 1
        self._room = self._limit - len(self._tokenizer(self._prefix).input_ids)
        self._source = getattr(self._tokenizer, "src_lang", None)
        self._count = Counter(self._tokenizer)
        self._alone = threading.Lock()  # the tokenizer's source language and its padding are states

    def summarize(self, tasks: Sequence[Task]) -> list[str | RunnerError]:
        """Batches parts of similar length; an error harms its own task alone."""
        return passes.summarize(tasks, self._split, self._generate, self._count)

    def split(self, task: Task) -> list[Task]:
        """Parts that fit the input, with what they are to be summarized to; waits for no batch."""
        return raising(partial(self._split, task))

    def joined(self, task: Task, said: Sequence[str | RunnerError]) -> str | RunnerError | Task:
        """The parts' summaries where they are short enough together, else the text of the next pass."""
        return passes.joined(task, said, self._count)

    def _split(self, task: Task) -> list[Task]:
        if len(task.text) <= self._room * 16 and self._count(task.text) <= self._room:
            return [task]
        between = passes.separator(task.language)
        parts = chunks(self._sentences(task.text, task.language), self._count, self._room, between)
        length = passes.budget(task, self._limit)
        return [replace(task, text=part, max_length=length) for part in parts]

    def _generate(self, parts: Sequence[Task]) -> list[str | RunnerError]:
        lengths = [self._count(part.text) for part in parts]
        searches = [self._search(part, length) for part, length in zip(parts, lengths, strict=True)]
        outcomes: dict[int, str | RunnerError] = {}
        order = sorted(range(len(parts)), key=lambda index: searches[index])
        for search, group in groupby(order, key=lambda index: searches[index]):
            members = list(group)
            for batch in batches.by_length([lengths[index] for index in members]):
                indices = [members[index] for index in batch]
                said = batches.run([parts[index] for index in indices], partial(self._batch, search))
                outcomes.update(zip(indices, said, strict=True))
        return [outcomes[index] for index in range(len(parts))]

    def _search(self, task: Task, tokens: int) -> _Search:
        """A least length that was meant for articles must not make a long summary of a short text."""
        longest = min(task.max_length, self._longest)
        least = min(self._generation.min_length or 0, longest, tokens // 2)
        return _Search(longest, least, task.temperature > 0, sequences.code(self._tokenizer, task.language) or "")

    def _batch(self, search: _Search, tasks: Sequence[Task]) -> list[str]:
        with self._alone, torch.inference_mode():
            return self._written(search, tasks)

    def _written(self, search: _Search, tasks: Sequence[Task]) -> list[str]:
        inputs = self._inputs(search, [task.text for task in tasks])
        processors = [SeededSampling.of(tasks)] if search.sampled else []
        rows = self._network.generate(
            **inputs,
            generation_config=self._config(search),
            logits_processor=processors,
        )
        return [written(self._tokenizer, row.tolist(), search.max_length) for row in rows]

    def _inputs(self, search: _Search, texts: list[str]) -> Any:
        if self._source:
            self._tokenizer.src_lang = search.code or self._source
        encoded = self._tokenizer(
            [self._prefix + text for text in texts],
            padding=True,
            truncation=True,  # only what joining the prefix to a text may add
            max_length=self._limit,
            return_tensors="pt",
        ).to(self._device)
        return {"input_ids": encoded.input_ids, "attention_mask": encoded.attention_mask}

    def _config(self, search: _Search) -> Any:
        config = copy.deepcopy(self._generation)
        config.max_new_tokens, config.min_length = search.max_length + OWN, search.min_length
        if search.sampled:
            config.num_beams, config.early_stopping, config.length_penalty = 1, False, 1.0
        for name, token in sequences.forced(self._tokenizer, search.code).items():
            setattr(config, name, token)
        return config
