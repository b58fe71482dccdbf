"""The training of the treatment model on synthetic prescriptions, and its measures against values counted by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from math import log2
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from runners.models.onnx_file import OnnxFile
from runners.models.tcm import tables
from runners.models.tcm.treatment import Prescriber, TreatedPatient
from tests.support.servers import ROOT
from training import onnx_export
from training.tcm import herb_measures, herb_networks, treatment
from training.tcm.herb_data import Floats, Prescriptions, read
from training.tcm.herb_networks import Blend, HerbModel, Learning, Member

DIAGNOSIS = ROOT / "runners" / "weights" / "tcm-diagnosis-1.0.0.onnx"
SYMPTOMS = ("咳嗽", "痰白", "恶寒", "发热", "口渴", "头痛", "头晕", "失眠", "心悸", "便溏", "腹胀", "盗汗")
HERBS = tuple(herb.names.zh for herb in tables.herbs()[:20])
ENTRY = {
    "symptoms": "畏寒，腰膝酸软。",
    "疾病名称": "腰痛",
    "病位证素": "肾",
    "病性证素": "阳虚",
    "证名": "肾阳虚",
    "treatment": {"治法": "温补肾阳", "方剂": "右归丸", "药物组成": f"{HERBS[2]}、鹿角胶"},
}


def drawn(count: int) -> list[tuple[list[int], list[int]]]:
    """Every fourth prescription is for a single symptom; each symptom brings the herb of its number."""
    draw = np.random.default_rng(0)
    rows = []
    for number in range(count):
        given = sorted(draw.choice(12, 1 if number % 4 == 0 else draw.integers(2, 6), replace=False).tolist())
        others = draw.choice(np.arange(12, 20), 3, replace=False).tolist()
        rows.append((given, sorted([*given, *others])))
    return rows


def write(folder: Path, rows: list[tuple[list[int], list[int]]]) -> Path:
    folder.mkdir(exist_ok=True)
    lines = [" ".join(map(str, given)) + "\t" + " ".join(map(str, taken)) for given, taken in rows]
    (folder / "train.txt").write_text("\n".join(lines) + "\n", "utf-8")
    for file, names in (("sym_mapping.txt", SYMPTOMS), ("herb_mapping.txt", HERBS)):
        numbered = [f"{name} {number}" for number, name in enumerate(names)]
        (folder / file).write_text("\n".join(reversed(numbered)) + "\n", "utf-8")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write(tmp_path_factory.mktemp("herbs"), drawn(300))
    (folder / "textbook.jsonl").write_text(json.dumps(ENTRY, ensure_ascii=False) + "\n", "utf-8")
    return folder


@pytest.fixture(scope="module")
def known(data: Path) -> Prescriptions:
    return read(data)


def floats(*rows: list[float]) -> Floats:
    return np.array(rows, dtype=np.float32)


def test_prescriptions_are_read_as_ones_in_the_columns_that_the_mappings_name(tmp_path: Path) -> None:
    folder = write(tmp_path, [([0, 11], [3]), ([2], [0, 19])])
    (folder / "herb_mapping.txt").write_text(
        (folder / "herb_mapping.txt").read_text("utf-8") + "two words 20\n", "utf-8"
    )
    data = read(folder)
    assert (data.symptom_names, data.herb_names) == (SYMPTOMS, (*HERBS, "two words"))
    assert (data.symptoms.shape, data.herbs.shape) == ((2, 12), (2, 21))
    assert [np.flatnonzero(row).tolist() for row in data.symptoms] == [[0, 11], [2]]
    assert [np.flatnonzero(row).tolist() for row in data.herbs] == [[3], [0, 19]]
    assert set(np.unique(data.herbs)) == {0, 1}


def test_missing_prescriptions_are_named_with_where_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"(?s)no .*train\.txt.*github\.com/yuanyuansiyuan/ICDE-2020-SMGCN"):
        read(tmp_path)


def test_a_split_takes_every_prescription_once(known: Prescriptions) -> None:
    numbered = replace(known, herbs=np.arange(len(known), dtype=np.float32)[:, None])
    first, second = numbered.split(0.13, seed=5)
    assert (len(first), len(second)) == (261, 39)
    assert sorted([*first.herbs[:, 0], *second.herbs[:, 0]]) == list(range(300))
    assert np.array_equal(first.symptoms, known.symptoms[first.herbs[:, 0].astype(int)])
    assert np.array_equal(numbered.split(0.13, seed=5)[1].herbs, second.herbs)
    assert not np.array_equal(numbered.split(0.13, seed=6)[1].herbs, second.herbs)


def test_rankings_are_measured_as_a_hand_measures_them() -> None:
    herbs = np.zeros((3, 25), dtype=np.float32)
    herbs[0, [0, 2, 9, 21]] = 1  # the first and the third, the tenth, and one beyond the twenty
    herbs[1, 20] = 1  # nothing among the twenty
    herbs[2, [0, 1, 2, 3, 4, 6]] = 1
    order = np.tile(np.arange(25, 0, -1, dtype=np.float32), (3, 1))
    best = 1 + 1 / log2(3) + 1 / log2(4)  # of the three among the twenty, not of all four
    expected = {"precision": (2 / 5 + 0 + 1) / 3, "recall": (2 / 4 + 0 + 5 / 6) / 3, "ndcg": (1.5 / best + 0 + 1) / 3}
    assert herb_measures.measure(order, herbs) == pytest.approx(expected)
    mixed = np.random.default_rng(1).permutation(25)
    assert herb_measures.measure(order[:, mixed], herbs[:, mixed]) == pytest.approx(expected)


def test_ridge_regression_is_what_a_hand_solves() -> None:
    weights, offset = herb_measures.ridge(floats([1, 0], [0, 1]), floats([1, 0], [0, 0]), 1.0)
    assert offset == pytest.approx(np.array([0.5, 0]))
    assert weights == pytest.approx(floats([0.25, 0], [-0.25, 0]))
    # (1 1, 1 0): squares 2 1, 1 1; with the penalty 3 1, 1 2, whose inverse is a fifth of 2 -1, -1 3
    weights, _ = herb_measures.ridge(floats([1, 1], [1, 0]), floats([1], [0]), 1.0)
    assert weights == pytest.approx(floats([-0.1], [0.3]))


def test_only_prescriptions_for_a_symptom_alone_are_counted() -> None:
    symptoms = floats([1, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0])
    herbs = floats([1, 1], [1, 0], [0, 1], [1, 1], [1, 1])
    counts, seen = herb_measures.single_symptom_counts(symptoms, herbs)
    assert counts.tolist() == [[2, 1], [0, 1], [0, 0]]
    assert seen.tolist() == [2, 1, 0]


def test_a_set_of_symptoms_has_length_one_and_an_empty_one_stays() -> None:
    scaled = herb_networks.scaled_sets(torch.tensor([[1.0, 1, 1, 1], [0, 1, 0, 0], [0, 0, 0, 0]]))
    assert scaled.tolist() == [[0.5] * 4, [0, 1, 0, 0], [0] * 4]


def test_symptoms_are_alike_by_their_characters_and_by_what_the_table_says() -> None:
    characters, elements, both = herb_networks.feature_sets(("头痛", "头晕", "咳嗽"))
    assert characters.numpy() == pytest.approx(floats([0.5**0.5] * 2, [0.5**0.5] * 2, [0, 0]))  # 头, and in front
    cough = next(symptom for symptom in tables.symptoms() if symptom.names.zh == "咳嗽")
    expected = [cough.weights.get(element.names.zh, 0) / 6 for element in tables.elements()]
    assert elements[2].tolist() == pytest.approx(expected)
    assert any(expected)
    assert torch.equal(both, torch.cat([characters, elements], dim=1))


def member(seed: int, side: Tensor) -> Member:
    """A member without zero weights."""
    torch.manual_seed(seed)
    network = Member(side, len(HERBS), Learning(hidden=8))
    for value in network.parameters():
        torch.nn.init.normal_(value)
    return network.eval()


@pytest.fixture(scope="module")
def side() -> Tensor:
    return herb_networks.feature_sets(SYMPTOMS)[2]


MEMBERS_ALONE = Blend(ridge_share=0.0, lone_prior=float("inf"))


@torch.no_grad()
def test_a_whole_of_members_alone_says_what_the_mean_of_their_logits_says(known: Prescriptions, side: Tensor) -> None:
    symptoms = torch.from_numpy(known.symptoms[:50])
    first, second = member(1, side), member(2, side)
    expected = first(symptoms)
    assert torch.allclose(HerbModel([first], known, MEMBERS_ALONE)(symptoms), expected.sigmoid(), atol=3e-3)
    expected = (first(symptoms) + second(symptoms)) / 2
    assert torch.allclose(HerbModel([first, second], known, MEMBERS_ALONE)(symptoms), expected.sigmoid(), atol=3e-3)
    assert not torch.allclose(first(symptoms).sigmoid(), expected.sigmoid(), atol=3e-2)


@torch.no_grad()
def test_regression_has_the_share_that_it_is_given(known: Prescriptions, side: Tensor) -> None:
    symptoms, single = torch.from_numpy(known.symptoms[:50]), member(1, side)
    weights, offset = herb_measures.ridge(known.symptoms, known.herbs, 5.0)
    regressed, learned = symptoms @ torch.from_numpy(weights) + torch.from_numpy(offset), single(symptoms).sigmoid()
    for share in (1.0, 0.4):
        blended = HerbModel([single], known, Blend(5.0, share, float("inf")))(symptoms)
        assert torch.allclose(blended, (share * regressed + (1 - share) * learned).clamp(0, 1), atol=3e-3)


@torch.no_grad()
def test_counts_speak_for_a_symptom_alone_and_for_no_other_set(known: Prescriptions, side: Tensor) -> None:
    network, alone = member(1, side), torch.eye(len(SYMPTOMS))
    counts, seen = (
        torch.from_numpy(value) for value in herb_measures.single_symptom_counts(known.symptoms, known.herbs)
    )
    assert seen.min() > 0
    frequency, learned = counts / seen[:, None], HerbModel([network], known, MEMBERS_ALONE)
    counted = HerbModel([network], known, replace(MEMBERS_ALONE, lone_prior=0.0))
    assert torch.allclose(counted(alone), frequency, atol=1e-3)
    pairs = alone[1:] + alone[:-1]
    assert torch.equal(counted(pairs), learned(pairs))
    blended = HerbModel([network], known, replace(MEMBERS_ALONE, lone_prior=10.0))
    trust = (seen / (seen + 10))[:, None]
    assert torch.allclose(blended(alone), trust * frequency + (1 - trust) * learned(alone), atol=1e-3)


def test_a_member_learns_which_herb_goes_with_which_symptom(known: Prescriptions, side: Tensor) -> None:
    learning = Learning(hidden=16, dropout=0.1, epochs=40, batch=64, rate=0.02)
    once, again, other = (herb_networks.fit(known, side, learning, seed) for seed in (1, 1, 2))
    assert not once.training
    scores = treatment.scores_of(once, np.eye(len(SYMPTOMS), dtype=np.float32))
    assert scores.argmax(axis=1).tolist() == list(range(12))
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in once.state_dict().items())
    assert not np.allclose(scores, treatment.scores_of(other, np.eye(len(SYMPTOMS), dtype=np.float32)))


def test_a_member_begins_at_how_often_each_herb_is_given(known: Prescriptions, side: Tensor) -> None:
    begun = herb_networks.fit(known, side, Learning(hidden=8, epochs=1, batch=300, rate=1e-9, weight_decay=0), 1)
    assert begun.out.bias.sigmoid().detach().numpy() == pytest.approx(known.herbs.mean(axis=0), abs=1e-4)


def test_the_file_computes_what_the_network_does_for_any_number_of_patients(
    known: Prescriptions, side: Tensor, tmp_path: Path
) -> None:
    model, path = HerbModel([member(1, side), member(2, side)], known, Blend()), tmp_path / "herbs.onnx"
    inputs = {"symptoms": torch.from_numpy(known.symptoms[:16])}
    onnx_export.export(model, inputs, ["scores"], {"symptoms": {0: "patients"}}, path)
    onnx_export.write_facts(path, {"herbs": ["甘草"]})
    stored = OnnxFile(path)
    assert stored.facts == {"herbs": ["甘草"]}
    for patients in (1, 3, 17):
        symptoms = known.symptoms[16 : 16 + patients]
        (scores,) = stored(symptoms=symptoms)
        assert scores.shape == (patients, 20)
        assert np.allclose(scores, treatment.scores_of(model, symptoms), atol=1e-4)
        assert onnx_export.check_equal(model, {"symptoms": torch.from_numpy(symptoms)}, path) <= 1e-4
    with pytest.raises(ValueError, match="computes something else"):
        onnx_export.check_equal(HerbModel([member(3, side)], known, Blend()), inputs, path)


def run(monkeypatch: pytest.MonkeyPatch, data: Path, out: Path, *arguments: str) -> None:
    command = ["--data", str(data), "--textbook", str(data), "--out", str(out), "--epochs", "1"]
    monkeypatch.setattr(sys, "argv", ["training.tcm.treatment", *command, *arguments])
    treatment.main()


def test_the_program_writes_a_model_that_explains_itself_and_prescribes(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, data, tmp_path / "new")
    prescribe = Prescriber(tmp_path / "new" / "tcm-treatment-1.0.0.onnx", DIAGNOSIS)
    facts = prescribe.facts
    assert {"network", "weights", "licence"} <= facts.keys()
    assert (facts["symptoms"], facts["herbs"]) == (list(SYMPTOMS), list(HERBS))
    assert facts["frequency"] == read(data).symptoms.sum(axis=0).tolist()
    assert facts["data"] == {"prescriptions": 300}
    assert (facts["config"]["epochs"], facts["config"]["lone_prior"]) == (1, Blend().lone_prior)
    (formula,) = facts["formulae"]
    assert (formula["name"], formula["elements"], formula["herbs"]) == ("右归丸", ["肾", "阳虚"], [HERBS[2], "鹿角胶"])
    figures = json.loads((tmp_path / "new" / "treatment-figures.json").read_text("utf-8"))
    assert figures == facts["figures"]
    assert set(figures) == {"ridge regression", "one network", "six networks", "all"}
    assert all(0 <= figure["mean"] <= 1 for row in figures.values() for figure in row.values())
    assert "split 13, all: precision" in capsys.readouterr().out
    monkeypatch.setattr(treatment, "SHIPPED", tmp_path / "new" / "tcm-treatment-1.0.0.onnx")
    run(monkeypatch, data, tmp_path / "new", "--test", "train.txt")
    (scores,) = OnnxFile(treatment.SHIPPED)(symptoms=read(data).symptoms)
    measured = herb_measures.measure(scores, read(data).herbs)
    ridge, shipped = capsys.readouterr().out.splitlines()
    assert ridge.startswith("ridge regression: precision")
    assert shipped == f"tcm-treatment-1.0.0.onnx: {treatment.format_figures(measured)}"
    by_symptoms, by_syndrome, unknown = prescribe(
        [TreatedPatient(("咳嗽，恶寒",)), TreatedPatient(syndromes=(("肾阳虚", 0.9),)), TreatedPatient()]
    )
    assert by_symptoms.by == "symptoms"
    assert {name for name, _ in by_symptoms.herbs} == set(HERBS)
    assert [used.symptoms for used in by_symptoms.used] == [("咳嗽",), ("恶寒",)]
    assert (by_syndrome.by, by_syndrome.herbs) == ("formulae", ((HERBS[2], 1.0),))
    assert [formula.name for formula, _ in by_syndrome.formulae] == ["右归丸"]
    assert not unknown.herbs


def test_what_the_numbers_were_chosen_from_is_printed_and_nothing_is_written(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, data, tmp_path, "--choose")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 * 5
    assert lines[0].startswith("ridge 0.00, alone     0: precision 0.")
    assert len({line.split(": ")[1] for line in lines}) > 3
    assert not list(tmp_path.iterdir())


def test_the_program_tells_what_it_needs() -> None:
    command = [sys.executable, "-m", "training.tcm.treatment", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert {"--data", "--textbook", "--out", "--choose", "--epochs"} <= set(done.stdout.split())
