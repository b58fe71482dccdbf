"""Output of every command: results on stdout as tables, text or JSON, everything else on stderr."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from management.control.log_lines import printable

COMMAND: Final = "atelier" if Path(sys.argv[0]).name == "atelier" else "python -m management"
"""The command line as the user called it, for hints."""
PIPE_COLUMNS: Final = 1000
"""Width in characters of tables that go to a file or a pipe, so that no cell is folded."""
STYLES: Final = {
    "running": "green",
    "ready": "green",
    "pending": "yellow",
    "starting": "yellow",
    "silent": "yellow",
    "draining": "yellow",
    "failed": "bold red",
    "stopped": "dim",
}
"""Rich styles of the states of models and replicas."""


def out() -> Console:
    """Standard output, for results. Created for each use, because tests replace the streams."""
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=not Console().is_terminal)


def aside() -> Console:
    """Standard error, for everything else."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


def table(*columns: str) -> Table:
    """An empty table in the style that all commands share."""
    result = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        result.add_column(column, overflow="fold")
    return result


def show(console: Console, content: Table | Panel | Group) -> None:
    """Print as wide as the terminal; in a file or a pipe, as wide as the content needs."""
    if not console.is_terminal:
        console.width = PIPE_COLUMNS
    console.print(content, soft_wrap=False, crop=False)


def show_json(answer: Any) -> None:
    """Print the API's JSON unchanged, except for escapes of letters that stdout cannot encode."""
    click.echo(json_text(answer, indent=2))


def json_text(answer: Any, *, indent: int | None = None) -> str:
    """JSON in the letters that standard output can encode, with escapes for the others."""
    text = json.dumps(answer, ensure_ascii=False, allow_nan=False, indent=indent)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return json.dumps(answer, ensure_ascii=True, allow_nan=False, indent=indent)
    return text


def clean(text: object) -> str:
    """Replace control characters: the text that a model writes must not command the terminal."""
    return printable(str(text))


def cell(text: object, style: str = "") -> Text:
    """A table cell with literal text, without markup; ``-`` where there is none."""
    return Text("-" if text is None or text == "" else clean(text), style=style)
