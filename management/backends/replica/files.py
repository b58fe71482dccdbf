"""The files that stand alone: replicas run them by path, in a process or a container, and they import none of us.

A Bento brings modules of the same names as ours. What lies in ``runners`` is run by the models' own server, too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

HOST: Final = Path(__file__).with_name("host.py")
KEEPER: Final = Path(__file__).with_name("keeper.py")
ARBITER: Final = Path(__file__).parents[3] / "runners" / "serving" / "arbiter.py"
WORKER: Final = ARBITER.with_name("worker.py")
IN_CONTAINERS: Final = (HOST, ARBITER, WORKER)
"""What lies side by side in a container; the engine keeps its log, and ends its family."""
