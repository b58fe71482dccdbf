"""The training of the satellite network on synthetic tiles: it learns, resumes, calibrates and stores its facts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from runners.models.vision import graphs
from runners.models.vision.efficientnet import EfficientNetLite0
from tests.support.servers import ROOT
from training import calibration
from training.satellite import augment, drawn, head, pictures, pretrained, recipe, refit
from training.satellite import run as run_module
from training.satellite.recipe import CLOUDY, Batch, Config, Data, Phase, View, batches
from training.satellite.run import Run
from training.satellite.tiles import Tiles, read

TINTS = {
    "eurosat": {"Forest": (20, 60, 30), "SeaLake": (10, 30, 90), "Highway": (150, 150, 150), "Pasture": (120, 180, 60)},
    "aid": {"Desert": (210, 180, 130), "Forest": (30, 70, 30), "Port": (90, 90, 120)},
}


REAL = {"cloudy": (230, 230, 235), "snow": (245, 245, 255)}


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tiles")
    random = np.random.default_rng(0)
    for source, classes in TINTS.items():
        side = 64 if source == "eurosat" else 96
        for split, count in (("train", 8), ("val", 8)):
            for name, tint in classes.items():
                folder = root / source / split / name
                folder.mkdir(parents=True)
                for number in range(count):
                    pixels = np.clip(random.normal(tint, 12, (side, side, 3)), 0, 255).astype(np.uint8)
                    Image.fromarray(pixels).save(folder / f"{number}.png")
    rows = []
    for name, tint in REAL.items():
        (root / "real" / "train" / name).mkdir(parents=True)
        for number in range(12):
            pixels = np.clip(random.normal(tint, 12, (80, 100, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / "real" / "train" / name / f"{number}.png")
            rows.append(f"{name}/{number}.png,{name},{('one', 'another')[number % 2]},{number // 4}")
    (root / "real" / "train" / "index.csv").write_text("\n".join(["file,class,sensor,scene", *rows]))
    (root / "foreign" / "photographs").mkdir(parents=True)
    for number in range(6):
        pixels = random.integers(0, 255, (90, 120, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "foreign" / "photographs" / f"{number}.png")
    return root


def run(data: Path, out: Path, epochs: int) -> str:
    return program("training.satellite", data, out, "--tiles-per-epoch", "48", "--epochs", str(epochs))


def program(module: str, data: Path, out: Path, *options: str) -> str:
    command = [sys.executable, "-m", module, "--data", str(data), "--foreign", str(data / "foreign"), "--drawn", "3"]
    done = subprocess.run([*command, "--out", str(out), *options], capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout + done.stderr


@pytest.mark.slow
def test_training_writes_a_model_that_explains_itself_and_resumes(data: Path, tmp_path: Path) -> None:
    first = run(data, tmp_path, epochs=1)
    assert "epoch 1" in first
    facts = graphs.read(tmp_path / "satellite-1.2.0.onnx").facts
    assert {"labels", "transform", "temperature", "threshold", "config", "data", "figures", "licence"} <= facts.keys()
    assert facts["data"]["eurosat train"]["Forest"] == 8
    assert 0 <= facts["figures"]["calibration_error"] <= 1
    assert (tmp_path / "satellite-confusion.png").stat().st_size > 1000
    assert facts["figures"]["held_out"]["photographs: none"]["pictures"] == 6
    assert {"one: cloudy", "another: none"} <= facts["figures"]["held_out"].keys()
    assert (tmp_path / "satellite-reliability.png").stat().st_size > 1000


@pytest.mark.slow
def test_a_head_is_refitted_on_a_trunk_that_stays_what_it_is(data: Path, tmp_path: Path) -> None:
    weights = ROOT / "runners" / "weights" / "satellite-1.2.0.onnx"
    program("training.satellite.refit", data, tmp_path, "--weights", str(weights))
    old, new = graphs.read(weights), graphs.read(tmp_path / "satellite-1.2.0.onnx")
    changed = {name for name, tensor in old.tensors.items() if not np.array_equal(tensor, new.tensors[name])}
    assert changed == {"network.head.weight", "network.head.bias"}
    assert new.facts["trunk"] == old.facts["trunk"] == "satellite:1.2.0"
    assert new.facts["data"]["real and foreign"]["one: cloudy"] == 6
    assert set(new.facts["figures"]["sensors_never_seen"]) == {
        f"{sensor}: {cover}" for sensor in ("one", "another") for cover in ("cloudy", "none")
    }
    options = ["--data", str(data), "--weights", str(tmp_path / "satellite-1.2.0.onnx"), "--out", str(tmp_path)]
    command = [sys.executable, "-m", "training.satellite.measures", *options]
    again = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert json.loads(again)["held_out"] == new.facts["figures"]["held_out"]


@pytest.mark.parametrize("module", ["training.satellite.refit", "training.satellite"])
def test_missing_real_pictures_are_named_with_where_to_get_them(module: str, data: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for source in ("eurosat", "aid"):
        (tmp_path / "data" / source).symlink_to(data / source)
    options = ["--data", str(tmp_path / "data"), "--foreign", str(data / "foreign"), "--out", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", module, *options], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 1
    assert "CloudSEN12" in done.stderr
    assert "Traceback" not in done.stderr


def test_pictures_are_drawn_alike_for_the_same_seed() -> None:
    for draw in (drawn.charts, drawn.screens, drawn.drawings):
        first, again, other = draw(3, 1), draw(3, 1), draw(3, 2)
        assert [picture.tobytes() for picture in first] == [picture.tobytes() for picture in again]
        assert first[0].tobytes() != other[0].tobytes()


def numbered(found: pictures.Pictures) -> refit.Extras:
    """Extras whose features are the number of their picture."""
    numbers = torch.arange(len(found)).float()[:, None]
    copies = refit.Features(numbers.repeat_interleave(refit.COPIES, 0), found.truth.repeat_interleave(refit.COPIES))
    return refit.Extras(found, refit.Features(numbers, found.truth), copies)


def test_nothing_of_a_scene_or_sensor_is_trained_on_where_it_is_judged(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = pictures.real(data) + pictures.foreign(data / "foreign", 2)
    extras = numbered(found)
    trained: list[set[int]] = []

    class Judge(torch.nn.Linear):
        def forward(self, features: torch.Tensor) -> torch.Tensor:
            judged = {int(number) for number in features.flatten().tolist()}
            groups = [found.groups[number] for number in judged]
            assert judged.isdisjoint(trained[-1])
            assert not {found.groups[number] for number in trained[-1]}.intersection(groups)
            return torch.zeros(len(features), 5)

    def fit(features: torch.Tensor, truth: torch.Tensor, weight: torch.Tensor) -> torch.nn.Linear:
        assert len(features) == len(truth) == len(weight)
        trained.append({int(number) for number in features.flatten().tolist()} - {-1})
        return Judge(1, 5)

    monkeypatch.setattr(head, "fit", fit)
    base = refit.Features(torch.full((2, 1), -1.0), torch.tensor([0, 1]))
    refit.out_of_fold(base, extras)
    assert set.intersection(*trained) == set(), "each is left out once"
    unseen = refit.without_sensor(base, extras)
    assert {sensor: len(logits) for sensor, logits in unseen.items()} == {"one": 12, "another": 12}
    sensors = [{found.sources[row] for row in rows} & unseen.keys() for rows in trained[-2:]]
    assert sensors == [{"one"}, {"another"}]


def test_a_class_that_is_not_known_is_no_picture_to_refuse(tmp_path: Path) -> None:
    (tmp_path / "real" / "train").mkdir(parents=True)
    (tmp_path / "real" / "train" / "index.csv").write_text("file,class,sensor,scene\na.png,clouds,one,1\n")
    with pytest.raises(ValueError, match="clouds"):
        pictures.real(tmp_path)


def test_a_head_of_another_shape_is_not_written(tmp_path: Path) -> None:
    weights = ROOT / "runners" / "weights" / "satellite-1.2.0.onnx"
    with pytest.raises(ValueError, match="another head"):
        refit.write_head(weights, tmp_path / "a.onnx", torch.nn.Linear(7, 5).requires_grad_(requires_grad=False), {})


class Killed(Exception):
    """The training process ended."""


def short(phases: int = 2) -> Config:
    phase = Phase(epochs=2, rate=0.02, sides=(64,), strength=0.5, class_loss=0.5)
    return replace(recipe.FINE_TUNED, phases=(phase,) * phases, tiles_per_epoch=24, batch=12)


def test_a_run_that_is_killed_ends_where_it_would_have_ended(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    whole = Run(loaded(data), short(), tmp_path / "whole").finish()

    def kill_in_the_fourth_epoch(sets: Data, config: Config, epoch: int, view: View) -> Iterator[Batch]:
        for batch in batches(sets, config, epoch, view):
            yield batch
            if epoch == 3:
                raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "batches", kill_in_the_fourth_epoch)
        with pytest.raises(Killed):
            Run(loaded(data), short(), tmp_path / "killed").finish()
    again = Run(loaded(data), short(), tmp_path / "killed").finish()
    for name, value in whole.state_dict().items():
        assert torch.allclose(value.float(), again.state_dict()[name].float(), atol=1e-4), name


def test_the_first_stages_stay_as_imagenet_made_them(data: Path, tmp_path: Path) -> None:
    trained = Run(loaded(data), short(1), tmp_path).finish().served.trunk
    started = EfficientNetLite0()
    pretrained.load(started)
    changed = {
        name
        for name, value in trained.state_dict().items()
        if value.is_floating_point() and not torch.equal(value, started.state_dict()[name])
    }
    assert {name.split(".")[0] for name in changed} == {"stages", "last"}
    assert min(int(name.split(".")[1]) for name in changed if name.startswith("stages")) == short().frozen_stages


def test_a_network_without_stages_is_not_tuned() -> None:
    for wrong in (replace(recipe.FROM_SCRATCH, pretrained=True), replace(recipe.FROM_SCRATCH, frozen_stages=1)):
        with pytest.raises(ValueError, match="ResNet18 has no weights of ImageNet"):
            recipe.TrainingNet(wrong, 10, 30)


def test_weights_of_another_network_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "CLASSIFIER", "no layer")
    with pytest.raises(ValueError, match="of another network"):
        pretrained.load(EfficientNetLite0())


def test_a_state_of_another_configuration_is_not_gone_on_with(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Run(loaded(data), short(1), tmp_path).finish()
    Run(loaded(data), short(2), tmp_path)
    assert "is of another configuration" in capsys.readouterr().out


@pytest.mark.parametrize("change", [augment.colour, augment.noise_and_sharpness, augment.random_view])
def test_pictures_are_changed_on_the_device_they_lie_on(change: Callable[..., torch.Tensor]) -> None:
    tiles = torch.zeros(
        4, 3, 64, 64, dtype=torch.uint8 if change is augment.random_view else torch.float32, device="meta"
    )
    changed = change(tiles, 48) if change is augment.random_view else change(tiles)
    assert changed.device.type == "meta"


def test_missing_tiles_are_named_with_where_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="phelber/EuroSAT"):
        read(tmp_path, "eurosat", "train")


def loaded(data: Path) -> Data:
    return Data(read(data, "eurosat", "train"), read(data, "aid", "train"), torch.device("cpu"))


def test_batches_are_the_same_for_the_same_seed_and_epoch(data: Path) -> None:
    sets, config = loaded(data), replace(recipe.FROM_SCRATCH, tiles_per_epoch=32, batch=16)
    first, again = (next(iter(batches(sets, config, 3, View(48, 1.0)))) for _ in range(2))
    other = next(iter(batches(sets, config, 4, View(48, 1.0))))
    assert torch.equal(first.pixels, again.pixels)
    assert not torch.equal(first.pixels, other.pixels)
    assert torch.allclose(first.target.sum(dim=1), torch.ones(16))


def test_a_picture_under_thick_clouds_is_called_cloudy(data: Path) -> None:
    torch.manual_seed(0)
    tiles = loaded(data).eurosat
    clouded = augment.clouds(augment.random_view(tiles.pixels, 48))
    share = augment.cloudiness(clouded.cover)
    assert clouded.pixels.shape == (len(tiles), 3, 48, 48)
    assert 0 <= clouded.pixels.min() <= clouded.pixels.max() <= 1
    assert torch.equal(augment.cloudiness(torch.tensor([0.1, 0.9])), torch.tensor([0.0, 1.0]))
    assert share[clouded.cover > 0.6].eq(1).all()
    assert CLOUDY == 3


def test_a_scale_heals_overconfidence_and_a_none_that_is_too_likely() -> None:
    torch.manual_seed(0)
    honest = torch.randn(20_000, 5) * 2
    target = torch.multinomial(honest.softmax(dim=1), 1).flatten()
    spoilt = honest * 2 + torch.tensor([0.0, 0.0, 0.0, 0.0, 1.5])
    scale = calibration.fit_scale(spoilt, target)

    def error(logits: torch.Tensor) -> float:
        confidence, best = logits.softmax(dim=1)[:, :4].max(dim=1)
        return calibration.reliability(confidence, best == target).error

    assert scale.temperature == pytest.approx(2, abs=0.5)
    assert error(scale(spoilt)) < error(spoilt) / 3
    assert torch.allclose(calibration.Scale(2, -1.5)(spoilt), honest, atol=1e-5)


def test_the_threshold_parts_two_kinds_of_scene() -> None:
    known, foreign = torch.linspace(0.6, 1, 100), torch.linspace(0, 0.5, 100)
    assert 0.4 < calibration.fit_threshold(known, foreign, max_accepts=0.15, max_rejects=0.05) <= 0.62


def test_the_calibration_error_of_a_perfect_forecast_is_nothing() -> None:
    torch.manual_seed(0)
    confidence = torch.rand(50_000)
    right = torch.rand(50_000) < confidence
    assert calibration.reliability(confidence, right).error < 0.01
    assert calibration.reliability(confidence, torch.zeros(50_000, dtype=torch.bool)).error > 0.4


def test_tiles_of_an_odd_size_are_resized(tmp_path: Path) -> None:
    folder = tmp_path / "aid" / "train" / "Desert"
    folder.mkdir(parents=True)
    Image.new("RGB", (20, 20)).save(folder / "a.png")
    Image.new("L", (30, 30)).save(folder / "b.png")
    tiles: Tiles = read(tmp_path, "aid", "train")
    assert tiles.pixels.shape == (2, 3, 20, 20)
