"""Container images of Bentos, by ``bentoml containerize``: ``atelier/NAME:VERSION``, each listening on its own port.

``bentos/Dockerfile.j2`` is the template of an image; its labels and its port come from the Bento. An image is made
again only when its Bento was built again.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml  # type: ignore[import-untyped]

from management.domain.bento_tag import (
    Tag,
)
from management.packaging.build import (
    BentoHome,
)

PREFIX: Final = "atelier"
"""Repository of the images, and prefix of their labels."""
DIGEST: Final = "atelier.digest"
"""Label with the digest of the inputs of an image's Bento."""
LICENSE: Final = "Apache-2.0"
OUTPUT_LINES: Final = 15
"""Last lines of a failed build's output in its error."""
_OCI: Final = "org.opencontainers.image"
_BENTO_LABELS: Final = ("framework", "model_type")
"""Labels of a Bento that its image gets, too."""
_STEP: Final = re.compile(r"#\d+ (\[.+)")
"""Line of BuildKit's output that begins a step. BentoML shows no output of the older builder."""
_PLUGIN_SINCE: Final = 23
"""Major version of the Docker client from which BuildKit is a plugin."""


class ImageError(Exception):
    """An image cannot be made; the message says why, and what to do."""


@dataclass(frozen=True)
class Image:
    """An image that the engine has."""

    name: str
    size: int
    """Size in bytes."""
    digest: str
    """Digest of its Bento's inputs; empty without that label."""


def name_of(tag: Tag) -> str:
    """Return the name of a Bento's image."""
    return f"{PREFIX}/{tag}"


def require_engine() -> None:
    """Raise ImageError unless a Docker Engine answers."""
    result = _docker("version", "--format", "{{.Server.Version}}")
    if result.returncode != 0:
        error_lines = result.stderr.strip().splitlines()
        raise ImageError(f"no Docker Engine answers: {error_lines[-1] if error_lines else 'start one'}")


def existing(name: str) -> Image | None:
    """Return the image of that name; None when the engine does not have it."""
    result = _docker("image", "inspect", name)
    if result.returncode != 0:
        return None
    (description,) = json.loads(result.stdout)
    return Image(name, description["Size"], (description["Config"].get("Labels") or {}).get(DIGEST, ""))


def make(
    store: BentoHome, tag: Tag, name: str, watch: Callable[[str], None] = lambda _: None, *, again: bool = False
) -> tuple[Image, bool]:
    """Make the image of a Bento unless it is up to date. Return the image, and whether it was made.

    ``watch`` is called with each step of the build. With ``again`` an image that is up to date is made, too, because
    its base image may be newer. Raises ImageError.
    """
    require_engine()
    digest = store.digest(tag)
    if digest is None:
        raise ImageError(f"{tag} is not built: .venv/bin/atelier build {tag.name}")
    if not again and (image := existing(name)) is not None and image.digest == digest:
        return image, False
    _containerize(store, tag, name, watch)
    if (new_image := existing(name)) is None or new_image.digest != digest:
        raise ImageError(f"{name} was built, but the Docker Engine does not have it")
    return new_image, True


def push(name: str, registry: str) -> str:
    """Send an image to a registry, where nodes can pull it, and return its name there. Raises ImageError.

    ``registry`` is a host, with a port and the beginning of a path where it needs them, such as ``registry:5000/team``.
    The registry keeps layers that it has; the name with the registry stays in the engine, which costs nothing.
    """
    there = f"{registry.rstrip('/')}/{name}"
    for command in (("tag", name, there), ("push", "--quiet", there)):
        result = _docker(*command)
        if result.returncode != 0:
            error_lines = result.stderr.strip().splitlines()
            raise ImageError(f"{there} cannot be pushed: {error_lines[-1] if error_lines else 'no reason given'}")
    return there


