"""What is no sentence is no candidate for a summary while there is prose, whatever the format it came in."""

from __future__ import annotations

import pytest

from runners.models.summarizers import ranker
from runners.models.summarizers.base import Task
from runners.models.summarizers.extractive import Extractive, article_of
from runners.models.text.prose import is_run, without_lists, without_runs
from tests.support.running import cpu_time
from tests.support.servers import ROOT

WEIGHTS = ROOT / "runners" / "weights" / "summarization-1.1.0.safetensors"
PROSE = (
    "The survey of the dykes began in March. Six of the forty sections had sunk by more than a hand. The water board"
    " will raise them before the winter storms, at a cost of two million crowns. Farmers"
    " behind the dykes pay a third of it."
)
SENTENCES = [f"{sentence}." for sentence in PROSE.rstrip(".").split(". ")]
LISTS = {
    "a table of contents with dots": "Contents\n1 Introduction ...... 3\n2 The dykes ...... 4\n3 Costs .... 9",
    "the same in one line": "Contents\n\n1 Introduction ..... 3 2 The dykes ..... 4 2.1 The north .... 5 3 Costs .. 9",
    "spaced dots": "Contents\n1 Introduction . . . . . . 3\n2 State of the dykes . . . . . . . 4\n3 Costs . . . . . 9",
    "ellipses": "目录\n第一章 绪论……3\n第二章 堤坝的状况……4\n第三章 费用……9",
    "a table of contents without dots": "Contents\nIntroduction   3\nThe dykes   4\nThe north   5\nCosts   9",
    "the same, numbered, in one line": "1 Introduction 3 2 Of the dykes 4 2.1 The north 5 2.2 The south 7 3 Costs 9",
    "dates in lines": "12 March 2024\n14 March 2024\n2 April 2024\n9 May 2024\n1 June 2024",
    "dates in one line": "Mon 12.03.2024 Tue 13.03.2024 Wed 14.03.2024 Thu 15.03.2024 Fri 16.03.2024 Sat 17.03.2024",
    "dates that end like a sentence": "12 March 2024, 14 March 2024, 2 April 2024, 9 May 2024, 1 June 2024.",
    "addresses": "https://a.example/x\nhttps://b.example/y\nhttps://c.example/z\nwww.d.example/index.html",
    "addresses in one line": "Dykes: https://a.example/d Pumps: https://a.example/p Jobs: https://a.example/j",
    "a menu": "Home\nNews\nPress releases\nWater levels\nDams and weirs\nFloods",
    "a menu in paragraphs": "Home\n\nNews\n\nPress releases\n\nWater levels\n\nDams and weirs\n\nFloods",
    "a menu in one line": "Home News Press releases Water levels Dams and weirs Floods Boating Tenders Jobs",
    "crumbs": "Home > News > Press releases > Dykes > The survey",
    "a row of a menu": "Home | News | Press | Jobs | Contact us | Imprint",
    "figures": "2019 1.2 3.4 5.6\n2020 1.3 3.5 5.8\n2021 1.4 3.6 5.9\n2022 1.5 3.8 6.0",
    "a Chinese menu": "首页\n新闻\n公告\n水位\n联系我们",
    "an Arabic menu": "الرئيسية\nأخبار\nاتصل بنا\nالوظائف",
    "references": "\n\n".join(
        (
            "[1] Smith, J. (2019). The dykes of the north and their builders. Journal of Dykes, 12(3), 3-9.",
            "[2] Jones, B. and Holm, C. (2020). A history of pumps. Holm University Press.",
            "[3] Weir, D. et al. Floods and the survey of dykes. In: Proceedings of Dykes, 2021, pp. 3-9.",
        )
    ),
}
LISTS["references in lines"] = LISTS["references"].replace("\n\n", "\n")


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("is_before", [True, False])
def test_what_is_no_sentence_is_no_candidate_beside_prose(name: str, is_before: bool) -> None:
    parts = [LISTS[name], PROSE] if is_before else [PROSE, LISTS[name]]
    assert article_of(Task("\n\n".join(parts), 128, 0, "en")).sentences == SENTENCES


@pytest.mark.parametrize("name", LISTS)
def test_a_text_of_nothing_else_is_its_own(name: str) -> None:
    text = LISTS[name]
    said = " ".join(article_of(Task(text, 128, 0, "en")).sentences)
    assert len(said) > len(text) / 2


ORDINARY = {
    "lines that wrap": "The survey of the dykes began in\nMarch. Six of the forty sections had"
    "\nsunk by more than a hand. The\nWater Board will raise them before\nthe storms of winter, at a high cost.",
    "a verse": "The lake is still\nNo wind no boat\nNo bird in sight\nThe morning waits",
    "scores": f"{PROSE} Federer beat Nadal 6-4, 6-3, 7-5 in Paris on Sunday 9 June 2019.",
    "a sentence a line": PROSE.replace(". ", ".\n"),
    "years": "In 2019 the board spent 1.2 million, in 2020 it spent 1.3 and in 2021 it spent 1.4 million crowns.",
    "a list of points": "The board decided:\n\n- to raise the six sections that have sunk before winter\n"
    "- to replace two of the pumps that stand behind the dykes\n"
    "- to ask the farmers for a third of the money it costs\n"
    "- to look at the other sections again in the spring of next year",
    "a citation": f"{PROSE} Smith (2019) says in the Journal of Dykes that they sank earlier.",
    "Chinese lines that wrap": "堤坝的调查于三月开始。四十段堤坝\n中有六段下沉超过一掌宽，水务局将\n加高它们。",
}


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_prose_stays_as_it_was(name: str) -> None:
    text = ORDINARY[name]
    assert without_lists(text) == text
    assert without_runs([SENTENCES]) == [SENTENCES]
    assert not is_run(text)


def test_a_summary_says_what_happened_and_not_what_the_chapters_are_called() -> None:
    (said,) = Extractive(ranker.read(WEIGHTS), "test").summarize(
        [Task(f"{LISTS['the same in one line']}\n\n1 Introduction\n\n{PROSE}", 1000, 0, "en")]
    )
    assert "began in March" in str(said)
    assert ".." not in str(said)


def test_a_title_before_a_list_stays_the_title() -> None:
    text = f"Report on the dykes\n\n{LISTS['a table of contents with dots']}\n\n{PROSE}"
    assert article_of(Task(text, 128, 0, "en")).title == "Report on the dykes"


@pytest.mark.slow
@pytest.mark.parametrize(
    "piece", [".", ". ", " .", "…", "-", "_", "1.", "a@", "a.b ", "[1] ", "\n", "x\n", "1 2 ", "A "]
)
def test_lists_are_found_in_time_by_length_alone(piece: str) -> None:
    text = piece * (1_000_000 // len(piece)) + "x"
    cpu_time.at_most(10, lambda: (without_lists(text), without_runs([[text]])))
