"""Every socket that a tree of processes listens on, and who else could reach it."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

LISTENS = 0x10000
"""Among the flags of ``/proc/net/unix``: the socket accepts connections."""
NOBODY = 65534


@dataclass(frozen=True)
class Listening:
    """What a tree listens on."""

    ports: frozenset[int]
    """Of TCP, and of UDP."""
    paths: frozenset[str]
    """Of unix sockets; abstract ones begin with ``@``."""


def listening(pid: int) -> Listening:
    """What this process and all that descend from it listen on."""
    root = psutil.Process(pid)
    ports: set[int] = set()
    paths: set[str] = set()
    known = dict(_unix_listeners())
    for process in (root, *root.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            ports |= {one.laddr.port for one in process.net_connections("inet") if _listens(one)}
            paths |= {known[inode] for inode in _sockets(process.pid) if inode in known}
    return Listening(frozenset(ports), frozenset(paths))


def _listens(one: psutil._ntuples.pconn) -> bool:
    return bool(one.status == psutil.CONN_LISTEN or (one.type == socket.SOCK_DGRAM and not one.raddr))


def _unix_listeners() -> Iterator[tuple[str, str]]:
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        fields = line.split(None, 7)
        if int(fields[3], 16) & LISTENS:
            yield fields[6], fields[7] if len(fields) > 7 else "@"


def _sockets(pid: int) -> Iterator[str]:
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            name = os.readlink(file)
            if name.startswith("socket:["):
                yield name[len("socket:[") : -1]


def is_private(path: str) -> bool:
    """Whether nobody but its owner can connect to it: one of the folders above it lets nobody else in."""
    if not path.startswith("/"):
        return False
    above = [one.stat() for one in Path(path).parents]
    return any(one.st_uid == os.geteuid() and stat.S_IMODE(one.st_mode) & 0o077 == 0 for one in above)


def reached_by_nobody(paths: frozenset[str]) -> set[str]:
    """Those of these that a user without any rights can connect to."""
    told, tells = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            os.write(tells, "\n".join(filter(_connects, paths)).encode())
        finally:
            os._exit(0)
    os.close(tells)
    with open(told, "rb") as file:
        found = file.read().decode()
    os.waitpid(pid, 0)
    return set(found.splitlines())


def _connects(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as caller:
        return caller.connect_ex("\0" + path[1:] if path.startswith("@") else path) == 0
