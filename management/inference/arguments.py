"""What an API is called with: ``input_data``, with ``parameters`` for the arguments that they name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from management.errors import InvalidRequest, Problem


@dataclass(frozen=True)
class Arguments:
    """Values by the name of an argument."""

    values: Mapping[str, Any]
    parameters: frozenset[str] = frozenset()
    """Names that the caller gave among ``parameters``."""

    def field(self, name: str) -> str:
        """Return the path of an argument in the request's body."""
        return f"{'parameters' if name in self.parameters else 'input_data'}.{name}"


def merged(input_data: Mapping[str, Any], parameters: Mapping[str, Any]) -> Arguments:
    """Return the arguments of a call. Raises InvalidRequest for a name that is in both."""
    twice = sorted(input_data.keys() & parameters.keys())
    if twice:
        raise InvalidRequest(*(Problem(f"parameters.{name}", "twice") for name in twice))
    return Arguments({**input_data, **parameters}, frozenset(parameters))
