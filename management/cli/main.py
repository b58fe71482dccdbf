"""The command line: its commands, and the message and exit status of each failure.

Exit status: 0 success; 1 refused, failed, or warnings; 2 wrong usage; 3 the server does not answer or is not healthy;
130 stopped by Ctrl-C, unless Ctrl-C is the normal end of the command.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Final

import click

from client import AtelierError, AtelierTimeout, AtelierUnreachable
from management.cli import errors
from management.cli._options import find_home, remote
from management.cli._terminal import COMMAND
from management.cli.bentos.build import build
from management.cli.bentos.image import image
from management.cli.bentos.importing import import_
from management.cli.bentos.push import push
from management.cli.bentos.stored import bentos
from management.cli.models.call import call
from management.cli.models.delete import delete
from management.cli.models.deploy import deploy
from management.cli.models.events import events
from management.cli.models.infer import infer
from management.cli.models.listing import models
from management.cli.models.logs import logs
from management.cli.models.scale import scale
from management.cli.models.status import status
from management.cli.models.update import update
from management.cli.monitoring.monitor import monitor
from management.cli.server.backup import backup
from management.cli.server.check import check
from management.cli.server.keys import keys
from management.cli.server.move_database import move_database
from management.cli.server.restore import restore
from management.cli.server.secrets import secrets
from management.cli.server.serve import serve
from management.cli.server.share import share
from management.errors import ManagementError
from web.terminal import accept_every_text

FAILED: Final = 1
WRONG: Final = 2
UNREACHABLE: Final = 3
STOPPED: Final = 130


class Commands(click.Group):
    """Shows failures on stderr and turns them into exit statuses."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command and exit with its status."""
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
            errors.show_api_error(error)
            code = _status(error)
        except ManagementError as error:
            errors.show_store_error(error)
            code = FAILED
        except BrokenPipeError:  # the reader of stdout has closed it, as head does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = FAILED
        sys.exit(code if isinstance(code, int) else 0)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order of a model's life, not of the alphabet."""
        return list(self.commands)


def _status(error: AtelierError) -> int:
    if isinstance(error, AtelierUnreachable | AtelierTimeout):
        return UNREACHABLE
    return WRONG if error.code == "CLIENT_ERROR" else FAILED


def _prepare_help(command: click.Command) -> None:
    """Make the escaped block marks of raw docstrings click's own, and name the command as the user called it."""
    command.help = (command.help or "").replace("\\b", "\b").replace("python -m management", COMMAND)
    for inner in command.commands.values() if isinstance(command, click.Group) else ():
        _prepare_help(inner)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@remote
def main() -> None:
    r"""Deploy, call, scale, update and delete models.

    \b
    python -m management serve
    python -m management build tcm-diagnosis
    python -m management deploy model.yaml
    python -m management deploy . --model-id hello
    python -m management infer tcm_diagnosis_v2 '{"symptoms": ["头痛", "乏力"]}'

    The API key comes from --key-file, else from ATELIER_API_KEY, else from ATELIER_HOME/admin.key, which the server's
    first start stores; that key is sent only to the running server of ATELIER_HOME. Options may stand before or after
    the command.
    """


for command in (
    serve,
    check,
    build,
    image,
    push,
    import_,
    bentos,
    deploy,
    models,
    status,
    logs,
    events,
    monitor,
    infer,
    call,
    scale,
    update,
    delete,
    secrets,
    keys,
    share,
    backup,
    restore,
    move_database,
):
    main.add_command(command)
_prepare_help(main)
