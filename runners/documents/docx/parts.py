"""The parts of a Word document, and the relationships between them."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from runners.documents.docx.archive import Archive, part_name
from runners.documents.docx.styles import Styles
from runners.documents.docx.xml import Starts, Texts, parse
from runners.documents.formats import ACCEPTED
from runners.documents.html.html import MAX_TITLE, spaced
from runners.errors import UnsupportedMediaType

TYPES: Final = "[Content_Types].xml"
PROPERTIES: Final = "docProps/core.xml"
MAIN: Final = "word/document.xml"
MAX_RELATIONS: Final = 20_000
"""Relationships that are kept of one part."""


@dataclass(frozen=True)
class Relation:
    """The target of a relationship; ``kind`` is the last segment of the relationship's type."""

    kind: str
    part: str


class Parts:
    """The parts of one document, resolved through relationships as Word does."""

    def __init__(self, archive: Archive) -> None:
        """Raises UnsupportedMediaType where there is no main part."""
        self.archive = archive
        self.main = self._main()
        self._named = self.relations(self.main)

    def of_kind(self, kind: str) -> list[str]:
        """Return the parts that the main part relates to by this kind, in order and each once."""
        parts = (relation.part for relation in self._named.values() if relation.kind == kind)
        return [part for part in dict.fromkeys(parts) if part in self.archive]

    def styles(self) -> Styles:
        """Read the document's styles; Word's defaults where it has none."""
        styles = Styles()
        for part in self.of_kind("styles")[:1] or [self._beside("styles.xml")]:
            if part in self.archive:
                parse(self.archive.chunks(part), Starts(styles.tell))
        return styles

    def title(self) -> str:
        """Return the title from the document's properties; "" where there is none."""
        if PROPERTIES not in self.archive:
            return ""
        texts = Texts("title")
        parse(self.archive.chunks(PROPERTIES), texts)
        return spaced("".join(texts.found)[: 10 * MAX_TITLE])

    def media_type(self, part: str) -> str:
        """Return the media type that the document declares for a part; "" where it declares none."""
        declared: dict[str, str] = {}

        def tell(name: str, attributes: Mapping[str, str]) -> None:
            of_part = name == "Override" and part_name(attributes.get("PartName", "")) == part
            of_ending = name == "Default" and part.endswith("." + attributes.get("Extension", "").lower())
            if of_part or (of_ending and not declared):
                declared[""] = attributes.get("ContentType", "").lower()

        if TYPES in self.archive:
            parse(self.archive.chunks(TYPES), Starts(tell))
        return declared.get("", "")

    def relations(self, part: str) -> dict[str, Relation]:
        """Return a part's relationships by id; the part "" is the package itself."""
        folder, _, name = part.rpartition("/")
        by_id: dict[str, Relation] = {}

        def tell(name: str, attributes: Mapping[str, str]) -> None:
            if name != "Relationship" or attributes.get("TargetMode") == "External" or len(by_id) >= MAX_RELATIONS:
                return
            target = attributes.get("Target", "").replace("\\", "/")
            kind = attributes.get("Type", "").rpartition("/")[2]
            by_id[attributes.get("Id", "")] = Relation(kind, part_name(posixpath.join("/" + folder, target)))

        rels = posixpath.join(folder, "_rels", name + ".rels")
        if rels in self.archive:
            parse(self.archive.chunks(rels), Starts(tell))
        return by_id

    def _main(self) -> str:
        """Return the main part, as the relationships or else convention name it."""
        parts = [relation.part for relation in self.relations("").values() if relation.kind == "officeDocument"]
        name = next((part for part in parts if part in self.archive), MAIN)
        if name not in self.archive:
            raise UnsupportedMediaType(ACCEPTED)
        return name

    def _beside(self, name: str) -> str:
        return posixpath.join(posixpath.dirname(self.main), name)
