"""Which blocks of a page are its content? Prose and its surroundings decide, never a tag's name alone.

Prose is recognized by the text itself: sentences that are not links. Menus, comments and the like are left out only
while there is prose elsewhere, so that an article inside the wrong element is still read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from runners.documents.html.blocks import Block, Blocks
from runners.documents.html.roles import Role

MIN_WORDS: Final = 4
MIN_IDEOGRAPHS: Final = 9
"""Words, or characters of scripts without spaces, of the shortest sentence that counts as prose."""
LONG_TEXT: Final = 160
"""Characters from which a text counts as prose even without a full stop."""
MAX_LINKED_SHARE: Final = 0.6
"""Share of linked characters above which a block is a link rather than text with links in it."""
LITTLE_PROSE: Final = 80
"""Characters of prose in the main part below which an element apart from it may be the content."""
MIN_UNLINKED: Final = 25
"""Characters below which the unlinked text is too short to stand for the page."""
CONTENT_FACTOR: Final = 3
"""Factor by which an element's prose must exceed that of the rest of the page to be the content."""
MIN_PROSE_SHARE: Final = 0.25
"""Share of prose below which a page is of another kind: lists, verses, tables, code."""
MAX_RECLASSIFIED: Final = 8
"""Elements that may be reclassified as content, one inside the other."""
ANY_LEVEL: Final = 7
"""One more than the level of any heading."""

