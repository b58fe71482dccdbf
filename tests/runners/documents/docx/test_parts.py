"""What a Word document says beside plain paragraphs: boxes, notes, hidden text, pictures and documents inside it."""

from __future__ import annotations

import zipfile
from io import BytesIO

import pytest
from PIL import Image

from runners.documents.docx import archive
from runners.documents.reader import read
from runners.documents.scans.pages import AsPictures, PageReader
from runners.errors import InvalidDocument, NoText, PayloadTooLarge, UnsupportedMediaType
from tests.doubles.documents_doubles import Blind, Double
from tests.inputs.documents_made import relations, saved, word, word_of, word_part, zipped

RELS = "word/_rels/document.xml.rels"
HIDDEN = "<w:rPr><w:vanish/></w:rPr>"


def text_of(body: str, parts: dict[str, bytes] | None = None, pages: PageReader | None = None) -> str:
    return read(word_of(body, parts=parts), "", pages or Blind()).text


def p(*runs: str, style: str = "", mark: str = "") -> str:
    named = f'<w:pStyle w:val="{style}"/>' if style else ""
    return f"<w:p><w:pPr>{named}<w:rPr>{mark}</w:rPr></w:pPr>{''.join(runs)}</w:p>"


def r(text: str, properties: str = "") -> str:
    return f'<w:r>{properties}<w:t xml:space="preserve">{text}</w:t></w:r>'


def sym(font: str, char: str) -> str:
    return f'<w:r><w:sym w:font="{font}" w:char="{char}"/></w:r>'


def control(properties: str, content: str) -> str:
    return f"<w:sdt><w:sdtPr>{properties}</w:sdtPr><w:sdtContent>{content}</w:sdtContent></w:sdt>"


def form(data: str, result: str = "") -> str:
    code = (
        '</w:fldChar></w:r><w:r><w:instrText>FORM</w:instrText></w:r><w:r><w:fldChar w:fldCharType="separate"/></w:r>'
    )
    end = '<w:r><w:fldChar w:fldCharType="end"/></w:r>'
    return f'<w:r><w:fldChar w:fldCharType="begin"><w:ffData>{data}</w:ffData>{code}{result}{end}'


class Signs(Double):
    """Reads the same on every page, and counts the pages."""

    def __init__(self, text: str = "The keepers were paid on the first of November.") -> None:
        super().__init__()
        self.text, self.sizes = text, list[tuple[int, int]]()

    def read(self, image: Image.Image) -> str:
        self.sizes.append(image.size)
        return self.text


# Boxes and symbols


@pytest.mark.parametrize(
    ("font", "char", "seen"),
    [
        ("Wingdings", "F0FE", "☑"),
        ("Wingdings", "F0FD", "☒"),
        ("Wingdings", "F0A8", "☐"),
        ("Wingdings", "00FC", "✓"),
        ("wingdings 2", "F052", "☑"),
        ("Symbol", "F061", "α"),
        ("MS Gothic", "2612", "☒"),
        ("Wingdings", "nonsense", ""),
        ("Arial", "D800", ""),
    ],
)
def test_a_symbol_is_what_its_font_draws(font: str, char: str, seen: str) -> None:
    assert text_of(p(sym(font, char), r("yes"))) == seen + "yes"


def test_letters_in_a_symbol_font_are_its_symbols() -> None:
    fonts = '<w:rPr><w:rFonts w:ascii="Wingdings" w:hAnsi="Wingdings"/></w:rPr>'
    assert text_of(p(r("\xfe", fonts), r(" yes "), r("\uf0a8", fonts), r(" no"))) == "☑ yes ☐ no"


@pytest.mark.parametrize(("checked", "seen"), [('w14:val="1"', "☒"), ('w14:val="0"', "☐"), ('w14:val="true"', "☒")])
def test_a_box_among_the_content_controls_says_whether_it_is_ticked(checked: str, seen: str) -> None:
    box = control(f"<w14:checkbox><w14:checked {checked}/></w14:checkbox>", r("☐"))
    assert text_of(p(box, r(" insured"))) == seen + " insured"


