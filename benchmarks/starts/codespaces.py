"""Seconds from a saved file of a codespace to the answer of the new code: python -m benchmarks.starts.codespaces.

The file is sent as ``bentoml code`` sends it, and the deployment's own address is called until the edit shows. The goal
is a median of at most ``GOAL_SECONDS``.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from bentoml._internal.cloud.client import RestApiClient

from tests.support.bentos.codespaces import Space, source
from tests.support.calls import until
from tests.support.management_servers import KEY, managing

SAVES: Final = 9
GOAL_SECONDS: Final = 2.0


def main() -> None:
    """Measure, print the median and the spread, and fail where the goal is missed."""
    with tempfile.TemporaryDirectory(prefix="at-") as folder:
        seconds = measure(Path(folder))
    median = statistics.median(seconds)
    print(f"save to new answer: {median:.2f} s", end=" ")
    print(f"(median of {SAVES}, {min(seconds):.2f} to {max(seconds):.2f} s; goal: at most {GOAL_SECONDS:.1f} s)")
    sys.exit(median > GOAL_SECONDS)


def measure(folder: Path) -> list[float]:
    """Return the seconds of each save."""
    with managing(folder / "bentoml", home=folder / "home") as server:
        client = RestApiClient(server.url, KEY)
        space = Space(client, "space")
        space.change("POST", space.announce("a")).raise_for_status()
        space.send(service_py=source("Hello 0"), requirements_txt=b"bentoml\n")
        space.complete()
        until(lambda: space.greets() == "Hello 0, Ann")
        return [_save(space, f"Hello {number}") for number in range(1, SAVES + 1)]


def _save(space: Space, word: str) -> float:
    began = time.perf_counter()
    space.send(service_py=source(word))
    until(lambda: space.greets() == f"{word}, Ann")
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
