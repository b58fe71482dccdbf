"""The metadata of a weight file, read without any network library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from safetensors import safe_open

FACTS: Final = "facts"
"""Key of the facts in a file's metadata, as JSON."""


def read(path: Path) -> dict[str, Any]:
    """Read the facts of a safetensors file. Raises OSError if there is no file, KeyError if it has no facts."""
    with safe_open(path, framework="np") as file:
        facts: dict[str, Any] = json.loads(file.metadata()[FACTS])
    return facts
