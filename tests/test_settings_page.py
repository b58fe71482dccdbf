"""docs/settings.md says what the code says."""

from __future__ import annotations

from docs.make_settings import PAGE, page
from management.settings import Settings as ManagementSettings
from runners.settings import Settings as RunnerSettings


def test_the_page_is_what_make_docs_writes() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: make docs"


def test_every_setting_has_a_meaning() -> None:
    for settings in (ManagementSettings, RunnerSettings):
        assert [name for name, field in settings.model_fields.items() if not field.description] == []


def test_no_variable_belongs_to_both() -> None:
    assert not set(ManagementSettings.model_fields) & set(RunnerSettings.model_fields)
