"""An input of a model from the command line: as JSON, from a file or stdin, or argument by argument."""

from __future__ import annotations

import json
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any

import click


def arguments(given: tuple[str, ...]) -> dict[str, Any]:
    """The arguments of an API from NAME=VALUE, the value of each as JSON where it is JSON, and as text elsewhere."""
    result: dict[str, Any] = {}
    for argument in given:
        name, equals, value = argument.partition("=")
        if not equals:
            raise click.BadParameter(f"{name!r} is not NAME=VALUE", param_hint="--input")
        if name in result:
            raise click.BadParameter(f"{name!r} is given twice", param_hint="--input")
        result[name] = _file_of(Path(value[1:])) if value.startswith("@") else _json_or_text(value)
    return result


def _file_of(path: Path) -> dict[str, str]:
    try:
        return {"base64": b64encode(path.read_bytes()).decode(), "filename": path.name}
    except OSError as error:
        raise click.UsageError(f"--input: {error.strerror}: {path}") from None


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value, parse_constant=_no_constant)
    except ValueError:
        return value


def _no_constant(name: str) -> None:
    raise ValueError(name)  # NaN and Infinity are texts


def parsed(text: str | None, what: str) -> Any:
    if text is None and sys.stdin.isatty():
        raise click.UsageError(f"give an input: {what}")
    try:
        if text in (None, "-"):
            text = sys.stdin.read()
        elif text is not None and text.startswith("@"):
            text = Path(text[1:]).read_text(encoding="utf-8")
        return json.loads(text or "")
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{what}: {getattr(error, 'strerror', None) or error}") from None
    except ValueError as error:
        raise click.UsageError(f"{what} is not JSON: {error}") from None
