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
from runners.models.summarizers.neural import families
from runners.models.summarizers.neural.chunks import chunks
from runners.models.summarizers.neural.decoding import TokenCounter, decode
from runners.models.summarizers.neural.loading import Loaded
from runners.models.summarizers.neural.sampling import GumbelLogitsProcessor

SPECIAL_TOKENS: Final = 2
"""Generated tokens that are not part of a summary: a forced first token, and the end token."""

Sentences = Callable[[str, str], list[str]]


class _Generation(NamedTuple):
    """The settings that must be equal within a batch; lengths are in tokens."""

    max_length: int
    min_length: int
    sampled: bool
    language_code: str


class Seq2Seq(Summarizer):
    """Any checkpoint of ``AutoModelForSeq2SeqLM``; a text that exceeds its input is summarized in parts.

    At temperature 0 it searches by the checkpoint's generation config (greedy or beam search); above, it samples with
    ``GumbelLogitsProcessor``. Summaries do not depend on the batch, up to rounding in the model's data type.
    """

    engine = "seq2seq"

    def __init__(self, loaded: Loaded, sentences: Sentences) -> None:
        """``sentences`` splits a text, given its language, into sentences."""
        self.model = loaded.checkpoint.shown
        self._network, self._tokenizer, self._device = loaded.model, loaded.processor, loaded.device
        self._sentences = sentences
        self._prefix = families.prefix(loaded.checkpoint)
        self._generation_config = families.generation_config(loaded.checkpoint, loaded.model)
        self._input_limit = families.input_limit(self._tokenizer, loaded.model.config)
        self._output_limit = families.output_limit(loaded.model.config) - SPECIAL_TOKENS - 1
        self._text_limit = self._input_limit - len(self._tokenizer(self._prefix).input_ids)
        self._source_language = getattr(self._tokenizer, "src_lang", None)
        self._count = TokenCounter(self._tokenizer)
        self._lock = threading.Lock()  # the tokenizer's source language and padding are state

    def summarize(self, tasks: Sequence[Task]) -> list[str | RunnerError]:
        """Summarize the tasks, with parts of similar length in a batch; an error affects its own task alone."""
        return passes.summarize(tasks, self._split, self._generate, self._count)

    def split(self, task: Task) -> list[Task]:
        """Split a task into parts that fit the input, each with its summary's length; waits for no batch."""
        return raising(partial(self._split, task))

    def join(self, task: Task, outcomes: Sequence[str | RunnerError]) -> str | RunnerError | Task:
        """Return the joined summaries of the parts if they are short enough, else the task of the next pass."""
        return passes.join(task, outcomes, self._count)

    def _split(self, task: Task) -> list[Task]:
        if len(task.text) <= self._text_limit * 16 and self._count(task.text) <= self._text_limit:
            return [task]
        separator = passes.separator(task.language)
        parts = chunks(self._sentences(task.text, task.language), self._count, self._text_limit, separator)
        length = passes.budget(task, self._input_limit)
        return [replace(task, text=part, max_length=length) for part in parts]

    def _generate(self, parts: Sequence[Task]) -> list[str | RunnerError]:
        lengths = [self._count(part.text) for part in parts]
        generations = [self._generation(part, length) for part, length in zip(parts, lengths, strict=True)]
        outcomes: dict[int, str | RunnerError] = {}
        order = sorted(range(len(parts)), key=lambda index: generations[index])
        for generation, group in groupby(order, key=lambda index: generations[index]):
            members = list(group)
            for batch in batches.by_length([lengths[index] for index in members]):
                indices = [members[index] for index in batch]
                results = batches.run([parts[index] for index in indices], partial(self._run_batch, generation))
                outcomes.update(zip(indices, results, strict=True))
        return [outcomes[index] for index in range(len(parts))]

    def _generation(self, task: Task, tokens: int) -> _Generation:
        """Return a task's settings; the minimum length is at most half of the ``tokens`` of its text."""
        max_length = min(task.max_length, self._output_limit)
        min_length = min(self._generation_config.min_length or 0, max_length, tokens // 2)
        code = families.language_code(self._tokenizer, task.language)
        return _Generation(max_length, min_length, task.temperature > 0, code)

    def _run_batch(self, generation: _Generation, tasks: Sequence[Task]) -> list[str]:
        with self._lock, torch.inference_mode():
            return self._summaries(generation, tasks)

    def _summaries(self, generation: _Generation, tasks: Sequence[Task]) -> list[str]:
        rows = self._network.generate(
            **self._inputs(generation, [task.text for task in tasks]),
            generation_config=self._config(generation),
            logits_processor=[GumbelLogitsProcessor.for_tasks(tasks)] if generation.sampled else [],
        )
        return [decode(self._tokenizer, row.tolist(), generation.max_length) for row in rows]

    def _inputs(self, generation: _Generation, texts: list[str]) -> Any:
        if self._source_language:
            self._tokenizer.src_lang = generation.language_code or self._source_language
        encoded = self._tokenizer(
            [self._prefix + text for text in texts],
            padding=True,
            truncation=True,  # of tokens that joining the prefix and a text may add
            max_length=self._input_limit,
            return_tensors="pt",
        ).to(self._device)
        return {"input_ids": encoded.input_ids, "attention_mask": encoded.attention_mask}

    def _config(self, generation: _Generation) -> Any:
        config = copy.deepcopy(self._generation_config)
        config.max_new_tokens, config.min_length = generation.max_length + SPECIAL_TOKENS, generation.min_length
        if generation.sampled:
            config.num_beams, config.early_stopping, config.length_penalty = 1, False, 1.0
        for name, token in families.forced_tokens(self._tokenizer, generation.language_code).items():
            setattr(config, name, token)
        return config
