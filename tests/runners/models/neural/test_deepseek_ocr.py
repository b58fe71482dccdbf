"""The engine that reads pages: text drawn as pages, prompts, and generation on a small random checkpoint."""

from __future__ import annotations

import threading
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFont

from runners.errors import InvalidImage, PayloadTooLarge, RunnerError, UnsupportedMediaType
from runners.limits import MAX_PAGES
from runners.models.summarizers.base import Task
from runners.models.summarizers.neural import checkpoints, loading, pages
from runners.models.summarizers.neural.deepseek_ocr import DeepSeekOcr
from runners.models.summarizers.warming import warm
from tests.conftest import encoded
from tests.doubles import tiny_checkpoints
from tests.doubles.tiny_checkpoints import CORPUS

PAGE = encoded(1, (124, 175))
STAMP = encoded(2, (40, 30))


@pytest.fixture(autouse=True)
def _a_font_for_letters(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Pillow's own font, so that the tests need none installed."""
    face = ImageFont.load_default(pages.FONT_SIZE)
    assert isinstance(face, ImageFont.FreeTypeFont)
    monkeypatch.setattr(pages, "installed_fonts", lambda: (Path("pillow"),))
    monkeypatch.setattr(pages, "_load_font", lambda path: face)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoints.deepseek_ocr2(tmp_path_factory.mktemp("deepseek"))


@pytest.fixture(scope="module")
def engine(folder: Path) -> DeepSeekOcr:
    return DeepSeekOcr(loading.load(checkpoints.find(str(folder)), device=torch.device("cpu"), threads=1))


def tasks() -> list[Task]:
    return [
        Task(CORPUS[0], 6, 0.0, "en"),
        Task("", 6, 0.7, "fr", images=(PAGE,)),
        Task("", 6, 0.7, "zh", images=(STAMP,)),
        Task("", 3, 1.0, "en", images=(STAMP, STAMP)),
    ]


def test_every_task_gets_a_summary_within_its_length(engine: DeepSeekOcr) -> None:
    summaries = engine.summarize(tasks())
    for task, said in zip(tasks(), summaries, strict=True):
        assert isinstance(said, str)
        assert len(engine._tokenizer(said).input_ids) <= task.max_length


def test_a_summary_does_not_depend_on_the_batch(engine: DeepSeekOcr) -> None:
    together = engine.summarize([*tasks(), Task("", 6, 0.7, "fr", images=(STAMP,))])[:4]
    assert together == [engine.summarize([task])[0] for task in tasks()]


def test_the_sampling_depends_on_the_pictures(engine: DeepSeekOcr) -> None:
    wanted = [Task("", 6, 1.0, "en", images=(STAMP,)), Task("", 6, 1.0, "en", images=(encoded(3, (40, 30)),))]
    first, second = engine.summarize(wanted)
    assert first != second


def test_a_damaged_picture_harms_no_neighbour(engine: DeepSeekOcr) -> None:
    broken = [Task("", 3, 0, "en", images=(STAMP[:60],)), Task("", 3, 0, "en", images=(STAMP, b"text"))]
    said = engine.summarize([tasks()[3], *broken, tasks()[3]])
    assert isinstance(said[1], InvalidImage)
    assert isinstance(said[2], UnsupportedMediaType)
    assert said[0] == said[3] == engine.summarize([tasks()[3]])[0]


def test_each_page_stands_on_a_line_before_the_question(engine: DeepSeekOcr) -> None:
    inputs = engine._inputs([Task("", 6, 0, "fr", images=(PAGE, STAMP))])
    ids = inputs["input_ids"][0]
    assert int((ids == engine._tokenizer.convert_tokens_to_ids("<image>")).sum()) == (256 + 6 * 144 + 1) + (256 + 1)
    assert engine._tokenizer.decode(ids, skip_special_tokens=True) == "\n\nRésume ce document en français."


def test_a_prompt_of_full_pages_fits_into_the_context(engine: DeepSeekOcr, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two pages of 1,121 tokens do not fit into 2,048, so that there is one prompt for each, and then one for both."""
    prompts: list[int] = []
    real = engine._network.generate

    def spy(**inputs: Any) -> Any:
        prompts.extend(inputs["attention_mask"].sum(1).tolist())
        return real(**inputs)

    monkeypatch.setattr(engine._network, "generate", spy)
    (said,) = engine.summarize([Task("", 4, 0.7, "en", images=(PAGE, PAGE))])
    assert len(prompts) >= 2
    assert all(tokens + 4 <= 2048 for tokens in prompts)
    assert isinstance(said, str)


def test_a_context_without_room_for_a_page_is_one_clear_error(tmp_path: Path) -> None:
    tiny_checkpoints.deepseek_ocr2(tmp_path, positions=1024)
    small = DeepSeekOcr(loading.load(checkpoints.find(str(tmp_path)), device=torch.device("cpu"), threads=1))
    (said,) = small.summarize([tasks()[0]])
    assert isinstance(said, RunnerError)
    assert "no room for one page" in str(said)


def test_no_text_is_drawn_or_cut_while_a_batch_is_waited_for(
    engine: DeepSeekOcr, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn_alone: list[bool] = []
    found: list[Any] = []
    generate, render = engine._network.generate, pages.render
    long = Task("", 4, 0, "en", images=(PAGE, PAGE))

    def meanwhile() -> None:
        found.append(engine.split(long))
        found.append(engine.join(long, [CORPUS[0]] * 2))

    def slow(**inputs: Any) -> Any:
        thread = threading.Thread(target=meanwhile, daemon=True)
        thread.start()
        thread.join(10)
        assert not thread.is_alive()
        return generate(**inputs)

    def spy(*given: Any) -> Any:
        drawn_alone.append(engine._lock.locked())
        return render(*given)

    monkeypatch.setattr(engine._network, "generate", slow)
    monkeypatch.setattr(pages, "render", spy)
    (said,) = engine.summarize(tasks()[:1])
    assert isinstance(said, str)
    assert drawn_alone == [False]
    assert (len(found[0]), type(found[1])) == (2, Task)


@pytest.mark.parametrize("fonts", [True, False])
def test_it_is_ready_before_it_serves_with_and_without_fonts(
    fonts: bool, engine: DeepSeekOcr, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, batches = engine._network.generate, []

    def spy(**inputs: Any) -> Any:
        batches.append((len(inputs["input_ids"]), bool(inputs["logits_processor"])))
        return real(**inputs)

    if not fonts:
        monkeypatch.setattr(pages, "installed_fonts", tuple)
    monkeypatch.setattr(engine._network, "generate", spy)
    warm(engine)
    assert batches == [(1, False), (2, False), (1, True), (2, True)]


def test_it_reads_pictures_and_says_so() -> None:
    assert DeepSeekOcr.reads_pictures
    assert DeepSeekOcr.engine == "deepseek-ocr"


def test_the_whole_text_is_drawn_on_pages_that_follow_each_other() -> None:
    lines = [f"line {number}" for number in range(150)]
    drawn = list(pages.render("\n".join(lines)))
    assert len(drawn) == 3
    for page in drawn:
        assert page.size == pages.PAGE_SIZE
        assert page.mode == "L"
        margins = (
            page.crop((0, 0, pages.PAGE_SIZE[0], pages.MARGIN)),
            page.crop((0, 0, pages.MARGIN, pages.PAGE_SIZE[1])),
        )
        assert all(margin.getextrema() == (255, 255) for margin in margins)
    assert ink(drawn[0]) > ink(drawn[2]) > 0


def ink(page: Image.Image) -> int:
    return page.histogram()[0]


def test_an_empty_text_is_an_empty_page() -> None:
    (page,) = pages.render("")
    assert ink(page) == 0


def test_a_text_in_a_script_without_a_font_is_refused() -> None:
    with pytest.raises(RunnerError, match="no font for the characters"):
        pages.render(CORPUS[2])


def test_one_strange_character_does_not_refuse_a_text() -> None:
    assert ink(next(pages.render("A long enough text about a cat 猫."))) > 0


def test_the_font_that_has_the_characters_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "installed_fonts", lambda: (Path("latin"), Path("chinese")))
    monkeypatch.setattr(pages, "_has_glyph", lambda path, letter: letter.isascii() or path.name == "chinese")
    asked: list[str] = []
    face = ImageFont.load_default(pages.FONT_SIZE)

    def opened(path: Path) -> object:
        asked.append(path.name)
        return face

    monkeypatch.setattr(pages, "_load_font", opened)
    pages.choose_font("English")
    assert asked == ["latin"]
    pages.choose_font("中文")
    assert asked == ["latin", "latin", "chinese"]


def wide(text: str) -> float:
    return sum(2 if letter > "\u2e80" else 1 for letter in text)


@given(text=st.text("ab 猫，.\n", max_size=120), width=st.integers(4, 20))
def test_no_line_is_wider_than_the_page_and_no_letter_is_lost(text: str, width: int) -> None:
    lines = list(pages.wrap(text, wide, width))
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(wide(line.rstrip(pages.CLOSING)) <= width for line in lines)  # marks may hang over


def test_chinese_breaks_between_characters_and_no_line_begins_with_a_comma() -> None:
    assert list(pages.wrap("一只猫坐在垫子上，看着大海。", wide, 16)) == ["一只猫坐在垫子上，", "看着大海。"]


def test_words_break_at_spaces_and_only_long_ones_inside() -> None:
    assert list(pages.wrap("one two threefourfive", wide, 8)) == ["one two", "threefou", "rfive"]


def test_a_text_without_spaces_is_drawn_in_no_time() -> None:
    assert len(list(pages.wrap("x" * 200_000, wide, 80))) == 2500


def test_paragraphs_stay_apart() -> None:
    assert list(pages.wrap("one\n\ntwo", wide, 8)) == ["one", "", "two"]


def test_blank_lines_are_one_however_many_and_however_long_they_are() -> None:
    assert list(pages.wrap("one\n \n\t\n\u3000\r\n\ntwo" + "\n" * 9, wide, 8)) == ["one", "", "two", ""]
    assert len(list(pages.render("one" + "\n \t" * 200_000 + "two" + " " * 500_000))) == 1


@pytest.mark.parametrize("text", ["a\n" * 500_000, "a" * 3_000_000, "a\n\n" * 300_000], ids=["lines", "word", "blank"])
def test_a_text_of_too_many_pages_is_refused_before_one_is_drawn(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "_page", lambda lines, face: pytest.fail("drawn"))
    with pytest.raises(PayloadTooLarge, match=r"^The text is too long for this model\.$"):
        pages.render(text)


def test_the_most_pages_are_drawn_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    monkeypatch.setattr(pages, "_page", lambda lines, face: drawn.append(len(lines)))
    sheets = pages.render("a\n" * MAX_PAGES * pages.LINES_PER_PAGE)
    assert drawn == []
    next(sheets)
    assert drawn == [pages.LINES_PER_PAGE]
    list(sheets)
    assert drawn == [pages.LINES_PER_PAGE] * MAX_PAGES


def test_pages_are_readable_as_pictures() -> None:
    file = BytesIO()
    next(pages.render("A page.")).save(file, "PNG")
    assert Image.open(BytesIO(file.getvalue())).size == pages.PAGE_SIZE
