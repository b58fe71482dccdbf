"""Secrets on their way to a replica of this machine: in memory, never in a file of its folder, and never on a disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from management.backends.replica import received_secrets
from management.domain.secrets import SecretContent


@contextmanager
def holding(secrets: SecretContent) -> Iterator[int | None]:
    """Open a file in memory with the secrets, for a replica that inherits and wipes it; None without any."""
    if not secrets:
        yield None
        return
    memory = os.memfd_create("atelier-secrets")
    try:
        with open(memory, "wb", closefd=False) as file:
            file.write(received_secrets.encoded(secrets.variables, secrets.files, secrets.paths))
        yield memory
    finally:
        os.close(memory)  # the replica's process has its own


def remove(folder: Path) -> None:
    """Remove the files of an ended replica's secrets, which a replica that is killed leaves behind."""
    for place in (Path(received_secrets.MEMORY), folder / "tmp"):
        for left in place.glob(f"{received_secrets.prefix(folder.name)}*"):
            shutil.rmtree(left, ignore_errors=True)
