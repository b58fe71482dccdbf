"""Logging of lasting faults: at their begin, at a change of cause and at their end, not at each attempt."""

from __future__ import annotations

import logging


class Outage:
    """A service that may be unavailable: the database, or the backend."""

    def __init__(
        self, logger: logging.Logger, name: str, meanwhile: str = "nothing is started or ended meanwhile"
    ) -> None:
        """Log under ``name``, such as "the database", and what follows from its absence."""
        self._logger, self._name, self._meanwhile = logger, name, meanwhile
        self._cause: str | None = None

    def report(self, cause: str) -> None:
        """Log that the service does not answer, unless that was logged with the same cause."""
        if cause != self._cause:
            self._logger.warning("%s does not answer (%s); %s", self._name, cause, self._meanwhile)
            self._cause = cause

    def end(self) -> None:
        """Log that the service answers again, after an outage."""
        if self._cause is not None:
            self._logger.warning("%s answers again", self._name)
            self._cause = None
