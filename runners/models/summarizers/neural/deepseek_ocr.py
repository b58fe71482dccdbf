"""The engine that reads pages as pictures: DeepSeek-OCR-2 ("Visual Causal Flow", 2026), as transformers ships it.

A text is drawn as pages first, so that a page of some 8,000 characters is about 1,100 tokens of the model. Summaries
need a checkpoint that was fine-tuned to write them: the published one transcribes.
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
from runners.models.summarizers.neural.loading import Loaded
from runners.models.summarizers.neural.sampling import SeededSampling
from runners.models.summarizers.neural.wording import Counter, written

PROMPTS: Final = {
    "en": "Summarize this document in English.",
    "fr": "Résume ce document en français.",
    "zh": "请用中文总结这份文档。",
}
OTHER: Final = "Summarize this document in its own language."

ROWS: Final = 4
"""Tasks of one batch, at most: each is thousands of tokens long."""

PAGES: Final = 16
"""Pages in one prompt, at most; quality falls long before the context ends."""

LARGEST: Final = 3072
"""Pixels of a picture's longer side, at most: a page's tiles show 2304, and a batch is many pictures."""

REPEATED: Final = 35
"""Tokens of a run that may not be generated twice: transcription models fall into loops."""


class DeepSeekOcr(Summarizer):
    """Pages are read as they are, and a text is drawn as pages; more than a prompt holds are summarized in parts.

    At temperature 0 it is greedy; above, it samples by ``SeededSampling``. Summaries do not depend on the batch, up to
    the rounding of the numbers computed in.
    """

    engine = "deepseek-ocr"
    reads_pictures = True

    def __init__(self, loaded: Loaded, font: Path | None = None) -> None:
        """``font`` is the file that texts are drawn with; None chooses an installed one."""
        self.model = loaded.checkpoint.shown
        self._network, self._processor = loaded.model, loaded.processor
        self._device, self._dtype, self._font = loaded.device, loaded.dtype, font
        self._tokenizer = loaded.processor.tokenizer
        self._tokenizer.padding_side = "left"  # a decoder continues at the end of its prompt
        self._context = int(loaded.model.config.text_config.max_position_embeddings)
        self._page = _page_tokens(loaded.processor)
        self._count = Counter(self._tokenizer)
        self._alone = threading.Lock()  # held only while a batch is generated

    def summarize(self, tasks: Sequence[Task]) -> list[str | RunnerError]:
        """Reads a task's images where it has some, else its text; an error harms its own task alone."""
        return passes.summarize(tasks, self._split, self._generate, self._count)

    def split(self, task: Task) -> list[Task]:
        """Split a task into parts that fit the input, each with its summary's length; waits for no batch."""
        return raising(partial(self._split, task))

    def joined(self, task: Task, said: Sequence[str | RunnerError]) -> str | RunnerError | Task:
        """Return the parts' summaries where they are short enough together, else the task of the next pass."""
        return passes.joined(task, said, self._count)

    def _split(self, task: Task) -> list[Task]:
        """Tasks of encoded pages, as many a task as its prompt holds."""
        sheets = task.images or tuple(_png(page) for page in pages.render(task.text, self._font))
        capacity = self._most(task, task.max_length)
        if len(sheets) <= capacity:
            return [replace(task, text="", images=sheets)]
        length = passes.budget(task, self._context)
        size = self._most(task, length)
        if size < 1:
            raise PayloadTooLarge("The model has no room for one page beside a summary of this length.")
        groups = [sheets[start : start + size] for start in range(0, len(sheets), size)]
        return [replace(task, text="", images=group, max_length=length) for group in groups]

    def _most(self, task: Task, max_length: int) -> int:
        """Return how many pages a prompt holds besides a summary of this length."""
        free = self._context - max_length - self._count(_prompt(task, 0)) - 2
        return min(PAGES, free // (self._page + 1))  # each page ends its line

    def _generate(self, parts: Sequence[Task]) -> list[str | RunnerError]:
        outcomes: dict[int, str | RunnerError] = {}
        order = sorted(range(len(parts)), key=lambda index: _search(parts[index]))
        for search, group in groupby(order, key=lambda index: _search(parts[index])):
            members = list(group)
            for batch in batches.by_length([len(parts[index].images) for index in members], ROWS, PAGES):
                indices = [members[index] for index in batch]
                results = batches.run([parts[index] for index in indices], partial(self._batch, *search))
                outcomes.update(zip(indices, results, strict=True))
        return [outcomes[index] for index in range(len(parts))]

    def _batch(self, max_length: int, sampled: bool, tasks: Sequence[Task]) -> list[str]:
        with self._alone, torch.inference_mode():
            return self._written(max_length, sampled, tasks)

    def _written(self, max_length: int, sampled: bool, tasks: Sequence[Task]) -> list[str]:
        inputs = self._inputs(tasks)
        rows = self._network.generate(
            **inputs,
            generation_config=self._config(max_length),
            logits_processor=[SeededSampling.of(tasks)] if sampled else [],
        )
        start = inputs["input_ids"].shape[1]
        return [written(self._tokenizer, row[start:].tolist(), max_length) for row in rows]

    def _inputs(self, tasks: Sequence[Task]) -> Any:
        decoded = [[_decoded(image) for image in task.images] for task in tasks]
        prompts = [_prompt(task, len(task.images), self._processor.image_token) for task in tasks]
        inputs = self._processor(images=decoded, text=prompts, padding=True, return_tensors="pt")
        return inputs.to(self._device, dtype=self._dtype)

    def _config(self, max_length: int) -> Any:
        config = copy.deepcopy(self._network.generation_config)
        config.do_sample, config.num_beams, config.no_repeat_ngram_size = False, 1, REPEATED
        config.temperature = config.top_k = config.top_p = config.max_length = None
        config.max_new_tokens = max_length + 1  # the end token is not part of the summary
        if config.pad_token_id is None:
            config.pad_token_id = self._tokenizer.pad_token_id
        return config


def _search(task: Task) -> tuple[int, bool]:
    """Return the settings that must be equal within a batch."""
    return task.max_length, task.temperature > 0


def _prompt(task: Task, pictures: int, mark: str = "") -> str:
    """Return the prompt: a line per page, then the instruction, as in the model's own examples."""
    return f"{mark}\n" * pictures + PROMPTS.get(task.language, OTHER)


def _decoded(image: bytes) -> Image.Image:
    picture = decode.decode(image)
    picture.thumbnail((LARGEST, LARGEST))
    return picture


def _page_tokens(processor: Any) -> int:
    """Return the maximum tokens of a picture: the whole page, its tiles, and the mark between them."""
    pictures = processor.image_processor
    step = processor.patch_size * processor.downsample_ratio
    overview, tile = (-(-side // step) for side in (pictures.size["height"], pictures.tile_size))
    return int(overview**2 + tile**2 * pictures.max_patches + 1)


def _png(page: Image.Image) -> bytes:
    file = BytesIO()
    page.save(file, "PNG", compress_level=1)
    return file.getvalue()
