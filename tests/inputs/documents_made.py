"""Documents made by tests: PDFs from objects, and Word files from XML."""

from __future__ import annotations

import hashlib
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import docx
from PIL import Image, ImageDraw, ImageFont

A4 = (595, 842)
PADDING = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")
WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
NAMESPACES = " ".join(
    [
        f'xmlns:w="{WORD}"',
        'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"',
        'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"',
        'xmlns:w14="http://schemas.microsoft.com/office/word/2010/wordml"',
        'xmlns:wp="http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing"',
        'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"',
        'xmlns:dgm="http://schemas.openxmlformats.org/drawingml/2006/diagram"',
        'xmlns:v="urn:schemas-microsoft-com:vml"',
    ]
)
"""The namespaces with prefixes in the main part of a Word file."""


def pdf_of(objects: dict[int, bytes], trailer: str = "") -> bytes:
    """Return a PDF of numbered objects, the first of which is the catalogue."""
    out, offsets = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n", {}
    for number, content in objects.items():
        offsets[number] = len(out)
        out += b"%d 0 obj\n" % number + content + b"\nendobj\n"
    table = b"".join(b"%010d 00000 n \n" % offsets[number] for number in sorted(objects))
    end = f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R {trailer} >>\nstartxref\n{len(out)}\n%%EOF\n"
    return out + b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1) + table + end.encode()


def stream(content: bytes, entries: str = "") -> bytes:
    return f"<< /Length {len(content)} {entries} >>\nstream\n".encode() + content + b"\nendstream"


def typed(lines: Sequence[str], left: int = 72, top: int = 770, size: int = 12, leading: float = 14) -> bytes:
    """Return the operators that draw lines of text; an empty line leaves a gap."""
    out = b"BT /F1 %d Tf\n" % size
    for number, line in enumerate(lines):
        escaped = line.encode("cp1252").replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")
        out += b"1 0 0 1 %d %.1f Tm (" % (left, top - leading * number) + escaped + b") Tj\n" if line else b""
    return out + b"ET\n"


def pdf(*pages: bytes, size: tuple[int, int] = A4, title: str | None = None, resources: str = "") -> bytes:
    """Return a PDF of pages, each given by its drawing operators."""
    numbers = range(10, 10 + 2 * len(pages), 2)
    kids = " ".join(f"{number} 0 R" for number in numbers)
    objects = {
        1: b"<< /Type /Catalog /Pages 2 0 R >>",
        2: f"<< /Type /Pages /Count {len(pages)} /Kids [{kids}] >>".encode(),
        3: b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        4: b"<< /Title <feff" + (title or "").encode("utf-16-be").hex().encode() + b"> >>",
    }
    objects |= dict.fromkeys(range(5, 10), b"null")
    for number, page in zip(numbers, pages, strict=True):
        objects[number] = (
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {size[0]} {size[1]}] /Contents {number + 1} 0 R"
            f" /Resources << /Font << /F1 3 0 R >> {resources} >> >>"
        ).encode()
        objects[number + 1] = stream(page)
    return pdf_of(objects, "/Info 4 0 R" if title is not None else "")


def pictured(*pages: bytes, image: Image.Image, size: tuple[int, int] = A4) -> bytes:
    """Return a PDF whose pages may draw the picture as /Im0."""
    entries = f"/Type /XObject /Subtype /Image /Width {image.width} /Height {image.height} /Filter /DCTDecode"
    picture = stream(saved(image.convert("L"), "JPEG"), entries + " /BitsPerComponent 8 /ColorSpace /DeviceGray")
    document = pdf(*pages, size=size, resources="/XObject << /Im0 8 0 R >>")
    return document.replace(b"8 0 obj\nnull", b"8 0 obj\n" + picture)


def placed(left: float, bottom: float, width: float, height: float) -> bytes:
    """Return the operators that draw that picture."""
    return f"q {width} 0 0 {height} {left} {bottom} cm /Im0 Do Q\n".encode()


def mapped(document: bytes, letters: Mapping[int, str]) -> bytes:
    """Add a table to a PDF's font that maps its letters to other characters."""
    lines = "".join(f"<{code:02x}> <{text.encode('utf-16-be').hex()}>\n" for code, text in letters.items())
    table = (
        "/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /X def /CMapType 2 def"
        f" 1 begincodespacerange <00> <ff> endcodespacerange {len(letters)} beginbfchar\n{lines}endbfchar"
        " endcmap end end"
    )
    document = document.replace(b"/Encoding /WinAnsiEncoding", b"/Encoding /WinAnsiEncoding /ToUnicode 5 0 R")
    return document.replace(b"5 0 obj\nnull", b"5 0 obj\n" + stream(table.encode()))


