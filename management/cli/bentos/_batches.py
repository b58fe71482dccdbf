"""What build and image have in common: which Bentos are meant, the work on each with its progress, and the result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from management.cli._options import as_json, known_settings
from management.cli._terminal import aside, cell, clean, out, show, show_json, table
from management.cli.errors import Failed

if TYPE_CHECKING:
    from management.domain.bento_tag import Tag
    from management.packaging.build import Recipe

Selection = list[tuple["Recipe", "Tag"]]
Report = Callable[[str], None]
"""Shows the current step in the progress display."""
Make = Callable[["Recipe", "Tag", Report], dict[str, Any]]
"""Makes a Bento or its image, and returns its row of the result."""
STYLES: Final = {
    "built": "green",
    "made": "green",
    "up to date": "green",
    "failed": "bold red",
    "outdated": "yellow",
} | {"pushed": "green", "there already": "green"}
MAX_STEP_LENGTH: Final = 40
"""Characters of a step in the progress display."""


def select(names: tuple[str, ...], version: str | None) -> Selection:
    """The named Bentos, or all, with their tags. Raises click.BadParameter for an unknown name or a bad version."""
    from management.domain.bento_tag import tag_of
    from management.packaging.build import recipes

    known = {recipe.name: recipe for recipe in recipes()}
    if unknown := [name for name in names if name not in known]:
        home = known_settings().storage.bentoml_home
        hint = f"build a Bento of your own in its folder: BENTOML_HOME={home} bentoml build"
        raise click.BadParameter(f"{unknown[0]!r} is none of {', '.join(known)}; {hint}", param_hint="NAME")
    if version is not None:
        if not names:
            raise click.UsageError("--version needs a NAME")
        try:
            version = tag_of(f"{names[0]}:{version}").version
        except ValueError:
            raise click.BadParameter("such as 2.2.0", param_hint="--version") from None
    return [(known[name], tag) for name in names or known for tag in known[name].tags(version)]


def make_each(selection: Selection, make: Make) -> list[dict[str, Any]]:
    """The rows of all Bentos; a failed one does not stop the others."""
    rows = []
    with _progress(len(selection)) as (report, advance):
        for recipe, tag in selection:
            report(str(tag))
            rows.append(make(recipe, tag, report))
            advance()
    return rows


@contextmanager
def _progress(total: int) -> Iterator[tuple[Report, Callable[[], None]]]:
    """Functions that show the current step and count a finished Bento: on a terminal only, and not with JSON."""
    console = aside()
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(20), MofNCompleteColumn())
    disable = as_json() or not console.is_terminal
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True, disable=disable) as progress:
        task = progress.add_task("", total=total)
        yield (
            lambda step: progress.update(task, description=clean(step)[:MAX_STEP_LENGTH]),
            lambda: progress.advance(task),
        )


def report_failure(error: Exception) -> str:
    """Print the reason on stderr, and return the state of the failed Bento."""
    console = aside()
    for line in str(error).splitlines():
        console.print(clean(line), style="red")
    return "failed"


def show_rows(rows: list[dict[str, Any]], *headings: str) -> None:
    """Print the result as a table, or as JSON."""
    if as_json():
        show_json(rows)
        return
    grid = table(*headings)
    for row in rows:
        name, fact, state = row.values()
        grid.add_row(cell(name), cell(_size(fact)), cell(state, STYLES.get(state, "")))
    show(out(), grid)


def refuse_failed(rows: list[dict[str, Any]], message: str) -> None:
    """Raise Failed with the message where a row has failed."""
    if any(row["state"] == "failed" for row in rows):
        raise Failed(message)


def _size(fact: Any) -> Any:
    return f"{fact / 1e6:.0f} MB" if isinstance(fact, int) else fact
