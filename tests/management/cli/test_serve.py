"""The command ``serve``: what the server that it starts is given."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from management import server
from management.cli.server import serve as command
from management.configuration import settings


@pytest.mark.parametrize(
    ("given", "expected"), [("", "http://127.0.0.1:45678"), ("https://a.example", "https://a.example")]
)
def test_endpoints_are_shown_at_the_port_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, expected: str
) -> None:
    shown: list[str] = []
    monkeypatch.setattr(server, "serve", lambda *_: shown.append(settings().api.public_url))
    monkeypatch.setattr(command, "_announce", lambda *_: None)
    monkeypatch.setattr(command, "_refuse_used_port", lambda *_: None)
    monkeypatch.setenv("ATELIER_HOME", str(tmp_path))
    monkeypatch.setenv("ATELIER_PUBLIC_URL", given)
    if not given:
        monkeypatch.delenv("ATELIER_PUBLIC_URL")
    settings.cache_clear()
    try:
        done = CliRunner().invoke(command.serve, ["--port", "45678"])
    finally:
        settings.cache_clear()
    assert done.exit_code == 0, done.output
    assert shown == [expected]
