"""The backends by name: each is a folder here with a module ``backend``, imported when the settings choose it."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from management.backends.backend import Backend
from management.settings import Settings


def make(settings: Settings) -> Backend:
    """Return the backend that ``settings.backend`` names."""
    make_backend: Callable[[Settings], Backend] = import_module(f"management.backends.{settings.backend}.backend").make
    return make_backend(settings)
