"""Services that are edited while they run: each change of their sources becomes a Bento, which their model moves to."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from management.control.bentos import Bentos
from management.control.repository.receiving import in_thread
from management.control.repository.uploads import Uploads
from management.domain.bento import Bento
from management.domain.bento_tag import StoredKind, Tag, tag_of
from management.domain.clock import SYSTEM, Clock
from management.errors import BentoInUse, BentoNotFound
from management.packaging.build import BentoHome
from management.packaging.codespaces import assembly
from management.packaging.codespaces.sources import (
    READY,
    Codespace,
    CodespaceState,
    SourceFile,
    made_of,
    names_of_bentos,
)
from management.settings import BentoSettings

FIRST: Final = 0
"""Number of the Bento without sources that a new codespace is deployed with, until its files have arrived."""
UNUSED_SECONDS: Final = 600.0
"""Seconds after its last change from which a codespace without a model is removed."""
MOST: Final = 100_000
"""Bentos of one codespace that are looked at."""


@dataclass(frozen=True)
class Edited:
    """What is told of a codespace."""

    manifest: Mapping[str, Any]
    """What its client said last of the Bento that its sources are of."""
    is_waiting: bool
    """Whether nothing was made of its sources yet."""


class Codespaces:
    """The codespaces of a BentoML home. A model belongs to one as long as its image was made of it."""

    def __init__(
        self, home: BentoHome, limits: BentoSettings, bentos: Bentos, uploads: Uploads, clock: Clock = SYSTEM
    ) -> None:
        self._home, self._limits, self._clock = home, limits, clock
        self._bentos, self._uploads = bentos, uploads

    async def announced(self, text: str) -> Mapping[str, Any] | None:
        """Return what a client says of a Bento that it does not send; None for any other tag."""
        name, _, version = text.partition(":")
        tag = Tag(name, version)
        announced = await self._uploads.registration(StoredKind.BENTO, tag)
        return None if announced is None or await self._bentos.kept(tag) is not None else announced.manifest

    async def begin(self, manifest: Mapping[str, Any]) -> Bento:
        """Make a codespace of the Bento that a client describes, and return the one without sources to deploy first.

        Raises InvalidBento, PayloadTooLarge and StorageFull.
        """
        await self.clean()
        return await in_thread(self._begin, manifest)

    def _begin(self, manifest: Mapping[str, Any]) -> Bento:
        now = self._clock.now()
        codespace = Codespace.new(self._home, manifest)
        try:
            tag = codespace.tag(FIRST)
            bento = assembly.described(manifest, tag, now)
            assembly.make(self._home, tag, manifest, (), now, self._bentos.admit)
        except BaseException:
            codespace.take_away()
            raise
        return bento

    async def of(self, image: str) -> Edited | None:
        """Return what is told of the codespace that an image was made of; None for any other image."""
        if (codespace := await self._codespace(image)) is None:
            return None
        state = await asyncio.to_thread(codespace.state)
        return Edited(state.manifest, tag_of(image) == codespace.tag(FIRST))

    async def announce(self, image: str, manifest: Mapping[str, Any]) -> Bento:
        """Note that the sources are now those of another Bento, whose files follow, and return it with the image's tag.

        Raises InvalidBento, PayloadTooLarge and StorageFull, and BentoNotFound for an image that was not made of a
        codespace.
        """
        codespace = await self._known(image)
        bento = await in_thread(assembly.described, manifest, tag_of(image), self._clock.now())
        await in_thread(_announce, codespace, manifest)
        return bento

    async def files(self, image: str) -> Sequence[SourceFile] | None:
        """Return the files; None for an image that was not made of a codespace."""
        codespace = await self._codespace(image)
        return None if codespace is None else await in_thread(_files, codespace)

    async def put(self, image: str, files: Mapping[str, bytes]) -> Tag | None:
        """Keep the files, and return the Bento that they make together with those that came before.

        None while further files are to come, and where nothing has changed. Raises InvalidRequest for a path that no
        file may have, InvalidBento, PayloadTooLarge and StorageFull. Raises BentoNotFound for an image that was not
        made of a codespace.
        """
        return await in_thread(self._change, await self._known(image), files, ())

    async def remove(self, image: str, paths: Sequence[str]) -> Tag | None:
        """Remove the files, and return the Bento that the others make. Raises what ``put`` raises."""
        return await in_thread(self._change, await self._known(image), {}, paths)

    def _change(self, codespace: Codespace, files: Mapping[str, bytes], removed: Sequence[str]) -> Tag | None:
        with codespace.locked():
            codespace.put({path: content for path, content in files.items() if path != READY}, self._limits)
            codespace.remove(removed)
            state = codespace.state()
            if READY in files and not state.is_complete:
                codespace.write(CodespaceState(state.manifest, state.number, is_complete=True, digest=state.digest))
            elif not state.is_complete:
                return None
            return assembly.assemble(self._home, codespace, self._clock.now(), self._bentos.admit)

    async def clean(self) -> None:
        """Remove the Bentos of codespaces that no model needs, and the codespaces that no model belongs to."""
        for name, codespace in await asyncio.to_thread(names_of_bentos, self._home):
            found, _ = await self._bentos.page(name, MOST, 0)
            is_used = any(each.uses for each in found)
            if not is_used and await asyncio.to_thread(codespace.age, self._clock.unix()) > UNUSED_SECONDS:
                await asyncio.to_thread(codespace.take_away)
            kept = await asyncio.to_thread(_newest_to_keep, codespace)
            for each in found:
                if not each.uses and each.tag != kept:
                    with suppress(BentoNotFound, BentoInUse):
                        await self._bentos.delete(each.tag)

    async def end(self, image: str) -> None:
        """Remove the codespace of a model that is being deleted. Its Bentos go once no replica needs them."""
        if (codespace := await self._codespace(image)) is not None:
            await asyncio.to_thread(codespace.take_away)

    async def _codespace(self, image: str) -> Codespace | None:
        tag = _tag(image)
        return None if tag is None else await asyncio.to_thread(made_of, self._home, tag)

    async def _known(self, image: str) -> Codespace:
        if (codespace := await self._codespace(image)) is None:
            raise BentoNotFound({"bento": image})
        return codespace


def _announce(codespace: Codespace, manifest: Mapping[str, Any]) -> None:
    with codespace.locked():
        state = codespace.state()
        codespace.write(CodespaceState(manifest, state.number, digest=state.digest))


def _newest_to_keep(codespace: Codespace) -> Tag | None:
    """Return the last Bento of a codespace, which its model may be about to need; None of one that has gone."""
    return codespace.tag(codespace.state().number) if codespace.exists() else None


def _files(codespace: Codespace) -> list[SourceFile]:
    with codespace.locked():
        return codespace.files()


def _tag(image: str) -> Tag | None:
    with suppress(ValueError):
        return tag_of(image)
    return None
