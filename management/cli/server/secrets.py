"""The commands ``secrets``: values that models receive as environment variables and files, and that nothing shows."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from management.cli._options import as_json, client_options, json_option, known_settings, remote
from management.cli._terminal import cell, clean, out, show, show_json, table
from management.cli.errors import Failed
from management.errors import SecretsUnreadable


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@remote
@click.pass_context
def secrets(context: click.Context) -> None:
    r"""List the secrets without their values, or set, delete and rotate them.

    \b
    python -m management secrets set hf HF_TOKEN
    python -m management deploy model.yaml --secret hf
    """
    if context.invoked_subcommand is not None:
        return
    with client_options().client() as client:
        listed = client.secrets()
    if as_json():
        show_json(listed)
        return
    rows = table("SECRET", "VARIABLES", "FILES", "MODELS", "UPDATED", "DESCRIPTION")
    for secret in listed:
        keys = [", ".join(map(str, secret[name])) for name in ("variables", "files", "model_ids")]
        rows.add_row(*map(cell, (secret["name"], *keys, secret["updated_at"], secret.get("description", ""))))
    show(out(), rows)


@secrets.command("set")
@click.argument("name")
@click.argument("variables", metavar="[KEY|KEY=VALUE]...", nargs=-1)
@click.option("--from-env", is_flag=True, help="Take values that are not given from this shell's environment.")
@click.option("--from-file", metavar="FILE", help="Read lines KEY=VALUE from FILE, - for stdin.")
@click.option(
    "--file", "files", metavar="[NAME=]FILE", multiple=True, help="A file for the replicas, with its NAME there."
)
@click.option("--path", "paths", metavar="KEY=NAME", multiple=True, help="A variable with the path of the file NAME.")
@remote
def set_secret(name: str, *, variables: tuple[str, ...], from_env: bool, **given: Any) -> None:
    r"""Set all values of the secret NAME, in place of earlier ones.

    The value of a KEY alone is asked for, or read from stdin: other users of the machine can see the arguments of a
    command.

    \b
    python -m management secrets set hf HF_TOKEN
    pass show hf | python -m management secrets set hf HF_TOKEN
    python -m management secrets set gcp --file key.json --path GOOGLE_APPLICATION_CREDENTIALS=key.json
    """
    values = dict(_lines(given["from_file"])) if given["from_file"] else {}
    values |= _variables(variables, from_env=from_env)
    paths = dict(_pair(text, "--path") for text in given["paths"])
    with client_options().client() as client:
        answer = client.set_secret(name, values, files=dict(map(_file, given["files"])), paths=paths)
    if as_json():
        show_json(answer)
        return
    out().print(clean(answer["message"]), style="green")


@secrets.command()
@click.argument("name")
@remote
def delete(name: str) -> None:
    r"""Delete the secret NAME; one that a model names is refused.

    \b
    python -m management secrets delete hf
    """
    with client_options().client() as client:
        answer = client.delete_secret(name)
    if as_json():
        show_json(answer)
        return
    out().print(clean(answer["message"]), style="green")


@secrets.command()
@click.option("--drop-old", is_flag=True, help="Remove the earlier keys: secrets in older back-ups are lost.")
@json_option
def rotate(*, drop_old: bool) -> None:
    r"""Encrypt all secrets in the database of ATELIER_HOME with a new key; the server may run.

    \b
    python -m management secrets rotate
    """
    from management.control.secrets import Secrets
    from management.encryption.key_file import KeyFile
    from management.store import Store

    storage = known_settings().storage
    store = Store(storage.database)
    try:
        store.migrate()
        count = Secrets(store, KeyFile(storage.secrets_key)).rotate(drop_old=drop_old)
    except SecretsUnreadable as error:
        raise Failed(", ".join(f"{name}: {value}" for name, value in error.details.items())) from None
    except OSError as error:
        raise Failed(f"{storage.secrets_key} cannot be written ({error.strerror})") from None
    finally:
        store.close()
    if as_json():
        show_json({"secrets": count})
    else:
        click.echo(f"{count} secrets are encrypted with a new key in {storage.secrets_key}")


def _variables(given: tuple[str, ...], *, from_env: bool) -> dict[str, str]:
    """The values of the arguments; those that are not given come from the environment, a prompt, or stdin."""
    values: dict[str, str] = {}
    silent = [text for text in given if "=" not in text]
    if len(silent) > 1 and not from_env and not sys.stdin.isatty():
        raise click.UsageError("stdin holds the value of a single KEY; --from-file - reads lines KEY=VALUE")
    for text in given:
        key, equals, value = text.partition("=")
        values[key] = value if equals else _environment(key) if from_env else _asked(key)
    return values


def _environment(key: str) -> str:
    if key not in os.environ:
        raise click.UsageError(f"{clean(key)} is not in the environment")
    return os.environ[key]


def _asked(key: str) -> str:
    if sys.stdin.isatty():
        return str(click.prompt(clean(key), hide_input=True, err=True))
    return sys.stdin.read().removesuffix("\n")


def _lines(file: str) -> Iterator[tuple[str, str]]:
    """The pairs of a file's lines; empty lines, comments, and quotes around a value are left out."""
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{file} cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8'}") from None
    for number, line in enumerate(text.splitlines(), 1):
        key, equals, value = line.strip().removeprefix("export ").partition("=")
        if not equals and key and not key.startswith("#"):
            raise click.UsageError(f"line {number} of {file} is not KEY=VALUE")  # without the line: it may be a value
        if equals and not key.startswith("#"):
            yield key.strip(), _unquoted(value.strip())


def _unquoted(value: str) -> str:
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if quoted else value


def _file(text: str) -> tuple[str, bytes]:
    name, equals, path = text.partition("=")
    file = Path(path if equals else text)
    try:
        return (name if equals else file.name), file.read_bytes()
    except OSError as error:
        raise click.UsageError(f"--file: {clean(file)} cannot be read: {error.strerror}") from None


def _pair(text: str, option: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise click.BadParameter(f"{clean(key)} is not KEY=NAME", param_hint=option)
    return key, value
