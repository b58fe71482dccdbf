"""The stand-alone files: replicas run them by path, in a process or a container, and they import nothing of Atelier.

A Bento brings modules of the same names as Atelier's. The models' own server runs those in ``runners``, too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

HOST: Final = Path(__file__).with_name("host.py")
FORWARDER: Final = HOST.with_name("forwarder.py")
RECEIVED_SECRETS: Final = HOST.with_name("received_secrets.py")
KEEPER: Final = Path(__file__).with_name("keeper.py")
ARBITER: Final = Path(__file__).parents[3] / "runners" / "serving" / "arbiter.py"
WORKER: Final = ARBITER.with_name("worker.py")
IN_CONTAINERS: Final = (HOST, FORWARDER, RECEIVED_SECRETS, ARBITER, WORKER)
"""Files in one folder of a container. It needs no keeper: the engine keeps its log and ends its processes."""
