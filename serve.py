"""The program of ``make serve``: checks, publishes models, builds Bentos and serves, in one process.

    python -m serve [SERVICE] [--host HOST] [--port PORT]

The runners and the management do not import each other; they are composed here, as in ``service``. Published models and
built Bentos are recognised by their files, so that a second start need not import BentoML for the checks.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Final, NoReturn

from pydantic import ValidationError

from runners.artifacts import presence
from runners.launch import checks, launch

if TYPE_CHECKING:
    from management.domain.bento_tag import Tag
    from management.packaging.build import BentoHome, Recipe

Step = Callable[[str], None]
INTERRUPTED: Final = 130
"""Exit status after Ctrl-C."""


def main() -> None:
    """Serve until stopped."""
    launch.main(prepare)


def prepare(front_door: bool) -> None:
    """Publish missing models, and build outdated Bentos for the front door; a single model deploys nothing."""
    try:
        home = _checked_home() if front_door else None
        if not presence.complete():
            _publish()
        if home is not None and (outdated := _outdated(home)):
            _build(home, outdated)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    print("starting", flush=True)


def _checked_home() -> BentoHome:
    """Return the home of the Bentos. Exits where the management cannot start: BentoML would retry forever."""
    from management import preflight
    from management.configuration import settings
    from management.packaging.build import BentoHome

    try:
        current = settings()
    except ValidationError as error:
        checks.refuse(preflight.wrong_settings(error))
    if obstacles := preflight.obstacles(current, lasting=True):
        checks.refuse("; ".join(obstacles))
    return BentoHome(current.storage.bentoml_home)


def _publish() -> None:
    from runners.artifacts import publish

    with _progress(1) as step:
        step("putting the models into the store")
        publish.main(["publish"])


def _outdated(home: BentoHome) -> list[tuple[Recipe, Tag]]:
    from management.packaging import build

    try:
        pairs = [(recipe, tag) for recipe in build.recipes() for tag in recipe.tags()]
        return [(recipe, tag) for recipe, tag in pairs if home.digest(tag) != build.digest(recipe, tag, home)]
    except (build.BuildError, OSError) as error:
        _fail(str(error))


def _build(home: BentoHome, outdated: list[tuple[Recipe, Tag]]) -> None:
    """Build the Bentos; a failure does not stop the others, so that all failures are reported."""
    from management.packaging import build

    failures = []
    with _progress(len(outdated)) as step:
        for recipe, tag in outdated:
            step(f"building the Bento {tag}")
            try:
                build.build(recipe, tag, home)
            except (build.BuildError, OSError) as error:
                failures.append(str(error))
    if failures:
        _fail("\n".join(failures))


@contextmanager
def _progress(total: int) -> Iterator[Step]:
    """Show progress: a bar on a terminal, elsewhere a line at the start of each step."""
    if not sys.stdout.isatty():
        yield lambda text: print(text, flush=True)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(20), MofNCompleteColumn()
    with Progress(*columns, TimeElapsedColumn(), transient=True) as progress:
        steps = count()
        task = progress.add_task("", total=total)
        yield lambda text: progress.update(task, description=text, completed=next(steps))


def _fail(message: str) -> NoReturn:
    sys.exit(message)


if __name__ == "__main__":
    main()
