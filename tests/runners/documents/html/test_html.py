"""HTML and Markdown: what a reader came for, whatever the page is made of."""

from __future__ import annotations

import pytest

from runners.documents.html import html
from runners.documents.reader import read
from runners.documents.text import markdown
from runners.errors import PayloadTooLarge
from runners.limits import MAX_CHARACTERS
from tests.doubles.documents_doubles import Blind
from tests.support.running import cpu_time

PAGE = """<!doctype html><html><head><title>The  page's
 title</title><style>p { color: red }</style></head><body>
<nav><a href="/">Home</a></nav><header><h1>A heading</h1></header>
<p>Hello <b>big</b> world<br>next line<p>Second<script>var a = "<p>no"</script> one<ul><li>first<li>second</ul>
<table><tr><td>a<td>b<tr><td>c<td>d</table><pre>x
  y</pre><form>a field<select><option>no</select></form><aside>no</aside><p hidden>no<input hidden>and<br hidden>after
<noscript>no</noscript><template><p>no</template><footer>no</footer></body></html>"""


def test_a_page_is_its_paragraphs() -> None:
    found = html.read(PAGE)
    blocks = [
        "A heading",
        "Hello big world\nnext line",
        "Second one",
        "first\nsecond",
        "a | b\nc | d",
        "x\ny",
        "a field",
    ]
    assert (found.text, found.title) == ("\n\n".join(blocks), "The page's title")


def test_what_follows_a_hidden_element_is_there() -> None:
    assert html.read("<p>one<input hidden>two<br hidden>three<span hidden>no</span>four").text == "onetwothreefour"


def test_the_first_heading_is_the_title_of_a_page_without_one() -> None:
    assert html.read("<header><h1>One</h1></header><p>x<h1>Two</h1>").title == "One"
    assert html.read("<p>x").title is None


def test_a_page_that_is_one_form_is_read() -> None:
    assert html.read("<form><p>All of it</p></form>").text == "All of it"


@pytest.mark.parametrize(
    "data",
    [
        "<meta charset=windows-1251><p>Привет".encode("cp1251"),
        "<meta http-equiv='Content-Type' content='text/html; charset=shift_jis'><p>Привет".encode("shift_jis"),
        "<?xml version='1.0' encoding='iso-8859-5'?><html><p>Привет".encode("iso8859-5"),
        "<html><p>Привет".encode("utf-16"),
        "\ufeff<meta charset=koi8-r><p>Привет".encode(),
        "<meta charset=koi8-r><p>Привет".encode(),
    ],
)
def test_a_page_is_read_in_the_encoding_that_it_names_unless_it_is_not_in_it(data: bytes) -> None:
    assert read(data, "", Blind()).text == "Привет"


@pytest.mark.parametrize(
    "bad", [b"<meta " * 40 + b"charset=", b"<?xml " * 9 + b"encoding" * 30 + b" ", b"<meta " * 700]
)
def test_a_name_of_an_encoding_that_does_not_come_is_not_waited_for(bad: bytes) -> None:
    assert cpu_time.at_most(1, lambda: html.declared(bad + b" " * 4000 + b"!")) is None


def test_what_counts_of_a_page_is_its_text() -> None:
    picture = b"<img src='data:image/png;base64," + b"QUJD" * 1_300_000 + b"'>"
    page = b"<!doctype html><p>One." + picture + b"<script>" + b"a = 1;" * 900_000 + b"</script><p>Two."
    assert read(page, "", Blind()).text == "One.\n\nTwo."
    with pytest.raises(PayloadTooLarge, match="characters"):
        read(b"<p>" + b"x" * (MAX_CHARACTERS + 1), "a.html", Blind())


def test_references_make_no_character_that_no_text_may_have() -> None:
    assert read(b"<p>a&#0;b&#xd800;c&#x1f;d&#xfffe;e&lt;&eacute;", "", Blind()).text == "abc de<é"


