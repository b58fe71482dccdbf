"""Reads a Bento's files, without BentoML and without running anything of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from management.domain.bento import Bento, BentoApi, PythonNeeds, TrafficLimits
from management.domain.bento_tag import Tag
from management.packaging import bounded_yaml

BENTO_FILE: Final = "bento.yaml"
REQUIREMENTS: Final = ("env/python/requirements.in", "env/python/requirements.txt")
"""Files with requirements, the ones that their author wrote first."""
PYTHON_VERSION: Final = "env/python/version.txt"
OPENAPI: Final = "apis/openapi.yaml"
TEXTS: Final = (BENTO_FILE, PYTHON_VERSION, *REQUIREMENTS, OPENAPI)
"""Every text file that is read."""
SOURCES: Final = "src"
STORE: Final = "bentoml"
"""Registry of the models in BentoML's own store."""
MAX_FILE_BYTES: Final = 16 * 1024 * 1024
"""Bytes of the largest file that is read."""
_MOUNTS: Final = re.compile(rb"asgi_app|wsgi_app|mount_gradio|\bcmd\s*=|custom_command")
"""Words in the source of a service that may serve more paths than those of its APIs."""
_MINOR: Final = re.compile(r"3\.\d{1,2}")
_DEFAULT_PACKAGES: Final = frozenset(
    {"amazon-linux-extras", "bash", "build-base", "build-essential", "ca-certificates", "curl", "g++", "gcc", "gcc-c++"}
    | {"git", "gnupg2", "libc-dev", "linux-headers", "make", "musl-dev", "shadow", "shadow-utils"}
)
"""System packages that BentoML installs into every image, whatever its distribution."""
_INSTALLS: Final = re.compile(r"(apt-get|apk|yum|microdnf)\s")
_OF_UV: Final = re.compile(r"export UV_[A-Z_]+=\S*\Z")
"""A setting of uv, which BentoML's first versions of 1.4 write before they install."""
_INSTALL_WORDS: Final = frozenset(
    {"&&", "add", "apk", "apt-get", "enable", "groupinstall", "install", "microdnf", "update", "yum"}
)


class UnreadableBento(Exception):
    """The files are not those of a Bento; the text says what is wrong."""


def read(folder: Path) -> Bento:
    """Return the Bento in the folder. Raises UnreadableBento, and OSError when a file cannot be read."""
    return parse(texts(folder), sources(folder))


def texts(folder: Path) -> dict[str, str]:
    """Return the text files of the Bento in the folder, by path. Raises UnreadableBento and OSError."""
    found = {}
    for name in TEXTS:
        file = folder / name
        if file.is_file():
            if file.stat().st_size > MAX_FILE_BYTES:
                raise UnreadableBento(f"{name} is too large")
            found[name] = file.read_bytes().decode(errors="replace")
    return found


def sources(folder: Path) -> Iterator[bytes]:
    """Yield the content of the Python files of the Bento in the folder. Raises OSError."""
    yield from (file.read_bytes() for file in sorted((folder / SOURCES).rglob("*.py")) if file.is_file())


def may_mount(contents: Iterable[bytes]) -> bool:
    """Return whether Python files with these contents may serve more paths than those of the APIs."""
    return any(map(_MOUNTS.search, contents))


def document(file: Path) -> dict[str, Any]:
    """Return the content of a ``bento.yaml`` or ``model.yaml``, of values that JSON can carry.

    Raises UnreadableBento where it is no such file, and OSError when it cannot be read.
    """
    if file.stat().st_size > MAX_FILE_BYTES:
        raise UnreadableBento(f"{file.name} is too large")
    try:
        text = file.read_text(encoding="utf-8")
    except ValueError as error:
        raise UnreadableBento(f"{file.name} is not YAML") from error
    return mapping(text, file.name)


def mapping(text: str, name: str) -> dict[str, Any]:
    """Return the content of such a file by its text and its name. Raises UnreadableBento."""
    try:
        content = bounded_yaml.plain(bounded_yaml.load(text))
    except (ValueError, RecursionError) as error:
        raise UnreadableBento(f"{name} is not YAML") from error
    if not isinstance(content, dict):
        raise UnreadableBento(f"{name} is not a mapping")
    return content


def parse(texts: Mapping[str, str], sources: Iterable[bytes] | None) -> Bento:
    """Return the Bento with these text files, by path, and the content of its Python files, if that is known.

    Raises UnreadableBento.
    """
    return parse_known(texts, may_mount=sources is None or may_mount(sources))


def parse_known(texts: Mapping[str, str], *, may_mount: bool) -> Bento:
    """Return the Bento with these text files, whose sources were looked at before. Raises UnreadableBento."""
    try:
        return _bento(bounded_yaml.load(texts[BENTO_FILE]), texts, complete=not may_mount)
    except KeyError as error:
        raise UnreadableBento(f"there is no {error.args[0]}") from error
    except (AttributeError, TypeError, ValueError, RecursionError) as error:
        raise UnreadableBento(f"{BENTO_FILE} is not that of a Bento") from error


