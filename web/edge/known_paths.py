"""Which paths an application serves: a mount says yes to everything below it, and what counts requests believes it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

from starlette.routing import BaseRoute, Match, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope


class KnownPaths:
    """The paths of an application's routes, of the files of its mounts, and of the applications in them.

    A mounted application that does not say what it serves has none: each of its paths would be one that is counted.
    """

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        everything = list(routes)
        mounts = [route for route in everything if isinstance(route, Mount)]
        self._routes = [route for route in everything if not isinstance(route, Mount)]
        self._files = frozenset(file for mount in mounts for file in _files(mount))
        self._mounts = [(mount, KnownPaths(_routes_below(mount.app))) for mount in mounts]

    def has(self, scope: Scope) -> bool:
        """Whether something is served on the scope's path, whatever its method."""
        if any(route.matches(scope)[0] is not Match.NONE for route in self._routes):
            return True
        if scope["path"].removeprefix(scope.get("root_path", "")) in self._files:
            return True
        return any(_below(mount, known, scope) for mount, known in self._mounts)


def _below(mount: Mount, known: KnownPaths, scope: Scope) -> bool:
    match, inside = mount.matches(scope)
    return match is not Match.NONE and known.has({**scope, **inside})


def _routes_below(app: Any) -> Iterable[BaseRoute]:
    routes: Iterable[BaseRoute] = getattr(app, "routes", ())
    return routes


def _files(mount: Mount) -> Iterator[str]:
    """The paths of a mount's files: there are as many as there are files."""
    if not isinstance(mount.app, StaticFiles):
        return
    for folder in mount.app.all_directories:
        for where, _, names in os.walk(folder):
            below = os.path.relpath(where, folder).replace(os.sep, "/")
            prefix = mount.path if below == "." else f"{mount.path}/{below}"
            yield from (f"{prefix}/{name}" for name in names)
