"""Cutting texts where a model's input ends, batching them by length, and the passes over a long one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from runners.errors import InvalidImage, PayloadTooLarge, RunnerError
from runners.models.summarizers import batches, passes
from runners.models.summarizers.base import Task
from runners.models.summarizers.neural.chunks import chunks, cut
from tests.support.running import cpu_time

TEXTS = st.lists(st.text("ab c猫\n", min_size=1, max_size=40), max_size=12)


def by_words(text: str) -> int:
    """A word and the spaces before it are a token, as in most vocabularies; Chinese has one a character."""
    return sum(max(1, word.count("猫")) for word in text.split())


def by_bytes(text: str) -> int:
    return len(text.encode())


@pytest.mark.parametrize("count", [by_words, by_bytes])
@pytest.mark.parametrize("separator", [" ", ""])
@given(sentences=TEXTS, limit=st.integers(4, 30))
def test_no_chunk_is_over_the_limit_and_no_letter_is_lost(
    count: Callable[[str], int], separator: str, sentences: list[str], limit: int
) -> None:
    found = chunks(sentences, count, limit, separator)
    assert all(count(chunk) <= limit for chunk in found)
    assert "".join("".join(found).split()) == "".join("".join(sentences).split())


@given(
    sentences=st.lists(st.integers(1, 9).map("a ".__mul__).map(str.strip), min_size=1, max_size=9),
    limit=st.integers(9, 30),
)
def test_chunks_end_between_sentences_and_are_as_full_as_can_be(sentences: list[str], limit: int) -> None:
    found = chunks(sentences, by_words, limit)
    ends = [by_words(" ".join(sentences[:end])) for end in range(len(sentences) + 1)]
    total = 0
    for chunk, following in zip(found, [*found[1:], None], strict=True):
        total += by_words(chunk)
        assert total in ends
        if following is not None:
            next_sentence = ends[ends.index(total) + 1] - total
            assert by_words(chunk) + next_sentence > limit


def test_a_sentence_over_the_limit_is_cut_after_a_word() -> None:
    assert chunks(["one two three four five"], by_bytes, 10) == ["one two", "three four", "five"]


def test_a_word_over_the_limit_is_cut_anywhere() -> None:
    assert chunks(["abcdefgh"], by_bytes, 5) == ["abcde", "fgh"]


def test_tokens_that_joining_adds_are_counted() -> None:
    assert chunks(["aa", "bb", "cc"], by_bytes, 6) == ["aa bb", "cc"]


def test_a_page_without_a_full_stop_is_cut_in_no_time() -> None:
    counted = 0

    def count(text: str) -> int:
        nonlocal counted
        counted += len(text)
        return len(text)

    chunks(["x" * 100_000, *["y z."] * 10_000], count, 500)
    assert counted < 60 * 150_000


@given(lengths=st.lists(st.integers(1, 900), max_size=60))
def test_batches_hold_every_index_once_and_are_padded_by_less_than_half(lengths: list[int]) -> None:
    found = batches.by_length(lengths, rows=8, tokens=2000)
    assert sorted(index for batch in found for index in batch) == list(range(len(lengths)))
    for batch in found:
        longest = max(lengths[index] for index in batch)
        assert len(batch) <= 8
        assert len(batch) * longest <= 2000
        assert all(2 * lengths[index] > longest for index in batch) or len(batch) == 1


def test_a_batch_that_is_out_of_memory_is_halved_until_it_fits() -> None:
    sizes: list[int] = []

    def generate(batch: Sequence[int]) -> list[str]:
        sizes.append(len(batch))
        if len(batch) > 2:
            raise torch.OutOfMemoryError
        return [str(item) for item in batch]

    assert batches.run(range(8), generate) == list("01234567")
    assert sizes == [8, 4, 2, 2, 4, 2, 2]


def test_an_error_harms_no_neighbour(caplog: pytest.LogCaptureFixture) -> None:
    def generate(batch: Sequence[int]) -> list[str]:
        if 5 in batch:
            raise RuntimeError("[enforce fail] . DefaultCPUAllocator: can't allocate memory: you tried 8 bytes")
        if 2 in batch:
            raise ZeroDivisionError
        if 3 in batch:
            raise InvalidImage("The image is empty.")
        return [str(item) for item in batch]

    said = batches.run(range(8), generate)
    assert [record.levelname for record in caplog.records if record.exc_info] == ["ERROR"]
    assert [one for one in said if isinstance(one, str)] == list("01467")
    assert [str(one) for one in said if isinstance(one, RunnerError)] == [
        "The text could not be summarized.",
        "The image is empty.",
        "The model needs more memory for this text than the machine has.",
    ]


def words(task: Task) -> list[Task]:
    """Four words at most a part."""
    parts = chunks([task.text], by_words, 4)
    return [task] if len(parts) == 1 else [replace(task, text=part, max_length=1) for part in parts]


def first_words(tasks: Sequence[Task]) -> list[str | RunnerError]:
    return [" ".join(task.text.split()[: task.max_length]) for task in tasks]


def text(count: int) -> str:
    return " ".join(f"w{number}" for number in range(count))


def test_the_parts_summaries_are_summarized_again_until_one_is_short_enough() -> None:
    said = passes.summarize([Task(text(64), 3, 0, "en"), Task(text(2), 3, 0, "en")], words, first_words, by_words)
    assert said == ["w0 w16 w32", "w0 w1"]


def test_parts_that_are_short_enough_together_are_the_summary() -> None:
    assert passes.summarize([Task(text(12), 3, 0, "en")], words, first_words, by_words) == ["w0 w4 w8"]


def test_chinese_parts_are_joined_without_spaces() -> None:
    assert passes.summarize([Task("猫" * 8, 2, 0, "zh")], words, lambda parts: ["猫"] * len(parts), by_words) == [
        "猫猫"
    ]


def test_a_model_that_never_gets_shorter_is_stopped() -> None:
    def echo(tasks: Sequence[Task]) -> list[str | RunnerError]:
        return [task.text for task in tasks]

    (said,) = passes.summarize([Task(text(64), 3, 0, "en")], words, echo, by_words)
    assert isinstance(said, PayloadTooLarge)


def test_an_error_of_one_part_is_the_error_of_its_task_alone() -> None:
    def generate(tasks: Sequence[Task]) -> list[str | RunnerError]:
        return [RunnerError("no") if "w9" in task.text else "yes" for task in tasks]

    said = passes.summarize([Task(text(5), 9, 0, "en"), Task(text(12), 9, 0, "en")], words, generate, by_words)
    assert said[0] == "yes yes"
    assert str(said[1]) == "no"


def test_the_first_error_of_several_parts_is_the_tasks() -> None:
    said = passes.join(Task(text(9), 9, 0, "en"), ["yes", RunnerError("one"), RunnerError("two")], by_words)
    assert str(said) == "one"


class Broken:
    """Splits, generates or counts as the others do, until the text has a word that it cannot stand."""

    def __init__(self, where: str) -> None:
        self.where = where

    def _check(self, where: str, text: str) -> None:
        if where == self.where and "w9" in text.split():
            raise ZeroDivisionError

    def split(self, task: Task) -> list[Task]:
        self._check("split", task.text)
        return words(task)

    def generate(self, tasks: Sequence[Task]) -> list[str | RunnerError]:
        for task in tasks:
            self._check("generate", task.text)
        return [task.text for task in tasks]

    def count(self, text: str) -> int:
        self._check("count", text)
        return by_words(text)


@pytest.mark.parametrize("where", ["split", "generate", "count"])
def test_what_nobody_foresaw_is_the_error_of_one_task_and_is_logged_once(
    where: str, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Broken(where)
    tasks = [Task(text(5), 9, 0, "en"), Task(text(12), 12, 0, "en"), Task(text(3), 9, 0, "en")]
    said = passes.summarize(tasks, broken.split, broken.generate, broken.count)
    assert [str(one) for one in said] == [text(5), "The text could not be summarized.", text(3)]
    assert isinstance(said[1], RunnerError)
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


def test_short_sentences_that_do_not_fit_with_their_separators_are_counted_a_few_times() -> None:
    asked = 0

    def count(text: str) -> int:
        nonlocal asked
        asked += len(text)
        return len(text)

    found = chunks(["a"] * 4_000, count, 400)
    assert "".join(found).replace(" ", "") == "a" * 4_000
    assert asked < 200_000  # a count for each sentence that is one too many makes it a million and a half


def test_a_long_word_is_cut_without_a_copy_of_what_is_left_for_each_piece() -> None:
    assert cpu_time.at_most(10, lambda: sum(map(len, cut("a" * 1_000_000, len, 8)))) == 1_000_000
