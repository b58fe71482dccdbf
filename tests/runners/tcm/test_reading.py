"""How symptoms are read: one way of writing, known terms, phrases, and what is denied."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runners.models.tcm import tables
from runners.models.tcm.features import Features, grams, padded, symptom_lexicon
from runners.models.tcm.lexicon import Lexicon
from runners.models.tcm.phrases import MAX_PHRASE_CHARACTERS, Phrase, phrases
from runners.models.tcm.script import is_chinese, simplified
from runners.models.tcm.tables import Names
from tests.support.running import cpu_time

LEXICON = symptom_lexicon()
SMALL = Lexicon(
    [
        (Names("头痛", "headache", "mal de tête"), ("头疼", "脑袋疼")),
        (Names("发热", "fever", "fièvre"), ("热", "身热")),
        (Names("发热头痛", "", ""), ()),
        (Names("咳", "cough", "toux"), ("咳嗽", "头疼")),
    ]
)
MARKS = '，,。．.；;：:！!？?\n\r\t()（）[]【】“”"、/／ \u3000'
WORDS = ["无", "不", "未见", "否认", "没有", "no ", "pas de ", "头痛", "发热", "无汗", "不寐", "有", "患者", "常", "咳"]
PIECES = st.lists(st.sampled_from([*WORDS, *MARKS]) | st.text(max_size=4), max_size=60).map("".join)


def read(*texts: str) -> list[Phrase]:
    return phrases(texts, LEXICON)


def present(*texts: str) -> list[str]:
    return [one.text for one in read(*texts) if not one.denied]


def denied(*texts: str) -> list[str]:
    return [one.text for one in read(*texts) if one.denied]


def meant(text: str) -> list[str]:
    """The table's terms that a text says are there."""
    rows = [row for one in present(text) for row in LEXICON.inside(one)]
    return [tables.symptoms()[row].names.zh for row in rows]


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("頭痛發熱", "头痛发热"),
        ("腰膝痠軟", "腰膝酸软"),
        ("面色萎黃", "面色萎黄"),
        ("證", "证"),
        ("ＡＢＣ１２３", "abc123"),
        ("（＋）", "(+)"),
        ("３８．５℃", "38.5°c"),
        ("头 痛", "头痛"),
        ("头\u3000痛", "头痛"),
        ("  头痛 \n", "头痛"),
        ("Mal de  Tête", "mal de  tête"),
        ("pH 升高", "ph 升高"),
        ("苔 白 腻", "苔白腻"),
        ("", ""),
        (" \u3000\t", ""),
    ],
)
def test_there_is_one_way_of_writing(written: str, plain: str) -> None:
    assert simplified(written) == plain


@given(st.text())
def test_what_is_simplified_stays_as_it_is(text: str) -> None:
    twice = simplified(simplified(text))
    assert twice == twice.strip() == simplified(twice)


@pytest.mark.parametrize(
    ("text", "chinese"), [("头", True), ("a头", True), ("", False), ("toux", False), ("，。", False), ("カ", False)]
)
def test_chinese_is_told_by_its_characters(text: str, chinese: bool) -> None:
    assert is_chinese(text) is chinese


def test_a_row_is_found_by_any_of_its_writings() -> None:
    for writing in ("头痛", "headache", "mal de tête", "脑袋疼"):
        assert SMALL.exact(writing) == 0
    assert SMALL.exact("头") is None
    assert SMALL.exact("") is None
    assert SMALL.exact("头痛了") is None


def test_a_synonym_of_two_rows_means_the_first() -> None:
    assert SMALL.exact("头疼") == 0


def test_a_term_comes_before_the_synonym_of_an_earlier_row() -> None:
    lexicon = Lexicon([(Names("甲乙", "", ""), ("丙丁",)), (Names("丙丁", "", ""), ())])
    assert lexicon.exact("丙丁") == 1


def test_a_whole_phrase_comes_before_what_is_inside_it() -> None:
    assert SMALL.inside("发热头痛") == [2]
    assert SMALL.inside("头痛发热") == [0, 1]


def test_the_longest_term_is_found_first_and_no_character_twice() -> None:
    assert SMALL.inside("昨日发热头痛咳嗽") == [2, 3]
    lexicon = Lexicon([(Names("甲乙", "", ""), ()), (Names("乙丙", "", ""), ()), (Names("甲乙丙丁", "", ""), ())])
    assert lexicon.inside("甲乙丙") == [0]
    assert lexicon.inside("甲乙丙丁乙丙") == [2, 1]


