"""Keys, roles, and the door: who may do what, and what becomes of those who try."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from management.auth import access
from management.auth.access import (
    Authenticator,
    FailedLoginLimiter,
    KeyCache,
    open_addresses,
    role_for_addresses,
    role_for_api,
    role_for_models,
)
from management.domain import keys
from management.domain.clock import now
from management.domain.keys import Key, NewKey, Role
from management.store import Store
from web.error_shape import ErrorResponse

AT = datetime(2026, 1, 1, tzinfo=UTC)
VIEWER, OPERATOR, ADMIN = Role


class HandClock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def made(role: Role = ADMIN, **changes: Any) -> NewKey:
    return keys.make("ci", role, AT, **changes)


def found(text: str, *known: Key, at: datetime = AT) -> Key | None:
    return keys.find(text, {key.id: key for key in known}, at)


def mistyped(text: str, place: int) -> str:
    return text[:place] + ("a" if text[place] != "a" else "b") + text[place + 1 :]


def test_a_key_has_the_form_that_scanners_look_for() -> None:
    key = made()
    assert re.fullmatch(r"atl_[0-9a-z]{12}_[A-Za-z0-9_-]{43}_[0-9a-f]{8}", key.text)
    assert key.text.split("_")[1] == key.key.id
    assert len({made().text for _ in range(50)}) == 50


def test_nothing_stored_tells_the_secret() -> None:
    key = made()
    secret = key.text[len("atl_") + 13 : -9]
    assert secret not in repr(key.key)
    assert re.fullmatch(r"[0-9a-f]{64}", key.key.digest)


def test_a_key_is_found_by_its_text_alone() -> None:
    key, other = made(), made()
    assert found(key.text, key.key, other.key) == key.key
    assert found(key.text, other.key) is None


def test_a_mistyped_key_is_no_key_at_any_place() -> None:
    key = made()
    for place in range(len(key.text)):
        assert found(mistyped(key.text, place), key.key) is None


def test_a_right_id_with_another_secret_is_no_key() -> None:
    key, other = made(), made()
    forged = keys.Key(**{**vars(other.key), "id": key.key.id})
    assert found(key.text, forged) is None


@pytest.mark.parametrize("text", ["", "atl_", "x" * 10_000, "\0", "é", "ÿ" * 100, "\udcff", "a b", "atl_" + "0" * 65])
def test_whatever_is_no_key_is_nobody(text: str) -> None:
    assert found(text, made().key) is None


def test_expired_and_revoked_keys_are_nobody() -> None:
    until = made(expires_at=AT + timedelta(hours=1))
    assert found(until.text, until.key, at=AT + timedelta(minutes=59)) == until.key
    assert found(until.text, until.key, at=AT + timedelta(hours=1)) is None
    revoked = Key(**{**vars(until.key), "revoked_at": AT})
    assert found(until.text, revoked) is None


def test_a_chosen_key_is_an_admin_key() -> None:
    key = keys.chosen("your-api-key", "first", AT)
    assert key.role is ADMIN
    assert found("your-api-key", key) == key
    assert found("your-api-kez", key) is None
    ours = made()
    again = keys.chosen(ours.text, "first", AT)
    assert (again.id, again.digest) == (ours.key.id, ours.key.digest)


@pytest.mark.parametrize("text", ["", "seven77", "x" * 513, " spaced-key", "spaced-key ", "line\nbreak", "schlüssel"])
def test_a_chosen_key_must_travel_in_a_header_and_not_be_short(text: str) -> None:
    with pytest.raises(ValueError, match="8 to 512"):
        keys.chosen(text, "first", AT)


def test_each_role_may_do_what_those_before_it_may() -> None:
    assert [[role.includes(other) for other in Role] for role in Role] == [
        [True, False, False],
        [True, True, False],
        [True, True, True],
    ]


OPEN = frozenset({"/api/v1/health"})


@pytest.mark.parametrize(
    ("method", "path", "role"),
    [
        ("GET", "/api/v1/health", None),
        ("POST", "/api/v1/health", None),
        ("GET", "/api/v1/static/x.js", None),
        ("POST", "/api/v1/static/x.js", ADMIN),
        ("GET", "/api/v1/health/", VIEWER),
        ("GET", "/api/v1/models", VIEWER),
        ("HEAD", "/api/v1/models/a", VIEWER),
        ("OPTIONS", "/api/v1/models", VIEWER),
        ("POST", "/api/v1/models/a/inference", OPERATOR),
        ("POST", "/api/v1/models/a/batch_inference", OPERATOR),
        ("POST", "/api/v1/models/a/inference/", ADMIN),
        ("POST", "/api/v1/models/a/inference\n", ADMIN),
        ("POST", "/api/v1/models/a/b/inference", ADMIN),
        ("POST", "/api/v1/models/deploy", ADMIN),
        ("PUT", "/api/v1/models/a", ADMIN),
        ("POST", "/api/v1/models/a/scale", ADMIN),
        ("DELETE", "/api/v1/models/a", ADMIN),
        ("TRACE", "/api/v1/nothing", ADMIN),
    ],
)
def test_each_route_wants_its_role(method: str, path: str, role: Role | None) -> None:
    assert role_for_api(OPEN, "/api/v1/static/")(method, path) is role


def test_the_models_own_endpoints_want_an_operator_where_they_want_keys() -> None:
    role_of = role_for_models(frozenset({"/livez"}))
    assert role_of("GET", "/livez") is None
    assert role_of("GET", "/static_content/x.css") is None
    assert role_of("GET", "/docs.json") is OPERATOR
    assert role_of("POST", "/classify") is OPERATOR
    assert role_of("GET", "/metrics") is VIEWER
    assert role_of("POST", "/metrics") is OPERATOR


class House:
    """A door, the keys to it, and how many wrong ones it bears."""

    def __init__(self, most: int = 2) -> None:
        self.keyring, self.clock = KeyCache(), HandClock()
        self.keys = {role: made(role) for role in Role}
        self.keyring.learn([key.key for key in self.keys.values()])
        self.failures = FailedLoginLimiter(most, self.clock)
        self.door = Authenticator(self.keyring, self.failures, role_for_api(OPEN, "/api/v1/static/"))

    async def knock(
        self,
        *headers: tuple[str, str],
        method: str = "GET",
        path: str = "/api/v1/models",
        address: str | None = "1.2.3.4",
    ) -> tuple[ErrorResponse | None, dict[str, Any]]:
        """The refusal and what the application sees."""
        scope: dict[str, Any] = {
            **{"type": "http", "method": method, "edge.path": path, "path": "/elsewhere", "state": {}},
            "client": None if address is None else (address, 1),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
        }
        return await self.door(scope), scope["state"]

    async def status(self, *headers: tuple[str, str], **how: Any) -> int | None:
        refusal, _ = await self.knock(*headers, **how)
        return None if refusal is None else refusal.status

    def text(self, role: Role = VIEWER) -> str:
        return self.keys[role].text


async def test_an_open_path_needs_no_key() -> None:
    assert await House().knock(path="/api/v1/health") == (None, {})


async def test_where_a_key_is_optional_a_wrong_one_is_refused_and_any_right_one_is_told_to_the_application() -> None:
    house = House()
    house.door = Authenticator(
        house.keyring, house.failures, role_for_addresses("/models"), is_open=open_addresses("/models", "a".__eq__)
    )
    assert await house.knock(path="/models/a/x", method="POST") == (None, {})
    assert await house.status(("x-api-key", "wrong-key"), path="/models/a/x") == 401
    viewer = await house.knock(("x-api-key", house.text(VIEWER)), path="/models/a/x", method="POST")
    assert viewer == (None, {"key": house.keys[VIEWER].key})
    for path in ("/models/b/x", "/models/", "/models", "/models//a", "/models/ab"):
        assert await house.status(path=path) == 401, path


async def test_without_keys_that_were_read_only_a_key_is_doubtful_at_an_open_path() -> None:
    door = Authenticator(
        KeyCache(), FailedLoginLimiter(2), role_for_addresses("/models"), is_open=open_addresses("/models", "a".__eq__)
    )
    house = House()
    house.door = door
    assert await house.status(path="/models/a/x") is None
    assert await house.status(("x-api-key", "any"), path="/models/a/x") == 503


async def test_a_key_in_either_header_opens_and_is_told_to_the_application() -> None:
    house = House()
    for header in (("x-api-key", house.text()), ("authorization", f"bEaReR  {house.text()} ")):
        refusal, state = await house.knock(header)
        assert refusal is None
        assert state == {"key": house.keys[VIEWER].key}


@pytest.mark.parametrize("role", Role)
async def test_a_role_that_is_not_enough_is_forbidden(role: Role) -> None:
    house = House()
    header = ("x-api-key", house.text(role))
    call = await house.status(header, method="POST", path="/api/v1/models/a/inference")
    deploy = await house.status(header, method="POST", path="/api/v1/models/deploy")
    assert (call, deploy) == {VIEWER: (403, 403), OPERATOR: (None, 403), ADMIN: (None, None)}[role]


async def test_without_a_key_the_answer_says_how_to_give_one_and_nothing_is_counted() -> None:
    house = House(most=1)
    for _ in range(5):
        refusal, state = await house.knock(("authorization", "Basic abc"))
        assert refusal is not None
        assert (refusal.status, refusal.code) == (401, "UNAUTHORIZED")
        assert dict(refusal.headers)[b"www-authenticate"] == b'ApiKey realm="atelier", Bearer realm="atelier"'
        assert state == {}


async def test_too_many_wrong_keys_from_one_address_are_slowed_and_a_right_one_still_opens() -> None:
    house = House(most=2)
    wrong = ("x-api-key", "wrong-key")
    assert [await house.status(wrong) for _ in range(3)] == [401, 401, 429]
    refusal, _ = await house.knock(wrong)
    assert refusal is not None
    assert dict(refusal.headers)[b"retry-after"] == b"61"
    assert await house.status(wrong, address="5.6.7.8") == 401
    assert await house.status(("x-api-key", house.text())) is None
    house.clock.now = access.WINDOW_SECONDS
    assert await house.status(wrong) == 401


@pytest.mark.parametrize("header", ["x-api-key", "authorization"])
async def test_spaces_around_a_key_are_no_part_of_it(header: str) -> None:
    house = House()
    text = house.text() if header == "x-api-key" else f"Bearer  {house.text()}"
    for spaced in (f" {text}", f"{text} ", f"\t{text} \t"):
        assert await house.status((header, spaced)) is None


async def test_wrong_keys_of_one_host_are_counted_together_whatever_address_it_takes() -> None:
    house = House(most=2)
    wrong = ("x-api-key", "wrong-key")
    addresses = ["2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::3", "2001:db8:0:1::1"]
    assert [await house.status(wrong, address=address) for address in addresses] == [401, 401, 429, 401]


async def test_what_is_no_address_is_not_kept() -> None:
    house = House(most=1)
    wrong = ("x-api-key", "wrong-key")
    assert [await house.status(wrong, address="x" * 30_000) for _ in range(2)] == [401, 429]
    assert all(len(address) < 64 for address in house.failures._times)


async def test_two_different_keys_are_as_bad_as_a_wrong_one_and_the_same_twice_is_one() -> None:
    house = House()
    first, second = ("x-api-key", house.text()), ("authorization", f"Bearer {house.text(ADMIN)}")
    assert await house.status(first, second) == 401
    assert await house.status(first, ("authorization", f"Bearer {house.text()}")) is None
    assert await house.status(("x-api-key", "")) == 401


async def test_bytes_that_are_no_text_are_no_key_and_an_unknown_address_is_one_too() -> None:
    house = House(most=1)
    assert [await house.status(("x-api-key", "\xff\xfe"), address=None) for _ in range(2)] == [401, 429]


async def test_a_key_that_is_learnt_to_be_revoked_opens_no_more() -> None:
    house = House()
    house.keyring.learn([Key(**{**vars(house.keys[VIEWER].key), "revoked_at": AT})])
    assert await house.status(("x-api-key", house.text())) == 401


async def test_the_use_of_a_key_is_written_down_once(tmp_path: Any) -> None:
    store = Store(f"sqlite:///{tmp_path}/db")
    store.migrate()
    key = made()
    with store.writing() as session:
        session.keys.add(key.key)
    keyring, before = KeyCache(), now()
    keyring.learn([key.key])
    keyring.find(key.text)
    await keyring.write_uses(store)
    with store.reading() as session:
        [kept], changes = session.keys.all(), session.changes()
    assert kept.last_used_at is not None
    assert before <= kept.last_used_at <= now()
    assert changes == 1, "nobody need look again for it"
    store.close()


def test_failures_are_counted_for_a_minute_and_the_wait_is_until_the_first_is_forgotten() -> None:
    clock = HandClock()
    failures = FailedLoginLimiter(2, clock)
    times = (0.0, 10.0, 20.0, 59.0, 60.0, 120.0)
    waits = []
    for clock.now in times:
        waits.append(failures.note("a"))
    assert waits == [None, None, 41, 12, 21, None]


def test_failures_remember_so_many_addresses_and_forget_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "MAX_ADDRESSES", 3)
    failures = FailedLoginLimiter(1, HandClock())
    for address in ("a", "b", "a", "c", "d"):  # b is the oldest then
        failures.note(address)
    assert failures.note("a") is not None
    assert failures.note("b") is None
    assert len(failures._times) == 3
