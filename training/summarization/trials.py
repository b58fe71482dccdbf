"""Trials of ways to run a checkpoint on this machine: speed, memory, and agreement with the original."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from runners.errors import RunnerError
from runners.models.summarizers.base import Summarizer, Task
from runners.models.summarizers.neural import pages
from runners.models.summarizers.neural.checkpoints import Checkpoint
from runners.models.summarizers.neural.deepseek_ocr import DeepSeekOcr
from runners.models.summarizers.neural.loading import Loaded, load
from runners.models.summarizers.neural.seq2seq import Seq2Seq
from runners.models.text.sentences import split

MIN_COSINE = 0.99
"""Minimum mean cosine between a candidate's logits and the original's, at the same tokens."""
MIN_AGREEMENT = 0.95
"""Minimum share of the original's tokens that a candidate must predict."""
WARM_UPS = 2
"""Runs before the timed ones: the first compiles kernels, the second recompiles them for other shapes."""


@dataclass(frozen=True)
class Candidate:
    """A number format, and whether torch.compile makes the kernels."""

    dtype: str
    compiled: bool

    @property
    def name(self) -> str:
        """The name in the table."""
        return f"{self.dtype}, {'compiled' if self.compiled else 'eager'}"


@dataclass(frozen=True)
class Trial:
    """A candidate's figures, or the reason in one line why there are none."""

    candidate: Candidate
    seconds: float = 0.0
    """Median over the runs of the time for all samples."""
    megabytes: float = 0.0
    """On a GPU the peak of the run, on a CPU the weights."""
    cosine: float = 0.0
    agreement: float = 0.0
    failure: str | None = None

    @property
    def agrees(self) -> bool:
        """Whether the outputs agree with the original's."""
        return self.failure is None and self.cosine >= MIN_COSINE and self.agreement >= MIN_AGREEMENT


@dataclass(frozen=True)
class ReferenceOutput:
    """The original's greedy output for a sample: tokens [1, T], and the float32 logits [T, V] that predict them."""

    tokens: Tensor
    logits: Tensor


@dataclass(frozen=True)
class Bench:
    """What all trials have in common: the checkpoint, the samples and the settings."""

    checkpoint: Checkpoint
    samples: Sequence[str]
    max_length: int  # tokens
    runs: int
    threads: int = 0

    def load(self, candidate: Candidate) -> Loaded:
        """Load the checkpoint with the candidate's settings. Raises CheckpointError."""
        return load(self.checkpoint, precision=candidate.dtype, compiled=candidate.compiled, threads=self.threads)

    def original(self) -> list[ReferenceOutput]:
        """Return the original's outputs for the samples, in float32. Raises CheckpointError."""
        loaded = self.load(Candidate("float32", compiled=False))
        return [self._reference_output(loaded, sample) for sample in self.samples]

    def attempt(self, candidate: Candidate, original: Sequence[ReferenceOutput]) -> Trial:
        """Measure the candidate; never raises."""
        _free_memory()
        try:
            return self._measure(candidate, original)
        except Exception as error:  # compilers, kernels and memory fail in many ways; other candidates still run
            return Trial(candidate, failure=one_line(error))

    def _measure(self, candidate: Candidate, original: Sequence[ReferenceOutput]) -> Trial:
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        loaded = self.load(candidate)
        pairs = list(zip(self.samples, original, strict=True))
        # Before the timed runs, because an engine would hide a compiler's error.
        logits = [_teacher_forced(loaded, _inputs(loaded, sample), output.tokens) for sample, output in pairs]
        seconds = self._median_seconds(loaded)
        cosines = [torch.cosine_similarity(a, b.logits, dim=-1).mean() for a, b in zip(logits, original, strict=True)]
        same = [(a.argmax(-1) == b.logits.argmax(-1)).float().mean() for a, b in zip(logits, original, strict=True)]
        return Trial(candidate, seconds, _megabytes(loaded), _mean(cosines), _mean(same))

    def _median_seconds(self, loaded: Loaded) -> float:
        engine = _engine(loaded)
        for _ in range(WARM_UPS):
            self._run(engine)
        return statistics.median(_timed(lambda: self._run(engine)) for _ in range(self.runs))

    def _run(self, engine: Summarizer) -> None:
        """Summarize the samples one at a time."""
        for sample in self.samples:
            (outcome,) = engine.summarize([Task(sample, self.max_length, 0.0, "en")])
            if isinstance(outcome, RunnerError):
                raise outcome

    @torch.inference_mode()
    def _reference_output(self, loaded: Loaded, sample: str) -> ReferenceOutput:
        inputs = _inputs(loaded, sample)
        rows = loaded.model.generate(**inputs, do_sample=False, num_beams=1, max_new_tokens=self.max_length)
        start = 0 if loaded.checkpoint.kind == "seq2seq" else inputs["input_ids"].shape[1]
        tokens = rows[:, start:]
        return ReferenceOutput(tokens, _teacher_forced(loaded, inputs, tokens))


