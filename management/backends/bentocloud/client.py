"""The way to BentoCloud: processes that have its token, each asked one thing at a time, and ended when it is late."""

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

from management.backends.bentocloud.tokens import Token
from management.errors import BackendUnavailable
from management.settings import Settings

CALLS: Final = Path(__file__).with_name("worker.py")
PASSED: Final = ("PATH", "LANG", "LC_ALL", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "https_proxy")
"""Of this process's environment, to that of the processes which call."""
PROXIES: Final = ("NO_PROXY", "no_proxy")
MOST_BYTES: Final = 64 * 1024 * 1024
"""Of an answer."""
MOST_IDLE: Final = 2
"""Processes that are kept for the next call."""
READING_SECONDS: Final = 20
"""That the client waits for each part of an answer."""


class CloudNotFound(Exception):
    """BentoCloud has nothing of that name."""


class CloudRefused(Exception):
    """BentoCloud, or its client, does not take it as it is; the text says why."""


class _Caller(NamedTuple):
    """A process that calls, and the token that it was given."""

    process: Process
    token: SecretStr


class CloudClient:
    """Calls BentoCloud."""

    def __init__(self, settings: Settings, token: Token) -> None:
        self._token = token
        self._endpoint, self._cluster = settings.cloud_endpoint, settings.cloud_cluster
        self._folder = settings.home.absolute() / "bentocloud"
        self._bentoml_home = settings.bentoml_home
        self._idle: list[_Caller] = []

    async def ask(self, verb: str, seconds: float, /, **asked: Any) -> Any:
        """What ``Cloud`` of ``worker.py`` answers. Raises Missing, Refused or BackendUnavailable."""
        told = await self._answer(json.dumps({"verb": verb, "seconds": ceil(seconds) + 1, "asked": asked}), seconds)
        if "found" in told:
            return told["found"]
        text = str(told.get("text"))
        match told.get("fault"):
            case "missing":
                raise CloudNotFound(text)
            case "refused":
                raise CloudRefused(text)
            case _:
                raise unavailable(text)

    async def _answer(self, line: str, seconds: float) -> dict[str, Any]:
        caller: _Caller | None = None
        try:
            async with asyncio.timeout(seconds):
                token = self._token.current()
                await self._retire(token)
                caller = self._reused() or await self._begun(token)
                found = await _said(caller.process, line)
        except TimeoutError:
            raise unavailable(f"no answer within {seconds:g} s") from None
        except (OSError, ValueError) as error:  # its process ended, or says what nobody can read
            raise unavailable("its client ended") from error
        else:
            if len(self._idle) < MOST_IDLE:
                self._idle.append(caller)
                caller = None
            return found
        finally:
            if caller is not None:
                await _end(caller.process)

    async def close(self) -> None:
        """Ends the processes that wait for a call."""
        while self._idle:
            await _end(self._idle.pop().process)

    async def _retire(self, token: SecretStr) -> None:
        """Ends the processes that wait for a call, and have another token."""
        while old := next((one for one in self._idle if one.token != token), None):
            self._idle.remove(old)
            await _end(old.process)

    def _reused(self) -> _Caller | None:
        while self._idle:
            caller = self._idle.pop()
            if caller.process.returncode is None:
                return caller
        return None

    async def _begun(self, token: SecretStr) -> _Caller:
        """Its folder is empty: where the client takes a name for a file, it finds none."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", str(CALLS)),
            cwd=self._folder,
            env=self._environment(),
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            limit=MOST_BYTES,
            start_new_session=True,  # a Ctrl-C at the terminal is not meant for it
        )
        told = {
            "endpoint": self._endpoint,
            "token": token.get_secret_value(),
            "cluster": self._cluster,
            "seconds": READING_SECONDS,
        }
        try:
            await _tell(process, json.dumps(told))
        except BaseException:
            await _end(process)
            raise
        return _Caller(process, token)

    def _environment(self) -> dict[str, str]:
        return {
            **{name: os.environ[name] for name in PASSED + PROXIES if name in os.environ},
            "HOME": str(self._folder),
            "BENTOML_HOME": str(self._bentoml_home),
            "BENTOML_DO_NOT_TRACK": "True",
        }


def unavailable(reason: str) -> BackendUnavailable:
    """BentoCloud cannot be asked, or it is not known what came of it."""
    return BackendUnavailable({"reason": reason}, retry_after=5)


async def _said(process: Process, line: str) -> dict[str, Any]:
    await _tell(process, line)
    assert process.stdout is not None, "it is a pipe"  # noqa: S101
    told = json.loads(await process.stdout.readline())
    if not isinstance(told, dict):
        raise ValueError("no answer")
    return told


async def _tell(process: Process, line: str) -> None:
    assert process.stdin is not None, "it is a pipe"  # noqa: S101
    process.stdin.write(line.encode() + b"\n")
    await process.stdin.drain()


async def _end(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()
