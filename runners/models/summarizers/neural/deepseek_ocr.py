"""The engine that reads pages as pictures: DeepSeek-OCR-2 ("Visual Causal Flow", 2026), as transformers ships it.

A text is first drawn as pages; a page of some 8,000 characters takes about 1,100 tokens of the model. Summaries need a
checkpoint that was fine-tuned to write them: the published checkpoint transcribes.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import torch
from PIL import Image

from runners.errors import PayloadTooLarge, RunnerError
from runners.images import decode
from runners.models.summarizers import batches, passes
from runners.models.summarizers.base import Summarizer, Task
from runners.models.summarizers.guard import raising
from runners.models.summarizers.neural import pages
from runners.models.summarizers.neural.decoding import TokenCounter
from runners.models.summarizers.neural.decoding import decode as decode_tokens
from runners.models.summarizers.neural.loading import Loaded
from runners.models.summarizers.neural.sampling import GumbelLogitsProcessor

PROMPTS: Final = {
    "en": "Summarize this document in English.",
    "fr": "Résume ce document en français.",
    "zh": "请用中文总结这份文档。",
}
OTHER_PROMPT: Final = "Summarize this document in its own language."

MAX_ROWS: Final = 4
"""Maximum number of tasks in a batch: each has thousands of tokens."""

MAX_PROMPT_PAGES: Final = 16
"""Maximum number of pages in a prompt; quality falls long before the context is full."""

MAX_SIDE: Final = 3072
"""Maximum pixels of a picture's longer side: a page's tiles show 2304, and a batch has many pictures."""

NO_REPEAT_NGRAM_SIZE: Final = 35
"""Tokens of an n-gram that is not generated twice: transcription models fall into loops."""


class DeepSeekOcr(Summarizer):
    """Reads pages as they are, and a text as drawn pages; pages beyond one prompt are summarized in parts.

    At temperature 0 the search is greedy; above, it samples with ``GumbelLogitsProcessor``. Summaries do not depend on
    the batch, up to rounding in the model's data type.
    """

    engine = "deepseek-ocr"
    reads_pictures = True

    def __init__(self, loaded: Loaded, font: Path | None = None) -> None:
        """``font`` is the font file for drawing texts; None chooses an installed font."""
        self.model = loaded.checkpoint.shown
        self._network, self._processor = loaded.model, loaded.processor
        self._device, self._dtype, self._font = loaded.device, loaded.dtype, font
        self._tokenizer = loaded.processor.tokenizer
        self._tokenizer.padding_side = "left"  # the decoder continues at the right end of its prompt
        self._context = int(loaded.model.config.text_config.max_position_embeddings)
        self._tokens_per_page = _page_tokens(loaded.processor)
        self._count = TokenCounter(self._tokenizer)
        self._lock = threading.Lock()  # held only while a batch is generated

    def summarize(self, tasks: Sequence[Task]) -> list[str | RunnerError]:
        """Summarize each task's images if it has any, else its text; an error affects its own task alone."""
        return passes.summarize(tasks, self._split, self._generate, self._count)

    def split(self, task: Task) -> list[Task]:
        """Split a task into parts that fit the input, each with its summary's length; waits for no batch."""
        return raising(partial(self._split, task))

    def join(self, task: Task, outcomes: Sequence[str | RunnerError]) -> str | RunnerError | Task:
        """Return the joined summaries of the parts if they are short enough, else the task of the next pass."""
        return passes.join(task, outcomes, self._count)

    def _split(self, task: Task) -> list[Task]:
        """Return tasks of encoded pages, each with as many as its prompt holds."""
        sheets = task.images or tuple(_png(page) for page in pages.render(task.text, self._font))
        capacity = self._prompt_pages(task, task.max_length)
        if len(sheets) <= capacity:
            return [replace(task, text="", images=sheets)]
        length = passes.budget(task, self._context)
        size = self._prompt_pages(task, length)
        if size < 1:
            raise PayloadTooLarge("The model has no room for one page beside a summary of this length.")
        groups = [sheets[start : start + size] for start in range(0, len(sheets), size)]
        return [replace(task, text="", images=group, max_length=length) for group in groups]

    def _prompt_pages(self, task: Task, max_length: int) -> int:
        """Return the number of pages that fit a prompt if the summary has ``max_length`` tokens."""
        free = self._context - max_length - self._count(_prompt(task, 0)) - 2
        return min(MAX_PROMPT_PAGES, free // (self._tokens_per_page + 1))  # each page has a line break

    def _generate(self, parts: Sequence[Task]) -> list[str | RunnerError]:
        outcomes: dict[int, str | RunnerError] = {}
        order = sorted(range(len(parts)), key=lambda index: _generation(parts[index]))
        for generation, group in groupby(order, key=lambda index: _generation(parts[index])):
            members = list(group)
            page_counts = [len(parts[index].images) for index in members]
            for batch in batches.by_length(page_counts, MAX_ROWS, MAX_PROMPT_PAGES):
                indices = [members[index] for index in batch]
                results = batches.run([parts[index] for index in indices], partial(self._run_batch, *generation))
                outcomes.update(zip(indices, results, strict=True))
        return [outcomes[index] for index in range(len(parts))]

    def _run_batch(self, max_length: int, sampled: bool, tasks: Sequence[Task]) -> list[str]:
        with self._lock, torch.inference_mode():
            return self._summaries(max_length, sampled, tasks)

    def _summaries(self, max_length: int, sampled: bool, tasks: Sequence[Task]) -> list[str]:
        inputs = self._inputs(tasks)
        rows = self._network.generate(
            **inputs,
            generation_config=self._config(max_length),
            logits_processor=[GumbelLogitsProcessor.for_tasks(tasks)] if sampled else [],
        )
        start = inputs["input_ids"].shape[1]
        return [decode_tokens(self._tokenizer, row[start:].tolist(), max_length) for row in rows]

    def _inputs(self, tasks: Sequence[Task]) -> Any:
        pictures = [[_picture(image) for image in task.images] for task in tasks]
        prompts = [_prompt(task, len(task.images), self._processor.image_token) for task in tasks]
        inputs = self._processor(images=pictures, text=prompts, padding=True, return_tensors="pt")
        return inputs.to(self._device, dtype=self._dtype)

    def _config(self, max_length: int) -> Any:
        config = copy.deepcopy(self._network.generation_config)
        config.do_sample, config.num_beams, config.no_repeat_ngram_size = False, 1, NO_REPEAT_NGRAM_SIZE
        config.temperature = config.top_k = config.top_p = config.max_length = None
        config.max_new_tokens = max_length + 1  # the end token is not part of the summary
        if config.pad_token_id is None:
            config.pad_token_id = self._tokenizer.pad_token_id
        return config


def _generation(task: Task) -> tuple[int, bool]:
    """Return the settings that must be equal within a batch: the length in tokens, and whether it is sampled."""
    return task.max_length, task.temperature > 0


def _prompt(task: Task, page_count: int, image_token: str = "") -> str:
    """Return the prompt: a line per page, then the instruction, as in the model's own examples."""
    return f"{image_token}\n" * page_count + PROMPTS.get(task.language, OTHER_PROMPT)


def _picture(image: bytes) -> Image.Image:
    picture = decode.decode(image)
    picture.thumbnail((MAX_SIDE, MAX_SIDE))
    return picture


def _page_tokens(processor: Any) -> int:
    """Return the maximum tokens of a picture: the page as a whole, its tiles, and the separator."""
    pictures = processor.image_processor
    step = processor.patch_size * processor.downsample_ratio
    overview, tile = (-(-side // step) for side in (pictures.size["height"], pictures.tile_size))
    return int(overview**2 + tile**2 * pictures.max_patches + 1)


def _png(page: Image.Image) -> bytes:
    file = BytesIO()
    page.save(file, "PNG", compress_level=1)
    return file.getvalue()
