"""Credentials for a bucket from the files that AWS's own tools read, where no variable gives them.

Variables (``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_SESSION_TOKEN`` ...) and the addresses of web
identities and instance metadata are read by obstore itself.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_FIELDS: Final = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
_OTHERS: Final = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI")
"""Variables that name credentials, which come before those of a file."""


def of_files(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the fields of ``AWS_PROFILE`` in ``AWS_SHARED_CREDENTIALS_FILE``; nothing where variables give them."""
    if any(environment.get(name) for name in _OTHERS):
        return {}
    file = Path(environment.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials").expanduser()
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(file, encoding="utf-8")
    except (OSError, configparser.Error, UnicodeDecodeError):
        return {}
    profile = environment.get("AWS_PROFILE") or "default"
    section = parser[profile] if parser.has_section(profile) else {}
    return {name: section[name] for name in _FIELDS if name in section}