def _free_memory() -> None:
    """Free the previous candidate's network, kernels and GPU memory."""
    gc.collect()  # networks and their kernels refer to each other
    torch._dynamo.reset()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def one_line(error: Exception) -> str:
    """Return a failure in one line for a table: the class and the first line that is not empty."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no reason given'}"[:160]


def _engine(loaded: Loaded) -> Summarizer:
    return Seq2Seq(loaded, split) if loaded.checkpoint.kind == "seq2seq" else DeepSeekOcr(loaded)


def _inputs(loaded: Loaded, sample: str) -> dict[str, Any]:
    if loaded.checkpoint.kind == "seq2seq":
        limit = min(loaded.processor.model_max_length, 512)
        encoded = loaded.processor(sample, truncation=True, max_length=limit, return_tensors="pt").to(loaded.device)
        return {"input_ids": encoded.input_ids, "attention_mask": encoded.attention_mask}
    page = next(pages.render(sample)).convert("RGB")
    return dict(
        loaded.processor(images=page, text="<image>\nSummarize this document in English.", return_tensors="pt").to(
            loaded.device, dtype=loaded.dtype
        )
    )


@torch.inference_mode()
def _teacher_forced(loaded: Loaded, inputs: dict[str, Any], tokens: Tensor) -> Tensor:
    """The logits that predict each of the given tokens [1, T], float32 [T, V] on the CPU."""
    if loaded.checkpoint.kind == "seq2seq":
        output = loaded.model(**inputs, decoder_input_ids=tokens)
        return _on_cpu(output.logits[0, :-1])
    start = inputs["input_ids"].shape[1]
    sequence = torch.cat([inputs["input_ids"], tokens], dim=1)
    rest = {name: value for name, value in inputs.items() if name not in ("input_ids", "attention_mask")}
    return _on_cpu(loaded.model(input_ids=sequence, **rest).logits[0, start - 1 : -1])


def _on_cpu(logits: Tensor) -> Tensor:
    return logits.float().cpu()


def _megabytes(loaded: Loaded) -> float:
    if loaded.device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    return float(sum(parameter.numel() * parameter.element_size() for parameter in loaded.model.parameters()) / 1e6)


def _timed(run: Callable[[], None]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _mean(values: Sequence[Tensor]) -> float:
    return float(torch.stack(list(values)).mean())


def texts(path: Path | None, default: str) -> list[str]:
    """Return a file's paragraphs, or the default once, twice and four times. Raises OSError, ValueError."""
    if path is None:
        return [default, "\n\n".join([default] * 2), "\n\n".join([default] * 4)]
    paragraphs = [part.strip() for part in path.read_text("utf-8").split("\n\n") if part.strip()]
    if not paragraphs:
        raise ValueError(f"{path} holds no text.")
    return paragraphs
