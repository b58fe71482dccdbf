"""A real PostgreSQL server in a temporary folder, on a loopback port and a unix socket, run by an unprivileged user."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import psutil
import pytest

from tests.support.servers import free_port

USER: Final = "atelier"
PASSWORD: Final = "p@ss:w/rd%20"
"""With what a URL has to encode."""
START_SECONDS: Final = 60.0
QUICK: Final = {"fsync": "off", "full_page_writes": "off", "max_connections": "60", "shared_buffers": "16MB"}
"""What is written survives the end of each process, which is all that tests end."""


def program(name: str) -> str:
    """Return the path of one of PostgreSQL's programs; skips the test where they are not installed."""
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: float(path.parts[4]))
    found = str(debian[-1]) if debian else shutil.which(name)
    if found is None:
        pytest.skip("PostgreSQL's server programs are not installed")
    return found


def _unprivileged() -> dict[str, Any]:
    """Return the options of a process that root starts as another user, because PostgreSQL refuses to be root."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


@dataclass
class PostgresqlServer:
    """A server; its folder is made by ``initdb``, or by a copy of another server's."""

    folder: Path
    port: int = field(default_factory=free_port)
    options: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def url(self, database: str = "postgres", *, port: int | None = None, password: str = PASSWORD) -> str:
        """Return the URL of a database by TCP, perhaps through a forwarder's port."""
        return f"postgresql://{USER}:{quote(password, safe='')}@127.0.0.1:{port or self.port}/{database}"

    def make(self) -> None:
        """Make the folder of a new server."""
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        self.run(
            *("initdb", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8", f"--username={USER}"),
            *(f"--pwfile={secret}", "--auth-local=trust", "--auth-host=scram-sha-256", f"--pgdata={self.data}"),
        )

    def start(self) -> None:
        """Start it, and wait until it answers."""
        own = {
            **QUICK,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.folder),
            **self.options,
        }
        settings = [part for name, value in own.items() for part in ("-c", f"{name}={value}")]
        command = [program("postgres"), "-D", str(self.data), "-p", str(self.port), *settings]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder, **_unprivileged()
            )
        deadline = time.monotonic() + START_SECONDS
        while subprocess.run([program("pg_isready"), "-q", *self._at], check=False).returncode:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(self.log[-3000:])
            time.sleep(0.05)

    def stop(self) -> None:
        """End it in good order, whatever is under way."""
        self._signal(signal.SIGINT)

    def kill(self) -> None:
        """Kill it, and all of its processes: what is not in its files is lost."""
        family = self.family()
        for process in family:
            with suppress(psutil.Error):
                process.kill()
        self._signal(signal.SIGKILL)
        _await_end(family)

    def kill_alone(self) -> None:
        """Kill its first process alone, and wait until the others have noticed."""
        family = self.family()
        self._signal(signal.SIGKILL)
        _await_end(family)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop all of its processes (SIGSTOP) until the block ends; connections stay, and nothing answers."""
        family = self.family()
        for process in family:
            process.suspend()
        try:
            yield
        finally:
            for process in family:
                with suppress(psutil.Error):
                    process.resume()

    def family(self) -> list[psutil.Process]:
        """Return its processes, the first one first."""
        if self.process is None or self.process.poll() is not None:
            return []
        first = psutil.Process(self.process.pid)
        return [first, *first.children(recursive=True)]

    def standby(self, folder: Path) -> PostgresqlServer:
        """Return a standby of this server in another folder, which follows it from its start on."""
        other = PostgresqlServer(folder, options=self.options)
        self.run(
            "pg_basebackup",
            "--pgdata",
            str(other.data),
            "--write-recovery-conf",
            "--checkpoint=fast",
            "--no-sync",
            *self._at,
        )
        return other

    def sql(self, *statements: str, database: str = "postgres") -> str:
        """Run statements, each on its own, and return what the last one tells."""
        told = ""
        for statement in statements:
            told = self.run("psql", "-qAtX", "-v", "ON_ERROR_STOP=1", "-c", statement, *self._at, "-d", database)
        return told

    def run(self, name: str, *arguments: str) -> str:
        """Run one of PostgreSQL's programs as the server's user, and return what it tells."""
        done = subprocess.run(
            [program(name), *arguments], capture_output=True, text=True, cwd=self.folder, check=False, **_unprivileged()
        )
        if done.returncode:
            raise RuntimeError(f"{name}: {done.stderr[-2000:]}")
        return str(done.stdout).strip()

    @property
    def _at(self) -> tuple[str, ...]:
        return ("-h", str(self.folder), "-p", str(self.port), "-U", USER)

    def _signal(self, number: signal.Signals) -> None:
        if self.process is not None:
            if self.process.poll() is None:
                self.process.send_signal(number)
            self.process.wait(START_SECONDS)


def _await_end(processes: list[psutil.Process]) -> None:
    """Wait until none of them runs; what nobody has reaped has ended, too."""
    deadline = time.monotonic() + START_SECONDS
    while any(map(_runs, processes)):
        if time.monotonic() > deadline:
            raise RuntimeError("a process of the server has not ended")
        time.sleep(0.01)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


@contextmanager
def server_folder() -> Iterator[Path]:
    """Give a folder that the server's user owns, with a path short enough for a unix socket in it."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    own = _unprivileged()
    if own:
        os.chown(folder, own["user"], own["group"])
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running(**options: str) -> Iterator[PostgresqlServer]:
    """Run a new server until the block ends."""
    program("postgres")
    with server_folder() as folder:
        server = PostgresqlServer(folder, options=options)
        server.make()
        try:
            server.start()
            yield server
        finally:
            server.kill()
