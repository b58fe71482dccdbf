"""The rounds of the benchmark: every contender in turn, in another order each time."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from benchmarks.load import machine, pictures, texts
from benchmarks.load.generator import multipart
from benchmarks.load.subprocess_load import Load, run_load
from benchmarks.serving import stores
from benchmarks.serving.contenders import CONTENDERS, CONTENT_TYPES, LIMIT, LONG, PICTURES, SUMMARIZE, Contender
from benchmarks.serving.evaluation import COMPARED_CLIENTS, Failure, Sample
from benchmarks.serving.server import NotStarted, Probe, RunningServer, serve
from tests.support.servers import ROOT

LONG_CLIENTS: Final = (1, 8)
MIN_LONG_SECONDS: Final = 4.0
"""Minimum duration of a load of long texts, which take seconds each."""
LIMIT_TIMEOUT_SECONDS: Final = 120.0
GENERATOR_START_SECONDS: Final = 0.3
"""Approximate CPU time of the load generator's start."""


@dataclass(frozen=True)
class Plan:
    """The tasks, contenders and loads to measure."""

    tasks: tuple[str, ...]
    names: tuple[str, ...]
    clients: tuple[int, ...]
    seconds: float

    def loads(self, task: str, number: int) -> list[tuple[str, int]]:
        """Return the loads on a server of this task in that round: tasks and numbers of clients.

        The first round has all; further rounds have the compared load, so that its medians are of several rounds.
        """
        if number and COMPARED_CLIENTS in self.clients:
            return [(task, COMPARED_CLIENTS)]
        loads = [(task, clients) for clients in self.clients]
        return loads + [(LONG, clients) for clients in LONG_CLIENTS] if task == SUMMARIZE else loads

    @property
    def contenders(self) -> list[Contender]:
        """The contenders to measure."""
        return [each for each in CONTENDERS if each.task in self.tasks and each.name in self.names]

    @property
    def servers(self) -> list[tuple[Contender, ...]]:
        """The contenders in groups that one server process can serve."""
        groups: dict[tuple[str, ...], list[Contender]] = {}
        for contender in self.contenders:
            groups.setdefault((*contender.command, *contender.environment.values()), []).append(contender)
        return [tuple(group) for group in groups.values()]

    @property
    def limited(self) -> list[str]:
        """The tasks whose limit is measured."""
        return [task for task in PICTURES if task in self.tasks and LIMIT in self.names]

    @property
    def steps(self) -> int:
        """The number of steps of a round."""
        return len(self.servers) + len(self.limited)


@dataclass
class Results:
    """The results so far."""

    samples: list[Sample] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


