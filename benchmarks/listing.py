"""Measures a list of 1,000 deployments, on SQLite and on a PostgreSQL server: python -m benchmarks.listing.

The PostgreSQL server runs on this machine with its usual durability, and is reached by TCP on loopback. Prints the
milliseconds of both pages of 500, and of a change that waits for its commit: the median, and the fastest, which other
work on the machine disturbs least.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Final

from benchmarks.management import list_times
from management.store import Store
from tests.support.management_servers import echo_store, managing
from tests.support.postgresql.databases import migrated_database
from tests.support.postgresql.server import running

CHANGES: Final = 200


def main() -> None:
    """Measure both databases and print the figures."""
    with tempfile.TemporaryDirectory(prefix="at-bench-") as folder:
        bentos = echo_store(Path(folder) / "bentoml")
        _measure("sqlite", bentos, f"sqlite:///{folder}/atelier.db")
        with running(fsync="on", full_page_writes="on") as server, migrated_database(server) as url:
            _measure("postgresql", bentos, url)


def _measure(name: str, bentos: Path, url: str) -> None:
    with managing(bentos, ATELIER_DATABASE_URL=url) as server:
        lists, changes = list_times(server, url), _changing(url)
    for what, times in (("list", lists), ("change", changes)):
        print(f"{name:12} {what:8} median {statistics.median(times):8.1f} ms   fastest {min(times):8.1f} ms")


def _changing(url: str) -> list[float]:
    """Return the milliseconds of writing transactions that change one row each."""
    times = []
    with closing(Store(url)) as store:
        for number in range(CHANGES):
            started = time.perf_counter()
            with store.writing() as session:
                session.leases.take("benchmark", float(number), 1.0)
            times.append((time.perf_counter() - started) * 1000)
            with store.writing(counted=False) as session:
                session.leases.give_back("benchmark")
    return times


if __name__ == "__main__":
    main()
