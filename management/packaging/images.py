"""Container images of Bentos, by ``bentoml containerize``: ``atelier/NAME:VERSION``, each listening on its own port.

What an image is made of stands in ``bentos/Dockerfile.j2``; its labels and its port come from the Bento. An image is
made again only when its Bento was.
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
from typing import Any, Final

import yaml  # type: ignore[import-untyped]

from management.domain.bento_tag import (
    Tag,
)
from management.packaging.build import (
    BentoHome,
)

PREFIX: Final = "atelier"
DIGEST: Final = "atelier.digest"
LICENSE: Final = "Apache-2.0"
LINES_TOLD: Final = 15  # of what a failing build wrote
_OCI: Final = "org.opencontainers.image"
_OWN_LABELS: Final = ("framework", "model_type")  # of the Bento
_STEP: Final = re.compile(r"#\d+ (\[.+)")
"""A line of BuildKit's that says what is done now; of the builder before it, BentoML shows nothing."""
_PLUGIN_SINCE: Final = 23  # the client's version from which BuildKit is a plugin


class ImageError(Exception):
    """An image cannot be made; the message says why, and what to do."""


@dataclass(frozen=True)
class Image:
    """One that the engine has."""

    name: str
    size: int
    """Bytes."""
    digest: str
    """Of what its Bento was made from; empty where nobody told."""


def name_of(tag: Tag) -> str:
    """What the image of one of our Bentos is called."""
    return f"{PREFIX}/{tag}"


def require_engine() -> None:
    """Raises ImageError, in words for people, unless an engine answers."""
    found = _docker("version", "--format", "{{.Server.Version}}")
    if found.returncode != 0:
        said = found.stderr.strip().splitlines()
        raise ImageError(f"no Docker Engine answers: {said[-1] if said else 'start one'}")


def existing(name: str) -> Image | None:
    """The image of that name, if the engine has it."""
    found = _docker("image", "inspect", name)
    if found.returncode != 0:
        return None
    (told,) = json.loads(found.stdout)
    return Image(name, told["Size"], (told["Config"].get("Labels") or {}).get(DIGEST, ""))


def make(
    store: BentoHome, tag: Tag, name: str, watch: Callable[[str], None] = lambda _: None, *, again: bool = False
) -> tuple[Image, bool]:
    """Makes the image of a Bento unless it is up to date, and says whether it did; every step goes to ``watch``.

    ``again`` makes it all the same: what it is based on may be newer. Raises ImageError.
    """
    require_engine()
    wanted = store.digest(tag)
    if wanted is None:
        raise ImageError(f"{tag} is not built: .venv/bin/atelier build {tag.name}")
    if not again and (found := existing(name)) is not None and found.digest == wanted:
        return found, False
    _containerize(store, tag, name, wanted, watch)
    if (made := existing(name)) is None or made.digest != wanted:
        raise ImageError(f"{name} was built, but the Docker Engine does not have it")
    return made, True


def labels(bento: dict[str, Any], description: str, digest: str) -> dict[str, str]:
    """An image's, from what its Bento says of itself."""
    own = bento.get("labels") or {}
    told = {
        f"{_OCI}.title": bento["name"],
        f"{_OCI}.version": bento["version"],
        f"{_OCI}.revision": own.get("revision", ""),
        f"{_OCI}.description": " ".join(description.split()),
        f"{_OCI}.licenses": LICENSE,
        **{f"{PREFIX}.{name}": own.get(name, "") for name in _OWN_LABELS},
        DIGEST: digest,
    }
    return {name: str(value) for name, value in told.items() if value}


def port(bento: dict[str, Any]) -> int | None:
    """The one that the Bento's service names; None where it leaves that to BentoML."""
    entry = next(one for one in bento["services"] if one["name"] == bento["entry_service"])
    found = entry["config"].get("http", {}).get("port")
    return None if found is None else int(found)


def _containerize(store: BentoHome, tag: Tag, name: str, digest: str, watch: Callable[[str], None]) -> None:
    folder = store.folder(tag)
    bento = yaml.safe_load((folder / "bento.yaml").read_text(encoding="utf-8"))
    description = (folder / "README.md").read_text(encoding="utf-8")
    options = [f"label={key}={value}" for key, value in labels(bento, description, digest).items()]
    options += [] if (own := port(bento)) is None else [f"build-arg=PORT={own}"]
    command = [sys.executable, "-m", "bentoml", "containerize", str(tag), "--image-tag", name, "--backend", "docker"]
    command += [part for option in options for part in ("--opt", option)]
    environment = {**os.environ, "BENTOML_HOME": str(store.home), "BENTOML_DO_NOT_TRACK": "True"}
    if _lacks_plugin():  # it builds all the same, and would leave the container of a step that fails
        environment["DOCKER_BUILDKIT"] = "0"
        command += ["--opt", "force-rm"]
    # BentoML copies the Bento to a temporary folder, and then refuses to read its template there from any other one.
    with tempfile.TemporaryDirectory(prefix="atelier-image-") as place:
        _run(command, name, place, {**environment, "TMPDIR": place}, watch)


def _run(command: list[str], name: str, place: str, environment: dict[str, str], watch: Callable[[str], None]) -> None:
    last: deque[str] = deque(maxlen=LINES_TOLD)
    with subprocess.Popen(  # noqa: S603 - what it runs is ours
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
    """Whether the client has BuildKit as a plugin, and the plugin is not there."""
    if "DOCKER_BUILDKIT" in os.environ:
        return os.environ["DOCKER_BUILDKIT"] == "0"
    version = _docker("version", "--format", "{{.Client.Version}}").stdout.partition(".")[0]
    return version.isdigit() and int(version) >= _PLUGIN_SINCE and _docker("buildx", "version").returncode != 0


def _docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)  # noqa: S603, S607
    except FileNotFoundError:
        raise ImageError("the command docker is not installed; images are built by a Docker Engine") from None
