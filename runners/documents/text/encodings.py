"""Guesses the encoding of a text that is not UTF-8 and declares none.

The best encoding is the one in which the letters beyond ASCII are those that its languages use most. charset-normalizer
decides where none is convincing: alone, it misjudges many short texts, and also long ones in cp1252.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

from charset_normalizer import from_bytes

SAMPLE: Final = 64 * 1024
CONVINCING_WEIGHT: Final = 0.5
"""Mean weight of a text's letters beyond ASCII from which a guess is accepted; 1 where all of them are common."""

MIN_WEIGHT: Final = 0.25
"""Mean weight below which a text is in no known encoding."""

LATIN: Final = "’‘“”„«»–—…°•€§·\u00a0"
CYRILLIC: Final = "оеаинтсрвлкмдпу"
HAN: Final = (
    "的一是在不了有和人這这中大為为上個个國国我以要他時时來来用們们生到作地於于出就分對对成會会可主發发年動动同工也能下過过子說说"
    "產产種种面而方後后多定行學学法所民得經经十三之進进著着等部度家電电力裡里如水化高自二理起小物現现實实量都兩两體体制機机當当使點点"
    "從从業业本去把性好應应開开它合還还因由其些然前外天政四日那社義义事平形相全表間间樣样與与關关各重新線线內内數数正心反你明看原又"
    "么麼利比或但質质氣气第向道命此變变條条只沒没結结解問问意建月公無无系軍军很情者最立代想已通並并提直題题黨党程展五果料象員员"
    "京首臺台北城市世界今話话文字書书語语"
)
HANGUL: Final = (
    "이다는을의가에하고를은지사로한기도리어자대서인해시그들나정있아일게부수라스것전보과제으구주면여장상만원동와성우안오적"
    "니신용경말음거마공연생할며세교위때내모됩된습없요국소날씨좋책산했당조관문화중등방학선물회개행무비분재통글입실간소"
)
KANA: Final = "".join(map(chr, range(0x3041, 0x3097))) + "".join(map(chr, range(0x30A1, 0x30FB))) + "ー"

WEIGHTS: Final = {
    "cp1252": (LATIN + "éèàùçâêîôûëïœáíóúñ¿¡äöüßåøæãõ", "æÉÈÀÇÂÊÎÔÛÁÍÓÚÑÄÖÜÅØÆÃÕŒìòªº£©®"),
    "cp1250": (LATIN + "ąćęłńóśźżáčďéěíňřšťúůýžőűöüăâîşţ", "ĄĆĘŁŃÓŚŹŻÁČĎÉĚÍŇŘŠŤÚŮÝŽŐŰÖÜ"),
    "iso8859_2": ("ąćęłńóśźżáčďéěíňřšťúůýžőűöü", "ĄĆĘŁŃÓŚŹŻÁČĎÉĚÍŇŘŠŤÚŮÝŽŐŰÖÜ"),
    "cp1254": (LATIN + "ğıİşçöüâ", "ĞŞÇÖÜîû"),
    "cp1251": (LATIN + CYRILLIC + "іїєґ№", "бгжзйфхцчшщъыьэюяёЁ" + CYRILLIC.upper() + "БГЖЗЙФХЦЧШЩЭЮЯ"),
    "koi8_u": (CYRILLIC + "іїєґ", "бгжзйфхцчшщъыьэюяё" + CYRILLIC.upper() + "БГЖЗЙФХЦЧШЩЭЮЯ"),
    "cp1253": (LATIN + "αιοετσνηυρπκμλςάίόέήύώ", "δγβζθξφχψωΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩ"),
    "cp1255": (LATIN + "יוהלארתבמשנ", "גדזחטכסעפצקךםןףץ"),
    "cp1256": (LATIN + "البينموترهعفقسد", "كحجشصطخضزثظغذءآأؤإئىةپچگ،؟"),
    "cp874": ("ากนรอเงมยลวดทสตะปบคหพจใชขไแโ่้็์ัิีุู", "ำึฐณธผภศษซฟญถึืฉ"),
    "gb18030": ("，。！？：；（）“”、《》" + HAN, ""),
    "big5": ("，。！？：；（）「」、《》" + HAN, ""),
    "cp932": ("，。！？「」、" + KANA, ""),
    "euc_jp": ("，。！？「」、" + KANA, ""),
    "cp949": ("，。！？" + HANGUL, ""),
}
"""For each encoding, its commonest letters (weight 1) and common letters (weight 0.6)."""

SCRIPTS: Final = {"gb18030": "\u4e00-\u9fff", "big5": "\u4e00-\u9fff", "cp949": "\uac00-\ud7a3\u4e00-\u9fff"}
SCRIPTS.update(dict.fromkeys(("cp932", "euc_jp"), "\u4e00-\u9fff"))
"""Ranges of letters with weight 0.3, too many to list."""

