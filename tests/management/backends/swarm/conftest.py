"""What tests of launchers on a swarm leave behind."""

from __future__ import annotations

import gc
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What a test leaves is collected in it, where its warnings are filtered."""
    yield
    gc.collect()


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder with a short path."""
    folder = Path(tempfile.mkdtemp(prefix="at-"))
    yield folder
    shutil.rmtree(folder)
