"""A model's configuration as it is given: a JSON or YAML file, flags, or a file that flags change."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from management.domain.model_types import FRAMEWORKS, MODEL_TYPES

# Where each flag's value stands in the configuration.
_PLACES: Final = {
    "model_id": ("model_id",),
    "name": ("name",),
    "version": ("version",),
    "model_type": ("model_type",),
    "framework": ("framework",),
    "image": ("docker_image",),
    "cpu": ("resource_requirements", "cpu"),
    "memory": ("resource_requirements", "memory"),
    "gpu": ("resource_requirements", "nvidia.com/gpu"),
    "min_replicas": ("scaling_config", "min_replicas"),
    "max_replicas": ("scaling_config", "max_replicas"),
    "target_cpu": ("scaling_config", "target_cpu_utilization"),
}

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def changed_flags(command: Decorated) -> Decorated:
    """The flags of what can be changed later."""
    for option in reversed(
        (
            click.option("--version", help="Version, such as 2.1.0."),
            click.option("--image", help="Bento with its exact version, such as atelier/tcm-diagnosis:2.1.0."),
            click.option("--cpu", help="Cores of each replica, such as 2 or 500m."),
            click.option("--memory", help="Memory of each replica, such as 8Gi."),
            click.option("--gpu", help="GPUs of each replica."),
            click.option("--min", "min_replicas", type=int, help="Fewest replicas."),
            click.option("--max", "max_replicas", type=int, help="Most replicas."),
            click.option("--target-cpu", type=int, help="Use of the CPU to keep, in percent."),
            click.option("-e", "--env", "variables", metavar="KEY=VALUE", multiple=True, help="Environment variable."),
        )
    ):
        command = option(command)
    return command


def deploy_flags(command: Decorated) -> Decorated:
    """The flags of a new model."""
    command = changed_flags(command)
    for option in (
        click.option("--framework", type=click.Choice(FRAMEWORKS), help="Framework."),
        click.option("--type", "model_type", type=click.Choice(MODEL_TYPES), help="Type of the model."),
        click.option("--name", help="Name that people read."),
        click.option("--model-id", help="Id by which it is called."),
    ):
        command = option(command)
    return command


def config(file: str | None, flags: dict[str, Any], unset: tuple[str, ...] = ()) -> dict[str, Any]:
    """The file's configuration with what the flags say in its place. Whether it is right is the API's to say."""
    made = _of_file(file) if file is not None else {}
    for name, place in _PLACES.items():
        if (value := flags.get(name)) is not None:
            _set(made, place, value)
    for variable in flags.get("variables", ()):
        key, equals, value = variable.partition("=")
        if not equals:
            raise click.BadParameter(f"{key!r} is not KEY=VALUE", param_hint="-e")
        _set(made, ("environment_variables", key), value)
    for key in unset:
        _set(made, ("environment_variables", key), None)
    if not made:
        raise click.UsageError("give a FILE or flags")
    return made


def _set(made: dict[str, Any], place: tuple[str, ...], value: Any) -> None:
    for part in place[:-1]:
        inner = made.setdefault(part, {})
        if not isinstance(inner, dict):
            raise click.UsageError(f"{part} in the file must be a mapping")
        made = inner
    made[place[-1]] = value


def _of_file(file: str) -> dict[str, Any]:
    import yaml  # type: ignore[import-untyped]

    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
        told = yaml.safe_load(text)  # every JSON that we can meet is YAML, too
        json.dumps(told, allow_nan=False)
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    except yaml.YAMLError as error:
        raise click.UsageError(f"{file} is neither JSON nor YAML: {error}") from None
    except (TypeError, ValueError) as error:
        raise click.UsageError(f"{file} has a value that must stand in quotes: {error}") from None
    if isinstance(told, dict) and isinstance(told.get("config"), dict) and len(told) == 1:
        told = told["config"]
    if not isinstance(told, dict):
        raise click.UsageError(f"{file} does not hold a configuration")
    return told
