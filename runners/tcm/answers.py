"""What both models of Chinese medicine answer: above all that it is no medical advice, in the caller's language."""

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
DIGITS: Final = 4  # of probabilities; more would only pretend
SHOWN: Final = 5  # unknown symptoms in an error's message
LONGEST_SHOWN: Final = 20  # characters of each


def ending(options: PatientOptions, model: str) -> dict[str, Any]:
    """The last fields of every answer."""
    ignored = {"ignored_parameters": list(options.ignored)} if options.ignored else {}
    return {"disclaimer": DISCLAIMER[options.language], "language": options.language, "model": model, **ignored}


def rounded(probability: float) -> float:
    """A probability as it is told."""
    return round(probability, DIGITS)


def nothing_known(texts: Sequence[str], phrases: Iterable[Phrase]) -> RunnerError:
    """Why a patient cannot be judged: nothing was written, or nothing of it is known."""
    if not texts:
        return InvalidInput('no symptoms: send {"symptoms": ["头痛", "乏力"]}, or a text')
    read = list(phrases)
    if read and all(one.denied for one in read):
        return UnknownSymptoms("every symptom is denied")
    unknown = list(dict.fromkeys(one.text for one in read if not one.denied)) or texts
    return UnknownSymptoms("nothing of this is known: " + "、".join(one[:LONGEST_SHOWN] for one in unknown[:SHOWN]))
