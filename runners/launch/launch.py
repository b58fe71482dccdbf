"""Starts ``bentoml serve``, waits until every model answers, and says how to call it: python -m runners.launch."""

from __future__ import annotations

import argparse
import ipaddress
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, NoReturn

from runners import registry
from runners.launch import checks
from runners.launch.checks import FRONT_DOOR
from runners.launch.readiness import Ready, start_timeout_seconds, wait_until_ready
from runners.launch.shutdown import ShutdownGuard
from runners.settings import settings
from web.server import ports, server_file
from web.server.lifeline import end_with
from web.terminal import accept_every_text

WORKER_SHUTDOWN_GRACE_SECONDS: Final = 5
BACKLOG: Final = 128
"""Connections that the system keeps until they are accepted; each needs a descriptor before it can be refused."""
SHUTDOWN_TIMEOUT_SECONDS: Final = 15
ANNOUNCEMENT: Final = "\nAtelier answers on {url}   (documentation: {url}/docs, stop with Ctrl-C)\n"
MANAGED: Final = """  curl {url}/health

Models are deployed, called and scaled below {url}/api/v1   (docs/management.md; the first key: .atelier/admin.key)
"""
UNMANAGED: Final = """
The models answer, but they cannot be deployed or managed: the database is not available, see the log above. It is tried
again every few seconds.
"""


def main(prepare: Callable[[bool], None] = checks.refuse_unfit_management) -> None:
    """Serve until stopped; the exit status is the server's.

    ``prepare`` runs when the arguments and the models' settings are right, before the server starts. It receives
    whether the front door is served, with the management beside the models.
    """
    accept_every_text()
    arguments = _arguments()
    front_door = arguments.contained or arguments.service == FRONT_DOOR
    url = f"http://{ports.reached(str(arguments.host))}:{arguments.port}"
    if not arguments.contained:
        checks.refuse_used_port(arguments.host, arguments.port)
    checks.refuse_bad_settings(FRONT_DOOR if front_door else arguments.service)
    prepare(front_door)
    if not front_door:
        _serve(arguments, url)
    with server_file.announced(Path(os.environ.get("ATELIER_HOME") or ".atelier"), url, arguments.port):
        _serve(arguments, url)


def _serve(arguments: argparse.Namespace, url: str) -> NoReturn:
    if arguments.contained:
        _, guard = _started(arguments)
        sys.exit(guard.wait())
    server, guard = _started(arguments, ATELIER_PUBLIC_URL=url)
    ready = wait_until_ready(server, arguments.host, arguments.port)
    if ready:
        # A model alone has only its own routes: its documentation shows them.
        announcement = ANNOUNCEMENT + (_examples() if arguments.service == FRONT_DOOR else "")
        print(announcement.replace("{url}", url) + (UNMANAGED if ready is Ready.MODELS else ""), flush=True)
    elif server.poll() is None:
        # BentoML restarts a failing model for ever, and keeps the port open meanwhile.
        guard.send(signal.SIGTERM)
        guard.wait()
        sys.exit(f"the models were not ready after {start_timeout_seconds()} seconds; the log above says why")
    sys.exit(guard.wait())


def _examples() -> str:
    """Return calls to try at the front door: one example or two of each model that it serves."""
    calls = [call for name in settings().models for call in registry.model(name).examples]
    return "\n" + "".join(f"  {call}\n" for call in calls) + MANAGED


def _started(arguments: argparse.Namespace, **defaults: str) -> tuple[subprocess.Popen[bytes], ShutdownGuard]:
    """Start the server; the guard ends it when this process receives a signal to end."""
    environment = {**defaults, **os.environ, "BENTOML_DO_NOT_TRACK": "True"}
    # When this process is killed, the server ends too and frees the port. There is one thread: the fork may run code.
    server = subprocess.Popen(_command(arguments), env=environment, preexec_fn=partial(end_with, os.getpid()))  # noqa: PLW1509
    guard = ShutdownGuard(server, arguments.stop)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: guard.send(received))
    return server, guard


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m runners.launch", description=__doc__)
    parser.add_argument("service", nargs="?", default=FRONT_DOOR, help="what to serve (default: %(default)s)")
    parser.add_argument(
        "--host", type=ipaddress.ip_address, default="127.0.0.1", help="IP address (default: %(default)s)"
    )
    parser.add_argument("--port", type=_port, default=8080, help="TCP port (default: %(default)s)")
    parser.add_argument(
        "--stop",
        type=float,
        default=SHUTDOWN_TIMEOUT_SECONDS,
        metavar="SECONDS",
        help="seconds from the request to stop until the server is killed (default: %(default)s)",
    )
    parser.add_argument(
        "--contained",
        action="store_true",
        help="in a container, whose runtime checks port and health",
    )
    return parser.parse_args()


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is not a TCP port, which is 1 to 65535")
    return int(text)


def _command(arguments: argparse.Namespace) -> list[str]:
    return [
        *(sys.executable, "-m", "runners.serving.arbiter", arguments.service),
        *("--host", str(arguments.host), "--port", str(arguments.port)),
        # BentoML's default lets one hanging request keep a stopped server alive for a day.
        *("--timeout-graceful-shutdown", str(WORKER_SHUTDOWN_GRACE_SECONDS)),
        *("--backlog", str(BACKLOG)),
    ]
