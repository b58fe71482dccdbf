"""Small checkpoints with random weights and trained tokenizers, which load like published checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

CORPUS = [
    "The cat sat on the mat and looked at the sea. Summarize this document in English, please!",
    "Le chat dort sur la table et regarde la mer. Résume ce document en français, s'il te plaît !",
    "一只猫坐在垫子上，看着大海。请用中文总结这份文件。城市今天公布了新的计划，市民可以提出意见。",
    "The city council published a new plan on Monday; 42 citizens may object within 3 weeks.",
    "La mairie a publié lundi un nouveau plan ; 42 citoyens peuvent s'y opposer pendant 3 semaines.",
] * 3

ALPHABET = [chr(code) for code in range(32, 127)]


def bart(folder: Path, seed: int = 0, **config: Any) -> Path:
    """BART: byte-level BPE, learned positions (128), beam search by its generation config."""
    vocabulary, merges = _bpe(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    tokenizer = transformers.RobertaTokenizer(vocab=vocabulary, merges=merges, model_max_length=128)
    shape = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2} | _sides()
    configuration = transformers.BartConfig(
        vocab_size=len(tokenizer), max_position_embeddings=128, forced_eos_token_id=2, init_std=0.2, **shape | config
    )
    return _write(folder, transformers.BartForConditionalGeneration, configuration, tokenizer, seed, num_beams=2)


def with_code(folder: Path) -> None:
    """Add custom code to a BART checkpoint; it behaves like BART."""
    (folder / "own.py").write_text(
        "from transformers import BartConfig, BartForConditionalGeneration\n\n\n"
        'class OwnConfig(BartConfig):\n    model_type = "own"\n\n\n'
        "class Own(BartForConditionalGeneration):\n    config_class = OwnConfig\n"
    )
    path = folder / "config.json"
    named = {"AutoConfig": "own.OwnConfig", "AutoModelForSeq2SeqLM": "own.Own"}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_type": "own", "auto_map": named}))


def t5(folder: Path, seed: int = 0, **config: Any) -> Path:
    """T5: unigrams, relative positions."""
    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *_unigrams()]
    tokenizer = transformers.T5Tokenizer(vocab=vocab, extra_ids=4, model_max_length=96)
    configuration = transformers.T5Config(
        vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, n_positions=96,
        initializer_factor=4.0, decoder_start_token_id=0, **config,
    )  # fmt: skip
    return _write(folder, transformers.T5ForConditionalGeneration, configuration, tokenizer, seed)


def pegasus(folder: Path, seed: int = 0) -> Path:
    """PEGASUS: unigrams, sinusoidal positions (96)."""
    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<mask_1>", 0.0), ("<mask_2>", 0.0), ("<unk>", 0.0), *_unigrams()]
    tokenizer = transformers.PegasusTokenizer(vocab=vocab, offset=5, model_max_length=96)
    configuration = transformers.PegasusConfig(
        vocab_size=len(tokenizer), max_position_embeddings=96, pad_token_id=0, eos_token_id=1,
        decoder_start_token_id=0, forced_eos_token_id=1, init_std=0.2, **_sides(),
    )  # fmt: skip
    return _write(folder, transformers.PegasusForConditionalGeneration, configuration, tokenizer, seed)


def mbart(folder: Path, seed: int = 0) -> Path:
    """mBART: unigrams, language codes after the source's text and at the target's start."""
    vocab = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *_unigrams()]
    tokenizer = transformers.MBartTokenizer(vocab=vocab, src_lang="en_XX", tgt_lang="en_XX", model_max_length=128)
    configuration = transformers.MBartConfig(
        vocab_size=len(tokenizer), max_position_embeddings=128, bos_token_id=0, pad_token_id=1, eos_token_id=2,
        decoder_start_token_id=tokenizer.convert_tokens_to_ids("en_XX"), forced_eos_token_id=2,
        init_std=0.2, **_sides(),
    )  # fmt: skip
    return _write(folder, transformers.MBartForConditionalGeneration, configuration, tokenizer, seed)


def mbart50(folder: Path, seed: int = 0) -> Path:
    """mBART-50: language codes before both texts, the target's as the first word that is generated."""
    vocab = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *_unigrams()]
    tokenizer = transformers.MBart50Tokenizer(vocab=vocab, src_lang="en_XX", tgt_lang="en_XX", model_max_length=128)
    configuration = transformers.MBartConfig(
        vocab_size=len(tokenizer), max_position_embeddings=128, bos_token_id=0, pad_token_id=1, eos_token_id=2,
        decoder_start_token_id=2, forced_eos_token_id=2, init_std=0.2, **_sides(),
    )  # fmt: skip
    return _write(folder, transformers.MBartForConditionalGeneration, configuration, tokenizer, seed)


def deepseek_ocr2(folder: Path, seed: int = 0, positions: int = 2048) -> Path:
    """DeepSeek-OCR-2 at a sixteenth of its size: a tile of 48 pixels is 144 tokens, a page of 64 pixels 256."""
    tokenizer = _deepseek_tokenizer()
    configuration = transformers.DeepseekOcr2Config(
        vision_config={
            "sam_config": {
                "hidden_size": 16, "output_channels": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
                "image_size": 64, "patch_size": 1, "window_size": 8, "global_attn_indexes": [],
                "downsample_channels": [8, 16], "initializer_range": 0.1,
            },
            "encoder_config": {
                "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
                "num_key_value_heads": 2, "max_position_embeddings": 1024, "vocab_size": 8, "initializer_range": 0.2,
            },
        },
        text_config={
            "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
            "num_key_value_heads": 2, "max_position_embeddings": positions, "vocab_size": len(tokenizer),
            "n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2, "moe_intermediate_size": 16,
            "mlp_layer_types": ["dense", "sparse"], "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2,
            "initializer_range": 0.2,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    pictures = transformers.DeepseekOcr2ImageProcessorPil(size={"height": 64, "width": 64}, tile_size=48)
    processor = transformers.DeepseekOcr2Processor(pictures, tokenizer, patch_size=1, downsample_ratio=4)
    return _write(folder, transformers.DeepseekOcr2ForConditionalGeneration, configuration, processor, seed)


def _deepseek_tokenizer() -> Any:
    special = ["<s>", "</s>", "<pad>", "<image>"]
    vocabulary, merges = _bpe(special)
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens(special)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", pad_token="<pad>",
        additional_special_tokens=["<image>"], model_max_length=100_000,
    )  # fmt: skip


def _sides() -> dict[str, Any]:
    sides = {f"{side}_{name}": size for side in ("encoder", "decoder")
             for name, size in (("layers", 2), ("attention_heads", 4), ("ffn_dim", 64))}  # fmt: skip
    return {"d_model": 32, **sides}


def _bpe(special: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    inner.train_from_iterator(CORPUS, trainer)
    model = json.loads(inner.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


def _unigrams() -> list[tuple[str, float]]:
    inner = Tokenizer(models.Unigram())
    inner.normalizer = normalizers.NFKC()
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=["<unk>"], unk_token="<unk>", initial_alphabet=ALPHABET, show_progress=False
    )
    inner.train_from_iterator(CORPUS, trainer)
    pieces = json.loads(inner.to_str())["model"]["vocab"]
    return sorted((piece, round(score, 2)) for piece, score in pieces if piece != "<unk>")  # the same in every run


def _write(folder: Path, network: Any, config: Any, reader: Any, seed: int, **generation: Any) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = network(config)
    for name, value in generation.items():
        setattr(model.generation_config, name, value)
    model.save_pretrained(folder)
    reader.save_pretrained(folder)
    return folder
