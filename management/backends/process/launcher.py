"""Replicas as processes of this machine: one each, with a folder, an environment and a socket of its own.

A replica's folder holds a lock that is taken before the process begins and handed over to it: who holds it lives, and
nothing else needs to be believed, no process id and no port. A replica outlives the control plane and is found again
by its folder. Over it stands a keeper (``keeper.py``), whose child it is: it keeps the log, and ends whatever
the replica started, as do we, by the id in the environment and by descent.
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
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

from typing_extensions import override

from management.backends.base import (
    Launch,
    Launcher,
    LaunchRefused,
    Observation,
    Phase,
    ReplicaUsage,
)
from management.backends.process import processes, replica_folder
from management.backends.replica import probe
from management.backends.replica.environment import environment
from management.backends.replica.files import ARBITER, HOST, KEEPER
from management.domain.bento_tag import (
    tag_of,
)
from management.errors import BackendUnavailable
from management.faults import exhaustion, failpoints
from management.settings import Settings

REAP_SECONDS: Final = 2.0
KEEPER_SECONDS: Final = 10.0
"""That a keeper has to begin its replica."""
KILLED: Final = (-signal.SIGKILL, -signal.SIGTERM)

logger = logging.getLogger(__name__)


class ProcessLauncher(Launcher):
    """The launcher of the process backend."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._home = settings.replicas
        with suppress(OSError):  # a disk may be full; the next start makes it
            self._home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    @override
    async def start(self, launch: Launch) -> None:
        """The Bento must be in the store."""
        await asyncio.to_thread(self._start, launch)

    def _start(self, launch: Launch) -> None:
        folder = self._home / launch.replica_id
        try:
            self._home.mkdir(mode=0o700, exist_ok=True, parents=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            with (folder / "lock").open("ab") as lock:
                if not replica_folder.taken(lock.fileno()):
                    processes.sweep(launch.replica_id)  # left where a folder was removed
                    self._spawn(launch, folder, lock.fileno())
        except (OSError, MemoryError, RuntimeError) as error:
            if exhaustion.of_scarcity(error):
                told = {"backend": "process", "reason": "this server has no descriptors, memory or processes left"}
                raise BackendUnavailable(told, retry_after=5) from error
            if not isinstance(error, OSError):
                raise
            raise LaunchRefused(f"the process cannot be started ({error.strerror})") from error

    def _spawn(self, launch: Launch, folder: Path, lock: int) -> None:
        told = {
            "bento": str(tag_of(launch.docker_image)),
            "arbiter": str(ARBITER),
            "lock_fd": lock,
            "stop_seconds": self._settings.stop_seconds,
        }
        (folder / "launch.json").write_text(json.dumps(told))
        token = os.open(folder / "token", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(token, "wb") as file:
            file.write(secrets.token_bytes(32))
        reads, writes = os.pipe()
        with open(reads, "rb", buffering=0) as said:
            try:
                child = self._keeper(launch, folder, lock, writes)
            finally:
                os.close(writes)
            try:
                failpoints.reach("start.spawned")
                pid = _told(said.fileno())
                (folder / "pid").write_text(f"{pid} {replica_folder.began(pid)}")
            except BaseException:
                child.kill()  # and with it the replica
                child.wait()
                raise
        self._children[launch.replica_id] = child

    def _keeper(self, launch: Launch, folder: Path, lock: int, writes: int) -> subprocess.Popen[bytes]:
        """Begins it; the replica's process id comes through ``writes``."""
        host = [sys.executable, "-P", str(HOST), str(folder)]
        keeper = subprocess.Popen(  # noqa: S603
            [sys.executable, "-I", "-S", str(KEEPER)],
            cwd=folder,
            env=environment(launch, folder, self._settings),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(lock, writes),
            start_new_session=True,  # a Ctrl-C at the terminal is not meant for it
        )
        assert keeper.stdin is not None  # noqa: S101
        with keeper.stdin as given, suppress(BrokenPipeError):  # it has failed, and tells no process id
            given.write(os.fsencode("\0".join((str(folder), str(self._settings.log_bytes), str(writes), *host))))
        return keeper

    @override
    async def observe(self, replica_id: str) -> Observation:
        try:
            return await self._look(replica_id)
        except (OSError, MemoryError, RuntimeError, probe.NotObserved) as error:
            logger.debug("replica %s cannot be looked at", replica_id, exc_info=error)
            return Observation(Phase.UNKNOWN)

    async def _look(self, replica_id: str) -> Observation:
        folder = self._home / replica_id
        child = self._children.get(replica_id)
        exit_code = None if child is None else child.poll()  # also spares us a zombie
        if not folder.is_dir():
            return Observation(Phase.ABSENT)
        if exit_code is not None or not replica_folder.alive(folder):  # what it had forked may hold its lock
            if child is not None and exit_code is None:
                exit_code = await asyncio.to_thread(_exit_code, child)
            begun = (folder / "pid").exists()
            if not begun:
                return Observation(Phase.ABSENT)
            crashed = exit_code is not None and exit_code not in KILLED
            return Observation(Phase.EXITED, reason=_reason(exit_code), crashed=crashed)
        if not (folder / "http.sock").exists():
            return Observation(Phase.STARTING)
        return await self._asked(folder)

    async def _asked(self, folder: Path) -> Observation:
        """What one says that lives, and listens."""
        try:
            token = (folder / "token").read_bytes()
        except FileNotFoundError:  # its folder is being removed
            said = None
        else:
            said = await probe.through_socket(folder / "http.sock", token)
        phase = Phase.UNRESPONSIVE if said is None else Phase.READY if said.ready else Phase.STARTING
        return Observation(phase, address=f"unix:{folder / 'http.sock'}", in_flight=said.in_flight if said else 0)

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
            await self._until_dead(replica_id, self._settings.stop_seconds)
        await asyncio.to_thread(processes.sweep, replica_id, family)
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
        """Replicas whose host lives, and those that left a process behind."""
        hosts = [folder.name for folder in self._folders() if replica_folder.alive(folder)]
        return sorted({*hosts, *await asyncio.to_thread(processes.strays, self._home)})

    @override
    async def list_leftovers(self) -> list[str]:
        return [folder.name for folder in self._folders()]

    def _folders(self) -> list[Path]:
        try:
            return [folder for folder in self._home.iterdir() if folder.is_dir()]
        except FileNotFoundError:  # somebody removed it; the next start makes it anew
            return []

    @override
    async def log(self, replica_id: str, lines: int) -> list[str]:
        return await asyncio.to_thread(replica_folder.tail, self._home / replica_id, lines)

    @override
    async def remove_files(self, replica_id: str) -> None:
        await asyncio.to_thread(replica_folder.remove, self._home / replica_id)


def _told(said: int) -> int:
    """The process id that a keeper tells. Raises OSError when it does not begin its replica."""
    poll = select.poll()
    poll.register(said, select.POLLIN)
    if poll.poll(KEEPER_SECONDS * 1000) and (number := os.read(said, 32)):
        return int(number)
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def _exit_code(child: subprocess.Popen[bytes]) -> int | None:
    """Of one that has let go of its lock: it can be reaped a moment later."""
    try:
        return child.wait(REAP_SECONDS)
    except subprocess.TimeoutExpired:
        return None


def _reason(exit_code: int | None) -> str:
    if exit_code is None:
        return "the process ended"
    if exit_code < 0:
        known = -exit_code in set(signal.Signals)  # those for real time have numbers alone
        return f"the process was ended by {signal.Signals(-exit_code).name if known else f'signal {-exit_code}'}"
    return f"the process ended with exit status {exit_code}"
