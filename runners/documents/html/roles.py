"""Guesses the role of an element on a page from its tag, its role attribute and the words of its class."""

from __future__ import annotations

import re
from enum import IntEnum
from functools import lru_cache
from typing import Final


class Role(IntEnum):
    """The likely distance of an element from the page's content, in rising order."""

    CONTENT = 0
    BESIDE = 1
    """Beside the content, unless it holds far more prose than all the rest."""
    APART = 2
    """Navigation, comments, notices: apart from the content, unless the rest has no prose at all."""


TAGS: Final = {"nav": Role.APART, "aside": Role.BESIDE, "footer": Role.BESIDE, "menu": Role.APART}
ARIA: Final = dict.fromkeys(
    ["navigation", "menu", "menubar", "tablist", "toolbar", "dialog", "alertdialog", "search", "tooltip"], Role.APART
)
ARIA.update(dict.fromkeys(["banner", "contentinfo", "complementary", "note"], Role.BESIDE))
ARTICLES: Final = frozenset(["article", "main"])
"""Elements in which header, footer and aside belong to the content unless their names say otherwise."""
NAMED: Final = frozenset(
    "address aside blockquote center dd details dialog div dl dt fieldset figure footer form header li menu nav ol p"  # noqa: SIM905
    " section span table tbody td tr ul".split()
)
"""Elements whose classes and ids are read."""

APART_WORDS: Final = frozenset(
    "nav navbar navigation topnav subnav sidenav menu menus menubar submenu mainmenu breadcrumb crumbs cookie"  # noqa: SIM905
    " cookies consent gdpr comment comments commentlist respond disqus share sharing shares social addthis sharedaddy"
    " newsletter subscribe subscription signup advert adverts advertisement advertising ads adsense sponsored sponsor"
    " promo promotion popup modal overlay skip skiplink pagination pager paginator toc catlinks navbox printfooter"
    " toolbar login breadcrumbs recommended recommendations recommendation related teaser teasers outbrain taboola"
    " reflist references footnotes trending mostread language languages langs paywall interlanguage sitemap".split()
)
BESIDE_WORDS: Final = frozenset(
    "sidebar footer foot bottom masthead banner widget widgets copyright imprint disclaimer hatnote ambox infobox"  # noqa: SIM905
    " noprint metadata tags tagcloud author bio authorbox vcard hidden invisible d-none".split()
)
WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
PAIRS: Final = re.compile(
    r"(?:see|read|view|more)[-_ ]?(?:also|more|next|stories|news|links|articles)|table[-_ ]?of[-_ ]?contents"
    r"|(?:most|also)[-_ ]?(?:read|popular|viewed)|you[-_ ]?may|back[-_ ]?to[-_ ]?top|call[-_ ]?to[-_ ]?action",
    re.IGNORECASE,
)
ABOUT_CONTENT: Final = frozenset(
    "article content entry post story body main text wrapper container page has with no without layout open is".split()  # noqa: SIM905
)
"""Words that make the others in a class name describe the page: "content-with-sidebar"."""


@lru_cache(4096)
def role_of(tag: str, names: str, aria: str, *, inside_article: bool) -> Role:
    """Return the role of an element from its tag, its classes and id, and its ARIA role."""
    by_tag = TAGS.get(tag, Role.CONTENT)
    if inside_article and by_tag is Role.BESIDE:
        by_tag = Role.CONTENT
    role = max(by_tag, ARIA.get(aria, Role.CONTENT))
    return max(role, _of_names(names)) if tag in NAMED and names else role


def _of_names(names: str) -> Role:
    if PAIRS.search(names):
        return Role.APART
    role = Role.CONTENT
    for name in names.split()[:20]:
        words = [word.lower() for word in WORD.findall(name[:60])]
        if name in BESIDE_WORDS:
            role = max(role, Role.BESIDE)
        elif words and (len(words) == 1 or ABOUT_CONTENT.isdisjoint(words)):
            role = max(role, _of_words(frozenset(words)))
    return role


def _of_words(words: frozenset[str]) -> Role:
    if not APART_WORDS.isdisjoint(words):
        return Role.APART
    return Role.CONTENT if BESIDE_WORDS.isdisjoint(words) else Role.BESIDE
