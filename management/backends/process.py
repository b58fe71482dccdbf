"""Replicas as processes of this machine: one each, with a folder, an environment and a socket of its own.

A replica's folder holds a lock that is taken before the process begins and handed over to it: who holds it lives, and
nothing else needs to be believed, no process id and no port. A replica outlives the control plane and is found again
by its folder. Whatever it started itself carries its id in its environment and is ended with it.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

from management import failpoints
from management.backends import host_processes, replica_state
from management.backends.base import TAIL_BYTES, Launch, Launcher, LaunchRefusedError, Observation, Phase, Usage
from management.backends.host_environment import environment
from management.bentos import tag_of
from management.settings import Settings

HOST: Final = Path(__file__).with_name("replica_host.py")
REAP_SECONDS: Final = 2.0
KILLED: Final = (-signal.SIGKILL, -signal.SIGTERM)

logger = logging.getLogger(__name__)


class ProcessLauncher(Launcher):
    """The launcher of the process backend."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._home = settings.replicas
        self._home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    async def start(self, launch: Launch) -> None:
        """As the contract says; the Bento must be in the store."""
        await asyncio.to_thread(self._start, launch)

    def _start(self, launch: Launch) -> None:
        folder = self._home / launch.replica_id
        try:
            folder.mkdir(mode=0o700, exist_ok=True, parents=True)
            with (folder / "lock").open("ab") as lock:
                if not _taken(lock.fileno()):
                    host_processes.sweep(launch.replica_id)  # left where a folder was removed
                    self._spawn(launch, folder, lock.fileno())
        except OSError as error:
            raise LaunchRefusedError(f"the process cannot be started ({error.strerror})") from error

    def _spawn(self, launch: Launch, folder: Path, lock: int) -> None:
        told = {
            "bento": str(tag_of(launch.docker_image)),
            "lock_fd": lock,
            "log_bytes": self._settings.log_bytes,
            "stop_seconds": self._settings.stop_seconds,
        }
        (folder / "launch.json").write_text(json.dumps(told))
        token = os.open(folder / "token", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(token, "wb") as file:
            file.write(secrets.token_bytes(32))
        with (folder / "log").open("ab") as log:
            child = subprocess.Popen(  # noqa: S603
                [sys.executable, "-P", str(HOST), str(folder)],
                cwd=folder,
                env=environment(launch, folder, self._settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(lock,),
                start_new_session=True,  # a Ctrl-C at the terminal is not meant for it
            )
        failpoints.reach("start.spawned")
        (folder / "pid").write_text(f"{child.pid} {_began(child.pid)}")
        self._children[launch.replica_id] = child

    async def observe(self, replica_id: str) -> Observation:
        """As the contract says."""
        folder = self._home / replica_id
        child = self._children.get(replica_id)
        exit_code = None if child is None else child.poll()  # also spares us a zombie
        if not folder.is_dir():
            return Observation(Phase.ABSENT)
        if exit_code is not None or not _alive(folder):  # what it had forked may hold its lock
            if child is not None and exit_code is None:
                exit_code = await asyncio.to_thread(_exit_code, child)
            begun = (folder / "pid").exists()
            if not begun:
                return Observation(Phase.ABSENT)
            crashed = exit_code is not None and exit_code not in KILLED
            return Observation(Phase.EXITED, reason=_reason(exit_code), crashed=crashed)
        if not (folder / "http.sock").exists():
            return Observation(Phase.STARTING)
        try:
            said = await replica_state.through_socket(folder / "http.sock", (folder / "token").read_bytes())
        except OSError:  # its folder is being removed
            said = None
        phase = Phase.SILENT if said is None else Phase.READY if said.ready else Phase.STARTING
        return Observation(phase, address=f"unix:{folder / 'http.sock'}", in_flight=said.in_flight if said else 0)

    async def usage(self, replica_ids: Collection[str]) -> dict[str, Usage]:
        """As the contract says."""
        return await asyncio.to_thread(self._usage, replica_ids)

    def _usage(self, replica_ids: Collection[str]) -> dict[str, Usage]:
        pids = {}
        for replica_id in replica_ids:
            with suppress(OSError, ValueError, IndexError):
                pids[replica_id] = int((self._home / replica_id / "pid").read_text().split()[0])
        return host_processes.usage(pids)

    async def stop(self, replica_id: str, grace_seconds: float) -> None:
        """As the contract says."""
        folder = self._home / replica_id
        if grace_seconds > 0 and _alive(folder) and _signal(folder, signal.SIGTERM):
            await self._until_dead(replica_id, grace_seconds)
        if _alive(folder):
            _signal(folder, signal.SIGKILL)
            await self._until_dead(replica_id, self._settings.stop_seconds)
        await asyncio.to_thread(host_processes.sweep, replica_id)
        child = self._children.pop(replica_id, None)
        if child is not None:
            with suppress(subprocess.TimeoutExpired):  # its lock is free a moment before it can be reaped
                await asyncio.to_thread(child.wait, REAP_SECONDS)

    async def _until_dead(self, replica_id: str, seconds: float) -> None:
        deadline = asyncio.get_running_loop().time() + seconds
        while _alive(self._home / replica_id) and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.02)
            if child := self._children.get(replica_id):
                child.poll()

    async def running(self) -> list[str]:
        """As the contract says: those whose host lives, and those of whom some process was left behind."""
        hosts = [folder.name for folder in self._folders() if _alive(folder)]
        return sorted({*hosts, *await asyncio.to_thread(host_processes.strays, self._home)})

    async def left(self) -> list[str]:
        """As the contract says."""
        return [folder.name for folder in self._folders()]

    def _folders(self) -> list[Path]:
        try:
            return [folder for folder in self._home.iterdir() if folder.is_dir()]
        except FileNotFoundError:  # somebody removed it; the next start makes it anew
            return []

    async def log(self, replica_id: str, lines: int) -> list[str]:
        """As the contract says."""
        return await asyncio.to_thread(_tail, self._home / replica_id, lines)

    async def clean(self, replica_id: str) -> None:
        """As the contract says."""
        await asyncio.to_thread(_remove, self._home / replica_id)


def _taken(lock: int) -> bool:
    """Takes the lock for whoever holds this file open; True when somebody else has it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


def _alive(folder: Path) -> bool:
    """Whether the replica of this folder holds its lock."""
    try:
        with (folder / "lock").open("rb") as lock:
            return _taken(lock.fileno())
    except OSError:
        return False


def _signal(folder: Path, number: signal.Signals) -> bool:
    """Whether the signal was sent; never to another process that got the same id since."""
    try:
        pid, began = (folder / "pid").read_text().split()
        handle = os.pidfd_open(int(pid))
    except (OSError, ValueError):
        return False
    try:
        if _began(int(pid)) == began:
            signal.pidfd_send_signal(handle, number)
            return True
    except OSError:
        pass
    finally:
        os.close(handle)
    return False


def _began(pid: int) -> str:
    """When the process began, in ticks since the machine did: with its id, its name for ever. Empty for none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


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


def _remove(folder: Path) -> None:
    """The replica's folder, and the one that its host made where paths are short."""
    shutil.rmtree(Path("/tmp") / f"at-{folder.name[:16]}", ignore_errors=True)  # noqa: S108
    shutil.rmtree(folder, ignore_errors=True)


def _tail(folder: Path, lines: int) -> list[str]:
    """The last lines of both parts of the log."""
    kept: deque[str] = deque(maxlen=lines)
    for name in ("log.1", "log"):
        try:
            with (folder / name).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
                kept.extend(file.read().decode(errors="replace").splitlines())
        except OSError:
            continue
    return list(kept)
