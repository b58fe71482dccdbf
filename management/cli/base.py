"""What every command has in common: where the server is, with which key, and how answers are shown."""

from __future__ import annotations

import ipaddress
import json
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

from client import AtelierClient, own_language

if TYPE_CHECKING:
    from management.settings import Settings

URL: Final = "http://localhost:8080"
COMMAND: Final = "python -m management"
_META: Final = "management."

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class Failed(click.ClickException):
    """The operation failed; the message says how."""

    exit_code = 1


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
    url = meta.get(f"{_META}url") or URL
    return Terms(url, _key(meta, url), meta.get(f"{_META}language") or own_language(), as_json())


def as_json() -> bool:
    """Whether JSON is wanted, and nothing else."""
    return bool(click.get_current_context().meta.get(f"{_META}as_json"))


def _keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    name = f"{_META}{parameter.name}"
    # What stands after the command is read later, and counts; the environment does not count against either.
    written = context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
    if value and (written or name not in context.meta):
        context.meta[name] = value


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
            callback=_keep,
            expose_value=False,
            help=f"Where the server is (default: ATELIER_URL, or {URL}).",
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


def _key(meta: dict[str, Any], url: str) -> str:
    """The key's text, which never comes by the command line: everybody on the machine could read it there."""
    import os

    if (given := meta.get(f"{_META}key_file")) is not None:
        return _read(given)
    if key := os.environ.get("ATELIER_API_KEY"):
        return key
    return _first_key() if _is_here(url) else ""


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise click.UsageError(f"{file} cannot be read as a key") from None


def _first_key() -> str:
    """The key that the server's first start left, if this user may read it."""
    from management.first_key import FILE

    try:
        return (known_settings().home / FILE).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _is_here(url: str) -> bool:
    """Whether it is this machine: another one is no place for this one's first key."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def known_settings() -> Settings:
    """The settings. Raises Failed for wrong ones, and never shows what they hold: one of them is a key."""
    from management.settings import settings

    try:
        return settings()
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        wrong = "; ".join(f"ATELIER_{str(one['loc'][0]).upper()}: {one['msg']}" for one in found)
        raise Failed(f"a setting is wrong: {wrong}") from None


# Showing


def out() -> Console:
    """Where results go. Made anew for each use: whoever tests replaces the streams."""
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=not Console().is_terminal)


def aside() -> Console:
    """Where everything goes that is no result."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


def show_json(answer: Any) -> None:
    """The API's own JSON."""
    click.echo(json.dumps(answer, ensure_ascii=False, indent=2))


def clean(text: object) -> str:
    """Without control characters: what a model writes must not command the terminal."""
    return "".join(one if one.isprintable() or one == "\t" else "\N{REPLACEMENT CHARACTER}" for one in str(text))


def cell(text: object, style: str = "") -> Text:
    """A text that is shown as it is."""
    return Text("-" if text is None or text == "" else clean(text), style=style)
