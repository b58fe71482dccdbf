"""Page readers, faulty ones and a good one; a reading process gets them by their import path."""

from __future__ import annotations

import json
import os
import signal
import time

from PIL import Image

from runners.documents.scans.layout import TextLine


class Double:
    """Has OCR's constructor, with the number of threads."""

    def __init__(self, threads: int = 1) -> None:
        self.threads = threads

    def read(self, image: Image.Image) -> str:
        """Return the page's text."""
        raise NotImplementedError

    def lines(self, image: Image.Image) -> list[TextLine]:
        """Return the text as a line that fills the page."""
        text = self.read(image)
        return [TextLine(text, 0, 0, image.width, image.height)] if text else []


class Sized(Double):
    """Reads a page as its mode and size."""

    def read(self, image: Image.Image) -> str:
        return f"{image.mode} {image.width} x {image.height}"


class Blind(Double):
    """Finds nothing."""

    def read(self, _: Image.Image) -> str:
        return ""


BLIND, FAILING, PRINTING = 201, 202, 203
"""Widths of pages on which ``ByWidth`` finds nothing, fails, and writes to the standard output."""


class ByWidth(Sized):
    """Behaves according to the width of a page."""

    def read(self, image: Image.Image) -> str:
        if image.width == FAILING:
            raise LookupError("/a/path/of/this/machine")
        if image.width == PRINTING:
            os.write(1, b"y" * 100_000)
            return "read"
        return "" if image.width == BLIND else super().read(image)


class Slow(Double):
    """Takes half a second."""

    def read(self, _: Image.Image) -> str:
        time.sleep(0.5)
        return f"pid {os.getpid()}"


class Hanging(Double):
    """Never answers, and ignores SIGTERM."""

    def __init__(self, threads: int = 1) -> None:
        super().__init__(threads)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def read(self, _: Image.Image) -> str:
        while True:
            time.sleep(60)


class HangingOnLargePages(Double):
    """Reads small pages at once, and hangs on large ones."""

    def read(self, image: Image.Image) -> str:
        while image.width > 500:
            time.sleep(60)
        return f"pid {os.getpid()}"


class Dying(Double):
    """Crashes on large pages, as parsers do on hostile files."""

    def read(self, image: Image.Image) -> str:
        if image.width > 500:
            os.kill(os.getpid(), signal.SIGSEGV)
        return f"pid {os.getpid()}"


class Burning(Double):
    """Computes forever on large pages."""

    def read(self, image: Image.Image) -> str:
        while image.width > 500:
            pass
        return f"pid {os.getpid()}"


class Absent(Double):
    """Cannot be loaded."""

    def __init__(self, threads: int = 1) -> None:
        super().__init__(threads)
        raise OSError("no such model")


class Greedy(Double):
    """Allocates memory until it fails."""

    def read(self, _: Image.Image) -> str:
        kept = []
        while True:
            kept.append(bytes(256 * 1024 * 1024))


class Writing(Double):
    """Writes a temporary file."""

    def read(self, _: Image.Image) -> str:
        import tempfile

        with tempfile.NamedTemporaryFile() as file:
            file.write(b"what was uploaded")
            file.flush()
        return "written"


class Telling(Double):
    """Reads a page as the number of threads and the names of environment variables."""

    def read(self, _: Image.Image) -> str:
        return json.dumps({"threads": self.threads, "environment": sorted(os.environ)})
