"""The rounds: every contender in turn, in another order each time, and what was seen of it."""

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
from benchmarks.load.asking import Load, asked
from benchmarks.load.load import multipart
from benchmarks.serving import stores
from benchmarks.serving.comparing import COMPARED_CLIENTS, Failure, Sample
from benchmarks.serving.contenders import CONTENDERS, CONTENT_TYPES, LIMIT, LONG, PICTURES, SUMMARIZE, Contender
from benchmarks.serving.running import NotStarted, Probe, Running, running
from tests.support.servers import ROOT

LONG_CLIENTS: Final = (1, 8)
LONG_SECONDS: Final = 4.0
"""At least; one such text may take seconds."""
LIMIT_SECONDS: Final = 120.0
GENERATOR_START_SECONDS: Final = 0.3
"""Processor time that starting the load generator takes, about."""


@dataclass(frozen=True)
class Plan:
    """What is to be measured."""

    tasks: tuple[str, ...]
    names: tuple[str, ...]
    clients: tuple[int, ...]
    seconds: float

    def loads(self, task: str, number: int) -> list[tuple[str, int]]:
        """What a server of this task is asked in that round, and by how many callers.

        All of it in the first; what the goals compare in further ones, so that their medians are of several rounds.
        """
        if number and COMPARED_CLIENTS in self.clients:
            return [(task, COMPARED_CLIENTS)]
        loads = [(task, clients) for clients in self.clients]
        return loads + [(LONG, clients) for clients in LONG_CLIENTS] if task == SUMMARIZE else loads

    @property
    def contenders(self) -> list[Contender]:
        """Those that were asked for."""
        return [one for one in CONTENDERS if one.task in self.tasks and one.name in self.names]

    @property
    def servers(self) -> list[tuple[Contender, ...]]:
        """The same, those together that one process is asked for."""
        found: dict[tuple[str, ...], list[Contender]] = {}
        for one in self.contenders:
            found.setdefault((*one.command, *one.environment.values()), []).append(one)
        return [tuple(group) for group in found.values()]

    @property
    def limited(self) -> list[str]:
        """Tasks whose limit was asked for."""
        return [task for task in PICTURES if task in self.tasks and LIMIT in self.names]

    @property
    def steps(self) -> int:
        """Of one round."""
        return len(self.servers) + len(self.limited)


@dataclass
class Results:
    """All that was seen so far."""

    samples: list[Sample] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


class Rounds:
    """Runs rounds, with models and bodies that are made once."""

    def __init__(self, plan: Plan, folder: Path, results: Results, tell: Callable[[str], None]) -> None:
        """``results`` grows with each server."""
        self.results = results
        self._plan, self._folder, self._tell = plan, folder, tell
        self._bodies = {task: _written(folder / "bodies" / task, task) for task in (*plan.tasks, LONG)}
        self._store = stores.embedding_store(folder / "store")

    def run(self, number: int) -> None:
        """One round: the first in the usual order, each further one in one of its own."""
        steps: list[tuple[Contender, ...] | str] = [*self._plan.servers, *self._plan.limited]
        if number:
            random.Random(number).shuffle(steps)
        for step in steps:
            names = [(LIMIT, step)] if isinstance(step, str) else [(one.name, one.task) for one in step]
            self._tell(f"round {number + 1}: {names[0][0]}, {' and '.join(task for _, task in names)}")
            try:
                samples = [self._limit(step)] if isinstance(step, str) else self._served(step, number)
            except (NotStarted, RuntimeError, subprocess.SubprocessError) as error:
                self.results.failures += [Failure(name, task, number, str(error)) for name, task in names]
            else:
                self.results.samples += [replace(one, round=number) for one in samples]

    def _served(self, together: Sequence[Contender], number: int) -> list[Sample]:
        """Starts them, loads each with every number of clients of that round, and ends them."""
        first = together[0]
        with tempfile.TemporaryDirectory(prefix="at-b-", ignore_cleanup_errors=True) as name:
            probe = _probe(first, self._bodies[first.task][0])
            with running(first, self._environment(Path(name)), probe) as server:
                return [
                    self._loaded(one, server, task, clients)
                    for one in together
                    for task, clients in self._plan.loads(one.task, number)
                ]

    def _loaded(self, contender: Contender, server: Running, task: str, clients: int) -> Sample:
        """One load, with what it cost the server."""
        seconds = max(self._plan.seconds, LONG_SECONDS) if task == LONG else self._plan.seconds
        load = Load(
            server.url + contender.route, self._bodies[task], clients, seconds, CONTENT_TYPES[task], contender.form
        )
        clock, before, busy = time.perf_counter(), server.cpu_seconds(), machine.busy_seconds()
        outcome = asked(load)
        busy, took = machine.busy_seconds() - busy, time.perf_counter() - clock
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
            others=max(0.0, busy - used - outcome.generator_seconds - GENERATOR_START_SECONDS) / took,
        )

    def _limit(self, task: str) -> Sample:
        files = [str(one) for one in self._bodies[task]]
        command = [sys.executable, "-m", "benchmarks.limit", task, *files, "--seconds", str(self._plan.seconds)]
        with tempfile.TemporaryDirectory(prefix="at-b-") as name:
            environment = {**os.environ, **self._environment(Path(name))}
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False
            )
        if done.returncode:
            raise RuntimeError(done.stderr[-1500:])
        return Sample(LIMIT, task, 0, 0, json.loads(done.stdout)["per_second"])

    def _environment(self, folder: Path) -> Mapping[str, str]:
        """A home of its own for each server, and nothing that is sent anywhere."""
        home = stores.linked(self._store, folder / "bentoml")
        return {
            "BENTOML_HOME": str(home),
            "BENTOML_DO_NOT_TRACK": "True",
            "ATELIER_HOME": str(folder / "atelier"),
            "TMPDIR": str(folder),
            "PYTHONUNBUFFERED": "1",
        }


def _written(folder: Path, task: str) -> list[Path]:
    """The bodies of a task as files."""
    folder.mkdir(parents=True)
    bodies = pictures.photographs() if task in PICTURES else _text_bodies(task)
    files = [folder / f"{number}" for number in range(len(bodies))]
    for file, body in zip(files, bodies, strict=True):
        file.write_bytes(body)
    return files


def _text_bodies(task: str) -> list[bytes]:
    told: Sequence[str] = [texts.long()] if task == LONG else texts.short()
    return [json.dumps({"text": text, "max_length": 128}).encode() for text in told]


def _probe(contender: Contender, file: Path) -> Probe:
    body, content_type = file.read_bytes(), CONTENT_TYPES[contender.task]
    if contender.form is not None:
        body, content_type = multipart(contender.form, body, content_type)
    return Probe(contender.route, body, content_type)
