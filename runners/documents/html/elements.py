"""Which elements of HTML hold text, part it, or hide it?"""

from __future__ import annotations

from typing import Final

from runners.documents.html.roles import NAMED

MEDIA: Final = frozenset(["object", "canvas", "audio", "video", "map"])
DROPPED: Final = frozenset(
    [
        "script",
        "style",
        "template",
        "svg",
        "math",
        "iframe",
        "rt",
        "rp",
        "rtc",
        "select",
        "datalist",
        "textarea",
        *MEDIA,
    ]
)
"""Elements without running text; furigana are among them, as they stand above the line."""
BROKEN_OUT: Final = frozenset(["svg", "math", "select", "datalist", *MEDIA])
"""Dropped elements that end where a block begins inside them."""
RUBY_PARTS: Final = frozenset(["rt", "rp", "rtc", "rb"])
BLOCKS: Final = frozenset(
    "address article aside blockquote body caption center dd details dialog dir div dl dt fieldset figcaption figure"  # noqa: SIM905
    " footer form h1 h2 h3 h4 h5 h6 header hgroup hr html legend listing main menu nav ol p pre search section summary"
    " table tbody tfoot thead title ul".split()
)
LINES: Final = frozenset(["li", "tr"])
"""Elements whose text begins on the line after the one before."""
CELLS: Final = frozenset(["td", "th"])
LAID_OUT: Final = BLOCKS | LINES | CELLS
CONTAINERS: Final = LAID_OUT - {"p", "hr", "title"}
LINKS: Final = frozenset(["a", "button"])
HEADINGS: Final = {f"h{level}": level for level in range(1, 7)}
MATTERS: Final = CONTAINERS | DROPPED | LINKS | NAMED | {"sup", "p", "dialog"}
"""Elements that may affect what they contain even without an attribute."""
