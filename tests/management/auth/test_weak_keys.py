"""A key that can be guessed opens the server that named it, and no server after it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from management.auth.bootstrap_key import CHOSEN, first_key
from management.auth.weak_keys import PLACEHOLDERS, is_weak
from management.domain import keys
from management.domain.clock import now
from management.settings import AccessSettings
from management.store import Store

STRONG = "b7b4d0a95f6a4a61b5e2c9d3f08e1a77"


def start(home: Path, key: str | None) -> list[str]:
    """Names of the keys that open the server after a start with this key, the first admin key aside."""
    store = Store(f"sqlite:///{home / 'atelier.db'}")
    store.migrate()
    values: dict[str, Any] = {"api_key": key}
    with store.writing() as session:
        first_key(session, AccessSettings(**values).api_key, home)
        valid = [key.name for key in session.keys.all() if key.valid(now()) and key.name != "first"]
    store.close()
    return valid


@pytest.mark.parametrize("key", [*PLACEHOLDERS, "Your-API-Key", "short-and-sweet", "a" * 40, "abcabcabcabcabcabcabc"])
def test_a_key_that_can_be_guessed_is_weak(key: str) -> None:
    assert is_weak(key)


@pytest.mark.parametrize(
    "key", [STRONG, "correct horse battery staple", pytest.param(keys.make("", keys.Role.ADMIN, now()).text, id="made")]
)
def test_a_long_key_of_many_characters_is_not_weak(key: str) -> None:
    assert not is_weak(key)


def test_a_weak_key_is_warned_about_and_forgotten_by_the_next_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert start(tmp_path, "your-api-key") == ["ATELIER_API_KEY (weak)"]
    assert "can be guessed" in caplog.text
    assert "your-api-key" not in caplog.text
    assert start(tmp_path, "your-api-key") == ["ATELIER_API_KEY (weak)"]
    assert start(tmp_path, None) == []
    assert start(tmp_path, "your-api-key") == ["ATELIER_API_KEY (weak)"]
    assert start(tmp_path, STRONG) == [CHOSEN]


def test_a_strong_key_stays_until_another_is_chosen(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert start(tmp_path, STRONG) == [CHOSEN]
        assert start(tmp_path, None) == [CHOSEN]
    assert not caplog.records
    assert start(tmp_path, STRONG[::-1]) == [CHOSEN]


def test_an_examples_key_that_the_version_before_kept_is_forgotten(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'atelier.db'}")
    store.migrate()
    with store.writing() as session:
        session.keys.add(keys.chosen("your-api-key", CHOSEN, now()))
    store.close()
    assert start(tmp_path, None) == []


def test_a_weak_key_of_the_version_before_is_forgotten_once_it_was_named_again(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'atelier.db'}")
    store.migrate()
    with store.writing() as session:
        session.keys.add(keys.chosen("teams-key", CHOSEN, now()))
    store.close()
    assert start(tmp_path, "teams-key") == ["ATELIER_API_KEY (weak)"]
    assert start(tmp_path, None) == []


def test_a_weak_key_that_was_revoked_stays_revoked(tmp_path: Path) -> None:
    start(tmp_path, "your-api-key")
    store = Store(f"sqlite:///{tmp_path / 'atelier.db'}")
    with store.writing() as session:
        (weak,) = [key for key in session.keys.all() if key.name != "first"]
        session.keys.revoke(weak.id, now())
    store.close()
    assert start(tmp_path, None) == []
    assert start(tmp_path, "your-api-key") == []
