"""The command ``call``: any request to a model's own address, whose answer is shown as it comes."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import click

from management.cli._options import client_options, remote
from management.cli._terminal import aside
from management.cli.errors import Failed

if TYPE_CHECKING:
    import requests

PIECE_BYTES: Final = 64 * 1024
"""Bytes of the answer that are shown at a time; fewer as soon as they come."""


@click.command()
@click.argument("model_id")
@click.argument("path", default="/")
@click.option("-X", "--method", metavar="METHOD", help="Default: POST with a body, else GET.")
@click.option("-d", "--data", metavar="TEXT|@FILE|-", help="The body: JSON or another text, a file, or - for stdin.")
@click.option("-F", "--form", "fields", metavar="NAME=TEXT|NAME=@FILE", multiple=True, help="A field of a form.")
@click.option("-H", "--header", "headers", metavar="NAME: VALUE", multiple=True, help="A header of the request.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Where the answer goes.")
@click.option("-i", "--include", is_flag=True, help="Also show the status and the headers, on stderr.")
@click.option("--timeout", type=click.FloatRange(0, min_open=True), help="Seconds until the first byte.")
@click.option("--priority", type=click.Choice(["low", "normal", "high"]))
@remote
def call(  # noqa: PLR0913 - an option each
    model_id: str,
    path: str,
    *,
    method: str | None,
    data: str | None,
    fields: tuple[str, ...],
    headers: tuple[str, ...],
    output: Path | None,
    include: bool,
    **options: Any,
) -> None:
    r"""Send a request to a model's own address, and show the answer as it comes.

    A body without a Content-Type is sent as JSON.

    \b
    python -m management call hello /greet -d '{"name": "Ann"}'
    python -m management call thumbnail /resize -F picture=@field.jpg -F width=200 -o small.png
    python -m management call hello /schema.json
    """
    if data is not None and fields:
        raise click.UsageError("give --data or --form, not both")
    named = dict(map(_header, headers))
    with ExitStack() as stack:
        arguments: dict[str, Any] = {"files": _form(fields, stack)} if fields else {}
        if data is not None:
            arguments["data"] = _body(data, stack)
            named.setdefault("Content-Type", "application/json")
        client = stack.enter_context(client_options().client())
        verb = (method or ("POST" if arguments else "GET")).upper()
        answer = client.call_model(model_id, path, method=verb, headers=named, stream=True, **options, **arguments)
        stack.enter_context(answer)
        if include:
            _show_head(answer)
        _show(answer, stack.enter_context(output.open("wb")) if output else sys.stdout.buffer)
    if not answer.ok:
        raise Failed(f"the model answered {answer.status_code}")


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise click.UsageError("--header is written as NAME: VALUE")
    return name.strip(), value.strip()


def _body(text: str, stack: ExitStack) -> Any:
    if text == "-":
        return sys.stdin.buffer
    return _opened(text[1:], stack) if text.startswith("@") else text.encode()


def _form(fields: tuple[str, ...], stack: ExitStack) -> list[tuple[str, Any]]:
    return [_field(field, stack) for field in fields]


def _field(text: str, stack: ExitStack) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise click.UsageError("--form is written as NAME=TEXT or NAME=@FILE")
    return name, _opened(value[1:], stack) if value.startswith("@") else (None, value)


def _opened(name: str, stack: ExitStack) -> IO[bytes]:
    try:
        return stack.enter_context(Path(name).open("rb"))
    except OSError as error:
        raise click.UsageError(f"{name}: {error.strerror}") from None


def _show_head(answer: requests.Response) -> None:
    aside().print(f"{answer.status_code} {answer.reason}")
    for name, value in answer.headers.items():
        aside().print(f"{name}: {value}")


def _show(answer: requests.Response, to: IO[bytes]) -> None:
    """Write the answer piece by piece. Raises Failed where it breaks off."""
    import requests

    try:
        while piece := answer.raw.read1(PIECE_BYTES, decode_content=True):
            to.write(piece)
            to.flush()
    except (OSError, requests.RequestException) as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise Failed("the answer broke off") from None
