"""Several inputs of a batchable API as one call, and its answer as theirs again."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

from management.domain.bento import BentoApi
from management.inference.answers import RESULT, Output
from management.inference.arguments import Arguments
from management.inference.extra_types import TENSOR, shape_of


def joined(api: BentoApi, calls: Sequence[Arguments]) -> tuple[Arguments, list[int]] | None:
    """Return the calls as one, and the number of rows of each; None where they do not fit together.

    A batchable API takes one argument: a list, or a tensor whose first dimension is that of the batch. A call has one
    row of it or several.
    """
    names = list(api.inputs)
    if not api.batchable or len(names) != 1 or len(calls) < 2 or any(set(call.values) != set(names) for call in calls):
        return None
    values = [call.values[names[0]] for call in calls]
    if not all(isinstance(value, list) for value in values) or not any(values):
        return None
    if api.inputs[names[0]].get("type") == TENSOR and len({(shape_of(value) or ())[1:] for value in values}) != 1:
        return None  # rows of different shapes make no array
    return Arguments({names[0]: [row for value in values for row in value]}), [len(value) for value in values]


def split(output: Output, rows: Sequence[int]) -> list[Output] | None:
    """Return the output of each call; None for an output that is no list with an entry for each row."""
    result: Any = output.get(RESULT)
    if output.keys() != {RESULT} or not isinstance(result, list) or len(result) != sum(rows):
        return None
    return [{RESULT: result[start:end]} for start, end in pairwise([0, *accumulate(rows)])]