def test_a_box_whose_control_is_around_the_paragraph_or_empty_is_seen() -> None:
    ticked = '<w14:checkbox><w14:checked w14:val="1"/></w14:checkbox>'
    assert text_of(control(ticked, p(r("☐")))) == "☒"
    assert text_of(p(control(ticked, ""), r(" insured"))) == "☒ insured"


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        ('<w:checkBox><w:default w:val="0"/><w:checked/></w:checkBox>', "☒"),
        ('<w:checkBox><w:default w:val="1"/></w:checkBox>', "☒"),
        ('<w:checkBox><w:default w:val="1"/><w:checked w:val="0"/></w:checkBox>', "☐"),
        ('<w:ddList><w:result w:val="1"/><w:listEntry w:val="a"/><w:listEntry w:val="b"/></w:ddList>', "b"),
        ('<w:ddList><w:listEntry w:val="a"/></w:ddList>', "a"),
        ('<w:ddList><w:result w:val="7"/><w:listEntry w:val="a"/></w:ddList>', ""),
    ],
)
def test_a_form_field_shows_its_value(data: str, seen: str) -> None:
    assert text_of(p(form(data), r("|"))) == seen + "|"


def test_a_prompt_that_nobody_has_replaced_is_no_text() -> None:
    prompt = control("<w:showingPlcHdr/>", r("Click here to enter text."))
    answer = control('<w:showingPlcHdr w:val="0"/>', r("The keeper."))
    assert text_of(p(r("Name: "), prompt) + p(answer)) == "Name:\n\nThe keeper."


# What is not seen


def test_hidden_text_is_left_out() -> None:
    shown = r(" on", '<w:rPr><w:vanish w:val="0"/></w:rPr>')
    assert text_of(p(r("3.0"), r(" 3.8", HIDDEN), shown)) == "3.0 on"


STYLES = word_part(
    "styles",
    '<w:style w:type="paragraph" w:styleId="Secret"><w:name w:val="Secret"/><w:rPr><w:vanish/></w:rPr></w:style>'
    '<w:style w:type="paragraph" w:styleId="Heir"><w:name w:val="Heir"/><w:basedOn w:val="Secret"/></w:style>'
    '<w:style w:type="paragraph" w:styleId="Open"><w:basedOn w:val="Secret"/><w:rPr><w:vanish w:val="false"/></w:rPr>'
    '</w:style><w:style w:type="character" w:styleId="Veil"><w:name w:val="Veil"/><w:rPr><w:vanish/></w:rPr></w:style>'
    '<w:style w:type="paragraph" w:styleId="Round"><w:basedOn w:val="Round"/></w:style>'
    '<w:style w:type="paragraph" w:styleId="Verzeichnis1"><w:name w:val="toc 1"/></w:style>',
)


@pytest.mark.parametrize(
    ("style", "run", "is_seen"),
    [
        ("Secret", "", False),
        ("Heir", "", False),
        ("Open", "", True),
        ("Round", "", True),
        ("", '<w:rPr><w:rStyle w:val="Veil"/></w:rPr>', False),
        ("Secret", '<w:rPr><w:rStyle w:val="Veil"/></w:rPr>', True),  # two switches, as Word's specification has it
        ("Secret", '<w:rPr><w:vanish w:val="0"/></w:rPr>', True),
    ],
)
def test_a_style_hides_text(style: str, run: str, is_seen: bool) -> None:
    found = text_of(p(r("before")) + p(r("inside", run), style=style), {"word/styles.xml": STYLES})
    assert ("inside" in found) == is_seen


def test_a_paragraph_whose_mark_is_hidden_or_deleted_goes_on_in_the_next() -> None:
    assert text_of(p(r("The lake "), mark="<w:vanish/>") + p(r("was drained."))) == "The lake was drained."
    assert text_of(p(r("The lake "), mark='<w:del w:id="1"/>') + p(r("was drained."))) == "The lake was drained."
    assert text_of(p(r("The lake"), mark="<w:vanish/>")) == "The lake"


def test_a_hidden_row_is_left_out_and_with_it_a_table_inside() -> None:
    inner = f"<w:tbl><w:tr><w:tc>{p(r('inner'))}</w:tc></w:tr></w:tbl>"
    hidden = f"<w:tr><w:trPr><w:hidden/></w:trPr><w:tc>{p(r('a'))}{inner}</w:tc><w:tc>{p(r('b'))}</w:tc></w:tr>"
    shown = f"<w:tr><w:tc>{p(r('c'))}</w:tc><w:tc>{p(r('d'))}</w:tc></w:tr>"
    assert text_of(f"<w:tbl>{hidden}{shown}</w:tbl>") == "c | d"


def test_a_change_of_looks_hides_nothing_and_a_deletion_takes_its_tabs_along() -> None:
    change = f"<w:rPr><w:rPrChange>{HIDDEN}</w:rPrChange></w:rPr>"
    deleted = "<w:del><w:r><w:delText>no</w:delText><w:tab/></w:r></w:del>"
    inserted = f"<w:ins>{r('in')}</w:ins><w:moveTo>{r('to')}</w:moveTo><w:moveFrom>{r('from')}</w:moveFrom>"
    assert text_of(p(r("shown ", change), deleted, inserted)) == "shown into"


