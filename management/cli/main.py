"""The commands together, and what a failure of each says and ends with.

Exit status: 0 done; 1 refused, failed, or warned of; 2 called wrongly; 3 no server answers, or it is not healthy; 130
stopped by Ctrl-C, where that is not how a command is meant to end.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Final

import click

from client import AtelierError, AtelierTimeout, AtelierUnreachable
from management.cli import errors
from management.cli.bentos.making import build, image
from management.cli.common import COMMAND, find_home, remote
from management.cli.models.changes import delete, deploy, scale, update
from management.cli.models.infer import infer
from management.cli.models.logs import logs
from management.cli.models.views import events, models, status
from management.cli.monitoring.monitor import monitor
from management.cli.server.backups import backup, restore
from management.cli.server.check import check
from management.cli.server.keys import keys
from management.cli.server.serve import serve
from management.errors import ManagementError
from web.terminal import accept_every_text

FAILED: Final = 1
WRONG: Final = 2
UNREACHABLE: Final = 3
STOPPED: Final = 130


class Commands(click.Group):
    """Ends with the exit status that the failure has."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Runs a command and exits."""
        accept_every_text()
        find_home()
        try:
            code = super().main(*args, **{"prog_name": COMMAND, **kwargs, "standalone_mode": False})
        except click.ClickException as error:
            error.show()
            code = error.exit_code
        except (click.Abort, KeyboardInterrupt):
            code = STOPPED
        except AtelierError as error:
            errors.tell(error)
            code = _status(error)
        except ManagementError as error:
            errors.tell_store(error)
            code = FAILED
        except BrokenPipeError:  # whoever reads has read enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = FAILED
        sys.exit(code if isinstance(code, int) else 0)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of a model's life."""
        return list(self.commands)


def _status(error: AtelierError) -> int:
    if isinstance(error, AtelierUnreachable | AtelierTimeout):
        return UNREACHABLE
    return WRONG if error.code == "CLIENT_ERROR" else FAILED


def _as_written(command: click.Command) -> None:
    """Says in click's way which lines of the help stay as they are: what a raw docstring cannot hold."""
    command.help = (command.help or "").replace("\\b", "\b").replace("python -m management", COMMAND)
    for inner in command.commands.values() if isinstance(command, click.Group) else ():
        _as_written(inner)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@remote
def main() -> None:
    r"""Deploys, calls, scales, updates and deletes models.

    \b
    python -m management serve
    python -m management build tcm-diagnosis
    python -m management deploy model.yaml
    python -m management infer tcm_diagnosis_v2 '{"symptoms": ["头痛", "乏力"]}'

    The key is that of --key-file, else that of ATELIER_API_KEY, else the one that the first start left in
    ATELIER_HOME/admin.key, which is sent only to the running server of ATELIER_HOME. Options may stand before or after
    the command.
    """


for command in (
    serve,
    check,
    build,
    image,
    deploy,
    models,
    status,
    logs,
    events,
    monitor,
    infer,
    scale,
    update,
    delete,
    keys,
    backup,
    restore,
):
    main.add_command(command)
_as_written(main)
