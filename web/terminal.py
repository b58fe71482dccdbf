"""Output that never fails on a terminal: characters missing in its encoding are written as escapes."""

from __future__ import annotations

import io
import sys


def accept_every_text() -> None:
    """Let standard output and error accept any text, and read standard input as UTF-8, as JSON and YAML require."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8")
