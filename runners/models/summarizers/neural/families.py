"""The conventions of each family of encoder-decoders: prefixes, language codes, length limits and search settings."""

from __future__ import annotations

import copy
from typing import Any, Final

from runners.models.summarizers.neural.checkpoints import Checkpoint

PREFIXES: Final = {"t5": "summarize: "}
"""Prefix of every text in training, by model type, for checkpoints whose config has none."""

DEFAULT_INPUT_TOKENS: Final = 512
"""Tokens of an encoder's input where neither tokenizer nor config limits it: the length that T5 was trained on."""

UNLIMITED: Final = 1_000_000
"""Tokens from which a limit counts as none; a tokenizer without a limit has a number of thirty digits."""

POSITIONS: Final = ("max_encoder_position_embeddings", "max_position_embeddings", "n_positions")
DECODER_POSITIONS: Final = ("max_decoder_position_embeddings", "max_position_embeddings")

SEARCH: Final = ("num_beams", "length_penalty", "early_stopping", "no_repeat_ngram_size", "min_length")
"""Generation settings that are taken from a config's ``task_specific_params.summarization``."""


def prefix(checkpoint: Checkpoint) -> str:
    """Return the text that precedes every input."""
    configured = _task_params(checkpoint).get("prefix")
    return configured if isinstance(configured, str) else PREFIXES.get(str(checkpoint.config.get("model_type")), "")


def input_limit(tokenizer: Any, config: Any) -> int:
    """Return the tokens of the encoder's input, special ones included."""
    limit = min(int(tokenizer.model_max_length), _first_integer(config, POSITIONS))
    return limit if limit < UNLIMITED else DEFAULT_INPUT_TOKENS


def output_limit(config: Any) -> int:
    """Return the positions of the decoder, its start token included; ``UNLIMITED`` for relative positions."""
    return _first_integer(config, DECODER_POSITIONS)


def _first_integer(config: Any, names: tuple[str, ...]) -> int:
    values = (getattr(config, name, None) for name in names)
    return next((value for value in values if isinstance(value, int)), UNLIMITED)


def language_code(tokenizer: Any, language: str) -> str:
    """Return the tokenizer's code of a language, such as ``fr_XX``; empty if it has none."""
    codes = getattr(tokenizer, "lang_code_to_id", None) or {}
    return next((code for code in codes if code.partition("_")[0] == language), "")


def generation_config(checkpoint: Checkpoint, model: Any) -> Any:
    """Return the checkpoint's generation config with its search (beams, penalties), without sampling and lengths."""
    config = copy.deepcopy(model.generation_config)
    for name, value in _task_params(checkpoint).items():
        if name in SEARCH:
            setattr(config, name, value)
    config.do_sample = False
    config.temperature = config.top_k = config.top_p = config.max_length = config.min_new_tokens = None
    return config


def forced_tokens(tokenizer: Any, code: str) -> dict[str, int]:
    """Return the setting that selects the target language: the first generated token, or the start token of mBART."""
    if not code:
        return {}
    token = int(tokenizer.convert_tokens_to_ids(code))
    starts = type(tokenizer).__name__.startswith("MBartTokenizer")
    return {"decoder_start_token_id": token} if starts else {"forced_bos_token_id": token}


def _task_params(checkpoint: Checkpoint) -> dict[str, Any]:
    params = checkpoint.config.get("task_specific_params")
    summarization = params.get("summarization") if isinstance(params, dict) else None
    return summarization if isinstance(summarization, dict) else {}
