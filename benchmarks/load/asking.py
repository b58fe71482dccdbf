"""The load generator from outside: its process is started, and what it printed is read."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.load.load import DEADLINE_SECONDS, LONGEST_WARM_SECONDS, Outcome
from tests.support.servers import ROOT

SPARE_SECONDS: Final = 20.0


@dataclass(frozen=True)
class Load:
    """One load: the URL, the bodies, the number of clients and the duration."""

    url: str
    files: Sequence[Path]
    clients: int
    seconds: float
    content_type: str
    form: str | None = None
    headers: tuple[str, ...] = ()

    @property
    def command(self) -> list[str]:
        """Command line of the generator."""
        command = [sys.executable, "-m", "benchmarks.load.load", self.url, *map(str, self.files)]
        command += ["--clients", str(self.clients), "--seconds", str(self.seconds)]
        command += ["--content-type", self.content_type]
        command += [] if self.form is None else ["--form", self.form]
        for header in self.headers:
            command += ["--header", header]
        return command


def asked(load: Load) -> Outcome:
    """Run a load and return its outcome. Raises RuntimeError when the generator itself fails."""
    longest = LONGEST_WARM_SECONDS + load.seconds + DEADLINE_SECONDS + SPARE_SECONDS
    done = subprocess.run(load.command, cwd=ROOT, capture_output=True, text=True, timeout=longest, check=False)
    if done.returncode:
        raise RuntimeError(f"the load generator failed: {done.stderr[-500:]}")
    return Outcome(**json.loads(done.stdout))
