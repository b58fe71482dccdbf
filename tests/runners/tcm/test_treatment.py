"""Treatment with the shipped weights: herbs, formulae, principles, and drugs that are forbidden together."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from runners.models.onnx_file import OnnxFile
from runners.models.tcm import materia, naming, tables
from runners.models.tcm.diagnosis import Diagnostician, Patient
from runners.models.tcm.features import symptom_lexicon
from runners.models.tcm.herbs import HerbRanker, Vocabulary, multi_hot
from runners.models.tcm.lexicon import Lexicon
from runners.models.tcm.script import simplified
from runners.models.tcm.tables import Names
from runners.models.tcm.treatment import (
    IMPOSSIBLE_DISEASES,
    MAX_FORMULAE,
    MIN_LIKENESS,
    Formula,
    Prescriber,
    Treated,
    TreatedPatient,
)
from tests.support.servers import ROOT

FOLDER = ROOT / "runners" / "weights"
WEIGHTS, DIAGNOSIS = FOLDER / "tcm-treatment-1.0.0.onnx", FOLDER / "tcm-diagnosis-1.0.0.onnx"
UNKNOWN = "qwerty"

COLD = TreatedPatient(("恶寒", "无汗", "头痛", "身痛"))
SLEEPLESS = TreatedPatient(("不寐、心悸、自汗，无头痛",))
KIDNEY = TreatedPatient(syndromes=(("肾阳虚", 0.9),))
BOTH = TreatedPatient(("咳嗽",), (("肾阳虚", 0.9), ("肺气虚", 0.2)), "male")
PATIENTS = [
    COLD,
    TreatedPatient(),
    SLEEPLESS,
    KIDNEY,
    TreatedPatient((UNKNOWN,)),
    BOTH,
    TreatedPatient(("无头痛",)),
    TreatedPatient(("cough", "headache")),
]

LEXICON = Lexicon(
    [(Names("失眠", "insomnia", ""), ("不寐", "少寐")), (Names("头痛", "", ""), ("头疼",)), (Names("腹泻", "", ""), ())]
)


@pytest.fixture(scope="session")
def prescriber() -> Prescriber:
    return Prescriber(WEIGHTS, DIAGNOSIS)


@pytest.fixture(scope="session")
def ranker() -> HerbRanker:
    return HerbRanker(OnnxFile(WEIGHTS), symptom_lexicon())


def of(prescriber: Prescriber, *texts: str, syndromes: tuple[tuple[str, float], ...] = ()) -> Treated:
    (said,) = prescriber([TreatedPatient(texts, syndromes)])
    return said


def assert_alike(one: Treated, other: Treated) -> None:
    assert (one.used, one.principle, one.by) == (other.used, other.principle, other.by)
    assert dict(one.herbs) == pytest.approx(dict(other.herbs), abs=1e-5)
    assert [formula for formula, _ in one.formulae] == [formula for formula, _ in other.formulae]
    assert [share for _, share in one.formulae] == pytest.approx([share for _, share in other.formulae], abs=1e-4)


def test_the_same_patient_gets_the_same_treatment_alone_and_in_a_batch(prescriber: Prescriber) -> None:
    together = prescriber(PATIENTS)
    assert len(together) == len(PATIENTS)
    for patient, said in zip(PATIENTS, together, strict=True):
        assert_alike(said, prescriber([patient])[0])
    for said, backwards in zip(together, reversed(prescriber(PATIENTS[::-1])), strict=True):
        assert_alike(said, backwards)
    assert together[0].herbs != together[2].herbs


def test_nobody_gets_no_treatment(prescriber: Prescriber) -> None:
    assert prescriber([]) == []


def test_herbs_are_of_the_table_sorted_and_each_there_once(prescriber: Prescriber) -> None:
    for said in prescriber([COLD, SLEEPLESS, KIDNEY, BOTH]):
        scores = [score for _, score in said.herbs]
        assert scores == sorted(scores, reverse=True)
        assert all(0 < score <= 1 for score in scores)
        names = [name for name, _ in said.herbs]
        assert len(set(names)) == len(names)
        assert set(names) <= {one.names.zh for one in tables.herbs()}


def test_herbs_follow_from_symptoms_where_one_is_known(prescriber: Prescriber) -> None:
    for said in prescriber([COLD, SLEEPLESS, BOTH]):
        assert said.by == "symptoms"
        assert said.herbs


def test_an_unknown_symptom_is_named_and_nothing_else_is_lost(prescriber: Prescriber) -> None:
    said = of(prescriber, "恶寒", UNKNOWN, "无汗")
    without = of(prescriber, "恶寒", "无汗")
    assert [(one.phrase.text, one.symptoms) for one in said.used] == [
        ("恶寒", ("恶寒",)),
        (UNKNOWN, ()),
        ("无汗", ("无汗",)),
    ]
    assert (said.herbs, said.formulae, said.principle) == (without.herbs, without.formulae, without.principle)


@pytest.mark.parametrize("texts", [(), ("",), (UNKNOWN,), ("无头痛、咳嗽",), (UNKNOWN, "asdf")])
def test_where_nothing_is_known_there_are_no_herbs(prescriber: Prescriber, texts: tuple[str, ...]) -> None:
    said = of(prescriber, *texts)
    assert (said.herbs, said.formulae, said.principle, said.by) == ((), (), "", "")


def test_a_denied_symptom_changes_no_herb(prescriber: Prescriber) -> None:
    said = of(prescriber, "咳嗽，无头痛、恶寒")
    assert [one.phrase.denied for one in said.used] == [False, True, True]
    assert said.herbs == of(prescriber, "咳嗽").herbs
    assert said.herbs != of(prescriber, "咳嗽，头痛、恶寒").herbs


def test_symptoms_change_the_herbs(prescriber: Prescriber) -> None:
    cold, restless = (dict(said.herbs) for said in prescriber([COLD, TreatedPatient(("心悸", "不寐", "健忘"))]))
    assert cold["麻黄"] > restless["麻黄"]
    assert restless["酸枣仁"] > cold["酸枣仁"]


def test_how_symptoms_are_written_changes_nothing(prescriber: Prescriber) -> None:
    assert of(prescriber, "頭痛，惡寒、咳嗽").herbs == of(prescriber, "头痛", "恶寒", "咳嗽").herbs
    assert of(prescriber, "头疼").herbs == of(prescriber, "headache").herbs == of(prescriber, "头痛").herbs
    assert of(prescriber, "头痛", "头疼").herbs == of(prescriber, "头痛").herbs


def test_a_diagnosis_alone_is_treated_by_formulae(prescriber: Prescriber) -> None:
    said = of(prescriber, syndromes=(("肾阳虚", 0.9),))
    assert said.by == "formulae"
    assert said.used == ()
    known = naming.syndrome_of("肾阳虚")
    assert known
    assert said.principle == known.principle
    assert 0 < len(said.formulae) <= MAX_FORMULAE
    assert said.formulae[0][0].elements == known.elements
    assert said.formulae[0][1] == pytest.approx(1)
    assert {"附子", "肉桂"} & {name for name, _ in said.herbs[:5]}
    written = {materia.canonical(name) for formula, _ in said.formulae for name in formula.herbs}
    assert {name for name, _ in said.herbs} <= written


@pytest.mark.parametrize("syndrome", ["肝气郁结", "心脾两虚", "风寒犯肺", "大肠湿热", "脾胃虚寒"])
def test_a_common_diagnosis_is_treated_by_the_catalogues_principle(prescriber: Prescriber, syndrome: str) -> None:
    known = naming.syndrome_of(syndrome)
    assert known
    for name in (syndrome, f"{syndrome}證", *known.synonyms):
        said = of(prescriber, syndromes=((name, 1.0),))
        assert said.principle == known.principle
        assert said.herbs
        assert said.formulae


def test_how_likely_the_only_diagnosis_is_changes_nothing(prescriber: Prescriber) -> None:
    sure, unsure = of(prescriber, syndromes=(("肾阳虚", 1.0),)), of(prescriber, syndromes=(("肾阳虚", 0.1),))
    assert_alike(sure, unsure)


def test_the_likeliest_of_several_diagnoses_is_treated_first(prescriber: Prescriber) -> None:
    first = of(prescriber, syndromes=(("肾阳虚", 0.8), ("肝气郁结", 0.1)))
    second = of(prescriber, syndromes=(("肾阳虚", 0.1), ("肝气郁结", 0.8)))
    assert first.principle == of(prescriber, syndromes=(("肾阳虚", 1.0),)).principle
    assert second.principle == of(prescriber, syndromes=(("肝气郁结", 1.0),)).principle
    assert "肾" in first.formulae[0][0].elements
    assert "肝" in second.formulae[0][0].elements


def test_given_diagnoses_stand_in_for_the_ones_of_the_symptoms(prescriber: Prescriber) -> None:
    said = of(prescriber, "咳嗽", syndromes=(("肾阳虚", 0.9),))
    assert (said.formulae, said.principle) == (
        of(prescriber, syndromes=(("肾阳虚", 0.9),)).formulae,
        of(prescriber, syndromes=(("肾阳虚", 0.9),)).principle,
    )
    assert said.herbs == of(prescriber, "咳嗽").herbs
    assert said.by == "symptoms"


def test_a_diagnosis_that_nobody_knows_has_no_treatment(prescriber: Prescriber) -> None:
    said = of(prescriber, syndromes=(("甲乙丙", 1.0),))
    assert (said.herbs, said.formulae, said.principle, said.by) == ((), (), "", "")
    assert of(prescriber, syndromes=(("肾阳虚", 0.0),)).herbs == ()


def test_a_diagnosis_outside_the_catalogue_is_treated_as_its_likest_formula(prescriber: Prescriber) -> None:
    name = "肾之阳虚"
    assert naming.syndrome_of(name) is None
    said = of(prescriber, syndromes=((name, 1.0),))
    assert said.formulae[0][0].elements == {"肾", "阳虚"}
    assert said.principle == said.formulae[0][0].principle


def test_without_a_diagnosis_the_one_of_the_symptoms_is_treated(prescriber: Prescriber) -> None:
    texts = ("畏寒", "肢冷", "腰膝酸软", "夜尿多", "舌淡胖", "脉沉迟")
    (diagnosis,) = Diagnostician(DIAGNOSIS)([Patient(texts)])
    entry = diagnosis.syndromes[0].entry
    assert entry
    assert of(prescriber, *texts).principle == entry.principle


def test_formulae_are_few_and_have_enough_in_common(prescriber: Prescriber) -> None:
    for said in prescriber(PATIENTS):
        shares = [share for _, share in said.formulae]
        assert len(shares) <= MAX_FORMULAE
        assert all(MIN_LIKENESS <= share <= 1 + 1e-9 for share in shares)
        assert shares == sorted(shares, reverse=True)


def test_a_formula_is_made_of_facts() -> None:
    facts = {"name": "甲", "disease": "乙", "syndrome": "丙", "principle": "丁", "elements": ["心"], "herbs": ["人参"]}
    assert Formula.from_dict(facts) == Formula("甲", "乙", "丙", frozenset({"心"}), "丁", ("人参",))


def test_the_herbs_of_formulae_are_shares_of_their_weights(ranker: HerbRanker) -> None:
    shares = ranker.of_formulae({("人参", "甘草"): 3.0, ("甘草", "甲乙"): 1.0})
    said = {name: share for name, share in zip(ranker.herbs, shares.tolist(), strict=True) if share}
    assert said == {"人参": 0.75, "甘草": 1.0}
    assert not ranker.of_formulae({}).any()


def test_no_drug_of_a_formula_is_lost_by_its_writing(ranker: HerbRanker, prescriber: Prescriber) -> None:
    written = {name for formula in prescriber._formulae for name in formula.herbs}
    known = {name for name in written if materia.canonical(name) in ranker.herbs}
    assert {name for name in known if not ranker.of_formulae({(name,): 1.0}).any()} == set()


def test_of_a_patient_without_symptoms_the_ranker_says_zeros(ranker: HerbRanker) -> None:
    scores = ranker([[], [0, 1], []])
    assert scores.shape == (3, len(ranker.herbs))
    assert not scores[0].any()
    assert not scores[2].any()
    assert scores[1].any()


def test_every_symptom_of_the_vocabulary_is_found_and_has_herbs(ranker: HerbRanker) -> None:
    vocabulary = ranker.vocabulary
    assert len(vocabulary) == len(vocabulary.names) == len(set(vocabulary.names))
    assert [vocabulary.of(simplified(name)) for name in vocabulary.names] == [[row] for row in range(len(vocabulary))]
    scores = ranker([[row] for row in range(len(vocabulary))])
    assert np.isfinite(scores).all()
    assert (scores.max(axis=1) > 0).all()


def test_a_set_of_symptoms_has_no_order(ranker: HerbRanker) -> None:
    assert (ranker([[3, 1, 2, 3]]) == ranker([{1, 2, 3}])).all()


def test_multi_hot_rows_have_ones_where_the_numbers_are() -> None:
    assert multi_hot([[0, 2], [], {1}, (2, 2)], 3).tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert multi_hot([], 3).shape == (0, 3)
    assert multi_hot([[1]], 2).dtype == np.float32
    with pytest.raises(IndexError):
        multi_hot([[3]], 3)


def test_a_vocabulary_finds_a_synonyms_symptom() -> None:
    vocabulary = Vocabulary(["头痛", "不寐"], [5, 3], LEXICON)
    assert vocabulary.of("不寐") == vocabulary.of("失眠") == vocabulary.of("少寐") == vocabulary.of("insomnia") == [1]
    assert vocabulary.of("头疼不寐") == [0, 1]
    assert vocabulary.of("头疼、头痛") == [0]
    assert vocabulary.of("腹泻") == vocabulary.of("甲乙") == vocabulary.of("") == []


def test_of_two_symptoms_that_are_one_the_more_frequent_is_meant_unless_it_is_named() -> None:
    for frequency, meant in (([1, 9], 1), ([9, 1], 0), ([4, 4], 0)):
        vocabulary = Vocabulary(["不寐", "少寐"], frequency, LEXICON)
        assert vocabulary.of("失眠") == [meant]
        assert vocabulary.of("不寐") == [0]
        assert vocabulary.of("少寐") == [1]


def test_a_symptom_that_the_table_lacks_is_found_by_its_own_name() -> None:
    vocabulary = Vocabulary(["阴疮", "頭痛"], [1, 1], LEXICON)
    assert vocabulary.of("阴疮") == [0]
    assert vocabulary.of("头疼") == [1]


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("甘草", "甘草"),
        ("生甘草", "甘草"),
        ("炙甘草", "炙甘草"),
        ("蜜甘草", "炙甘草"),
        ("茯神", "茯苓"),
        ("姜半夏", "半夏"),
        ("製半夏", "半夏"),
        ("炮附子", "附子"),
        ("附片", "附子"),
        ("當歸", "当归"),
        (" 甘 草 ", "甘草"),
        ("元胡", "延胡索"),
        ("栝楼", "瓜蒌"),
    ],
)
def test_a_drug_is_known_by_its_other_names(written: str, name: str) -> None:
    found = materia.herb_of(written)
    assert found
    assert found.names.zh == materia.canonical(written) == name


def test_an_unknown_drug_keeps_its_name() -> None:
    assert materia.herb_of("仙丹") is None
    assert materia.canonical("仙丹") == "仙丹"
    assert materia.canonical("仙 藥") == "仙药"
    assert materia.herb_of("") is None


def test_every_writing_of_a_drug_finds_it() -> None:
    for herb in tables.herbs():
        assert {materia.herb_of(one) for one in (herb.names.zh, *herb.synonyms)} == {herb}


@pytest.mark.parametrize(
    ("first", "second", "rule"),
    [
        ("甘草", "甘遂", "十八反"),
        ("炙甘草", "甘遂", "十八反"),
        ("生甘草", "醋甘遂", "十八反"),
        ("川乌", "半夏", "十八反"),
        ("制川乌", "姜半夏", "十八反"),
        ("附子", "川贝母", "十八反"),
        ("藜蘆", "人參", "十八反"),
        ("藜芦", "细辛", "十八反"),
        ("海藻", "甘草", "十八反"),
        ("丁香", "郁金", "十九畏"),
        ("官桂", "赤石脂", "十九畏"),
        ("人参", "五灵脂", "十九畏"),
        ("巴豆", "牵牛子", "十九畏"),
    ],
)
def test_a_forbidden_pair_is_found_in_either_order(first: str, second: str, rule: str) -> None:
    (pair,) = materia.incompatible([first, "大枣", second])
    assert materia.incompatible([second, "大枣", first]) == [pair]
    assert {pair.first, pair.second} == {materia.canonical(first), materia.canonical(second)}
    assert pair.rule == pair.translations.zh == rule


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["甘草"],
        ["甘草", "生甘草", "炙甘草"],
        ["人参", "白术", "茯苓", "甘草"],
        ["熟地黄", "当归", "白芍", "川芎"],
        ["麻黄", "桂枝", "苦杏仁", "炙甘草"],
        ["半夏", "陈皮", "茯苓", "生姜", "大枣"],
        ["仙丹", "半夏"],
    ],
)
def test_harmless_drugs_are_not_forbidden(names: list[str]) -> None:
    assert materia.incompatible(names) == []


def test_each_forbidden_pair_is_said_once_and_all_are() -> None:
    assert len(materia.incompatible(["甘草", "甘遂", "甘草", "生甘草", "海藻"])) == 2
    assert materia.incompatible([name for pair in tables.pairs() for name in (pair.first, pair.second)]) == [
        *tables.pairs()
    ]


@pytest.mark.parametrize("seeds", ["黑丑", "白丑", "二丑", "黑牵牛", "牵牛"])
def test_morning_glory_seeds_are_forbidden_by_any_name(seeds: str) -> None:
    assert len(materia.incompatible(["巴豆", seeds])) == 1


def test_the_weights_explain_themselves(prescriber: Prescriber, ranker: HerbRanker) -> None:
    facts = prescriber.facts
    assert {
        "licence",
        "network",
        "config",
        "data",
        "figures",
        "symptoms",
        "herbs",
        "frequency",
        "formulae",
    } <= facts.keys()
    assert len(facts["symptoms"]) == len(facts["frequency"])
    assert len(set(ranker.herbs)) == len(ranker.herbs)
    assert set(ranker.herbs) <= {one.names.zh for one in tables.herbs()}
    elements = {one.names.zh for one in tables.elements()}
    for one in map(Formula.from_dict, facts["formulae"]):
        assert one.elements <= elements
        assert all((one.name, one.disease, one.syndrome, one.elements, one.principle, one.herbs))


def test_a_symptom_that_herbs_were_not_learned_for_stands_for_one_that_is_near(ranker: HerbRanker) -> None:
    named = [ranker.vocabulary.names[number] for number in ranker.vocabulary.of("发热")]
    assert named == ["壮热"]


def test_every_near_symptom_is_one_that_herbs_were_learned_for(ranker: HerbRanker) -> None:
    for term, near in tables.near().items():
        assert symptom_lexicon().exact(term) is not None, term
        assert near in ranker.vocabulary.names, near


def test_no_man_is_offered_a_formula_for_womens_diseases(prescriber: Prescriber) -> None:
    kidney = TreatedPatient(syndromes=(("肾气虚", 1.0), ("肾虚", 0.5)))
    (anyone,) = prescriber([kidney])
    (man,) = prescriber([TreatedPatient(syndromes=kidney.syndromes, gender="male")])
    assert any(IMPOSSIBLE_DISEASES["male"].search(formula.disease) for formula, _ in anyone.formulae)
    assert not any(IMPOSSIBLE_DISEASES["male"].search(formula.disease) for formula, _ in man.formulae)


def test_the_catalogues_principle_stands_where_no_formula_does(prescriber: Prescriber) -> None:
    said = of(prescriber, syndromes=(("胸阳不振", 1.0),))
    assert said.principle


@pytest.mark.torch
def test_the_shipped_file_is_what_the_program_makes(prescriber: Prescriber) -> None:
    from training.tcm.herb_networks import Blend, Learning

    assert prescriber.facts["config"] == {**asdict(Learning()), **asdict(Blend())}


def test_every_drug_of_every_formula_is_known(prescriber: Prescriber) -> None:
    drugs = {herb for one in prescriber.facts["formulae"] for herb in one["herbs"]}
    assert [drug for drug in sorted(drugs) if materia.herb_of(drug) is None] == []
