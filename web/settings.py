"""Settings of the outermost layer, read from the environment once and common to all servers of the project."""

from __future__ import annotations

import ipaddress
from functools import cache
from importlib.util import find_spec
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

    traces_endpoint: str | None = None
    """URL of a receiver of OTLP over HTTP, such as ``http://localhost:4318/v1/traces``; spans of each request are sent
    to it. Needs the extra ``tracing``. Default: nothing is recorded, and callers' traces are still passed on."""

    traces_sample: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Fraction of the traces that begin here which is recorded; of a caller's trace the caller has decided."""

    @field_validator("traces_endpoint")
    @classmethod
    def _receiver(cls, url: str | None) -> str | None:
        if not url:
            return None
        if not url.startswith(("http://", "https://")):
            raise ValueError("must be a URL that begins with http:// or https://")
        if not _is_installed("opentelemetry.exporter.otlp.proto.http"):
            raise ValueError("needs packages that are not installed: pip install 'atelier[tracing]'")
        return url

    @field_validator("trusted_proxies")
    @classmethod
    def _addresses(cls, text: str) -> str:
        for network in filter(None, map(str.strip, text.split(","))):
            ipaddress.ip_network(network)
        return text


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # a package that it is in
        return False


@cache
def settings() -> Settings:
    """Return this process's settings. Raises pydantic's ValidationError, which names the variable, on a bad value."""
    return Settings()
