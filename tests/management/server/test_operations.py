"""What whoever operates a server relies on: the first key, keys that are revoked, logs that stay small."""

from __future__ import annotations

import stat
from pathlib import Path

import httpx
import pytest

from management.domain import keys
from management.domain.clock import now
from management.domain.keys import Role
from management.store import Store
from tests.support.calls import deploy, infer, quick, until
from tests.support.management_servers import Management, managing
from tests.support.running.figures import SLACK
from tests.support.victims import ready


@pytest.mark.slow
def test_the_first_start_makes_an_admin_key_says_where_it_is_and_keeps_it_to_itself(echo_bentos: Path) -> None:
    with managing(echo_bentos, ATELIER_API_KEY="") as first:
        kept = first.home / "admin.key"
        text = kept.read_text().strip()
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        assert text not in first.log.read_text()
        assert str(kept) in first.log.read_text()
        with first.client(text) as api:
            assert api.get("/models").status_code == 200
        with managing(echo_bentos, home=first.home, ATELIER_API_KEY="") as second, second.client(text) as api:
            assert api.get("/models").status_code == 200
            assert text not in second.log.read_text()


@pytest.mark.slow
def test_a_revoked_key_is_refused_by_every_worker_within_a_second(echo_bentos: Path) -> None:
    with quick(echo_bentos, workers=2) as server:
        store = Store(f"sqlite:///{server.home / 'atelier.db'}")
        made = keys.make("for a while", Role.VIEWER, now())
        with store.writing() as session:
            session.keys.add(made.key)
        until(lambda: {_looked(server, made.text) for _ in range(12)} == {200}, SLACK)
        with store.writing() as session:
            assert session.keys.revoke(made.key.id, now())
        # A worker that has refused it twenty times says 429.
        until(lambda: {_looked(server, made.text) for _ in range(12)} <= {401, 429}, SLACK)
        store.close()


def _looked(server: Management, key: str) -> int:
    """The status of a look by a connection of its own, which any worker may take."""
    with server.client(key) as api:
        return api.get("/models").status_code


def test_a_log_begins_anew_at_a_size_and_its_last_lines_are_shown(echo_bentos: Path) -> None:
    with managing(echo_bentos, ATELIER_LOG_BYTES="20000") as server, server.client() as api:
        deploy(api, scaling_config={"max_replicas": 1})  # however busy it is
        for number in range(300):
            infer(api, {"print": f"line {number} {'x' * 100}"})
        (serving,) = ready(api)
        folder = server.home / "replicas" / serving
        until((folder / "log.1").exists)
        infer(api, {"print": "the last line"})
        assert sum((folder / part).stat().st_size for part in ("log", "log.1")) <= 20_000

        def lines() -> list[str]:
            (replica,) = api.get("/models/echo/logs", params={"tail": 2}).json()["replicas"]
            told: list[str] = replica["lines"]
            return told

        until(lambda: lines()[-1] == "the last line")
        assert len(lines()) == 2


def test_roles_are_what_they_are_called(echo_bentos: Path, management: Management, api: httpx.Client) -> None:
    store = Store(f"sqlite:///{management.home / 'atelier.db'}")
    made = {role: keys.make(role.value, role, now()) for role in (Role.VIEWER, Role.OPERATOR)}
    with store.writing() as session:
        for key in made.values():
            session.keys.add(key.key)
    store.close()
    deploy(api)
    until(lambda: {_looked(management, key.text) for key in made.values()} == {200})
    for role, allowed in ((Role.VIEWER, 403), (Role.OPERATOR, 200)):
        with management.client(made[role].text) as other:
            assert infer(other, {}).status_code == allowed
            assert other.get("/models/echo/status").status_code == 200
            assert other.delete("/models/echo").json()["error"]["code"] == "FORBIDDEN"
