"""The tokens of BentoCloud: one for its API, and one for the models on it."""

from __future__ import annotations

import logging
from pathlib import Path

from pydantic import SecretStr

from management.backends.bentocloud.settings import BentoCloudSettings, token_in

Version = tuple[int, int, int, int]
"""Inode, size, modification time and status change time: it differs once a file is written or replaced."""

logger = logging.getLogger(__name__)


class Token:
    """A token; when it is in a file, the last valid one that the file held."""

    def __init__(self, given: SecretStr | None, file: Path | None) -> None:
        """Read the token from the file if one is given. Raises ValueError when neither gives a token."""
        self._file, self._version = file, _version(file)
        value = given if file is None else token_in(file)
        if value is None:
            raise ValueError("a token is needed")
        self._value = value
        self._checked: Version | None = self._version
        """Version of the file that was last read, or last reported as unreadable."""

    def current(self) -> SecretStr:
        """Return the current token; the file is read again when it has changed."""
        version = _version(self._file)
        if self._file is not None and version != self._version:
            try:
                self._value, self._version = token_in(self._file), version
            except ValueError as error:
                if version != self._checked:
                    logger.warning("the previous token stays in use: %s", error)
            self._checked = version
        return self._value


def tokens(settings: BentoCloudSettings) -> tuple[Token, Token]:
    """Return the token for API calls and the one for inferences: the same when the settings name only one."""
    calls = Token(settings.token, settings.token_file)
    given, file = settings.endpoint_token, settings.endpoint_token_file
    return calls, calls if given is None and file is None else Token(given, file)


def _version(file: Path | None) -> Version | None:
    """Return None when the file does not exist or cannot be read."""
    if file is None:
        return None
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
