"""Logins of a command line by a browser: a person shows a key on a page, and the command line gets a new one.

The code of a login is signed, and carries the time at which it was made. The new key is computed from the code and a
secret of this server, so that nothing but the key's digest is stored, and any worker can give it to the command line.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from management.domain import keys

CODE_SECONDS: Final = 600.0
"""Seconds for which a code is valid."""
SECRET_BYTES: Final = 32
"""Bytes of the server's secret."""
LONGEST: Final = 200
"""Characters of the longest code that is looked at."""


class BrowserLogin:
    """The logins of one server; its workers share the file with the secret."""

    def __init__(self, file: Path, clock: Callable[[], float] = time.time) -> None:
        """``file`` is made, with mode 0600, when the first code is needed."""
        self._file, self._clock = file, clock

    def new_code(self) -> str:
        """Return a code for one login."""
        body = f"{int(self._clock())}.{secrets.token_urlsafe(24)}"
        return f"{body}.{self._digest('code', body)}"

    def is_valid(self, code: str) -> bool:
        """Return whether the code was made here, and is not too old."""
        body, _, signature = code.rpartition(".")
        started, _, _ = body.partition(".")
        if len(code) > LONGEST or not code.isascii() or not (started.isdigit() and len(started) <= 12):
            return False
        is_ours = hmac.compare_digest(signature, self._digest("code", body))
        return is_ours and 0 <= self._clock() - int(started) + 1 <= CODE_SECONDS

    def key_text(self, code: str) -> str:
        """Return the text of the key that belongs to a valid code."""
        return keys.text_from(bytes.fromhex(self._digest("key", code)))

    def _digest(self, purpose: str, text: str) -> str:
        return hmac.new(self._secret(), f"{purpose}:{text}".encode(), hashlib.sha256).hexdigest()

    def _secret(self) -> bytes:
        with suppress(FileNotFoundError):
            return self._read()
        self._file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=self._file.parent, prefix=f".{self._file.name}-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(SECRET_BYTES))
            with suppress(FileExistsError):  # another worker was faster, and its secret counts
                os.link(name, self._file)
        finally:
            Path(name).unlink()
        return self._read()

    def _read(self) -> bytes:
        secret = self._file.read_bytes()
        if len(secret) != SECRET_BYTES:
            raise OSError(f"{self._file} is damaged: delete it, and log in again")
        return secret