def test_the_code_of_a_field_is_no_text_and_its_result_is() -> None:
    begin, separate, end = (f'<w:r><w:fldChar w:fldCharType="{kind}"/></w:r>' for kind in ("begin", "separate", "end"))
    code = "<w:r><w:instrText> IF </w:instrText></w:r>"
    inner = begin + code + separate + r("condition") + end
    assert text_of(p(begin, code, inner, code, separate, r("result"), end, r(" after"))) == "result after"
    assert text_of(p(begin, code, r("broken")) + p(inner)) == "broken\n\ncondition"


def test_a_table_of_contents_is_left_out_where_there_is_more() -> None:
    entries = p(r("Dykes 3"), style="Verzeichnis1")
    gallery = '<w:docPartObj><w:docPartGallery w:val="Table of Contents"/></w:docPartObj>'
    parts = {"word/styles.xml": STYLES}
    assert text_of(entries + control(gallery, p(r("Dams 4"))) + p(r("Dykes began.")), parts) == "Dykes began."
    assert text_of(entries, parts) == "Dykes 3"


# Notes and margins


def notes(kind: str, *texts: str) -> bytes:
    separator = f'<w:{kind} w:id="-1" w:type="separator"><w:p><w:r><w:separator/></w:r></w:p></w:{kind}>'
    return word_part(
        f"{kind}s", separator + "".join(f'<w:{kind} w:id="{i}">{p(r(t))}</w:{kind}>' for i, t in enumerate(texts))
    )


def test_notes_stand_behind_the_text_in_the_order_of_their_references() -> None:
    parts = {
        RELS: relations(("f", "footnotes", "footnotes.xml"), ("e", "endnotes", "endnotes.xml")),
        "word/footnotes.xml": notes("footnote", "Foot zero.", "Foot one.", "Never named."),
        "word/endnotes.xml": notes("endnote", "The end."),
    }
    named = [
        f'<w:r><w:{kind}Reference w:id="{i}"/></w:r>' for kind, i in (("endnote", 0), ("footnote", 1), ("footnote", 0))
    ]
    deleted = '<w:del><w:r><w:footnoteReference w:id="2"/></w:r></w:del>'
    assert text_of(p(r("Text"), *named, deleted, r(".")), parts) == "Text.\n\nFoot one.\n\nFoot zero.\n\nThe end."


def test_margins_are_read_where_there_is_nothing_else() -> None:
    parts = {
        RELS: relations(("h", "header", "header1.xml"), ("i", "header", "header2.xml"), ("f", "footer", "footer1.xml")),
        "word/header1.xml": word_part("hdr", p(r("The harbour is closed."))),
        "word/header2.xml": word_part("hdr", p(r("The harbour is closed."))),
        "word/footer1.xml": word_part("ftr", p(r("Until Monday."))),
    }
    assert text_of(p(), parts) == "The harbour is closed.\n\nUntil Monday."
    assert text_of(p(r("A letter.")), parts) == "A letter."


# Documents inside

PAGE = "<html><head><title>Lake</title></head><body><h1>Lake drained</h1><p>It cost 3 million.</p></body></html>"
MHT = (
    "MIME-Version: 1.0\r\nContent-Type: multipart/related; boundary=part\r\n\r\n--part\r\n"
    'Content-Type: text/html; charset="{0}"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{1}\r\n--part--\r\n'
)


def with_chunk(name: str, data: bytes, media_type: str = "") -> bytes:
    types = f'<Types><Override PartName="/word/{name}" ContentType="{media_type}"/></Types>'
    parts = {RELS: relations(("c", "aFChunk", name)), f"word/{name}": data, "[Content_Types].xml": types.encode()}
    return word_of(p(r("Before.")) + '<w:altChunk r:id="c"/>' + p(r("After.")), parts=parts)


