"""Texts reach every terminal: what its encoding does not have is written as an escape, and ends no program."""

from __future__ import annotations

import io
import sys


def accept_every_text() -> None:
    """Lets standard output and error take any text; standard input is UTF-8, as JSON and YAML are."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8")
