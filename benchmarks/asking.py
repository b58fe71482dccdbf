"""The load generator from outside: its process is started, and what it printed is read."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.load import DEADLINE_SECONDS, LONGEST_WARM_SECONDS, Outcome
from tests.servers import ROOT

SPARE_SECONDS = 20.0


def asked(
    url: str,
    files: Sequence[Path],
    clients: int,
    seconds: float,
    *,
    content_type: str,
    form: str | None = None,
    headers: Sequence[str] = (),
) -> Outcome:
    """What a load on the URL came to. Raises RuntimeError when the generator itself fails."""
    command = [sys.executable, "-m", "benchmarks.load", url, *map(str, files)]
    command += ["--clients", str(clients), "--seconds", str(seconds), "--content-type", content_type]
    command += [] if form is None else ["--form", form]
    for header in headers:
        command += ["--header", header]
    longest = LONGEST_WARM_SECONDS + seconds + DEADLINE_SECONDS + SPARE_SECONDS
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=longest, check=False)
    if done.returncode:
        raise RuntimeError(f"the load generator failed: {done.stderr[-500:]}")
    return Outcome(**json.loads(done.stdout))