def labels(bento: dict[str, Any], description: str, digest: str) -> dict[str, str]:
    """Return the labels of an image, from its Bento's description."""
    bento_labels = bento.get("labels") or {}
    image_labels = {
        f"{_OCI}.title": bento["name"],
        f"{_OCI}.version": bento["version"],
        f"{_OCI}.revision": bento_labels.get("revision", ""),
        f"{_OCI}.description": " ".join(description.split()),
        f"{_OCI}.licenses": LICENSE,
        **{f"{PREFIX}.{name}": bento_labels.get(name, "") for name in _BENTO_LABELS},
        DIGEST: digest,
    }
    return {name: str(value) for name, value in image_labels.items() if value}


def port(bento: dict[str, Any]) -> int | None:
    """Return the port that the Bento's service sets; None when BentoML chooses it."""
    entry = next(service for service in bento["services"] if service["name"] == bento["entry_service"])
    number = entry["config"].get("http", {}).get("port")
    return None if number is None else int(number)


def _containerize(store: BentoHome, tag: Tag, name: str, watch: Callable[[str], None]) -> None:
    # BentoML copies the Bento to TMPDIR, and refuses to read the template from any folder but its working directory.
    with tempfile.TemporaryDirectory(prefix="atelier-image-") as temporary:
        command, environment = containerization(store, tag, name, Path(temporary))
        _run(command, name, temporary, environment, watch)


def containerization(store: BentoHome, tag: Tag, name: str, temporary: Path) -> tuple[list[str], dict[str, str]]:
    """Return the command that makes the image of a Bento, and its environment; it runs in an empty folder.

    Raises ImageError without a Docker client, and OSError where the Bento's files cannot be read.
    """
    command = [sys.executable, "-m", "bentoml", "containerize", str(tag), "--image-tag", name, "--backend", "docker"]
    command += [part for option in _options(store, tag) for part in ("--opt", option)]
    environment = {**os.environ, "BENTOML_HOME": str(store.home), "BENTOML_DO_NOT_TRACK": "True"}
    if _lacks_plugin():  # the older builder works, but leaves the container of a failed step without force-rm
        environment["DOCKER_BUILDKIT"] = "0"
        command += ["--opt", "force-rm"]
    return command, {**environment, "TMPDIR": str(temporary)}


def _options(store: BentoHome, tag: Tag) -> list[str]:
    """Return the options of the image of a Bento that this project built; a user's own needs none."""
    digest = store.digest(tag)
    if digest is None:
        return []
    folder = store.folder(tag)
    bento = yaml.safe_load((folder / "bento.yaml").read_text(encoding="utf-8"))
    description = (folder / "README.md").read_text(encoding="utf-8")
    options = [f"label={key}={value}" for key, value in labels(bento, description, digest).items()]
    return options if (port_number := port(bento)) is None else [*options, f"build-arg=PORT={port_number}"]


def _run(command: list[str], name: str, place: str, environment: dict[str, str], watch: Callable[[str], None]) -> None:
    last: deque[str] = deque(maxlen=OUTPUT_LINES)
    with subprocess.Popen(  # noqa: S603 - the command is this project's
        command,
        cwd=place,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as building:
        for line in building.stdout or ():
            if line.strip():
                last.append(line.rstrip())
            if step := _STEP.match(line):
                watch(step[1])
    if building.returncode != 0:
        raise ImageError(f"{name} cannot be made:\n" + "\n".join(last))


def _lacks_plugin() -> bool:
    """Return whether the client needs BuildKit as a plugin, and the plugin is missing."""
    if "DOCKER_BUILDKIT" in os.environ:
        return os.environ["DOCKER_BUILDKIT"] == "0"
    version = _docker("version", "--format", "{{.Client.Version}}").stdout.partition(".")[0]
    return version.isdigit() and int(version) >= _PLUGIN_SINCE and _docker("buildx", "version").returncode != 0


def _docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)  # noqa: S603, S607
    except FileNotFoundError:
        raise ImageError("the command docker is not installed; images are built by a Docker Engine") from None