def _bento(content: Mapping[str, Any], texts: Mapping[str, str], *, complete: bool) -> Bento:
    schema = content.get("schema") or {}
    services = content.get("services") or []
    entry = str(content.get("entry_service") or schema.get("name") or "")
    config = next((service.get("config") or {} for service in services if service.get("name") == entry), {})
    paths = schema.get("paths") or {}
    return Bento(
        tag=Tag(str(content["name"]), str(content["version"])),
        service=entry,
        bentoml_version=str(content.get("bentoml_version") or ""),
        created_at=str(content.get("creation_time") or ""),
        apis=tuple(_api(route) for route in schema.get("routes") or ()),
        mounted_paths=tuple(path for path, about in paths.items() if about.get("mounted")),
        paths_complete=complete and bool(schema.get("routes")) and not _endpoints(config),
        path_prefix=str(config.get("path_prefix") or "").rstrip("/"),
        python=_python(content, texts),
        traffic=_traffic(config.get("traffic") or {}),
        labels={str(name): str(value) for name, value in (content.get("labels") or {}).items()},
        models=_models(content, services),
        services=tuple(str(service["name"]) for service in services),
        openapi=_openapi(texts.get(OPENAPI)),
        resources=_resources(config.get("resources")),
    )


def _openapi(text: str | None) -> Mapping[str, Any]:
    """Return the OpenAPI document; an empty one for a text that is none, which keeps no Bento from running."""
    try:
        content = bounded_yaml.load(text or "")
    except (ValueError, RecursionError):
        return {}
    return bounded_yaml.plain(content) if isinstance(content, dict) else {}


def _endpoints(config: Mapping[str, Any]) -> bool:
    """Return whether the service moves BentoML's own paths."""
    return bool(config.get("endpoints"))


def _models(content: Mapping[str, Any], services: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the models of BentoML's store, of the Bento and of its services, each once.

    Models of other registries are downloaded where the service starts.
    """
    listed = [*(content.get("models") or ()), *(model for service in services for model in service.get("models") or ())]
    return tuple(dict.fromkeys(str(model["tag"]) for model in listed if model.get("registry", STORE) == STORE))


def _resources(given: object) -> dict[str, str]:
    """Return the resources that the service asks for; a list of devices counts as their number."""
    values = given if isinstance(given, Mapping) else {}
    asked = {name: values[name] for name in ("cpu", "memory", "gpu") if values.get(name)}
    return {name: str(len(value) if isinstance(value, list) else value) for name, value in asked.items()}


def _api(route: Mapping[str, Any]) -> BentoApi:
    given, output = bounded_yaml.plain(route.get("input") or {}), bounded_yaml.plain(route.get("output") or {})
    root = bool(given.get("root_input"))
    return BentoApi(
        name=str(route["name"]),
        route=str(route["route"]),
        description=str(route.get("description") or ""),
        arguments={} if root else dict(given.get("properties") or {}),
        required=frozenset() if root else frozenset(given.get("required") or ()),
        root={name: value for name, value in given.items() if name not in ("root_input", "$defs")} if root else None,
        definitions=dict(given.get("$defs") or {}),
        output=dict(output),
        batchable=bool(route.get("batchable")),
        streams=bool(output.get("is_stream")),
        is_task=bool(route.get("is_task")),
    )


def _python(content: Mapping[str, Any], texts: Mapping[str, str]) -> PythonNeeds:
    image, docker = content.get("image") or {}, content.get("docker") or {}
    conda = content.get("conda") or {}
    written = str(image.get("python_version") or docker.get("python_version") or texts.get(PYTHON_VERSION, ""))
    minor = _MINOR.match(written.strip())
    lines = next((texts[name].splitlines() for name in REQUIREMENTS if name in texts), [])
    return PythonNeeds(
        version=minor[0] if minor else "",
        requirements=tuple(line.strip() for line in lines if line.strip() and not line.strip().startswith("#")),
        system_packages=tuple(map(str, docker.get("system_packages") or ())),
        commands=_commands(image, docker),
        conda=any(conda.get(name) for name in ("dependencies", "environment_yml", "pip")),
        base_image=str(docker.get("base_image") or ""),
    )


def _commands(image: Mapping[str, Any], docker: Mapping[str, Any]) -> tuple[str, ...]:
    written = [*(image.get("commands") or ()), *(image.get("post_commands") or ()), docker.get("setup_script")]
    return tuple(str(command) for command in written if command and not _is_default(str(command)))


def _is_default(command: str) -> bool:
    """Return whether the command does only what BentoML does in every image."""
    if _OF_UV.match(command):
        return True
    if not _INSTALLS.match(command):
        return False
    words = [word for word in command.replace('"Development Tools"', "").split() if not word.startswith("-")]
    return set(words) <= _DEFAULT_PACKAGES | _INSTALL_WORDS


def _traffic(given: Mapping[str, Any]) -> TrafficLimits:
    limits = [given[name] for name in ("max_concurrency", "concurrency") if isinstance(given.get(name), int)]
    timeout = given.get("timeout")
    return TrafficLimits(
        timeout=float(timeout) if isinstance(timeout, int | float) and timeout > 0 else None,
        concurrency=max(1, min(limits)) if limits else None,
    )
