"""The folder of environments: what is ready, whose lock is held, and what is removed for space."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from management.backends.preparation import EnvironmentState
from management.backends.process.environments import maker
from management.backends.process.environments import places as places_module
from management.backends.process.environments.places import Places, digests_in_use, failure_of

MIB = 1024 * 1024


@pytest.fixture
def places(tmp_path: Path) -> Places:
    found = Places(tmp_path / "environments")
    found.make_home()
    return found


def put(places: Places, digest: str, size: int, *, used_at: float = 0.0) -> Path:
    """Put an environment into the folder as the maker leaves it."""
    folder = places.target(digest)
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    (folder / maker.FACTS).write_text(json.dumps({"bytes": size, "seconds": 1.5}))
    os.utime(folder, (used_at, used_at))
    return folder


def state(places: Places, digest: str) -> EnvironmentState:
    return places.look(digest, "3.11").state


def test_an_environment_is_ready_with_its_facts_and_its_python(places: Places) -> None:
    assert state(places, "a") is EnvironmentState.ABSENT
    folder = put(places, "a", 2 * MIB)
    seen = places.look("a", "3.11")
    assert (seen.state, seen.size_bytes, seen.seconds, seen.is_own) == (EnvironmentState.READY, 2 * MIB, 1.5, True)
    (folder / "bin" / "python").unlink()
    (folder / "bin" / "python").symlink_to("/nowhere/python")
    assert state(places, "a") is EnvironmentState.ABSENT, "its Python was removed from the machine"


def test_half_of_the_facts_are_none(places: Places) -> None:
    (put(places, "a", MIB) / maker.FACTS).write_text('{"byt')
    assert state(places, "a") is EnvironmentState.ABSENT


def test_what_is_locked_is_being_made_and_its_leftovers_stay(places: Places) -> None:
    left = places.home / "a.making-x"
    left.mkdir()
    with places.locked("a") as lock:
        assert lock is not None
        assert state(places, "a") is EnvironmentState.PREPARING
        with places.locked("a") as second:
            assert second is None
        places.sweep()
        assert left.exists()
    places.sweep()
    assert not left.exists()


def test_the_least_recently_used_go_first_and_kept_ones_never(places: Places) -> None:
    for number, digest in enumerate("abcd"):
        put(places, digest, 10 * MIB, used_at=1000.0 + number)
    places.used("a")
    assert places.evict({"b"}, 20 * MIB) == ["c", "d"]
    assert places.sizes().keys() == {"a", "b"}
    assert places.evict({"a", "b"}, 0) == []


def test_what_another_process_holds_is_not_removed(places: Places) -> None:
    put(places, "a", MIB)
    with places.locked("a"):
        assert places.evict(set(), 0) == []
    assert places.evict(set(), 0) == ["a"]
    assert state(places, "a") is EnvironmentState.ABSENT


def test_the_environments_of_replicas_with_a_folder_are_in_use(tmp_path: Path) -> None:
    (tmp_path / "r1").mkdir()
    (tmp_path / "r2").mkdir()
    (tmp_path / "r1" / "environment").write_text("a")
    assert digests_in_use(tmp_path) == {"a"}


def test_only_what_the_cache_alone_has_counts_beside_the_environments(places: Places) -> None:
    cache = places.home / "cache"
    cache.mkdir()
    (cache / "own").write_bytes(bytes(MIB))
    (cache / "shared").write_bytes(bytes(MIB))
    os.link(cache / "shared", places.home / "elsewhere")
    assert places.cached_bytes() == MIB


@pytest.mark.parametrize(
    ("reason", "temporary"),
    [
        ("error: Failed to fetch: `https://index.example/simple/x/` error sending request", True),
        ("error: failed to copy: No space left on device (os error 28)", True),
        ("error: No solution found when resolving dependencies", False),
        ("error: Failed to build `x==1`", False),
    ],
)
def test_another_attempt_follows_only_where_it_may_help(places: Places, reason: str, *, temporary: bool) -> None:
    outcome = maker.fail(places.target("a"), reason)
    failure = places.failure("a")
    assert failure == failure_of(outcome)
    assert failure is not None
    assert failure.temporary is temporary


def test_no_password_and_no_path_of_the_machine_is_logged() -> None:
    text = "Failed to fetch https://user:geheim@mirror/simple and https://token@b/ in /srv/atelier/environments/x"
    shown = maker.masked_text(text, {"/srv/atelier/environments": "ENVIRONMENTS"})
    assert shown == "Failed to fetch https://****@mirror/simple and https://****@b/ in ENVIRONMENTS/x"


def test_a_log_keeps_its_beginning_and_its_end(tmp_path: Path) -> None:
    log = maker.BoundedLog(tmp_path / "log", 40)
    log.add(b"the first line\n")
    for number in range(100):
        log.add(f"line {number}\n".encode())
    kept = (tmp_path / "log").read_text()
    assert kept.startswith("the first line\n")
    assert kept.endswith("line 98\nline 99\n")
    assert len(kept) < 60


def traces(places: Places, digest: str) -> set[str]:
    return {file.suffix.removeprefix(".") for file in places.home.glob(f"{digest}.*")}


def test_nothing_stays_of_an_environment_that_is_removed(places: Places) -> None:
    put(places, "a", MIB)
    for kind in ("log", "overrides", "failure", "lock"):
        (places.home / f"a.{kind}").write_text("")
    assert places.evict([], 0) == ["a"]
    assert traces(places, "a") == set()
    assert not places.target("a").exists()


def test_what_is_left_of_a_making_that_failed_goes_once_nothing_wants_it(places: Places) -> None:
    put(places, "ready", MIB)
    for digest in ("failed", "kept", "busy", "ready"):
        (places.home / f"{digest}.log").write_text("")
        maker.fail(places.target(digest), "some reason")
    with places.locked("failed") as lock:
        assert lock is not None
    with places.locked("busy") as lock:
        assert lock is not None
        places.forget(["kept"])
    found = {digest: traces(places, digest) for digest in ("failed", "kept", "busy", "ready")}
    assert found["failed"] == set()
    assert found["kept"] == {"log", "failure"}
    assert found["busy"] == {"log", "failure", "lock"}
    assert {"log", "failure"} <= found["ready"]


def test_a_lock_that_was_removed_meanwhile_excludes_nobody(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    take, tries = places_module._lock, list[int]()

    def removed_first(opened: int) -> bool:
        if not tries:
            (places.home / "a.lock").unlink()
        tries.append(opened)
        return take(opened)

    monkeypatch.setattr(places_module, "_lock", removed_first)
    with places.locked("a") as first, places.locked("a") as second:
        assert first is not None
        assert second is None, "the first one holds the file that the second one finds"