def test_a_single_character_is_a_term_only_where_it_stands_alone() -> None:
    assert SMALL.inside("热") == [1]
    assert SMALL.inside("咳") == [3]
    assert SMALL.inside("热水") == []
    assert SMALL.inside("干咳") == []


def test_names_in_other_languages_are_found_alone_and_not_inside() -> None:
    assert SMALL.inside("fever") == [1]
    assert SMALL.inside("feverish") == []
    assert SMALL.inside("high fever") == []


def test_writings_that_are_skipped_are_not_there() -> None:
    lexicon = symptom_lexicon({"头痛", "头疼"})
    row = LEXICON.exact("头痛")
    assert row is not None
    assert lexicon.exact("头痛") is lexicon.exact("头疼") is None
    assert lexicon.exact("headache") == row
    assert lexicon.exact("发热") == LEXICON.exact("发热")


def test_every_writing_of_the_table_finds_its_row() -> None:
    for row, symptom in enumerate(tables.symptoms()):
        for writing in (symptom.names.zh, *symptom.synonyms):
            assert LEXICON.exact(simplified(writing)) == row, writing


@pytest.mark.parametrize("language", ["en", "fr"])
def test_every_foreign_name_finds_a_row_that_has_it(language: str) -> None:
    for symptom in tables.symptoms():
        name = getattr(symptom.names, language)
        row = LEXICON.exact(simplified(name)) if name else None
        assert not name or (row is not None and getattr(tables.symptoms()[row].names, language) == name), name


def test_a_list_and_running_text_are_split_alike() -> None:
    expected = [Phrase(one) for one in ("头痛", "发热", "咳嗽", "口渴")]
    assert read("头痛", "发热", "咳嗽", "口渴") == expected
    assert read("头痛、发热，咳嗽。口渴") == expected
    assert read("患者自觉头痛；伴有发热，兼见咳嗽，且口渴！") == expected
    assert read("【主症】") == [Phrase("主症")]


@pytest.mark.parametrize("mark", [mark for mark in MARKS if not mark.isspace() and mark not in ".．"])
def test_every_mark_parts_two_symptoms(mark: str) -> None:
    assert present(f"头痛{mark}发热") == ["头痛", "发热"]


def test_a_point_inside_a_number_parts_nothing() -> None:
    assert present("体温38.5") == ["体温38.5"]
    assert present("headache. fever.") == ["headache", "fever"]


def test_each_phrase_is_there_once_in_its_order() -> None:
    assert present("发热、头痛", "发热", "頭痛") == ["发热", "头痛"]


@pytest.mark.parametrize("texts", [[], [""], ["", " "], ["\n\n"], ["，，、。"], ["患者"], ["有"]])
def test_nothing_is_read_of_nothing(texts: list[str]) -> None:
    assert read(*texts) == []


def test_other_languages_are_read_between_commas() -> None:
    assert (
        meant("Headache, with fever; and cough")
        == meant("mal de tête, avec fièvre, et toux")
        == ["头痛", "发热", "咳嗽"]
    )


@pytest.mark.parametrize(
    "text",
    [
        "无头痛",
        "不头痛",
        "未见头痛",
        "未诉头痛",
        "否认头痛",
        "否认有头痛",
        "没有头痛",
        "没头痛",
        "无明显头痛",
        "不伴头痛",
        "不伴有头痛",
        "并无头痛",
        "无頭痛",
        "且无头痛",
        "患者无头痛",
    ],
)
def test_a_denied_symptom_is_not_there(text: str) -> None:
    assert read(text) == [Phrase("头痛", denied=True)]


@pytest.mark.parametrize(
    "text", ["no headache", "No Headache", "without headache", "not headache", "with no headache", "and no headache"]
)
def test_a_symptom_denied_in_english_is_not_there(text: str) -> None:
    assert read(text) == [Phrase("headache", denied=True)]


@pytest.mark.parametrize("text", ["pas de fièvre", "sans fièvre", "Sans fièvre", "et pas de fièvre"])
def test_a_symptom_denied_in_french_is_not_there(text: str) -> None:
    assert read(text) == [Phrase("fièvre", denied=True)]


