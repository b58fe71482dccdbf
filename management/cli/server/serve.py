"""The command ``serve``: the management API alone, on this machine."""

from __future__ import annotations

import os
import threading
import time
from typing import Final

import click

from management.cli._terminal import COMMAND
from management.cli.errors import Failed
from management.cli.server.check import require_fit
from web.server import ports

ANNOUNCEMENT_TIMEOUT_SECONDS: Final = 60.0
"""Seconds for the server to answer, after which no announcement is printed."""
ANNOUNCEMENT: Final = """
The model management answers on {url}   (documentation: {url}/docs, stop with Ctrl-C)

  {command} list
  curl -H "X-API-Key: $ATELIER_API_KEY" {url}/models
"""


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="TCP port.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Number of worker processes.")
def serve(host: str, port: int, workers: int) -> None:
    r"""Serve the management API alone, until Ctrl-C; the deployed models run with it.

    \b
    ATELIER_API_KEY=your-api-key python -m management serve --port 8080
    """
    url = f"http://{ports.reached(host)}:{port}"
    _refuse_used_port(host, port)
    os.environ.setdefault("ATELIER_PUBLIC_URL", url)  # before the settings are read, once and for all
    require_fit(lasting=True)
    threading.Thread(target=_announce, args=(ports.reached(host), port, url), daemon=True).start()
    from management import server

    try:
        server.serve(host, port, workers)
    except SystemExit as ended:
        if ended.code:
            raise Failed("the server could not start; the lines above say why") from None


def _announce(host: str, port: int, url: str) -> None:
    """Print the address and what to do next, once the server answers."""
    deadline = time.monotonic() + ANNOUNCEMENT_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        time.sleep(0.1)
        if ports.answers(host, port):
            click.echo(ANNOUNCEMENT.format(url=f"{url}/api/v1", command=COMMAND))
            return


def _refuse_used_port(host: str, port: int) -> None:
    try:
        ports.check_port(host, port)
    except OSError as error:
        raise Failed(f"{host} port {port} cannot be used ({error.strerror}); choose another: --port") from None
