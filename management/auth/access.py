"""Authentication and authorization, decided on the raw path before anything else of the request is read."""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final

from starlette.types import Scope

from management.auth import browser
from management.domain import keys
from management.domain.clock import now
from management.domain.keys import Key, Role
from management.errors import Forbidden, ManagementError, StoreUnavailable, TooManyRequests, Unauthorized
from management.store import Store
from web import addresses
from web.error_shape import ErrorResponse

WINDOW_SECONDS: Final = 60.0
"""Seconds for which a wrong key counts against its address."""
MAX_ADDRESSES: Final = 10_000
"""Maximum number of addresses whose wrong keys are counted; the oldest are dropped first."""
OPTIONAL_SPACE: Final = b" \t"
"""Characters around a header's value that are not part of it (RFC 9110, 5.5)."""
WATCH_SECONDS: Final = 1.0
"""Seconds between two looks whether the key of a websocket is still valid."""
TOKEN_HEADER: Final = b"x-yatai-api-token"
"""Header in which BentoML's cloud client sends the key."""
METRICS: Final = "/metrics"
"""Path of the Prometheus metrics. Scrapers need only the viewer role."""
_CALLS: Final = re.compile(r".*/models/[^/]*/(inference|batch_inference)\Z")


class KeyCache:
    """The keys as last read from the store, and which of them were used since."""

    def __init__(self, clock: Callable[[], datetime] = now) -> None:
        """``clock`` tells the time by which keys expire."""
        self._clock = clock
        self._known: dict[str, Key] = {}
        self.learnt = False
        """Whether the keys have been read at least once."""
        self._used: dict[str, datetime] = {}

    def learn(self, known: list[Key]) -> None:
        """Replace the cached keys by those in the store."""
        self._known, self.learnt = {key.id: key for key in known}, True

    def find(self, text: str) -> Key | None:
        """Return the valid key with this text, and record its use; None without one."""
        moment = self._clock()
        key = keys.find(text, self._known, moment)
        if key is not None:
            self._used[key.id] = moment
        return key

    def is_valid(self, key_id: str) -> bool:
        """Return whether a key that was found before is still valid."""
        key = self._known.get(key_id)
        return key is not None and key.valid(self._clock())

    async def until_invalid(self, key: Key) -> None:
        """Wait until a key that was found before is revoked, or has expired."""
        while self.is_valid(key.id):  # noqa: ASYNC110 - the keys are replaced as a whole, and time passes
            await asyncio.sleep(WATCH_SECONDS)

    async def write_uses(self, store: Store) -> None:
        """Write the times at which keys were used to the store."""
        used = dict(self._used)
        if used:
            await store.write(lambda session: session.keys.used(used), counted=False)
        # Only written times are dropped: a key may have been used again meanwhile.
        self._used = {key: moment for key, moment in self._used.items() if used.get(key) != moment}