@pytest.mark.parametrize(
    ("name", "data", "media_type", "inside"),
    [
        ("c.html", PAGE.encode(), "text/html", "Lake drained\n\nIt cost 3 million."),
        ("c.dat", b"It cost <b>3 million</b>.", "text/html; charset=utf-8", "It cost 3 million."),
        ("c.mht", MHT.format("utf-8", PAGE).encode(), "message/rfc822", "Lake drained\n\nIt cost 3 million."),
        ("c.mht", MHT.format("cp1252", "<p>un =E9t=E9</p>").encode(), "", "un été"),
        ("c.txt", b"It cost 3 million.", "text/plain", "It cost 3 million."),
        ("c.docx", word("It cost 3 million."), "", "It cost 3 million."),
        ("c.txt", b"", "text/plain", ""),
    ],
)
def test_a_document_inside_is_read_where_it_stands(name: str, data: bytes, media_type: str, inside: str) -> None:
    expected = "\n\n".join(filter(None, ["Before.", inside, "After."]))
    assert read(with_chunk(name, data, media_type), "", Blind()).text == expected


def test_a_document_inside_that_is_not_read_is_named() -> None:
    with pytest.raises(UnsupportedMediaType, match="inside it"):
        read(with_chunk("c.rtf", rb"{\rtf1 It cost 3 million.}", "application/rtf"), "", Blind())


@pytest.mark.parametrize("header", ["boundary=x; " * 1_000, "boundary=x\r\nContent-Type: multipart/mixed; " * 40])
def test_an_archived_page_with_headers_that_mean_harm_is_not_read(header: str) -> None:
    message = f"MIME-Version: 1.0\r\nContent-Type: multipart/related; {header}\r\n\r\n--x\r\n\r\n--x--\r\n"
    with pytest.raises(UnsupportedMediaType, match="inside it"):
        read(with_chunk("c.mht", message.encode()), "", Blind())


def test_documents_inside_one_another_are_read_to_a_depth() -> None:
    data = word("It cost 3 million.")
    for _ in range(3):
        data = with_chunk("c.docx", data)
    assert read(data, "", Blind()).text.count("Before.") == 3
    with pytest.raises(UnsupportedMediaType, match="inside it"):
        read(with_chunk("c.docx", data), "", Blind())


def test_documents_inside_share_one_bound_of_what_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_READ", 100_000)
    inner, numbers = word_of("<w:p/>" * 5_000), range(5)
    named = relations(*((f"c{number}", "aFChunk", f"{number}.docx") for number in numbers))
    parts = {RELS: named, **{f"word/{number}.docx": inner for number in numbers}}
    with pytest.raises(PayloadTooLarge, match="unpacks"):
        text_of("".join(f'<w:altChunk r:id="c{number}"/>' for number in numbers), parts)


# Pictures


def drawing(relation: str, across: int = 15, down: int = 8) -> str:
    extent = f'<wp:extent cx="{across * 360_000}" cy="{down * 360_000}"/>'
    return f'<w:r><w:drawing><wp:inline>{extent}<a:blip r:embed="{relation}"/></wp:inline></w:drawing></w:r>'


def with_pictures(body: str, *images: bytes) -> bytes:
    named = relations(*((f"i{number}", "image", f"media/{number}.png") for number in range(len(images))))
    return word_of(body, parts={RELS: named, **{f"word/media/{i}.png": data for i, data in enumerate(images)}})


def picture(width: int = 1200) -> bytes:
    return saved(Image.new("RGB", (width, 800), "white"), "PNG")


def test_a_picture_of_text_is_read_where_it_stands() -> None:
    pages = Signs()
    found = read(with_pictures(p(r("Before.")) + p(drawing("i0")) + p(r("After.")), picture()), "", pages)
    assert found.text == f"Before.\n\n{pages.text}\n\nAfter."


@pytest.mark.parametrize(
    "shape",
    ['<v:shape style="width:451pt;height:600pt"><v:imagedata r:id="i0"/></v:shape>', '<v:imagedata r:id="i0"/>'],
)
def test_a_picture_in_the_older_markup_is_read(shape: str) -> None:
    assert read(with_pictures(p(f"<w:r><w:pict>{shape}</w:pict></w:r>"), picture()), "", Signs()).text == Signs().text


def test_small_pictures_beside_text_and_those_seen_before_are_passed_over() -> None:
    pages = Signs()
    body = p(r("Text."), drawing("i0", 3, 2)) + p(drawing("i1")) + p(drawing("i1"))
    assert read(with_pictures(body, picture(900), picture(1000)), "", pages).text == f"Text.\n\n{pages.text}"
    assert pages.sizes == [(1000, 800)]


def test_a_small_picture_is_read_where_there_is_no_text() -> None:
    assert read(with_pictures(p(drawing("i0", 3, 2)), picture()), "", Signs("A stamp.")).text == "A stamp."


