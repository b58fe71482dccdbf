"""Atelier beside other servers of the same networks, on this machine, in one run: python -m benchmarks.serving.

Each contender is started in turn, called by 1, 8, 32 and 128 clients and stopped; then the next round begins in another
order, and by 32 callers alone, which is what the goals compare. What is shown are medians over the rounds. CPU and
memory are those of a contender's processes; the load generator has a process of its own, which is not counted, and
shares the machine's cores. Nothing is downloaded.

Exit status: 0 when everything was measured, 1 when some contender was not, 2 for wrong arguments, 130 when interrupted.
Whether goals are met is printed, and changes nothing: another machine has other figures.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import management, replicas
from benchmarks.load import machine
from benchmarks.serving import contenders, drawing, table
from benchmarks.serving.comparing import Goal, Spread, goals, rows
from benchmarks.serving.rounds import Plan, Results, Rounds

OUT: Final = Path("build/bench")
WIDTH: Final = 170
"""Characters of a line without a terminal."""
CALLS: Final = 200
REPLICA_SECONDS: Final = 3.0
"""At least, of each load on replicas."""
MOST_CLIENTS: Final = 1000
QUIET_CORES: Final = 0.15
"""Cores used by other processes above which a warning is printed."""
FURTHER: Final = 0.6
"""Duration of a further round as a share of the first one's, at most: it sends fewer requests."""
INTERRUPTED: Final = 130


def main() -> None:
    """Run the command line; the exit status is described at the top of this file."""
    arguments = _arguments()
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH, no_color=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stops all processes, as Ctrl-C does
    results = Results()
    try:
        _measure(arguments, console, results)
        goals = _told(results, console)
        extra = _management(console, arguments.seconds) if arguments.management else {}
    except KeyboardInterrupt:
        console.print("interrupted; every server is stopped")
        _told(results, console)
        raise SystemExit(INTERRUPTED) from None
    _write(arguments.out, results, goals, extra, console)
    complete = results.samples and not results.failures and "failure" not in extra
    raise SystemExit(0 if complete else 1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=_positive, default=3, help="maximum number of rounds (default: %(default)s)")
    parser.add_argument(
        "--minutes", type=float, default=12.5, help="start no further round that would end later (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds", type=float, default=1.5, help="measured duration of each load (default: %(default)s)"
    )
    parser.add_argument(
        "--clients", type=_positive, nargs="+", default=[1, 8, 32, 128], metavar="N", help="concurrent clients"
    )
    parser.add_argument(
        "--only", nargs="+", choices=contenders.NAMES, metavar="CONTENDER", help="measure only these: %(choices)s"
    )
    parser.add_argument("--tasks", nargs="+", choices=contenders.TASKS, default=contenders.TASKS, metavar="TASK")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of results.json and results.png (%(default)s)")
    parser.add_argument("--no-management", dest="management", action="store_false", help="do not measure the gateway")
    arguments = parser.parse_args()
    if arguments.seconds <= 0 or max(arguments.clients) > MOST_CLIENTS:
        parser.error(f"seconds above 0 and at most {MOST_CLIENTS} clients are wanted")
    return arguments


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("it must be 1 or more")
    return number


def _measure(arguments: argparse.Namespace, console: Console, results: Results) -> None:
    """Run rounds until the minutes are used up."""
    plan = Plan(
        tuple(arguments.tasks), tuple(arguments.only or contenders.NAMES), tuple(arguments.clients), arguments.seconds
    )
    console.print(machine.told(), highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        tempfile.TemporaryDirectory(prefix="at-bench-") as folder,
        Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress,
    ):
        bar = progress.add_task("making models and pictures", total=plan.steps * arguments.rounds)

        def tell(what: str) -> None:
            progress.update(bar, advance=1, description=what)
            if not console.is_terminal:
                print(what, file=sys.stderr, flush=True)

        rounds = Rounds(plan, Path(folder), results, tell)
        began = time.monotonic()
        for number in range(arguments.rounds):
            at = time.monotonic()
            rounds.run(number)
            took = time.monotonic() - at
            if time.monotonic() + (took if number else FURTHER * took) > began + 60 * arguments.minutes:
                break


def _told(results: Results, console: Console) -> list[Goal]:
    measured = rows(results.samples)
    found = goals(measured)
    table.show_rows(console, measured, results.failures)
    table.show_goals(console, found)
    others = Spread.of(one.others for one in results.samples)
    if others.most > QUIET_CORES:
        console.print(
            f"Others used {others.median:.2f} cores of this machine meanwhile (median; most {others.most:.2f}): "
            "repeat this on a quiet one.",
            style="bold",
        )
    return found


def _management(console: Console, seconds: float) -> dict[str, object]:
    """Measure the gateway; print why and return nothing when that fails."""
    try:
        direct, through = management.overhead(CALLS)
        found = replicas.grown(max(seconds, REPLICA_SECONDS))
    except (RuntimeError, AssertionError, OSError, httpx.HTTPError, subprocess.SubprocessError) as error:
        console.print(f"the management was not measured: {error!r}", markup=False)
        return {"failure": repr(error)}
    lines = [(f"{direct:.2f}", f"{through:.2f}", f"{through - direct:.2f}")]
    table.show_figures(console, "a call of a managed replica, ms", ("direct", "through the gateway", "more"), lines)
    grown = [(str(one.replicas), f"{one.per_second:.0f}", f"{one.cpu_ms:.2f}", str(one.errors)) for one in found]
    headings = ("replicas", "requests/s", "CPU ms/request", "errors")
    table.show_figures(console, f"replicas of a model that computes, {replicas.CLIENTS} clients", headings, grown)
    return {"direct_ms": direct, "gateway_ms": through, "replicas": [asdict(one) for one in found]}


def _write(out: Path, results: Results, found: Sequence[Goal], extra: dict[str, object], console: Console) -> None:
    out.mkdir(parents=True, exist_ok=True)
    content = {
        "machine": machine.told(),
        "samples": [asdict(one) for one in results.samples],
        "failures": [asdict(one) for one in results.failures],
        "goals": [{**asdict(one), "met": one.met} for one in found],
        "management": extra,
    }
    (out / "results.json").write_text(json.dumps(machine.finite(content), indent=1) + "\n")
    drawing.draw(rows(results.samples), out / "results.png")
    console.print(f"written: {out / 'results.json'} and {out / 'results.png'}", highlight=False)
