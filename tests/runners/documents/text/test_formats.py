"""What a file is, whatever it is called."""

from __future__ import annotations

import gzip
import random
from io import BytesIO

import pytest
from PIL import Image

from runners.documents import formats, reader
from runners.documents.formats import Kind
from runners.documents.pool import protocol
from runners.documents.scans.pages import MAX_PICTURES, MAX_SIDE, AsPictures
from runners.errors import InvalidDocument, NoText, PayloadTooLarge, UnsupportedMediaType
from runners.limits import MAX_BYTES, MAX_CHARACTERS
from tests.doubles.documents_doubles import Blind, Sized
from tests.inputs.documents_made import pdf, saved, typed, word, written, zipped
from tests.support.running import cpu_time

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
NOISE = random.Random(7).randbytes(20_000)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_picture_is_read_by_ocr_whatever_its_name(kind: str) -> None:
    document = reader.read(saved(Image.new("RGB", (40, 30)), kind), "letter.txt", Sized())
    assert (document.text, document.pages, document.images) == ("RGB 40 x 30", 1, ())


def test_names_lie_and_bytes_do_not() -> None:
    assert reader.read(pdf(typed(["In a PDF."])), "a.docx", Sized()).text == "In a PDF."
    assert reader.read(word("In Word."), "a.pdf", Sized()).text == "In Word."
    assert reader.read(b"In a text.", "a.png", Sized()).text == "In a text."


