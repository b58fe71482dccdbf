"""Control planes of one database and one shared store, each with a home and a Bento store of its own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.support.management_servers import Management, managing


@dataclass
class Planes:
    """What control planes have in common, and how another one joins."""

    folder: Path
    store_url: str
    variables: dict[str, str]
    stack: ExitStack

    def bentoml_home(self, name: str) -> Path:
        """Return the Bento store of a control plane."""
        return self.folder / name / "bentoml"

    @property
    def key_file(self) -> Path:
        """The key file of all."""
        return self.folder / "secrets.key"

    def join(self, name: str, **environment: str) -> Management:
        """Start a control plane, which runs until all end."""
        home = self.folder / name
        home.mkdir(exist_ok=True)
        variables = {
            "ATELIER_DATABASE_URL": f"sqlite:///{self.folder}/atelier.db",
            "ATELIER_STORE_URL": self.store_url,
            "ATELIER_SECRETS_KEY_FILE": str(self.key_file),
            "ATELIER_RETRY_SECONDS": "0.2",
            **self.variables,
            **environment,
        }
        return self.stack.enter_context(managing(self.bentoml_home(name), home=home, workers=1, **variables))


@contextmanager
def planes(store_url: str | None = None, **variables: str) -> Iterator[Planes]:
    """Make a place for control planes, with a shared folder unless there is another store."""
    folder = Path(tempfile.mkdtemp(prefix="at-"))
    (folder / "shared").mkdir()
    try:
        with ExitStack() as stack:
            yield Planes(folder, store_url or f"file://{folder}/shared", variables, stack)
    finally:
        _end_replicas(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _end_replicas(folder: Path) -> None:
    """Kill the replicas that a killed control plane left, whose home no other one looks after."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if any(part.startswith(f"{folder}/") for part in process.cmdline()):
                process.kill()
