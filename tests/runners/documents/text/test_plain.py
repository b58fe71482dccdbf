"""Texts in the encodings of the world, and what must not be in a text."""

from __future__ import annotations

import codecs
import unicodedata

import pytest

from runners.documents import letters
from runners.documents.reader import read
from runners.documents.text import plain
from runners.errors import UnsupportedMediaType
from tests.doubles.documents_doubles import Blind
from tests.support.running import cpu_time

TEXTS = {
    "Le café était fermé à Noël.": ("cp1252", "latin-1"),
    "élève": ("cp1252",),
    "L’été dernier, nous avons visité la forêt près de Besançon. Cœur brisé.": ("cp1252",),
    "Die Straße ist für Fußgänger gesperrt.": ("cp1252",),
    "El niño comió piña. ¿Qué pasó?": ("cp1252",),
    "Zażółć gęślą jaźń. Wczoraj poszliśmy na długi spacer.": ("cp1250", "iso8859-2"),
    "Příliš žluťoučký kůň úpěl ďábelské ódy.": ("cp1250",),
    "Türkiye'nin başkenti Ankara'dır. İstanbul şehri güzeldir.": ("cp1254",),
    "Привет, мир. Это короткий текст на русском языке.": ("cp1251", "koi8-r"),
    "Привет мир": ("cp1251", "koi8-r"),
    "Це український текст для перевірки.": ("cp1251", "koi8-u"),
    "Αυτό είναι ένα μικρό κείμενο στα ελληνικά.": ("cp1253",),
    "זה טקסט קצר בעברית לבדיקה.": ("cp1255",),
    "هذا نص قصير باللغة العربية للاختبار.": ("cp1256",),
    "นี่คือข้อความภาษาไทยสั้น ๆ": ("cp874",),
    "今天天气很好，我们去公园散步。": ("gb18030",),
    "你好世界": ("gb18030",),
    "今天天氣很好，我們去公園散步。": ("big5",),
    "今日は天気がいいので、公園を散歩しました。": ("shift_jis", "euc_jp"),
    "こんにちは世界": ("shift_jis",),
    "오늘은 날씨가 좋아서 공원에서 산책을 했습니다.": ("cp949",),
}
WIDE = ("utf-8", "utf-8-sig", "utf-16", "utf-32", "gb18030")
NO_ENCODINGS = (
    *("utf-8", "utf-16", "utf_7", "utf-8-sig", "rot13", "hex", "base64", "bz2", "zlib", "uu", "quopri"),
    *(
        "punycode",
        "idna",
        "undefined",
        "unicode_escape",
        "raw_unicode_escape",
        "charmap",
        "nonsense",
        "a\0b",
        "x" * 5000,
    ),
)
CASES = [(text, encoding) for text, encodings in TEXTS.items() for encoding in (*encodings, *WIDE[:4])]


@pytest.mark.parametrize(("text", "encoding"), CASES)
@pytest.mark.parametrize("times", [1, 30])
def test_a_text_is_read_in_its_encoding(text: str, encoding: str, times: int) -> None:
    assert plain.decode((f"{text} " * times).encode(encoding)) == f"{text} " * times


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_wide_encodings_without_a_mark_are_seen(encoding: str) -> None:
    assert plain.decode("An ordinary text, été.".encode(encoding)) == "An ordinary text, été."


def test_an_encoding_that_the_text_names_is_believed_where_it_may_be() -> None:
    data = "Šťastný".encode("iso8859-2")
    assert plain.decode(data, "ISO-8859-2") == "Šťastný"
    for name in NO_ENCODINGS:
        assert plain.decode("été".encode("cp1252"), name) == "été"


def test_what_stands_in_a_text_is_never_run_through_a_codec_of_pythons() -> None:
    data = b"C:\\new\\x41 caf\xe9"
    for name in ("unicode_escape", "unicode-escape", "Unicode_Escape", "raw_unicode_escape", "raw-unicode-escape"):
        assert plain.decode(data, name) == "C:\\new\\x41 café"


def test_line_ends_become_newlines() -> None:
    assert plain.decode(b"a\r\nb\rc\nd\x0ce") == "a\nb\nc\nd\n\ne"
    assert plain.decode("a\u2028b\x85c".encode()) == "a\nb\nc"


