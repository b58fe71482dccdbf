"""deploy/nginx.conf in a real nginx on loopback: its names are answered by a DNS server of the test's, and its services
are doubles, each replica on an address of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from runners.registry import MODELS
from tests.support.servers import ROOT, free_ports

DEPLOY = ROOT / "deploy"
PORTS = {row.bento: row.port for row in MODELS} | {"atelier": 8080}
START_SECONDS = 60.0


def require(*programs: str) -> None:
    """Skips the test that runs, unless these are installed."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


class Names:
    """A DNS server: the addresses of each name, which a test may change at any time. Others do not exist."""

    def __init__(self) -> None:
        self.addresses: dict[str, list[str]] = {}
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        """An empty packet ends it."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            query, caller = self._socket.recvfrom(512)
            if not query:
                return
            self._socket.sendto(self._answer(query), caller)

    def _answer(self, query: bytes) -> bytes:
        end, labels = 12, []
        while length := query[end]:
            labels.append(query[end + 1 : end + 1 + length].decode())
            end += 1 + length
        question = query[12 : end + 5]
        found = self.addresses.get(".".join(labels), [])
        records = b"".join(
            b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 1, 4) + socket.inet_aton(address) for address in found
        )
        flags = 0x8180 if found else 0x8183  # no such name
        return query[:2] + struct.pack(">HHHHH", flags, 1, len(found), 0, 0) + question + records


@dataclass
class Replica:
    """A double of one container: it says what came. ``behave`` may do something else with the connection."""

    address: str
    behave: Callable[[BaseHTTPRequestHandler], None] | None = None
    asked: list[str] = field(default_factory=list)

    def said(self, handler: BaseHTTPRequestHandler, size: int) -> dict[str, Any]:
        """Its answer."""
        headers = {name.lower(): value for name, value in handler.headers.items()}
        return {"replica": self.address, "path": handler.path, "headers": headers, "bytes": size}


def breaking(handler: BaseHTTPRequestHandler) -> None:
    """Ends at once, as a process does that has been killed already."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def breaking_at_work(handler: BaseHTTPRequestHandler) -> None:
    """Ends while it works, as a process does that a request kills."""
    time.sleep(0.2)
    breaking(handler)


def recovering(breaks: int) -> Callable[[BaseHTTPRequestHandler], None]:
    """Ends so many times at once, and answers then."""
    left = iter(range(breaks))

    def behave(handler: BaseHTTPRequestHandler) -> None:
        if next(left, None) is None:
            _send(handler, 200, b"{}")
        else:
            breaking(handler)

    return behave


