"""The gallery's folders, the page that lists them, and the tests that run them name the same Bentos."""

from __future__ import annotations

import re

import pytest

from tests.e2e.gallery.bentos import GALLERY, Listed
from tests.e2e.gallery.readmes import EXAMPLES, PRINTED, PRINTED_HOST, examples
from tests.support.servers import ROOT

NAMES = [listed.name for listed in GALLERY]


def test_every_folder_is_tested_and_listed() -> None:
    folders = sorted(folder.parent.name for folder in (EXAMPLES / "bentos").glob("*/service.py"))
    page = (ROOT / "docs" / "bring-your-own-bento.md").read_text()
    assert sorted(NAMES) == folders
    assert sorted(re.findall(r"\(\.\./examples/bentos/([a-z0-9-]+)/README\.md\)", page)) == folders


@pytest.mark.parametrize("listed", GALLERY, ids=NAMES)
def test_each_page_calls_its_bento_in_every_way(listed: Listed) -> None:
    calls = examples(listed.name)
    assert {call.section for call in calls} >= {"curl", "bentoml's client", "inference"}
    assert all(PRINTED in call.code or PRINTED_HOST in call.code for call in calls)


@pytest.mark.parametrize("listed", GALLERY, ids=NAMES)
def test_what_a_bento_is_built_with_is_what_it_requires(listed: Listed) -> None:
    file = listed.folder / "requirements.txt"
    required = [line.partition(" ")[0] for line in file.read_text().splitlines()] if file.is_file() else []
    assert set(required) <= set(listed.built_with) or not listed.built_with
