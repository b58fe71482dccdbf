"""E-mail, mailboxes, MHTML, feeds and XML: what was written in them, and never what they are packed in."""

from __future__ import annotations

import base64
import quopri
from contextlib import suppress

import pytest

from runners.documents import formats, reader
from runners.documents.formats import Kind
from runners.documents.text import mail
from runners.errors import InvalidDocument, UnsupportedMediaType
from tests.doubles.documents_doubles import Blind
from tests.support.running import cpu_time

HEADERS = "From: =?utf-8?b?UGV0cmEgTMO2d2U=?= <petra@example.org>\r\nTo: council@example.org\r\nMIME-Version: 1.0\r\n"
BODY = "Liebe Räte,\nder Damm wird im Winter repariert. Taucher haben Risse an zwei Toren gefunden."
PAGE = "<html><head><title>See</title></head><body><ul><li><a href=#>Start</a></ul><p>Der Damm wird repariert.</p>"


def text_of(source: str | bytes, name: str = "a.eml") -> str:
    data = source if isinstance(source, bytes) else source.encode()
    return reader.read(data, name, Blind()).text


def part(kind: str, body: str, charset: str = "utf-8", encoding: str = "quoted-printable") -> str:
    data = body.encode(charset)
    packed = quopri.encodestring(data) if encoding == "quoted-printable" else base64.encodebytes(data)
    return f"Content-Type: {kind}; charset={charset}\nContent-Transfer-Encoding: {encoding}\n\n{packed.decode()}\n"


def multipart(kind: str, *parts: str, boundary: str = "b1") -> str:
    opened = "".join(f"--{boundary}\n{one}\n" for one in parts)
    return f"Content-Type: multipart/{kind}; boundary={boundary}\n\n{opened}--{boundary}--\n"


@pytest.mark.parametrize("encoding", ["quoted-printable", "base64"])
@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1"])
def test_a_mail_is_its_decoded_body(encoding: str, charset: str) -> None:
    data = (HEADERS + "Subject: =?utf-8?q?Der_D=C3=A4mme?=\n" + part("text/plain", BODY, charset, encoding)).encode()
    found = reader.read(data, "letter.txt", Blind())
    assert (found.text, found.title) == (BODY, "Der Dämme")


def test_a_mail_in_seven_bits_of_japanese_is_read() -> None:
    data = HEADERS.encode() + b"Content-Type: text/plain; charset=iso-2022-jp\n\n" + "湖は乾いた。".encode("iso2022_jp")
    assert text_of(data) == "湖は乾いた。"


def test_of_two_versions_the_plain_one_is_read_unless_it_says_nothing() -> None:
    whole = multipart("alternative", part("text/plain", BODY), part("text/html", PAGE))
    assert text_of(HEADERS + whole) == BODY
    empty = multipart("alternative", part("text/plain", "Use a browser."), part("text/html", f"<p>{BODY}</p>"))
    assert text_of(HEADERS + empty) == BODY.replace("\n", " ")


def test_attachments_are_left_out_and_what_is_forwarded_is_read() -> None:
    attached = part("text/plain", "not this").replace("\n", "\nContent-Disposition: attachment\n", 1)
    forwarded = "Content-Type: message/rfc822\n\n" + HEADERS + part("text/plain", "What came first.")
    assert text_of(HEADERS + multipart("mixed", part("text/plain", BODY), attached, forwarded)) == (
        f"{BODY}\n\nWhat came first."
    )


def test_a_page_that_was_saved_as_mhtml_is_read_whatever_it_is_called() -> None:
    saved = "From: <Saved by Blink>\r\nSnapshot-Content-Location: https://a.example/\r\nMIME-Version: 1.0\r\n"
    image = "Content-Type: image/png\nContent-Transfer-Encoding: base64\n\niVBORw0KGgo=\n"
    for start in (saved, "MIME-Version: 1.0\r\n"):
        data = (start + multipart("related", part("text/html", PAGE), image)).encode()
        found = reader.read(data, "a.doc", Blind())
        assert (found.text, found.title) == ("Der Damm wird repariert.", "See")


