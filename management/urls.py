"""URLs: those that a secret may be sent to, the own addresses of models, and databases."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlsplit

POSTGRESQL: Final = ("postgresql", "postgres", "postgresql+psycopg")
"""Schemes of the URLs of PostgreSQL; psycopg 3 serves all of them."""

ADDRESSES: Final = "/models"
"""Path of all models' own addresses."""
STORE_OPTIONS: Final = frozenset({"endpoint", "region"})
"""Options in the URL of a bucket."""
LOOPBACK: Final = "localhost"
"""Host name of this machine."""


def private(url: str) -> str:
    """Return the URL without a final slash. Raises ValueError when it is not confidential, or not a base URL."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_here(parts.hostname)):
        raise ValueError("must begin with https://")
    if not parts.hostname or parts.username is not None or parts.query or parts.fragment or not url.isprintable():
        raise ValueError("must be a host's URL, without a user, a query or a fragment")
    _ = parts.port  # raises ValueError for an invalid port
    return url.rstrip("/")


def _is_here(host: str | None) -> bool:
    if host == LOOPBACK:
        return True
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return False


def check_store(url: str) -> None:
    """Raise ValueError for what is no URL of a shared folder or of a bucket."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ValueError("must be a URL without a user and a fragment; credentials come from variables or files")
    if parts.scheme == "file":
        if parts.netloc or options or len(parts.path) < 2:
            raise ValueError("must be file:// and an absolute path, such as file:///srv/atelier")
    elif parts.scheme == "s3":
        if not parts.hostname or set(options) - STORE_OPTIONS:
            raise ValueError("must be s3://bucket/prefix, with endpoint and region as its only options")
        if urlsplit(options.get("endpoint", "https://")).scheme not in ("http", "https"):
            raise ValueError("has an endpoint that is no URL")
    else:
        raise ValueError("must begin with file:// or s3://")


def own_address(public_url: str, model_id: str) -> str:
    """Return the URL of a model's own root."""
    return f"{public_url.rstrip('/')}{ADDRESSES}/{model_id}/"


def host_address(public_url: str, model_id: str) -> str | None:
    """Return the URL of the host that is a model's alone; None where the server is reached by an IP address."""
    parts = urlsplit(public_url)
    if not parts.hostname or parts.path.strip("/"):
        return None
    try:
        ip_address(parts.hostname)
    except ValueError:
        return f"{parts.scheme}://{model_id}.models.{parts.netloc.rpartition('@')[2]}/"
    return None


def libpq_url(url: str) -> str | None:
    """Return the URL as libpq, PostgreSQL's own library, reads it; None for another kind of database.

    libpq takes several hosts and all of its options in a URL, which SQLAlchemy's URLs do not.
    """
    scheme, separator, rest = url.partition("://")
    return f"postgresql://{rest}" if separator and scheme in POSTGRESQL else None


def sqlite_file(url: str) -> Path | None:
    """Return the file of an SQLite database; None for one in memory, and for any other kind of database.

    Raises sqlalchemy.exc.ArgumentError for what is no URL.
    """
    if libpq_url(url) is not None:
        return None
    from sqlalchemy.engine import make_url

    parts = make_url(url)
    return Path(parts.database) if parts.get_backend_name() == "sqlite" and parts.database else None
