"""What may be downloaded, read from the environment."""

from __future__ import annotations

from functools import cache
from typing import Annotated

from pydantic import Field
from pydantic.functional_validators import BeforeValidator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


def split(value: object) -> object:
    """Return the parts of a text between its commas; any other value as it is."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split)]
Ports = Annotated[tuple[Annotated[int, Field(ge=1, le=65535)], ...], NoDecode, BeforeValidator(split)]


class DownloadSettings(BaseSettings):
    """Downloads, by models and by the management."""

    model_config = SettingsConfigDict(
        env_prefix="ATELIER_", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True
    )

    url_hosts: CommaSeparated = ("*",)
    """Host patterns that files may be downloaded from, such as ``*.cloudinary.com``. Default: any public host."""

    url_ports: Ports = ()
    """Ports besides 80 and 443 that a URL may name."""

    url_private_networks: bool = False
    """Whether URLs may lead to loopback and private addresses. Off, unless the machine's neighbours are trusted."""


@cache
def settings() -> DownloadSettings:
    """Return this process's settings. Raises pydantic's ValidationError, which names the variable, on a bad value."""
    return DownloadSettings()
