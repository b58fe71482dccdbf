"""Which paths an application serves. A mount matches everything below it, which would give each path its own metric."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

from starlette.routing import BaseRoute, Match, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope


class KnownPaths:
    """The paths of an application's routes, of its static files, and of its mounted applications.

    A mounted application without a ``routes`` attribute has no known paths.
    """

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        everything = list(routes)
        mounts = [route for route in everything if isinstance(route, Mount)]
        self._routes = [route for route in everything if not isinstance(route, Mount)]
        self._files = frozenset(file for mount in mounts for file in _files(mount))
        self._mounts = [(mount, KnownPaths(_routes_below(mount.app))) for mount in mounts]

    def has(self, scope: Scope) -> bool:
        """Return whether the scope's path is served, with any method."""
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
    """Yield the URL path of each file of a static mount; other mounts have none."""
    if not isinstance(mount.app, StaticFiles):
        return
    for folder in mount.app.all_directories:
        for parent, _, names in os.walk(folder):
            below = os.path.relpath(parent, folder).replace(os.sep, "/")
            prefix = mount.path if below == "." else f"{mount.path}/{below}"
            yield from (f"{prefix}/{name}" for name in names)
