"""What backup and restore have in common: the argument FILE, and the summary."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from management.cli._options import as_json
from management.cli._terminal import aside, show_json

if TYPE_CHECKING:
    from management.backup.archive import Contents

STREAM: Final = Path("-")
"""The FILE that means standard output, or standard input."""
file_argument = click.argument("file", type=click.Path(dir_okay=False, path_type=Path, allow_dash=True))


def show_summary(what: str, contents: Contents, *, to_stdout: bool) -> None:
    """Print what the archive contains; ``to_stdout`` is whether stdout is free for JSON."""
    summary = contents.summary()
    if as_json() and to_stdout:
        show_json(summary)
        return
    parts = [
        *(["the database"] if summary["database"] else []),
        *(["the first key"] if summary["admin_key"] else []),
        f"{summary['models']} models",
        f"{summary['bentos']} Bentos",
    ]
    aside().print(f"{what}: {', '.join(parts)}, {summary['bytes'] / 1e6:.1f} MB of {contents.made_at}")
