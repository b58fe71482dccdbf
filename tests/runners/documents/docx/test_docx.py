"""Word documents, whole, broken and hostile."""

from __future__ import annotations

import struct
import zipfile
from io import BytesIO

import docx
import pytest

from runners.documents.docx import flow
from runners.documents.reader import read
from runners.errors import InvalidDocument, PayloadTooLarge, UnsupportedMediaType
from tests.doubles.documents_doubles import Blind
from tests.inputs.documents_made import word, word_of, zipped
from tests.support.running import cpu_time


def text_of(body: str, before: str = "") -> str:
    return read(word_of(body, before), "", Blind()).text


def p(text: str) -> str:
    return f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>"


def test_paragraphs_lists_and_tables_come_in_their_order() -> None:
    made, out = docx.Document(), BytesIO()
    made.add_heading("The title", 0)
    made.add_heading("A heading", 1)
    made.add_paragraph("An item", style="List Bullet")
    table = made.add_table(2, 2)
    for number, cell in enumerate("abcd"):
        table.cell(number // 2, number % 2).text = cell
    table.cell(1, 1).add_table(1, 1).cell(0, 0).text = "inside"
    made.add_paragraph("The end").add_run("\tafter a tab\nand a break")
    made.save(out)
    found = read(out.getvalue(), "", Blind())
    blocks = ["The title", "A heading", "An item", "a | b", "c | d inside", "The end\tafter a tab\nand a break"]
    assert (found.text, found.title, found.pages) == ("\n\n".join(blocks), "The title", 1)


def test_the_documents_properties_name_its_title() -> None:
    assert read(word("x", title="A  title"), "", Blind()).title == "A title"


def test_the_styles_of_titles_are_known_in_every_language() -> None:
    styles = (
        b'<w:styles xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main">'
        b'<w:style w:styleId="berschrift1"><w:name w:val="heading 1"/></w:style></w:styles>'
    )
    body = p("Vorher") + '<w:p><w:pPr><w:pStyle w:val="berschrift1"/></w:pPr><w:r><w:t>Titel</w:t></w:r></w:p>'
    assert read(word_of(body, parts={"word/styles.xml": styles}), "", Blind()).title == "Titel"


def test_text_boxes_are_read_once_and_what_was_deleted_is_not() -> None:
    box = f"<w:r><AlternateContent><Choice><w:txbxContent>{p('in a box')}</w:txbxContent></Choice>"
    box += f"<Fallback><w:txbxContent>{p('in a box')}</w:txbxContent></Fallback></AlternateContent></w:r>"
    deleted = "<w:del><w:r><w:delText>no</w:delText></w:r></w:del><w:r><w:instrText>PAGE</w:instrText></w:r>"
    assert text_of(f"<w:p>{box}{deleted}<w:r><w:t>outside</w:t></w:r></w:p>") == "in a box\n\noutside"


def test_tabs_that_are_stops_are_no_signs() -> None:
    assert text_of('<w:p><w:pPr><w:tabs><w:tab w:val="left"/></w:tabs></w:pPr><w:r><w:t>x</w:t></w:r></w:p>') == "x"


def test_a_table_of_one_column_is_a_frame() -> None:
    assert text_of(f"<w:tbl><w:tr><w:tc>{p('one')}{p('two')}</w:tc></w:tr></w:tbl>") == "one\n\ntwo"


def test_the_main_part_may_have_another_name() -> None:
    relations = (
        b'<Relationships><Relationship Type="http://x/officeDocument" Target="/word/document2.xml"/></Relationships>'
    )
    main = word_of(p("second"))
    with zipfile.ZipFile(BytesIO(main)) as archive:
        xml = archive.read("word/document.xml")
    data = zipped(**{"[Content_Types].xml": b"", "_rels/.rels": relations, "word/document2.xml": xml})
    assert read(data, "", Blind()).text == "second"


def test_a_zip_that_speaks_of_word_and_holds_no_document_is_refused() -> None:
    with pytest.raises(UnsupportedMediaType):
        read(zipped(**{"[Content_Types].xml": b"", "word/media/image.png": b""}), "", Blind())


@pytest.mark.parametrize("end", [100, 1000, 3000, -3000, -100, -22])
def test_a_document_that_is_cut_off_is_damaged(end: int) -> None:
    with pytest.raises((InvalidDocument, UnsupportedMediaType)):
        read(word("One.")[:end], "", Blind())


def test_a_document_whose_bytes_were_changed_is_damaged() -> None:
    data = bytearray(word_of(p("One.") * 100))
    data[data.index(b"word/document.xml") + 40] ^= 0xFF
    with pytest.raises(InvalidDocument, match="damaged"):
        read(bytes(data), "", Blind())


def test_a_locked_member_is_encrypted() -> None:
    data = bytearray(word_of(p("One.")))
    data[data.rindex(b"PK\1\2") + 8] |= 1
    with pytest.raises(InvalidDocument, match="encrypted"):
        read(bytes(data), "", Blind())


def test_a_zip_bomb_is_refused_before_it_goes_off() -> None:
    data = word_of("<w:p/>" * 5_000_000)
    assert len(data) < 45_000
    with pytest.raises(PayloadTooLarge, match="unpacks"):
        cpu_time.at_most(0.2, lambda: read(data, "", Blind()))


def test_sizes_that_add_up_to_gigabytes_are_refused() -> None:
    data = bytearray(zipped(**{"[Content_Types].xml": b"", "word/a": b"", "word/b": b"", "word/document.xml": b"x"}))
    for name in (b"word/a", b"word/b"):
        struct.pack_into("<L", data, data.rindex(name) - 22, 2**32 - 2)
    with pytest.raises(PayloadTooLarge):
        read(bytes(data), "", Blind())


def test_a_size_that_is_a_lie_unpacks_no_more_than_it_says() -> None:
    data = bytearray(word_of("<w:p/>" * 5_000_000))
    place = data.rindex(b"word/document.xml") - 22
    struct.pack_into("<L", data, place, 1000)
    with pytest.raises(InvalidDocument, match="damaged"):
        cpu_time.at_most(0.2, lambda: read(bytes(data), "", Blind()))


def test_a_directory_of_more_members_than_any_document_has_is_refused() -> None:
    with pytest.raises(PayloadTooLarge):
        read(word_of(p("x")) + b"PK\1\2" * 6_000, "", Blind())


LAUGHS = '<!DOCTYPE x [<!ENTITY a0 "ha">{}]>'.format(
    "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
)


@pytest.mark.parametrize(
    ("before", "body"),
    [
        (LAUGHS, p("&a11;")),
        ('<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>', p("&a;")),
        ('<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">', p("x")),
        ('<?xml version="1.0" encoding="utf-16"?>', p("x")),
        ("", p("&undeclared;")),
        ("", p("x") + "</w:p>"),
        ("", "<w:p>" * 100_000),
    ],
)
def test_xml_that_word_never_writes_is_damaged(before: str, body: str) -> None:
    with pytest.raises(InvalidDocument, match="damaged"):
        cpu_time.at_most(5, lambda: text_of(body, before))


def test_more_text_than_allowed_is_refused_on_the_way() -> None:
    with pytest.raises(PayloadTooLarge, match="characters"):
        text_of("".join(p(f"{number:0100}") for number in range(11_000)))


def test_styles_that_are_based_on_one_another_without_end_cost_little() -> None:
    space = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    chain = "".join(f'<w:style w:styleId="s{i}"><w:basedOn w:val="s{i + 1}"/></w:style>' for i in range(5_000))
    body = "".join(f'<w:p><w:pPr><w:pStyle w:val="s{i}"/></w:pPr><w:r><w:t>a</w:t></w:r></w:p>' for i in range(5_000))
    data = word_of(body, parts={"word/styles.xml": f"<w:styles {space}>{chain}</w:styles>".encode()})
    found = cpu_time.at_most(3, lambda: read(data, "", Blind()))  # 12,500,000 steps take longer
    assert len(found.text.split()) == 5_000


def test_more_paragraphs_than_characters_allowed_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "MAX_PARAGRAPHS", 100)
    assert text_of(p("x") * 50 + "<w:p/>" * 50)
    with pytest.raises(PayloadTooLarge, match="characters"):
        text_of(p("x") + "<w:p/>" * 100)
