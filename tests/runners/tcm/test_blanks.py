"""Blanks between symptoms: they part known terms as commas do, and mean nothing inside one."""

from __future__ import annotations

from typing import Any

import pytest

from runners.models.tcm.phrases import Phrase, phrases
from tests.runners.tcm.test_answers import model, output
from tests.runners.tcm.test_reading import LEXICON
from tests.support.running import cpu_time

__all__ = ["model"]

BLANKS = {
    "a space": " ",
    "two": "  ",
    "full width": "\u3000",
    "a tab": "\t",
    "mixed": " \u3000\t",
    "unbroken": "\u00a0",
}


def read(text: str) -> list[str]:
    return [one.text for one in phrases([text], LEXICON) if not one.denied]


@pytest.mark.parametrize("blank", BLANKS.values(), ids=BLANKS)
def test_blanks_part_known_terms(blank: str) -> None:
    assert read(blank.join(["头痛", "乏力", "食欲不振"])) == ["头痛", "乏力", "食欲不振"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("头 痛", ["头痛"]),
        ("食欲 不振 头痛", ["食欲不振", "头痛"]),
        ("恶寒 发热", ["恶寒", "发热"]),
        ("咳 喘", ["咳", "喘"]),
        ("热 毒 炽 盛", ["热毒炽盛"]),
        ("患者 头痛 伴 乏力", ["头痛", "乏力"]),
        ("頭痛 乏力、發熱 無汗", ["头痛", "乏力", "发热", "无汗"]),
        ("发热 3天 咳嗽", ["发热", "3天", "咳嗽"]),
        ("头痛 fatigue 乏力", ["头痛", "fatigue", "乏力"]),
        ("头痛 poor appetite 乏力", ["头痛", "poor appetite", "乏力"]),
        ("poor appetite", ["poor appetite"]),
        ("mal de tête", ["mal de tête"]),
        ("  头痛   乏力 ", ["头痛", "乏力"]),
    ],
)
def test_a_term_stays_whole_and_terms_beside_each_other_part(text: str, parts: list[str]) -> None:
    assert read(text) == parts


def test_a_denial_ends_at_a_blank_as_at_a_comma() -> None:
    assert phrases(["无 发热 头痛"], LEXICON) == [Phrase("发热", denied=True), Phrase("头痛")]
    assert phrases(["头痛 无 发热"], LEXICON) == [Phrase("头痛"), Phrase("发热", denied=True)]


@pytest.mark.parametrize("field", ["symptoms", "text"])
def test_both_models_answer_blanks_as_they_answer_commas(model: Any, field: str) -> None:
    blanks, commas = (output(model, {field: mark.join(["头痛", "乏力", "食欲不振"])}) for mark in ("\u3000", "，"))
    assert blanks == commas
    assert [one["text"] for one in blanks["symptoms"]["known"]] == ["头痛", "乏力", "食欲不振"]


@pytest.mark.parametrize("unit", ["头 ", "咳 喘 ", "患 者 ", "头痛 ", "头痛 a ", "无 "])
def test_the_longest_text_of_blanks_is_read_in_a_moment(unit: str) -> None:
    text = (unit * 5_000)[:5_000]
    read("头痛")
    cpu_time.at_most(1.5, lambda: read(text))
