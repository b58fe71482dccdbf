"""A fault that lasts is logged when it begins, when its cause changes and when it ends, and not at each try."""

from __future__ import annotations

import logging


class Outage:
    """Something that may be away: a database, or what runs the replicas."""

    def __init__(self, logger: logging.Logger, name: str) -> None:
        """``name`` begins the lines, such as "the database"."""
        self._logger, self._name = logger, name
        self._cause: str | None = None

    def report(self, cause: str) -> None:
        """It does not answer."""
        if cause != self._cause:
            self._logger.warning("%s does not answer (%s); nothing is started or ended meanwhile", self._name, cause)
            self._cause = cause

    def end(self) -> None:
        """It answers."""
        if self._cause is not None:
            self._logger.warning("%s answers again", self._name)
            self._cause = None
