"""How does each family of encoder-decoders want to be asked? Prefixes, language codes, limits and search settings."""

from __future__ import annotations

import copy
from typing import Any, Final

from runners.models.summarizers.neural.checkpoints import Checkpoint

PREFIXES: Final = {"t5": "summarize: "}
"""What was written before a text in training, by model type, where the config does not say it."""

UNBOUNDED: Final = 512
"""Tokens of an encoder's input where neither tokenizer nor config bounds it: what T5's relatives were trained on."""

NO_LIMIT: Final = 1_000_000
"""Tokenizers without a limit say a number of thirty digits."""

POSITIONS: Final = ("max_encoder_position_embeddings", "max_position_embeddings", "n_positions")
DECODER_POSITIONS: Final = ("max_decoder_position_embeddings", "max_position_embeddings")

SEARCH: Final = ("num_beams", "length_penalty", "early_stopping", "no_repeat_ngram_size", "min_length")
"""What a config may say under ``task_specific_params.summarization``."""


def prefix(checkpoint: Checkpoint) -> str:
    """What stands before every text."""
    said = _task_params(checkpoint).get("prefix")
    return said if isinstance(said, str) else PREFIXES.get(str(checkpoint.config.get("model_type")), "")


def input_limit(tokenizer: Any, config: Any) -> int:
    """Tokens of the encoder's input, special ones included."""
    said = next((getattr(config, name) for name in POSITIONS if isinstance(getattr(config, name, None), int)), NO_LIMIT)
    limit = min(int(tokenizer.model_max_length), said)
    return limit if limit < NO_LIMIT else UNBOUNDED


def output_limit(config: Any) -> int:
    """Tokens that the decoder has positions for, its start included; ``NO_LIMIT`` where positions are relative."""
    found = (getattr(config, name, None) for name in DECODER_POSITIONS)
    return next((value for value in found if isinstance(value, int)), NO_LIMIT)


def code(tokenizer: Any, language: str) -> str:
    """The tokenizer's code of a language, such as ``fr_XX``; empty where it has none."""
    codes = getattr(tokenizer, "lang_code_to_id", None) or {}
    return next((one for one in codes if one.partition("_")[0] == language), "")


def generation(checkpoint: Checkpoint, model: Any) -> Any:
    """The checkpoint's own search (beams, penalties) without its sampling and its lengths."""
    config = copy.deepcopy(model.generation_config)
    for name, value in _task_params(checkpoint).items():
        if name in SEARCH:
            setattr(config, name, value)
    config.do_sample = False
    config.temperature = config.top_k = config.top_p = config.max_length = config.min_new_tokens = None
    return config


def forced(tokenizer: Any, language_code: str) -> dict[str, int]:
    """How the target's language is said: the first generated token, or, in the first mBART, the decoder's start."""
    if not language_code:
        return {}
    token = int(tokenizer.convert_tokens_to_ids(language_code))
    starts = type(tokenizer).__name__.startswith("MBartTokenizer")
    return {"decoder_start_token_id": token} if starts else {"forced_bos_token_id": token}


def _task_params(checkpoint: Checkpoint) -> dict[str, Any]:
    params = checkpoint.config.get("task_specific_params")
    said = params.get("summarization") if isinstance(params, dict) else None
    return said if isinstance(said, dict) else {}
