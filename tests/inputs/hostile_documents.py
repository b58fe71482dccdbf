"""Documents of every format, most a few kilobytes, that take as much time or memory as possible."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Final

from PIL import Image

from tests.inputs.documents_made import A4, pdf_of, stream, word_of

MILLION: Final = 1_000_000
FILL: Final = b"0 0 595 842 re f "


def packed(content: bytes, entries: str = "") -> bytes:
    """Return a compressed stream of a PDF."""
    return stream(zlib.compress(content, 9), f"/Filter /FlateDecode {entries}")


def hostile_pdf(
    content: bytes, resources: str = "", objects: Mapping[int, bytes] | None = None, pages: int = 1
) -> bytes:
    """Return a PDF whose pages share their content."""
    numbers = range(100, 100 + pages)
    kids = " ".join(f"{number} 0 R" for number in numbers)
    box = f"[0 0 {A4[0]} {A4[1]}]"
    page = f"<< /Type /Page /Parent 2 0 R /MediaBox {box} /Contents 3 0 R /Resources << {resources} >> >>".encode()
    fixed = {
        1: b"<< /Type /Catalog /Pages 2 0 R >>",
        2: f"<< /Type /Pages /Count {pages} /Kids [{kids}] >>".encode(),
        3: packed(content),
    }
    empty = dict.fromkeys(range(4, 100), b"null")
    return pdf_of({**empty, **fixed, **(objects or {}), **dict.fromkeys(numbers, page)})


def form(content: bytes, resources: str, entries: str = "") -> bytes:
    return packed(content, f"/Type /XObject /Subtype /Form /BBox [0 0 595 842] /Resources << {resources} >> {entries}")


def nested_forms(depth: int = 9, width: int = 10) -> bytes:
    """Each form draws the next one ten times: 10^9 rectangles."""
    inner = {10 + level: form(b"/X Do " * width, f"/XObject << /X {11 + level} 0 R >>") for level in range(depth - 1)}
    return hostile_pdf(b"/X Do " * width, "/XObject << /X 10 0 R >>", {**inner, 9 + depth: form(FILL, "")})


def soft_masks(depth: int = 6, width: int = 3) -> bytes:
    """Each mask is drawn through three further masks."""
    objects: dict[int, bytes] = {90: b"<< /Type /ExtGState /SMask << /S /Luminosity /G 10 0 R >> >>"}
    for level in range(depth):
        resources = f"/ExtGState << /G {11 + 2 * level} 0 R >>" if level + 1 < depth else ""
        group = "/Group << /S /Transparency /CS /DeviceGray >>"
        objects[10 + 2 * level] = form((b"/G gs " + FILL) * width, resources, group)
        objects[11 + 2 * level] = f"<< /SMask << /S /Luminosity /G {12 + 2 * level} 0 R >> >>".encode()
    return hostile_pdf((b"/G gs " + FILL) * width, "/ExtGState << /G 90 0 R >>", objects)


def one_image_often(times: int = 1_000, side: int = 3_000) -> bytes:
    entries = f"/Type /XObject /Subtype /Image /Width {side} /Height {side} /ColorSpace /DeviceGray /BitsPerComponent 8"
    content = b"q 595 0 0 842 0 0 cm /I Do Q " * times
    return hostile_pdf(content, "/XObject << /I 10 0 R >>", {10: packed(bytes(side * side), entries)})


def patterns(times: int = 200) -> bytes:
    entries = "/PatternType 1 /PaintType 1 /TilingType 1 /BBox [0 0 1 1] /XStep 1 /YStep 1 /Resources << >>"
    content = (b"/Pattern cs /P scn " + FILL) * times
    return hostile_pdf(content, "/Pattern << /P 10 0 R >>", {10: packed(b"0 0 1 1 re f", entries)})


def heavy_pages(pages: int = 200, times: int = 3_000) -> bytes:
    return hostile_pdf((FILL + b"0 0 m 595 842 300 100 500 20 c 0 842 l f ") * times, pages=pages)


def many_frames(frames: int = 200, side: int = 2_000) -> bytes:
    out = BytesIO()
    image = Image.new("1", (side, side))
    image.save(out, "TIFF", compression="group4", save_all=True, append_images=[image] * (frames - 1))
    return out.getvalue()


def flat_png(side: int = 4_000) -> bytes:
    out = BytesIO()
    Image.new("L", (side, side)).save(out, "PNG")
    return out.getvalue()


PDFS: Final[dict[str, Callable[[], bytes]]] = {
    "nested forms": nested_forms,
    "300,000 fills": lambda: hostile_pdf(FILL * 300_000),
    "soft masks": soft_masks,
    "an image 1,000 times": one_image_often,
    "200 heavy pages": heavy_pages,
    "patterns": patterns,
    "dashed strokes": lambda: hostile_pdf(b"[1 1] 0 d 0.1 w " + b"0 0 m 595 842 l 0 842 l 595 0 l S " * 100_000),
    "shadings": lambda: hostile_pdf(
        b"/S sh " * 1_000,
        "/Shading << /S << /ShadingType 2 /ColorSpace /DeviceRGB /Coords [0 0 595 842] /Extend [true true]"
        " /Function << /FunctionType 2 /Domain [0 1] /C0 [0 0 0] /C1 [1 1 1] /N 1 >> >> >>",
    ),
}


def _repeated(unit: str, start: str = "", length: int = MILLION) -> Callable[[], bytes]:
    return (start + unit * (length // len(unit))).encode


MARKDOWN: Final[dict[str, Callable[[], bytes]]] = {
    "more than may be read": _repeated("a\n\n", length=3 * MILLION),
    "pages of form feeds": _repeated("a\f"),
    "paragraphs": _repeated("a\n\n"),
    "list items": _repeated("1. a\n"),
    "headings": _repeated("# a\n"),
    "backslashes": _repeated("\\"),
    "references": _repeated("&#x"),
    "links": lambda: "".join(f"[a{number}]: b\n" for number in range(80_000)).encode(),
    "front matter": _repeated("---\n"),
    "emphasis": _repeated("*a **b "),
    "brackets": _repeated("[a]("),
    "quotes": _repeated(">"),
    "a table": _repeated("a|b\n", "a|b\n-|-\n"),
}
HTML: Final[dict[str, Callable[[], bytes]]] = {
    name: _repeated(unit, "<!DOCTYPE html><html><body>")
    for name, unit in {
        "unclosed comments": "<!--",
        "unclosed CDATA": "<![CDATA[",
        "unclosed tags": "<a ",
        "unclosed attributes": '<a b="',
        "open paragraphs": "<p>",
        "open bold": "<b>",
        "nested tables": "<table><tr><td>",
        "less than": "<",
        "references": "&nbsp;",
        "declarations": "<!a>",
        "instructions": "<?a ",
        "scripts": "<script>",
        "hidden": "<div hidden>",
    }.items()
}
LONG_HTML: Final[dict[str, Callable[[], bytes]]] = {
    "12 MB in a comment": _repeated("<!--", "<!DOCTYPE html><html><body>", 12 * MILLION),
    "12 MB in CDATA": _repeated("<![CDATA[", "<!DOCTYPE html><html><body>", 12 * MILLION),
}
TEXTS: Final[dict[str, Callable[[], bytes]]] = {
    "capitals": _repeated("A"),
    "one byte of no encoding": lambda: b"A\xc9" * (MILLION // 2),
    "line ends": _repeated("\r\n"),
    "controls": _repeated("\x07" + "a" * 99),
    "marks": _repeated("a\u0301\u0316", length=MILLION // 3),
    "emoji": _repeated("😀", length=MILLION),
}
WORD: Final[dict[str, Callable[[], bytes]]] = {
    "paragraphs": lambda: word_of("<w:p><w:r><w:t>a</w:t></w:r></w:p>" * 300_000),
    "nested tables": lambda: word_of("<w:tbl><w:tr><w:tc>" * 20_000 + "</w:tc></w:tr></w:tbl>" * 20_000),
    "an unfolding entity": lambda: word_of(
        "<w:p><w:r><w:t>&j;</w:t></w:r></w:p>",
        '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">'
        + "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefghi", "bcdefghij", strict=True))
        + "]>",
    ),
    "100 MB of nothing": lambda: word_of(" " * 100_000_000),
}
PICTURES: Final[dict[str, Callable[[], bytes]]] = {"200 frames": many_frames, "a flat PNG": flat_png}
