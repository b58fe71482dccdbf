"""Making a change and waiting for it: the request runs in a thread while this one shows the model's progress."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from client import AtelierClient, AtelierError
from management.cli._options import ClientOptions
from management.cli._terminal import COMMAND, aside, clean
from management.cli.errors import Failed

POLL_INTERVAL_SECONDS: Final = 0.5
"""Seconds between two polls of a model's status."""
POLLS_PER_HEALTH_CHECK: Final = 4
"""Status polls between two checks of the server's health."""
MAX_FAULTS: Final = 5
"""Health checks in a row that may find the backend unavailable before the command stops waiting: 10 s."""
ACCEPTED: Final = 202
"""HTTP status of a change that is still under way."""

Change = Callable[[AtelierClient], dict[str, Any]]


@dataclass
class _Request:
    """A change in a thread of its own, with its answer or its error once it has ended."""

    options: ClientOptions
    change: Change
    ended: threading.Event = field(default_factory=threading.Event)
    answer: dict[str, Any] = field(default_factory=dict)
    status: int | None = None
    error: BaseException | None = None

    def run(self) -> None:
        try:
            with self.options.client() as client:
                self.answer = self.change(client)
                self.status = client.last_status
        except BaseException as error:  # make_change raises it again in the main thread
            self.error = error
        finally:
            self.ended.set()


def make_change(options: ClientOptions, change: Change, model_id: str, wait: float | None) -> dict[str, Any]:
    """Make a change and return the API's answer. Raises AtelierError, and Failed if it is not done in time."""
    if not wait:
        with options.client() as client:
            return change(client)
    request = _Request(options, change)
    # A daemon thread: after Ctrl-C the command ends at once, and the server continues the change.
    threading.Thread(target=request.run, daemon=True).start()
    _show_progress(options, model_id, request)
    if request.error is not None:
        raise request.error
    if request.status == ACCEPTED:
        raise Failed(f"not done after {wait:g} s; it goes on: {COMMAND} status {model_id}")
    return request.answer


def _show_progress(options: ClientOptions, model_id: str, request: _Request) -> None:
    """Show the model's replicas and message until the request ends. Raises Failed if the backend stays away."""
    console = aside()
    silent = options.as_json or not console.is_terminal
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn())
    with (
        Progress(*columns, TimeElapsedColumn(), console=console, transient=True, disable=silent) as progress,
        options.client() as client,
    ):
        task, shown = progress.add_task(model_id, total=None), ""
        watch = _BackendWatch(client)
        while not request.ended.wait(POLL_INTERVAL_SECONDS):
            if watch.has_failed():
                raise Failed(f"{watch.fault}; the change goes on when it does: {COMMAND} status {model_id}")
            state = _state(client, model_id)
            if watch.fault is not None:
                state = f"waiting: {watch.fault}", *(state or ("", 0, 0))[1:]
            if state is None:
                continue
            message, ready, desired = state
            progress.update(task, description=f"{model_id}: {message}", completed=ready, total=max(desired, ready, 1))
            if silent and not options.as_json and message != shown:
                console.print(f"{model_id}: {message}")
                shown = message


@dataclass
class _BackendWatch:
    """Checks every few polls whether the backend that runs the models answers."""

    client: AtelierClient
    fault: str | None = None
    polls: int = 0
    faults_in_a_row: int = 0

    def has_failed(self) -> bool:
        """Count a poll and check the health if it is due; true once the backend has been away too long."""
        if self.polls % POLLS_PER_HEALTH_CHECK == 0:
            self.fault = self._check_health()
            self.faults_in_a_row = 0 if self.fault is None else self.faults_in_a_row + 1
        self.polls += 1
        return self.faults_in_a_row > MAX_FAULTS

    def _check_health(self) -> str | None:
        try:
            return backend_fault(self.client.send("GET", "/api/v1/health").json())
        except (AtelierError, ValueError):  # an unknown health is not a fault of the backend
            return None


def backend_fault(health: Any) -> str | None:
    """Why no model can start, by the body of the management's health answer; None where models can start."""
    if isinstance(health, dict) and health.get("backend_state") == "unavailable":
        return f"the backend {clean(health.get('backend', ''))} does not answer"
    return None


def _state(client: AtelierClient, model_id: str) -> tuple[str, int, int] | None:
    """Message, ready replicas and desired replicas; None for a model that does not exist."""
    try:
        status = client.status(model_id)
    except AtelierError:  # not deployed yet, or already deleted
        return None
    replicas = status.get("replicas", {})
    return clean(status.get("message", "")), int(replicas.get("ready", 0)), int(replicas.get("desired", 0))
