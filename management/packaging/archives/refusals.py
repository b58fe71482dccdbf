"""Why an archive does not become a Bento or a stored model, or cannot be made of one."""

from __future__ import annotations


class ArchiveRefused(Exception):
    """The archive is not one that may be kept: a kind of problem, the member that has it, and the text's values."""

    def __init__(self, kind: str, member: str = "", **values: str) -> None:
        super().__init__(kind)
        self.kind, self.member, self.values = kind, member, values


class BentoTaken(Exception):
    """Another content is kept under the tag; ``tag`` is that of the Bento, or of a stored model."""

    def __init__(self, tag: str, *, is_model: bool = False) -> None:
        super().__init__(tag)
        self.tag, self.is_model = tag, is_model


class DiskFull(Exception):
    """The disk has no room for the upload beside what must stay free."""


class WrongDigest(Exception):
    """The archive is not the one whose digest the caller sent."""


class Stopped(Exception):
    """The caller has left, and the work was given up."""


class ContentChanged(Exception):
    """A file changed or vanished while it was packed, so that the rest of the archive would not be true."""