class FailedLoginLimiter:
    """Counts wrong keys by address over the last minute."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = most, clock
        self._times: dict[str, deque[float]] = {}

    def note(self, address: str) -> int | None:
        """Count a wrong key. Return the seconds to wait when the address has sent too many, else None."""
        now = self._clock()
        times = self._times.pop(address, deque(maxlen=self._most + 1))
        while times and times[0] <= now - WINDOW_SECONDS:
            times.popleft()
        times.append(now)
        self._times[address] = times  # the newest address is last
        if len(self._times) > MAX_ADDRESSES:
            del self._times[next(iter(self._times))]
        return int(times[0] + WINDOW_SECONDS - now) + 1 if len(times) > self._most else None


def never(_: str) -> bool:
    """Return False: no path is open."""
    return False


class Authenticator:
    """Check at the edge: a request passes if it has a key with a sufficient role, or goes to an open path."""

    def __init__(
        self,
        keyring: KeyCache,
        failures: FailedLoginLimiter,
        role_of: Callable[[str, str], Role | None],
        *,
        browsers: bool = False,
        is_open: Callable[[str], bool] = never,
    ) -> None:
        """``browsers`` lets a person log in to a page: the password of Basic authentication is the key.

        ``is_open`` says whether a path requires no key now. A key that is sent there all the same has to be a valid
        one, of any role: a caller who means to be known is not served as a stranger.
        """
        self._keyring, self._failures, self._role_of = keyring, failures, role_of
        self._browsers, self._is_open = browsers, is_open

    async def __call__(self, scope: Scope) -> ErrorResponse | None:
        """Return None if the request may pass, with its key in ``scope["state"]["key"]``; else the refusal."""
        required = self._role_of(scope["method"], scope["edge.path"])
        if required is None:
            return None
        is_open = self._is_open(scope["edge.path"])
        if is_open and self._text(scope) is None:
            return None
        key = self._key(scope)
        if key is None:
            return self._refuse_unknown(scope)
        if is_open:  # what another site makes a browser send here, it could as well send without the key
            scope["state"]["key"] = key
            return None
        if self._browsers and browser.is_foreign(scope):
            return _refusal(Forbidden())
        scope["state"]["key"] = key
        return None if key.role.includes(required) else _refusal(Forbidden())

    def _key(self, scope: Scope) -> Key | None:
        text = self._text(scope)
        return self._keyring.find(text) if text is not None else None

    def _text(self, scope: Scope) -> str | None:
        text = _key_text(scope["headers"])
        return browser.password(scope) if text is None and self._browsers else text

    def _refuse_unknown(self, scope: Scope) -> ErrorResponse:
        """Return the refusal. A wrong key is counted as an attack; a missing key is not."""
        if not self._keyring.learnt:
            return _refusal(StoreUnavailable(retry_after=5))
        if self._text(scope) is None:
            return _refusal(Unauthorized(), browser.CHALLENGES if self._browsers and browser.asks(scope) else ())
        seconds = self._failures.note(addresses.block(scope.get("client")))
        return _refusal(TooManyRequests(retry_after=seconds) if seconds else Unauthorized())


def role_for_api(
    open_paths: frozenset[str], open_files: str, for_admins: str = ""
) -> Callable[[str, str], Role | None]:
    """Return a function that gives the role which a request to the API requires, by method and path.

    It gives None for open paths, and for reading below ``open_files``. The path ``for_admins``, and all below it,
    requires an admin also for reading.
    """

    def role_of(method: str, path: str) -> Role | None:
        if path in open_paths or (path.startswith(open_files) and method in ("GET", "HEAD")):
            return None
        if for_admins and f"{path}/".startswith(f"{for_admins}/"):
            return Role.ADMIN
        if method in ("GET", "HEAD", "OPTIONS"):
            return Role.VIEWER
        return Role.OPERATOR if _CALLS.match(path) else Role.ADMIN

    return role_of


def role_for_models(open_paths: frozenset[str]) -> Callable[[str, str], Role | None]:
    """Return a function that gives the role which the models' own endpoints require when they require keys."""

    def role_of(method: str, path: str) -> Role | None:
        if path in open_paths or path.startswith("/static_content/"):
            return None
        return Role.VIEWER if path == METRICS and method in ("GET", "HEAD") else Role.OPERATOR

    return role_of


def role_for_addresses(prefix: str) -> Callable[[str, str], Role | None]:
    """Return a function that gives the role which a request to a model's own address requires.

    A caller of a model may call each of its paths; its metrics are read as those of the server.
    """

    def role_of(method: str, path: str) -> Role | None:
        _, _, inner = path.removeprefix(f"{prefix}/").partition("/")
        return Role.VIEWER if f"/{inner}" == METRICS and method in ("GET", "HEAD") else Role.OPERATOR

    return role_of


def open_addresses(prefix: str, is_open: Callable[[str], bool]) -> Callable[[str], bool]:
    """Return a function that says whether a path is one of a model that ``is_open``, by the model's id."""

    def is_open_path(path: str) -> bool:
        return is_open(path.removeprefix(f"{prefix}/").partition("/")[0])

    return is_open_path


def _key_text(headers: Any) -> str | None:
    """Return the key of a request; None without one, and an empty text, which is a wrong key, for different ones."""
    texts = [value.strip(OPTIONAL_SPACE) for name, value in headers if name in (b"x-api-key", TOKEN_HEADER)]
    bearers = [value.strip(OPTIONAL_SPACE).split(b" ", 1) for name, value in headers if name == b"authorization"]
    texts += [parts[1].strip(OPTIONAL_SPACE) for parts in bearers if len(parts) == 2 and parts[0].lower() == b"bearer"]
    if not texts:
        return None
    return texts[0].decode("latin-1") if len(set(texts)) == 1 else ""


def _refusal(error: ManagementError, more: Iterable[tuple[bytes, bytes]] = ()) -> ErrorResponse:
    headers = [(b"www-authenticate", b'ApiKey realm="atelier", Bearer realm="atelier"')] if error.status == 401 else []
    if error.retry_after is not None:
        headers.append((b"retry-after", str(error.retry_after).encode()))
    return ErrorResponse(error.status, "", error.code, (*headers, *more))
