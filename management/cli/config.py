"""A model's configuration from a JSON or YAML file, from flags, or from a file that flags override."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from management.domain.bento_tag import tag_of
from management.domain.model_types import FRAMEWORKS, MODEL_TYPES, OTHER_FRAMEWORK, OTHER_TYPE
from management.domain.strategy import Strategy

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
    "target_concurrency": ("scaling_config", "target_concurrency"),
    "default_api": ("default_api",),
    "access_authorization": ("access_authorization",),
    "strategy": ("strategy",),
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
            click.option("--target-concurrency", type=int, help="Requests for each replica that autoscaling aims at."),
            click.option(
                "--strategy",
                type=click.Choice([strategy.value for strategy in Strategy]),
                help="How an update replaces replicas.",
            ),
            click.option(
                "--access-authorization/--no-access-authorization",
                default=None,
                help="Whether the model's own address requires a key (default: it does).",
            ),
            click.option("--label", "labels", metavar="KEY=VALUE", multiple=True, help="Note about the model."),
            click.option("--default-api", metavar="NAME", help="API of the Bento that `infer` calls without --api."),
            click.option("-e", "--env", "variables", metavar="KEY=VALUE", multiple=True, help="Environment variable."),
            click.option("--secret", "secrets", metavar="NAME", multiple=True, help="Secret that replicas receive."),
        )
    ):
        command = option(command)
    return command


def deploy_flags(command: Decorated) -> Decorated:
    """Add the flags of a new model."""
    command = update_flags(command)
    for option in (
        click.option(
            "--framework", help=f"Framework: {', '.join(FRAMEWORKS)}, or another word (default: {OTHER_FRAMEWORK})."
        ),
        click.option(
            "--type",
            "--model-type",
            "model_type",
            help=f"Type of the model: {', '.join(MODEL_TYPES)}, or another word (default: {OTHER_TYPE}).",
        ),
        click.option("--name", help="Name to display (default: the model's id)."),
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
        key, value = _pair(variable, "-e")
        _set(result, ("environment_variables", key), value)
    if flags.get("labels") or flags.get("no_labels"):
        result["labels"] = dict(_pair(label, "--label") for label in flags["labels"])
    if flags.get("secrets") or flags.get("no_secrets"):
        result["secrets"] = list(flags["secrets"])
    for key in unset:
        _set(result, ("environment_variables", key), None)
    if not result:
        raise click.UsageError("give a FILE or flags")
    return result


def completed(given: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a new model, with defaults for what describes it: any Bento can be deployed by its tag."""
    defaults = {"name": given.get("model_id"), "model_type": OTHER_TYPE, "framework": OTHER_FRAMEWORK}
    with suppress(ValueError):
        defaults["version"] = tag_of(str(given.get("docker_image"))).version
    return {**{name: value for name, value in defaults.items() if value is not None}, **given}


def _pair(text: str, flag: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise click.BadParameter(f"{key!r} is not KEY=VALUE", param_hint=flag)
    return key, value


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