def test_french_denies_before_a_vowel_with_an_apostrophe() -> None:
    assert read("pas d'insomnie") == [Phrase("insomnie", denied=True)]


def test_what_is_denied_is_denied_to_the_end_of_its_clause() -> None:
    assert read("无头痛、发热、咳嗽，口渴") == [
        Phrase("头痛", denied=True),
        Phrase("发热", denied=True),
        Phrase("咳嗽", denied=True),
        Phrase("口渴"),
    ]
    assert denied("头痛、无发热、咳嗽。口渴") == ["发热", "咳嗽"]
    assert present("头痛、无发热、咳嗽。口渴") == ["头痛", "口渴"]


def test_a_denial_ends_with_its_text() -> None:
    assert present("无头痛", "发热") == ["发热"]


@pytest.mark.parametrize("term", ["无汗", "不寐", "不思饮食", "不恶寒", "不欲饮", "没精神", "未老先衰"])
def test_a_symptom_may_begin_with_a_denial(term: str) -> None:
    assert read(term) == read(f"患者{term}") == [Phrase(term)]


def test_a_symptom_that_begins_with_a_denial_is_there_after_a_denied_one() -> None:
    assert read("无头痛、不寐") == [Phrase("头痛", denied=True), Phrase("不寐")]
    assert denied("无头痛、无发热、咳嗽") == ["头痛", "发热", "咳嗽"]


def test_nothing_is_denied_where_nothing_known_follows() -> None:
    assert read("无名氏") == [Phrase("无名氏")]
    assert read("无") == [Phrase("无")]
    assert read("nothing") == [Phrase("nothing")]


def test_a_long_text_is_read_to_its_end_in_pieces() -> None:
    text = "甲乙丙丁戊己庚辛壬癸" * 37 + "子"
    pieces = read(text)
    assert {len(piece.text) for piece in pieces} == {MAX_PHRASE_CHARACTERS, 11}
    assert pieces[-1].text == "甲乙丙丁戊己庚辛壬癸子"
    assert present(f"{'头痛发热，' * 5_000}口渴")[-1] == "口渴"


def test_a_denial_holds_for_all_pieces_of_what_is_too_long() -> None:
    assert present("无头痛" + "及发热咳嗽" * 30) == []


@settings(deadline=None)
@given(st.lists(PIECES, max_size=5))
def test_no_text_raises_and_no_phrase_is_empty_or_too_long(texts: list[str]) -> None:
    found = phrases(texts, LEXICON)
    assert all(0 < len(phrase.text) <= MAX_PHRASE_CHARACTERS for phrase in found)
    assert len(set(found)) == len(found)
    assert found == phrases(texts, LEXICON)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["头痛", "发热", "咳嗽", "口渴", "盗汗"]), min_size=1, unique=True), st.data())
def test_what_is_denied_and_what_is_there_are_told_apart_in_any_record(terms: list[str], data: st.DataObject) -> None:
    without = {term for term in terms if data.draw(st.booleans())}
    record = "。".join(
        data.draw(st.sampled_from(["无", "否认", "未见"])) + one if one in without else one for one in terms
    )
    assert {one.text: one.denied for one in read(record)} == {term: term in without for term in terms}


@settings(deadline=None)
@given(st.text(max_size=300))
def test_features_of_any_phrase_are_numbers_in_order(text: str) -> None:
    features = Features(LEXICON, ["头", "头痛", "^头", "a"])
    numbers = features.of(simplified(text))
    assert numbers == sorted(set(numbers))
    assert all(0 < one < features.count for one in numbers)


HOSTILE = {
    "denials": "无",
    "other denials": "不",
    "denied nothing": "无、",
    "commas": "、",
    "full stops": "。",
    "points": ". ",
    "one character": "热",
    "one letter": "a",
    "leads": "有",
    "longer leads": "患者",
    "english leads": "and ",
    "english denials": "no ",
    "spaces in chinese": "中 ",
    "spaces": " ",
    "line ends": "\n",
    "one ligature": "\ufdfa",
    "emojis": "🙂",
    "terms": "头痛",
    "brackets": "（",
    "control characters": "\0",
}


