"""Calls to BentoCloud: each worker process holds the token, handles one call at a time, and is killed when late."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from math import ceil
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import SecretStr

from management.backends.bentocloud.settings import BentoCloudSettings
from management.backends.bentocloud.tokens import Token
from management.errors import BackendUnavailable
from management.settings import StorageSettings

WORKER_FILE: Final = Path(__file__).with_name("worker.py")
PASSED_VARIABLES: Final = ("PATH", "LANG", "LC_ALL", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "https_proxy")
"""Environment variables that worker processes inherit, beside those that exclude hosts from proxies."""
NO_PROXY_VARIABLES: Final = ("NO_PROXY", "no_proxy")
MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
"""Bytes of the longest answer line that is read from a worker process."""
MAX_IDLE_WORKERS: Final = 2
"""Worker processes that are kept for the next call."""
READ_TIMEOUT_SECONDS: Final = 20
"""Seconds that BentoML's client waits for each part of an answer."""


class CloudNotFound(Exception):
    """BentoCloud has no object of that name."""


class CloudRefused(Exception):
    """BentoCloud or its client rejects the request; the text says why."""


class _Worker(NamedTuple):
    """A worker process, and the token that it was given."""

    process: Process
    token: SecretStr


class CloudClient:
    """A pool of worker processes that call BentoCloud."""

    def __init__(self, settings: BentoCloudSettings, storage: StorageSettings, token: Token) -> None:
        self._token = token
        self._endpoint, self._cluster = settings.endpoint, settings.cluster
        self._folder = storage.home.absolute() / "bentocloud"
        self._bentoml_home = storage.bentoml_home
        self._idle: list[_Worker] = []

    async def ask(self, verb: str, seconds: float, /, **arguments: Any) -> Any:
        """Return the result of the method ``verb`` of ``Cloud`` in ``worker.py``.

        Raises CloudNotFound, CloudRefused or BackendUnavailable.
        """
        line = json.dumps({"verb": verb, "seconds": ceil(seconds) + 1, "asked": arguments})
        answer = await self._answer(line, seconds)
        if "found" in answer:
            return answer["found"]
        text = str(answer.get("text"))
        match answer.get("fault"):
            case "missing":
                raise CloudNotFound(text)
            case "refused":
                raise CloudRefused(text)
            case _:
                raise unavailable(text)

    async def _answer(self, line: str, seconds: float) -> dict[str, Any]:
        worker: _Worker | None = None
        try:
            async with asyncio.timeout(seconds):
                token = self._token.current()
                await self._retire(token)
                worker = self._idle_worker() or await self._start_worker(token)
                answer = await _exchange(worker.process, line)
        except TimeoutError:
            raise unavailable(f"no answer within {seconds:g} s") from None
        except (OSError, ValueError) as error:  # the worker process ended, or its answer is not JSON
            raise unavailable("its client ended") from error
        else:
            if len(self._idle) < MAX_IDLE_WORKERS:
                self._idle.append(worker)
                worker = None
            return answer
        finally:
            if worker is not None:
                await _kill(worker.process)

    async def close(self) -> None:
        """Kill the idle worker processes."""
        while self._idle:
            await _kill(self._idle.pop().process)

    async def _retire(self, token: SecretStr) -> None:
        """Kill the idle worker processes that hold another token."""
        while outdated := next((worker for worker in self._idle if worker.token != token), None):
            self._idle.remove(outdated)
            await _kill(outdated.process)

    def _idle_worker(self) -> _Worker | None:
        while self._idle:
            worker = self._idle.pop()
            if worker.process.returncode is None:
                return worker
        return None

    async def _start_worker(self, token: SecretStr) -> _Worker:
        """Start a worker in an empty folder, so that the client cannot mistake a name for a file there."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", str(WORKER_FILE)),
            cwd=self._folder,
            env=self._environment(),
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            limit=MAX_ANSWER_BYTES,
            start_new_session=True,  # a Ctrl-C at the terminal must not reach it
        )
        configuration = {
            "endpoint": self._endpoint,
            "token": token.get_secret_value(),
            "cluster": self._cluster,
            "seconds": READ_TIMEOUT_SECONDS,
        }
        try:
            await _send(process, json.dumps(configuration))
        except BaseException:
            await _kill(process)
            raise
        return _Worker(process, token)

    def _environment(self) -> dict[str, str]:
        return {
            **{name: os.environ[name] for name in PASSED_VARIABLES + NO_PROXY_VARIABLES if name in os.environ},
            "HOME": str(self._folder),
            "BENTOML_HOME": str(self._bentoml_home),
            "BENTOML_DO_NOT_TRACK": "True",
        }


def unavailable(reason: str) -> BackendUnavailable:
    """Return the error for a call whose outcome is unknown, or that could not be made."""
    return BackendUnavailable({"reason": reason}, retry_after=5)


async def _exchange(process: Process, line: str) -> dict[str, Any]:
    """Send a line and return the answer. Raises ValueError when the answer is not a JSON object."""
    await _send(process, line)
    assert process.stdout is not None, "it is a pipe"  # noqa: S101
    answer = json.loads(await process.stdout.readline())
    if not isinstance(answer, dict):
        raise ValueError("no answer")
    return answer


async def _send(process: Process, line: str) -> None:
    assert process.stdin is not None, "it is a pipe"  # noqa: S101
    process.stdin.write(line.encode() + b"\n")
    await process.stdin.drain()


async def _kill(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()
