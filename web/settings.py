"""Every setting of the outermost layer, read from the environment once; the same for each server of ours."""

from __future__ import annotations

import ipaddress
from functools import cache
from typing import Annotated, Final

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

MIB: Final = 1024 * 1024


class Settings(BaseSettings):
    """Environment variables begin with ``ATELIER_``."""

    model_config = SettingsConfigDict(
        env_prefix="ATELIER_", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True
    )

    body_memory: Annotated[int, Field(ge=MIB)] = 512 * MIB
    """Bytes of memory for the bodies of all requests of a process together; further requests get 503."""

    connections: Annotated[int, Field(ge=0)] = 0
    """Connections that a process has at a time; 0, and more than that, takes what its limit of file
    descriptors allows, 8192 at most."""

    connections_per_address: Annotated[int, Field(ge=0)] = 0
    """Connections that one address has of them; 0 takes three quarters. All of them, where a proxy stands in front."""

    write_seconds: Annotated[float, Field(gt=0)] = 20.0
    """Seconds without progress after which the connection of a caller who does not read an answer is closed."""

    trusted_proxies: str = ""
    """Addresses and networks, separated by commas, whose ``X-Forwarded-For`` is believed. Default: none."""

    @field_validator("trusted_proxies")
    @classmethod
    def _addresses(cls, text: str) -> str:
        for one in filter(None, map(str.strip, text.split(","))):
            ipaddress.ip_network(one)
        return text


@cache
def settings() -> Settings:
    """This process's settings. Raises pydantic's ValidationError, which names the variable, when one is wrong."""
    return Settings()
