"""Write docs/settings.md from the settings' own docstrings: python -m docs.make_settings."""

from __future__ import annotations

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from management.configuration import Settings as ManagementSettings
from runners.settings import MODELS
from runners.settings import Settings as RunnerSettings
from web.settings import Settings as WebSettings

PAGE: Final = Path(__file__).with_name("settings.md")
HEAD: Final = """# Settings

Every setting is an environment variable, read once when a process starts. `make docs` writes this page from the code.
A wrong value stops the start with one line that names the variable.

`make` has variables of its own: `make serve HOST=0.0.0.0 PORT=9000`, `SERVICE=service:Satellite` for one model
alone, `MODELS=satellite,embedding` for some of them, `MODEL_PATH=` for a summarization checkpoint. `BENTOML_HOME` is
the folder of the model store and the Bentos (default: `.atelier/bentoml`).
"""
WEB_HEAD: Final = "\n## Every server: connections and bodies\n"
MODELS_HEAD: Final = "\n## Models and the front door\n"
MANAGEMENT_HEAD: Final = "\n## Management\n"
UNLISTED: Final = frozenset({"failpoint"})
"""Settings that only tests use."""


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """Return the page's Markdown."""
    parts = [HEAD, MODELS_HEAD, *_table(RunnerSettings), MANAGEMENT_HEAD]
    for group in groups(ManagementSettings):
        parts += [f"\n### {_markdown(group.__doc__).rstrip('.')}", *_table(group)]
    parts += [WEB_HEAD, *_table(WebSettings)]
    return "\n".join(part.rstrip("\n") for part in parts) + "\n"


def groups(settings: type[BaseModel]) -> Iterator[type[BaseSettings]]:
    """Yield the classes whose fields are variables: this one, or those of the groups in it."""
    if issubclass(settings, BaseSettings):
        if settings.model_fields:
            yield settings
        return
    for field in settings.model_fields.values():
        assert isinstance(field.annotation, type)  # noqa: S101
        yield from groups(field.annotation)


def _table(settings: type[BaseSettings]) -> Iterator[str]:
    yield "\n| variable | value | default | meaning |\n|---|---|---|---|"
    for name, field in settings.model_fields.items():
        if name not in UNLISTED:
            variable, meaning = _variable(settings, name, field), _markdown(field.description)
            yield f"| `{variable}` | {_kind(field.annotation)} | {_default(field)} | {meaning} |"


def variables(settings: type[BaseModel]) -> Iterator[str]:
    """Yield the environment variable of every setting."""
    for group in groups(settings):
        for name, field in group.model_fields.items():
            yield _variable(group, name, field)


def _variable(group: type[BaseSettings], name: str, field: FieldInfo) -> str:
    return str(field.validation_alias or f"{group.model_config['env_prefix']}{name}".upper())


def _markdown(docstring: str | None) -> str:
    return " ".join((docstring or "").replace("|", "\\|").replace("``", "`").split())


def _kind(annotation: Any) -> str:
    """Return the valid values: the choices, or the type in words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(arguments[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (Union, types.UnionType):
        return _kind(next(part for part in arguments if part is not type(None)))
    if origin is tuple:
        return f"list of {_kind(arguments[0])}"
    words = {bool: "`true`, `false`", int: "integer", float: "number", str: "text", Path: "path", SecretStr: "secret"}
    return words[annotation]


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is None or value == "":
        return ""
    if value == MODELS:
        return "all"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`{','.join(map(str, value))}`" if value else ""
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


if __name__ == "__main__":
    main()
