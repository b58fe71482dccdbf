"""Work that outlasts a request: a task is submitted, looked after, and fetched."""

from __future__ import annotations

import time
from typing import Annotated

import bentoml
from annotated_types import Ge, Le


@bentoml.service
class Primes:
    """Looks for prime numbers."""

    @bentoml.task
    def primes(self, below: Annotated[int, Ge(2), Le(1_000_000)], seconds: Annotated[float, Ge(0), Le(60)] = 0) -> int:
        """Return how many prime numbers there are below a number, after that many seconds at least."""
        started = time.monotonic()
        is_prime = bytearray([0, 0]) + bytearray([1]) * (below - 2)
        for number in range(2, int(below**0.5) + 1):
            if is_prime[number]:
                is_prime[number * number :: number] = bytes(len(range(number * number, below, number)))
        time.sleep(max(0.0, started + seconds - time.monotonic()))
        return sum(is_prime)
