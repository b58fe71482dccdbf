"""The encoder-decoder engine on small random checkpoints of every family, through the real loading and generation."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from runners.errors import RunnerError
from runners.models.summarizers.base import Task
from runners.models.summarizers.neural import checkpoints, families, loading
from runners.models.summarizers.neural.checkpoints import CheckpointError
from runners.models.summarizers.neural.sampling import GumbelLogitsProcessor, gumbel, seed_of
from runners.models.summarizers.neural.seq2seq import Seq2Seq
from runners.models.summarizers.warming import warm
from runners.models.text.sentences import split
from tests.doubles import tiny_checkpoints
from tests.doubles.tiny_checkpoints import CORPUS

FAMILIES = ["bart", "t5", "pegasus", "mbart", "mbart50"]
LONG = " ".join([CORPUS[0], CORPUS[3]] * 12)


def opened(folder: Path) -> Seq2Seq:
    return Seq2Seq(loading.load(checkpoints.find(str(folder)), device=torch.device("cpu"), threads=1), split)


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Seq2Seq]:
    made: dict[str, Seq2Seq] = {}

    def engine(family: str) -> Seq2Seq:
        if family not in made:
            made[family] = opened(getattr(tiny_checkpoints, family)(tmp_path_factory.mktemp(family)))
        return made[family]

    return engine


def tasks() -> list[Task]:
    """Every language, short and long, greedy and sampled."""
    return [
        Task(CORPUS[0], 8, 0.0, "en"),
        Task(CORPUS[1], 8, 0.7, "fr"),
        Task(CORPUS[2], 8, 0.7, "zh"),
        Task(CORPUS[3], 5, 1.5, "en"),
        Task("Hm.", 8, 0.7, "und"),
        Task(LONG, 8, 0.7, "en"),
        Task(LONG + CORPUS[1], 8, 0.0, "fr"),
        Task(CORPUS[0], 1, 0.7, "en"),
    ]


def tokens(engine: Seq2Seq, text: str | RunnerError) -> int:
    assert isinstance(text, str)
    return len(engine._tokenizer(text, add_special_tokens=False).input_ids)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_task_gets_a_summary_within_its_length(family: str, engines: Callable[[str], Seq2Seq]) -> None:
    engine = engines(family)
    summaries = engine.summarize(tasks())
    assert all(tokens(engine, said) <= task.max_length for task, said in zip(tasks(), summaries, strict=True))
    assert sum(bool(said) for said in summaries) >= 6


@pytest.mark.parametrize("family", FAMILIES)
def test_a_summary_does_not_depend_on_the_batch(family: str, engines: Callable[[str], Seq2Seq]) -> None:
    engine = engines(family)
    together = engine.summarize(tasks())
    assert together == [engine.summarize([task])[0] for task in tasks()]
    assert together == engine.summarize(tasks()[::-1])[::-1]


def test_sampling_differs_between_tasks_and_temperatures(engines: Callable[[str], Seq2Seq]) -> None:
    said = engines("bart").summarize(
        [Task(CORPUS[0], 8, heat, language) for heat in (0.0, 0.7, 0.8) for language in ("en", "fr")]
    )
    assert said[0] == said[1]
    assert len(set(said)) == 5


def test_a_text_that_ends_like_another_is_sampled_anew(engines: Callable[[str], Seq2Seq]) -> None:
    first, second = engines("bart").summarize([Task(CORPUS[0], 8, 1.0, "en"), Task(CORPUS[0] + "!", 8, 1.0, "en")])
    assert first != second


def test_t5_is_told_what_to_do(engines: Callable[[str], Seq2Seq], monkeypatch: pytest.MonkeyPatch) -> None:
    said = seen(engines("t5"), monkeypatch, Task(CORPUS[0], 4, 0, "en"))
    assert said[0].startswith("summarize: The cat")


def test_a_config_may_say_its_own_prefix_and_search(tmp_path: Path) -> None:
    params = {"summarization": {"prefix": "tl;dr ", "num_beams": 3, "min_length": 4, "max_length": 200}}
    engine = opened(tiny_checkpoints.bart(tmp_path, task_specific_params=params))
    assert engine._prefix == "tl;dr "
    assert (engine._generation_config.num_beams, engine._generation_config.min_length) == (3, 4)
    assert engine._generation_config.max_length is None


def test_a_least_length_gives_way_to_short_texts_and_short_wishes(tmp_path: Path) -> None:
    params = {"summarization": {"min_length": 56}}
    engine = opened(tiny_checkpoints.bart(tmp_path, task_specific_params=params))
    assert engine._generation(Task("", 142, 0, "en"), tokens=500).min_length == 56
    assert engine._generation(Task("", 20, 0, "en"), tokens=500).min_length == 20
    assert engine._generation(Task("", 142, 0, "en"), tokens=30).min_length == 15


@pytest.mark.parametrize("language", ["en", "fr", "zh"])
def test_mbart_reads_and_writes_the_language_of_the_text(
    language: str, engines: Callable[[str], Seq2Seq], monkeypatch: pytest.MonkeyPatch
) -> None:
    code = {"en": "en_XX", "fr": "fr_XX", "zh": "zh_CN"}[language]
    for family in ("mbart", "mbart50"):
        engine = engines(family)
        (source,) = seen(engine, monkeypatch, Task(CORPUS[0], 4, 0, language))
        assert source.endswith(f"</s>{code}") if family == "mbart" else source.startswith(code)
        config = engine._config(engine._generation(Task(CORPUS[0], 4, 0, language), 9))
        start = config.decoder_start_token_id if family == "mbart" else config.forced_bos_token_id
        assert engine._tokenizer.convert_ids_to_tokens(start) == code


def test_a_language_without_a_code_leaves_the_checkpoints_own(engines: Callable[[str], Seq2Seq]) -> None:
    assert families.language_code(engines("mbart")._tokenizer, "und") == ""
    assert families.language_code(engines("bart")._tokenizer, "fr") == ""


def seen(engine: Seq2Seq, monkeypatch: pytest.MonkeyPatch, *wanted: Task) -> list[str]:
    """What the encoder is given, as text."""
    rows: list[str] = []
    real = engine._network.generate

    def spy(**inputs: Any) -> Any:
        rows.extend(engine._tokenizer.batch_decode(inputs["input_ids"]))
        return real(**inputs)

    with monkeypatch.context() as patch:
        patch.setattr(engine._network, "generate", spy)
        engine.summarize(wanted)
    return rows


@pytest.mark.parametrize("family", FAMILIES)
def test_all_of_a_long_text_is_read_within_the_encoders_limit(
    family: str, engines: Callable[[str], Seq2Seq], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engines(family)
    text = " ".join(f"The plan {number} is new." for number in range(60))
    rows = seen(engine, monkeypatch, Task(text, 4, 0, "en"))
    assert len(rows) > 3
    limit = engine._input_limit
    assert all(len(engine._tokenizer(row, add_special_tokens=False).input_ids) <= limit for row in rows)
    read = "".join(rows).replace(" ", "")
    assert all(f"Theplan{number}isnew." in read for number in range(60))


def test_a_checkpoint_out_of_memory_takes_smaller_batches(
    engines: Callable[[str], Seq2Seq], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engines("bart")
    wanted = [Task(CORPUS[0], 4, 0.5 + number / 10, "en") for number in range(4)]
    expected = engine.summarize(wanted)
    real = engine._network.generate

    def small(**inputs: Any) -> Any:
        if len(inputs["input_ids"]) > 2:
            raise torch.OutOfMemoryError
        return real(**inputs)

    monkeypatch.setattr(engine._network, "generate", small)
    assert engine.summarize(wanted) == expected


def test_a_failing_task_is_an_error_in_its_place(
    engines: Callable[[str], Seq2Seq], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engines("bart")
    bad = len(engine._tokenizer("Hm.").input_ids)
    real = engine._network.generate

    def moody(**inputs: Any) -> Any:
        if (inputs["attention_mask"].sum(1) == bad).any():
            raise ZeroDivisionError
        return real(**inputs)

    monkeypatch.setattr(engine._network, "generate", moody)
    said = engine.summarize([Task(CORPUS[0], 4, 0, "en"), Task("Hm.", 4, 0, "en"), Task(CORPUS[3], 4, 0, "en")])
    assert [isinstance(one, RunnerError) for one in said] == [False, True, False]


@pytest.mark.parametrize("family", ["bart", "mbart"])
def test_no_text_that_is_cut_waits_for_a_batch(
    family: str, engines: Callable[[str], Seq2Seq], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engines(family)
    task, parts = Task(LONG, 8, 0, "fr"), len(engine.split(Task(LONG, 8, 0, "fr")))
    found: list[Any] = []
    real = engine._network.generate

    def meanwhile() -> None:
        found.append(engine.split(task))
        found.append(engine.join(task, [CORPUS[0]] * parts))

    def slow(**inputs: Any) -> Any:
        thread = threading.Thread(target=meanwhile, daemon=True)
        thread.start()
        thread.join(10)
        assert not thread.is_alive()
        return real(**inputs)

    monkeypatch.setattr(engine._network, "generate", slow)
    (said,) = engine.summarize([Task(CORPUS[0], 4, 0, "en")])
    assert isinstance(said, str)
    assert (len(found[0]), type(found[1])) == (parts, Task)


def test_batches_are_generated_one_after_the_other(
    engines: Callable[[str], Seq2Seq], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engines("bart")
    task, real = Task(CORPUS[0], 4, 0.7, "en"), engine._network.generate
    held: list[bool] = []

    def spy(**inputs: Any) -> Any:
        held.append(engine._lock.locked())
        return real(**inputs)

    monkeypatch.setattr(engine._network, "generate", spy)
    engine.summarize([task])
    assert held == [True]
    assert not engine._lock.locked()


def test_a_splitter_that_fails_is_an_error_of_its_text(
    engines: Callable[[str], Seq2Seq], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engines("bart")

    def moody(text: str, language: str) -> list[str]:
        raise ZeroDivisionError

    monkeypatch.setattr(engine, "_sentences", moody)
    said = engine.summarize([Task(LONG, 4, 0, "en"), Task(CORPUS[0], 4, 0, "en")])
    assert [isinstance(one, RunnerError) for one in said] == [True, False]
    with pytest.raises(RunnerError, match="could not be summarized"):
        engine.split(Task(LONG, 4, 0, "en"))


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_ready_before_it_serves(
    family: str, engines: Callable[[str], Seq2Seq], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engines(family)
    real, batches = engine._network.generate, []

    def spy(**inputs: Any) -> Any:
        batches.append((len(inputs["input_ids"]), bool(inputs["logits_processor"])))
        return real(**inputs)

    monkeypatch.setattr(engine._network, "generate", spy)
    warm(engine)
    assert batches == [(1, False), (2, False), (1, True), (2, True)]


@pytest.mark.parametrize("heat", [0.0, 0.7])
def test_an_engine_that_cannot_summarize_does_not_start(
    heat: float, engines: Callable[[str], Seq2Seq], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engines("bart")
    real = engine._summaries

    def moody(search: Any, tasks: list[Task]) -> list[str]:
        if tasks[0].temperature == heat:
            raise ZeroDivisionError
        return real(search, tasks)

    monkeypatch.setattr(engine, "_summaries", moody)
    with pytest.raises(CheckpointError) as caught:
        warm(engine)
    assert str(caught.value) == (
        f"The engine seq2seq with the model {engine.model} cannot summarize a short text at temperature {heat}:"
        " The text could not be summarized."
    )


def test_a_length_beyond_the_decoders_positions_is_what_it_has(engines: Callable[[str], Seq2Seq]) -> None:
    engine = engines("bart")
    (said,) = engine.summarize([Task(CORPUS[0], 4096, 0.7, "en")])
    assert tokens(engine, said) <= 128


def test_noise_makes_samples_of_the_softmax() -> None:
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0, -3.0])
    draws = 40_000
    processor = GumbelLogitsProcessor(range(draws), [0.8] * draws)
    rows = processor(torch.zeros(draws, 1, dtype=torch.long), logits.expand(draws, -1)).argmax(-1)
    frequencies = rows.bincount(minlength=5) / draws
    assert torch.allclose(frequencies, (logits / 0.8).softmax(-1), atol=4 / math.sqrt(draws))


def test_noise_is_finite_and_of_the_gumbel_distribution() -> None:
    noise = gumbel(torch.arange(2000)[:, None], torch.arange(500)[None])
    assert bool(noise.isfinite().all())
    assert abs(float(noise.mean()) - 0.5772) < 0.01
    assert abs(float(noise.std()) - math.pi / math.sqrt(6)) < 0.01


def test_every_step_and_seed_has_noise_of_its_own() -> None:
    flat = torch.zeros(3, 40)
    processor = GumbelLogitsProcessor([1, 1, 2], [1.0] * 3)
    first, second = (processor(torch.zeros(3, 1), flat).argmax(-1) for _ in range(2))
    assert first[0] == first[1]
    assert first[0] != first[2]
    assert first[0] != second[0]


def test_a_seed_depends_on_everything_in_a_task() -> None:
    base = Task("a", 8, 0.5, "en")
    others = [
        Task("b", 8, 0.5, "en"),
        Task("a", 9, 0.5, "en"),
        Task("a", 8, 0.6, "en"),
        Task("a", 8, 0.5, "fr"),
        Task("a", 8, 0.5, "en", title="t"),
        Task("a", 8, 0.5, "en", images=(b"x",)),
        Task("a", 8, 0.5, "en", images=(b"x", b"")),
        Task("\ud800", 8, 0.5, "en"),
    ]
    assert len({seed_of(task) for task in [base, *others]}) == 9
    assert seed_of(base) == seed_of(Task("a", 8, 0.5, "en"))
