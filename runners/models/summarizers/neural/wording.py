"""Tokens that were generated, as text that is no longer than was asked for."""

from __future__ import annotations

import copy
import threading
from collections.abc import Sequence
from typing import Any, Final

from runners.models.text.tokens import clean

HALF: Final = "\N{REPLACEMENT CHARACTER}"
"""What a decoder writes for the first bytes of a character whose last ones were not generated."""


def count(tokenizer: Any, text: str) -> int:
    """How many tokens the text has, without any special ones."""
    return len(tokenizer(text, add_special_tokens=False, verbose=False).input_ids)


class Counter:
    """``count`` with a tokenizer of its own, so that cutting a text waits for no batch that is being generated.

    Two threads must not use one tokenizer: how it pads is a state of it.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = copy.deepcopy(tokenizer)
        self._alone = threading.Lock()

    def __call__(self, text: str) -> int:
        """How many tokens the text has, without any special ones."""
        with self._alone:
            return count(self._tokenizer, text)


def written(tokenizer: Any, row: Sequence[int], max_length: int) -> str:
    """The text of a generated row, without special tokens.

    At most ``max_length`` tokens as they were generated, and again when the text is encoded anew: the same letters can
    be more tokens than the model wrote them with.
    """
    special = set(tokenizer.all_special_ids)
    tokens = [token for token in row if token not in special][:max_length]
    text = _decoded(tokenizer, tokens)
    while count(tokenizer, text) > max_length:
        tokens.pop()
        text = _decoded(tokenizer, tokens)
    return text


def _decoded(tokenizer: Any, tokens: list[int]) -> str:
    text: str = tokenizer.decode(tokens, skip_special_tokens=True)
    return clean(text).rstrip(HALF).strip()
