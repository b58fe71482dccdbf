"""The optimization program, from its command line to a checkpoint that the engines load."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from runners.models.summarizers import choice
from runners.models.summarizers.base import Summarizer, Task
from runners.models.summarizers.neural import checkpoints, loading
from tests.doubles import tiny_checkpoints
from training.summarization import optimize, trials
from training.summarization.trials import Candidate, Trial

EAGER = [Candidate("float32", compiled=False), Candidate("bfloat16", compiled=False)]
COMPILED = Candidate("float32", compiled=True)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_checkpoints.bart(tmp_path / "in")


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    path = tmp_path / "sample.txt"
    path.write_text("The cat sat on the mat.\n\nThe city published a new plan.\n", "utf-8")
    return path


@pytest.fixture
def optimized(model: Path, sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The program with few candidates, whose compiler is broken: compiling takes minutes."""

    def no_compiler(network: Any) -> None:
        raise RuntimeError("\nno C++ compiler found\nmore text\n")

    def run(tried: list[Candidate], *more: str, out: Path | None = None) -> int:
        monkeypatch.setattr(optimize, "candidates", lambda: tried)
        arguments = ["--model_path", str(model), "--output_path", str(out or tmp_path / "out"), "--sample", str(sample)]
        return optimize.main([*arguments, "--runs", "1", "--max_length", "4", "--threads", "1", *more])

    monkeypatch.setattr(loading, "compile_in_place", no_compiler)
    monkeypatch.setattr(loading, "_best_device", lambda: torch.device("cpu"))
    return run


