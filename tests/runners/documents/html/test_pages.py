"""Pages as the web has them: the article is read wherever it stands, and what surrounds it is not."""

from __future__ import annotations

import json

import pytest

from runners.documents.html import html
from tests.support.running import cpu_time

TEXT = (
    "The lake was drained last winter so that its dam could be mended.",
    "Divers had found cracks at two of the five gates.",
    "The work cost three million and ended a month late, because the concrete had to be poured twice.",
    "Fish are to be put back in spring, when the water is deep enough for them.",
)
PROSE = "".join(f"<p>{sentence}</p>" for sentence in TEXT)


def links(*names: str) -> str:
    return "<ul>" + "".join(f'<li><a href="#">{name}</a></li>' for name in names) + "</ul>"


MENU = links("Home", "News", "Press releases", "Water levels", "Contact", "Imprint")
WORDPRESS = f"""<div id="page" class="site"><header id="masthead"><nav class="main-navigation">{MENU}</nav></header>
<div class="site-content"><article class="post hentry category-news tag-lake">
<header class="entry-header"><h1>Lake</h1></header><div class="entry-content">{PROSE}
<div class="sharedaddy"><h3>Share this:</h3>{links("Facebook")}</div></div>
</article><div id="comments" class="comments-area"><ol><li><p>I never liked that dam and told everyone so.</p></li></ol>
</div></div><aside class="widget-area sidebar"><p>Subscribe to our letter. We send it monthly.</p></aside></div>"""
ENCYCLOPEDIA = f"""<div><div class="hatnote">For the town, see <a href="#">Lake (town)</a>.</div>
<p>{TEXT[0]}<sup><a href="#n1">[1]</a></sup></p><div id="toc"><h2>Contents</h2>{links("1 History")}</div>
<h2>History<span class="mw-editsection">[<a href="#">edit</a>]</span></h2>{PROSE}<h2>See also</h2>{links("Weirs")}
<h2>References</h2><ol><li>^ Smith, J. "The dams and their builders." Journal of Dams. 12: 3-9.</li></ol></div>"""
LAYOUT = f"""<table><tr><td colspan="2">LAKE COUNTY</td></tr><tr><td><a href="a">Home</a><br>
<a href="b">Water levels</a><td><font face="Arial"><b>Lake</b><br><br>{"<br><br>".join(TEXT)}</font></table>"""