REFUSED = {
    "a spreadsheet": zipped(**{"[Content_Types].xml": b"<Types/>", "xl/workbook.xml": b"<workbook/>"}),
    "an OpenDocument": zipped(mimetype=b"application/vnd.oasis.opendocument.text", **{"content.xml": b"<x/>"}),
    "a zip": zipped(a=b"text"),
    "an empty zip": zipped(),
    "an old Word document": OLE + bytes(4096),
    "RTF": rb"{\rtf1\ansi Hello.}",
    "PostScript": b"%!PS-Adobe-3.0\n(Hello) show\n",
    "a program": b"\x7fELF\x02\x01\x01" + bytes(60) + NOISE,
    "gzip": gzip.compress(b"Hello. " * 500),
    "sound": b"RIFF\x24\x08\0\0WAVEfmt " + NOISE,
    "music": b"ID3\x04\0\0\0\0\0\0" + NOISE,
    "a film": b"\0\0\0\x18ftypmp42" + NOISE,
    "a BigTIFF": b"II+\0\x08\0\0\0" + bytes(64),
    "noise": NOISE,
    "a little noise": NOISE[:200],
    "zeros": bytes(5_000),
    "a text with many zeros": b"Some words.\0\0\0" * 50,
    "a drawing": b'<?xml version="1.0"?>\n<!-- made by hand -->\n<svg xmlns="http://www.w3.org/2000/svg"><text>Hi',
    "a drawing that says it is a page": b"<svg><text>Hi</text></svg>",
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("filename", ["a.txt", "a.html", ""])
def test_what_is_no_document_is_refused(name: str, filename: str) -> None:
    with pytest.raises(UnsupportedMediaType, match="the document must be"):
        reader.read(REFUSED[name], filename, Sized())


@pytest.mark.parametrize("data", [b"", b" \r\n\t \n", b"\xef\xbb\xbf", b"<p> &nbsp;", word(), word(" ")])
def test_a_document_without_anything_in_it_is_empty(data: bytes) -> None:
    with pytest.raises(InvalidDocument, match=r"^the document is empty$"):
        reader.read(data, "a.html" if data.startswith(b"<") else "", Sized())


def test_an_encrypted_word_document_says_so() -> None:
    with pytest.raises(InvalidDocument, match="encrypted"):
        reader.read(OLE + bytes(2048) + "EncryptedPackage".encode("utf-16-le") + bytes(2048), "a.docx", Sized())


def test_markdown_and_html_are_told_from_text() -> None:
    assert formats.of_text("# x", "A.MD") is formats.of_text("x", "a.markdown") is Kind.MARKDOWN
    assert formats.of_text("x", "a.htm") is formats.of_text(" <!DOCTYPE html>x", "") is Kind.HTML
    assert formats.of_text("<?xml version='1.0'?><!-- x --><html lang='en'>", "a.txt") is Kind.HTML
    assert formats.of_text("<?xml version='1.0'?><div>x</div>", "page.xhtml") is Kind.HTML
    assert formats.of_text("<?xml version='1.0'?><body xmlns='http://www.w3.org/1999/xhtml'>", "") is Kind.HTML
    assert formats.of_text("<?xml version='1.0'?><order id='1'>", "a.xml") is Kind.XML
    assert (
        formats.of_text("# x", "a.txt") is formats.of_text("1 < 2 <b", "") is formats.of_text("<3 you", "") is Kind.TEXT
    )


@pytest.mark.parametrize("bad", ["<!-- a -->\n", "<?a?>", "<!---->", "<!--", "<?", " ", "<p", "\n<!-- a --> <?b?>"])
def test_comments_and_declarations_without_a_page_after_them_take_no_time(bad: str) -> None:
    assert cpu_time.at_most(1, lambda: formats.of_text(bad * 5_000 + "x", "")) is Kind.TEXT


def test_a_page_after_many_comments_is_one() -> None:
    assert formats.of_text("<!-- a > b -->\n" * 40 + "<html>", "") is Kind.HTML
    with pytest.raises(UnsupportedMediaType):
        formats.of_text("<?xml version='1.0'?>" + "<!-- a -->" * 40 + "<svg>", "")


def test_a_text_about_pdfs_is_a_text() -> None:
    assert reader.read(b"A file of this kind begins with %PDF-1.7 and a line end.", "", Sized()).pages == 1


def test_a_picture_without_text_says_so() -> None:
    with pytest.raises(NoText):
        reader.read(saved(Image.new("RGB", (1, 1)), "PNG"), "", Blind())


def test_where_pictures_are_wanted_a_picture_needs_no_text() -> None:
    document = reader.read(saved(written("x"), "JPEG"), "", AsPictures())
    assert (document.text, len(document.images)) == ("", 1)
    assert Image.open(BytesIO(document.images[0])).size == (400, 120)


def test_a_photograph_is_kept_as_large_as_an_engine_looks_at_it() -> None:
    photograph = Image.radial_gradient("L").resize((4000, 3000)).convert("RGB")
    (image,) = reader.read(saved(photograph, "JPEG"), "", AsPictures()).images
    assert Image.open(BytesIO(image)).size == (MAX_SIDE, MAX_SIDE * 3 // 4)


@pytest.mark.slow
def test_a_picture_of_noise_is_made_small_enough_to_be_sent() -> None:
    noise = Image.frombytes("RGB", (3000, 3000), random.Random(1).randbytes(27_000_000))
    (image,) = reader.read(saved(noise, "JPEG", quality=60), "", AsPictures()).images
    assert MAX_BYTES / 2 < len(image) <= MAX_BYTES


def test_the_pictures_of_one_document_fit_into_one_answer_of_a_reading_process() -> None:
    assert MAX_PICTURES <= protocol.MAX_BYTES


def test_pictures_have_a_limit_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runners.documents.scans.pages.MAX_PICTURES", 500)
    with pytest.raises(PayloadTooLarge):
        reader.read(saved(written("some text"), "PNG"), "", AsPictures())


@pytest.mark.parametrize("letter", [b"x", "字".encode(), "\U0001f600".encode()])
def test_more_characters_than_allowed_are_refused(letter: bytes) -> None:
    assert len(reader.read(letter * MAX_CHARACTERS, "", Sized()).text) == MAX_CHARACTERS
    for number in (MAX_CHARACTERS + 1, 5 * MAX_CHARACTERS):
        with pytest.raises(PayloadTooLarge, match="characters"):
            reader.read(letter * number, "", Sized())
