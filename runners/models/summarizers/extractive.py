"""The engine without a checkpoint: selects the sentences that summarize a text best, in order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import ClassVar, Final

from runners.errors import RunnerError
from runners.models.summarizers.base import Summarizer, Task
from runners.models.summarizers.guard import guarded
from runners.models.summarizers.length import extended, least_tokens
from runners.models.summarizers.ranker import Ranker, RankerWeights
from runners.models.summarizers.ranker_features import Article, terms_of
from runners.models.text.language import UNDETERMINED, detect
from runners.models.text.prose import without_lists, without_runs
from runners.models.text.sentences import paragraphs
from runners.models.text.tokens import CJK, clean, cut, tokens

BRIEF_LANGUAGES: Final = frozenset({"fr"})
"""Languages whose training references are abstracts of one or two sentences; other languages get longer extracts."""

SHORT_TEXT_TOKENS: Final = 40
"""Tokens up to which a text is its own summary."""
MAX_HEADING_TOKENS: Final = 25
"""Tokens up to which a first paragraph without a full stop is the title."""
MIN_SCORE_RATIO: Final = 0.7
"""Share of the best sentence's score from which shorter sentences replace it."""
MAX_SENTENCES: Final = 20_000
"""Sentences of a text that are ranked; later ones are ignored."""
_ENDS_SENTENCE = re.compile(r"[.!?。！？…:;,][\"'”’»›」』）)\]]*$")
_ENDS_WITH_CJK = re.compile(rf"[{CJK}。！？、，；：”’」』）…]$")


class Extractive(Summarizer):
    """Ranks sentences with a small trained network on the CPU; does not load torch."""

    engine: ClassVar[str] = "extractive"
    ignored_parameters: ClassVar[tuple[str, ...]] = ("temperature",)
    thread_safe: ClassVar[bool] = True

    def __init__(self, weights: RankerWeights, model: str) -> None:
        self.model = model
        self._ranker = Ranker(weights)

    def summarize(self, tasks: Sequence[Task]) -> list[str | RunnerError]:
        """Summarize one task after the other; a text without words is only cut to the limit."""
        return [guarded(partial(self._summary, task)) for task in tasks]

    def _summary(self, task: Task) -> str:
        text = " ".join(clean(task.text).split())
        if tokens(text) <= min(SHORT_TEXT_TOKENS, task.max_length):
            return text
        article = article_of(task)
        sizes = [tokens(sentence) for sentence in article.sentences]
        if not any(terms_of(sentence) for sentence in article.sentences):
            return cut(text, task.max_length)
        scored = self._ranker.score(article)
        chosen = self._ranker.choose(scored, sizes, task.max_length)
        best = int(scored.scores.argmax())
        # At a small limit, the beginning of the best sentence is better than a complete weaker sentence.
        too_long = sizes[best] > task.max_length
        if not chosen or (too_long and scored.scores[chosen].max() < MIN_SCORE_RATIO * scored.scores[best]):
            return cut(article.sentences[best], task.max_length)
        chosen = extended(scored, sizes, chosen, least_tokens(sum(sizes), task.max_length), task.max_length)
        return join_sentences([article.sentences[row] for row in chosen])


def article_of(task: Task) -> Article:
    """Return a task's text prepared for ranking; without a title, a heading at its beginning becomes the title."""
    language = detect(task.text) if task.language == UNDETERMINED else task.language
    blocks = paragraphs(without_lists(task.text), language, MAX_SENTENCES + 1)  # one may be the title
    title = " ".join(clean(task.title or "").split())
    if len(blocks) > 1 and _is_heading(blocks[0]):
        title = title or blocks[0][0]
        blocks = blocks[1:]
    blocks = without_runs(blocks)
    # Page headers and footers repeat, so only the first occurrence of a sentence counts.
    placed = [(sentence, place == 0) for block in blocks for place, sentence in enumerate(block)]
    first = dict(reversed(placed))
    sentences = list(dict.fromkeys(sentence for sentence, _ in placed))
    openings = [first[sentence] for sentence in sentences]
    return Article(sentences[:MAX_SENTENCES], openings[:MAX_SENTENCES], title, language not in BRIEF_LANGUAGES)


def join_sentences(sentences: Sequence[str]) -> str:
    """Return the sentences joined by spaces, except after Chinese or Japanese."""
    text = ""
    for sentence in sentences:
        text += sentence if not text or _ENDS_WITH_CJK.search(text) else f" {sentence}"
    return text


def _is_heading(block: list[str]) -> bool:
    return len(block) == 1 and tokens(block[0]) <= MAX_HEADING_TOKENS and not _ENDS_SENTENCE.search(block[0])