def no_extractive() -> Summarizer:
    raise AssertionError("not asked for")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_fastest_that_agrees_is_written_as_a_checkpoint(
    optimized: Callable[..., int], model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    before = contents(model)
    real = trials.Bench.attempt

    def half_the_time(bench: trials.Bench, candidate: Candidate, original: Any) -> Trial:
        trial = real(bench, candidate, original)
        seconds = 1.0 if candidate.dtype == "float32" else 0.5
        return Trial(candidate, seconds, trial.megabytes, trial.cosine, 1.0, trial.failure)

    monkeypatch.setattr(trials.Bench, "attempt", half_the_time)
    assert optimized([*EAGER, COMPILED]) == 0
    printed = capsys.readouterr().out
    assert "before  float32, eager" in printed
    assert "after   bfloat16, eager" in printed
    assert "float32, compiled     failed: RuntimeError: no C++ compiler found\n" in printed
    facts = json.loads((tmp_path / "out" / "atelier.json").read_text())
    assert (facts["dtype"], facts["compile"], facts["device"]) == ("bfloat16", False, "cpu")
    assert facts["after"]["megabytes"] < 0.6 * facts["before"]["megabytes"]
    assert contents(model) == before
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o755
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out", "sample.txt"]
    engine = choice.choose("auto", str(tmp_path / "out"), extractive=no_extractive, threads=1)
    assert isinstance(engine.summarize([Task("The cat sat.", 4, 0, "en")])[0], str)
    assert checkpoints.find(str(tmp_path / "out")).optimized == checkpoints.Optimized("bfloat16", False, "cpu")


def test_the_original_agrees_with_itself(optimized: Callable[..., int], tmp_path: Path) -> None:
    assert optimized(EAGER[:1]) == 0
    facts = json.loads((tmp_path / "out" / "atelier.json").read_text())
    assert facts["after"]["cosine"] == pytest.approx(1.0)
    assert facts["before"] == facts["after"]


def test_what_does_not_agree_is_not_written(
    optimized: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "MIN_COSINE", 1.1)
    assert optimized(EAGER) == 1
    captured = capsys.readouterr()
    assert captured.out.count("does not agree") == 2
    assert captured.err.splitlines()[-1] == (
        "optimize: Nothing was written: no candidate ran and agreed with the original."
    )
    assert not (tmp_path / "out").exists()


def test_logits_tell_another_network_from_the_original(model: Path, tmp_path: Path) -> None:
    other = tiny_checkpoints.bart(tmp_path / "other", seed=1)
    benches = [trials.Bench(checkpoints.find(str(path)), ["The cat sat."], 4, 1, 1) for path in (model, other)]
    trial = benches[1].attempt(EAGER[0], benches[0].original())
    assert trial.failure is None
    assert not trial.agrees


def test_a_checkpoint_that_cannot_be_saved_leaves_nothing_behind(
    optimized: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("transformers.PreTrainedModel.save_pretrained", full)
    assert optimized(EAGER[:1]) == 1
    assert "optimize: OSError: No space left on device" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "sample.txt"]


def test_a_checkpoint_that_is_none_is_one_line(
    optimized: Callable[..., int], model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (model / "model.safetensors").unlink()
    assert optimized(EAGER) == 1
    assert capsys.readouterr().err == f"optimize: {model} has no weights: there is no .safetensors file.\n"


def test_an_empty_folder_may_be_written_to(optimized: Callable[..., int], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert optimized(EAGER[:1], out=tmp_path / "empty") == 0
    assert (tmp_path / "empty" / "atelier.json").is_file()


def test_the_checkpoint_itself_and_full_folders_and_files_are_not_overwritten(
    optimized: Callable[..., int], model: Path, sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(model)
    refused = [
        (model / ".", "the checkpoint itself"),
        (model / "fast", "is inside the checkpoint"),
        (model / "a" / ".." / "b" / "fast", "is inside the checkpoint"),
        (tmp_path, "is not empty"),
        (sample, "is a file"),
    ]
    for out, message in refused:
        with pytest.raises(SystemExit) as stopped:
            optimized(EAGER, out=out)
        assert stopped.value.code == 2
        assert message in capsys.readouterr().err
    assert contents(model) == before


def test_an_original_that_fails_is_one_line(
    optimized: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert optimized([COMPILED, EAGER[0]]) == 1
    captured = capsys.readouterr()
    assert captured.err.splitlines()[-1] == (
        "optimize: Nothing was written: the original could not be measured (RuntimeError: no C++ compiler found)."
    )
    assert "times as fast" not in captured.out
    assert not (tmp_path / "out").exists()


def test_code_that_is_trusted_is_written_with_its_checkpoint(
    optimized: Callable[..., int], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    tiny_checkpoints.with_code(model)
    assert optimized(EAGER[:1]) == 1
    assert optimized(EAGER[:1], "--trust_remote_code") == 0
    assert checkpoints.find(str(tmp_path / "out"), trust_remote_code=True).kind == "seq2seq"
    assert (tmp_path / "out" / "own.py").is_file()


def test_a_candidate_leaves_nothing_to_the_next(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks are in reference cycles, so that they outlive their trial without a collection."""
    alive: list[weakref.ref[Any]] = []
    left: list[int] = []
    real = loading.load

    def load(*args: Any, **kwargs: Any) -> Any:
        left.append(sum(network() is not None for network in alive))
        loaded = real(*args, **kwargs)
        loaded.model.itself = [loaded.model]
        alive.append(weakref.ref(loaded.model))
        return loaded

    monkeypatch.setattr("training.summarization.trials.load", load)
    bench = trials.Bench(checkpoints.find(str(model)), ["The cat sat."], 4, 1, 1)
    gc.disable()
    try:
        original = bench.original()
        assert [bench.attempt(candidate, original).failure for candidate in EAGER] == [None, None]
    finally:
        gc.enable()
    assert left == [0, 0, 0]


@pytest.mark.parametrize("flags", [["--runs", "0"], ["--runs", "x"], ["--max_length", "0"], ["--unknown"]])
def test_wrong_arguments_are_exit_status_2(optimized: Callable[..., int], flags: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        optimized(EAGER, *flags)
    assert stopped.value.code == 2


def test_compiled_kernels_must_be_worth_their_making() -> None:
    eager = Trial(EAGER[0], seconds=1.0, cosine=1.0, agreement=1.0)
    a_little, much = (Trial(COMPILED, seconds=seconds, cosine=1.0, agreement=1.0) for seconds in (0.95, 0.5))
    assert optimize.best([eager, a_little]) is eager
    assert optimize.best([eager, much]) is much
    assert optimize.best([Trial(COMPILED, failure="no")]) is None


def test_a_sample_without_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n\n \n")
    with pytest.raises(ValueError, match="holds no text"):
        trials.texts(tmp_path / "empty.txt", "")
    assert len(trials.texts(None, "a")) == 3
