"""How much a run tries of what has no end: walks, kills, versions and changes of the gallery.

``make slow`` and ``make faults`` try all that is promised. A run that waits for every test of the project tries a part.
"""

from __future__ import annotations

import os
from typing import Final, TypeVar

BRIEF: Final = bool(os.environ.get("ATELIER_TESTS_BRIEF"))
"""Whether this run tries a part."""
Effort = TypeVar("Effort")


def effort(full: Effort, brief: Effort) -> Effort:
    """Return what this run tries."""
    return brief if BRIEF else full
