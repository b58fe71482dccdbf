"""A model's configuration from a JSON or YAML file, from flags, or from a file that flags override."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from management.domain.model_types import FRAMEWORKS, MODEL_TYPES

_PATHS: Final = {
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
"""Path of each flag's value in the configuration."""

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def update_flags(command: Decorated) -> Decorated:
    """Add the flags of the fields that an update can change."""
    for option in reversed(
        (
            click.option("--version", help="Version, such as 2.1.0."),
            click.option("--image", help="Bento with its exact version, such as atelier/tcm-diagnosis:2.1.0."),
            click.option("--cpu", help="Cores of each replica, such as 2 or 500m."),
            click.option("--memory", help="Memory of each replica, such as 8Gi."),
            click.option("--gpu", help="GPUs of each replica."),
            click.option("--min", "min_replicas", type=int, help="Minimum number of replicas."),
            click.option("--max", "max_replicas", type=int, help="Maximum number of replicas."),
            click.option("--target-cpu", type=int, help="CPU utilization that autoscaling aims at, in percent."),
            click.option("-e", "--env", "variables", metavar="KEY=VALUE", multiple=True, help="Environment variable."),
        )
    ):
        command = option(command)
    return command


def deploy_flags(command: Decorated) -> Decorated:
    """Add the flags of a new model."""
    command = update_flags(command)
    for option in (
        click.option("--framework", type=click.Choice(FRAMEWORKS), help="Framework."),
        click.option("--type", "model_type", type=click.Choice(MODEL_TYPES), help="Type of the model."),
        click.option("--name", help="Name to display."),
        click.option("--model-id", help="Id of the model in URLs and commands."),
    ):
        command = option(command)
    return command


def config(file: str | None, flags: dict[str, Any], unset: tuple[str, ...] = ()) -> dict[str, Any]:
    """The file's configuration, overridden by the flags. The API validates it.

    Raises click.UsageError for a file that cannot be read, or without any configuration.
    """
    result = _read_file(file) if file is not None else {}
    for name, path in _PATHS.items():
        if (value := flags.get(name)) is not None:
            _set(result, path, value)
    for variable in flags.get("variables", ()):
        key, equals, value = variable.partition("=")
        if not equals:
            raise click.BadParameter(f"{key!r} is not KEY=VALUE", param_hint="-e")
        _set(result, ("environment_variables", key), value)
    for key in unset:
        _set(result, ("environment_variables", key), None)
    if not result:
        raise click.UsageError("give a FILE or flags")
    return result


def _set(mapping: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for part in path[:-1]:
        inner = mapping.setdefault(part, {})
        if not isinstance(inner, dict):
            raise click.UsageError(f"{part} in the file must be a mapping")
        mapping = inner
    mapping[path[-1]] = value


def _read_file(file: str) -> dict[str, Any]:
    import yaml  # type: ignore[import-untyped]

    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
        content = yaml.safe_load(text)  # the JSON of a configuration is valid YAML too
        json.dumps(content, allow_nan=False)
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    except yaml.YAMLError as error:
        raise click.UsageError(f"{file} is neither JSON nor YAML: {error}") from None
    except (TypeError, ValueError) as error:
        raise click.UsageError(f"{file} has a value that must be in quotes: {error}") from None
    if isinstance(content, dict) and isinstance(content.get("config"), dict) and len(content) == 1:
        content = content["config"]
    if not isinstance(content, dict):
        raise click.UsageError(f"{file} does not contain a configuration")
    return content
