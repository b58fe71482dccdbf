"""The command ``deploy``: run a new model, and show how to call it."""

from __future__ import annotations

from typing import Any

import click

from management.cli._options import ClientOptions, client_options, remote
from management.cli._terminal import COMMAND, out
from management.cli.config import config, deploy_flags
from management.cli.examples import example
from management.cli.models._changes import show_result, wait_options
from management.cli.progress import make_change


@click.command()
@click.argument("file", required=False)
@deploy_flags
@wait_options(by_default=True)
@remote
def deploy(file: str | None, *, wait: bool, wait_seconds: float, **flags: Any) -> None:
    r"""Deploy a model from FILE (JSON or YAML, - is stdin), from flags, or from a file that flags override.

    \b
    python -m management deploy model.yaml
    python -m management deploy --model-id tcm_v2 --name "TCM 2" --version 2.0.0 --type tcm_diagnosis \
        --framework onnx --image atelier/tcm-diagnosis:2.0.0 --cpu 2 --memory 1Gi --max 4 -e LOG_LEVEL=info
    """
    options, body = client_options(), config(file, flags)
    model_id, seconds = str(body.get("model_id", "")), wait_seconds if wait else None
    answer = make_change(options, lambda client: client.deploy(body, wait=seconds), model_id, seconds)
    show_result(options, answer)
    if not options.as_json:
        _show_call(options, model_id, str(body.get("model_type", "")))


def _show_call(options: ClientOptions, model_id: str, model_type: str) -> None:
    """Print how to call the model with this command and with curl."""
    call = example(model_type)
    url = f"{options.url.rstrip('/')}/api/v1/models/{model_id}/inference"
    console = out()
    console.print("\nCall it:\n")
    console.print(f"  {COMMAND} infer {model_id} {call.arguments}\n")
    console.print(f'  curl {url} \\\n    -H "Content-Type: application/json" -H "X-API-Key: $ATELIER_API_KEY" \\')
    console.print(f"    -d {call.body}\n")
