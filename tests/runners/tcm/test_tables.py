"""The knowledge tables of Chinese medicine: every row well-formed, every writing of one thing alone."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

import pytest

from runners.models.tcm import materia, tables
from runners.models.tcm.script import is_chinese, simplified

COLUMNS = {
    "elements": "name kind en fr source",
    "symptoms": "term synonyms elements en fr source",
    "syndromes": "name synonyms elements en fr principle source",
    "wording": "pattern elements source",
    "near": "term near source",
    "herbs": "name synonyms pinyin latin en fr caution source",
    "incompatible": "first second rule en fr source",
}
REQUIRED = {
    "elements": "name kind en fr source",
    "symptoms": "term elements source",
    "syndromes": "name elements en fr principle source",
    "wording": "pattern elements source",
    "near": "term near source",
    "herbs": "name pinyin source",
    "incompatible": "first second rule en fr source",
}
SOURCES = {
    "elements": {"ZDX", "ZSBZ", "FK", "WK", "WGK"},
    "symptoms": {"ZDX", "NK", "FK", "WK", "EK", "WGK"},
    "syndromes": {"GB16751.2", "ZDX", "ZSBZ", "NK", "FK", "WK", "EK", "WGK"},
    "wording": {"GB16751.2"},
    "near": {"ZDX"},
    "herbs": {"CHP", "ZYX"},
    "incompatible": {"CHP", "ZYX"},
}
WRITTEN = {
    "symptoms": [(one.names, one.synonyms) for one in tables.symptoms()],
    "syndromes": [(one.names, one.synonyms) for one in tables.syndromes()],
    "herbs": [(one.names, one.synonyms) for one in tables.herbs()],
}
ELEMENTS = {one.names.zh for one in tables.elements()}
LOCATIONS = {one.names.zh for one in tables.elements() if one.kind == "location"}


def cells(name: str) -> list[list[str]]:
    """A table as it is written, its heading first."""
    text = (tables.FOLDER / f"{name}.tsv").read_text("utf-8")
    assert text.endswith("\n")
    return [line.split("\t") for line in text.removesuffix("\n").split("\n")]


def rows(name: str) -> list[dict[str, str]]:
    heading, *others = cells(name)
    return [dict(zip(heading, one, strict=True)) for one in others]


def test_there_is_no_table_beside_those_that_are_checked_here() -> None:
    assert {path.name for path in tables.FOLDER.iterdir()} == {f"{name}.tsv" for name in (*COLUMNS, "sources")}


def test_every_source_is_written_out() -> None:
    written = dict(line.split("\t") for line in (tables.FOLDER / "sources.tsv").read_text("utf-8").splitlines()[1:])
    assert set().union(*SOURCES.values()) <= written.keys()


@pytest.mark.parametrize("name", COLUMNS)
def test_every_row_has_the_columns_of_its_heading(name: str) -> None:
    heading, *others = cells(name)
    assert heading == COLUMNS[name].split()
    assert others
    assert [one for one in others if len(one) != len(heading)] == []


@pytest.mark.parametrize("name", COLUMNS)
def test_no_cell_has_spaces_at_its_ends_or_twice_in_its_middle_or_control_characters(name: str) -> None:
    found = [
        cell for row in cells(name) for cell in row if cell != " ".join(cell.split()) or not (cell + "x").isprintable()
    ]
    assert found == []


@pytest.mark.parametrize("name", COLUMNS)
def test_no_cell_is_empty_that_must_not_be(name: str) -> None:
    assert [row for row in rows(name) if not all(row[column] for column in REQUIRED[name].split())] == []


@pytest.mark.parametrize("name", SOURCES)
def test_every_row_names_a_known_source(name: str) -> None:
    assert {row["source"] for row in rows(name)} == SOURCES[name]


@pytest.mark.parametrize("name", COLUMNS)
def test_names_are_chinese_and_in_simplified_characters(name: str) -> None:
    columns = COLUMNS[name].split()[: 2 if name == "incompatible" else 1]
    names = [row[column] for row in rows(name) for column in columns]
    assert [one for one in names if not is_chinese(one)] == []
    for one in names:
        other = unicodedata.normalize("NFKC", one), simplified(one)
        differ = [new for old, new in zip(*other, strict=True) if old != new]
        assert all(new > "\uffff" for new in differ), one  # 瞤 has a simplified character that hardly anyone has


@pytest.mark.parametrize("name", WRITTEN)
def test_no_writing_stands_in_two_rows_or_twice_in_one(name: str) -> None:
    count = Counter(simplified(writing) for names, others in WRITTEN[name] for writing in (names.zh, *others))
    assert [writing for writing, times in count.items() if times > 1] == []


@pytest.mark.parametrize("name", WRITTEN)
def test_synonyms_are_parted_by_one_mark_alone(name: str) -> None:
    assert [row["synonyms"] for row in rows(name) if not all(row["synonyms"].split("、")) and row["synonyms"]] == []
    assert [other for _, others in WRITTEN[name] for other in others if re.search(r"[;；,/|]", other)] == []


@pytest.mark.parametrize(("name", "column"), [("elements", "name"), ("wording", "pattern")])
def test_no_row_is_there_twice(name: str, column: str) -> None:
    assert [one for one, times in Counter(row[column] for row in rows(name)).items() if times > 1] == []


@pytest.mark.parametrize("name", ["elements", "syndromes"])
@pytest.mark.parametrize("language", ["en", "fr"])
def test_a_name_in_another_language_means_one_thing(name: str, language: str) -> None:
    assert [one for one, times in Counter(row[language].lower() for row in rows(name)).items() if times > 1] == []


@pytest.mark.parametrize("name", ["elements", "symptoms", "syndromes", "herbs", "incompatible"])
def test_english_and_french_names_have_no_chinese_in_them(name: str) -> None:
    assert [row for row in rows(name) if is_chinese(row["en"] + row["fr"])] == []


def test_elements_are_locations_and_natures() -> None:
    assert {row["kind"] for row in rows("elements")} == {"location", "nature"}
    assert {"心", "肝", "脾", "肺", "肾", "胞宫", "精室"} <= LOCATIONS
    assert {"气虚", "血虚", "阴虚", "阳虚", "寒", "热"} <= ELEMENTS - LOCATIONS


@pytest.mark.parametrize("name", ["symptoms", "syndromes", "wording"])
def test_only_elements_of_the_table_are_named_and_each_once(name: str) -> None:
    for row in rows(name):
        named = [one.rsplit(":", 1)[0] for one in row["elements"].split(" ")]
        assert set(named) <= ELEMENTS, row
        assert len(set(named)) == len(named), row


def test_weights_are_whole_numbers_from_minus_three_to_three_and_never_zero() -> None:
    for row in rows("symptoms"):
        for one in row["elements"].split(" "):
            assert re.fullmatch(r"[^:\s]+:-?[123]", one), row


def test_a_symptom_that_speaks_for_nothing_says_that_all_is_well() -> None:
    healthy = [one.names.zh for one in tables.symptoms() if max(one.weights.values()) < 1]
    assert len(healthy) < 20
    assert [one for one in healthy if not re.search(r"[可无不未平正调常佳好]|清", one)] == []


def test_every_element_is_spoken_for_by_a_symptom_and_is_in_a_syndrome() -> None:
    assert {name for one in tables.symptoms() for name, weight in one.weights.items() if weight > 0} == ELEMENTS
    assert frozenset[str]().union(*(one.elements for one in tables.syndromes())) == ELEMENTS


def test_well_known_symptoms_weigh_what_every_textbook_says() -> None:
    weights = {one.names.zh: one.weights for one in tables.symptoms()}
    for symptom, element in [("畏寒", "阳虚"), ("盗汗", "阴虚"), ("腰酸", "肾"), ("咳嗽", "肺"), ("自汗", "气虚")]:
        assert weights[symptom][element] == max(weights[symptom].values())
    assert weights["畏寒"]["热"] < 0


def test_principles_are_chinese_and_say_something() -> None:
    for one in tables.syndromes():
        assert is_chinese(one.principle)
        assert len(one.principle) >= 2
        assert not re.search(r"[;；、]$|^[，；]|证$", one.principle), one


def test_cautions_are_of_four_words_and_stand_once() -> None:
    for herb in tables.herbs():
        assert set(herb.cautions) <= {"toxic", "pregnancy", "protected", "banned"}
        assert len(set(herb.cautions)) == len(herb.cautions)


@pytest.mark.parametrize(
    ("herb", "caution"),
    [
        ("附子", "toxic"),
        ("附子", "pregnancy"),
        ("甘遂", "toxic"),
        ("甘遂", "pregnancy"),
        ("川乌", "toxic"),
        ("巴豆", "pregnancy"),
        ("麝香", "pregnancy"),
        ("朱砂", "toxic"),
        ("犀角", "banned"),
        ("虎骨", "banned"),
    ],
)
def test_dangerous_drugs_are_marked(herb: str, caution: str) -> None:
    found = materia.herb_of(herb)
    assert found
    assert caution in found.cautions


@pytest.mark.parametrize("herb", ["茯苓", "大枣", "山药", "陈皮", "麦冬"])
def test_harmless_drugs_are_not_marked(herb: str) -> None:
    found = materia.herb_of(herb)
    assert found
    assert found.cautions == ()


def test_drugs_have_their_pinyin_and_those_of_the_pharmacopoeia_their_latin_names() -> None:
    for row in rows("herbs"):
        assert re.fullmatch(r"[a-zāáǎàēéěèīíǐìōóǒòūúǔùüǖǘǚǜ' ]+", row["pinyin"]), row
        assert re.fullmatch(r"[A-Z][A-Za-zö ()\-.,]+|", row["latin"]), row


def test_pairs_are_of_two_rules_and_of_two_drugs_and_stand_once() -> None:
    assert {one.rule for one in tables.pairs()} == {"十八反", "十九畏"}
    both = [frozenset((one.first, one.second)) for one in tables.pairs()]
    assert {len(one) for one in both} == {2}
    assert len(set(both)) == len(both)


def test_the_drugs_of_a_pair_are_named_as_the_materia_names_them() -> None:
    assert [one for one in tables.pairs() for name in (one.first, one.second) if materia.canonical(name) != name] == []


@pytest.mark.parametrize(
    ("rule", "english", "french"),
    [("十八反", "eighteen incompatibles", "dix-huit incompatibilités"), ("十九畏", "nineteen", "dix-neuf")],
)
def test_what_is_said_of_a_pair_names_its_rule(rule: str, english: str, french: str) -> None:
    said = [pair.translations for pair in tables.pairs() if pair.rule == rule]
    assert said
    assert all(one.zh == rule and english in one.en and french in one.fr for one in said)


def test_the_verses_of_oppositions_and_fears_are_complete() -> None:
    """本草明言十八反，半蒌贝蔹及攻乌，藻戟遂芫俱战草，诸参辛芍叛藜芦; and the nineteen fears."""
    verses = ["乌头 半夏 瓜蒌 贝母 白蔹 白及", "甘草 海藻 大戟 甘遂 芫花", "藜芦 人参 沙参 丹参 玄参 苦参 细辛 芍药"]
    fears = "硫黄 芒硝、水银 砒石、狼毒 密陀僧、巴豆 牵牛子、丁香 郁金、芒硝 三棱、肉桂 赤石脂、人参 五灵脂"
    asked = {frozenset((verse.split()[0], other)): "十八反" for verse in verses for other in verse.split()[1:]}
    asked |= {frozenset(pair.split()): "十九畏" for pair in fears.split("、")}
    known = {frozenset((one.first, one.second)): one.rule for one in tables.pairs()}
    assert {pair: known.get(pair) for pair in asked} == asked


def test_a_thing_without_a_usual_name_has_no_field_for_it() -> None:
    assert tables.Names("无脓", "", "sans pus").as_dict() == {"name": "无脓", "name_fr": "sans pus"}
    assert tables.Names("心", "heart", "cœur").as_dict() == {"name": "心", "name_en": "heart", "name_fr": "cœur"}


def test_no_writing_of_a_symptom_is_longer_than_a_phrase() -> None:
    assert [one for names, others in WRITTEN["symptoms"] for one in (names.zh, *others) if len(one) > 40] == []
