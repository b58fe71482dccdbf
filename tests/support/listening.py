"""The sockets on which a tree of processes listens, and whether other users can connect to them."""

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
"""Flag in ``/proc/net/unix`` of sockets that accept connections."""
NOBODY = 65534


@dataclass(frozen=True)
class Listening:
    """Ports and unix sockets on which a tree of processes listens."""

    ports: frozenset[int]
    """TCP and UDP ports."""
    paths: frozenset[str]
    """Paths of unix sockets; abstract ones begin with ``@``."""


def listening(pid: int) -> Listening:
    """Return the sockets of a process and its descendants."""
    root = psutil.Process(pid)
    ports: set[int] = set()
    paths: set[str] = set()
    known = dict(_unix_listeners())
    for process in (root, *root.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            ports |= {connection.laddr.port for connection in process.net_connections("inet") if _listens(connection)}
            paths |= {known[inode] for inode in _sockets(process.pid) if inode in known}
    return Listening(frozenset(ports), frozenset(paths))


def _listens(connection: psutil._ntuples.pconn) -> bool:
    is_server = connection.status == psutil.CONN_LISTEN
    return bool(is_server or (connection.type == socket.SOCK_DGRAM and not connection.raddr))


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
    """Return whether only its owner can connect: a folder above the socket is accessible to nobody else."""
    if not path.startswith("/"):
        return False
    folders = [folder.stat() for folder in Path(path).parents]
    return any(folder.st_uid == os.geteuid() and stat.S_IMODE(folder.st_mode) & 0o077 == 0 for folder in folders)


def reached_by_nobody(paths: frozenset[str]) -> set[str]:
    """Return the paths to which the user nobody can connect."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            os.write(writer, "\n".join(filter(_connects, paths)).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:
        found = file.read().decode()
    os.waitpid(pid, 0)
    return set(found.splitlines())


def _connects(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as caller:
        return caller.connect_ex("\0" + path[1:] if path.startswith("@") else path) == 0
