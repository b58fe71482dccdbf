"""A Bento that stays with BentoML 1.3."""

from __future__ import annotations

import bentoml


@bentoml.service
class Legacy:
    """Tells which BentoML it runs on."""

    @bentoml.api
    def version(self) -> str:
        """Return BentoML's version."""
        return bentoml.__version__

    @bentoml.api
    def join(self, words: list[str], separator: str = " ") -> str:
        """Return the words as one text."""
        return separator.join(words)
