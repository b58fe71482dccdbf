"""Prepares the environments of Bentos that the server's own does not suit; each is made once, for all who ask."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

from typing_extensions import override

from management.backends.launcher import ImageRefused, LaunchRefused
from management.backends.preparation import READY_AT_ONCE, EnvironmentPreparer, EnvironmentState, Preparation
from management.backends.process.environments import decision, maker, uv
from management.backends.process.environments.decision import ServerEnvironment
from management.backends.process.environments.index_check import IndexCheck
from management.backends.process.environments.places import Failure, Places, digests_in_use, failure_of
from management.backends.process.environments.recipe import EnvironmentRecipe, recipe
from management.backends.process.images import BentoStore
from management.backends.process.launcher import Python
from management.backends.process.settings import ProcessSettings
from management.domain import quantities
from management.domain.bento import Bento
from management.domain.bento_tag import tag_of
from management.settings import StorageSettings

MAKER: Final = Path(maker.__file__)
AT_ONCE: Final = 2
"""Environments that one control plane makes at a time."""
LOG_BYTES: Final = 512 * 1024
"""Bytes of a log that are kept."""
CHECK: Final = "import bentoml, uvicorn, aiohttp"
"""What every replica imports first."""
SAFE_PATH_SINCE: Final = 11
"""Minor version of Python 3 from which ``-P`` exists; before, ``-I`` does the same, and ignores PYTHONUNBUFFERED."""
MAX_KNOWN: Final = 1024
"""Images and failures that are remembered; the oldest are forgotten first."""
STEPS: Final = ("making it", "installing the requirements", "importing bentoml", "listing what is installed")

logger = logging.getLogger(__name__)
Known = TypeVar("Known")


@dataclass(frozen=True)
class _Plan:
    """How the replicas of a Bento run: in an environment of this recipe, or in the server's own without a recipe."""

    bento: Bento
    recipe: EnvironmentRecipe | None