def form(fields: Sequence[str], content: bytes, entries: str = "", root: str = "") -> bytes:
    """Return a PDF with form fields or notes, each given by the entries of its annotation."""
    numbers = range(10, 10 + len(fields))
    references = " ".join(f"{number} 0 R" for number in numbers)
    objects = {
        1: f"<< /Type /Catalog /Pages 2 0 R {root} /AcroForm << /Fields [{references}] {entries} >> >>".encode(),
        2: b"<< /Type /Pages /Count 1 /Kids [4 0 R] >>",
        3: b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        4: f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 5 0 R /Annots [{references}]"
        " /Resources << /Font << /F1 3 0 R >> >> >>".encode(),
        5: stream(content),
        6: stream(b"", "/Type /XObject /Subtype /Form /BBox [0 0 10 10]"),
        **dict.fromkeys(range(7, 10), b"null"),
    }
    for number, field in zip(numbers, fields, strict=True):
        objects[number] = f"<< /Type /Annot /F 4 /P 4 0 R {field} >>".encode("cp1252")
    return pdf_of(objects)


def rc4(key: bytes, data: bytes) -> bytes:
    state, j, out = list(range(256)), 0, bytearray()
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) & 255
        state[i], state[j] = state[j], state[i]
    i = j = 0
    for byte in data:
        i = (i + 1) & 255
        j = (j + state[i]) & 255
        state[i], state[j] = state[j], state[i]
        out.append(byte ^ state[(state[i] + state[j]) & 255])
    return bytes(out)


def locked_pdf(password: str, text: str = "A secret.") -> bytes:
    """Return a PDF encrypted with 40-bit RC4, as in PDF 1.1."""
    padded, mark = (password.encode() + PADDING)[:32], bytes(range(16))
    owner = rc4(hashlib.md5(padded).digest()[:5], padded)
    key = hashlib.md5(padded + owner + struct.pack("<i", -4) + mark).digest()[:5]
    user = rc4(key, PADDING)
    content = rc4(hashlib.md5(key + (5).to_bytes(3, "little") + b"\0\0").digest()[:10], typed([text]))
    objects = {
        1: b"<< /Type /Catalog /Pages 2 0 R >>",
        2: b"<< /Type /Pages /Count 1 /Kids [4 0 R] >>",
        3: b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        4: b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 5 0 R"
        b" /Resources << /Font << /F1 3 0 R >> >> >>",
        5: stream(content),
        6: f"<< /Filter /Standard /V 1 /R 2 /O <{owner.hex()}> /U <{user.hex()}> /P -4 >>".encode(),
    }
    return pdf_of(objects, f"/Encrypt 6 0 R /ID [<{mark.hex()}> <{mark.hex()}>]")


def scanned_pdf(*images: Image.Image) -> bytes:
    """Return a PDF whose pages are pictures, like a scanner's."""
    return saved(images[0], "PDF", save_all=True, append_images=images[1:], resolution=100)


def written(text: str, size: tuple[int, int] = (400, 120)) -> Image.Image:
    """Return a picture of the text."""
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).text((20, 40), text, "black", ImageFont.load_default(28))
    return image


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def png_header(width: int, height: int) -> bytes:
    """Return a PNG whose header has this size, and whose data is too short."""

    def chunk(name: bytes, payload: bytes) -> bytes:
        return struct.pack(">L", len(payload)) + name + payload + struct.pack(">L", zlib.crc32(name + payload))

    head = chunk(b"IHDR", struct.pack(">LLBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def word(*paragraphs: str, title: str = "") -> bytes:
    """Return a Word file of these paragraphs."""
    document, out = docx.Document(), BytesIO()
    document.core_properties.title = title
    for paragraph in paragraphs:
        document.add_paragraph(paragraph)
    document.save(out)
    return out.getvalue()


def word_of(body: str, before: str = "", parts: Mapping[str, bytes] | None = None) -> bytes:
    """Return a Word file of this XML, with text ``before`` it and other ``parts``."""
    main = f"{before}<w:document {NAMESPACES}><w:body>{body}</w:body></w:document>".encode()
    members = {"[Content_Types].xml": b"<Types/>", "word/document.xml": main, **(parts or {})}
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def word_part(name: str, body: str) -> bytes:
    """Return another part of a Word file, such as ``footnotes``."""
    return f"<w:{name} {NAMESPACES}>{body}</w:{name}>".encode()


def relations(*targets: tuple[str, str, str]) -> bytes:
    """Return a part's relationships, each given by id, kind and target."""
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    inside = "".join(
        f'<Relationship Id="{name}" Type="{office}/{kind}" Target="{target}"/>' for name, kind, target in targets
    )
    return f"<Relationships>{inside}</Relationships>".encode()


def zipped(**members: bytes) -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()
