"""What a client announced is on the disk, whole or not at all, and in no other folder."""

from __future__ import annotations

import errno
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from management.domain.bento_tag import StoredKind, Tag
from management.packaging.build import BentoHome
from management.packaging.pushes import records
from management.packaging.pushes.abandoned import KEPT_SECONDS, remove_abandoned
from management.packaging.pushes.records import MAX_BYTES
from management.packaging.pushes.refusals import InvalidTag, TooLong
from management.packaging.pushes.registrations import PushStatus, Registration, Registrations
from management.packaging.pushes.tickets import VALID_SECONDS, Tickets
from tests.support.bentos.pushes import Ahead, begun, put

HELLO = Tag("hello", "1.0.0")
BENTO, MODEL = StoredKind.BENTO, StoredKind.MODEL


@pytest.fixture
def home(tmp_path: Path) -> BentoHome:
    return BentoHome(tmp_path / "bentoml")


def registration(tag: Tag = HELLO, **changed: Any) -> Registration:
    """Return a registration with these fields changed."""
    known = Registration(BENTO, tag, {"service": "Hello", "n": 1}, {"a": "b"}, "text", datetime(2026, 1, 1, tzinfo=UTC))
    return replace(known, **changed)


def file_of(home: BentoHome) -> Path:
    return home.home / ".pushes" / "bentos" / "hello" / "1.0.0.json"


def test_another_worker_reads_what_one_wrote(home: BentoHome) -> None:
    kept = registration(status=PushStatus.FAILED, reason="it broke")
    Registrations(home).put(kept)
    assert Registrations(home).get(BENTO, HELLO) == kept
    assert Registrations(home).get(MODEL, HELLO) is None
    assert [file.name for file in file_of(home).parent.iterdir()] == ["1.0.0.json"]
    assert (home.home / ".pushes").stat().st_mode & 0o777 == 0o700


def test_a_later_one_replaces_an_earlier_one(home: BentoHome) -> None:
    kept = Registrations(home)
    kept.put(registration())
    kept.put(registration(description="other"))
    assert [registration.description for registration in kept.all(BENTO)] == ["other"]
    assert kept.change_present(BENTO, HELLO, status=PushStatus.SUCCESS) == kept.get(BENTO, HELLO)
    assert kept.all(BENTO)[0].status is PushStatus.SUCCESS
    assert kept.change_present(MODEL, HELLO, status=PushStatus.SUCCESS) is None
    assert kept.all(MODEL) == []


def test_they_are_listed_the_newest_first(home: BentoHome) -> None:
    kept = Registrations(home)
    for version, day in (("1", 2), ("2", 3), ("3", 1)):
        kept.put(registration(Tag("hello", version), created_at=datetime(2026, 1, day, tzinfo=UTC)))
    assert [registration.tag.version for registration in kept.all(BENTO)] == ["2", "1", "3"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"manifest": {}}', b"null", b"1"])
def test_an_unreadable_one_is_none(content: bytes, home: BentoHome) -> None:
    kept = Registrations(home)
    kept.put(registration())
    file_of(home).write_bytes(content)
    assert kept.get(BENTO, HELLO) is None
    assert kept.all(BENTO) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("manifest", ["x"]),
        ("manifest", 1),
        ("labels", []),
        ("created_at", "then"),
        ("created_at", 1),
        ("status", "odd"),
    ],
)
def test_one_with_another_kind_of_value_is_none(name: str, value: object, home: BentoHome) -> None:
    kept = Registrations(home)
    kept.put(registration())
    content = records.read(file_of(home))
    assert content is not None
    records.write(file_of(home), {**content, name: value})
    assert kept.get(BENTO, HELLO) is None


def test_one_that_is_too_long_or_too_deep_is_refused_and_the_kept_one_stays(home: BentoHome) -> None:
    kept = Registrations(home)
    kept.put(registration())
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"a": deep}
    for manifest in ({"a": "x" * MAX_BYTES}, deep):
        with pytest.raises(TooLong):
            kept.put(registration(manifest=manifest))
    assert kept.get(BENTO, HELLO) == registration()
    assert [file.name for file in file_of(home).parent.iterdir()] == ["1.0.0.json"]
    while deep:  # a plain end of it overflows the stack
        deep = deep["a"]