SENTENCE_END: Final = re.compile(r"[.!?…][\"'”’»)\]]*(?:\s|\Z)|[。！？｡؟۔।॥]")
IDEOGRAPHS: Final = re.compile("[\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
RIGHTS: Final = re.compile(r"\s*(?:©|\(c\)|copyright\b|all rights reserved)", re.IGNORECASE)
BACK_LINK: Final = re.compile(r"\s*[\^↑]\s")
REFERENCES: Final = frozenset(
    name.strip()
    for name in (  # noqa: SIM905
        "references|notes|footnotes|notes and references|references and notes|citations|sources|bibliography|see also"
        "|external links|further reading|related|related articles|related links|related posts|related news|read more"
        "|more|more news|more stories|most read|popular|comments|leave a comment|leave a reply|share|share this|tags"
        "|table of contents|contents|navigation|einzelnachweise|siehe auch|weblinks|literatur|quellen|anmerkungen"
        "|mehr zum thema|das könnte sie auch interessieren|kommentare|inhaltsverzeichnis|références|notes et références"
        "|voir aussi|liens externes|articles connexes|bibliographie|annexes|à lire aussi|sur le même sujet|commentaires"
        "|sommaire|véase también|referencias|enlaces externos|bibliografía|notas|fuentes|comentarios|noticias"
        " relacionadas|voci correlate|collegamenti esterni|note|bibliografia|altri progetti|ver também|referências"
        "|ligações externas|zie ook|bronnen|externe links|zobacz też|przypisy|linki zewnętrzne|см. также|примечания"
        "|ссылки|литература|参考文献|参考资料|參考文獻|參考資料|参见|參見|外部链接|外部連結|相关文章|相关阅读|注释|脚注"
        "|註釋|関連項目|外部リンク|出典|注釈|関連記事|コメント|같이 보기|각주|외부 링크|참고 문헌"
        "|انظر أيضا|مراجع|المراجع|وصلات خارجية"
    ).split("|")
)
"""Headings of sections that follow an article and are not part of its prose."""


def text_of(page: Blocks) -> str:
    """Return the page's content: paragraphs with an empty line between them, rows and items on lines of their own."""
    return joined(chosen(page))


def chosen(page: Blocks) -> list[Block]:
    """Return the blocks that are content, in order; not empty if the page has any text."""
    zones = _zones(page)
    inside = [block for block in page.blocks if zones[block.node] == 0]
    if not any(map(is_prose, inside)):
        return _without_links(inside) or _without_links(page.blocks) or list(page.blocks)
    unlinked = [block for block in inside if not _is_link(block) and not RIGHTS.match(block.text)]
    prose, all_text = _weight(unlinked, is_prose), _weight(unlinked, bool)
    if prose < MIN_PROSE_SHARE * all_text:
        return _with_something_under_each_heading(unlinked)
    around = _around_prose(page.parents, unlinked)
    within = [block for block in unlinked if around[block.node] or is_prose(block)]
    return _with_something_under_each_heading(_without_references(within))


def is_prose(block: Block) -> bool:
    """Whether the block has a sentence or is long, and is not a link."""
    text = block.text
    if block.level or block.links > MAX_LINKED_SHARE * len(text) or RIGHTS.match(text) or BACK_LINK.match(text):
        return False
    enough = len(text.split()) >= MIN_WORDS or len(IDEOGRAPHS.findall(text)) >= MIN_IDEOGRAPHS
    return enough and (len(text) >= LONG_TEXT or bool(SENTENCE_END.search(text)))


def joined(blocks: Sequence[Block]) -> str:
    """Join blocks by line ends or empty lines."""
    pieces: list[str] = []
    for block in blocks:
        pieces += ["\n" if block.is_tight else "\n\n", block.text]
    return "".join(pieces).strip("\n")


def _weight(blocks: Sequence[Block], counts: Callable[[Block], bool]) -> int:
    return sum(len(block.text) for block in blocks if counts(block))


def _is_link(block: Block) -> bool:
    return not block.level and block.links > MAX_LINKED_SHARE * len(block.text)


def _without_links(blocks: Sequence[Block]) -> list[Block]:
    """Drop blocks that are links; empty where hardly any other text is left."""
    unlinked = [block for block in blocks if not _is_link(block)]
    return unlinked if _weight(unlinked, bool) >= MIN_UNLINKED else []


def _zones(page: Blocks) -> list[int]:
    """Return, for each container, the outermost one around it that is not content; 0 where there is none."""
    prose, text = [0] * len(page.parents), [0] * len(page.parents)
    for block in page.blocks:
        prose[block.node] += len(block.text) * is_prose(block)
        text[block.node] += len(block.text) * (not _is_link(block))
    content: set[int] = set()
    zones = _marked(page, content)
    for _ in range(MAX_RECLASSIFIED):
        held, around = _sums(zones, prose), _sums(zones, text).get(0, 0)
        outside = held.pop(0, 0)
        candidates = [zone for zone in held if _is_content(page.roles[zone], held[zone], outside, around)]
        if not candidates:
            break
        content.add(max(candidates, key=lambda zone: (-page.roles[zone], held[zone])))
        zones = _marked(page, content)
    return zones


def _sums(zones: Sequence[int], values: Sequence[int]) -> dict[int, int]:
    sums: dict[int, int] = {}
    for zone, value in zip(zones, values, strict=True):
        sums[zone] = sums.get(zone, 0) + value
    return sums


def _is_content(role: Role, prose: int, outside: int, around: int) -> bool:
    """Whether a zone has far more prose than the rest of the page, or than its text where the rest has no prose."""
    if prose <= CONTENT_FACTOR * outside or (outside == 0 and prose <= around):
        return False
    return role is Role.BESIDE or outside < LITTLE_PROSE


def _marked(page: Blocks, content: set[int]) -> list[int]:
    zones = [0] * len(page.parents)
    for node in range(1, len(zones)):  # parents come before their children
        outer = zones[page.parents[node]]
        zones[node] = outer or (node if page.roles[node] and node not in content else 0)
    return zones


def _around_prose(parents: Sequence[int], blocks: Sequence[Block]) -> list[bool]:
    """Return which containers are, or lie in, the innermost one that holds all prose."""
    held = [0] * len(parents)
    for block in blocks:
        held[block.node] += is_prose(block)
    for node in range(len(parents) - 1, 0, -1):
        held[parents[node]] += held[node]
    innermost = max(node for node in range(len(parents)) if held[node] == held[0])  # children come after parents
    around = [False] * len(parents)
    around[innermost] = True
    for node in range(innermost + 1, len(parents)):
        around[node] = around[parents[node]]
    return around


def _without_references(blocks: Sequence[Block]) -> list[Block]:
    """Drop the sections of references and further reading."""
    remaining: list[Block] = []
    skipped = 0  # the level of the heading that is dropped with everything under it
    for block in blocks:
        if skipped and block.level and block.level <= skipped:
            skipped = 0
        if not skipped and _is_of_references(block):
            skipped = block.level or ANY_LEVEL
        if not skipped:
            remaining.append(block)
    return remaining if 2 * _weight(remaining, is_prose) >= _weight(blocks, is_prose) else list(blocks)


def _is_of_references(block: Block) -> bool:
    name = re.sub(r"\[.*?\]", "", block.text[:60]).strip(" :.…»>\n").lower()
    return name in REFERENCES and (block.level > 0 or not block.is_tight)


def _with_something_under_each_heading(blocks: Sequence[Block]) -> list[Block]:
    remaining: list[Block] = []
    lowest = 0  # the lowest level of headings since the last text, from the end; headings after all text are dropped
    for block in reversed(blocks):
        if block.level and block.level >= lowest:
            continue
        lowest = block.level or ANY_LEVEL
        remaining.append(block)
    return remaining[::-1] or list(blocks)
