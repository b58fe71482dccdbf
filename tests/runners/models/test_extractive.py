"""The extractive engine with the shipped weights: what it keeps, how much, and texts that are none."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from runners.errors import RunnerError
from runners.models.summarizers import ranker
from runners.models.summarizers.base import Task
from runners.models.summarizers.extractive import Extractive, article_of, join_sentences
from runners.models.summarizers.neural.checkpoints import CheckpointError
from runners.models.summarizers.ranker_features import Article, measure
from runners.models.summarizers.warming import warm
from runners.models.text.sentences import paragraphs, split
from runners.models.text.tokens import tokens
from tests.support.running import cpu_time
from tests.support.servers import ROOT

WEIGHTS = ROOT / "runners" / "weights" / "summarization-1.1.0.safetensors"

FRENCH = (
    "Le conseil municipal de Rennes a voté lundi soir un budget de 450 millions d'euros pour l'année prochaine. "
    "M. Martin, adjoint aux finances, a défendu une hausse des dépenses pour les écoles et les transports. "
    "L'opposition a dénoncé une hausse de la dette de la ville. Il pleuvait sur la place. "
    "Le budget des transports augmentera de 12 %, selon la mairie. Une nouvelle ligne de métro sera ouverte en mars. "
    "Les habitants pourront donner leur avis en ligne. Rien n'est encore décidé pour la piscine."
)
ENGLISH = (
    "Council votes for new budget\n\n"
    "Rennes city council voted on Monday for a budget of 450 million euros for the next year.\n\n"
    "The deputy for finance, John Martin, defended higher spending on schools and on transport. "
    "The opposition said that the debt of the city would grow too fast.\n\n"
    "It was raining on the square. The budget for transport will grow by 12 per cent, the council said. "
    "A new metro line will open in March."
)
CHINESE = (
    "市议会星期一晚上通过了明年四点五亿欧元的预算。负责财政的副市长支持增加学校和交通的支出。反对派批评城市债务增加太快。"
    "广场上下着雨。交通预算将增加百分之十二。新的地铁线将于三月开通。"
)


@pytest.fixture(scope="session")
def engine() -> Extractive:
    return Extractive(ranker.read(WEIGHTS), "summarization:1.1.0")


def task(text: str, max_length: int = 128, language: str = "fr", title: str | None = None) -> Task:
    return Task(text, max_length, 0.0, language, title)


def summary(engine: Extractive, one: Task) -> str:
    (said,) = engine.summarize([one])
    assert isinstance(said, str)
    return said


def test_a_summary_is_made_of_whole_sentences_in_their_order(engine: Extractive) -> None:
    said = split(summary(engine, task(FRENCH)), "fr")
    places = [split(FRENCH, "fr").index(sentence) for sentence in said]
    assert 0 < len(said) < 6
    assert places == sorted(places)


@pytest.mark.parametrize(("text", "language"), [(FRENCH, "fr"), (ENGLISH, "en"), (CHINESE, "zh"), (FRENCH, "und")])
def test_no_limit_is_ever_exceeded_and_no_summary_is_empty(engine: Extractive, text: str, language: str) -> None:
    for limit in (*range(1, 40), 64, 128, 4096):
        assert 0 < tokens(summary(engine, task(text, limit, language))) <= limit


def test_a_sentence_that_is_too_long_ends_between_two_words(engine: Extractive) -> None:
    said = summary(engine, task(FRENCH, 8))
    assert said.endswith("…")
    assert any(sentence.startswith(said[:-1] + " ") for sentence in split(FRENCH, "fr"))


def test_chinese_sentences_are_joined_without_a_space(engine: Extractive) -> None:
    assert " " not in summary(engine, task(CHINESE, 80, "zh"))
    assert join_sentences(["你好。", "走吧。"]) == "你好。走吧。"
    assert join_sentences(["Oui.", "Non."]) == "Oui. Non."


def test_a_text_that_is_shorter_than_a_summary_comes_back_whole(engine: Extractive) -> None:
    assert summary(engine, task("Il pleut.\n\n  Elle   dort. Fin.")) == "Il pleut. Elle dort. Fin."


def test_a_heading_is_the_title_and_no_sentence(engine: Extractive) -> None:
    assert article_of(task(ENGLISH, language="en")).title == "Council votes for new budget"
    assert article_of(task(ENGLISH, language="en", title="Given")).title == "Given"
    assert "Council votes" not in summary(engine, task(ENGLISH, language="en"))
    assert article_of(task("A heading alone", language="en")).sentences == ["A heading alone"]


def test_a_text_that_breaks_the_ranker_harms_no_neighbour(
    engine: Extractive, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = engine._ranker.score

    def moody(article: Article) -> ranker.Scored:
        if article.title == "bad":
            raise ZeroDivisionError
        return real(article)

    alone = engine.summarize([task(FRENCH), task(ENGLISH)])
    monkeypatch.setattr(engine._ranker, "score", moody)
    first, failed, last = engine.summarize([task(FRENCH), task(FRENCH, title="bad"), task(ENGLISH)])
    assert [first, last] == alone
    assert isinstance(failed, RunnerError)
    assert str(failed) == "The text could not be summarized."
    assert [record.exc_info is not None for record in caplog.records] == [True]


def test_it_is_ready_before_it_serves(engine: Extractive, monkeypatch: pytest.MonkeyPatch) -> None:
    ranked: list[Article] = []
    real = engine._ranker.score

    def counting(article: Article) -> ranker.Scored:
        ranked.append(article)
        return real(article)

    monkeypatch.setattr(engine._ranker, "score", counting)
    warm(engine)
    assert len(ranked) == 6  # a text and two, at two temperatures
    monkeypatch.setattr(engine._ranker, "score", lambda article: 1 // 0)
    with pytest.raises(
        CheckpointError, match=r"The engine extractive with the model summarization:.+ cannot summarize"
    ):
        warm(engine)


def test_the_same_task_gets_the_same_summary_alone_and_in_a_batch(engine: Extractive) -> None:
    tasks = [task(FRENCH), task(ENGLISH, language="en"), task(FRENCH, 30), task("…"), task(CHINESE, 60, "zh")]
    assert engine.summarize(tasks) == [summary(engine, one) for one in tasks]
    assert engine.summarize([replace(tasks[0], temperature=2.0)]) == engine.summarize(tasks[:1])


def test_a_sentence_said_twice_is_not_repeated(engine: Extractive) -> None:
    nearly = FRENCH.replace("lundi", "mardi").replace("lignes", "voies")
    for text in (f"{FRENCH} {FRENCH}", f"{FRENCH} {nearly}"):
        said = split(summary(engine, task(text, language="en")), "en")
        assert len({sentence[:20] for sentence in said}) == len(said)


def wordy() -> ranker.Ranker:
    """A ranker for which a set is the better the more sentences it has."""
    stored = ranker.read(WEIGHTS)
    count = len(ranker.SET_FEATURES)
    choice = np.zeros((1, count, 1), dtype=np.float32)
    choice[0, ranker.SET_FEATURES.index("sentences")] = 1
    plain = {
        "sets.mean": np.zeros(count, dtype=np.float32),
        "sets.scale": np.ones(count, dtype=np.float32),
        "sets.weight.0": choice,
        "sets.bias.0": np.zeros((1, 1), dtype=np.float32),
    }
    others = {name: value for name, value in stored.tensors.items() if not name.startswith("sets.")}
    return ranker.Ranker(ranker.RankerWeights(others | plain, {}))


def test_two_sentences_that_say_nearly_the_same_are_no_set() -> None:
    sentences = ["The council votes on the budget today.", "The council votes on the budget.", "A line opens in March."]
    scorer = wordy()
    scored = scorer.score(Article(sentences, [True] * 3, "", True))
    assert len(scorer.choose(scored, [8, 8, 6], 100)) == 2
    pool = ranker.pool_of(scored)
    sets = np.array([[True, True, False], [True, False, True], [False, True, True], [True, True, True]])
    assert pool.repeats(sets).tolist() == [True, False, False, True]


def test_a_single_sentence_longer_than_the_limit_is_cut_and_never_dropped(engine: Extractive) -> None:
    said = summary(engine, task("le chat dort et " * 100, 20))
    assert said.startswith("le chat dort")
    assert said.endswith("…")
    assert tokens(said) == 20


@pytest.mark.parametrize(
    "text", ["", " \n ", "\0\0", "\ud800", "...", "?!" * 500, "🙂" * 500, "\n\n".join(["—"] * 300)]
)
def test_a_text_without_a_word_is_cut_to_the_limit(engine: Extractive, text: str) -> None:
    said = summary(engine, task(text, 10, "und"))
    assert tokens(said) <= 10
    assert bool(said) == any(character in ".?🙂—" for character in text)


def test_no_control_character_and_no_surrogate_is_said(engine: Extractive) -> None:
    said = summary(engine, task(FRENCH.replace(" ", " \x07\ud800"), title="\ud800\0"))
    said.encode()
    assert "\x07" not in said


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    ["a" * 1_000_000, "a b c " * 160_000, "." * 1_000_000, "a. " * 330_000, "a\n\n" * 330_000, (FRENCH + " ") * 1_500],
    ids=["one word", "no full stop", "full stops", "short", "lines", "article"],
)
def test_a_megabyte_is_summarized_in_seconds(engine: Extractive, text: str) -> None:
    assert cpu_time.at_most(10, lambda: summary(engine, task(text)))


def test_features_are_finite_for_the_shortest_articles() -> None:
    for sentences in (["a"], ["1", "?"], ["…"], ["a"] * 3):
        measured = measure(Article(sentences, [True] * len(sentences), "", True))
        assert np.isfinite(measured.sentences).all()
        assert np.isfinite(measured.terms).all()


@pytest.mark.server
def test_serving_loads_no_torch() -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom runners.models.summarizers import ranker\n"
        "from runners.models.summarizers.extractive import Extractive\n"
        f"Extractive(ranker.read(Path({str(WEIGHTS)!r})), 'x')\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=WEIGHTS.parents[2])


def test_the_weights_explain_themselves() -> None:
    stored = ranker.read(WEIGHTS)
    assert {"licence", "features", "normalisation", "config", "data", "figures"} <= stored.facts.keys()
    assert stored.facts["features"]["sets"] == list(ranker.SET_FEATURES)
    assert WEIGHTS.stat().st_size < 1_000_000


@pytest.mark.parametrize("text", ["a" * 1_000_000, "ภาษาไทย" * 100_000])
def test_text_without_spaces_is_cut_all_the_same(text: str) -> None:
    (said,) = Extractive(ranker.read(WEIGHTS), "test").summarize([Task(text, 128, 0, "und")])
    assert isinstance(said, str)
    assert 0 < tokens(said) <= 128
    assert len(said) < 4000


def test_no_more_sentences_are_split_than_are_read() -> None:
    article = article_of(Task("".join(f"第{number}句。" for number in range(30_000)), 128, 0, "zh"))
    assert len(article.sentences) == 20_000
    assert sum(map(len, paragraphs("中文。" * 60_000, "zh", 20_001))) == 20_001
