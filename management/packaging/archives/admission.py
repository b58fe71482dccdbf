"""Takes what was unpacked into the stores, a Bento with its models or a model: each by one rename, under the lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from management.domain.bento import Bento
from management.domain.bento_tag import StoredKind, Tag, is_tag
from management.packaging import bento_files
from management.packaging.archives.latest import point_latest
from management.packaging.archives.refusals import ArchiveRefused, BentoTaken
from management.packaging.archives.tree_digest import (
    CONTENT_DIGEST,
    MODELS,
    Entry,
    digest_of,
    digest_of_bento,
    entries_of,
    is_content,
)
from management.packaging.bento_files import UnreadableBento
from management.packaging.build import BentoHome

MODEL_FILE: Final = "model.yaml"
MAX_SHOWN: Final = 20
"""Missing models that an error names."""


@dataclass(frozen=True)
class Taken:
    """The outcome of an admission."""

    tag: Tag
    is_new: bool
    """Whether the store did not have it before."""


Admission = Callable[..., Taken]
"""How what was unpacked into a folder comes into a store."""


def admission(kind: StoredKind, expected: Tag) -> Admission:
    """Return how a Bento or a model comes in that must have this tag."""
    return partial(take_model_in if kind is StoredKind.MODEL else take_in, expected=expected)


def take_in(unpacked: Path, entries: Sequence[Entry], home: BentoHome, expected: Tag | None = None) -> Taken:
    """Move the Bento in the folder into the store; its folder must be on the same file system.

    The same content is kept once. Raises ArchiveRefused, also for another tag than the expected one, BentoTaken and
    OSError.
    """
    bento, digest, models = read_bento(unpacked, entries, expected)
    with home.locked():
        target = home.folder(bento.tag)
        is_new = not (target / bento_files.BENTO_FILE).is_file()
        if not is_new and digest_of_bento(target) != digest:
            raise BentoTaken(str(bento.tag))
        _move_models([model for model in models if not model.is_kept(home)], home, unpacked.parent)
        if is_new:
            if (unpacked / MODELS).is_dir():
                (unpacked / MODELS).rename(unpacked.parent / "left")
            _move(unpacked, target, unpacked.parent)
    return Taken(bento.tag, is_new)


def take_model_in(unpacked: Path, entries: Sequence[Entry], home: BentoHome, expected: Tag) -> Taken:
    """Move the model in the folder into the model store, on the same terms as a Bento."""
    model = read_model(unpacked, entries, expected)
    with home.locked():
        is_new = not model.is_kept(home)
        if is_new:
            _move_models([model], home, unpacked.parent)
    return Taken(model.tag, is_new)


def read_bento(
    unpacked: Path, entries: Sequence[Entry], expected: Tag | None = None
) -> tuple[Bento, str, list[ArchivedModel]]:
    """Return the Bento in the folder, the digest of its content, and its models; everything is on the disk by then.

    Raises ArchiveRefused, also for another tag than the expected one, and OSError.
    """
    bento = _read(unpacked)
    check_tag(bento.tag, expected, bento_files.BENTO_FILE)
    digest = digest_of(entry for entry in entries if is_content(entry.path))
    models = [of_model(tag, unpacked, entries) for tag in bento.models]
    (unpacked / CONTENT_DIGEST).write_text(digest + "\n", encoding="ascii")
    flush(unpacked)
    return bento, digest, models


def read_model(unpacked: Path, entries: Sequence[Entry], expected: Tag) -> ArchivedModel:
    """Return the model in the folder, on the same terms."""
    if not (unpacked / MODEL_FILE).is_file():
        raise ArchiveRefused("archive_no_model")
    tag = tag_in(unpacked / MODEL_FILE)
    if tag is None:
        raise ArchiveRefused("archive_unreadable", MODEL_FILE)
    check_tag(tag, expected, MODEL_FILE)
    flush(unpacked)
    return ArchivedModel(tag, unpacked, tuple(entries))


@dataclass(frozen=True)
class ArchivedModel:
    """A model in an archive, or one that a Bento needs."""

    tag: Tag
    source: Path
    """Its folder in the archive, whether it is there or not."""
    entries: tuple[Entry, ...]

    def folder(self, home: BentoHome) -> Path:
        """Return its folder in a store, whether it exists or not."""
        return home.folder(self.tag, StoredKind.MODEL)

    def is_kept(self, home: BentoHome) -> bool:
        """Return whether the store has it. Raises BentoTaken where the store has another one of that tag."""
        folder = self.folder(home)
        if not (folder / MODEL_FILE).is_file():
            return False
        if self.entries and digest_of(entries_of(folder)) != digest_of(self.entries):
            raise BentoTaken(str(self.tag), is_model=True)
        return True


def _read(unpacked: Path) -> Bento:
    """Return the Bento. Raises ArchiveRefused where it is none."""
    if not (unpacked / bento_files.BENTO_FILE).is_file():
        raise ArchiveRefused("archive_no_bento")
    try:
        return bento_files.read(unpacked)
    except UnreadableBento:
        raise ArchiveRefused("archive_unreadable", bento_files.BENTO_FILE) from None


def check_tag(found: Tag, expected: Tag | None, file: str) -> None:
    """Raise ArchiveRefused for a tag that cannot be deployed, or is not the one that the caller named."""
    if not is_tag(found):
        raise ArchiveRefused("archive_tag", file)
    if expected not in (None, found):
        raise ArchiveRefused("archive_other_tag", file, found=str(found), expected=str(expected))


def of_model(written: str, unpacked: Path, entries: Sequence[Entry]) -> ArchivedModel:
    """Return a model that the Bento names. Raises ArchiveRefused for a tag or a model that is not valid."""
    name, _, version = written.partition(":")
    tag = Tag(name, version)
    check_tag(tag, None, bento_files.BENTO_FILE)
    prefix = f"{MODELS}/{name}/{version}/"
    own = tuple(
        Entry(entry.path.removeprefix(prefix), entry.is_executable, entry.sha256)
        for entry in entries
        if entry.path.startswith(prefix)
    )
    source = unpacked / MODELS / name / version
    if own and tag_in(source / MODEL_FILE) != tag:
        raise ArchiveRefused("archive_unreadable", f"{prefix}{MODEL_FILE}")
    return ArchivedModel(tag, source, own)


def tag_in(file: Path) -> Tag | None:
    """Return the tag in the file of a model; None where it cannot be read."""
    try:
        content = bento_files.document(file)
        return Tag(str(content["name"]), str(content["version"]))
    except (OSError, UnreadableBento, KeyError):
        return None


def _move_models(models: Sequence[ArchivedModel], home: BentoHome, aside: Path) -> None:
    """Move the models into the store. Raises ArchiveRefused when the archive lacks one."""
    require_entries(models)
    for model in models:
        _move(model.source, model.folder(home), aside)


def require_entries(models: Sequence[ArchivedModel]) -> None:
    """Raise ArchiveRefused for models that the archive lacks."""
    missing = [str(model.tag) for model in models if not model.entries]
    if missing:
        raise ArchiveRefused("archive_models", bento_files.BENTO_FILE, expected=", ".join(missing[:MAX_SHOWN]))


def _move(source: Path, target: Path, aside: Path) -> None:
    """Rename the folder into a store. What BentoML left half-made there is moved aside, and goes with the workplace."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        target.rename(aside / f"half-made-{target.parent.name}-{target.name}")
    source.rename(target)
    point_latest(target)
    for folder in (target.parent, target.parent.parent):
        sync(folder)


def flush(folder: Path) -> None:
    """Write everything in the folder to the disk."""
    for place, _, names in os.walk(folder):
        for name in names:
            sync(Path(place) / name)
        sync(Path(place))


def sync(path: Path) -> None:
    """Write a file, or the entries of a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
