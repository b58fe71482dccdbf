"""Every setting of the runners, read from the environment once."""

from __future__ import annotations

from functools import cache
from typing import Annotated

from pydantic import Field
from pydantic.functional_validators import BeforeValidator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Ports = Annotated[tuple[Annotated[int, Field(ge=1, le=65535)], ...], NoDecode, BeforeValidator(_split)]


class Settings(BaseSettings):
    """Environment variables begin with ``ATELIER_``; lists are separated by commas."""

    model_config = SettingsConfigDict(env_prefix="ATELIER_", frozen=True)

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

    threads: Annotated[int, Field(ge=0)] = 0
    """CPU threads of each model's network; 0 shares the machine's cores among the models."""

    precision: Annotated[str, Field(pattern="^(auto|float32|bfloat16)$")] = "auto"
    """What the networks compute in: ``auto`` is bfloat16 where the hardware multiplies it, float32 elsewhere."""


@cache
def settings() -> Settings:
    """This process's settings. Raises pydantic's ValidationError, which names the variable, when one is wrong."""
    return Settings()
