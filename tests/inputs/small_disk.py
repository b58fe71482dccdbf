"""A disk of a few megabytes, and how to fill it."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PIECES = (1 << 16, 1 << 12, 1)


@contextmanager
def small_disk(size: str = "8m") -> Iterator[Path]:
    """Mount a disk until the block ends, and yield its folder. Skips the test where that is not permitted."""
    folder = Path(tempfile.mkdtemp(prefix="at-"))
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
        if mounted.returncode:
            pytest.skip(f"to mount a small disk is not permitted here: {mounted.stderr.strip()}")
        try:
            yield folder
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
    finally:
        folder.rmdir()


def fill(file: Path) -> None:
    """Fill the disk to the last byte."""
    with file.open("ab", buffering=0) as filler:
        for piece in PIECES:
            try:
                while filler.write(b"x" * piece) == piece:
                    pass
            except OSError:
                continue
