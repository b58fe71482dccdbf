"""The language of a text: told where it can be told, and "und" where it cannot."""

from __future__ import annotations

import subprocess
import sys

import pytest

from runners.models.text.language import detect

TEXTS = {
    "fr": "Le conseil municipal a voté hier soir le budget de la ville pour l'année prochaine.",
    "en": "The city council voted last night on the budget of the town for the next year.",
    "es": "El ayuntamiento aprobó anoche el presupuesto de la ciudad para el próximo año.",
    "de": "Der Stadtrat hat gestern Abend den Haushalt der Stadt für das nächste Jahr beschlossen.",
    "it": "Il consiglio comunale ha votato ieri sera il bilancio della città per l'anno prossimo.",
    "zh": "市议会昨晚通过了明年的城市预算。",
}


@pytest.mark.parametrize("language", TEXTS)
def test_a_sentence_tells_its_language(language: str) -> None:
    assert detect(TEXTS[language]) == language


@pytest.mark.parametrize(
    "text", ["", "   \n", "123 456 789 000 111 222", "?!… — «»", "OK", "\0\0\0", "\ud800" * 50, "🙂" * 50]
)
def test_a_text_that_says_too_little_is_undetermined(text: str) -> None:
    assert detect(text) == "und"


def test_what_is_no_text_does_not_hide_the_language() -> None:
    assert detect("\0\ud800".join(TEXTS["fr"].split(" ")).replace("\0\ud800", " \0\ud800")) == "fr"


def test_only_the_beginning_is_looked_at() -> None:
    assert detect(TEXTS["fr"] * 100 + TEXTS["en"] * 10_000) == "fr"


FIRST_CALLERS = """
import logging
from concurrent.futures import ThreadPoolExecutor
logging.basicConfig(level=logging.DEBUG)
from runners.models.text.language import detect
with ThreadPoolExecutor(8) as callers:
    print(list(callers.map(detect, ["The city council voted last night on the budget of the town."] * 8)))
"""


@pytest.mark.server
def test_the_first_callers_together_load_the_counts_once() -> None:
    done = subprocess.run([sys.executable, "-c", FIRST_CALLERS], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(["en"] * 8)
    assert done.stderr.count("initializing identifier") == 1
