"""What callers of the two models of Chinese medicine may send: symptoms, a patient, parameters; every one checked."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

from runners.contract import only
from runners.errors import InvalidInput, PayloadTooLarge
from runners.models.tcm.script import is_chinese
from runners.models.tcm.tables import LANGUAGES, Language
from runners.models.text.normalized import normalized

MAX_SYMPTOMS: Final = 100
MAX_TEXT: Final = 5_000  # characters of all symptoms together; a case record has a few hundred
MAX_WRITTEN: Final = 2 * MAX_TEXT  # characters as they came, where an accent may be one of its own
MAX_NAMES: Final = 50
MAX_NAME: Final = 60  # characters of a syndrome's name
MAX_HISTORY: Final = 100
MAX_TOP: Final = 50
OLDEST: Final = 150  # years
PARAMETERS: Final = frozenset({"top_k", "threshold", "lang", "temperature", "max_tokens"})
PATIENT: Final = frozenset({"age", "gender", "medical_history"})
IGNORED: Final = ("temperature", "max_tokens")
"""What callers of a generating model send along; these models have no use for them and say so."""
GENDERS: Final = {
    **dict.fromkeys(("male", "m", "男", "男性", "homme", "masculin"), "male"),
    **dict.fromkeys(("female", "f", "女", "女性", "femme", "féminin"), "female"),
}
OTHER_GENDERS: Final = frozenset({"other", "unknown", "其他", "未知", "autre", "inconnu"})
_PREGNANT: Final = re.compile(
    r"妊娠|怀孕|孕妇|有孕|早孕|孕\s*[\d一二三四五六七八九十]|\bpregnan|\benceinte\b|\bgrossesse\b"
)
_NOT: Final = re.compile(r"(?:未|否认|无|非|没有?|不|\bno[tn]?|\bpas)\W{0,2}$")
DENIAL: Final = 40  # characters before a word in which its denial stands
_FRENCH: Final = re.compile(r"[àâçéèêëîïôùûœ]|\b(?:de|du|des|le|la|les|pas|sans|et|mal|maux|douleurs?|toux|selles?)\b")


@dataclass(frozen=True)
class PatientInfo:
    """What is known of a patient beside the symptoms. ``gender`` is male, female or None."""

    gender: str | None = None
    age: float | None = None
    history: tuple[str, ...] = ()


def tells_pregnancy(texts: Iterable[str]) -> bool:
    """Whether a patient's texts say that she is pregnant; "未怀孕" says that she is not."""
    lines = [text.lower() for text in texts]
    return any(not _is_denied(line, found.start()) for line in lines for found in _PREGNANT.finditer(line))


def _is_denied(line: str, start: int) -> bool:
    return _NOT.search(line[max(0, start - DENIAL) : start].rstrip()) is not None


@dataclass(frozen=True)
class PatientOptions:
    """How much of an answer is wanted, and in which language."""

    top_k: int
    threshold: float | None
    language: Language
    ignored: tuple[str, ...]


def check_fields(value: Mapping[str, Any], known: frozenset[str], name: str) -> None:
    """Raises InvalidInput when an object has a field that nobody reads."""
    unknown = value.keys() - known
    if unknown:
        raise InvalidInput(f"{name} has {', '.join(sorted(known))}, not {', '.join(sorted(unknown))[:100]!r}")


def texts_of(data: Mapping[str, Any]) -> tuple[str, ...]:
    """The symptoms of an input, a list or running text. Raises InvalidInput, PayloadTooLarge."""
    given = data.get("symptoms", [])
    listed = [given] if isinstance(given, str) else given
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        raise InvalidInput("symptoms must be a list of strings, or one text")
    if len(listed) > MAX_SYMPTOMS:
        raise InvalidInput(f"symptoms: at most {MAX_SYMPTOMS}")
    running = data.get("text", "")
    if not isinstance(running, str):
        raise InvalidInput("text must be a string")
    texts = tuple(filter(None, map(_whole, (*listed, running))))
    too_long = sum(map(len, texts)) > MAX_WRITTEN
    # One character of some is eighteen when it is written out.
    if too_long or sum(len(normalized(one)) for one in texts) > MAX_TEXT:
        raise PayloadTooLarge(f"symptoms: at most {MAX_TEXT} characters together")
    return texts


