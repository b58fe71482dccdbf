"""Does a text read like a language, and are two readings the same? Wrong Unicode tables and bad OCR fail the test."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Final

from runners.models.text.normalized import normalized

_WORDS: Final = (
    "the of and to in is that for it was on are as with his they at be this from have or by had but not what all"
    " were we when your can there which an their if will each about how up out them then she many some would other"
    " has more her two him could no than its who now my over did only most our after also been any into such"
    " may you he"
    " de la le et les des en un du une que est pour qui dans il par plus pas au sur ne se ce sont avec son aux mais"
    " ou comme nous cette ont elle vous leur été ses je tout sans entre être fait sa ces même aussi qu où"
    " der die und den von zu das mit sich des auf für ist im dem nicht ein eine als auch es an werden aus er hat"
    " dass sie nach wird bei einer um am sind noch wie einem über einen so zum war haben nur oder aber vor zur bis"
    " el los y del las por con para una su al lo como más pero sus ha muy sin sobre este ya fue desde está todo"
    " di che è per della non sono nel gli dei delle alla anche ma dal questo come degli nella ed ai"
    " os um uma não com ao dos das pelo mais foi também são pela seu sua ser entre nos"
    " het een van dat met voor zijn niet te op er aan ook door naar bij uit maar worden om hij wordt"
    " och att det som på av är den för med till inte har ett om var jag från eller kan men vid hade"
    " og på det til som med av er den ikke for har blev vil fra kan også være"
    " na się nie jest że przez jak ale lub oraz dla od po może są był tym co czy już"
    " je se na že si ve pro byl jako ale jeho bylo podle až nebo mezi ze které který sa ako"
    " ja on ei se että oli hän kun mutta ovat sen joka niin myös tai olla hänen"
    " az és hogy nem egy ez is meg volt csak már vagy mint még de ha el"
    " ve bir bu için ile da ne olarak daha çok olan gibi en kadar sonra var değil"
    " și în cu nu mai din care sau pe la fi sunt ce prin este fost"
    " και το να του η της με την που από για στο είναι τα των δεν στην θα τον"
    " и в не на что с по как это он из за от но к его для же все так она было был о бы у до вы мы"
    " та що на це не з як від до у в і за про або його й при"
    " في من على إلى أن هذا التي عن مع الذي كان هذه لا أو ما بين كل وقد لم بعد"
    " של את על לא הוא זה עם היא כי גם או אל יש אם כל אך היה"
    " yang dan di untuk dengan dari pada ini itu adalah tidak dalam akan oleh ke"
    " của và là có không được cho một những trong các người này với đã"
)
WORDS: Final = frozenset(_WORDS.split())
"""Commonest words of languages that put spaces between words, including all Latin ones that OCR reads well."""
SYLLABLES: Final = frozenset(
    "的一是不了人我在有他这中大来上国个到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可她里后小么心多天而能好都然没日于起还发成事只作当想看文无开手"
    "這個來說們為時學對過後還發當開會國のはにをたがでてとしれさいるからもりこなまついう이다는을의에가하고지로한은를기도리사어나인시서그"
)
"""Commonest characters of languages without spaces between words, and of Korean."""
MIN_WORDS: Final = 8
"""Words of two letters or more from which a text can be judged."""
MIN_UNREADABLE_WORDS: Final = 40
"""The same in an alphabet that OCR does not read, where a doubt would not help."""
MIN_SIGNS: Final = 20
"""The same in characters of a script without spaces."""
MIN_COMMON_SHARE: Final = 0.1
"""Share of common words, or characters, that a text has in any language."""

WORD: Final = re.compile(r"[^\W\d_]{2,}")
LATIN: Final = re.compile("[A-Za-z]")
SIGN: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")

CERTAIN_COMMON_SHARE: Final = 0.25
"""Share of common words that is not a coincidence; English news has 0.4."""
_PAIRS: Final = (
    "es re on de en er in an le th he nt te is ou ti at it ar me la se ne st or ur ai et nd co ce al to ra ve ed ri"
    " li ns as ro ie io ma ha il un el qu ng ta em ll tr pa si po ue pr di"
)
PAIRS: Final = frozenset(_PAIRS.split())
"""The sixty commonest pairs of letters of English and French news, taken together."""
MIN_COMMON_PAIRS_SHARE: Final = 0.28
"""Share of a text's pairs of letters that are common ones: 0.32 to 0.54 in thirteen other languages, names and code,
and less than 0.25 in 99 of 100 texts of which a random table took letters for others."""
MIN_PAIRS: Final = 40
"""Pairs of letters from which a text can be judged."""

MIN_SIMILARITY: Final = 0.55
"""Ratio of similarity from which two readings of one line are the same text."""
MAX_COMPARED_CHARACTERS: Final = 300
"""Characters of each reading that are compared: the time taken grows with their square."""


def is_language(text: str) -> bool | None:
    """Whether the text reads like a language; None where it is too short to tell: names, figures, a heading."""
    signs = SIGN.findall(text)
    if len(signs) >= MIN_SIGNS:
        return sum(sign in SYLLABLES for sign in signs) >= MIN_COMMON_SHARE * len(signs)
    words = WORD.findall(text.lower())
    if len(words) < (MIN_WORDS if LATIN.search(text) else MIN_UNREADABLE_WORDS):
        return None
    return sum(word in WORDS for word in words) >= MIN_COMMON_SHARE * len(words)


def is_strange(text: str) -> bool | None:
    """Whether the pairs of Latin letters fit no language; None where there are too few to tell."""
    decomposed = normalized(text.lower(), "NFKD")
    words = WORD.findall("".join(letter for letter in decomposed if not unicodedata.combining(letter)))
    pairs = [word[place : place + 2] for word in words for place in range(len(word) - 1)]
    pairs = [pair for pair in pairs if pair.isascii()]
    if len(pairs) < MIN_PAIRS:
        return None
    is_odd = sum(pair in PAIRS for pair in pairs) < MIN_COMMON_PAIRS_SHARE * len(pairs)
    return is_odd and sum(word in WORDS for word in words) < CERTAIN_COMMON_SHARE * len(words)


def are_alike(pairs: Sequence[tuple[str, str]]) -> bool:
    """Whether two readings of some lines are the same, taken together."""
    first, second = (_plain("".join(pair[side] for pair in pairs)) for side in (0, 1))
    return SequenceMatcher(None, first, second, autojunk=False).ratio() >= MIN_SIMILARITY


def _plain(text: str) -> str:
    """Reduce to lower-case letters without accents, and digits."""
    decomposed = normalized(text.lower(), "NFKD")
    return "".join(filter(str.isalnum, decomposed))[:MAX_COMPARED_CHARACTERS]
