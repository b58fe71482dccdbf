"""Options of the commands that call the server: its address, the API key, the language and the form of the output."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

import click
from click.core import ParameterSource
from pydantic import ValidationError

from client import AtelierClient, check_address, is_loopback, own_language
from management.cli.errors import WrongSetting
from web.server import server_file

if TYPE_CHECKING:
    from management.configuration import Settings

URL: Final = "http://localhost:8080"
"""Address of the server where neither an option, the environment nor a running server gives one."""
ROOT: Final = Path(__file__).parents[2]
"""The project's folder."""
_META: Final = "management."
"""Prefix of the options' keys in ``click.Context.meta``."""

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


@dataclass(frozen=True)
class ClientOptions:
    """How to call the server, and whether to print its answers as JSON."""

    url: str
    key: str
    language: str
    as_json: bool

    def client(self) -> AtelierClient:
        """Create a client, which threads must not share. Raises click.UsageError for a key that cannot be sent."""
        try:
            return AtelierClient(self.url, api_key=self.key, language=self.language)
        except ValueError as error:
            raise click.UsageError(str(error)) from None


def client_options() -> ClientOptions:
    """The options of the running command."""
    meta = click.get_current_context().meta
    url, key = _url_and_key(meta)
    return ClientOptions(url, key, meta.get(f"{_META}language") or own_language(), as_json())


def as_json() -> bool:
    """Whether the command prints JSON and nothing else."""
    return bool(click.get_current_context().meta.get(f"{_META}as_json"))


def _keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    name = f"{_META}{parameter.name}"
    # click reads the options after the command later, so they win. The environment never replaces a written option.
    written = context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
    if value and (written or name not in context.meta):
        context.meta[name] = value


def _keep_url(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    """Refuse an address without a scheme at once; the client checks all others when it calls."""
    if value and "://" not in value:
        try:
            check_address(value)
        except ValueError as error:
            raise WrongSetting(f"--url: {error}") from None
    _keep(context, parameter, value)


def json_option(command: Decorated) -> Decorated:
    """Add ``--json``, which ``as_json`` reads."""
    about = "Print JSON, and nothing else."
    return click.option("--json", "as_json", is_flag=True, callback=_keep, expose_value=False, help=about)(command)


def remote(command: Decorated) -> Decorated:
    """Add the options of every command that calls the server. Of two values, the one after the command counts."""
    options = (
        click.option(
            "--url",
            "--api-url",
            envvar="ATELIER_URL",
            metavar="URL",
            callback=_keep_url,
            expose_value=False,
            help=f"Address of the server (default: ATELIER_URL, the running server of ATELIER_HOME, or {URL}).",
        ),
        click.option(
            "--key-file",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            callback=_keep,
            expose_value=False,
            help="A file with the API key (default: ATELIER_API_KEY).",
        ),
        click.option(
            "--language",
            type=click.Choice(["en", "fr", "zh"]),
            callback=_keep,
            expose_value=False,
            help="Language of the server's messages (default: that of your locale, else en).",
        ),
    )
    for option in (*options, json_option):
        command = option(command)
    return command


def _url_and_key(meta: dict[str, Any]) -> tuple[str, str]:
    """The server's address and the key for it.

    The command line never carries the key: every user of the machine can read its arguments. The key that this home's
    server has stored goes to that server alone, whatever else listens on this machine.
    """
    url = meta.get(f"{_META}url")
    key = _given_key(meta)
    if url and (key or not is_loopback(url)):
        return url, key
    server = server_file.running(known_settings().storage.home)
    if server is None:
        return url or URL, key
    if key or (url and not _is_at(url, server.port)):
        return url or server.url, key
    return (server.url, _first_key()) if server.listens() else (url or server.url, "")


def _given_key(meta: dict[str, Any]) -> str:
    if (given := meta.get(f"{_META}key_file")) is not None:
        return _read(given)
    return os.environ.get("ATELIER_API_KEY", "")


def _is_at(url: str, port: int) -> bool:
    parts = urlsplit(url)
    try:
        return parts.scheme == "http" and (parts.port or 80) == port
    except ValueError:  # the port is not a number in range
        return False


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise click.UsageError(f"{file} cannot be read as a key") from None


def _first_key() -> str:
    """The key that the server's first start stored; empty where this user cannot read it."""
    from management.auth.bootstrap_key import FILE

    try:
        return (known_settings().storage.home / FILE).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def known_settings() -> Settings:
    """The settings. Raises WrongSetting without their values: one of them is a key."""
    from management.configuration import settings
    from management.preflight import wrong_settings
    from web.settings import settings as web_settings

    try:
        web_settings()
        return settings()
    except ValidationError as error:
        raise WrongSetting(wrong_settings(error)) from None


def find_home() -> None:
    """Use the project's home from any folder, unless ATELIER_HOME or a ``.atelier`` folder here names another one."""
    if "ATELIER_HOME" in os.environ or Path.cwd() == ROOT or _belongs_to_user(Path(".atelier")):
        return
    if (ROOT / "pyproject.toml").is_file():  # the project's folder, not one that packages are installed in
        os.environ["ATELIER_HOME"] = str(ROOT / ".atelier")


def _belongs_to_user(folder: Path) -> bool:
    """Whether this user owns a folder. In a shared place, another user's folder could direct keys to their server."""
    try:
        return folder.is_dir() and folder.stat().st_uid == os.geteuid()
    except OSError:
        return False
