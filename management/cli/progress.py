"""A change that is waited for: the request in a thread of its own, and beside it how far the model has come."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from client import AtelierClient, AtelierError
from management.cli.common import COMMAND, Failed, Terms, aside, clean

LOOK_SECONDS: Final = 0.5
HEALTH_LOOKS: Final = 4
"""Looks at a model for each look at the server's health."""
PATIENCE: Final = 5
"""Looks at the health in a row that may find the backend away, before a change is waited for no more: 10 s."""
UNDER_WAY: Final = 202

Change = Callable[[AtelierClient], dict[str, Any]]


@dataclass
class _Request:
    """The change while it is made."""

    terms: Terms
    change: Change
    ended: threading.Event = field(default_factory=threading.Event)
    answer: dict[str, Any] = field(default_factory=dict)
    status: int | None = None
    error: BaseException | None = None

    def run(self) -> None:
        try:
            with self.terms.client() as client:
                self.answer = self.change(client)
                self.status = client.last_status
        except BaseException as error:  # raised again where it is waited for
            self.error = error
        finally:
            self.ended.set()


def carried_out(terms: Terms, change: Change, model_id: str, wait: float | None) -> dict[str, Any]:
    """The API's answer to a change. Raises AtelierError, and Failed when it is not done in time."""
    if not wait:
        with terms.client() as client:
            return change(client)
    request = _Request(terms, change)
    # A daemon: whoever presses Ctrl-C does not wait for the answer, and the change goes on without us.
    threading.Thread(target=request.run, daemon=True).start()
    _follow(terms, model_id, request)
    if request.error is not None:
        raise request.error
    if request.status == UNDER_WAY:
        raise Failed(f"not done after {wait:g} s; it goes on: {COMMAND} status {model_id}")
    return request.answer


def _follow(terms: Terms, model_id: str, request: _Request) -> None:
    """Shows the model's replicas and message until the request is answered."""
    console = aside()
    silent = terms.as_json or not console.is_terminal
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn())
    with (
        Progress(*columns, TimeElapsedColumn(), console=console, transient=True, disable=silent) as progress,
        terms.client() as client,
    ):
        task, said = progress.add_task(model_id, total=None), ""
        watch = _BackendWatch(client)
        while not request.ended.wait(LOOK_SECONDS):
            if watch.is_given_up():
                raise Failed(f"{watch.fault}; the change goes on when it does: {COMMAND} status {model_id}")
            seen = _seen(client, model_id)
            if watch.fault is not None:
                seen = f"waiting: {watch.fault}", *(seen or ("", 0, 0))[1:]
            if seen is None:
                continue
            message, ready, desired = seen
            progress.update(task, description=f"{model_id}: {message}", completed=ready, total=max(desired, ready, 1))
            if silent and not terms.as_json and message != said:
                console.print(f"{model_id}: {message}")
                said = message


@dataclass
class _BackendWatch:
    """Whether what runs the models answers, looked at now and then while a change is waited for."""

    client: AtelierClient
    fault: str | None = None
    looks: int = 0
    in_vain: int = 0

    def is_given_up(self) -> bool:
        """Looks when it is time; true where the backend has been away too long."""
        if self.looks % HEALTH_LOOKS == 0:
            self.fault = self._look()
            self.in_vain = 0 if self.fault is None else self.in_vain + 1
        self.looks += 1
        return self.in_vain > PATIENCE

    def _look(self) -> str | None:
        try:
            return backend_fault(self.client.send("GET", "/api/v1/health").json())
        except (AtelierError, ValueError):  # no more than that it is not known
            return None


def backend_fault(health: Any) -> str | None:
    """Why no model can be started, by what the management says of its health; None where one can."""
    if isinstance(health, dict) and health.get("backend_state") == "unavailable":
        return f"the backend {clean(health.get('backend', ''))} does not answer"
    return None


def _seen(client: AtelierClient, model_id: str) -> tuple[str, int, int] | None:
    try:
        status = client.status(model_id)
    except AtelierError:  # not there yet, or not any more
        return None
    replicas = status.get("replicas", {})
    return clean(status.get("message", "")), int(replicas.get("ready", 0)), int(replicas.get("desired", 0))
