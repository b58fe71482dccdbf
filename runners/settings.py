"""The settings of the runners, read from the environment once.

``python -m runners.settings`` checks them: it prints one line and exits with status 2 if one is invalid.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic.functional_validators import BeforeValidator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from runners import registry
from web.download.settings import settings as downloads
from web.download.settings import split
from web.settings import settings as outermost

DEFAULT_CHECKPOINT: Final = "./deepsynth-summarizer"

MIN_KEY_CHARACTERS: Final = 16
"""Characters of the shortest accepted key."""

MODELS: Final = tuple(row.name for row in registry.MODELS)
if TYPE_CHECKING:
    ModelName = str  # type checkers do not accept computed literals
else:
    ModelName = Literal[MODELS]


class Settings(BaseSettings):
    """Environment variables begin with ``ATELIER_``; lists are separated by commas."""

    model_config = SettingsConfigDict(
        env_prefix="ATELIER_", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True
    )

    models: Annotated[tuple[ModelName, ...], NoDecode, BeforeValidator(split)] = MODELS
    """Models that the front door serves. Each takes a process and its memory; empty means all."""

    model_key: SecretStr | None = None
    """A key of at least 16 characters that clients of the models' endpoints must send. Default: no key is required."""

    request_seconds: Annotated[float, Field(gt=0)] = 60.0
    """Seconds a request may take from its last header to the first byte of its response; then 504."""

    body_seconds: Annotated[float, Field(gt=0)] = 60.0
    """Seconds a client may take to send a request's body; then 408."""

    document_seconds: Annotated[float, Field(gt=0)] = 280.0
    """Seconds that reading and summarizing a document may take, waits included; then 504. OCR takes seconds a page."""

    readers: Annotated[int, Field(ge=0, le=64)] = 0
    """Processes that read documents concurrently, in addition to one that keeps the wait of short documents low.

    0 takes one for every two cores, four at most."""

    summarizer: Literal["auto", "extractive", "seq2seq", "deepseek-ocr"] = "auto"
    """Which engine summarizes; ``auto`` takes the checkpoint at ``MODEL_PATH`` if there is one, else extractive."""

    model_path: Annotated[str | None, Field(validation_alias="MODEL_PATH")] = None
    """A summarization checkpoint: a folder or a hub name. Default: ``./deepsynth-summarizer`` if it exists."""

    font: Path | None = None
    """The font with which the engine deepseek-ocr draws texts. Default: one found on this machine."""

    trust_remote_code: bool = False
    """Whether a checkpoint may bring Python code that is run. Off, unless its author is trusted."""

    engine: Literal["auto", "openvino", "onnxruntime", "torch"] = "auto"
    """What runs the picture networks; ``auto`` is torch on a GPU, else OpenVINO, else ONNX Runtime."""

    threads: Annotated[int, Field(ge=0)] = 0
    """CPU threads of each model's network; 0 takes all cores for pictures, and a share of them for a checkpoint."""

    precision: Annotated[str, Field(pattern="^(auto|float32|bfloat16)$")] = "auto"
    """Number format of the networks: ``auto`` is bfloat16 where the hardware supports it, float32 elsewhere,
    and for a model whose file asks for it.

    A summarization checkpoint on a CPU computes in float32, unless
    ``training.summarization.optimize`` found bfloat16 faster."""

    @field_validator("model_key")
    @classmethod
    def _strong(cls, key: SecretStr | None) -> SecretStr | None:
        """Treat an empty key as none. Raises ValueError for a short or unprintable one."""
        text = key.get_secret_value().strip() if key else ""
        if not text:
            return None
        if len(text) < MIN_KEY_CHARACTERS or not text.isascii() or not text.isprintable():
            raise ValueError(
                f"must be at least {MIN_KEY_CHARACTERS} printable ASCII characters: openssl rand -hex 32 makes one"
            )
        return SecretStr(text)

    @field_validator("models")
    @classmethod
    def _in_order(cls, models: tuple[ModelName, ...]) -> tuple[ModelName, ...]:
        return tuple(name for name in MODELS if not models or name in models)

    @property
    def checkpoint(self) -> str | None:
        """Return folder or hub name of the summarization checkpoint; None for the extractive engine, which has none."""
        if self.summarizer == "extractive":
            return None
        return self.model_path or (DEFAULT_CHECKPOINT if Path(DEFAULT_CHECKPOINT).is_dir() else None)


@cache
def settings() -> Settings:
    """Return this process's settings. Raises pydantic's ValidationError, which names the variable, on a bad value."""
    return Settings()


def wrong_settings(error: ValidationError) -> str:
    """Return a sentence that names every invalid variable without its value."""
    wrong = {f"{_variable(item['loc'])}: {item['msg'].removeprefix('Value error, ')}" for item in error.errors()}
    return f"a setting is wrong: {'; '.join(sorted(wrong))}"


def _variable(location: tuple[int | str, ...]) -> str:
    """Return the environment variable of a setting; an upper-case alias is the variable itself."""
    name = str(location[0])
    return name if name.isupper() else f"ATELIER_{name.upper()}"


def main() -> None:
    """Check all settings; print what is wrong and exit with status 2."""
    try:
        settings()
        downloads()
        outermost()
    except ValidationError as error:
        sys.stderr.write(f"{wrong_settings(error)}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
