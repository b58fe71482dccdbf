"""Checks before a server starts: a problem ends the process with one sentence and an exit status."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from pydantic import ValidationError

from runners import registry
from runners.models.summarizers.choice import find_checkpoint
from runners.models.summarizers.neural.checkpoints import CheckpointError
from runners.settings import settings, wrong_settings
from web.download.settings import settings as downloads
from web.server import ports
from web.settings import settings as outermost

WRONG: Final = 2
"""Exit status after a wrong argument or setting."""
FRONT_DOOR: Final = "service:Atelier"


def refuse(sentence: str) -> NoReturn:
    """Print the sentence and exit with ``WRONG``."""
    print(sentence, file=sys.stderr)
    sys.exit(WRONG)


def refuse_used_port(host: object, port: int) -> None:
    """End where the port is taken."""
    try:
        ports.check_port(str(host), port)
    except OSError as error:
        sys.exit(f"{host} port {port} cannot be used ({error.strerror}); choose another: make serve PORT=8081")


def refuse_bad_settings(service: str) -> None:
    """End where a setting is wrong or a checkpoint is missing; BentoML would start the failing model again for ever."""
    try:
        known, _, _ = settings(), downloads(), outermost()
        if _loads_checkpoint(service, known.models):
            find_checkpoint(known.summarizer, known.checkpoint, trust_remote_code=known.trust_remote_code)
    except CheckpointError as error:
        refuse(f"MODEL_PATH: {error}")
    except ValidationError as error:
        refuse(wrong_settings(error))


def _loads_checkpoint(service: str, models: Sequence[str]) -> bool:
    """Whether the service is, or serves, a model that loads the checkpoint at ``MODEL_PATH``."""
    name = service.rpartition(":")[2]
    rows = [row for row in registry.MODELS if row.loads_checkpoint and row.name in models]
    return any(name in (row.class_name, FRONT_DOOR.rpartition(":")[2]) for row in rows)


def refuse_unfit_management(front_door: bool) -> None:
    """End with the management's sentence and status where it could not start; a model alone has none.

    It is checked in a process of its own, because the runners do not import the management.
    """
    if front_door:
        checked = subprocess.run([sys.executable, "-m", "management", "check", "--quiet"], check=False)
        if checked.returncode != 0:
            sys.exit(checked.returncode)
