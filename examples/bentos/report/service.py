"""A file in, a file out: a table becomes a page about its columns."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import bentoml
from bentoml.validators import ContentType


@bentoml.service
class Report:
    """Describes tables."""

    @bentoml.api
    def describe(
        self, table: Annotated[Path, ContentType("text/csv")], context: bentoml.Context
    ) -> Annotated[Path, ContentType("text/markdown")]:
        """Return a Markdown page with the mean and the range of each column of numbers."""
        with table.open(newline="") as lines:
            rows = list(csv.DictReader(lines))
        page = Path(context.temp_dir, "report.md")
        page.write_text("\n".join(_lines(rows)) + "\n")
        return page


def _lines(rows: list[dict[str, str]]) -> Iterator[str]:
    yield f"# {len(rows)} rows"
    yield ""
    yield "| column | mean | smallest | largest |"
    yield "|---|---|---|---|"
    for column in rows[0] if rows else ():
        numbers = _numbers(row[column] for row in rows)
        if numbers:
            yield f"| {column} | {statistics.fmean(numbers):.2f} | {min(numbers):g} | {max(numbers):g} |"


def _numbers(cells: Iterator[str]) -> list[float]:
    """Return the cells as numbers; an empty list where one of them is none."""
    try:
        return [float(cell) for cell in cells]
    except (TypeError, ValueError):
        return []