def test_what_no_text_is_made_of_is_taken_out() -> None:
    data = b"Some words that are long enough.\0 \x1b[1mbold\x1b[0m "
    data += b"\xed\xa0\x80surrogate\xed\xbf\xbf \xef\xbb\xbf\xef\xbf\xbe"
    assert plain.decode(data) == "Some words that are long enough. [1mbold[0m surrogate "
    assert read(b"abc\xed\xa0\x80def", "", Blind()).text == "abcdef"


def test_halves_of_characters_in_utf_16_are_taken_out() -> None:
    assert plain.decode(codecs.BOM_UTF16_LE + "half \ud800 and whole \U0001f600".encode("utf-16-le", "surrogatepass"))
    assert plain.decode(codecs.BOM_UTF16_LE + "odd length, which is cut".encode("utf-16-le") + b"a")


def test_utf_8_that_is_cut_off_or_damaged_in_a_place_stays_utf_8() -> None:
    text = "Привет мир, это длинный текст. "
    assert plain.decode(text.encode()[:-2] + "е".encode()[:1]).startswith(text[:-2])
    assert plain.decode((text * 3).encode() + b"\xff" + text.encode()) == text * 4


@pytest.mark.parametrize(
    "data", [bytes(range(256)) * 4, b"\0" * 10, b"\xff\xfe" + b"\0\xd8" * 50, b"\x80\x81\x82" * 99]
)
def test_bytes_that_are_no_text_are_refused_and_not_made_into_letters(data: bytes) -> None:
    with pytest.raises(UnsupportedMediaType):
        plain.decode(data)


JOINED = {
    "authori-\nty has": "authority has",
    "break-  \nwater": "break-  \nwater",
    "the break-\n   water": "the breakwater",
    "soft\u00ad\nened": "softened",
    "Der Hafen-\nmeister": "Der Hafenmeister",
    "déve-\nloppé": "développé",
    "разру-\nшен": "разрушен",
    "well-\nknown": "well-known",
    "a long-term plan, a long-\nterm one": "a long-term plan, a long-term one",
    "pre- and post-\nwar": "pre- and post-war",
    "Vor-\nund Nachteile": "Vor-\nund Nachteile",
    "Baden-\nWürttemberg": "Baden-\nWürttemberg",
    "10-\nyear": "10-\nyear",
    "mother-in-\nlaw": "mother-in-\nlaw",
    "a -\nb": "a -\nb",
    "x --\ny": "x --\ny",
    "- item\n- other": "- item\n- other",
}


@pytest.mark.parametrize("text", JOINED)
def test_words_that_are_parted_at_line_ends_are_joined_and_hyphens_of_their_own_stay(text: str) -> None:
    assert letters.joined(text) == JOINED[text]


@pytest.mark.parametrize("name", ["a.txt", "a.md"])
def test_parted_words_are_joined_in_plain_text_and_markdown(name: str) -> None:
    data = b"The harbour authori-\nty has closed the eastern break-\nwater after the storm."
    said = " ".join(read(data, name, Blind()).text.split())
    assert said == "The harbour authority has closed the eastern breakwater after the storm."


def test_accents_that_stand_apart_are_composed() -> None:
    text = "L'été déclaré à Besançon, Việt Nam, 한국"
    assert read(unicodedata.normalize("NFD", text).encode(), "", Blind()).text == text


def test_written_forms_of_arabic_letters_and_latin_ligatures_become_letters() -> None:
    assert read("\ufe8d\ufedf\ufeb4\ufefc\ufee1".encode(), "", Blind()).text == "السلام"
    assert read("e\ufb03cient, 10\u00b2 ½ ①".encode(), "", Blind()).text == "efficient, 10\u00b2 ½ ①"


@pytest.mark.parametrize("piece", ["a", "ab-", "ab-\n", "ab-\ncd", "-\n", "ab- \n ", "a\u0301\u0302"])
def test_words_are_joined_in_time_by_length_alone(piece: str) -> None:
    cpu_time.at_most(10, lambda: letters.composed(letters.joined(piece * (1_000_000 // len(piece)))))