ALIASES: Final = {"iso8859-1": "cp1252", "ascii": "cp1252", "gb2312": "gb18030", "gbk": "gb18030", "euc_kr": "cp949"}
ALIASES.update({"iso8859-9": "cp1254", "shift_jis": "cp932", "koi8-r": "koi8_u", "big5": "big5hkscs"})
"""Encodings that browsers use where a page names the older, smaller one."""


NOT_OF_TEXT: Final = frozenset(
    ["charmap", "idna", "mbcs", "oem", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"]
)
"""Python's text encodings in which no text is stored, or that depend on the machine."""


def wide(data: bytes) -> str | None:
    """Recognize UTF-16 or UTF-32 without a byte order mark by the positions of its zeros."""
    sample = data[: SAMPLE - SAMPLE % 4]
    sample = sample[: len(sample) - len(sample) % 4] or sample
    zeros = [sample[start::4].count(0) * 4 / max(len(sample), 1) for start in range(4)]
    if min(zeros[2:]) > 0.9 and zeros[0] < 0.3:
        return "utf-32-le"
    if min(zeros[:2]) > 0.9 and zeros[3] < 0.3:
        return "utf-32-be"
    even, odd = zeros[0] + zeros[2], zeros[1] + zeros[3]
    if max(even, odd) > 0.4 and min(even, odd) < 0.05:
        return "utf-16-le" if odd > even else "utf-16-be"
    return None


def is_broken_utf8(data: bytes) -> bool:
    """Whether this is UTF-8 with a few damaged bytes or a truncated end."""
    text = data.decode("utf-8", "replace")
    broken = text.count("\ufffd")
    intact = len(re.sub("[\0-\x7f\ufffd]+", "", text))
    return intact > 4 * broken


def has_many_controls(data: bytes) -> bool:
    """Whether there are more control bytes than a text has."""
    uncontrolled = data.translate(None, bytes([*range(7), *range(14, 27), *range(28, 32), 127]))
    return len(data) - len(uncontrolled) > 0.01 * len(data)


def known(name: str | None) -> str | None:
    """Return Python's name for an encoding that a document declares, if it is a text encoding."""
    try:
        codec = codecs.lookup((name or "").strip().strip("\"'"))
    except (LookupError, ValueError):
        return None
    if not codec._is_text_encoding or codec.name.replace("_", "-") in NOT_OF_TEXT or codec.name.startswith("utf-"):
        return None  # UTF-8 was tried; wider ones cannot be declared in ASCII; UTF-7 hides tags
    return _browsers(codec.name)


def guess(data: bytes) -> str | None:
    """Return the best encoding; ``cp1252`` where a few odd bytes fit nowhere, None where many do not."""
    sample = _sample(data)
    weights = {encoding: _weight(sample, encoding) for encoding in WEIGHTS}
    best = max(weights, key=lambda encoding: weights[encoding])  # the first of equals is the commonest
    if weights[best] >= CONVINCING_WEIGHT:
        return best
    beyond_ascii = len(sample) - len(re.sub(rb"[\x80-\xff]+", b"", sample))
    if weights[best] < MIN_WEIGHT and beyond_ascii > 0.1 * len(sample):
        return None
    match = from_bytes(sample, cp_isolation=list(WEIGHTS)).best()
    return match.encoding if match else "cp1252"


def _browsers(name: str) -> str:
    return ALIASES.get(name, name)


def _sample(data: bytes) -> bytes:
    """Return a sample that ends at an ASCII byte, so that no character is cut in two."""
    if len(data) <= SAMPLE:
        return data
    end = max(data.rfind(b" ", 0, SAMPLE), data.rfind(b"\n", 0, SAMPLE))
    return data[: end if end > 0 else SAMPLE]


def _weight(sample: bytes, encoding: str) -> float:
    """Return the mean weight of the letters beyond ASCII; -1 where the bytes are invalid in this encoding."""
    try:
        letters = re.sub("[\0-\x7f]+", "", sample.decode(encoding))
    except UnicodeDecodeError:
        return -1.0
    common, less_common = WEIGHTS[encoding]
    values = dict.fromkeys(set(letters), -0.5)
    if encoding in SCRIPTS:
        values |= dict.fromkeys(re.findall(f"[{SCRIPTS[encoding]}]", "".join(values)), 0.3)
    values |= dict.fromkeys(set(less_common) & values.keys(), 0.6) | dict.fromkeys(set(common) & values.keys(), 1.0)
    return sum(values[letter] * letters.count(letter) for letter in values) / max(len(letters), 1)
