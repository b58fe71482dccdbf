"""The training of the diagnosis model on a synthetic textbook, and its measures against values counted by hand."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from runners.models.onnx_file import OnnxFile
from runners.models.tcm import ranking, tables
from runners.models.tcm.diagnosis import Diagnostician, Patient
from runners.models.tcm.differentiation import Evidence, shares
from runners.models.tcm.features import PADDING, Features, padded, symptom_lexicon
from runners.models.tcm.lexicon import Lexicon
from training import calibration, onnx_export
from training.tcm import diagnosis, differentiation, syndrome_measures, syndrome_ranking
from training.tcm.differentiation import Differentiation, FitConfig, Sample
from training.tcm.syndrome_data import Case, Entry, cases, entries
from training.tcm.syndrome_measures import Folds, Record, micro
from training.tcm.syndrome_ranking import Choice

ELEMENTS = [element.names.zh for element in tables.elements()]
TERMS = [symptom.names.zh for symptom in tables.symptoms()]
BOOK = [
    ("风寒犯肺", "肺", "外风、寒", "咳嗽，痰白，恶寒，苔白。"),
    ("风寒犯肺", "肺", "风寒", "咳嗽，恶寒，胸闷，苔白。"),
    ("胃热炽盛", "胃", "火（热）", "口渴，便秘，舌红，苔黄，脉数。"),
    ("胃热炽盛", "胃", "热", "口渴，发热，舌红，苔黄。"),
    ("肾阳虚", "肾", "阳虚", "畏寒，四肢不温，腰膝酸软，舌淡。"),
    ("肾阳虚", "肾", "阳虚", "畏寒，腰膝酸软，水肿，脉弱。"),
    ("肾阴虚", "肾", "阴虚", "盗汗，五心烦热，腰膝酸软，舌红。"),
    ("肾阴虚", "肾", "阴虚", "盗汗，五心烦热，头晕，脉细。"),
    ("心血虚", "心", "血虚", "心悸，失眠，头晕，舌淡，脉细。"),
    ("心血虚", "心", "血虚", "心悸，失眠，舌淡。"),
    ("心气虚", "心", "气虚", "心悸，气短，自汗，乏力，脉弱。"),
    ("心气虚", "心", "气虚", "头晕，咳嗽，恶寒，苔白。"),  # an entry that others contradict, and so the last
    ("脾气虚", "脾", "气虚", "便溏，腹胀，乏力，舌淡。"),
    ("脾气虚", "脾", "气虚", "口渴，发热，舌红，苔黄。"),
]
NAMES = list(dict.fromkeys(name for name, *_ in BOOK))
OPTIONS = [*NAMES, "肝火上炎", "湿热下注", "痰湿阻肺"]

one_name_for_one_size = pytest.mark.filterwarnings(
    # two inputs have the dimension "phrases" in common, which is what is meant
    r"ignore:# The axis name. phrases will not be used:UserWarning:torch\.onnx\._internal\..*"
)


def row(name: str, places: str, natures: str, symptoms: str) -> dict[str, Any]:
    treatment = {"治法": f"治{name}", "方剂": f"{name}方", "药物组成": "甘草、当归；人参"}
    heads = {"symptoms": symptoms, "疾病名称": "某病", "病位证素": places, "病性证素": natures, "证名": name}
    return {**heads, "treatment": treatment}


def case(right: str, text: str, symptoms: str) -> dict[str, str]:
    options = ";".join(f"{letter}:{name}" for letter, name in zip("ABCDEFGHIJ", OPTIONS, strict=True))
    record = {"Clinical Data": text, "Clinical Information": symptoms}
    return {**record, "TCM Syndrome": right, "Options of TCM Syndrome": options}


def write(folder: Path, book: Sequence[tuple[str, str, str, str]], records: Sequence[dict[str, str]] = ()) -> Path:
    lines = [json.dumps(row(*entry), ensure_ascii=False) for entry in book]
    (folder / "textbook.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    (folder / "cases_train.json").write_text(json.dumps(records, ensure_ascii=False), "utf-8")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    records = [
        case(name, f"患者{30 + number}岁，{symptoms}纳可。", symptoms.strip("。").replace("，", ";"))
        for number, (name, _, _, symptoms) in enumerate(BOOK[1:13])
    ]
    return write(tmp_path_factory.mktemp("syndromes"), BOOK, records)


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    return symptom_lexicon()


def test_labels_in_two_spellings_are_the_same_elements(tmp_path: Path) -> None:
    spellings = [("肺卫", "外风、寒"), ("肺、表", "风寒"), ("肺,卫表", "风；寒"), ("-", "-")]
    read = entries(write(tmp_path, [("风寒", *labels, "咳嗽。") for labels in spellings]))
    assert [entry.elements for entry in read] == [{"肺", "表", "风", "寒"}] * 3 + [set()]
    assert read[0] == Entry(
        "咳嗽。", "某病", "风寒", frozenset("肺表风寒"), "治风寒", "风寒方", ("甘草", "当归", "人参")
    )


def test_a_label_that_is_no_element_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="白云"):
        entries(write(tmp_path, [("风寒", "肺", "风、白云", "咳嗽。")]))


def test_missing_records_are_named_with_where_to_get_them(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FileNotFoundError, match=r"(?s)no .*textbook\.jsonl.*github\.com/Wayyuanyuan/MTCMB"):
        entries(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"(?s)no .*cases_train\.json.*github\.com/zhuyan166/TCMEval"):
        cases(tmp_path)
    (tmp_path / "textbook.jsonl").write_bytes((data / "textbook.jsonl").read_bytes())
    with pytest.raises((FileNotFoundError, SystemExit), match="zhuyan166/TCMEval"):
        program(monkeypatch, "--data", str(tmp_path), "--out", str(tmp_path / "out"))


def test_a_case_is_read_with_its_options_and_all_that_is_right(tmp_path: Path) -> None:
    write(tmp_path, BOOK[:1], [case("心血虚;肾阳虚", "患者心悸。", "心悸;畏寒")])
    (record,) = cases(tmp_path)
    assert record.options == tuple(OPTIONS)
    assert record.right == {"心血虚", "肾阳虚"}
    assert record.elements == {"心", "血虚", "肾", "阳虚"}
    assert record.whole == "心悸;畏寒。患者心悸。"


def test_only_characters_that_two_patients_have_are_learned_from() -> None:
    samples = [Sample(("头晕", "晕晕"), frozenset()), Sample(("头痛", "cough"), frozenset())]
    assert differentiation.known_grams(samples) == sorted(["^头", "头"])


def test_a_patient_has_of_each_feature_what_the_phrases_share(lexicon: Lexicon) -> None:
    features = Features(lexicon, ["脉"])
    four = Sample(("咳嗽", "恶寒", "口渴", "cannot be known"), frozenset())
    pulses = Sample(("脉数", "脉弦"), frozenset())
    matrix = differentiation.design_matrix([four, pulses], features)
    expected = torch.zeros(2, len(TERMS) + 2)
    known = [TERMS.index(name) + 1 for name in ("咳嗽", "恶寒", "口渴")]
    expected[0, known] = 3**-0.5  # the unknown phrase takes no share
    expected[1, [TERMS.index(name) + 1 for name in ("脉数", "脉弦")]] = 2**-0.5
    expected[1, -1] = 2**0.5  # each of the two has the character
    assert torch.allclose(matrix, expected)


EARS = [Sample(("脉弦", "云中月"), frozenset({"耳"}))] * 12 + [Sample(("便溏", "水上舟"), frozenset({"脾"}))] * 12
STRING, EAR = TERMS.index("脉弦") + 1, ELEMENTS.index("耳")


def ears(lexicon: Lexicon, config: FitConfig) -> tuple[Features, Tensor, Tensor]:
    features = differentiation.features_of(EARS, lexicon)
    network = differentiation.fit(EARS, features, config)
    return features, network.weights.weight, network.bias


def test_fitting_begins_at_the_knowledge_table(lexicon: Lexicon) -> None:
    _, weights, bias = ears(lexicon, FitConfig(steps=0))
    start = torch.zeros_like(weights)
    for term, symptom in enumerate(tables.symptoms()):
        for name, weight in symptom.weights.items():
            start[term + 1, ELEMENTS.index(name)] = weight / 2
    assert torch.allclose(weights, start)
    assert bias.sigmoid()[EAR] == pytest.approx(0.5)
    assert bias.sigmoid()[ELEMENTS.index("肺")] < 0.01


def test_what_always_comes_with_an_element_comes_to_speak_for_it(lexicon: Lexicon) -> None:
    features, weights, bias = ears(lexicon, FitConfig())
    assert "耳" not in tables.symptoms()[STRING - 1].weights
    assert weights[STRING, EAR] > 0.1
    assert weights[TERMS.index("便溏") + 1, EAR] < -0.1
    assert weights[features.of("云中月")].sum(dim=0)[EAR] > 0.1  # no term: its characters alone
    assert torch.equal(weights[PADDING], torch.zeros(len(ELEMENTS)))
    network = Differentiation(weights, bias)
    probabilities = differentiation.logits_of(network, differentiation.design_matrix(EARS, features)).sigmoid()
    assert probabilities[:12, EAR].min() > 0.75  # one half before
    assert probabilities[12:, EAR].max() < 0.25


def test_where_leaving_the_table_costs_much_its_weights_stay_but_for_their_scale(lexicon: Lexicon) -> None:
    _, weights, _ = ears(lexicon, FitConfig(terms_penalty=1e5, grams_penalty=1e5))
    known, terms = differentiation.knowledge_weights(), len(TERMS)
    scale = float((weights[1 : terms + 1] * known).sum() / known.square().sum())
    assert scale > 0.1
    assert abs(scale - 0.5) > 0.05  # it was fitted
    assert torch.allclose(weights[1 : terms + 1], scale * known, atol=1e-3)
    assert weights[terms + 1 :].abs().max() < 1e-3


def test_a_case_counts_as_much_as_it_is_told_to_beside_an_entry(lexicon: Lexicon) -> None:
    entry = Entry("脉弦", "", "", frozenset({"耳"}), "", "", ())
    records = [Record(entry, ("脉弦",), entry.elements), Record(Case("", "", (), frozenset()), ("脉弦",), frozenset())]
    for weight in (0.5, 0.25):
        network, features = diagnosis.fit_network(records, lexicon, FitConfig(case_weight=weight))
        inputs = differentiation.design_matrix([Sample(("脉弦",), frozenset())], features)
        # of 1 + weight patients with the same phrase, one has the element
        probabilities = differentiation.logits_of(network, inputs).sigmoid()[0, EAR]
        assert float(probabilities) == pytest.approx(1 / (1 + weight), abs=0.01)


def test_a_calibration_is_folded_into_the_network(lexicon: Lexicon) -> None:
    features, weights, bias = ears(lexicon, FitConfig(steps=3))
    inputs, network = differentiation.design_matrix(EARS, features), Differentiation(weights, bias)
    before = differentiation.logits_of(network, inputs)
    after = differentiation.logits_of(differentiation.with_calibration(network, 1.7, -0.3), inputs)
    assert torch.allclose(after, before * 1.7 - 0.3, atol=1e-5)


def test_no_record_is_judged_by_a_network_that_saw_it(data: Path, lexicon: Lexicon) -> None:
    book, patients = entries(data), cases(data)
    known: list[Entry | Case] = [*book, *patients]
    number = {id(source): index for index, source in enumerate(known)}
    seen_before: list[tuple[set[int], set[int]]] = []

    def fit_and_predict(training: Sequence[Record], held_out: Sequence[Record]) -> Tensor:
        numbers = [number[id(record.source)] for record in held_out]
        seen_before.append(({number[id(record.source)] for record in training}, set(numbers)))
        return torch.tensor(numbers, dtype=torch.float32)[:, None].expand(-1, len(ELEMENTS))

    study = syndrome_measures.out_of_fold(book, patients, lexicon, fit_and_predict, seed=3)
    everything = set(number.values())
    parts: dict[frozenset[int], set[int]] = {}
    for seen, judged in seen_before:
        assert judged
        assert not seen & judged
        parts.setdefault(frozenset(everything - seen), set()).update(judged)
    assert len(parts) == 10
    assert all(left_out == judged for left_out, judged in parts.items())
    assert set().union(*parts.values()) == everything
    for folds, first in ((study.entries, 0), (study.marked, len(book)), (study.running, len(book))):
        assert [number[id(record.source)] for record in folds.records] == folds.logits[:, 0].tolist()
        assert folds.logits[0, 0] == first
    assert study.marked.records[0].phrases != study.running.records[0].phrases


def test_what_a_single_record_says_is_found(data: Path, lexicon: Lexicon) -> None:
    once = syndrome_measures.single_record_phrases(entries(data), cases(data), lexicon)
    assert "痰白" in once  # of the first entry, of which no case is made
    assert not {"咳嗽", "恶寒", "苔白"} & once
    assert symptom_lexicon(once).exact("痰白") is None


def test_slope_and_offset_that_logits_were_bent_by_are_found() -> None:
    torch.manual_seed(0)
    honest = torch.randn(400, 50) * 2
    right = torch.rand(400, 50) < honest.sigmoid()
    slope, offset = calibration.fit_platt((honest - 0.6) / 2.5, right)
    assert slope == pytest.approx(2.5, abs=0.1)
    assert offset == pytest.approx(0.6, abs=0.05)


def folds(fold: Tensor) -> Folds:
    random = torch.Generator().manual_seed(0)
    book = [
        Entry("", "", "", frozenset({"心", "肾"} if index % 3 else {"脾"}), "", "", ()) for index in range(len(fold))
    ]
    records = [Record(entry, (), entry.elements) for entry in book]
    return Folds(records, torch.randn(len(fold), len(ELEMENTS), generator=random), fold)


def test_what_a_part_says_has_no_weight_in_what_it_is_judged_with() -> None:
    fold = torch.arange(30) % 10
    entries = folds(fold)
    assert entries.right.sum(dim=1).tolist() == [2 if number % 3 else 1 for number in range(30)]
    before = syndrome_measures.fit_calibration(entries, without=4)
    whole = syndrome_measures.fit_calibration(entries)
    entries.logits[fold == 4] += 50 * entries.right[fold == 4]
    assert syndrome_measures.fit_calibration(entries, without=4) == before
    assert syndrome_measures.fit_calibration(entries) != pytest.approx(whole, abs=1e-3)


def options(rows: int, turned: Sequence[int] = ()) -> list[Choice]:
    """Choices of three in which the first is right and has the most of the second number; of ``turned``, the least."""
    random, found = np.random.default_rng(0), []
    for place in range(rows):
        numbers = random.normal(size=(3, len(ranking.FITS))).astype(np.float32)
        numbers[0, 1] = -9 if place in turned else numbers[1:, 1].max() + 0.2
        found.append(Choice(torch.from_numpy(numbers), (True, False, False)))
    return found


def test_a_ranking_is_learned_from_what_is_outside_the_part() -> None:
    fold = torch.arange(40) % 10
    learned = syndrome_measures.fit_ranking(options(40), fold, without=2)
    assert learned.weights[1] == max(learned.weights)
    firsts = [syndrome_ranking.first_of_options(choice, learned) for choice in options(40)]
    assert sum(right for _, right in firsts) >= 36
    turned = options(40, turned=range(2, 40, 10))
    assert syndrome_measures.fit_ranking(turned, fold, without=2) == learned
    assert syndrome_measures.fit_ranking(turned, fold) != learned


def test_serving_weighs_candidates_as_training_did() -> None:
    choice = options(1)[0]
    learned = syndrome_measures.fit_ranking(options(40, turned=range(2, 40, 10)), torch.arange(40))
    served = ranking.Ranking.from_dict(json.loads(json.dumps(asdict(learned))))
    assert served == learned
    assert served(choice.features.numpy()).argmax() == 0
    assert learned.slope != pytest.approx(1, abs=0.01)


def test_precision_recall_and_f1_are_what_a_hand_counts() -> None:
    predicted = torch.tensor([[True, True, False], [False, True, False]])
    right = torch.tensor([[True, False, True], [False, True, True]])
    assert micro(predicted, right) == pytest.approx({"precision": 2 / 3, "recall": 2 / 4, "f1": 4 / 7})
    nothing = torch.zeros_like(predicted)
    assert micro(nothing, right) == {"precision": 0, "recall": 0, "f1": 0}


def test_the_threshold_is_where_f1_is_best() -> None:
    probabilities = torch.tensor([[0.9, 0.62, 0.3], [0.55, 0.2, 0.1]])
    right = torch.tensor([[True, True, False], [True, False, False]])
    assert 0.3 < syndrome_measures.best_threshold(probabilities, right) <= 0.55


def no_evidence() -> Evidence:
    return Evidence(*(np.zeros(shape, dtype=np.float32) for shape in (len(ELEMENTS), len(ELEMENTS), (0, 1))))


def test_of_the_catalogue_the_own_syndrome_is_right_else_those_with_the_likest_elements() -> None:
    catalogue = [syndrome.names.zh for syndrome in tables.syndromes()]
    own = Entry("", "", "肾阳虚证", frozenset({"心"}), "", "", ())
    alike = Entry("", "", "未曾有此名", frozenset({"肾", "阳虚"}), "", "", ())
    right = syndrome_ranking.among_catalogue(no_evidence(), (), own).right
    assert [catalogue[row] for row, is_right in enumerate(right) if is_right] == ["肾阳虚"]
    right = syndrome_ranking.among_catalogue(no_evidence(), (), alike).right
    same = {syndrome.names.zh for syndrome in tables.syndromes() if syndrome.elements == {"肾", "阳虚"}}
    assert {catalogue[row] for row, is_right in enumerate(right) if is_right} == same
    assert same


def test_what_comes_first_is_measured_by_its_elements() -> None:
    catalogue = tables.syndromes()
    best = next(row for row, syndrome in enumerate(catalogue) if syndrome.elements == {"心", "气虚"})
    others = [place for place in range(len(catalogue)) if place != best]
    numbers = torch.zeros(len(catalogue), len(ranking.FITS))
    numbers[[best, *others[:5]], 0] = torch.tensor([6.0, 5.0, 4.0, 3.0, 2.0, 1.0])
    first_alone = ranking.Ranking((1.0, *[0.0] * (len(ranking.FITS) - 1)), 1.0, 0.0)
    share = float(numbers[:, 0].softmax(dim=0)[best])
    entry = Entry("", "", "", frozenset({"心", "气虚", "痰"}), "", "", ())
    for place, among in ((others[3], True), (others[4], False)):  # the fifth and the sixth
        choice = Choice(numbers, tuple(row == place for row in range(len(catalogue))))
        found = syndrome_ranking.first_of_catalogue(choice, first_alone, entry)
        assert found.probability == pytest.approx(share, abs=1e-5)
        assert (found.right, found.among_five, found.exact) == (False, among, False)
        assert (found.precision, found.recall, found.likeness) == pytest.approx((1, 2 / 3, 2 / 3))


def test_figures_are_the_best_where_all_is_known_and_poor_where_nothing_is(data: Path, lexicon: Lexicon) -> None:
    def fit_and_predict(_: Sequence[Record], held_out: Sequence[Record]) -> Tensor:
        right = torch.tensor([[name in record.elements for name in ELEMENTS] for record in held_out])
        knows = torch.tensor([isinstance(record.source, Entry) for record in held_out])[:, None]
        return torch.where(right & knows, 6.0, -6.0) + torch.linspace(-1, 1, len(ELEMENTS))

    figures = syndrome_measures.measure(
        syndrome_measures.out_of_fold(entries(data), cases(data), lexicon, fit_and_predict, seed=3)
    )
    assert figures["elements"] == pytest.approx({"precision": 1, "recall": 1, "f1": 1})
    assert figures["elements_calibration_error"] < 0.01
    assert figures["first"]["elements_all_right"] == 1
    assert figures["first"]["name_right"] == 1
    for texts in ("options_by_marked_symptoms", "options_by_running_text"):
        assert figures[texts]["cases"] == 12
        assert figures[texts]["right"] < 0.6


FREE = {"features": {0: "phrases", 1: "longest"}, "items": {0: "patients", 1: "phrases"}}


def inputs_of(samples: Sequence[Sample], features: Features) -> dict[str, Tensor]:
    rows = [features.of(phrase) for sample in samples for phrase in sample.phrases]
    counts = [len(sample.phrases) for sample in samples]
    return {"features": torch.from_numpy(padded(rows)), "items": torch.from_numpy(shares(counts))}


@one_name_for_one_size
def test_the_file_computes_what_the_network_does_for_any_number_of_patients(tmp_path: Path, lexicon: Lexicon) -> None:
    features, weights, bias = ears(lexicon, FitConfig(steps=5))
    network, path = Differentiation(weights, bias), tmp_path / "network.onnx"
    onnx_export.export(network, inputs_of(EARS[10:15], features), ["contributions", "logits"], FREE, path)
    onnx_export.write_facts(path, {"old": True})
    onnx_export.write_facts(path, {"symptoms": ["咳嗽"], "prior": [0.5]})
    stored = OnnxFile(path)
    assert stored.facts == {"symptoms": ["咳嗽"], "prior": [0.5]}
    for patients in (1, 3, 17):
        inputs = inputs_of(EARS[:patients], features)
        contributions, logits = stored(**{name: value.numpy() for name, value in inputs.items()})
        assert contributions.shape == (2 * patients, len(ELEMENTS))
        expected = differentiation.logits_of(network, differentiation.design_matrix(EARS[:patients], features))
        assert np.allclose(logits, expected.numpy(), atol=1e-4)
        assert onnx_export.check_equal(network, inputs, path) <= 1e-4
    other = differentiation.with_calibration(network, 1, 0.01)
    with pytest.raises(ValueError, match="computes something else"):
        onnx_export.check_equal(other, inputs, path)


def program(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["training.tcm.diagnosis", *arguments])
    diagnosis.main()


@pytest.mark.slow
@one_name_for_one_size
def test_the_program_writes_a_model_that_explains_itself_and_diagnoses(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program(monkeypatch, "--data", str(data), "--out", str(tmp_path / "new"))
    diagnose = Diagnostician(tmp_path / "new" / "tcm-diagnosis-1.0.0.onnx")
    facts = diagnose.facts
    assert {"network", "weights", "licence", "config", "prior", "ranking", "threshold"} <= facts.keys()
    assert facts["data"] == {"entries": 14, "cases": 12}
    assert facts["elements"] == ELEMENTS
    assert facts["symptoms"] == len(TERMS)
    assert "咳" in facts["grams"]
    figures = json.loads((tmp_path / "new" / "diagnosis-figures.json").read_text("utf-8"))
    assert figures == facts["figures"]
    assert figures["options_by_running_text"]["cases"] == 12
    assert figures["table_without_writings_of_one_record"].keys() < figures.keys()
    assert (tmp_path / "new" / "diagnosis.png").stat().st_size > 1000
    assert '"elements_calibration_error"' in capsys.readouterr().out
    texts = ("畏寒，四肢不温，腰膝酸软。",)
    free, chosen = diagnose([Patient(texts), Patient(texts, candidates=("胃热炽盛", "肾阳虚"))])
    assert {element.names.zh for element, _ in free.elements[:2]} == {"肾", "阳虚"}
    assert chosen.syndromes[0].name == "肾阳虚"
    assert "四肢不温" in chosen.syndromes[0].speaks_for


def test_the_program_tells_what_it_needs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        program(monkeypatch, "--help")
    assert {"--data", "--out", "``textbook.jsonl``"} <= set(capsys.readouterr().out.split())
