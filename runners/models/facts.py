"""The facts that a weight file carries about itself, read without any network library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from safetensors import safe_open

FACTS: Final = "facts"
"""Their key in a file's metadata, as JSON."""


def read(path: Path) -> dict[str, Any]:
    """The facts. Raises OSError when there is no such file, KeyError when it explains nothing."""
    with safe_open(path, framework="np") as file:
        facts: dict[str, Any] = json.loads(file.metadata()[FACTS])
    return facts
