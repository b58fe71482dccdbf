"""Starting and stopping as a user does."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from tests.support.servers import ROOT, Server, free_port, serving
from web.download.settings import DownloadSettings

pytestmark = pytest.mark.server


def launch(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "runners.launch", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ, **environment}, timeout=120
    )


def called(server: Server) -> socket.socket:
    url = urlsplit(server.url)
    return socket.create_connection((url.hostname, url.port), timeout=10)


def refuses(server: Server) -> bool:
    try:
        called(server).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_port_in_use_is_said_before_anything_starts() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = launch("--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "cannot be used" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_host_that_is_no_address_is_refused() -> None:
    done = launch("--host", "localhost")
    assert done.returncode == 2
    assert "--host" in done.stderr


def test_a_wrong_setting_is_named() -> None:
    done = launch("--port", str(free_port()), ATELIER_URL_PORTS="http")
    assert done.returncode != 0
    assert "ATELIER_URL_PORTS" in done.stderr + done.stdout


@pytest.mark.slow
def test_stopping_ends_every_process_of_the_server(store: Path) -> None:
    with serving("service:Embedding", store) as server:
        family = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
        assert len(family) >= 2
        assert "embedding with embedding:satellite-1.0.0" in server.log.read_text()
        os.kill(server.pid, signal.SIGTERM)
        _, alive = psutil.wait_procs(family, timeout=20)
        assert alive == []


@pytest.mark.slow
def test_a_server_that_ends_answers_whom_it_let_in_and_lets_nobody_in(store: Path) -> None:
    """Whoever is let in by a server that has stopped listening is thrown out unanswered when it has ended."""
    body = b'{"symptoms": ["headache"]}'
    head = b"POST /diagnose HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    with serving("service:Diagnosis", store) as server, called(server) as caller:
        caller.sendall(head % len(body) + body[:5])
        time.sleep(0.5)  # its head is read, so that it is no idle connection
        os.kill(server.pid, signal.SIGTERM)
        deadline = time.monotonic() + 3
        while not refuses(server):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        caller.sendall(body[5:])
        assert caller.recv(65536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.slow
def test_a_worker_that_hangs_keeps_no_server_from_ending(store: Path) -> None:
    with serving("service:Embedding", store) as server:
        family = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
        (worker,) = [one for one in family if "--service-name" in one.cmdline()]
        worker.suspend()
        os.kill(server.pid, signal.SIGTERM)
        _, alive = psutil.wait_procs(family, timeout=30)
        assert alive == []


def test_settings_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_URL_HOSTS", "*.cloudinary.com, example.com")
    monkeypatch.setenv("ATELIER_URL_PORTS", "8443")
    read = DownloadSettings()
    assert read.url_hosts == ("*.cloudinary.com", "example.com")
    assert read.url_ports == (8443,)
    assert DownloadSettings(url_ports=()).url_private_networks is False