def test_a_full_disk_leaves_the_kept_one_and_nothing_beside_it(
    home: BentoHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Registrations(home)
    kept.put(registration())

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as full:
        full.setattr(Path, "rename", fail)
        with pytest.raises(OSError, match="full"):
            kept.put(registration(description="other"))
    assert kept.get(BENTO, HELLO) == registration()
    assert [file.name for file in file_of(home).parent.iterdir()] == ["1.0.0.json"]


def test_what_json_cannot_carry_becomes_plain(home: BentoHome) -> None:
    kept = Registrations(home)
    kept.put(registration(manifest={"n": float("nan"), "text": "\udc80"}))
    found = kept.get(BENTO, HELLO)
    assert found is not None
    assert found.manifest == {"n": None, "text": "?"}


@pytest.mark.parametrize(
    "tag",
    [Tag("..", "1"), Tag("a", ".."), Tag("a/b", "1"), Tag("a", "latest"), Tag("a", "B"), Tag("a", ""), Tag("", "1")],
)
def test_no_tag_leads_to_another_folder(tag: Tag, home: BentoHome) -> None:
    kept = Registrations(home)
    with pytest.raises(InvalidTag):
        kept.put(registration(tag))
    with pytest.raises(InvalidTag):
        begun(home, tag)
    with pytest.raises(InvalidTag):
        Tickets(home, Ahead()).issue(BENTO, tag)
    assert kept.get(BENTO, tag) is None
    assert kept.change_present(BENTO, tag, reason="x") is None
    assert [path for path in home.home.rglob("*") if path.is_file() and path.name != "lock"] == []


def test_no_change_is_lost_beside_another(home: BentoHome) -> None:
    kept = Registrations(home)
    kept.put(registration(labels={}))

    def add(present: Registration | None) -> Registration:
        assert present is not None
        return replace(present, labels={**present.labels, str(len(present.labels)): "x"})

    threads = [threading.Thread(target=kept.change, args=(BENTO, HELLO, add)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(kept.all(BENTO)[0].labels) == 20


def test_a_ticket_is_for_one_thing_for_an_hour(home: BentoHome) -> None:
    clock = Ahead()
    tickets = Tickets(home, clock)
    first, second = tickets.issue(BENTO, HELLO), tickets.issue(MODEL, HELLO)
    clock.seconds = VALID_SECONDS - 5
    assert [tickets.of(first), tickets.of(first), tickets.of(second)] == [
        (BENTO, HELLO),
        (BENTO, HELLO),
        (MODEL, HELLO),
    ]
    clock.seconds = VALID_SECONDS + 5
    assert tickets.of(first) is None


def test_what_is_no_ticket_opens_nothing(home: BentoHome) -> None:
    tickets = Tickets(home, Ahead())
    text = tickets.issue(BENTO, HELLO)
    name = next((home.home / ".pushes" / "tickets").iterdir()).name
    for wrong in ("", "..", name, name[:43], text[:-1], text + "=", "A" * 43, f"../tickets/{name}", "\udc80" * 43):
        assert tickets.of(wrong) is None
    (home.home / ".pushes" / "tickets" / name).write_text('{"kind": "bentos", "name": "..", "version": ".."}')
    assert tickets.of(text) is None


def test_what_nobody_goes_on_with_is_removed_after_a_day(home: BentoHome) -> None:
    clock = Ahead()
    remove_abandoned(home, clock)
    assert not home.home.exists()
    kept, tickets = Registrations(home), Tickets(home, clock)
    kept.put(registration())
    upload = begun(home, HELLO)
    put(home, upload, 1, b"x")
    text = tickets.issue(BENTO, HELLO)
    (file_of(home).parent / ".half").write_text("of a process that died")
    clock.seconds = VALID_SECONDS - 5
    remove_abandoned(home, clock)
    clock.seconds = 0
    assert tickets.of(text) is not None
    clock.seconds = KEPT_SECONDS - 5
    remove_abandoned(home, clock)
    clock.seconds = 0
    assert tickets.of(text) is None
    assert kept.get(BENTO, HELLO) is not None
    assert put(home, upload, 2, b"y")
    clock.seconds = KEPT_SECONDS + 5
    remove_abandoned(home, clock)
    assert sorted(path.name for path in (home.home / ".pushes").rglob("*")) == ["bentos", "lock", "tickets", "uploads"]
