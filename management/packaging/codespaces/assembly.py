"""Makes a Bento of a codespace: what ``bentoml build`` would make of the same sources, without running any of them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import yaml  # type: ignore[import-untyped]

from management.domain.bento import Bento
from management.domain.bento_tag import Tag
from management.packaging import bento_files, bounded_yaml
from management.packaging.archives.admission import Admission, take_in
from management.packaging.archives.refusals import ArchiveRefused
from management.packaging.archives.room import full_disk_named
from management.packaging.archives.tree_digest import entries_of
from management.packaging.archives.workplace import workplace
from management.packaging.bento_files import UnreadableBento
from management.packaging.build import BentoHome
from management.packaging.codespaces.sources import Codespace

REQUIREMENTS: Final = "requirements.txt"
"""File that the client writes from all that the service says of its requirements."""
_OF_IMAGE: Final = frozenset({"setup.sh", "post_setup.sh"})
"""Files that repeat the commands in the manifest."""
_COPIED: Final = ("service", "entry_service", "bentoml_version", "services", "envs", "schema", "spec", "image")
"""Fields that a manifest and a ``bento.yaml`` have in common."""


def assemble(home: BentoHome, codespace: Codespace, now: datetime, admit: Admission = take_in) -> Tag | None:
    """Make the next Bento, and let ``admit`` take it in; None where nothing has changed since the last one.

    Needs the lock.

    Raises ArchiveRefused, DiskFull, TooLong and OSError.
    """
    state = codespace.state()
    files = codespace.paths()
    digest = _digest(state.manifest, files)
    if digest == state.digest:
        return None
    tag = codespace.tag(state.number + 1)
    make(home, tag, state.manifest, files, now, admit)
    codespace.write(replace(state, number=state.number + 1, digest=digest))
    return tag


def make(  # noqa: PLR0913, PLR0917 - what it is made of
    home: BentoHome,
    tag: Tag,
    manifest: Mapping[str, Any],
    files: Sequence[tuple[str, Path]],
    now: datetime,
    admit: Admission = take_in,
) -> None:
    """Make a Bento with this tag, and let ``admit`` take it in. Raises ArchiveRefused, DiskFull and OSError."""
    with workplace(home) as place, full_disk_named():
        folder = place / "bento"
        for path, file in files:
            if path not in _OF_IMAGE:
                _link(file, folder / bento_files.SOURCES / path)
        (folder / bento_files.SOURCES).mkdir(parents=True, exist_ok=True)
        _write_python(folder / "env" / "python", manifest, dict(files).get(REQUIREMENTS))
        content = document(manifest, tag, now)
        (folder / bento_files.BENTO_FILE).write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        admit(folder, list(entries_of(folder)), home, expected=tag)


def described(manifest: Mapping[str, Any], tag: Tag, now: datetime) -> Bento:
    """Return the Bento that a manifest describes. Raises ArchiveRefused where it describes none."""
    try:
        return bento_files.parse({bento_files.BENTO_FILE: json.dumps(document(manifest, tag, now))}, None)
    except UnreadableBento:
        raise ArchiveRefused("archive_unreadable", bento_files.BENTO_FILE) from None


def document(manifest: Mapping[str, Any], tag: Tag, now: datetime) -> dict[str, Any]:
    """Return the content of the Bento's file."""
    plain = bounded_yaml.plain(manifest)
    of_services = {
        str(model.get("tag")) for service in _listed(plain, "services") for model in _listed(service, "models")
    }
    own = [name for name in plain.get("models") or () if isinstance(name, str) and name not in of_services]
    return {
        "name": tag.name,
        "version": tag.version,
        "creation_time": now.isoformat(),
        "labels": {},
        "models": [{"tag": name, "creation_time": now.isoformat()} for name in own],
        **{name: plain[name] for name in _COPIED if plain.get(name) is not None},
    }


def _listed(value: Any, name: str) -> list[dict[str, Any]]:
    """Return a field that lists mappings; an empty list for anything else that a client has sent."""
    found = value.get(name) if isinstance(value, dict) else None
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _write_python(folder: Path, manifest: Mapping[str, Any], requirements: Path | None) -> None:
    """Write what the environment is made from: the client's requirements, or those of the manifest before they come."""
    folder.mkdir(parents=True)
    image = manifest.get("image")
    written = image if isinstance(image, Mapping) else {}
    if requirements is not None:
        _link(requirements, folder / REQUIREMENTS)
    else:
        (folder / REQUIREMENTS).write_text(str(written.get("python_requirements") or ""), encoding="utf-8")
    (folder / "version.txt").write_text(str(written.get("python_version") or ""), encoding="utf-8")


def _link(source: Path, target: Path) -> None:
    """Put a file that is never written again at another place, too."""
    target.parent.mkdir(parents=True, exist_ok=True)
    os.link(source, target)


def _digest(manifest: Mapping[str, Any], files: Sequence[tuple[str, Path]]) -> str:
    total = hashlib.sha256(json.dumps(bounded_yaml.plain(manifest), sort_keys=True).encode())
    for path, file in files:
        found = file.stat()
        total.update(
            f"{path}\0{found.st_ino}\0{found.st_size}\0{found.st_mtime_ns}\n".encode("utf-8", "surrogateescape")
        )
    return total.hexdigest()
