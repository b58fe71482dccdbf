"""The command ``infer``: call a model with one input, or with a batch of inputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from management.cli._options import ClientOptions, as_json, client_options, remote
from management.cli._terminal import out, show_json
from management.cli.errors import Failed
from management.cli.examples import input_of
from management.cli.models._inputs import arguments, parsed
from management.domain.records import LONGEST_TIMEOUT


@click.command()
@click.argument("model_id")
@click.argument("data", metavar="JSON|@FILE|-", required=False)
@click.option(
    "--file",
    "files",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="A picture, document, text or JSON file instead of DATA, converted to the input of the model's type.",
)
@click.option("--parameters", metavar="JSON", help="Parameters of the model: JSON, or @FILE.")
@click.option("--api", metavar="NAME", help="API of the model's Bento, for one that has several.")
@click.option(
    "--input",
    "inputs",
    metavar="NAME=VALUE",
    multiple=True,
    help="An argument of the API instead of DATA: JSON or text, or NAME=@FILE for a file.",
)
@click.option("--timeout", type=click.IntRange(1, LONGEST_TIMEOUT), default=30, show_default=True, help="Seconds.")
@click.option("--priority", type=click.Choice(["low", "normal", "high"]), default="normal", show_default=True)
@click.option("--batch", is_flag=True, help='A list of inputs, or of {"input_data": ..., "parameters": ...}.')
@remote
def infer(  # noqa: PLR0913 - what click passes
    model_id: str,
    data: str | None,
    files: tuple[Path, ...],
    inputs: tuple[str, ...],
    parameters: str | None,
    *,
    batch: bool,
    **options: Any,
) -> None:
    r"""Call a model with an input: JSON, @FILE with JSON in it, or - for stdin, which is also the default.

    --file takes a picture, a document or a text as it is; several --file options make a batch.

    \b
    python -m management infer satellite --file field.jpg --parameters '{"lang": "en"}'
    python -m management infer tcm_v2 '{"symptoms": ["头痛", "乏力"]}' --parameters '{"top_k": 3}'
    python -m management infer tcm_v2 @patients.json --batch --priority low
    python -m management infer hello --api resize --input picture=@photo.jpg --input size=64
    """
    if bool(files) + bool(inputs) + (data is not None) > 1:
        raise click.UsageError("give DATA, --file or --input, and not both")
    server = client_options()
    contents = _inputs_of(server, model_id, files) if files else []
    batch = batch or len(contents) > 1
    if inputs and batch:
        raise click.UsageError("--input gives one input, and no batch")
    if inputs:
        given: Any = arguments(inputs)
    else:
        given = (contents if batch else contents[0]) if contents else parsed(data, "JSON|@FILE|-")
    common = {} if parameters is None else _object(parsed(parameters, "--parameters"), "--parameters")
    with server.client() as client:
        if batch:
            _show_batch(client.infer_batch(model_id, _items(given, common), **options))
        else:
            _show(client.infer_model(model_id, _object(given, "the input"), common, **options))


def _inputs_of(options: ClientOptions, model_id: str, files: tuple[Path, ...]) -> list[dict[str, Any]]:
    with options.client() as client:
        model_type = str(client.status(model_id).get("model_type", ""))
    try:
        return [input_of(file, model_type) for file in files]
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or ("it is not UTF-8" if isinstance(error, UnicodeError) else error)
        raise click.UsageError(f"--file: {reason}") from None


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise click.UsageError(f"{what} must be a JSON object")
    return value


def _items(given: Any, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    if not isinstance(given, list):
        raise click.UsageError("a batch is a JSON list")
    return [_item(_object(item, "each item"), parameters) for item in given]


def _item(given: dict[str, Any], parameters: dict[str, Any]) -> dict[str, Any]:
    return {"parameters": parameters, **(given if "input_data" in given else {"input_data": given})}


def _show(answer: Any) -> None:
    if as_json() or not out().is_terminal:
        show_json(answer)
    else:
        out().print_json(json.dumps(answer, ensure_ascii=True), ensure_ascii=False)


def _show_batch(answers: list[dict[str, Any]]) -> None:
    _show(answers)
    failed = sum("error" in answer for answer in answers)
    if failed:
        raise Failed(f"{failed} of {len(answers)} items failed")