def test_flowed_lines_are_joined_and_signatures_left_out() -> None:
    flowed = HEADERS + "Content-Type: text/plain; format=flowed\n\nThe dam is \nmended.\n\nBye.\n-- \nP. Lowe\n"
    assert text_of(flowed) == "The dam is mended.\n\nBye."


def test_an_answer_is_read_without_what_it_quotes_and_a_quotation_with_it() -> None:
    quoted = "> The dam is mended.\n> Divers went down.\n"
    assert text_of(f"{HEADERS}\nThat is good to hear, thank you all.\n\nOn Monday Petra wrote:\n{quoted}") == (
        "That is good to hear, thank you all."
    )
    assert text_of(f"{HEADERS}\nFYI\n{quoted * 3}").startswith("FYI\nThe dam is mended.\nDivers went down.")


def test_every_message_of_a_mailbox_is_read() -> None:
    box = "".join(f"From a@b Mon Mar  2 08:00:01 2026\n{HEADERS}\nMessage {number}.\n\n" for number in range(3))
    assert text_of(box, "a.mbox") == "Message 0.\n\nMessage 1.\n\nMessage 2."


def test_a_mail_of_attachments_says_that_it_has_no_text() -> None:
    with pytest.raises(InvalidDocument, match="no text of its own"):
        text_of(HEADERS + "Content-Type: application/pdf\n\n%PDF")


@pytest.mark.parametrize(
    "text",
    [
        "From: the board\n\nThe dam is mended.",
        "Date: today\nSubject: a dam\n\nThe dam is mended.",
        "Note: To: and From: are headers.\nThe dam is mended.",
        "Content-Type is a header. The dam is mended.",
    ],
)
def test_a_text_that_begins_like_a_letter_is_a_text(text: str) -> None:
    assert text_of(text) == text


MAIL_WEAPONS = {
    "parameters": b"Content-Type: text/plain; " + b"a=b;" * 100_000,
    "parts": b"Content-Type: multipart/mixed; boundary=q\n\n" + b"--q\n\nx\n" * 60_000,
    "parts in one another": b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(900)
    ),
    "a subject": b"Subject: " + b"=?utf-8?q?a?= " * 40_000 + b"\n",
    "flowed lines": b"Content-Type: text/plain; format=flowed\n\n" + b"x \n" * 300_000,
    "quotations": b"\n" + b"> x\n" * 200_000,
}


@pytest.mark.slow
@pytest.mark.parametrize("weapon", MAIL_WEAPONS)
def test_a_mail_takes_time_by_its_length_alone(weapon: str) -> None:
    try:
        cpu_time.at_most(10, lambda: mail.read(HEADERS.encode() + MAIL_WEAPONS[weapon] + b"\n\nbody\n" * 20_000))
    except InvalidDocument as error:
        assert "too many parts" in error.message  # noqa: PT017


RSS = """<?xml version="1.0" encoding="iso-8859-1"?><!DOCTYPE rss [<!ENTITY x "y">]>
<rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/"><channel><title>Lake County</title>
<link>https://a.example</link><description>News of the lakes</description><item><title>Lake &amp; dam</title>
<guid>4711</guid><pubDate>Mon, 02 Mar 2026 08:00:01 GMT</pubDate><description>&lt;p&gt;The lake was
drained.&lt;/p&gt;</description><content:encoded><![CDATA[<p>The lake was drained&nbsp;last winter. It is empty.</p>]]>
</content:encoded></item><item><title>Floods</title><description>The Holm rose by two metres.</description></item>
</channel></rss>"""
ATOM = """<feed xmlns="http://www.w3.org/2005/Atom"><title>Lake County</title><id>urn:x</id><entry><title>Lake</title>
<updated>2026-03-02</updated><summary type="html">&lt;b&gt;The lake&lt;/b&gt; was drained.</summary></entry></feed>"""
DOCBOOK = """<?xml version="1.0"?><article xmlns="http://docbook.org/ns/docbook"><info><title>The dam</title></info>
<section><title>State</title><para>It was <emphasis>mended</emphasis> in&nbsp;winter.</para></section></article>"""
TEI = """<TEI xmlns="http://www.tei-c.org/ns/1.0"><teiHeader><fileDesc><titleStmt><title>no</title></titleStmt></fileDesc>
</teiHeader><text><body><head>The dam</head><p>It was mended.</p></body></text></TEI>"""


