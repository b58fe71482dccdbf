"""The rounds: every contender in turn, in another order each time, and what was seen of it."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks import pictures, stores, texts
from benchmarks.asking import asked
from benchmarks.comparing import Failure, Sample
from benchmarks.contenders import CONTENDERS, CONTENT_TYPES, LIMIT, LONG, PICTURES, SUMMARIZE, Contender
from benchmarks.load import multipart
from benchmarks.running import NotStarted, Running, running
from tests.servers import ROOT

LONG_CLIENTS: Final = (1, 8)
LIMIT_SECONDS: Final = 120.0


@dataclass(frozen=True)
class Plan:
    """What is to be measured."""

    tasks: tuple[str, ...]
    names: tuple[str, ...]
    clients: tuple[int, ...]
    seconds: float

    @property
    def contenders(self) -> list[Contender]:
        """Those that were asked for."""
        return [one for one in CONTENDERS if one.task in self.tasks and one.name in self.names]

    @property
    def limited(self) -> list[str]:
        """Tasks whose limit was asked for."""
        return [task for task in PICTURES if task in self.tasks and LIMIT in self.names]

    @property
    def steps(self) -> int:
        """Of one round."""
        return len(self.contenders) + len(self.limited)


@dataclass
class Results:
    """All that was seen so far."""

    samples: list[Sample] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


class Rounds:
    """Runs rounds, with models and bodies that are made once."""

    def __init__(self, plan: Plan, folder: Path, tell: Callable[[str], None]) -> None:
        self.results = Results()
        self._plan, self._folder, self._tell = plan, folder, tell
        self._bodies = {task: _written(folder / "bodies" / task, task) for task in (*plan.tasks, LONG)}
        self._store = stores.embedding_store(folder / "store")

    def run(self, number: int) -> None:
        """One round: the first in the usual order, each further one in one of its own."""
        steps: list[Contender | str] = [*self._plan.contenders, *self._plan.limited]
        if number:
            random.Random(number).shuffle(steps)
        for step in steps:
            name, task = (LIMIT, step) if isinstance(step, str) else (step.name, step.task)
            self._tell(f"round {number + 1}: {name}, {task}")
            try:
                self.results.samples += self._measured(step, number)
            except (NotStarted, RuntimeError, subprocess.SubprocessError) as error:
                self.results.failures.append(Failure(name, task, number, str(error)))

    def _measured(self, step: Contender | str, number: int) -> list[Sample]:
        return [self._limit(step, number)] if isinstance(step, str) else self._served(step, number)

    def _served(self, contender: Contender, number: int) -> list[Sample]:
        """Starts it, loads it with every number of clients, and ends it."""
        with tempfile.TemporaryDirectory(prefix="at-b-") as name:
            first, content = _first_body(contender, self._bodies[contender.task][0])
            with running(contender, self._environment(Path(name)), first, content) as server:
                samples = [self._loaded(contender, server, number, clients) for clients in self._plan.clients]
                if contender.task == SUMMARIZE:
                    samples += [self._loaded(contender, server, number, one, LONG) for one in LONG_CLIENTS]
                return samples

    def _loaded(
        self, contender: Contender, server: Running, number: int, clients: int, task: str | None = None
    ) -> Sample:
        """One load, with what it cost the server."""
        told = task or contender.task
        before = server.cpu_seconds()
        outcome = asked(
            server.url,
            self._bodies[told],
            clients,
            self._plan.seconds,
            content_type=CONTENT_TYPES[told],
            form=contender.form,
        )
        used, errors = server.cpu_seconds() - before, sum(outcome.errors.values())
        return Sample(
            contender=contender.name,
            task=told,
            clients=clients,
            round=number,
            per_second=outcome.per_second,
            p50_ms=outcome.p50_ms,
            p99_ms=outcome.p99_ms,
            errors=errors,
            cpu_ms=1000 * used / max(1, outcome.answered + errors),
            megabytes=server.megabytes(),
            start_seconds=server.start_seconds,
            kinds=", ".join(f"{count} {kind}" for kind, count in outcome.errors.items()),
        )

    def _limit(self, task: str, number: int) -> Sample:
        files = [str(one) for one in self._bodies[task]]
        command = [sys.executable, "-m", "benchmarks.limit", task, *files, "--seconds", str(self._plan.seconds)]
        with tempfile.TemporaryDirectory(prefix="at-b-") as name:
            environment = {**os.environ, **self._environment(Path(name))}
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False
            )
        if done.returncode:
            raise RuntimeError(done.stderr[-1500:])
        return Sample(LIMIT, task, 0, number, json.loads(done.stdout)["per_second"])

    def _environment(self, folder: Path) -> Mapping[str, str]:
        """A home of its own for each server, and nothing that is sent anywhere."""
        home = stores.linked(self._store, folder / "bentoml")
        return {
            "BENTOML_HOME": str(home),
            "BENTOML_DO_NOT_TRACK": "True",
            "ATELIER_HOME": str(folder / "atelier"),
            "RAY_USAGE_STATS_ENABLED": "0",
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


def _first_body(contender: Contender, file: Path) -> tuple[bytes, str]:
    """The request that a contender is asked until it answers."""
    content = CONTENT_TYPES[contender.task]
    return multipart(contender.form, file.read_bytes(), content) if contender.form else (file.read_bytes(), content)