@pytest.mark.parametrize("unit", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_text_is_read_in_a_moment(unit: str) -> None:
    text = (unit * 20_000)[:20_000]
    read("头痛")
    found = cpu_time.at_most(1, lambda: read(text))
    assert all(0 < len(phrase.text) <= MAX_PHRASE_CHARACTERS for phrase in found)


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["无", "、", "热", "无、", "a", "中 ", "头痛，", "\n"])
def test_twice_the_text_takes_no_more_than_about_twice_the_time(unit: str) -> None:
    def seconds(length: int) -> float:
        return cpu_time.least(partial(read, (unit * length)[:length]))

    assert seconds(160_000) < 8 * 3 * seconds(20_000) + 0.05


def test_grams_are_characters_and_pairs_with_the_ends_marked() -> None:
    assert grams("头痛") == {"头", "痛", "^头", "头痛", "痛$"}
    assert grams("fever") == grams("") == set()


def test_features_are_terms_and_then_the_pairs_that_training_met() -> None:
    features = Features(LEXICON, ["头痛", "^头", "寒"])
    row = LEXICON.exact("头痛")
    assert row is not None
    assert features.of("头痛") == [row + 1, len(tables.symptoms()) + 1, len(tables.symptoms()) + 2]
    assert features.of("qwerty") == features.of("") == []
    assert features.count == len(tables.symptoms()) + 4


def test_lists_are_filled_up_to_the_longest_and_have_a_column_even_when_empty() -> None:
    assert padded([[3, 1], [], [2]]).tolist() == [[3, 1], [0, 0], [2, 0]]
    assert padded([]).shape == (0, 1)
    assert padded([[]]).tolist() == [[0]]


def test_half_of_a_surrogate_pair_harms_no_text() -> None:
    assert meant("头痛，\ud800") == ["头痛"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n", "\t"])
def test_a_line_end_parts_two_symptoms_and_ends_a_denial(end: str) -> None:
    assert read(f"无头痛{end}发热") == [Phrase("头痛", denied=True), Phrase("发热")]


def test_a_full_width_point_parts_two_symptoms() -> None:
    assert present("头痛．发热") == ["头痛", "发热"]


@pytest.mark.parametrize(
    ("text", "term"), [("非常口渴", "口渴"), ("无名指麻木", "肢体麻木"), ("无论昼夜咳嗽", "咳嗽"), ("无时头痛", "头痛")]
)
def test_a_word_that_begins_like_a_denial_denies_nothing(text: str, term: str) -> None:
    assert meant(text) == [term]


@pytest.mark.parametrize("text", ["头痛无发热", "头痛不伴发热", "头痛但无发热", "头痛，尚无发热", "头痛，目前未见发热"])
def test_a_denial_may_stand_in_the_middle(text: str) -> None:
    assert meant(text) == ["头痛"]


def test_a_curly_apostrophe_is_an_apostrophe() -> None:
    names = [
        symptom.names.fr
        for symptom in tables.symptoms()
        if "'" in symptom.names.fr and len(symptom.names.fr) <= MAX_PHRASE_CHARACTERS
    ]
    assert names
    assert [name for name in names if LEXICON.exact(simplified(name.replace("'", "’"))) is None] == []


@pytest.mark.parametrize("language", ["en", "fr"])
def test_every_foreign_name_is_read_whole(language: str) -> None:
    names = [name for one in tables.symptoms() if (name := getattr(one.names, language))]
    assert [name for name in names if len(read(name)) != 1] == []


def test_every_writing_is_read_whole() -> None:
    written = [writing for one in tables.symptoms() for writing in (one.names.zh, *one.synonyms)]
    assert [one for one in written if read(one) != [Phrase(simplified(one))]] == []


@pytest.mark.parametrize(
    "text",
    [
        "无明显诱因出现头痛",
        "无诱因出现咳嗽",
        "无原因发热",
        "无规律头痛",
        "没吃饭头痛",
        "无发热、但有咳嗽",
        "无发热、有咳嗽",
    ],
)
def test_what_is_said_to_be_there_is_not_denied(text: str) -> None:
    present = [one for one in phrases([text], LEXICON) if not one.denied]
    assert any(LEXICON.inside(one.text) for one in present)


@pytest.mark.parametrize("text", ["无发热、恶寒", "无发热及咳嗽", "否认头痛、头晕"])
def test_what_follows_a_denial_is_denied_with_it(text: str) -> None:
    assert all(one.denied for one in phrases([text], LEXICON))