def answering(status: int, body: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    """Answers this, whatever was asked."""

    def behave(handler: BaseHTTPRequestHandler) -> None:
        _send(handler, status, body)

    return behave


def waiting(until: threading.Event, then: int | None = None) -> Callable[[BaseHTTPRequestHandler], None]:
    """Answers nothing until then, and then with this status, if with any."""

    def behave(handler: BaseHTTPRequestHandler) -> None:
        until.wait(30)
        if then is not None:
            _send(handler, then, b"{}")

    return behave


def _send(handler: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
    handler.send_response(status)
    for name, value in (
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("X-Request-ID", handler.headers.get("X-Request-ID", "")),
        ("X-Content-Type-Options", "nosniff"),
    ):
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def raw(port: int, data: bytes) -> bytes:
    """What the server answers to bytes that no client would send."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(data)
        received = b""
        while part := connection.recv(4096):
            received += part
        return received


@contextmanager
def listening(replica: Replica, port: int) -> Iterator[Replica]:
    """The replica on its address and this port, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = int(self.headers.get("Content-Length", "0"))
            left = size
            while left:
                left -= len(self.rfile.read(min(left, 1 << 20)))
            replica.asked.append(self.path)
            if replica.behave is not None:
                replica.behave(self)
            else:
                _send(self, 200, json.dumps(replica.said(self, size)).encode())

        do_GET = do_POST  # noqa: N815 - http.server's name

        def log_message(self, *_: object) -> None:
            pass

        def finish(self) -> None:
            if self.connection.fileno() >= 0:
                super().finish()

    class Server(ThreadingHTTPServer):
        def shutdown_request(self, request: Any) -> None:
            if request.fileno() >= 0:
                super().shutdown_request(request)

    with Server((replica.address, port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield replica
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True)
class Nginx:
    """A running nginx, with the ports that stand for the documented ones."""

    ports: dict[int, int]
    names: Names
    folder: Path
    process: subprocess.Popen[bytes]

    def client(self, port: int = 80, scheme: str = "http") -> httpx.Client:
        """A client for a port, named as the configuration names it."""
        url = f"{scheme}://127.0.0.1:{self.ports[port]}"
        return httpx.Client(base_url=url, timeout=30, trust_env=False, verify=False)

    @contextmanager
    def running(self, service: str, *replicas: Replica) -> Iterator[None]:
        """These replicas are the service's, until the block ends."""
        port, stack = self.ports[PORTS[service]], []
        try:
            for replica in replicas:
                stack.append(listening(replica, port))
                stack[-1].__enter__()
            self.names.addresses[service] = [replica.address for replica in replicas]
            yield
        finally:
            self.names.addresses.pop(service, None)
            for context in reversed(stack):
                context.__exit__(None, None, None)

    def forgotten(self) -> None:
        """Returns when nginx has to look up every name again; it keeps addresses for a second."""
        time.sleep(1.1)

    def refuses(self) -> bool:
        """Whether it takes no connections any more."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.ports[80])) != 0

    def log(self) -> list[dict[str, Any]]:
        """What was logged of requests."""
        return [json.loads(line) for line in (self.folder / "access.log").read_text().splitlines()]


@contextmanager
def nginx(folder: Path, *, tls: bool = False, **changes: str) -> Iterator[Nginx]:
    """The configuration as it is shipped, with other ports, places and names' server, and with these settings."""
    require("nginx")
    documented = (80, 443, *PORTS.values())
    ports = dict(zip(documented, free_ports(len(documented)), strict=True))
    names = Names()
    (folder / "nginx.conf").write_text(_configuration(folder, ports, names.port, changes))
    if tls:
        (folder / "tls").mkdir()
        (folder / "tls" / "tls.conf").write_text(_listening_elsewhere((DEPLOY / "tls.conf").read_text(), ports))
    folder.chmod(0o755)
    command = ["nginx", "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]
    with (folder / "error.log").open("wb") as errors:
        process = subprocess.Popen(command, stderr=errors)
        try:
            server = Nginx(ports, names, folder, process)
            _await(server, process)
            yield server
        finally:
            process.terminate()
            process.wait(timeout=10)
            names.close()


def _configuration(folder: Path, ports: dict[int, int], names: int, changes: dict[str, str]) -> str:
    text = (DEPLOY / "nginx.conf").read_text()
    for setting, value in changes.items():
        text, count = re.subn(rf"\b{setting} +[^;]+;", f"{setting} {value};", text)
        assert count, setting
    text = text.replace("/tmp/", f"{folder}/").replace("/dev/stdout", f"{folder}/access.log")
    text = text.replace("resolver 127.0.0.11", f"resolver 127.0.0.1:{names}")
    text = _listening_elsewhere(text, ports)
    return f"user {Path.home().owner()};\n{text}" if os.geteuid() == 0 else text


def _listening_elsewhere(text: str, ports: dict[int, int]) -> str:
    for before, after in ports.items():
        text = re.sub(rf"(listen |:|^ +){before}\b", rf"\g<1>{after}", text, flags=re.MULTILINE)
    return re.sub(r"listen (\d+)", r"listen 127.0.0.1:\1", text)


def _await(server: Nginx, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    with server.client() as client:
        while process.poll() is None and time.monotonic() < deadline:
            try:
                if client.get("/livez").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
    raise RuntimeError((server.folder / "error.log").read_text()[-3000:])
