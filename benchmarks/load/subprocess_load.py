"""Runs the load generator in a process of its own, and reads its output."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.load.generator import DEADLINE_SECONDS, MAX_WARM_UP_SECONDS, Outcome
from tests.support.servers import ROOT

MARGIN_SECONDS: Final = 20.0
"""Added to the generator's longest run before it is stopped."""


@dataclass(frozen=True)
class Load:
    """The load generator's arguments."""

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
        command = [sys.executable, "-m", "benchmarks.load.generator", self.url, *map(str, self.files)]
        command += ["--clients", str(self.clients), "--seconds", str(self.seconds)]
        command += ["--content-type", self.content_type]
        command += [] if self.form is None else ["--form", self.form]
        for header in self.headers:
            command += ["--header", header]
        return command


def run_load(load: Load) -> Outcome:
    """Run a load and return its outcome. Raises RuntimeError when the generator itself fails."""
    timeout = MAX_WARM_UP_SECONDS + load.seconds + DEADLINE_SECONDS + MARGIN_SECONDS
    done = subprocess.run(load.command, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode:
        raise RuntimeError(f"the load generator failed: {done.stderr[-500:]}")
    return Outcome(**json.loads(done.stdout))
