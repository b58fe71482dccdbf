"""What every command has in common: where the server is, with which key, and how answers are shown."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

import click
from click.core import ParameterSource
from pydantic import ValidationError
from rich.console import Console
from rich.text import Text

from client import AtelierClient, check_address, is_loopback, own_language
from web.server import server_file

if TYPE_CHECKING:
    from management.settings import Settings

URL: Final = "http://localhost:8080"
ROOT: Final = Path(__file__).parents[2]
"""The folder of the project."""
COMMAND: Final = "atelier" if Path(sys.argv[0]).name == "atelier" else "python -m management"
"""The command line as it was called, for hints."""
_META: Final = "management."

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class Failed(click.ClickException):
    """The operation failed; the message says how."""

    exit_code = 1


class WrongSetting(Failed):
    """It was not even begun: a setting, or an argument, cannot be used."""

    exit_code = 2


@dataclass(frozen=True)
class Terms:
    """How the server is reached, and in which form the answer is wanted."""

    url: str
    key: str
    language: str
    as_json: bool

    def client(self) -> AtelierClient:
        """A client; not to be shared between threads."""
        try:
            return AtelierClient(self.url, api_key=self.key, language=self.language)
        except ValueError as error:
            raise click.UsageError(str(error)) from None


def terms() -> Terms:
    """Those of the command that runs."""
    meta = click.get_current_context().meta
    url, key = _reached(meta)
    return Terms(url, key, meta.get(f"{_META}language") or own_language(), as_json())


def as_json() -> bool:
    """Whether JSON is wanted, and nothing else."""
    return bool(click.get_current_context().meta.get(f"{_META}as_json"))


def _keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    name = f"{_META}{parameter.name}"
    # What stands after the command is read later, and counts; the environment does not count against either.
    written = context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
    if value and (written or name not in context.meta):
        context.meta[name] = value


def _keep_url(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    """Refuses an address without a scheme at once; any other is judged when it is used."""
    if value and "://" not in value:
        try:
            check_address(value)
        except ValueError as error:
            raise WrongSetting(f"--url: {error}") from None
    _keep(context, parameter, value)


def json_option(command: Decorated) -> Decorated:
    """``--json``."""
    told = "Print JSON, and nothing else."
    return click.option("--json", "as_json", is_flag=True, callback=_keep, expose_value=False, help=told)(command)


def remote(command: Decorated) -> Decorated:
    """The options of every command that asks the server; where one is given twice, the one after the command counts."""
    options = (
        click.option(
            "--url",
            "--api-url",
            envvar="ATELIER_URL",
            metavar="URL",
            callback=_keep_url,
            expose_value=False,
            help=f"Where the server is (default: ATELIER_URL, the server of ATELIER_HOME that runs, or {URL}).",
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


def _reached(meta: dict[str, Any]) -> tuple[str, str]:
    """The server's address and the key for it.

    The key never comes by the command line: everybody on the machine could read it there. The key that the server of
    this home has stored goes to that server alone, whatever else listens on this machine.
    """
    url = meta.get(f"{_META}url")
    key = _given_key(meta)
    if url and (key or not is_loopback(url)):
        return url, key
    server = server_file.running(known_settings().home)
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
    except ValueError:  # it is no port at all
        return False


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise click.UsageError(f"{file} cannot be read as a key") from None


def _first_key() -> str:
    """The key that the server's first start left, if this user may read it."""
    from management.auth.bootstrap_key import FILE

    try:
        return (known_settings().home / FILE).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def known_settings() -> Settings:
    """The settings. Raises WrongSetting, and never shows what they hold: one of them is a key."""
    from management.preflight import wrong_settings
    from management.settings import settings
    from web.settings import settings as outermost

    try:
        outermost()
        return settings()
    except ValidationError as error:
        raise WrongSetting(wrong_settings(error)) from None


def find_home() -> None:
    """From any other folder the home is that of the project, unless ATELIER_HOME or a folder here is another one."""
    if "ATELIER_HOME" in os.environ or Path.cwd() == ROOT or _is_own(Path(".atelier")):
        return
    if (ROOT / "pyproject.toml").is_file():  # the project's own folder, and none that packages are installed in
        os.environ["ATELIER_HOME"] = str(ROOT / ".atelier")


def _is_own(folder: Path) -> bool:
    """Whether a folder is this user's: in a shared place, another user's would say where keys are sent."""
    try:
        return folder.is_dir() and folder.stat().st_uid == os.geteuid()
    except OSError:
        return False


# Showing


def out() -> Console:
    """Standard output, for results. Created for each use, because tests replace the streams."""
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=not Console().is_terminal)


def aside() -> Console:
    """Standard error, for everything else."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


def show_json(answer: Any) -> None:
    """The API's own JSON, whole also where the terminal does not have all letters."""
    click.echo(json_text(answer, indent=2))


def json_text(answer: Any, *, indent: int | None = None) -> str:
    """JSON in the letters that standard output has, with escapes for the others."""
    text = json.dumps(answer, ensure_ascii=False, allow_nan=False, indent=indent)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return json.dumps(answer, ensure_ascii=True, allow_nan=False, indent=indent)
    return text


def clean(text: object) -> str:
    """Without control characters: what a model writes must not command the terminal."""
    return "".join(one if one.isprintable() or one == "\t" else "\N{REPLACEMENT CHARACTER}" for one in str(text))


def cell(text: object, style: str = "") -> Text:
    """A text that is shown as it is."""
    return Text("-" if text is None or text == "" else clean(text), style=style)
