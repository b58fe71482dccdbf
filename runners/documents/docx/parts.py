"""Which parts a Word document has, and how they name one another."""

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
"""Most relationships of one part that are kept."""


@dataclass(frozen=True)
class Relation:
    """A part that another one names; ``kind`` is the last step of the relationship's type."""

    kind: str
    part: str


class Parts:
    """The parts of one document, found by their relationships as Word finds them."""

    def __init__(self, archive: Archive) -> None:
        """Raises UnsupportedMediaType where there is no main part."""
        self.archive = archive
        self.main = self._main()
        self._named = self.relations(self.main)

    def of_kind(self, kind: str) -> list[str]:
        """The parts that the main part names as of this kind, in their order and each once."""
        found = (relation.part for relation in self._named.values() if relation.kind == kind)
        return [part for part in dict.fromkeys(found) if part in self.archive]

    def styles(self) -> Styles:
        """The document's styles; Word's own where it has none."""
        styles = Styles()
        for part in self.of_kind("styles")[:1] or [self._beside("styles.xml")]:
            if part in self.archive:
                parse(self.archive.chunks(part), Starts(styles.tell))
        return styles

    def title(self) -> str:
        """The title among the document's properties; "" where there is none."""
        if PROPERTIES not in self.archive:
            return ""
        texts = Texts("title")
        parse(self.archive.chunks(PROPERTIES), texts)
        return spaced("".join(texts.found)[: 10 * MAX_TITLE])

    def media_type(self, part: str) -> str:
        """What the document says that a part is; "" where it says nothing."""
        found: dict[str, str] = {}

        def tell(name: str, attributes: Mapping[str, str]) -> None:
            of_part = name == "Override" and part_name(attributes.get("PartName", "")) == part
            of_ending = name == "Default" and part.endswith("." + attributes.get("Extension", "").lower())
            if of_part or (of_ending and not found):
                found[""] = attributes.get("ContentType", "").lower()

        if TYPES in self.archive:
            parse(self.archive.chunks(TYPES), Starts(tell))
        return found.get("", "")

    def relations(self, part: str) -> dict[str, Relation]:
        """What a part names, by the ids; "" is the document as a whole."""
        folder, _, name = part.rpartition("/")
        found: dict[str, Relation] = {}

        def tell(name: str, attributes: Mapping[str, str]) -> None:
            if name != "Relationship" or attributes.get("TargetMode") == "External" or len(found) >= MAX_RELATIONS:
                return
            target = attributes.get("Target", "").replace("\\", "/")
            kind = attributes.get("Type", "").rpartition("/")[2]
            found[attributes.get("Id", "")] = Relation(kind, part_name(posixpath.join("/" + folder, target)))

        rels = posixpath.join(folder, "_rels", name + ".rels")
        if rels in self.archive:
            parse(self.archive.chunks(rels), Starts(tell))
        return found

    def _main(self) -> str:
        """Most call it the same; the relationships know."""
        found = [one.part for one in self.relations("").values() if one.kind == "officeDocument"]
        name = next((part for part in found if part in self.archive), MAIN)
        if name not in self.archive:
            raise UnsupportedMediaType(ACCEPTED)
        return name

    def _beside(self, name: str) -> str:
        return posixpath.join(posixpath.dirname(self.main), name)
