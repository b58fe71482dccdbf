"""Where sentences end, in six languages and in texts made to be slow; and how tokens are counted."""

from __future__ import annotations

import itertools
import string
from functools import partial

import pytest
import sentencex

from runners.models.text import casing
from runners.models.text.sentences import RELATIVES, paragraphs, split
from runners.models.text.tokens import clean, cut, tokens
from tests.support.running import cpu_time

SENTENCES = {
    "fr": [
        ["M. Dupont est venu avec Mme Durand.", "Le Dr. House est parti."],
        ["Le prix est de 2.600 euros, p. ex. à Paris.", "Il baisse de 3.14 %."],
        ["« Quoi ? » demande-t-il.", "Puis il part."],
        ['"Il est là." dit-elle.', "J. K. Rowling écrit...", "Et puis rien."],
        ["Le 1er sept. 2019, il est né.", "Voyez www.exemple.com/a.B pour la suite."],
        ["Selon MM. Durand et Dupond, c'est faux.", "Me. Martin le nie."],
        ["Il achète du pain, du lait, etc. et s'en va.", "Fin."],
    ],
    "en": [
        ["Dr. Smith of the U.S. Army met Mr. Jones, e.g. at No. 5.", "He left at 5 p.m. that day."],
        ['"It was too harsh," he said.', "J. R. R. Tolkien wrote it."],
    ],
    "es": [["El Sr. Pérez y la Sra. López, p. ej. en EE. UU. vinieron.", "¿Qué pasa?", "¡Nada!", "Fin."]],
    "de": [
        ["Am 1. Januar kam Dr. Müller, z. B. mit Nr. 5.", "Er ging."],
        ["„Ich komme. Du auch.“ sagte er.", "Das kostet 2.600 Euro usw. und so fort."],
    ],
    "it": [["Il Sig. Rossi e il dott. Bianchi arrivano.", "Costa 3.000 euro."]],
    "zh": [["今天天气很好。", "我们去公园吧！", "你去吗？", "他说「走吧」。"]],
}
CASES = [(language, sentences) for language, texts in SENTENCES.items() for sentences in texts]


@pytest.mark.parametrize(("language", "sentences"), CASES)
def test_abbreviations_numbers_initials_and_quotations_end_no_sentence(language: str, sentences: list[str]) -> None:
    assert split(("" if language == "zh" else " ").join(sentences), language) == sentences


@pytest.mark.parametrize(
    ("language", "sentences"), [case for case in CASES if case[0] not in {"de", "zh"} and "dit-elle" not in str(case)]
)
def test_a_text_in_lower_case_is_split_as_if_it_had_its_capitals(language: str, sentences: list[str]) -> None:
    whole = [*sentences, "It ends.", "He left.", "They came."]
    assert split(" ".join(whole).lower(), language) == [sentence.lower() for sentence in whole]


def test_abbreviations_of_a_text_with_capitals_end_no_sentence() -> None:
    text = "Mix 2 tbsp. sugar, 1 tsp. of salt, approx. three oz. flour, add one lb. butter and two pt. milk."
    assert split(text, "en") == [text]


def test_a_tokenized_text_in_lower_case_is_split_at_its_marks() -> None:
    sentences = ["she went home .", "he said , `` i am tired '' .", "the u.s. team won !", "it rained in the usa ."]
    assert split(" ".join(sentences), "en") == sentences


@pytest.mark.parametrize(
    "text",
    [
        'He said. "no." She left. It rained. then it stopped. We went.',
        "今天天气很好。我们去。你去吗？好。",
        "one. two",
        "Ǆ. ß. ﬁ. ŉ. ß is here. ﬁ. ß",
        "ეს არის. ის წავიდა. წვიმდა. ის მოვიდა. დილა იყო. ის არის.",
        "Mix 2 tbsp. sugar, 1 tsp. of salt, approx. three oz. flour, add one lb. butter and two pt. milk at once.",
        "I thought... maybe we... could... you know... go there.",
    ],
)
def test_other_texts_keep_their_case_and_a_new_one_has_the_same_length(text: str) -> None:
    assert not casing.is_lower_cased(text)
    assert len(casing.sentence_case(text)) == len(text)
    assert "".join("".join(split(text, "en")).split()) == "".join(text.split())


