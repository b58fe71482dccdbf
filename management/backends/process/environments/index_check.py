"""What a deployment is refused for before anything is made: no such Python, or requirements that do not resolve."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from management.backends.launcher import ImageRefused
from management.backends.process.environments import maker, uv
from management.backends.process.environments.decision import ServerEnvironment
from management.backends.process.environments.places import Places
from management.backends.process.environments.recipe import EnvironmentRecipe

RESOLVE_SECONDS: Final = 20.0
"""Seconds that a package index has to show that requirements do not resolve; after that, the making shows it."""
REFUSAL_LINES: Final = 20
"""Last lines of a log in a refusal."""


class IndexCheck:
    """Asks uv about a recipe, within a few seconds."""

    def __init__(self, places: Places, server: ServerEnvironment, *, python_downloads: bool) -> None:
        self._places, self._server, self._python_downloads = places, server, python_downloads

    async def check(self, recipe: EnvironmentRecipe) -> None:
        """Raise ImageRefused where the Python is not to be had, or an index shows that requirements do not resolve."""
        python = uv.interpreter(recipe.python, self._server)
        try:
            if python != sys.executable and not self._python_downloads:
                status, _ = await self.ask(lambda program, _: uv.find(program, python), recipe.folder)
                if status:
                    raise ImageRefused("environment_python", wanted=recipe.python, found=self._server.python)
            status, lines = await self.ask(
                lambda program, tmp: uv.resolve(program, recipe, python, tmp / "new", uv.write_overrides(tmp, recipe)),
                recipe.folder,
            )
        except (TimeoutError, OSError, uv.UvMissing):  # the making tells it
            return
        if status and not maker.TEMPORARY.search("\n".join(lines)):
            raise ImageRefused("environment_requirements", log=lines[-REFUSAL_LINES:])

    async def ask(self, command: Callable[[str, Path], list[str]], cwd: Path) -> tuple[int, list[str]]:
        """Run a short command of uv, made from its program and a temporary folder; return its status and its lines.

        Raises TimeoutError, OSError and UvMissing.
        """
        self._places.make_home()
        with tempfile.TemporaryDirectory(dir=self._places.home / "tmp") as folder:
            starting = asyncio.ensure_future(
                asyncio.create_subprocess_exec(
                    *command(uv.program(), Path(folder)),
                    cwd=cwd,
                    env=uv.environment(self._places.home, python_downloads=self._python_downloads),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.STDOUT,
                    start_new_session=True,
                )
            )
            try:
                async with asyncio.timeout(RESOLVE_SECONDS):
                    process = await asyncio.shield(starting)
                    written, _ = await process.communicate()
            except BaseException:
                # Now, or as soon as it has started: a start that is cancelled ends uv alone, and not what it builds.
                starting.add_done_callback(_kill_with_children)
                with suppress(Exception):  # it could not be started
                    await (await asyncio.shield(starting)).wait()
                raise
        masked = maker.masked_text(written.decode(errors="replace"), uv.hidden_paths(self._places.home, cwd))
        return process.returncode or 0, masked.splitlines()


def _kill_with_children(started: asyncio.Future[asyncio.subprocess.Process]) -> None:
    if not started.cancelled() and started.exception() is None:
        with suppress(ProcessLookupError):
            os.killpg(started.result().pid, signal.SIGKILL)