def test_a_feed_is_the_titles_and_texts_of_its_items() -> None:
    found = reader.read(RSS.encode(), "a.txt", Blind())
    assert found.text == (
        "Lake & dam\n\nThe lake was drained last winter. It is empty.\n\nFloods\n\nThe Holm rose by two metres."
    )
    assert found.title == "Lake County"
    assert text_of(ATOM) == "Lake\n\nThe lake was drained."


def test_documents_in_xml_are_their_text() -> None:
    assert text_of(DOCBOOK) == "The dam\n\nState\n\nIt was mended in winter."
    assert text_of(TEI) == "The dam\n\nIt was mended."
    flat = "<office:document xmlns:office='o' xmlns:text='t'><office:body><text:h>A</text:h><text:p>B.</text:p>"
    assert text_of(f"<?xml version='1.0'?>{flat}</office:body></office:document>") == "A\n\nB."


OTHERS = {
    "<workbook>": '<?xml version="1.0"?><workbook><sheet name="a"><c>12</c></sheet></workbook>',
    "<gpx>": '<gpx xmlns="http://www.topografix.com/GPX/1/1"><trkpt lat="1"><ele>4</ele></trkpt></gpx>',
    "iCalendar": "BEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VEVENT\nSUMMARY:Dam\nEND:VEVENT\nEND:VCALENDAR\n",
    "vCard": "BEGIN:VCARD\nFN:Petra\nEND:VCARD\n",
    "WARC": "WARC/1.0\r\nWARC-Type: response\r\n\r\nHTTP/1.1 200 OK\r\n",
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_container_that_is_not_read_is_refused_by_its_name(name: str) -> None:
    with pytest.raises(UnsupportedMediaType, match=f"{name}.* not read here; the document must be"):
        text_of(OTHERS[name], "a.txt")


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<strong>The dam</strong> is mended.", "The dam is mended."),
        ("The dam is mended.<br><br>It <b>holds</b>.", "The dam is mended.\n\nIt holds."),
        ("<!-- wp:paragraph -->\n<blockquote>The dam is mended.</blockquote>", "The dam is mended."),
        ("<font size=2>The dam</font>", "The dam"),
    ],
)
def test_a_part_of_a_page_is_read_as_one(page: str, text: str) -> None:
    assert text_of(page, "a.txt") == text


def test_a_text_with_few_signs_of_a_page_is_a_text() -> None:
    for text in (
        "Write <b> before it and </b> after it.",
        "if a <b and c> d: <p>",
        "x <i> y <j> z <k>",
        "vector<a> v;",
    ):
        assert formats.of_text(text * 1, "") is Kind.TEXT


def test_entities_of_xml_are_not_expanded() -> None:
    bomb = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    with pytest.raises(UnsupportedMediaType):
        text_of(f'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY e0 "ha">{bomb}]><a><p>&e11;</p></a>')


@pytest.mark.parametrize("piece", ["<p>", "<p/>", "&x;", "<!DOCTYPE", "<a b='c'", "<item><title>x</title>"])
def test_xml_takes_time_by_its_length_alone(piece: str) -> None:
    text = '<?xml version="1.0"?><rss>' + piece * (1_000_000 // len(piece))
    with suppress(UnsupportedMediaType, InvalidDocument):
        cpu_time.at_most(10, lambda: text_of(text))
