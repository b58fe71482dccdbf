"""The articles that the ranker is trained and measured on, with their reference summaries."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

Part = Literal["train", "measured"]

SOURCES = """the articles are not there. They are JSON lines with "text", "summary" and, in French, "title":
  fr_train.jsonl, fr_val.jsonl   OrangeSum, the abstract task: https://huggingface.co/datasets/EdinburghNLP/orange_sum
                                 or https://github.com/Tixierae/OrangeSum (CC BY-SA 4.0)
  en_extractive.jsonl            BBC news with extracts (Greene and Cunningham 2006; the "BBC News Summary" data set):
                                 a headline, a blank line, and paragraphs
  en_train.jsonl                 CNN and Daily Mail news with the highlights of their editors (Hermann et al. 2015,
                                 https://huggingface.co/datasets/abisee/cnn_dailymail); "source" names the data set"""
HIGHLIGHTS = "cnn_dailymail"
"""Beginning of the sources whose references are several sentences. XSum's single ones say what no sentence says."""
HELD_OUT_EXTRACTS = 3
"""Every third article of the BBC is held out for the measures; the others are trained on."""
HELD_OUT_HIGHLIGHTS = 5
"""Every fifth article with highlights is held out for the measures."""


@dataclass(frozen=True)
class Example:
    """An article and its reference summary."""

    text: str
    summary: str
    title: str | None
    language: str
    extracted: bool = False
    """Whether a program chose the reference from the article's sentences."""


def french(data: Path, part: Part) -> list[Example]:
    """Read OrangeSum's articles. Raises FileNotFoundError with where to get them."""
    return _read(data / ("fr_train.jsonl" if part == "train" else "fr_val.jsonl"), "fr")


def extracts(data: Path, part: Part) -> list[Example]:
    """Read two thirds of the BBC's articles, or the held-out third. Raises as ``french`` does."""
    read = [replace(example, extracted=True) for example in _read(data / "en_extractive.jsonl", "en")]
    return _of_part(read, part, HELD_OUT_EXTRACTS)


def highlights(data: Path, part: Part) -> list[Example]:
    """Read four fifths of the articles with highlights, or the held-out fifth. Raises as ``french`` does."""
    return _of_part(_read(data / "en_train.jsonl", "en", HIGHLIGHTS), part, HELD_OUT_HIGHLIGHTS)


def _of_part(examples: list[Example], part: Part, every: int) -> list[Example]:
    return [row for index, row in enumerate(examples, 1) if (index % every == 0) == (part == "measured")]


def _read(path: Path, language: str, source: str = "") -> list[Example]:
    if not path.is_file():
        raise FileNotFoundError(f"{path.name}: {SOURCES}")
    rows = [json.loads(line) for line in path.read_text("utf-8").split("\n") if line.strip()]
    chosen = [row for row in rows if row.get("source", "").startswith(source)]
    return [Example(row["text"], row["summary"], row.get("title"), language) for row in chosen]
