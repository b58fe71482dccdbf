"""Replicas as processes of this machine: one each, with a folder, an environment and a socket of its own.

A replica's folder holds a lock that is taken before the process begins and is handed over to it. The replica lives as
long as the lock is held; no process id and no port has to be trusted for that. A replica outlives the control plane and
is found again by its folder. Its parent is a keeper (``keeper.py``), which keeps the log and kills whatever the replica
started. This launcher kills the same processes, by the id in their environment and by descent.
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import secrets
import select
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from typing_extensions import override

from management.backends.launcher import (
    Launch,
    Launcher,
    LaunchRefused,
    Observation,
    Phase,
    ReplicaUsage,
)
from management.backends.process import processes, replica_folder, secret_memory
from management.backends.process.images import tag_to_launch
from management.backends.replica import probe
from management.backends.replica.environment import environment, tasks_folder
from management.backends.replica.files import ARBITER, FORWARDER, HOST, KEEPER
from management.errors import BackendUnavailable
from management.faults import exhaustion, failpoints
from management.settings import ReplicaSettings, StorageSettings

REAP_SECONDS: Final = 2.0
"""Seconds within which a keeper whose replica's lock is free can be reaped."""
KEEPER_START_SECONDS: Final = 10.0
"""Seconds that a keeper has to begin its replica."""
KILLED_STATUSES: Final = (-signal.SIGKILL, -signal.SIGTERM)
"""Exit codes of a replica that a signal from outside ended."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Python:
    """The Python that a replica runs under."""

    path: str = sys.executable
    environment: str = ""
    """Digest of the environment that it belongs to; empty for the server's own."""
    options: tuple[str, ...] = ("-P",)
    """Options that keep the folder of the replica's host from being imported from."""


Interpreter = Callable[[str], Awaitable[Python]]
"""Returns the Python for replicas of an image. Raises LaunchRefused where it is not ready."""


async def servers_own(_: str) -> Python:
    """Return the server's own Python, for every image."""
    return Python()


