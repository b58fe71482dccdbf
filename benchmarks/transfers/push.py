"""Measure what a push costs the server: python -m benchmarks.transfers.push [--megabytes 200].

A Bento with a file of random bytes is packed in each format and pushed to a server of its own. Printed are the server's
resident memory before the push, at its peak and afterwards, in MB, and the seconds from the first byte to the answer.
"""

from __future__ import annotations

import argparse
import gzip
import lzma
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks.transfers.sampling import MB, Cost, sampled
from client import AtelierClient
from tests.support.bentos.bento_archives import bento_yaml, files, member, tar
from tests.support.management_servers import KEY, managing

PIECE: Final = MB
_LIKE_EXPORT: Final = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 8 * 1024 * 1024}]
"""The dictionary of bentoml export, which decides what unpacking takes, without its slow search for repetitions."""


def main() -> None:
    """Push the Bento in each format, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transfers.push", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=200)
    size = parser.parse_args().megabytes * MB
    print(f"{'format':<6} {'archive, MB':>12} {'before, MB':>11} {'peak, MB':>9} {'after, MB':>10} {'seconds':>8}")
    for number, (name, opened) in enumerate(FORMATS.items()):
        with tempfile.TemporaryDirectory(prefix="at-push-") as folder:
            archive = Path(folder) / "bento"
            _write(archive, opened, size, f"{number}.0.0")
            cost = measured(archive, Path(folder) / "store")
            figures = (cost.before / MB, cost.peak / MB, cost.after / MB)
            shown = " ".join(f"{figure:>{width}.1f}" for figure, width in zip(figures, (11, 9, 10), strict=True))
            print(f"{name:<6} {archive.stat().st_size / MB:>12.0f} {shown} {cost.seconds:>8.1f}", flush=True)


FORMATS: Final[dict[str, Callable[[Path], Any]]] = {
    "tar": lambda path: path.open("wb"),
    "gz": partial(gzip.open, mode="wb", compresslevel=1),
    "bento": partial(lzma.open, mode="wb", filters=_LIKE_EXPORT),
}
"""What opens an archive of each format of bentoml export."""


def measured(archive: Path, store: Path) -> Cost:
    """Push the archive to a new server, after a small one, and sample the server's memory meanwhile."""
    store.mkdir()
    with managing(store) as server, AtelierClient(server.url, api_key=KEY) as client:
        small = archive.with_name("small")
        small.write_bytes(tar(files(name="small")))
        client.push_bento(small)
        with sampled(server.pid) as cost:
            client.push_bento(archive)
        return cost()


def _write(path: Path, opened: Callable[[Path], Any], size: int, version: str) -> None:
    """Write an archive of a Bento with a file of that many random bytes."""
    weights = path.with_name("weights")
    with weights.open("wb") as out:
        for _ in range(size // PIECE):
            out.write(os.urandom(PIECE))
    plain = path.with_name("plain.tar")
    with tarfile.open(plain, "w") as archive:
        for name, content in {"bento.yaml": bento_yaml(version), "src/service.py": b""}.items():
            described = path.with_name("file")
            described.write_bytes(content)
            with described.open("rb") as file:
                archive.addfile(member(name, size=len(content)), file)
        archive.add(weights, "src/weights")
    weights.unlink()
    with plain.open("rb") as source, opened(path) as out:
        shutil.copyfileobj(source, out, PIECE)
    plain.unlink()


if __name__ == "__main__":
    main()