def test_a_full_stop_without_a_space_after_it_ends_a_sentence() -> None:
    assert split("Il vit à Venise.Selon lui, c'est beau.", "fr") == ["Il vit à Venise.", "Selon lui, c'est beau."]


def test_one_quotation_mark_too_few_does_not_make_one_sentence_of_a_page() -> None:
    moves = "Puis il est parti vers la grande maison au bord de la mer avec sa sœur. " * 12
    assert len(split(f'Il a dit "non, {moves}Il a crié "oui" et il est revenu. {moves}', "fr")) >= 24


def test_an_opening_quotation_mark_goes_with_what_it_opens() -> None:
    text = 'Collins added: "He is a great guy. We are friends. " I would like to see him again and again." He left.'
    assert not any(sentence.endswith(' "') for sentence in split(text, "en"))


def test_a_blank_line_ends_a_sentence_and_a_single_one_does_not() -> None:
    text = "A heading\n\nA line that\nwraps. Another.\n \nThe end"
    assert paragraphs(text, "en") == [["A heading"], ["A line that wraps.", "Another."], ["The end"]]


def test_items_of_a_list_stand_alone() -> None:
    assert split("Three things:\n- one\n- two\n3. three", "en") == ["Three things:", "- one", "- two", "3. three"]


@pytest.mark.parametrize("language", ["fr", "und", "xx", ""])
def test_nothing_but_white_space_and_control_characters_is_lost(language: str) -> None:
    text = 'M. Dupont\0 dit : "Non.\r\n\r\nPuis\ud800\udfff rien... « a. b » 3. x.Y\u2028z!?'
    assert "".join("".join(split(text, language)).split()) == "".join(clean(text).split())


UNITS = [
    "a b c ",
    ".",
    ". ",
    "a",
    '"a. ',
    "A. ",
    "\n",
    '"',
    "« ",
    "“",
    "‘a ",
    "http://",
    "。",
    "a.\n\n",
    "- \n",
    "M. ",
    "a. b",
]


@pytest.mark.slow
@pytest.mark.parametrize("unit", UNITS)
def test_no_text_takes_long(unit: str) -> None:
    def seconds(characters: int) -> float:
        return cpu_time.least(partial(split, (unit * characters)[:characters], "fr"))

    seconds(1000)
    # Four times the text takes some four times as long, not sixteen times.
    assert seconds(400_000) < 8 * seconds(100_000) + 0.5


@pytest.mark.slow
@pytest.mark.parametrize("language", ["ca", "da", "de", "en", "fr", "it", "kl", "oc", "zh"])
@pytest.mark.parametrize("unit", ["USA. ", '. "', "Hello there, Mr. Smith. "])
def test_no_languages_rules_make_a_long_text_slow(language: str, unit: str) -> None:
    text = unit * (300_000 // len(unit))
    assert cpu_time.at_most(3, lambda: split(text, language))  # some rules of sentencex take more than ten times that


def test_only_languages_that_are_known_for_it_have_slow_rules() -> None:
    codes = ["".join(pair) for pair in itertools.product(string.ascii_lowercase, repeat=2)]

    def seconds(code: str) -> float:
        return cpu_time.least(lambda: list(sentencex.segment(code, '. "' * 100)), enough=0.01)

    slow = [code for code in codes if code not in RELATIVES and seconds(code) > 0.01]
    assert not slow


def test_the_beginning_of_a_text_is_judged_by_the_rules_of_its_own_language() -> None:
    assert split("Det er dr. Jensen. Han bor i kap. Horn.", "da")[0] == "Det er dr. Jensen."


@pytest.mark.parametrize(
    ("text", "count"),
    [("", 0), ("Il dit : « oui »", 6), ("l'an 2.600", 6), ("今天 ok。", 4), ("abc今天", 3), ("  \n", 0), ("🙂🙂", 2)],
)
def test_tokens_are_words_cjk_characters_and_marks(text: str, count: int) -> None:
    assert tokens(text) == count


def test_a_cut_ends_with_a_word_and_says_so_where_there_is_room() -> None:
    text = "un deux, trois quatre"
    assert [cut(text, limit) for limit in (1, 2, 3, 4, 5)] == [
        "un",
        "un…",
        "un deux…",
        "un deux…",
        text,
    ]
    assert all(0 < tokens(cut(text, limit)) <= limit for limit in range(1, 6))
