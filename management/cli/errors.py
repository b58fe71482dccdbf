"""Failures, as people read them: what, why, and what to do; on stderr."""

from __future__ import annotations

from typing import Any, Final

from rich.console import Console

from client import AtelierError
from management.api import messages
from management.cli.common import COMMAND, aside, clean
from management.errors import ManagementError

HINTS: Final = {
    "UNREACHABLE": f"start it with {COMMAND} serve, or give its address with --url",
    "CLIENT_TIMEOUT": "the server is running, but busy or stuck; see its log",
    "UNAUTHORIZED": "give a key: in ATELIER_API_KEY, or in a file with --key-file",
    "FORBIDDEN": f"use a key of a higher role: {COMMAND} keys create NAME --role operator|admin",
    "NOT_FOUND": "check --url: it is the server's address, without /api/v1",
    "MODEL_NOT_FOUND": f"{COMMAND} list shows every model",
    "MODEL_ALREADY_EXISTS": f"change it with {COMMAND} update {{model_id}}",
    "MODEL_NOT_READY": f"{COMMAND} status {{model_id}} says why",
    "MODEL_FAILED": f"{COMMAND} logs {{model_id}} shows what it wrote",
    "DEPLOYMENT_FAILED": f"{COMMAND} logs {{model_id}} shows more",
    "INFERENCE_TIMEOUT": "give it more time: --timeout SECONDS",
    "INSUFFICIENT_RESOURCES": "ask for less, scale another model down, or try again later",
    "UNKNOWN": "check --url: this is not Atelier's management API",
    "NO_JSON": "check --url: this is not Atelier's management API",
}
_ASIDE: Final = ("problems", "log", "model_id")


def tell(error: AtelierError) -> None:
    """An error of the API, or of the way to it."""
    console = aside()
    known = ", ".join(one for one in (error.code, f"HTTP {error.status}" if error.status else "") if one)
    _headline(console, f"{clean(error.message)} ({known})")
    for line in _reasons(error.details):
        console.print(f"  {line}")
    if error.retry_after is not None:
        console.print(f"  try again in {error.retry_after} s")
    if hint := HINTS.get(error.code):
        console.print(f"hint: {hint.format(model_id=clean(error.details.get('model_id', 'MODEL_ID')))}", style="cyan")


def tell_store(error: ManagementError) -> None:
    """An error of the database, where a command uses it itself."""
    console = aside()
    _headline(console, f"{messages.text(messages.ERRORS, error.wording or error.code, 'en')} ({error.code})")
    console.print("hint: ATELIER_HOME and ATELIER_DATABASE_URL set where it is", style="cyan")


def _headline(console: Console, text: str) -> None:
    console.print("error: ", style="bold red", end="")
    console.print(text)


def _reasons(details: dict[str, Any]) -> list[str]:
    """Problems field by field, other details by name, and the log's end."""
    problems = details.get("problems")
    told = [_problem(one) for one in (problems if isinstance(problems, list) else []) if isinstance(one, dict)]
    told += [f"{clean(name)}: {clean(value)}" for name, value in details.items() if name not in _ASIDE and value]
    log = details.get("log")
    return told + [f"| {clean(line)}" for line in (log if isinstance(log, list) else [])]


def _problem(one: dict[str, Any]) -> str:
    field, message = clean(one.get("field", "")), clean(one.get("message", one))
    return f"{field}: {message}" if field else message