def _whole(text: str) -> str:
    """A text without halves of surrogate pairs, which no answer could tell."""
    return text.encode("utf-8", "replace").decode("utf-8").strip()


def names_of(value: object, field: str) -> tuple[str, ...]:
    """A list of syndromes' names. Raises InvalidInput."""
    if not isinstance(value, list) or not all(isinstance(one, str) and one.strip() for one in value):
        raise InvalidInput(f"{field} must be a list of names")
    if len(value) > MAX_NAMES or any(len(one) > MAX_NAME for one in value):
        raise InvalidInput(f"{field}: at most {MAX_NAMES} names of {MAX_NAME} characters")
    return tuple(dict.fromkeys(map(_whole, value)))


def patient_of(value: object) -> PatientInfo:
    """``patient_info``. Raises InvalidInput."""
    if value is None:
        return PatientInfo()
    if not isinstance(value, dict):
        raise InvalidInput("patient_info must be an object")
    check_fields(value, PATIENT, "patient_info")
    return PatientInfo(_gender(value.get("gender")), _age(value.get("age")), _history(value.get("medical_history")))


def _gender(value: object) -> str | None:
    if value is None:
        return None
    word = value.strip().lower() if isinstance(value, str) else ""
    if word not in GENDERS and word not in OTHER_GENDERS:
        raise InvalidInput("gender must be one of: female, male, other, unknown")
    return GENDERS.get(word)


def _age(value: object) -> float | None:
    if value is None:
        return None
    if not is_number(value) or not 0 <= value <= OLDEST:
        raise InvalidInput(f"age must be a number of years from 0 to {OLDEST}")
    return float(value)


def _history(value: object) -> tuple[str, ...]:
    listed = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        raise InvalidInput("medical_history must be a list of strings")
    if len(listed) > MAX_HISTORY or sum(map(len, listed)) > MAX_TEXT:
        raise InvalidInput(f"medical_history: at most {MAX_HISTORY} entries")
    return tuple(listed)


def options_of(parameters: Mapping[str, Any], said: Sequence[str], top_k: int) -> PatientOptions:
    """The parameters; ``said`` is what the caller wrote, whose language the answer takes. Raises InvalidInput."""
    only(parameters, PARAMETERS)
    wanted = parameters.get("top_k", top_k)
    if type(wanted) is not int or not 1 <= wanted <= MAX_TOP:
        raise InvalidInput(f"top_k must be a whole number from 1 to {MAX_TOP}")
    threshold = parameters.get("threshold")
    if threshold is not None and not (is_number(threshold) and 0 <= threshold <= 1):
        raise InvalidInput("threshold must be a number from 0 to 1")
    ignored = tuple(name for name in IGNORED if name in parameters)
    if not all(is_number(parameters[name]) for name in ignored):
        raise InvalidInput(f"{' and '.join(ignored)} must be numbers")
    return PatientOptions(
        wanted, None if threshold is None else float(threshold), _language(parameters, " ".join(said)), ignored
    )


def _language(parameters: Mapping[str, Any], said: str) -> Language:
    if "lang" not in parameters:
        if not said or is_chinese(said):
            return "zh"
        return "fr" if _FRENCH.search(said.lower()) else "en"
    for language in LANGUAGES:
        if parameters["lang"] == language:
            return language
    raise InvalidInput(f'"lang" must be one of: {", ".join(LANGUAGES)}')


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value of JSON is a number that a double holds."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max  # also of an integer of a thousand digits, and NaN is not
