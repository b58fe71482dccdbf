"""docs/settings.md says what the code says."""

from __future__ import annotations

import re

from docs.make_settings import PAGE, groups, page, variables
from management.configuration import Settings as ManagementSettings
from runners.settings import Settings as RunnerSettings
from web.settings import Settings as WebSettings

ALL = (ManagementSettings, RunnerSettings, WebSettings)


def test_the_page_is_what_make_docs_writes() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: make docs"


def test_every_setting_has_a_meaning() -> None:
    for group in (group for settings in ALL for group in groups(settings)):
        assert [name for name, field in group.model_fields.items() if not field.description] == []


def test_no_variable_belongs_to_two() -> None:
    names = [name for settings in ALL for name in variables(settings)]
    assert len(names) == len(set(names))


def test_no_page_of_the_documentation_has_a_gap() -> None:
    pages = [*PAGE.parent.glob("**/*.md"), PAGE.parents[1] / "README.md"]
    assert [page.name for page in pages if re.search(r"@[A-Z]{3,}@", page.read_text(encoding="utf-8"))] == []
