"""Removes from a shared store what no pointer names, and what pushes left that do not go on."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Final

from management.domain.clock import SYSTEM, Clock
from management.packaging.pushes import tickets
from management.packaging.pushes.abandoned import KEPT_SECONDS
from management.packaging.shared.objects import StoredObject
from management.packaging.shared.pointers import ARCHIVES
from management.packaging.shared.shared_pushes import REGISTRATIONS, TICKETS, UPLOADS
from management.packaging.shared.shared_store import PROBES, SharedStore

logger = logging.getLogger(__name__)

_AGES: Final = {REGISTRATIONS: KEPT_SECONDS, TICKETS: tickets.VALID_SECONDS, PROBES: KEPT_SECONDS}
"""Seconds after which an object goes, by its prefix."""


def sweep(shared: SharedStore, clock: Clock = SYSTEM) -> None:
    """Remove archives that no pointer names, and uploads, a day after their last change; and tickets of the past.

    Raises SharedStoreUnavailable.
    """
    objects, now = shared.objects, clock.now().astimezone(UTC)
    old = [each.key for each in objects.below(ARCHIVES) if _age(each, now) >= timedelta(seconds=KEPT_SECONDS)]
    named = shared.pointers.archives() if old else set()  # read after the archives: a pointer comes after its archive
    for key in [key for key in old if key not in named]:
        objects.remove(key)
        logger.info("an archive that no tag names was removed from the shared store")
    for prefix, seconds in _AGES.items():
        for each in objects.below(prefix):
            if _age(each, now) >= timedelta(seconds=seconds):
                objects.remove(each.key)
    _sweep_uploads(shared, now)
    objects.remove_unfinished(KEPT_SECONDS)


def _sweep_uploads(shared: SharedStore, now: datetime) -> None:
    """Remove whole uploads whose last part came long ago."""
    found = shared.objects.below(UPLOADS)
    fresh = {_upload(each) for each in found if _age(each, now) < timedelta(seconds=KEPT_SECONDS)}
    for each in found:
        if _upload(each) not in fresh:
            shared.objects.remove(each.key)


def _upload(each: StoredObject) -> str:
    return each.key.split("/")[1]


def _age(each: StoredObject, now: datetime) -> timedelta:
    return now - each.changed_at
