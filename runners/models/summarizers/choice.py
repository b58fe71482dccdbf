"""Chooses the engine: the requested engine, or the checkpoint's; without a checkpoint, the extractive engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from runners.models.summarizers.base import Summarizer
from runners.models.summarizers.neural import checkpoints
from runners.models.summarizers.neural.checkpoints import Checkpoint, CheckpointError

ENGINES: Final = ("auto", "extractive", "seq2seq", "deepseek-ocr")


def choose(  # noqa: PLR0913 - one argument per setting
    engine: str,
    model_path: str | None,
    *,
    extractive: Callable[[], Summarizer],
    trust_remote_code: bool = False,
    precision: str = "auto",
    threads: int = 0,
    font: Path | None = None,
) -> Summarizer:
    """Return the engine with its model loaded; ``auto`` is the checkpoint's, or ``extractive()`` without a checkpoint.

    ``model_path`` is a folder or a hub name, ``font`` the font file of deepseek-ocr; ``precision`` and ``threads`` are
    those of ``loading.load``. Raises CheckpointError, a ValueError of one sentence.
    """
    checkpoint = find_checkpoint(engine, model_path, trust_remote_code=trust_remote_code)
    return extractive() if checkpoint is None else _neural(checkpoint, precision, threads, font)


def find_checkpoint(engine: str, model_path: str | None, *, trust_remote_code: bool = False) -> Checkpoint | None:
    """Return the checkpoint that ``choose`` would load, downloaded but not loaded. Raises CheckpointError."""
    _check(engine, model_path)
    if not model_path:
        return None
    checkpoint = checkpoints.find(model_path, trust_remote_code=trust_remote_code)
    if engine not in ("auto", checkpoint.kind):
        raise CheckpointError(f"{model_path} is a {checkpoint.kind} checkpoint, and the engine asked for is {engine}.")
    return checkpoint


def _check(engine: str, model_path: str | None) -> None:
    if engine not in ENGINES:
        raise CheckpointError(f"There is no engine {engine}; there are {', '.join(ENGINES)}.")
    if engine == "extractive" and model_path:
        raise CheckpointError(f"The engine extractive takes no checkpoint, and {model_path} was given.")
    if engine in ("seq2seq", "deepseek-ocr") and not model_path:
        raise CheckpointError(f"The engine {engine} needs a checkpoint, and none was given.")


def _neural(checkpoint: Checkpoint, precision: str, threads: int, font: Path | None) -> Summarizer:
    from runners.models.summarizers.neural.loading import load

    loaded = load(checkpoint, precision=precision, threads=threads)
    if checkpoint.kind == "deepseek-ocr":
        from runners.models.summarizers.neural.deepseek_ocr import DeepSeekOcr

        return DeepSeekOcr(loaded, font)
    from runners.models.summarizers.neural.seq2seq import Seq2Seq
    from runners.models.text.sentences import split

    return Seq2Seq(loaded, split)
