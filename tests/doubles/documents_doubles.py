"""Page readers that misbehave, and one that does not: named to a reading process by where they stand."""

from __future__ import annotations

import json
import os
import signal
import time

from PIL import Image

from runners.documents.scans.layout import TextLine


class Double:
    """Made as OCR is, with the number of its threads."""

    def __init__(self, threads: int = 1) -> None:
        self.threads = threads

    def read(self, image: Image.Image) -> str:
        """What the page says."""
        raise NotImplementedError

    def lines(self, image: Image.Image) -> list[TextLine]:
        """What is read, as one line that fills the page."""
        text = self.read(image)
        return [TextLine(text, 0, 0, image.width, image.height)] if text else []


class Sized(Double):
    """Says how large a page is."""

    def read(self, image: Image.Image) -> str:
        return f"{image.mode} {image.width} x {image.height}"


class Blind(Double):
    """Finds nothing."""

    def read(self, _: Image.Image) -> str:
        return ""


BLIND, FAILING, PRINTING = 201, 202, 203
"""Widths of pages that ``ByWidth`` finds nothing on, cannot read, and reads while it writes to the standard output."""


class ByWidth(Sized):
    """Does what the width of a page says."""

    def read(self, image: Image.Image) -> str:
        if image.width == FAILING:
            raise LookupError("/a/path/of/this/machine")
        if image.width == PRINTING:
            os.write(1, b"y" * 100_000)
            return "read"
        return "" if image.width == BLIND else super().read(image)


class Slow(Double):
    """Takes its time."""

    def read(self, _: Image.Image) -> str:
        time.sleep(0.5)
        return f"pid {os.getpid()}"


class Hanging(Double):
    """Never answers, and does not mind being asked to end."""

    def __init__(self, threads: int = 1) -> None:
        super().__init__(threads)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def read(self, _: Image.Image) -> str:
        while True:
            time.sleep(60)


class HangingOnLargePages(Double):
    """Small pages are read at once."""

    def read(self, image: Image.Image) -> str:
        while image.width > 500:
            time.sleep(60)
        return f"pid {os.getpid()}"


class Dying(Double):
    """As parsers die of hostile files."""

    def read(self, image: Image.Image) -> str:
        if image.width > 500:
            os.kill(os.getpid(), signal.SIGSEGV)
        return f"pid {os.getpid()}"


class Burning(Double):
    """Computes without end where a page is large."""

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
    """Takes all the memory there is."""

    def read(self, _: Image.Image) -> str:
        kept = []
        while True:
            kept.append(bytes(256 * 1024 * 1024))


class Writing(Double):
    """Would leave something on the disk."""

    def read(self, _: Image.Image) -> str:
        import tempfile

        with tempfile.NamedTemporaryFile() as file:
            file.write(b"what was uploaded")
            file.flush()
        return "written"


class Telling(Double):
    """Says how many threads it may have, and what it finds in its environment."""

    def read(self, _: Image.Image) -> str:
        return json.dumps({"threads": self.threads, "environment": sorted(os.environ)})
