"""``bentoml serve`` whose end breaks no connection twice: python -m runners.arbiter BENTO [what bentoml serve takes].

BentoML's arbiter keeps the socket that its workers listen on until they have ended. Who connects meanwhile is let in by
the system, waits, and is thrown out unanswered when the arbiter closes it. A proxy that asks another replica when its
connection broke may so come upon the same one again. Here the arbiter lets go of the socket before it tells anybody to
end: a connection that breaks has broken when the last worker stopped listening, and the next one is refused.
"""

from __future__ import annotations

import sys
from typing import Final

from bentoml._internal.utils import circus
from bentoml_cli.cli import cli

DOOR: Final = "_bento_api_server"
"""BentoML's name of the socket that callers connect to. Those between its own processes stay open: requests that are
being answered need them."""


class Arbiter(circus.Arbiter):
    """BentoML's, who leaves the door first."""

    def stop(self) -> None:
        """Asks the workers to end, and ends; the door may be closed already."""
        if DOOR in self.sockets:
            self.sockets[DOOR].close()
        super().stop()


def main() -> None:
    """Serves until stopped; the exit status is BentoML's."""
    circus.Arbiter = Arbiter  # type: ignore[misc]
    cli(["serve", *sys.argv[1:]], prog_name="bentoml")


if __name__ == "__main__":
    main()
