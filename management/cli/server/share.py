"""The command ``share``: bring what is in this machine's store into the one that control planes share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from management.cli._options import as_json, json_option, known_settings
from management.cli._terminal import aside, out, show_json
from management.cli.errors import Failed, WrongSetting
from management.domain.bento_tag import StoredKind, Tag
from management.errors import SharedStoreUnavailable

if TYPE_CHECKING:
    from management.packaging.build import BentoHome


@click.command()
@json_option
def share() -> None:
    r"""Bring every Bento and model of this machine into the store of ATELIER_STORE_URL.

    What is there already is left as it is, so that it may be run again. A server may run. Exit status 1 where the store
    has another content under a tag, or a folder cannot be packed.

    \b
    python -m management share
    """
    from management.packaging.archives.refusals import ArchiveRefused, BentoTaken, DiskFull
    from management.packaging.shared.opening import open_store

    shared = open_store(known_settings().storage)
    if shared is None:
        raise WrongSetting("ATELIER_STORE_URL is not set: there is no store to share with")
    counts = {"new": 0, "present": 0, "refused": 0}
    found = list(_here(shared.home))
    for number, (kind, tag) in enumerate(found, start=1):
        aside().print(f"{number}/{len(found)} {kind.removesuffix('s')} {tag}", end="")
        try:
            outcome = "new" if shared.share(kind, tag) else "present"
        except SharedStoreUnavailable:
            aside().print("")
            raise Failed("the shared store does not answer; what was shared by now stays") from None
        except BentoTaken:
            outcome = "refused"
            aside().print(": the store has another content under this tag", end="")
        except (ArchiveRefused, DiskFull, OSError) as error:
            outcome = "refused"
            aside().print(f": it cannot be shared ({type(error).__name__})", end="")
        counts[outcome] += 1
        aside().print(f": {outcome}" if outcome != "refused" else "")
    if as_json():
        show_json(counts)
    else:
        out().print(f"{counts['new']} new in the shared store, {counts['present']} were there")
    if counts["refused"]:
        raise Failed(f"{counts['refused']} of {len(found)} were not shared")


def _here(home: BentoHome) -> Iterator[tuple[StoredKind, Tag]]:
    """Yield what is in the store of this machine, the models first: Bentos need them."""
    from management.packaging.model_shelf import ModelShelf
    from management.packaging.shelf import BentoShelf

    yield from ((StoredKind.MODEL, tag) for tag in sorted(ModelShelf(home).tags(), key=str))
    yield from ((StoredKind.BENTO, tag) for tag in BentoShelf(home).tags())