@pytest.mark.slow
@pytest.mark.parametrize("tag", ["div", "b", "p", "table", "ul", "nav", "span", "form", "font", "a", "svg", "select"])
@pytest.mark.parametrize("end", ["", "</{tag}>"])
def test_a_hundred_thousand_tags_in_one_another_are_harmless(tag: str, end: str) -> None:
    cpu_time.at_most(10, lambda: html.read(f"<{tag}>" * 100_000 + "x" + end.format(tag=tag) * 100_000))


@pytest.mark.slow
@pytest.mark.parametrize("bad", ["<" * 500_000, "<!--" * 200_000, "<p " + "a=1 " * 200_000, "&" * 500_000, "<![CDATA["])
def test_broken_pages_are_read_as_far_as_they_go(bad: str) -> None:
    cpu_time.at_most(10, lambda: html.read(bad))


def test_entities_that_a_page_declares_are_not_expanded() -> None:
    bomb = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    assert len(html.read(f'<!DOCTYPE html [<!ENTITY e0 "ha">{bomb}]><p>&e11;</p>').text) < 2_000


NOTES = """---
title: "The title"
tags: [a]
---
# A *heading*

Words with [a link](https://x.example) and `code`,
on two lines.

```py
no = 1
```

- first
- second

| a | b |
|---|---|
| c | d |

![no](no.png) <b>and</b>

<div>no</div>
"""


def test_markdown_is_its_prose() -> None:
    found = markdown.read(NOTES)
    blocks = ["A heading", "Words with a link and code, on two lines.", "first", "second", "a | b", "c | d", "and"]
    assert (found.text, found.title) == ("\n\n".join(blocks), "The title")


def test_the_first_heading_is_the_title_of_markdown_without_front_matter() -> None:
    assert markdown.read("## Small\n\n# Large\n\nx").title == "Large"
    assert markdown.read("---\nno: title\n---\n# Large").title == "Large"
    assert markdown.read("text\n\n---\n\nmore").text == "text\n\nmore"


@pytest.mark.parametrize("quote", ["", "'", '"'])
def test_front_matter_names_the_title_in_quotes_or_without(quote: str) -> None:
    assert markdown.read(f"---\na: b\ntitle:  {quote}A  title{quote} \n---\nx").title == "A title"
    assert markdown.read(f"---\ntitle: {quote}{quote}\n---\n# Large").title == "Large"


def test_a_title_of_spaces_takes_no_time() -> None:
    text = "---\ntitle: a" + " " * 19_000 + "b\n---\nx"
    assert cpu_time.at_most(1, lambda: markdown.read(text)).title == "a b"


def test_markdown_of_code_alone_is_code() -> None:
    assert markdown.read("```\nx = 1\n```\n").text == "x = 1"


@pytest.mark.parametrize(
    "bad", ["[" * 50_000, "`a" * 50_000, ">" * 50_000, "*a_ " * 30_000, "![" * 30_000, "[a](" * 30_000, "- " * 30_000]
)
def test_markdown_that_goes_on_beginning_ends(bad: str) -> None:
    cpu_time.at_most(10, lambda: markdown.read(bad))


def test_markdown_of_marks_is_plain_text() -> None:
    text = "![" * 100_000
    assert markdown.read(text).text == text


def test_the_bytes_of_pictures_in_markdown_are_no_text() -> None:
    picture = f"![A chart](data:image/png;base64,{'iVBORw0K' * 200_000})"
    assert read(f"# Title\n\nOne.\n\n{picture}\n\nTwo.".encode(), "a.md", Blind()).text == "Title\n\nOne.\n\nTwo."


def test_markdown_that_is_too_long_is_refused_before_it_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(_: str) -> None:
        raise AssertionError("it was parsed")

    monkeypatch.setattr(markdown, "read", never)
    with pytest.raises(PayloadTooLarge):
        read(b"a\n\n" * 400_000, "a.md", Blind())
    assert read(b"a\n" * 60_000, "a.md", Blind()).text.startswith("a\na")
