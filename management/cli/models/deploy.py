"""The command ``deploy``: run a new model, and show how to call it."""

from __future__ import annotations

from typing import Any

import click

from client import AtelierError
from management.cli._options import ClientOptions, client_options, remote
from management.cli._terminal import COMMAND, out
from management.cli.bentos.sources import source_of
from management.cli.config import completed, config, deploy_flags
from management.cli.examples import Example, example, example_of
from management.cli.models._changes import show_result, wait_options
from management.cli.models._from_bento import flags_of_new_model
from management.cli.progress import Steps, make_change
from management.domain.bento import CONTRACT_ROUTE


@click.command()
@click.argument("file", metavar="[FILE|FOLDER|ARCHIVE|TAG]", required=False)
@deploy_flags
@wait_options(by_default=True)
@remote
def deploy(file: str | None, *, wait: bool, wait_seconds: float, **flags: Any) -> None:
    r"""Deploy a model from FILE (JSON or YAML, - is stdin), from flags, or from a file that flags override.

    Or deploy a Bento of your own: the FOLDER of its bentofile.yaml, an ARCHIVE of bentoml export, or its TAG in your
    Bento store. It is built, pushed and deployed with the resources that its service asks for.

    \b
    python -m management deploy . --model-id hello
    python -m management deploy model.yaml
    python -m management deploy --model-id hello --image bentos/hello:1.0.0 --default-api greet
    python -m management deploy --model-id tcm_v2 --name "TCM 2" --version 2.0.0 --type tcm_diagnosis \
        --framework onnx --image atelier/tcm-diagnosis:2.0.0 --cpu 2 --memory 1Gi --max 4 -e LOG_LEVEL=info
    """
    options, seconds = client_options(), wait_seconds if wait else None
    with Steps(options) as steps:
        if file is not None and (source := source_of(file)) is not None:
            body = config(None, flags_of_new_model(options, source, flags, steps))
        else:
            body = completed(config(file, flags))
        model_id = str(body.get("model_id", ""))
        answer = make_change(options, lambda client: client.deploy(body, wait=seconds), model_id, seconds, steps)
    show_result(options, answer)
    if not options.as_json:
        _show_call(options, model_id, str(body.get("model_type", "")), str(body.get("default_api", "")))


def _show_call(options: ClientOptions, model_id: str, model_type: str, default_api: str) -> None:
    """Print how to call the model with this command and with curl."""
    apis = _own_apis(options, model_id)
    answering = [api for api in apis if not api["streams"] and not api["task"]]
    if apis and not answering:
        path = apis[0]["route"] + ("/submit" if apis[0]["task"] else "")
        body = example_of(apis[0], named=False).arguments
        _print_calls(f"call {model_id} {path} -d {body}", f"{options.url.rstrip('/')}/models/{model_id}{path}", body)
        return
    call = _own_example(answering, default_api) if answering else example(model_type)
    url = f"{options.url.rstrip('/')}/api/v1/models/{model_id}/inference"
    _print_calls(f"infer {model_id} {call.arguments}", url, call.body)


def _print_calls(command: str, url: str, body: str) -> None:
    console = out()
    console.print("\nCall it:\n")
    console.print(f"  {COMMAND} {command}\n")
    console.print(f'  curl {url} \\\n    -H "Content-Type: application/json" -H "X-API-Key: $ATELIER_API_KEY" \\')
    console.print(f"    -d {body}\n")


def _own_apis(options: ClientOptions, model_id: str) -> list[dict[str, Any]]:
    """The APIs of a Bento of its own kind; none for a model of the contract, and where they are not known."""
    try:
        with options.client() as client:
            apis: list[dict[str, Any]] = client.status(model_id)["apis"]
    except AtelierError:
        return []
    return [] if any(api["route"] == CONTRACT_ROUTE for api in apis) else apis


def _own_example(apis: list[dict[str, Any]], default_api: str) -> Example:
    """An example of one of the Bento's own APIs."""
    chosen = next((api for api in apis if default_api in (api["name"], api["route"])), apis[0])
    return example_of(chosen, named=not default_api and len(apis) > 1)
