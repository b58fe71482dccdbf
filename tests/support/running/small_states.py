"""Tests that go through every small state: all of them take long, so ``make test`` tries some and ``make slow`` all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, TypeVar

import pytest

T = TypeVar("T")

STATE_STRIDE: Final = 31
"""It divides no dimension of the states, so every value of each of them is met."""
STEP_STRIDE: Final = 7
"""Odd, so it meets what comes before a step and what comes after one."""


def _strides(stride: int) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "stride", [pytest.param(stride, id="some"), pytest.param(1, id="all", marks=pytest.mark.slow)]
    )


every_state = _strides(STATE_STRIDE)
"""Tries a test with some states, and slowly with all."""
every_step = _strides(STEP_STRIDE)
"""Tries a test at some steps of a story, and slowly at all."""


def some(states: Iterable[T], stride: int) -> Iterator[T]:
    """Every one that is a multiple of the stride away from the first."""
    return islice(states, 0, None, stride)
