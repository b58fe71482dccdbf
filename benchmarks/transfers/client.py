"""Measure BentoML's own push and pull: python -m benchmarks.transfers.client [--megabytes 300] [--model-megabytes 200].

A Bento of random bytes with a model of random bytes is pushed to a server of its own, and pulled to another home, by
BentoML's program. Printed are the server's resident memory before, at its peak and afterwards, in MB, the seconds of
the command, and whether every file came back as it was.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.transfers.sampling import MB, Cost, sampled
from tests.support.bentos.program import Program, logged_in
from tests.support.management_servers import managing

SERVICE: Final = """
import bentoml

@bentoml.service
class Large:
    weights = bentoml.models.BentoModel("weights:1")

    @bentoml.api
    def greet(self, name: str) -> str:
        return name
"""
BUILD: Final = """
import bentoml, os, sys
with bentoml.models.create("weights:1") as model:
    with open(model.path_of("weights.bin"), "wb") as out:
        for _ in range(int(sys.argv[1])):
            out.write(os.urandom(1_000_000))
bentoml.bentos.build_bentofile("bentofile.yaml", version="1.0.0", build_ctx=".")
"""


def main() -> None:
    """Push and pull, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transfers.client", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=300, help="of the Bento and its model together")
    parser.add_argument("--model-megabytes", type=int, default=200)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="at-large-") as name:
        folder = Path(name)
        home = built(folder, given.megabytes - given.model_megabytes, given.model_megabytes)
        (folder / "store").mkdir()
        with managing(folder / "store") as server:
            program, other = logged_in(home, server), logged_in(folder / "other", server)
            print(f"{'':<6} {'before, MB':>11} {'peak, MB':>9} {'after, MB':>10} {'seconds':>8}")
            show("push", cost_of(server.pid, program, "push", "large:1.0.0"))
            show("pull", cost_of(server.pid, other, "pull", "large:1.0.0", "--with-models"))
        places = ("bentos/large/1.0.0", "models/weights/1")
        differing = [path for place in places for path in differences(home / place, other.home / place)]
        print("every file came back as it was" if not differing else f"these did not: {differing}")
        sys.exit(bool(differing))


def built(folder: Path, megabytes: int, model_megabytes: int) -> Path:
    """Build the Bento in a home of its own, and return the home."""
    source, home = folder / "source", folder / "user"
    source.mkdir()
    (source / "service.py").write_text(SERVICE)
    (source / "bentofile.yaml").write_text("service: service:Large\ninclude: ['*']\n")
    with (source / "data.bin").open("wb") as out:
        for _ in range(megabytes):
            out.write(os.urandom(MB))
    environment = {**os.environ, "BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"}
    command = [sys.executable, "-c", BUILD, str(model_megabytes)]
    subprocess.run(command, cwd=source, env=environment, check=True, capture_output=True)
    return home


def cost_of(pid: int, program: Program, *arguments: str) -> Cost:
    """Run a command, and return what it cost the server."""
    with sampled(pid) as cost:
        program.run(*arguments)
    return cost()


def show(name: str, cost: Cost) -> None:
    """Print a line of the table."""
    print(f"{name:<6} {cost.before / MB:>11.1f} {cost.peak / MB:>9.1f} {cost.after / MB:>10.1f} {cost.seconds:>8.1f}")


def differences(one: Path, other: Path) -> Iterator[Path]:
    """The files that two folders do not have alike."""
    found = filecmp.dircmp(one, other)
    yield from (one / name for name in found.left_only + found.right_only + found.funny_files)
    _, different, unread = filecmp.cmpfiles(one, other, found.common_files, shallow=False)
    yield from (one / name for name in different + unread)
    for name in found.common_dirs:
        yield from differences(one / name, other / name)


if __name__ == "__main__":
    main()
