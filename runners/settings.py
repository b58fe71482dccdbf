"""Every setting of the runners, read from the environment once.

``python -m runners.settings`` checks them: exit status 2, and one line, where one is wrong.
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
from web.settings import settings as outermost


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Ports = Annotated[tuple[Annotated[int, Field(ge=1, le=65535)], ...], NoDecode, BeforeValidator(_split)]


USUAL_CHECKPOINT: Final = "./deepsynth-summarizer"

SHORTEST_KEY: Final = 16
"""Characters of the shortest key that is accepted."""

MODELS: Final = tuple(row.name for row in registry.MODELS)
if TYPE_CHECKING:
    ModelName = str  # a type checker takes no choices that are computed
else:
    ModelName = Literal[MODELS]


class Settings(BaseSettings):
    """Environment variables begin with ``ATELIER_``; lists are separated by commas."""

    model_config = SettingsConfigDict(
        env_prefix="ATELIER_", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True
    )

    models: Annotated[tuple[ModelName, ...], NoDecode, BeforeValidator(_split)] = MODELS
    """Models that the front door serves. Each takes a process and its memory; empty means all."""

    model_key: SecretStr | None = None
    """A key of at least 16 characters that callers of the models' endpoints must send. Default: nobody is asked."""

    url_hosts: CommaSeparated = ("*",)
    """Host patterns that images may be downloaded from, such as ``*.cloudinary.com``. Default: any public host."""

    url_ports: Ports = ()
    """Ports besides 80 and 443 that a URL may name."""

    url_private_networks: bool = False
    """Whether URLs may lead to loopback and private addresses. Off, unless the machine's neighbours are trusted."""

    request_seconds: Annotated[float, Field(gt=0)] = 60.0
    """Seconds a request may take from its last header to its answer's first byte; then 504."""

    body_seconds: Annotated[float, Field(gt=0)] = 60.0
    """Seconds a client may take to send a request's body; then 408."""

    document_seconds: Annotated[float, Field(gt=0)] = 280.0
    """Seconds that reading and summarizing a document may take, waits included; then 504. OCR takes seconds a page."""

    readers: Annotated[int, Field(ge=0, le=64)] = 0
    """Processes that read documents beside one another, besides the one that short documents never wait for long.

    0 takes one for every two cores, four at most."""

    summarizer: Literal["auto", "extractive", "seq2seq", "deepseek-ocr"] = "auto"
    """Which engine summarizes; ``auto`` takes the checkpoint at ``MODEL_PATH`` where there is one, else extractive."""

    model_path: Annotated[str | None, Field(validation_alias="MODEL_PATH")] = None
    """A summarization checkpoint: a folder or a hub name. Default: ``./deepsynth-summarizer`` where it exists."""

    font: Path | None = None
    """The font that the engine deepseek-ocr draws texts with; default: one found on this machine."""

    trust_remote_code: bool = False
    """Whether a checkpoint may bring Python code that is run. Off, unless its author is trusted."""

    engine: Literal["auto", "openvino", "onnxruntime", "torch"] = "auto"
    """What runs the picture networks; ``auto`` is torch on a GPU, else OpenVINO, else ONNX Runtime."""

    threads: Annotated[int, Field(ge=0)] = 0
    """CPU threads of each model's network; 0 takes all cores for pictures, and a share of them for a checkpoint."""

    precision: Annotated[str, Field(pattern="^(auto|float32|bfloat16)$")] = "auto"
    """What the networks compute in: ``auto`` is bfloat16 where the hardware multiplies it, float32 elsewhere.

    A summarization checkpoint on a CPU computes in float32, unless
    ``training.summarization.optimize`` found bfloat16 faster."""

    @field_validator("model_key")
    @classmethod
    def _strong(cls, key: SecretStr | None) -> SecretStr | None:
        """An empty key is no key."""
        text = key.get_secret_value().strip() if key else ""
        if not text:
            return None
        if len(text) < SHORTEST_KEY or not text.isascii() or not text.isprintable():
            raise ValueError(
                f"must be at least {SHORTEST_KEY} printable ASCII characters: openssl rand -hex 32 makes one"
            )
        return SecretStr(text)

    @field_validator("models")
    @classmethod
    def _in_order(cls, models: tuple[ModelName, ...]) -> tuple[ModelName, ...]:
        return tuple(name for name in MODELS if not models or name in models)

    @property
    def checkpoint(self) -> str | None:
        """Where the network that summarizes is had from; None where the extractive engine does without one."""
        if self.summarizer == "extractive":
            return None
        return self.model_path or (USUAL_CHECKPOINT if Path(USUAL_CHECKPOINT).is_dir() else None)


@cache
def settings() -> Settings:
    """This process's settings. Raises pydantic's ValidationError, which names the variable, when one is wrong."""
    return Settings()


def wrong_settings(error: ValidationError) -> str:
    """Return a sentence that names every wrong variable, and shows no value."""
    wrong = {f"{_variable(one['loc'])}: {one['msg'].removeprefix('Value error, ')}" for one in error.errors()}
    return f"a setting is wrong: {'; '.join(sorted(wrong))}"


def _variable(place: tuple[int | str, ...]) -> str:
    """The environment variable of a setting; one with a name of its own is called by it."""
    name = str(place[0])
    return name if name.isupper() else f"ATELIER_{name.upper()}"


def main() -> None:
    """Check the settings, and say what is wrong with them."""
    try:
        settings()
        outermost()
    except ValidationError as error:
        sys.stderr.write(f"{wrong_settings(error)}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
