"""Compares Atelier with other servers of the same networks, on this machine, in one run: python -m benchmarks.serving.

Each contender is started in turn, called by 1, 8, 32 and 128 clients, and stopped. Further rounds have another order
and 32 clients alone, the load that the goals compare. The tables show medians over the rounds. CPU and memory are those
of a contender's processes; the load generator has a process of its own, which is not counted, but shares the machine's
cores. Nothing is downloaded.

Exit status: 0 when everything was measured, 1 when some contender was not, 2 for wrong arguments, 130 when interrupted.
Missed goals are printed, but do not change the status: another machine has other figures.
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
from benchmarks.serving import contenders, plot, table
from benchmarks.serving.evaluation import Goal, Spread, goals, rows
from benchmarks.serving.rounds import Plan, Results, Rounds

OUT: Final = Path("build/bench")
WIDTH: Final = 170
"""Characters of a line where the output is not a terminal."""
CALLS: Final = 200
MIN_REPLICA_SECONDS: Final = 3.0
"""Minimum duration of each load on replicas."""
MAX_CLIENTS: Final = 1000
QUIET_CORES: Final = 0.15
"""Cores used by other processes above which a warning is printed."""
FURTHER_ROUND_SHARE: Final = 0.6
"""Maximum duration of a further round, as a share of the first round's: it sends fewer requests."""
INTERRUPTED: Final = 130


def main() -> None:
    """Run the command line; the exit status is described at the top of this file."""
    arguments = _arguments()
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH, no_color=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stops all processes, as Ctrl-C does
    results = Results()
    try:
        _measure(arguments, console, results)
        goals = _print_results(results, console)
        extra = _management(console, arguments.seconds) if arguments.management else {}
    except KeyboardInterrupt:
        console.print("interrupted; every server is stopped")
        _print_results(results, console)
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
    if arguments.seconds <= 0 or max(arguments.clients) > MAX_CLIENTS:
        parser.error(f"seconds above 0 and at most {MAX_CLIENTS} clients are wanted")
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
    console.print(machine.describe(), highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        tempfile.TemporaryDirectory(prefix="at-bench-") as folder,
        Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress,
    ):
        bar = progress.add_task("making models and pictures", total=plan.steps * arguments.rounds)

        def report_step(step: str) -> None:
            progress.update(bar, advance=1, description=step)
            if not console.is_terminal:
                print(step, file=sys.stderr, flush=True)

        rounds = Rounds(plan, Path(folder), results, report_step)
        began = time.monotonic()
        for number in range(arguments.rounds):
            started = time.monotonic()
            rounds.run(number)
            expected = (time.monotonic() - started) * (1 if number else FURTHER_ROUND_SHARE)
            if time.monotonic() + expected > began + 60 * arguments.minutes:
                break


def _print_results(results: Results, console: Console) -> list[Goal]:
    measured = rows(results.samples)
    evaluated = goals(measured)
    table.show_rows(console, measured, results.failures)
    table.show_goals(console, evaluated)
    others = Spread.of(sample.others for sample in results.samples)
    if others.max > QUIET_CORES:
        console.print(
            f"Others used {others.median:.2f} cores of this machine meanwhile (median; most {others.max:.2f}): "
            "repeat this on a quiet one.",
            style="bold",
        )
    return evaluated


def _management(console: Console, seconds: float) -> dict[str, object]:
    """Measure the gateway and return its figures, or the failure, which is printed, too."""
    try:
        direct, through = management.overhead(CALLS)
        samples = replicas.measure(max(seconds, MIN_REPLICA_SECONDS))
    except (RuntimeError, AssertionError, OSError, httpx.HTTPError, subprocess.SubprocessError) as error:
        console.print(f"the management was not measured: {error!r}", markup=False)
        return {"failure": repr(error)}
    lines = [(f"{direct:.2f}", f"{through:.2f}", f"{through - direct:.2f}")]
    table.show_figures(console, "a call of a managed replica, ms", ("direct", "through the gateway", "more"), lines)
    replica_lines = [(str(s.replicas), f"{s.per_second:.0f}", f"{s.cpu_ms:.2f}", str(s.errors)) for s in samples]
    headings = ("replicas", "requests/s", "CPU ms/request", "errors")
    table.show_figures(
        console, f"replicas of a model that computes, {replicas.CLIENTS} clients", headings, replica_lines
    )
    return {"direct_ms": direct, "gateway_ms": through, "replicas": [asdict(sample) for sample in samples]}


def _write(out: Path, results: Results, evaluated: Sequence[Goal], extra: dict[str, object], console: Console) -> None:
    out.mkdir(parents=True, exist_ok=True)
    content = {
        "machine": machine.describe(),
        "samples": [asdict(sample) for sample in results.samples],
        "failures": [asdict(failure) for failure in results.failures],
        "goals": [{**asdict(goal), "met": goal.met} for goal in evaluated],
        "management": extra,
    }
    (out / "results.json").write_text(json.dumps(machine.finite(content), indent=1) + "\n")
    plot.draw(rows(results.samples), out / "results.png")
    console.print(f"written: {out / 'results.json'} and {out / 'results.png'}", highlight=False)