class UvPreparer(EnvironmentPreparer):
    """The preparer of the process backend."""

    def __init__(self, store: BentoStore, storage: StorageSettings, settings: ProcessSettings) -> None:
        self._store, self._settings, self._replicas = store, settings, storage.replicas
        self._places = Places(storage.environments)
        self._plans: dict[str, _Plan] = {}
        self._making: dict[str, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._failures: dict[str, Failure] = {}
        """What failed in this process, by digest: on a full disk it is kept nowhere else."""
        self._kept: frozenset[str] | None = None
        """Environments that were kept when nothing more had to be removed."""

    @cached_property
    def _server(self) -> ServerEnvironment:
        return decision.server_environment()

    async def interpreter(self, image: str) -> Python:
        """Return the Python for replicas of the image. Raises LaunchRefused where its environment is not ready."""
        plan = await self._plan(image)
        if plan is None or plan.recipe is None:
            return Python()
        digest = plan.recipe.digest
        if self._places.facts(digest) is None:
            raise LaunchRefused("its environment is not ready")
        self._places.used(digest)
        options = ("-P",) if _minor(plan.recipe.python) >= SAFE_PATH_SINCE else ("-I", "-u")
        return Python(str(self._places.python(digest)), digest, options)

    @override
    async def check(self, image: str) -> None:
        plan = await self._plan(image)
        if plan is None or not self._settings.own_environments:
            return
        if needs := decision.unmet_needs(plan.bento):
            raise ImageRefused("environment_system", found="; ".join(needs)[: maker.LONGEST_REASON])
        if plan.recipe is None:
            return
        if decision.lacks_tree(plan.bento):
            raise ImageRefused("environment_services", found=plan.bento.bentoml_version)
        if self._places.facts(plan.recipe.digest) is None:
            await self._index().check(plan.recipe)

    def _index(self) -> IndexCheck:
        return IndexCheck(self._places, self._server, python_downloads=self._settings.python_downloads)

    @override
    async def prepare(self, image: str, since: float) -> Preparation:
        plan = await self._plan(image)
        if plan is None or plan.recipe is None:
            return READY_AT_ONCE
        recipe = plan.recipe
        seen = await asyncio.to_thread(self._look, recipe)
        failure = self._failure(recipe.digest)
        failed_before = seen.state is EnvironmentState.FAILED and failure is not None and failure.at < since
        if seen.state is EnvironmentState.ABSENT or failed_before:
            self._making[recipe.digest] = asyncio.create_task(self._make(recipe))
            return Preparation(EnvironmentState.PREPARING, recipe.digest, recipe.python)
        return seen

    @override
    async def look(self, image: str) -> Preparation | None:
        plan = await self._plan(image)
        if plan is None or plan.recipe is None:
            return Preparation(EnvironmentState.READY, python=self._server.python)
        return await asyncio.to_thread(self._look, plan.recipe)

    def _look(self, recipe: EnvironmentRecipe) -> Preparation:
        seen = self._places.look(recipe.digest, recipe.python)
        if seen.state is not EnvironmentState.ABSENT:
            return seen
        if recipe.digest in self._making:
            return replace(seen, state=EnvironmentState.PREPARING)
        if (failure := self._failure(recipe.digest)) is not None:
            return replace(seen, state=EnvironmentState.FAILED, reason=failure.reason, temporary=failure.temporary)
        return seen

    def _failure(self, digest: str) -> Failure | None:
        """Return the last failure to make the environment, in this process or another."""
        known = [failure for failure in (self._places.failure(digest), self._failures.get(digest)) if failure]
        return max(known, key=lambda failure: failure.at, default=None)

    @override
    async def packages(self, image: str) -> Sequence[str]:
        plan = await self._plan(image)
        facts = None if plan is None or plan.recipe is None else self._places.facts(plan.recipe.digest)
        return [] if facts is None else [str(package) for package in facts.get("packages", ())]

    @override
    async def log(self, image: str, lines: int) -> list[str]:
        plan = await self._plan(image)
        if plan is None or plan.recipe is None:
            return []
        return await asyncio.to_thread(self._places.log, plan.recipe.digest, lines)

    @override
    async def retain(self, images: Collection[str]) -> None:
        plans = [await self._plan(image) for image in images]
        digests = frozenset(plan.recipe.digest for plan in plans if plan is not None and plan.recipe is not None)
        most = quantities.memory_bytes(self._settings.environments_disk)
        if self._kept == digests and not self._making:
            return  # nothing has changed since
        self._plans = {image: plan for image, plan in self._plans.items() if image in images}
        self._failures = {digest: failure for digest, failure in self._failures.items() if digest in digests}
        if self._places.home.is_dir():
            await self._clean(digests, most)
        self._kept = digests

    async def _clean(self, digests: Collection[str], most: int) -> None:
        places = self._places
        await asyncio.to_thread(places.sweep)
        await asyncio.to_thread(places.forget, {*digests, *self._making})
        used = sum(places.sizes().values()) + await asyncio.to_thread(places.cached_bytes)
        if used <= most:
            return
        with suppress(TimeoutError, OSError, uv.UvMissing):  # it is in use; the next time
            await self._index().ask(lambda program, _: uv.clean(program), places.home)
        kept = {*digests, *await asyncio.to_thread(digests_in_use, self._replicas)}
        for digest in await asyncio.to_thread(places.evict, kept, most):
            logger.info("environment %s was removed for space", digest)

    @override
    async def close(self) -> None:
        making = list(self._making.values())
        for task in making:
            task.cancel()
        await asyncio.gather(*making, return_exceptions=True)

    async def _make(self, recipe: EnvironmentRecipe) -> None:
        """Make the environment, unless another process does."""
        try:
            async with self._slots:
                outcome = await self._run_maker(recipe)
        except uv.UvMissing:
            outcome = maker.fail(self._places.target(recipe.digest), "uv is not installed beside the server")
        except OSError as error:
            outcome = maker.fail(self._places.target(recipe.digest), error.strerror or "it cannot be written")
        finally:
            self._kept = None
            self._making.pop(recipe.digest, None)
        if outcome is not None:
            logger.info("environment %s: %s", recipe.digest, outcome.get("reason") or "ready")
        if outcome is not None and not outcome["ready"]:
            _remember(self._failures, recipe.digest, failure_of(outcome))

    async def _run_maker(self, recipe: EnvironmentRecipe) -> dict[str, Any] | None:
        """Return the outcome of the maker; None where another process makes or has made it, or it was killed."""
        places = self._places
        places.make_home()
        with places.locked(recipe.digest) as lock:
            if lock is None or places.facts(recipe.digest) is not None:  # replicas may run in it
                return None
            task = self._task(recipe)
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(MAKER)),
                env=self._variables(),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                pass_fds=(lock,),
                start_new_session=True,
            )
        assert process.stdin is not None  # noqa: S101
        assert process.stdout is not None  # noqa: S101
        try:
            with suppress(ConnectionError):  # it was killed
                process.stdin.write(json.dumps(task).encode() + b"\n")
                await process.stdin.drain()
            written = await process.stdout.read()
        finally:
            process.stdin.close()  # it ends, if it has not ended
            await process.wait()
            with suppress(ConnectionError):
                await process.stdin.wait_closed()  # a loop that ends at once would leave its transport open
        return json.loads(written) if written else None

    def _task(self, recipe: EnvironmentRecipe) -> dict[str, Any]:
        """Return the fields of the maker's task. Raises UvMissing and OSError."""
        program, new = uv.program(), Path("{new}")
        python = uv.interpreter(recipe.python, self._server)
        overrides = uv.write_overrides(self._places.home, recipe)
        return {
            "target": str(self._places.target(recipe.digest)),
            "cwd": str(recipe.folder),
            "words": list(STEPS),
            "steps": [
                uv.make_venv(program, python, new),
                uv.install(program, recipe, new, overrides),
                [str(new / "bin" / "python"), "-I", "-c", CHECK],
                uv.freeze(program, new),
            ],
            "facts": {"python": recipe.python},
            "seconds": self._settings.environment_seconds,
            "log_bytes": LOG_BYTES,
            "hidden": uv.hidden_paths(self._places.home, recipe.folder),
        }

    def _variables(self) -> dict[str, str]:
        return uv.environment(self._places.home, python_downloads=self._settings.python_downloads)

    async def _plan(self, image: str) -> _Plan | None:
        """Return how replicas of the image run; None for a Bento that is not in the store."""
        bento = await self._store.describe(image)
        if bento is None:
            return None
        known = self._plans.get(image)
        if known is None or known.bento is not bento:
            known = _Plan(bento, await asyncio.to_thread(self._recipe, image, bento))
            _remember(self._plans, image, known)
        return known

    def _recipe(self, image: str, bento: Bento) -> EnvironmentRecipe | None:
        """Return the recipe of the Bento's own environment; None where the server's suits it."""
        if not self._settings.own_environments or (lacking := decision.disagreement(bento, self._server)) is None:
            return None
        logger.info("%s gets an environment of its own: the server's lacks %s", tag_of(image), lacking)
        return recipe(bento, self._store.folder(tag_of(image)), self._server)


def _remember(known: dict[str, Known], name: str, value: Known) -> None:
    """Keep the value of a name; of more than ``MAX_KNOWN``, the oldest are forgotten."""
    known.pop(name, None)
    known[name] = value
    while len(known) > MAX_KNOWN:
        del known[next(iter(known))]


def _minor(python: str) -> int:
    return int(python.partition(".")[2])