class ProcessLauncher(Launcher):
    """The launcher of the process backend."""

    def __init__(
        self, storage: StorageSettings, replicas: ReplicaSettings, interpreter: Interpreter = servers_own
    ) -> None:
        self._interpreter = interpreter
        self._home, self._bentoml_home = storage.replicas, storage.bentoml_home
        self._stop_seconds, self._log_bytes = replicas.stop_seconds, replicas.log_bytes
        with suppress(OSError):  # the disk may be full; the next start makes the folder
            self._home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    @override
    async def start(self, launch: Launch) -> None:
        """Start a keeper with the replica; the Bento must be in the store, and its environment ready."""
        python = await self._interpreter(launch.docker_image)
        await asyncio.to_thread(self._start, launch, python)

    def _start(self, launch: Launch, python: Python) -> None:
        folder = self._home / launch.replica_id
        try:
            self._home.mkdir(mode=0o700, exist_ok=True, parents=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            with (folder / "lock").open("ab") as lock:
                if not replica_folder.taken(lock.fileno()):
                    processes.sweep(launch.replica_id)  # processes may be left when a folder was removed
                    self._spawn(launch, folder, lock.fileno(), python)
        except (OSError, MemoryError, RuntimeError) as error:
            if exhaustion.of_scarcity(error):
                details = {"backend": "process", "reason": "this server has no descriptors, memory or processes left"}
                raise BackendUnavailable(details, retry_after=5) from error
            if not isinstance(error, OSError):
                raise
            raise LaunchRefused(f"the process cannot be started ({error.strerror})") from error

    def _spawn(self, launch: Launch, folder: Path, lock: int, python: Python) -> None:
        with secret_memory.holding(launch.secrets) as secrets_fd:
            self._spawn_with(launch, folder, lock, secrets_fd, python)

    def _spawn_with(self, launch: Launch, folder: Path, lock: int, secrets_fd: int | None, python: Python) -> None:
        arguments = {
            "bento": str(tag_to_launch(launch.docker_image)),
            "arbiter": str(ARBITER),
            "forwarder": str(FORWARDER),
            "lock_fd": lock,
            "stop_seconds": self._stop_seconds,
            "secrets_fd": secrets_fd,
        }
        (folder / "launch.json").write_text(json.dumps(arguments))
        if python.environment:
            (folder / replica_folder.ENVIRONMENT).write_text(python.environment)
        token = os.open(folder / "token", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(token, "wb") as file:
            file.write(secrets.token_bytes(32))
        read_end, write_end = os.pipe()
        with open(read_end, "rb", buffering=0) as pipe:
            try:
                inherited = (lock, *([] if secrets_fd is None else [secrets_fd]))
                child = self._keeper(launch, folder, inherited, write_end, python)
            finally:
                os.close(write_end)
            try:
                failpoints.reach("start.spawned")
                pid = _replica_pid(pipe.fileno())
                (folder / "pid").write_text(f"{pid} {replica_folder.began(pid)}")
            except BaseException:
                child.kill()  # the replica dies with its keeper
                child.wait()
                raise
        self._children[launch.replica_id] = child

    def _keeper(
        self, launch: Launch, folder: Path, inherited: tuple[int, ...], write_end: int, python: Python
    ) -> subprocess.Popen[bytes]:
        """Start the keeper, which writes the replica's process id to ``write_end``; the replica has ``inherited``."""
        host = [python.path, *python.options, str(HOST), str(folder)]
        keeper = subprocess.Popen(  # noqa: S603
            [sys.executable, "-I", "-S", str(KEEPER)],
            cwd=folder,
            env=environment(launch, folder, self._bentoml_home),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(*inherited, write_end),
            start_new_session=True,  # a Ctrl-C at the terminal must not reach it
        )
        assert keeper.stdin is not None  # noqa: S101
        with keeper.stdin as stdin, suppress(BrokenPipeError):  # it has failed, and writes no process id
            stdin.write(os.fsencode("\0".join((str(folder), str(self._log_bytes), str(write_end), *host))))
        return keeper

    @override
    async def observe(self, replica_id: str) -> Observation:
        try:
            return await self._look(replica_id)
        except (OSError, MemoryError, RuntimeError, probe.NotObserved) as error:
            logger.debug("replica %s cannot be observed", replica_id, exc_info=error)
            return Observation(Phase.UNKNOWN)

    async def _look(self, replica_id: str) -> Observation:
        folder = self._home / replica_id
        child = self._children.get(replica_id)
        exit_code = None if child is None else child.poll()  # which also reaps it
        if not folder.is_dir():
            return Observation(Phase.ABSENT)
        if exit_code is not None or not replica_folder.alive(folder):  # a forked child may still hold its lock
            if child is not None and exit_code is None:
                exit_code = await asyncio.to_thread(_exit_code, child)
            begun = (folder / "pid").exists()
            if not begun:
                return Observation(Phase.ABSENT)
            crashed = exit_code is not None and exit_code not in KILLED_STATUSES
            return Observation(Phase.EXITED, reason=_reason(exit_code), crashed=crashed)
        if not (folder / "http.sock").exists():
            return Observation(Phase.STARTING)
        return await self._probe(folder)

    async def _probe(self, folder: Path) -> Observation:
        """Probe a replica that lives and listens."""
        try:
            token = (folder / "token").read_bytes()
        except FileNotFoundError:  # its folder is being removed
            answer = None
        else:
            answer = await probe.through_socket(folder / "http.sock", token)
        phase = Phase.UNRESPONSIVE if answer is None else Phase.READY if answer.ready else Phase.STARTING
        return Observation(phase, address=f"unix:{folder / 'http.sock'}", in_flight=answer.in_flight if answer else 0)

    @override
    async def usage(self, replica_ids: Collection[str]) -> dict[str, ReplicaUsage]:
        return await asyncio.to_thread(self._usage, replica_ids)

    def _usage(self, replica_ids: Collection[str]) -> dict[str, ReplicaUsage]:
        pids = {}
        for replica_id in replica_ids:
            with suppress(OSError, ValueError, IndexError):
                pids[replica_id] = int((self._home / replica_id / "pid").read_text().split()[0])
        return processes.usage(pids)

    @override
    async def stop(self, replica_id: str, grace_seconds: float) -> None:
        folder = self._home / replica_id
        family = await asyncio.to_thread(processes.family, replica_folder.pid(folder))
        if grace_seconds > 0 and replica_folder.alive(folder) and replica_folder.send(folder, signal.SIGTERM):
            await self._until_dead(replica_id, grace_seconds)
        if replica_folder.alive(folder):
            replica_folder.send(folder, signal.SIGKILL)
            await self._until_dead(replica_id, self._stop_seconds)
        await asyncio.to_thread(processes.sweep, replica_id, family)
        await asyncio.to_thread(secret_memory.remove, folder)
        child = self._children.pop(replica_id, None)
        if child is not None:
            with suppress(subprocess.TimeoutExpired):  # its lock is free a moment before it can be reaped
                await asyncio.to_thread(child.wait, REAP_SECONDS)

    async def _until_dead(self, replica_id: str, seconds: float) -> None:
        deadline = asyncio.get_running_loop().time() + seconds
        while replica_folder.alive(self._home / replica_id) and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.02)
            if child := self._children.get(replica_id):
                child.poll()

    @override
    async def list_running(self) -> list[str]:
        """Return the ids of replicas whose host lives, and of those that left a process behind."""
        hosts = [folder.name for folder in self._folders() if replica_folder.alive(folder)]
        return sorted({*hosts, *await asyncio.to_thread(processes.strays, self._home)})

    @override
    async def list_leftovers(self) -> list[str]:
        return [folder.name for folder in self._folders()]

    def _folders(self) -> list[Path]:
        try:
            return [folder for folder in self._home.iterdir() if folder.is_dir()]
        except FileNotFoundError:  # the folder was removed; the next start makes it again
            return []

    @override
    async def log(self, replica_id: str, lines: int) -> list[str]:
        return await asyncio.to_thread(replica_folder.tail, self._home / replica_id, lines)

    @override
    async def remove_files(self, replica_id: str) -> None:
        await asyncio.to_thread(secret_memory.remove, self._home / replica_id)
        await asyncio.to_thread(replica_folder.remove, self._home / replica_id)

    @override
    async def remove_model_files(self, model_id: str) -> None:
        for suffix in ("", "-wal", "-shm"):
            (tasks_folder(self._home) / f"{model_id}.db{suffix}").unlink(missing_ok=True)


def _replica_pid(pipe: int) -> int:
    """Return the process id that the keeper writes to the pipe. Raises OSError when it does not start its replica."""
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    if poll.poll(KEEPER_START_SECONDS * 1000) and (number := os.read(pipe, 32)):
        return int(number)
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def _exit_code(child: subprocess.Popen[bytes]) -> int | None:
    """Return the exit code of a child whose lock is free: it can be reaped a moment later."""
    try:
        return child.wait(REAP_SECONDS)
    except subprocess.TimeoutExpired:
        return None


def _reason(exit_code: int | None) -> str:
    if exit_code is None:
        return "the process ended"
    if exit_code < 0:
        known = -exit_code in set(signal.Signals)  # real-time signals have numbers only
        return f"the process was ended by {signal.Signals(-exit_code).name if known else f'signal {-exit_code}'}"
    return f"the process ended with exit status {exit_code}"
