"""Who may do what: the door of the API, judged on the path as it came, before anything else reads the request."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from starlette.types import Scope

from management.domain import keys
from management.domain.clock import now
from management.domain.keys import Key, Role
from management.errors import Forbidden, ManagementError, StoreUnavailable, TooManyRequests, Unauthorized
from management.store import Store
from web import addresses
from web.error_shape import ErrorResponse

WINDOW_SECONDS: Final = 60.0
MOST_ADDRESSES: Final = 10_000
"""Of which failures are remembered; the oldest are forgotten first."""
OPTIONAL_SPACE: Final = b" \t"
"""What may stand around a header's value and is no part of it (RFC 9110, 5.5)."""
METRICS: Final = "/metrics"
"""BentoML's and the models' own: whoever draws them need not be able to call a model."""
_CALLS: Final = re.compile(r".*/models/[^/]*/(inference|batch_inference)\Z")


class KeyCache:
    """The keys as they were when somebody last looked, and which of them were used since."""

    def __init__(self) -> None:
        self._known: dict[str, Key] = {}
        self.learnt = False
        """Whether anybody could look at the keys yet."""
        self._used: dict[str, datetime] = {}

    def learn(self, known: list[Key]) -> None:
        """All keys, as they are now."""
        self._known, self.learnt = {one.id: one for one in known}, True

    def find(self, text: str) -> Key | None:
        """The valid key that this text is; its use is noted."""
        at = now()
        found = keys.find(text, self._known, at)
        if found is not None:
            self._used[found.id] = at
        return found

    async def write_uses(self, store: Store) -> None:
        """Writes down when keys were used."""
        used = dict(self._used)
        if used:
            await store.write(lambda session: session.keys.used(used), counted=False)
        # Only what is written is forgotten; a key may have been used once more meanwhile.
        self._used = {key: at for key, at in self._used.items() if used.get(key) != at}


class FailedLoginLimiter:
    """Wrong keys by address in the last minute."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = most, clock
        self._times: dict[str, deque[float]] = {}

    def note(self, address: str) -> int | None:
        """One more; seconds to wait when there are too many."""
        at = self._clock()
        times = self._times.pop(address, deque(maxlen=self._most + 1))
        while times and times[0] <= at - WINDOW_SECONDS:
            times.popleft()
        times.append(at)
        self._times[address] = times  # the newest last
        if len(self._times) > MOST_ADDRESSES:
            del self._times[next(iter(self._times))]
        return int(times[0] + WINDOW_SECONDS - at) + 1 if len(times) > self._most else None


class Authenticator:
    """The authentication of the edge: passes requests with a key of a sufficient role."""

    def __init__(
        self, keyring: KeyCache, failures: FailedLoginLimiter, role_of: Callable[[str, str], Role | None]
    ) -> None:
        self._keyring, self._failures, self._role_of = keyring, failures, role_of

    async def __call__(self, scope: Scope) -> ErrorResponse | None:
        """None for who may pass; their key is ``scope["state"]["key"]`` then."""
        wanted = self._role_of(scope["method"], scope["edge.path"])
        if wanted is None:
            return None
        key = self._key(scope)
        if key is None:
            return self._unknown(scope)
        scope["state"]["key"] = key
        return None if key.role.includes(wanted) else _refusal(Forbidden())

    def _key(self, scope: Scope) -> Key | None:
        given = _given(scope["headers"])
        return self._keyring.find(given) if given is not None else None

    def _unknown(self, scope: Scope) -> ErrorResponse:
        """A wrong key is counted; none at all is a mistake, not an attack."""
        if not self._keyring.learnt:
            return _refusal(StoreUnavailable(retry_after=5))
        if _given(scope["headers"]) is None:
            return _refusal(Unauthorized())
        seconds = self._failures.note(addresses.block(scope.get("client")))
        return _refusal(TooManyRequests(retry_after=seconds) if seconds else Unauthorized())


def role_for_api(open_paths: frozenset[str], open_files: str) -> Callable[[str, str], Role | None]:
    """Which role each request of the API wants; none on the paths that are open, and below ``open_files``."""

    def role_of(method: str, path: str) -> Role | None:
        if path in open_paths or (path.startswith(open_files) and method in ("GET", "HEAD")):
            return None
        if method in ("GET", "HEAD", "OPTIONS"):
            return Role.VIEWER
        return Role.OPERATOR if _CALLS.match(path) else Role.ADMIN

    return role_of


def role_for_models(open_paths: frozenset[str]) -> Callable[[str, str], Role | None]:
    """Which role the models' own endpoints want, where they want keys."""

    def role_of(method: str, path: str) -> Role | None:
        if path in open_paths or path.startswith("/static_content/"):
            return None
        return Role.VIEWER if path == METRICS and method in ("GET", "HEAD") else Role.OPERATOR

    return role_of


def _given(headers: Any) -> str | None:
    """The one key of a request. Two are as bad as a wrong one."""
    found = [value.strip(OPTIONAL_SPACE) for name, value in headers if name == b"x-api-key"]
    bearers = [value.strip(OPTIONAL_SPACE).split(b" ", 1) for name, value in headers if name == b"authorization"]
    found += [parts[1].strip(OPTIONAL_SPACE) for parts in bearers if len(parts) == 2 and parts[0].lower() == b"bearer"]
    if not found:
        return None
    return found[0].decode("latin-1") if len(set(found)) == 1 else ""


def _refusal(error: ManagementError) -> ErrorResponse:
    headers = [(b"www-authenticate", b'ApiKey realm="atelier", Bearer realm="atelier"')] if error.status == 401 else []
    if error.retry_after is not None:
        headers.append((b"retry-after", str(error.retry_after).encode()))
    return ErrorResponse(error.status, "", error.code, tuple(headers))