KEPT_INSIDE = {
    "a form": f"<form><input type=hidden value=x><div>{PROSE}</div></form>",
    "a header": f"<header>{PROSE}</header><footer>Imprint</footer>",
    "the header of an article": f"<article><header><h1>Lake</h1><p>{TEXT[0]}</header>{PROSE}</article>",
    "an aside": f"<div>Lake County</div><aside>{PROSE}</aside>",
    "a footer": f"<div>Lake County</div><footer>{PROSE}</footer>",
    "noscript": f"<div id=app></div><noscript>{PROSE}</noscript>",
    "noframes": f"<frameset><frame src=a><noframes><body>{PROSE}</body></noframes></frameset>",
    "a wrapper with a menu's name": f"<div class='nav-wrapper menu-open'>{PROSE}</div>",
    "a wrapper that names its neighbours": f"<div class='page has-sidebar no-nav'>{PROSE}</div>",
    "comments alone": f"<h1>The lake</h1><div class=comments>{PROSE}</div>",
    "details": f"<details><summary>More</summary>{PROSE}</details>",
    "a page that is hidden until its script has run": f"Loading <main style='display:none'>{PROSE}</main>",
    "a page behind a dialog": f"<div aria-hidden=true>{PROSE}</div><div role=dialog><p>Please sign up today.</div>",
    "JSON-LD alone": f"<div id=root></div><script type='application/ld+json'>"
    f"{json.dumps({'@graph': [{'@type': 'NewsArticle', 'articleBody': ' '.join(TEXT)}]})}</script>",
    "a cell beside a menu": LAYOUT,
    "a fragment": PROSE,
}
NEVER_CLOSED = {
    "noscript": f"<div><noscript><div><p>Please turn on scripts.</noscript><div>{PROSE}</div></div>",
    "noscript to the end": f"<noscript><img src=x><div>{PROSE}",
    "nav": f"<nav>{MENU}<div>{PROSE}</div>",
    "header": f"<header><div>Lake County {PROSE}",
    "svg": f'<svg><path d="M0"><g>{PROSE}',
    "select": f"<select><option>One{PROSE}",
    "button": f"<button>Menu<div>{PROSE}</div>",
    "a link": f'<a href="#">Home {PROSE}',
    "title": f"<head><title>Lake<body>{PROSE}",
    "textarea": f"<textarea>{PROSE}",
    "style": f"<style>p {{ color: red }}<body>{PROSE}",
    "a comment": f"<!-- begin of text {PROSE}",
    "a hidden paragraph": f"<p hidden>You have won a prize of gold.<section>{PROSE}</section>",
}
LEFT_OUT = {
    "menus of lists": (f"<div><div>{MENU}</div></div><div><h1>Lake</h1>{PROSE}</div>", "Press releases"),
    "a menu in one line": (f"<a href=#>Home</a> | <a href=#>Water levels</a><h1>Lake</h1>{PROSE}", "Water levels"),
    "a menu in a table's cell": (LAYOUT, "Water levels"),
    "a blog's comments": (WORDPRESS, "never liked"),
    "a blog's sidebar": (WORDPRESS, "Subscribe"),
    "a blog's buttons": (WORDPRESS, "Share"),
    "longer comments": (PROSE + "<div class=comments>" + "<p>It should never have been built.</p>" * 90, "never have"),
    "a long notice of cookies": (PROSE + "<div id=cookie-notice>" + "We use cookies to measure. " * 40, "cookies"),
    "a letter to subscribe to": (f"{PROSE}<div class=newsletter><p>Get our stories each morning.</div>", "stories"),
    "cards of other articles": (f"{PROSE}<div class=related><a href=#><p>The Holm rose by two metres.</p></a>", "Holm"),
    "see also": (ENCYCLOPEDIA, "Weirs"),
    "references": (ENCYCLOPEDIA, "Journal of Dams"),
    "marks of notes": (ENCYCLOPEDIA, "[1]"),
    "links that edit": (ENCYCLOPEDIA, "edit"),
    "a table of contents": (ENCYCLOPEDIA, "Contents"),
    "references that are no links": (f"{PROSE}<h2>References</h2><p>Smith. The dams. Holm Press, 2019.", "Holm Press"),
    "Einzelnachweise": (f"{PROSE}<h3>Einzelnachweise</h3><ol><li>Müller: Die Dämme. Verlag, 2019.", "Verlag"),
    "a copyright": (f"<div>{PROSE}</div><div>Copyright 2026 Lake County. All rights reserved.</div>", "Copyright"),
    "what is said to old browsers": (f"<iframe>No frames.</iframe><video>No film.</video>{PROSE}", "No "),
    "a request to turn on scripts": (f"<noscript>Please turn on scripts to see it.</noscript>{PROSE}", "turn on"),
}
HIDDEN = (
    "<div hidden>{}</div>",
    "<div style='display: none;'>{}</div>",
    "<div style='color: red; DISPLAY:NONE !important'>{}</div>",
    "<div style='visibility:hidden'>{}</div>",
    "<div style='position:absolute; left:-9999px'>{}</div>",
    "<div style='opacity: 0'>{}</div>",
    "<div aria-hidden=true>{}</div>",
    "<span class=sr-only>{}</span>",
    "<template>{}</template>",
    "<dialog>{}</dialog>",
    "<style>.a, .b.c { display: none }</style><div class='c x b'>{}</div>",
    "<style>/* } */ #pop{{visibility:hidden}}</style><div id=pop>{}</div>",
    "<style>@media screen {{ div.m {{ display: none }} }}</style><div class=m>{}</div>",
)
SHOWN = (
    "<style>body {{ opacity: 0 }}</style>{}",
    "<style>@media print {{ .a {{ display: none }} }}</style><div class=a>{}</div>",
    "<style>.tab {{ display: none }} .tab.on {{ display: block }}</style><div class='tab on'>{}</div>",
    "<style>.a {{ display: none }}</style><div class=a style='display:block'>{}</div>",
    "<div hidden=until-found>{}</div>",
    "<div style='opacity: 0.9'>{}</div>",
    "<dialog open>{}</dialog>",
)


@pytest.mark.parametrize("place", KEPT_INSIDE)
def test_an_article_is_read_wherever_it_stands(place: str) -> None:
    text = html.read(KEPT_INSIDE[place]).text
    assert [sentence for sentence in TEXT if sentence not in text] == []


@pytest.mark.parametrize("tag", NEVER_CLOSED)
def test_an_element_that_is_never_closed_hides_no_article(tag: str) -> None:
    text = html.read(f"<!doctype html>{NEVER_CLOSED[tag]}").text
    assert [sentence for sentence in TEXT if sentence not in text] == []
    assert not any(other in text for other in ("turn on scripts", "Water levels", "won a prize", "color"))


