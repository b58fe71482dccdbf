"""Checks the requests to both models of Chinese medicine: symptoms, patient and parameters."""

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
"""Symptoms of one patient, at most."""
MAX_TEXT_CHARACTERS: Final = 5_000
"""Characters of all symptoms together, normalized; a case record has a few hundred."""
MAX_WRITTEN_CHARACTERS: Final = 2 * MAX_TEXT_CHARACTERS
"""Characters of all symptoms as sent, where an accent may be a character of its own."""
MAX_NAMES: Final = 50
"""Names of syndromes in one list, at most."""
MAX_NAME_CHARACTERS: Final = 60
"""Characters of the longest name of a syndrome."""
MAX_HISTORY: Final = 100
"""Entries of a medical history, at most."""
MAX_TOP_K: Final = 50
"""Largest ``top_k``."""
MAX_AGE_YEARS: Final = 150
"""Years of the highest accepted age."""
PARAMETERS: Final = frozenset({"top_k", "threshold", "lang", "temperature", "max_tokens"})
PATIENT: Final = frozenset({"age", "gender", "medical_history"})
IGNORED: Final = ("temperature", "max_tokens")
"""Parameters of text generating models; these models ignore them, and the response says so."""
GENDERS: Final = {
    **dict.fromkeys(("male", "m", "男", "男性", "homme", "masculin"), "male"),
    **dict.fromkeys(("female", "f", "女", "女性", "femme", "féminin"), "female"),
}
OTHER_GENDERS: Final = frozenset({"other", "unknown", "其他", "未知", "autre", "inconnu"})
_PREGNANT: Final = re.compile(
    r"妊娠|怀孕|孕妇|有孕|早孕|孕\s*[\d一二三四五六七八九十]|\bpregnan|\benceinte\b|\bgrossesse\b"
)
_NOT: Final = re.compile(r"(?:未|否认|无|非|没有?|不|\bno[tn]?|\bpas)\W{0,2}$")
DENIAL_CHARACTERS: Final = 40
"""Characters before a word in which its denial is searched."""
_FRENCH: Final = re.compile(r"[àâçéèêëîïôùûœ]|\b(?:de|du|des|le|la|les|pas|sans|et|mal|maux|douleurs?|toux|selles?)\b")


@dataclass(frozen=True)
class PatientInfo:
    """A patient's data besides the symptoms. ``gender`` is male, female or None."""

    gender: str | None = None
    age: float | None = None
    history: tuple[str, ...] = ()


def tells_pregnancy(texts: Iterable[str]) -> bool:
    """Return whether a patient's texts state a pregnancy; "未怀孕" denies it."""
    lines = [text.lower() for text in texts]
    return any(not _is_denied(line, match.start()) for line in lines for match in _PREGNANT.finditer(line))


def _is_denied(line: str, start: int) -> bool:
    return _NOT.search(line[max(0, start - DENIAL_CHARACTERS) : start].rstrip()) is not None


@dataclass(frozen=True)
class PatientOptions:
    """Options of a response: its length, threshold and language, and the ignored parameters of the request."""

    top_k: int
    threshold: float | None
    language: Language
    ignored: tuple[str, ...]


def check_fields(value: Mapping[str, Any], known: frozenset[str], name: str) -> None:
    """Raise InvalidInput if an object has an unknown field."""
    unknown = value.keys() - known
    if unknown:
        raise InvalidInput(f"{name} has {', '.join(sorted(known))}, not {', '.join(sorted(unknown))[:100]!r}")


def texts_of(data: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the symptoms of an input, a list or running text. Raises InvalidInput and PayloadTooLarge."""
    given = data.get("symptoms", [])
    listed = [given] if isinstance(given, str) else given
    if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
        raise InvalidInput("symptoms must be a list of strings, or one text")
    if len(listed) > MAX_SYMPTOMS:
        raise InvalidInput(f"symptoms: at most {MAX_SYMPTOMS}")
    running = data.get("text", "")
    if not isinstance(running, str):
        raise InvalidInput("text must be a string")
    texts = tuple(filter(None, map(_whole, (*listed, running))))
    too_long = sum(map(len, texts)) > MAX_WRITTEN_CHARACTERS
    # Normalization expands some characters to eighteen.
    if too_long or sum(len(normalized(text)) for text in texts) > MAX_TEXT_CHARACTERS:
        raise PayloadTooLarge(f"symptoms: at most {MAX_TEXT_CHARACTERS} characters together")
    return texts


def _whole(text: str) -> str:
    """Return the stripped text without lone surrogates, which the response could not contain."""
    return text.encode("utf-8", "replace").decode("utf-8").strip()


def names_of(value: object, field: str) -> tuple[str, ...]:
    """Return a list of names of syndromes without duplicates. Raises InvalidInput."""
    if not isinstance(value, list) or not all(isinstance(name, str) and name.strip() for name in value):
        raise InvalidInput(f"{field} must be a list of names")
    if len(value) > MAX_NAMES or any(len(name) > MAX_NAME_CHARACTERS for name in value):
        raise InvalidInput(f"{field}: at most {MAX_NAMES} names of {MAX_NAME_CHARACTERS} characters")
    return tuple(dict.fromkeys(map(_whole, value)))


def patient_of(value: object) -> PatientInfo:
    """Return the checked ``patient_info``, empty by default. Raises InvalidInput."""
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
    if not is_number(value) or not 0 <= value <= MAX_AGE_YEARS:
        raise InvalidInput(f"age must be a number of years from 0 to {MAX_AGE_YEARS}")
    return float(value)


def _history(value: object) -> tuple[str, ...]:
    listed = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
        raise InvalidInput("medical_history must be a list of strings")
    if len(listed) > MAX_HISTORY or sum(map(len, listed)) > MAX_TEXT_CHARACTERS:
        raise InvalidInput(f"medical_history: at most {MAX_HISTORY} entries")
    return tuple(listed)


def options_of(parameters: Mapping[str, Any], texts: Sequence[str], top_k: int) -> PatientOptions:
    """Return the options; the language of ``texts`` is the default of the response. Raises InvalidInput."""
    only(parameters, PARAMETERS)
    count = parameters.get("top_k", top_k)
    if type(count) is not int or not 1 <= count <= MAX_TOP_K:
        raise InvalidInput(f"top_k must be a whole number from 1 to {MAX_TOP_K}")
    threshold = parameters.get("threshold")
    if threshold is not None and not (is_number(threshold) and 0 <= threshold <= 1):
        raise InvalidInput("threshold must be a number from 0 to 1")
    ignored = tuple(name for name in IGNORED if name in parameters)
    if not all(is_number(parameters[name]) for name in ignored):
        raise InvalidInput(f"{' and '.join(ignored)} must be numbers")
    return PatientOptions(
        count, None if threshold is None else float(threshold), _language(parameters, " ".join(texts)), ignored
    )


def _language(parameters: Mapping[str, Any], text: str) -> Language:
    if "lang" not in parameters:
        if not text or is_chinese(text):
            return "zh"
        return "fr" if _FRENCH.search(text.lower()) else "en"
    for language in LANGUAGES:
        if parameters["lang"] == language:
            return language
    raise InvalidInput(f'"lang" must be one of: {", ".join(LANGUAGES)}')


def is_number(value: object) -> TypeGuard[int | float]:
    """Return whether a JSON value is a number within the range of a double."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max  # compares integers of any size; False for NaN
