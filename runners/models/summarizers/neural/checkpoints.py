"""Decides from a checkpoint's files, before loading weights, what it is and whether it may be loaded."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final, Literal

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # before huggingface_hub is imported anywhere

Kind = Literal["seq2seq", "deepseek-ocr"]

INSTALL: Final = "run: make serve MODEL_PATH=..., or pip install -r requirements/neural.lock"

DEEPSEEK: Final = "deepseek_ocr2"
"""The model type that transformers reads by itself, as in deepseek-community/DeepSeek-OCR-2."""

FILES: Final = ("*.json", "*.safetensors", "*.model", "*.spm", "*.txt", "*.jinja")
"""Patterns of files that are downloaded from the hub: no pickles and, unless remote code is trusted, no code."""

PICKLES: Final = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack")

DTYPES: Final = ("float32", "bfloat16", "float16")


class CheckpointError(ValueError):
    """The problem of a checkpoint and its fix, in one sentence for the operator."""


@dataclass(frozen=True)
class Optimized:
    """The fastest settings that ``training.summarization.optimize`` measured on one type of device ("cpu", "cuda")."""

    dtype: str
    compile: bool
    device: str


@dataclass(frozen=True)
class Checkpoint:
    """A folder that holds a config, a tokenizer and safetensors."""

    name: str  # as requested: a folder or a hub name
    folder: Path
    kind: Kind
    config: dict[str, Any]  # raw config.json: transformers drops unknown fields
    parameters: int
    trusted: bool  # whether code from the checkpoint may run
    optimized: Optimized | None

    @property
    def shown(self) -> str:
        """The hub name, or the last part of the folder: callers must not see its path."""
        return Path(self.name).resolve().name if Path(self.name).is_dir() else self.name


def find(name: str, *, trust_remote_code: bool = False) -> Checkpoint:
    """Find a checkpoint by local folder or hub name; a hub checkpoint is downloaded unless it is cached.

    Raises CheckpointError: it is not there, it summarizes nothing, its code or its pickles would have to run.
    """
    config = _json(_config(name))
    kind = _kind(name, config, trust_remote_code)
    folder = _folder(name, trust_remote_code)
    return Checkpoint(name, folder, kind, config, _parameters(name, folder), trust_remote_code, _optimized(folder))


def _config(name: str) -> Path:
    if Path(name).is_dir():
        path = Path(name, "config.json")
        if not path.is_file():
            raise CheckpointError(f"{name} is no checkpoint: it has no config.json.")
        return path
    return Path(_downloaded(name, ["config.json"]), "config.json")


def _folder(name: str, trusted: bool) -> Path:
    if Path(name).is_dir():
        return Path(name)
    return Path(_downloaded(name, [*FILES, *(["*.py"] if trusted else [])]))


def _downloaded(name: str, patterns: list[str]) -> str:
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise CheckpointError(f"Loading {name} needs transformers; {INSTALL}") from error
    try:
        return snapshot_download(name, allow_patterns=patterns)
    except Exception as error:  # the hub's, the network's and the cache's failures are dozens of classes
        message = f"There is no checkpoint {name}: it is no folder here, and the hub did not deliver it"
        raise CheckpointError(f"{message} ({type(error).__name__}).") from error


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON.") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds no JSON object.")
    return content


def _kind(name: str, config: dict[str, Any], trusted: bool) -> Kind:
    model_type = str(config.get("model_type", ""))
    if model_type == DEEPSEEK:
        return "deepseek-ocr"
    if model_type.startswith("deepseek_vl") or "ocr" in model_type.lower():
        raise CheckpointError(
            f"{name} (model type {model_type}) runs code of its own; deepseek-community/DeepSeek-OCR-2 and what is"
            f" fine-tuned from it (model type {DEEPSEEK}) need none."
        )
    if model_type in _sequence_types():
        return "seq2seq"
    if "auto_map" in config and not trusted:
        raise CheckpointError(f"{name} needs code of its own to run, and trust_remote_code is off.")
    if "auto_map" in config and config.get("is_encoder_decoder"):
        return "seq2seq"
    raise CheckpointError(
        f"{name} is no summarization checkpoint: its model type is {model_type or 'not said'}, and wanted are an"
        f" encoder-decoder for text (bart, t5, pegasus, mbart, ...) or {DEEPSEEK}."
    )


def _sequence_types() -> frozenset[str]:
    try:
        from transformers.models.auto.modeling_auto import MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES as NAMES
    except ImportError as error:
        raise CheckpointError(f"The engine seq2seq needs transformers; {INSTALL}") from error
    return frozenset(NAMES)


def _parameters(name: str, folder: Path) -> int:
    """Count the parameters by the headers of the weight files. Raises CheckpointError where there are no weights."""
    files = _weights(folder)
    missing = [path.name for path in files if not path.is_file()]
    if missing:
        raise CheckpointError(f"{name} is incomplete: {', '.join(missing)} is not there.")
    if not files and _pickled(name, folder):
        raise CheckpointError(
            f"{name} has its weights only as pickles, which can run any code and are not loaded;"
            " save it again with save_pretrained, which writes safetensors."
        )
    if not files:
        raise CheckpointError(f"{name} has no weights: there is no .safetensors file.")
    return sum(_elements(path) for path in files)


def _pickled(name: str, folder: Path) -> bool:
    """Whether there are pickled weights in the folder or, for a hub checkpoint, on the hub."""
    names = [path.name for path in folder.iterdir()] if Path(name).is_dir() else _listed(name)
    return any(fnmatch(file, pattern) for file in names for pattern in PICKLES)


def _listed(name: str) -> list[str]:
    """List a checkpoint's files on the hub; empty where the hub does not answer."""
    try:
        from huggingface_hub import HfApi

        return HfApi().list_repo_files(name)
    except Exception:  # the list only improves an error message
        return []


def _weights(folder: Path) -> list[Path]:
    """Return the files that transformers would load; the folder may hold others of another precision."""
    index, single = folder / "model.safetensors.index.json", folder / "model.safetensors"
    if single.is_file() or not index.is_file():
        return [single] if single.is_file() else []
    return sorted(folder / part for part in set(_json(index).get("weight_map", {}).values()))


def _elements(path: Path) -> int:
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        return sum(math.prod(tensor["shape"]) for key, tensor in header.items() if key != "__metadata__")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, MemoryError) as error:
        raise CheckpointError(f"{path} is no safetensors file.") from error


def _optimized(folder: Path) -> Optimized | None:
    path = folder / "atelier.json"
    if not path.is_file():
        return None
    settings = _json(path)
    if settings.get("dtype") not in DTYPES or not isinstance(settings.get("compile"), bool):
        raise CheckpointError(f"{path} is not what training.summarization.optimize writes.")
    return Optimized(settings["dtype"], settings["compile"], str(settings.get("device", "cpu")))
