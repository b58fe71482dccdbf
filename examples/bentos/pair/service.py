"""Two services in one Bento: the outer one asks the inner one, which runs in a process of its own."""

from __future__ import annotations

import os
import re
from collections import Counter

import bentoml


# BentoML closes its session to another service every 100 calls, also under calls in flight, which then fail with 500.
@bentoml.service(runner_connection={"max_requests": 10**9, "max_age": 1e9})
class Words:
    """Splits texts."""

    @bentoml.api
    def split(self, text: str) -> list[str]:
        """Return the words, in small letters."""
        return re.findall(r"\w+", text.lower())

    @bentoml.api
    def process(self) -> int:
        """Return the number of the process."""
        return os.getpid()


@bentoml.service
class Keywords:
    """Finds what a text is about."""

    words = bentoml.depends(Words)

    @bentoml.api
    def rank(self, text: str, top: int = 3, shortest: int = 4) -> list[str]:
        """Return the most frequent words that have that many letters at least."""
        found = Counter(word for word in self.words.split(text) if len(word) >= shortest)
        return [word for word, _ in found.most_common(top)]

    @bentoml.api
    def processes(self) -> dict[str, int]:
        """Return the numbers of both processes."""
        return {"keywords": os.getpid(), "words": self.words.process()}
