"""Making a change and waiting for it: the request runs in a thread while this one shows the model's progress."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

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


class _StepCount(ProgressColumn):
    """How far a step is: in bytes where the step counts them."""

    _items = MofNCompleteColumn()

    def render(self, task: Task) -> Text:
        if not task.fields.get("bytes"):
            return self._items.render(task)
        return Text(f"{decimal(int(task.completed))}/{decimal(int(task.total or 0))}", style="progress.download")


class Steps:
    """The display of a command's steps, one after the other: lines on stderr where that is no terminal."""

    def __init__(self, options: ClientOptions) -> None:
        self.console: Console = aside()
        self.as_json = options.as_json
        self.silent = options.as_json or not self.console.is_terminal
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(20), _StepCount())
        self.progress = Progress(
            *columns, TimeElapsedColumn(), console=self.console, transient=True, disable=self.silent
        )
        self._shown = ""

    def __enter__(self) -> Steps:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def begin(self, text: str, total: int | None = None, *, counts_bytes: bool = False) -> Callable[[int], None]:
        """Show a step in place of the one before. Return the function that adds to what is done of ``total``."""
        task = self.replace(text, total, counts_bytes=counts_bytes)
        self.tell(text)
        return lambda done: self.progress.advance(task, done)

    def replace(self, text: str, total: int | None = None, *, counts_bytes: bool = False) -> TaskID:
        """Put a step in the place of the one before, and return it."""
        for known in self.progress.task_ids:
            self.progress.remove_task(known)
        return self.progress.add_task(clean(text), total=total, bytes=counts_bytes)

    def tell(self, text: str) -> None:
        """Print a line where no display is shown, unless it is the same as the last one."""
        if self.silent and not self.as_json and text != self._shown:
            self.console.print(clean(text))
            self._shown = text


def make_change(
    options: ClientOptions, change: Change, model_id: str, wait: float | None, steps: Steps | None = None
) -> dict[str, Any]:
    """Make a change and return the API's answer. Raises AtelierError, and Failed if it is not done in time.

    The progress is shown among ``steps``, or by itself.
    """
    if not wait:
        with options.client() as client:
            return change(client)
    request = _Request(options, change)
    # A daemon thread: after Ctrl-C the command ends at once, and the server continues the change.
    threading.Thread(target=request.run, daemon=True).start()
    if steps is None:
        with Steps(options) as alone:
            _show_progress(options, model_id, request, alone)
    else:
        _show_progress(options, model_id, request, steps)
    if request.error is not None:
        raise request.error
    if request.status == ACCEPTED:
        raise Failed(f"not done after {wait:g} s; it goes on: {COMMAND} status {model_id}")
    return request.answer


def _show_progress(options: ClientOptions, model_id: str, request: _Request, steps: Steps) -> None:
    """Show the model's replicas and message until the request ends. Raises Failed if the backend stays away."""
    with options.client() as client:
        watch = _BackendWatch(client)
        task = steps.replace(model_id)
        while not request.ended.wait(POLL_INTERVAL_SECONDS):
            if watch.has_failed():
                raise Failed(f"{watch.fault}; the change goes on when it does: {COMMAND} status {model_id}")
            state = _state(client, model_id)
            if watch.fault is not None:
                state = f"waiting: {watch.fault}", *(state or ("", 0, 0))[1:]
            if state is None:
                continue
            message, ready, desired = state
            steps.progress.update(
                task, description=f"{model_id}: {message}", completed=ready, total=max(desired, ready, 1)
            )
            steps.tell(f"{model_id}: {message}")


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
