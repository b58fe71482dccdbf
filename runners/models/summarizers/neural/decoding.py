"""Counts tokens, and decodes generated tokens to text within a limit."""

from __future__ import annotations

import copy
import threading
from collections.abc import Sequence
from typing import Any, Final

from runners.models.text.tokens import clean

REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
"""Decoded form of the first bytes of a character whose last bytes were not generated."""


def count_tokens(tokenizer: Any, text: str) -> int:
    """Return the number of tokens in the text, without special ones."""
    return len(tokenizer(text, add_special_tokens=False, verbose=False).input_ids)


class TokenCounter:
    """``count_tokens`` with a copy of the tokenizer, so that splitting a text does not wait for a running batch.

    Two threads must not share a tokenizer: its padding is state.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = copy.deepcopy(tokenizer)
        self._lock = threading.Lock()

    def __call__(self, text: str) -> int:
        """Return the number of tokens in the text, without special ones."""
        with self._lock:
            return count_tokens(self._tokenizer, text)


def decode(tokenizer: Any, row: Sequence[int], max_length: int) -> str:
    """Return the text of a generated row, without special tokens.

    It has at most ``max_length`` tokens, both as generated and when encoded again: encoding can need more tokens for
    the same letters than the model generated.
    """
    special = set(tokenizer.all_special_ids)
    tokens = [token for token in row if token not in special][:max_length]
    text = _text(tokenizer, tokens)
    while count_tokens(tokenizer, text) > max_length:
        tokens.pop()
        text = _text(tokenizer, tokens)
    return text


def _text(tokenizer: Any, tokens: list[int]) -> str:
    text: str = tokenizer.decode(tokens, skip_special_tokens=True)
    return clean(text).rstrip(REPLACEMENT).strip()
