"""A TCP forwarder before a PostgreSQL server that loses the answer to a commit, as a network does that breaks then."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

COMMIT: Final = b"COMMIT\0"
"""The end of the message that commits, in PostgreSQL's protocol."""


class Forwarder:
    """Passes connections on; ``losing`` breaks the next one whose client commits, once the server has done so."""

    def __init__(self, port: int, host: str) -> None:
        self.losing = False
        self._target = port
        self._listener = socket.create_server((host, 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()
        for connection in self._open:
            _end(connection)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                self._open += [client, server]
                lost = threading.Event()
                for source, target, is_client in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._pass_on, args=(source, target, lost, is_client), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, lost: threading.Event, is_client: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if is_client and self.losing and data.endswith(COMMIT):
                    self.losing = False
                    lost.set()  # before the server can answer
                elif not is_client and lost.is_set():
                    break
                target.sendall(data)
        _end(source)
        _end(target)


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


@contextmanager
def forwarding(port: int, host: str = "127.0.0.1") -> Iterator[Forwarder]:
    """Forward from an address of this machine to a port of its loopback until the block ends."""
    forwarder = Forwarder(port, host)
    try:
        yield forwarder
    finally:
        forwarder.close()
