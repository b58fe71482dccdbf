"""Starts ``bentoml serve``, waits until every model answers, and says how to call it: python -m runners.launch."""

from __future__ import annotations

import argparse
import ipaddress
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from enum import Enum, auto
from functools import partial
from pathlib import Path
from typing import Final, NoReturn

from pydantic import ValidationError

from runners import registry
from runners.launch.shutdown import ShutdownGuard
from runners.models.summarizers.choice import found
from runners.models.summarizers.neural.checkpoints import CheckpointError
from runners.settings import settings, wrong_settings
from web.server import ports, server_file
from web.server.lifeline import end_with
from web.settings import settings as outermost
from web.terminal import accept_every_text

GRACE_SECONDS: Final = 5
BACKLOG: Final = 128
"""Connections that the system keeps until they are accepted; each needs a descriptor before it can be refused."""
STOP_SECONDS: Final = 15
START_SECONDS: Final = 180
CHECKPOINT_SECONDS: Final = 1800
LOOK_SECONDS: Final = 0.5
ALONE_SECONDS: Final = 5.0
"""That the models answer, and what stands beside them does not, until they are served without it."""

WRONG: Final = 2
"""Exit status of what was called, or set, wrongly."""
DEFAULT: Final = "service:Atelier"
ANNOUNCEMENT: Final = "\nAtelier answers on {url}   (documentation: {url}/docs, stop with Ctrl-C)\n"
MANAGED: Final = """  curl {url}/health

Models are deployed, called and scaled below {url}/api/v1   (docs/management.md; the first key: .atelier/admin.key)
"""
UNMANAGED: Final = """
The models answer, but they cannot be deployed or managed: the database is not available, see the log above. It is tried
again every few seconds.
"""


def main() -> None:
    """Serves until stopped; the exit status is the server's."""
    accept_every_text()
    arguments = _arguments()
    url = f"http://{ports.reached(str(arguments.host))}:{arguments.port}"
    if not arguments.contained:
        _refuse_used_port(arguments.host, arguments.port)
    _refuse_bad_settings(DEFAULT if arguments.contained else arguments.service)
    if arguments.service != DEFAULT and not arguments.contained:  # in a container it is the front door, too
        _serve(arguments, url)
    _refuse_unfit_management()
    with server_file.announced(Path(os.environ.get("ATELIER_HOME") or ".atelier"), url, arguments.port):
        _serve(arguments, url)


def _serve(arguments: argparse.Namespace, url: str) -> NoReturn:
    if arguments.contained:
        _, guard = _started(arguments)
        sys.exit(guard.wait())
    server, guard = _started(arguments, ATELIER_PUBLIC_URL=url)
    ready = _ready(server, arguments.host, arguments.port)
    if ready:
        # A model alone has only its own routes: its documentation shows them.
        announcement = ANNOUNCEMENT + (_examples() if arguments.service == DEFAULT else "")
        print(announcement.replace("{url}", url) + (UNMANAGED if ready is Ready.MODELS else ""), flush=True)
    elif server.poll() is None:
        # BentoML starts a failing model again for ever, and keeps the port open meanwhile.
        guard.send(signal.SIGTERM)
        guard.wait()
        sys.exit(f"the models were not ready after {_start_seconds()} seconds; the log above says why")
    sys.exit(guard.wait())


def _examples() -> str:
    """What can be called at the front door: one example or two of each model that it serves."""
    calls = [call for name in settings().models for call in registry.model(name).examples]
    return "\n" + "".join(f"  {call}\n" for call in calls) + MANAGED


def _started(arguments: argparse.Namespace, **defaults: str) -> tuple[subprocess.Popen[bytes], ShutdownGuard]:
    """The server, and what it is ended by when this process is asked to end."""
    environment = {**defaults, **os.environ, "BENTOML_DO_NOT_TRACK": "True"}
    # Should this process be killed, nothing of it stays on the port. It has one thread: a function may run in the fork.
    server = subprocess.Popen(_command(arguments), env=environment, preexec_fn=partial(end_with, os.getpid()))  # noqa: PLW1509
    guard = ShutdownGuard(server, arguments.stop)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: guard.send(received))
    return server, guard


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m runners.launch", description=__doc__)
    parser.add_argument("service", nargs="?", default=DEFAULT, help="what to serve (default: %(default)s)")
    parser.add_argument(
        "--host", type=ipaddress.ip_address, default="127.0.0.1", help="IP address (default: %(default)s)"
    )
    parser.add_argument("--port", type=_port, default=8080, help="TCP port (default: %(default)s)")
    parser.add_argument(
        "--stop",
        type=float,
        default=STOP_SECONDS,
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
        *("--timeout-graceful-shutdown", str(GRACE_SECONDS)),
        *("--backlog", str(BACKLOG)),
    ]


def _refuse_used_port(host: object, port: int) -> None:
    try:
        ports.check_port(str(host), port)
    except OSError as error:
        sys.exit(f"{host} port {port} cannot be used ({error.strerror}); choose another: make serve PORT=8081")


def _refuse_bad_settings(service: str) -> None:
    """Finds wrong settings and a missing checkpoint before the server does, which would be started again for ever."""
    try:
        known, _ = settings(), outermost()
        if _loads_checkpoint(service, known.models):
            found(known.summarizer, known.checkpoint, trust_remote_code=known.trust_remote_code)
    except CheckpointError as error:
        _refuse(f"MODEL_PATH: {error}")
    except ValidationError as error:
        _refuse(wrong_settings(error))


def _loads_checkpoint(service: str, models: Sequence[str]) -> bool:
    """Whether the service is, or serves, a model that loads the checkpoint at ``MODEL_PATH``."""
    name = service.rpartition(":")[2]
    rows = [row for row in registry.MODELS if row.loads_checkpoint and row.name in models]
    return any(name in (row.class_name, DEFAULT.rpartition(":")[2]) for row in rows)


def _refuse_unfit_management() -> None:
    """Ends with its sentence and exit status where the management could not start; BentoML would try for ever."""
    checked = subprocess.run([sys.executable, "-m", "management", "check", "--quiet"], check=False)
    if checked.returncode != 0:
        sys.exit(checked.returncode)


def _refuse(sentence: str) -> NoReturn:
    """Ends as a wrong call does."""
    print(sentence, file=sys.stderr)
    sys.exit(WRONG)


def _start_seconds() -> float:
    """A checkpoint may have gigabytes to load, and kernels to compile."""
    return START_SECONDS if settings().checkpoint is None else CHECKPOINT_SECONDS


class Ready(Enum):
    """What of a server answers."""

    ALL = auto()
    MODELS = auto()
    """The models alone: the management beside them has no database that it can use."""


def _ready(server: subprocess.Popen[bytes], host: object, port: int) -> Ready | None:
    """None when it ends before, or is not ready in time."""
    deadline, alone = time.monotonic() + _start_seconds(), 0.0
    while server.poll() is None and time.monotonic() < deadline:
        status, told = ports.health(ports.reached(str(host)), port)
        if status == 200:
            return Ready.ALL
        alone = alone + LOOK_SECONDS if told.get("model_loaded") is True else 0.0
        if alone > ALONE_SECONDS:
            return Ready.MODELS
        time.sleep(LOOK_SECONDS)
    return None


if __name__ == "__main__":
    main()
