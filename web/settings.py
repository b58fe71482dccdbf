"""Settings of the outermost layer, read from the environment once and common to all servers of the project."""

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
    """Connections that a process accepts at a time. 0, or more than its limit of file descriptors allows, takes
    what that limit allows, 8192 at most."""

    connections_per_address: Annotated[int, Field(ge=0)] = 0
    """Connections that one address may have; 0 takes three quarters of all. Set it to all of them behind a proxy."""

    write_seconds: Annotated[float, Field(gt=0)] = 20.0
    """Seconds without progress after which the connection of a client that does not read its response is closed."""

    trusted_proxies: str = ""
    """Addresses and networks, separated by commas, whose ``X-Forwarded-For`` is trusted. Default: none."""

    @field_validator("trusted_proxies")
    @classmethod
    def _addresses(cls, text: str) -> str:
        for network in filter(None, map(str.strip, text.split(","))):
            ipaddress.ip_network(network)
        return text


@cache
def settings() -> Settings:
    """Return this process's settings. Raises pydantic's ValidationError, which names the variable, on a bad value."""
    return Settings()
