"""The tokens of BentoCloud: of what calls it, and of what calls the models on it."""

from __future__ import annotations

import logging
from pathlib import Path

from pydantic import SecretStr

from management.settings import Settings, token_in

Version = tuple[int, int, int, int]
"""What is another one when a file was written, replaced, or opened to readers."""

logger = logging.getLogger(__name__)


class Token:
    """One token; where it lies in a file, the last good one that was there."""

    def __init__(self, given: SecretStr | None, file: Path | None) -> None:
        """The file, if there is one, counts. Raises ValueError where neither has a token."""
        self._file, self._version = file, _version(file)
        value = given if file is None else token_in(file)
        if value is None:
            raise ValueError("a token is needed")
        self._value = value
        self._told: Version | None = self._version
        """Of the file that was last complained of, or read."""

    def current(self) -> SecretStr:
        """The token of now: the file is read anew when it has changed."""
        version = _version(self._file)
        if self._file is not None and version != self._version:
            try:
                self._value, self._version = token_in(self._file), version
            except ValueError as error:
                if version != self._told:
                    logger.warning("the token of before is used: %s", error)
            self._told = version
        return self._value


def tokens(settings: Settings) -> tuple[Token, Token]:
    """That of calls, and that of inferences: the same where the settings name one."""
    calls = Token(settings.cloud_token, settings.cloud_token_file)
    given, file = settings.cloud_endpoint_token, settings.cloud_endpoint_token_file
    return calls, calls if given is None and file is None else Token(given, file)


def _version(file: Path | None) -> Version | None:
    """None where there is no file to be seen."""
    if file is None:
        return None
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
