"""The settings of the process backend."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from management.backends.backend import BackendSettings
from management.domain import quantities
from management.settings import Seconds


def _disk(text: str) -> str:
    try:
        quantities.memory_bytes(text)
    except ValueError:
        raise ValueError("must be a quantity of bytes, such as 20Gi") from None
    return text


class ProcessSettings(BackendSettings):
    """Backend ``process``: environments of Bentos."""

    own_environments: bool = True
    """Whether a Bento whose requirements the server's environment does not meet gets an environment of its own, made by
    ``uv``. Otherwise its replicas run in the server's environment, whatever they require."""

    environments_disk: Annotated[str, AfterValidator(_disk)] = "50Gi"
    """Disk space of all environments together, such as ``20Gi``; beyond it, those that no deployment names are removed,
    the least recently used first."""

    environment_seconds: Seconds = 1800.0
    """Seconds that the making of an environment may take."""

    python_downloads: bool = False
    """Whether ``uv`` may download a Python that a Bento names and this machine does not have."""