class Rounds:
    """Runs rounds; the models and bodies are made once."""

    def __init__(self, plan: Plan, folder: Path, results: Results, report_step: Callable[[str], None]) -> None:
        """``results`` grows with each server; ``report_step`` is called with the name of each step."""
        self.results = results
        self._plan, self._folder, self._report_step = plan, folder, report_step
        self._bodies = {task: _write_bodies(folder / "bodies" / task, task) for task in (*plan.tasks, LONG)}
        self._store = stores.embedding_store(folder / "store")

    def run(self, number: int) -> None:
        """Run a round: the first in the listed order, each further one in a random order."""
        steps: list[tuple[Contender, ...] | str] = [*self._plan.servers, *self._plan.limited]
        if number:
            random.Random(number).shuffle(steps)
        for step in steps:
            names = (
                [(LIMIT, step)] if isinstance(step, str) else [(contender.name, contender.task) for contender in step]
            )
            self._report_step(f"round {number + 1}: {names[0][0]}, {' and '.join(task for _, task in names)}")
            try:
                samples = [self._limit(step)] if isinstance(step, str) else self._measure_group(step, number)
            except (NotStarted, RuntimeError, subprocess.SubprocessError) as error:
                self.results.failures += [Failure(name, task, number, str(error)) for name, task in names]
            else:
                self.results.samples += [replace(sample, round=number) for sample in samples]

    def _measure_group(self, group: Sequence[Contender], number: int) -> list[Sample]:
        """Start the group's server, apply all loads of the round, and stop it."""
        first = group[0]
        with tempfile.TemporaryDirectory(prefix="at-b-", ignore_cleanup_errors=True) as name:
            probe = _probe(first, self._bodies[first.task][0])
            with serve(first, self._environment(Path(name)), probe) as server:
                return [
                    self._measure_load(contender, server, task, clients)
                    for contender in group
                    for task, clients in self._plan.loads(contender.task, number)
                ]

    def _measure_load(self, contender: Contender, server: RunningServer, task: str, clients: int) -> Sample:
        """Apply a load, and measure the server's CPU time and memory."""
        seconds = max(self._plan.seconds, MIN_LONG_SECONDS) if task == LONG else self._plan.seconds
        load = Load(
            server.url + contender.route, self._bodies[task], clients, seconds, CONTENT_TYPES[task], contender.form
        )
        started, before, busy = time.perf_counter(), server.cpu_seconds(), machine.busy_seconds()
        outcome = run_load(load)
        busy, elapsed = machine.busy_seconds() - busy, time.perf_counter() - started
        used, errors = server.cpu_seconds() - before, sum(outcome.errors.values())
        requests = max(1, outcome.answered + errors)
        return Sample(
            contender=contender.name,
            task=task,
            clients=clients,
            round=0,
            per_second=outcome.per_second,
            p50_ms=outcome.p50_ms,
            p99_ms=outcome.p99_ms,
            errors=errors,
            cpu_ms=1000 * used / requests,
            megabytes=server.megabytes(),
            start_seconds=server.start_seconds,
            kinds=", ".join(f"{count} {kind}" for kind, count in outcome.errors.items()),
            generator_ms=1000 * outcome.generator_seconds / requests,
            others=max(0.0, busy - used - outcome.generator_seconds - GENERATOR_START_SECONDS) / elapsed,
        )

    def _limit(self, task: str) -> Sample:
        files = [str(file) for file in self._bodies[task]]
        command = [sys.executable, "-m", "benchmarks.limit", task, *files, "--seconds", str(self._plan.seconds)]
        with tempfile.TemporaryDirectory(prefix="at-b-") as name:
            environment = {**os.environ, **self._environment(Path(name))}
            done = subprocess.run(
                command,
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
                timeout=LIMIT_TIMEOUT_SECONDS,
                check=False,
            )
        if done.returncode:
            raise RuntimeError(done.stderr[-1500:])
        return Sample(LIMIT, task, 0, 0, json.loads(done.stdout)["per_second"])

    def _environment(self, folder: Path) -> Mapping[str, str]:
        """Return variables that give each server a home of its own, without telemetry."""
        home = stores.link_models(self._store, folder / "bentoml")
        return {
            "BENTOML_HOME": str(home),
            "BENTOML_DO_NOT_TRACK": "True",
            "ATELIER_HOME": str(folder / "atelier"),
            "TMPDIR": str(folder),
            "PYTHONUNBUFFERED": "1",
        }


def _write_bodies(folder: Path, task: str) -> list[Path]:
    """Write the bodies of a task to files."""
    folder.mkdir(parents=True)
    bodies = pictures.photographs() if task in PICTURES else _text_bodies(task)
    files = [folder / f"{number}" for number in range(len(bodies))]
    for file, body in zip(files, bodies, strict=True):
        file.write_bytes(body)
    return files


def _text_bodies(task: str) -> list[bytes]:
    chosen = [texts.long()] if task == LONG else texts.short()
    return [json.dumps({"text": text, "max_length": 128}).encode() for text in chosen]


def _probe(contender: Contender, file: Path) -> Probe:
    body, content_type = file.read_bytes(), CONTENT_TYPES[contender.task]
    if contender.form is not None:
        body, content_type = multipart(contender.form, body, content_type)
    return Probe(contender.route, body, content_type)
