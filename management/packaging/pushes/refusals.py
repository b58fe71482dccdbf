"""Why a step of a push is refused."""

from __future__ import annotations


class UnknownUpload(Exception):
    """There is no upload of this id, or it has ended."""


class TooMuch(Exception):
    """The parts of an upload have more bytes together than an archive may have."""


class WrongParts(Exception):
    """The parts cannot be put together: a kind of problem, and the number of the part that is expected."""

    def __init__(self, kind: str, number: int) -> None:
        super().__init__(kind, number)
        self.kind, self.number = kind, number


class InvalidTag(ValueError):
    """The tag is not one that a store may have."""


class TooLong(ValueError):
    """What a client says of a push is longer, or nested more deeply, than what is kept of it."""


class InvalidPath(ValueError):
    """The path leads to no file of a codespace; ``path`` is safe to show."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path
