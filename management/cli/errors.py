"""Failures of commands, and how they are shown on stderr: what failed, why, and what to do."""

from __future__ import annotations

from typing import Any, Final

import click
from rich.console import Console

from client import AtelierError
from management.cli._terminal import COMMAND, aside, clean
from management.errors import ManagementError
from management.wording import messages

HINTS: Final = {
    "UNREACHABLE": f"start it with {COMMAND} serve, or give its address with --url",
    "CLIENT_TIMEOUT": "the server is running, but busy or stuck; see its log",
    "UNAUTHORIZED": "give a key: in ATELIER_API_KEY, or in a file with --key-file",
    "FORBIDDEN": f"use a key of a higher role: {COMMAND} keys create NAME --role operator|admin",
    "NOT_FOUND": "check --url: it is the server's address, without /api/v1",
    "MODEL_NOT_FOUND": f"{COMMAND} list shows every model",
    "BENTO_NOT_FOUND": f"{COMMAND} bentos shows every Bento; {COMMAND} push brings one in",
    "BENTO_ALREADY_EXISTS": f"give it a new version: {COMMAND} push FOLDER --version VERSION",
    "BENTO_IN_USE": f"{COMMAND} delete MODEL_ID, or {COMMAND} update it to another Bento",
    "STORAGE_FULL": f"delete Bentos that no model uses: {COMMAND} bentos delete NAME:VERSION",
    "MODEL_ALREADY_EXISTS": f"update is the command for it: {COMMAND} update {{model_id}} FOLDER|TAG|FILE, or flags",
    "MODEL_NOT_READY": f"{COMMAND} status {{model_id}} says why",
    "MODEL_FAILED": f"{COMMAND} logs {{model_id}} shows what it wrote",
    "DEPLOYMENT_FAILED": f"{COMMAND} logs {{model_id}} shows more",
    "SECRET_NOT_FOUND": f"{COMMAND} secrets shows every secret",
    "SECRET_IN_USE": f"{COMMAND} update MODEL_ID --no-secrets, or --secret with those that stay",
    "SECRETS_UNREADABLE": "put the key file back: ATELIER_SECRETS_KEY_FILE, or secrets.key in ATELIER_HOME",
    "INFERENCE_TIMEOUT": "give it more time: --timeout SECONDS",
    "INSUFFICIENT_RESOURCES": "ask for less, scale another model down, or try again later",
    "UNKNOWN": "check --url: this is not Atelier's management API",
    "NO_JSON": "check --url: this is not Atelier's management API",
}
_SHOWN_APART: Final = ("problems", "log", "model_id")
"""Keys of an error's details that are not shown as ``name: value``."""


class Failed(click.ClickException):
    """The operation failed; the message says why."""

    exit_code = 1


class WrongSetting(Failed):
    """A setting or an argument is invalid, so the operation did not begin."""

    exit_code = 2


def show_api_error(error: AtelierError) -> None:
    """Print an error of the API, or of the connection to it."""
    console = aside()
    identifiers = ", ".join(part for part in (error.code, f"HTTP {error.status}" if error.status else "") if part)
    _headline(console, f"{clean(error.message)} ({identifiers})")
    for line in _reasons(error.details):
        console.print(f"  {line}")
    if error.retry_after is not None:
        console.print(f"  try again in {error.retry_after} s")
    if hint := HINTS.get(error.code):
        console.print(f"hint: {hint.format(model_id=clean(error.details.get('model_id', 'MODEL_ID')))}", style="cyan")


def show_store_error(error: ManagementError) -> None:
    """Print an error of the database, for commands that use it without the server."""
    console = aside()
    _headline(console, f"{messages.text(messages.ERRORS, error.wording or error.code, 'en')} ({error.code})")
    console.print("hint: ATELIER_HOME and ATELIER_DATABASE_URL set where it is", style="cyan")


def _headline(console: Console, text: str) -> None:
    console.print("error: ", style="bold red", end="")
    console.print(text)


def _reasons(details: dict[str, Any]) -> list[str]:
    """The problems field by field, then the other details by name, then the last lines of the log."""
    problems = details.get("problems")
    lines = [_problem(item) for item in (problems if isinstance(problems, list) else []) if isinstance(item, dict)]
    lines += [
        f"{clean(name)}: {_value(value)}" for name, value in details.items() if name not in _SHOWN_APART and value
    ]
    log = details.get("log")
    return lines + [f"| {clean(line)}" for line in (log if isinstance(log, list) else [])]


def _value(value: Any) -> str:
    return ", ".join(map(clean, value)) if isinstance(value, list) else clean(value)


def _problem(problem: dict[str, Any]) -> str:
    field, message = clean(problem.get("field", "")), clean(problem.get("message", problem))
    return f"{field}: {message}" if field else message