@pytest.mark.parametrize("what", LEFT_OUT)
def test_what_surrounds_an_article_is_left_out(what: str) -> None:
    page, unwanted = LEFT_OUT[what]
    text = html.read(page).text
    assert unwanted not in text
    assert [sentence for sentence in TEXT if sentence not in text] == []


@pytest.mark.parametrize("element", HIDDEN)
def test_what_a_browser_does_not_show_is_not_read(element: str) -> None:
    text = html.read(element.replace("{}", "You have won a prize today.").replace("{{", "{").replace("}}", "}") + PROSE)
    assert text.text == "\n\n".join(TEXT)


@pytest.mark.parametrize("element", SHOWN)
def test_what_a_browser_shows_after_all_is_read(element: str) -> None:
    page = element.replace("{}", PROSE).replace("{{", "{").replace("}}", "}")
    assert html.read(page).text == "\n\n".join(TEXT)


def test_furigana_does_not_run_into_the_text() -> None:
    page = (
        "<p><ruby>湖<rp>(</rp><rt>みずうみ</rt><rp>)</rp></ruby>は<ruby>昨<rt>さく<rb>年<rt>ねん</ruby>の冬に乾いた。"
    )
    assert html.read(page).text == "湖は昨年の冬に乾いた。"


def test_prose_in_scripts_without_spaces_is_prose() -> None:
    text = html.read(f"<div>{links('首页', '新闻', '水位')}</div><p>为了修理水坝，湖水去年冬天被抽干。</p>").text
    assert text == "为了修理水坝，湖水去年冬天被抽干。"
    text = html.read(f"<div>{links('الرئيسية', 'اتصل بنا')}</div><p>هل جفت البحيرة في الشتاء الماضي؟</p>").text
    assert text == "هل جفت البحيرة في الشتاء الماضي؟"


def test_a_page_of_links_or_of_lines_is_read_as_it_is() -> None:
    assert html.read(f"<h1>Departments</h1>{links('Water', 'Dams')}").text == "Departments\n\nWater\nDams"
    verse = "<p>The lake<br>is still<p>no wind<br>no boat<p>no bird<br>in sight"
    assert html.read(verse).text == "The lake\nis still\n\nno wind\nno boat\n\nno bird\nin sight"


def test_a_notice_is_not_the_content_of_a_page_without_sentences() -> None:
    verse = "<p>The lake<br>is still<p>no wind<br>no boat<p>no bird<br>in sight<p>the morning<br>waits"
    notice = "<div class=cookie-notice>We use cookies on this page.</div>"
    assert html.read(f"<div>{verse}</div>{notice}").text == html.read(verse).text


def test_lists_tables_and_headings_between_paragraphs_stay() -> None:
    page = f"<h1>Lake</h1><p>{TEXT[0]}<h2>Costs</h2><ul><li>gates<li>concrete</ul><table><tr><td>2024<td>1.2</table>"
    page += PROSE
    assert html.read(page).text.startswith(f"Lake\n\n{TEXT[0]}\n\nCosts\n\ngates\nconcrete\n\n2024 | 1.2\n\n")


def test_preformatted_text_keeps_its_lines_and_paragraphs() -> None:
    assert html.read("<pre>The lake\nis still.\n\n\nNo wind.\n</pre>").text == "The lake\nis still.\n\nNo wind."


def test_a_page_that_shows_nothing_is_its_description() -> None:
    assert html.read('<meta name="description" content="A &amp; B."><div id=root></div>').text == "A & B."


WEAPONS = {
    "open tables": "<table><tr><td>",
    "paragraphs that hold blocks": "<p hidden><div>",
    "menus": "<nav><p>This is a sentence in a menu.",
    "asides": "<aside><p>This is a sentence beside it.",
    "raw elements": "<title><textarea><style><script><noscript><xmp><iframe><noframes><!--",
    "quotes": "<a b=\"c'",
    "equals signs": "= ",
    "rules": "<style>.a.b{display:none}a{",
    "headings": "<h1>x</h1>",
    "raised letters": "<sup>",
}


@pytest.mark.slow
@pytest.mark.parametrize("weapon", WEAPONS)
def test_a_page_takes_time_by_its_length_alone(weapon: str) -> None:
    start, piece = "<a " if weapon == "equals signs" else "", WEAPONS[weapon]
    cpu_time.at_most(10, lambda: html.read(start + piece * (1_000_000 // len(piece)) + "<p class='a b'>x"))
