"""Pointers: small objects that say which archive a tag names, and what is in it.

A pointer is written last, and only where there is none; what no pointer names is not there. Each push has an archive of
its own, so that removing what one pointer named never takes what another one names.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from management.domain.bento_tag import StoredKind, Tag, is_tag
from management.packaging.shared.objects import ObjectStore, Version

ARCHIVES: Final = "archives"
"""Prefix of the archives."""
FORMAT: Final = 1
"""Version of the pointers' form."""
MAX_KNOWN: Final = 1024
"""Pointers that are remembered; the least recently used are read again."""
AT_ONCE: Final = 8
"""Pointers that a list reads at a time."""
_ENDING: Final = ".json"


@dataclass(frozen=True)
class Pointer:
    """What a tag names."""

    content: str
    """Digest of the content, by ``tree_digest``."""
    archive: str
    """Key of the archive."""
    archive_bytes: int
    size: int
    """Bytes of the files."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """The text files that describe a Bento, or the ``model.yaml`` of a model, by path."""
    may_mount: bool = False
    """Whether a Bento's sources may serve more paths than those of its APIs."""


class Pointers:
    """The pointers of a shared store. All methods block, and raise SharedStoreUnavailable."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._known: OrderedDict[str, tuple[Version, Pointer]] = OrderedDict()

    def get(self, kind: StoredKind, tag: Tag) -> Pointer | None:
        """Return what the tag names now; None where it names nothing. It is the same object until it changes."""
        return self._get(_key(kind, tag)) if is_tag(tag) else None

    def remembered(self, kind: StoredKind, tag: Tag) -> Pointer | None:
        """Return what the tag named when it was last looked at; None where that is unknown. The store is not asked."""
        known = self._known.get(_key(kind, tag))
        return None if known is None else known[1]

    def _get(self, key: str) -> Pointer | None:
        known = self._known.get(key)
        version = self._objects.read(key, known[0] if known else None)
        if version is None:
            self._known.pop(key, None)
            return None
        if known is None or version is not known[0]:
            known = version, _read(version.content)
        self._known[key] = known
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
        return known[1]

    def create(self, kind: StoredKind, tag: Tag, pointer: Pointer) -> bool:
        """Let a tag that names nothing name this; return whether it did. Raises DiskFull."""
        content = json.dumps({"format": FORMAT, **asdict(pointer)}).encode()
        return self._objects.create(_key(kind, tag), content)

    def remove(self, kind: StoredKind, tag: Tag) -> None:
        """Let a tag name nothing."""
        self._objects.remove(_key(kind, tag))
        self._known.pop(_key(kind, tag), None)

    def tags(self, kind: StoredKind) -> list[Tag]:
        """Return the tags that name something, sorted by name and version."""
        found = (each.key.split("/") for each in self._objects.below(kind) if each.key.endswith(_ENDING))
        tags = [Tag(parts[1], parts[2].removesuffix(_ENDING)) for parts in found if len(parts) == 3]
        return sorted(filter(is_tag, tags), key=lambda tag: (tag.name, tag.version))

    def several(self, kind: StoredKind, tags: list[Tag]) -> dict[Tag, Pointer]:
        """Return what each of the tags names, without those that name nothing any more."""
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="pointers") as pool:
            found = zip(tags, pool.map(lambda tag: self.get(kind, tag), tags), strict=True)
            return {tag: pointer for tag, pointer in found if pointer is not None}

    def refresh(self) -> None:
        """Look again at everything that is remembered."""
        for key in list(self._known):
            self._get(key)

    def archives(self) -> set[str]:
        """Return the keys of all archives that a tag names."""
        return {pointer.archive for kind in StoredKind for pointer in self.several(kind, self.tags(kind)).values()}


def _key(kind: StoredKind, tag: Tag) -> str:
    return f"{kind}/{tag.name}/{tag.version}{_ENDING}"


def _read(content: bytes) -> Pointer:
    written: dict[str, Any] = json.loads(content)
    return Pointer(**{name: written[name] for name in Pointer.__dataclass_fields__ if name in written})
