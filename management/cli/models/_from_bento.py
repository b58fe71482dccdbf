"""A deployment's configuration from a Bento that is pushed first."""

from __future__ import annotations

import re
import shlex
from typing import Any, Final

import click

from client import AtelierError
from management.cli._options import ClientOptions
from management.cli._terminal import COMMAND, clean
from management.cli.bentos.sending import send
from management.cli.bentos.sources import Kind, Source
from management.cli.errors import Failed
from management.cli.progress import Steps
from management.domain.model_types import OTHER_FRAMEWORK, OTHER_TYPE, label_or

_NO_ID: Final = re.compile(r"[^a-z0-9_-]+")


def flags_of_new_model(options: ClientOptions, source: Source, flags: dict[str, Any], steps: Steps) -> dict[str, Any]:
    """Push the Bento, and return the flags that deploy it: the given ones, then what the Bento says of itself.

    Raises Failed, AtelierError and click.UsageError.
    """
    _refuse_image(flags)
    model_id = flags.get("model_id")
    if model_id and _exists(options, model_id):
        update = _command("update", model_id, source.text)
        raise Failed(f"{clean(model_id)} exists, and update is the command for it: {update}")
    return _overridden(suggested_by(_pushed(options, source, flags, steps)), flags)


def flags_of_update(
    options: ClientOptions, model_id: str, source: Source, flags: dict[str, Any], steps: Steps
) -> dict[str, Any]:
    """Push the Bento, and return the flags that update the model to it: its image, its version, and the given ones.

    Raises Failed, AtelierError and click.UsageError.
    """
    _refuse_image(flags)
    if not _exists(options, model_id):
        deploy = _command("deploy", source.text, "--model-id", model_id)
        raise Failed(f"{clean(model_id)} does not exist, and deploy is the command for a new model: {deploy}")
    bento = _pushed(options, source, flags, steps)
    return _overridden({"version": bento["version"], "image": bento["docker_image"]}, flags)


def _refuse_image(flags: dict[str, Any]) -> None:
    if flags.get("image"):
        raise click.UsageError("give --image or a Bento of your own, not both")


def _exists(options: ClientOptions, model_id: str) -> bool:
    with options.client() as client:
        try:
            client.status(model_id)
        except AtelierError as error:
            if error.code != "MODEL_NOT_FOUND":
                raise
            return False
    return True


def _command(*words: str) -> str:
    """Return a command line as its user writes it."""
    return f"{COMMAND} {clean(shlex.join(words))}"


def _pushed(options: ClientOptions, source: Source, flags: dict[str, Any], steps: Steps) -> dict[str, Any]:
    """Return the server's description of the Bento, which has the given version where it is built here."""
    version = flags.get("version") if source.kind is Kind.FOLDER else None
    bento, _ = send(options, source, version, steps)
    return bento


def _overridden(suggested: dict[str, Any], flags: dict[str, Any]) -> dict[str, Any]:
    return {**suggested, **{name: value for name, value in flags.items() if value is not None}}


def suggested_by(bento: dict[str, Any]) -> dict[str, Any]:
    """Return the flags of a new model that the server's description of its Bento suggests."""
    labels, resources = bento["labels"], bento["resources"]
    return {
        "model_id": _NO_ID.sub("-", bento["name"]),
        "name": bento["service"] or bento["name"],
        "version": bento["version"],
        "model_type": label_or(labels.get("model_type"), OTHER_TYPE),
        "framework": label_or(labels.get("framework"), OTHER_FRAMEWORK),
        "image": bento["docker_image"],
        **{name: resources[name] for name in ("cpu", "memory", "gpu") if name in resources},
    }
