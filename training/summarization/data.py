"""The articles that the ranker is trained and measured on, with their reference summaries."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Part = Literal["train", "measured"]

SOURCES = """the articles are not there. They are JSON lines with "text", "summary" and, in French, "title":
  fr_train.jsonl, fr_val.jsonl   OrangeSum, the abstract task: https://huggingface.co/datasets/EdinburghNLP/orange_sum
                                 or https://github.com/Tixierae/OrangeSum (CC BY-SA 4.0)
  en_extractive.jsonl            BBC news with extracts (Greene and Cunningham 2006; the "BBC News Summary" data set):
                                 a headline, a blank line, and paragraphs"""
HELD_OUT_EVERY = 3
"""Every third English article is held out for the measures; the others are trained on."""


@dataclass(frozen=True)
class Example:
    """An article and its reference summary."""

    text: str
    summary: str
    title: str | None
    language: str


def french(data: Path, part: Part) -> list[Example]:
    """Read OrangeSum's articles. Raises FileNotFoundError with where to get them."""
    return _read(data / ("fr_train.jsonl" if part == "train" else "fr_val.jsonl"), "fr")


def english(data: Path, part: Part) -> list[Example]:
    """Read two thirds of the BBC's articles, or the held-out third. Raises as ``french`` does."""
    examples = _read(data / "en_extractive.jsonl", "en")
    return [row for index, row in enumerate(examples, 1) if (index % HELD_OUT_EVERY == 0) == (part == "measured")]


def _read(path: Path, language: str) -> list[Example]:
    if not path.is_file():
        raise FileNotFoundError(f"{path.name}: {SOURCES}")
    rows = [json.loads(line) for line in path.read_text("utf-8").split("\n") if line.strip()]
    return [Example(row["text"], row["summary"], row.get("title"), language) for row in rows]
