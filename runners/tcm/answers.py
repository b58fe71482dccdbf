"""The common response fields of both models of Chinese medicine, above all the disclaimer in the client's language."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from runners.errors import InvalidInput, RunnerError, UnknownSymptoms
from runners.models.tcm.phrases import Phrase
from runners.models.tcm.tables import Language
from runners.tcm.requests import PatientOptions

DISCLAIMER: Final[Mapping[Language, str]] = {
    "zh": "仅供辅助决策参考，不能替代医师诊断，不构成医疗建议。",
    "en": "Decision support only: no medical advice, and no substitute for a physician's diagnosis.",
    "fr": "Aide à la décision seulement : ni avis médical, ni substitut au diagnostic d'un médecin.",
}
PROBABILITY_DIGITS: Final = 4
"""Decimal places of probabilities; more would suggest a false precision."""
SHOWN_SYMPTOMS: Final = 5
"""Unknown symptoms that an error message names."""
SHOWN_CHARACTERS: Final = 20
"""Characters of each symptom in an error message."""


def ending(options: PatientOptions, model: str) -> dict[str, Any]:
    """Return the last fields of every response: disclaimer, language, model and ignored parameters."""
    ignored = {"ignored_parameters": list(options.ignored)} if options.ignored else {}
    return {"disclaimer": DISCLAIMER[options.language], "language": options.language, "model": model, **ignored}


def rounded(probability: float) -> float:
    """Return a probability with ``PROBABILITY_DIGITS`` decimal places."""
    return round(probability, PROBABILITY_DIGITS)


def nothing_known(texts: Sequence[str], phrases: Iterable[Phrase]) -> RunnerError:
    """Return the error for a patient without known symptoms: none given, all denied, or all unknown."""
    if not texts:
        return InvalidInput('no symptoms: send {"symptoms": ["头痛", "乏力"]}, or a text')
    given = list(phrases)
    if given and all(phrase.denied for phrase in given):
        return UnknownSymptoms("every symptom is denied")
    unknown = list(dict.fromkeys(phrase.text for phrase in given if not phrase.denied)) or texts
    return UnknownSymptoms(
        "nothing of this is known: " + "、".join(text[:SHOWN_CHARACTERS] for text in unknown[:SHOWN_SYMPTOMS])
    )
