"""Sends a Bento to the server, in steps that are shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from client import AtelierClient, AtelierError
from management.cli._options import ClientOptions
from management.cli.bentos import sources
from management.cli.bentos.sources import Kind, Source
from management.cli.progress import Steps

CREATED: Final = 201
"""HTTP status of a push that brought a new Bento in."""


def send(options: ClientOptions, source: Source, version: str | None, steps: Steps) -> tuple[dict[str, Any], bool]:
    """Build what is a folder, then push it. Return the server's description, and whether the Bento is new there.

    Raises Failed and AtelierError.
    """
    if source.kind is Kind.ARCHIVE:
        return _push(options, Path(source.text), Path(source.text).name, steps)
    with options.client() as client:
        client.list_bentos(limit=1)  # so that a wrong address or key is reported before the work
    if source.kind is Kind.FOLDER:
        steps.begin(f"Building {source.text}")
        tag = sources.built(source.text, version)
    else:
        tag = sources.exact(source.text)
    if (known := _same_there(options, tag)) is not None:
        return known, False
    steps.begin(f"Packing {tag}")
    with sources.exported(tag) as archive:
        return _push(options, archive, tag, steps)


def _same_there(options: ClientOptions, tag: str) -> dict[str, Any] | None:
    """Return the server's description of the Bento where its content is that of the caller's."""
    from management.packaging.archives.tree_digest import digest_of_bento

    with options.client() as client:
        known = described(client, tag)
    if known is None or known.get("digest") != f"sha256:{digest_of_bento(sources.folder_of(tag))}":
        return None
    return known


def described(client: AtelierClient, tag: str) -> dict[str, Any] | None:
    """Return the server's description of a Bento; None where the server does not have it."""
    try:
        return client.get_bento(tag)
    except AtelierError as error:
        if error.code == "BENTO_NOT_FOUND":
            return None
        raise


def _push(options: ClientOptions, archive: Path, name: str, steps: Steps) -> tuple[dict[str, Any], bool]:
    size = archive.stat().st_size
    advance = steps.begin(f"Sending {name}", size, counts_bytes=True)
    left = size

    def note(sent: int) -> None:
        nonlocal left
        left -= sent
        advance(sent)
        if left == 0 and sent:
            steps.begin(f"Unpacking {name}")

    with options.client() as client:
        answer = client.push_bento(archive, progress=note)
        return answer, client.last_status == CREATED