@pytest.mark.parametrize("signs", ["", "EXIT", "2010 2011 2012 2013 Revenue 0 10 20 30 40 50 60 million euros"])
def test_a_few_letters_on_a_photo_are_no_text(signs: str) -> None:
    assert read(with_pictures(p(r("Text.")) + p(drawing("i0")), picture()), "", Signs(signs)).text == "Text."
    row = "".join(f"<w:tc>{p(cell)}</w:tc>" for cell in (r("a"), drawing("i0"), r("b")))
    assert read(with_pictures(f"<w:tbl><w:tr>{row}</w:tr></w:tbl>", picture()), "", Signs(signs)).text == "a | b"


def test_pictures_without_text_are_not_said_to_be_an_empty_document() -> None:
    with pytest.raises(NoText):
        read(with_pictures(p(drawing("i0")), picture()), "", Blind())
    with pytest.raises(InvalidDocument, match="empty"):
        read(with_pictures(p()), "", Blind())


def test_a_picture_that_is_damaged_or_hidden_takes_nothing_of_the_rest() -> None:
    damaged = with_pictures(p(r("Text.")) + p(drawing("i0")) + p(drawing("i9")), picture()[:99])
    assert read(damaged, "", Signs()).text == "Text."
    hidden = drawing("i0").replace("<w:r>", f"<w:r>{HIDDEN}")
    assert read(with_pictures(p(r("Text.")) + p(hidden), picture()), "", Signs()).text == "Text."


def test_an_engine_for_pictures_is_given_those_of_a_document_without_text_alone() -> None:
    scans, mixed = AsPictures(), AsPictures()
    assert len(read(with_pictures(p(drawing("i0")), picture()), "", scans).images) == 1
    found = read(with_pictures(p(r("Text.")) + p(drawing("i0")), picture()), "", mixed)
    assert (found.text, found.images) == ("Text.", ())


def test_more_pictures_than_pages_allowed_are_refused_where_there_is_no_text() -> None:
    body = "".join(p(drawing(f"i{number}")) for number in range(202))
    tiny = [saved(Image.new("L", (8, 8)), "PNG")] * 202
    with pytest.raises(PayloadTooLarge, match="200 pages"):
        read(with_pictures(body, *tiny), "", Signs())


def test_the_boxes_of_a_diagram_are_read() -> None:
    points = "<dgm:pt><a:p><a:r><a:t>Close the </a:t></a:r><a:r><a:t>gate</a:t></a:r></a:p></dgm:pt>"
    parts = {
        RELS: relations(("d", "diagramData", "diagrams/data1.xml")),
        "word/diagrams/data1.xml": word_part("x", points + "<a:p><a:t>Drain the lake</a:t></a:p>"),
    }
    assert (
        text_of(p('<w:r><w:drawing><dgm:relIds r:dm="d"/></w:drawing></w:r>'), parts)
        == "Close the gate\nDrain the lake"
    )


# Archives


@pytest.mark.parametrize("change", [lambda name: name.replace("/", "\\"), str.upper, "/{}".format, "./{}".format])
def test_parts_are_found_however_their_names_are_written(change: object) -> None:
    assert callable(change)
    with zipfile.ZipFile(BytesIO(word("The lake was drained.", title="Lake"))) as made:
        data = zipped(**{change(name): made.read(name) for name in made.namelist()})
    found = read(data, "", Blind())
    assert (found.text, found.title) == ("The lake was drained.", "Lake")


def test_the_strict_namespaces_are_read() -> None:
    data = with_pictures(p(r("Text.")) + p(drawing("i0")), picture())
    with zipfile.ZipFile(BytesIO(data)) as made:
        members = {name: made.read(name) for name in made.namelist()}
    for old, new in [
        (
            b"http://schemas.openxmlformats.org/wordprocessingml/2006/main",
            b"http://purl.oclc.org/ooxml/wordprocessingml/main",
        ),
        (b"http://schemas.openxmlformats.org/officeDocument/2006/", b"http://purl.oclc.org/ooxml/officeDocument/"),
        (b"http://schemas.openxmlformats.org/drawingml/2006/", b"http://purl.oclc.org/ooxml/drawingml/"),
    ]:
        members = {name: content.replace(old, new) for name, content in members.items()}
    assert read(zipped(**members), "", Signs()).text == f"Text.\n\n{Signs().text}"


def test_a_zip_whose_main_part_is_another_programs_is_refused() -> None:
    types = {
        "[Content_Types].xml": b"<Types/>",
        "word/x": b"",
        "_rels/.rels": relations(("r", "officeDocument", "xl/workbook.xml")),
    }
    with pytest.raises(UnsupportedMediaType):
        read(zipped(**types, **{"xl/workbook.xml": b"<workbook/>"}), "", Blind())
