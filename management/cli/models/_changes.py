"""What deploy, update, scale and delete have in common: the options for waiting, and the result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from management.cli._options import ClientOptions
from management.cli._terminal import clean, out, show_json
from management.domain.records import LONGEST_TIMEOUT

DEFAULT_WAIT_SECONDS: Final = 300

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def wait_options(*, by_default: bool | str) -> Callable[[Decorated], Decorated]:
    """Add ``--wait``, ``--no-wait`` and ``--wait-seconds``.

    A text says when the command waits by default; its ``wait`` is None where the caller does not say.
    """

    def decorate(command: Decorated) -> Decorated:
        seconds = click.option(
            "--wait-seconds",
            type=click.FloatRange(1, LONGEST_TIMEOUT),
            default=DEFAULT_WAIT_SECONDS,
            show_default=True,
            help="Longest wait, in seconds.",
        )
        flag = click.option(
            "--wait/--no-wait",
            default=None if isinstance(by_default, str) else by_default,
            show_default=by_default,
            help="Wait until it is done, and show progress.",
        )
        return flag(seconds(command))

    return decorate


def show_result(options: ClientOptions, answer: dict[str, Any]) -> None:
    """Print the answer's message, or all of it as JSON."""
    if options.as_json:
        show_json(answer)
        return
    out().print(clean(answer.get("message", "")), style="green")
