"""The Docker Engine of the tests that are marked ``docker``, and the images that they share."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest

from management.packaging import images
from management.packaging.build import (
    ROOT,
    BentoHome,
    Recipe,
    build,
    recipes,
)
from tests.support.management_servers import ECHO

START_SECONDS = 120.0
ECHO_RECIPE = """
service: "echo_service:Echo"
name: echo
description: Answers with what it gets.
labels:
  versions: "1.0.0 2.0.0"
include: ["echo_service.py"]
python:
  lock_packages: false
docker:
  base_image: "python:3.11-slim"
  dockerfile_template: "bentos/Dockerfile.j2"
"""


def require() -> None:
    """Skips the test that runs, unless an engine answers."""
    if problem := _problem():
        pytest.skip(problem)


@cache
def _problem() -> str:
    try:
        images.require_engine()
    except images.ImageError as error:
        return str(error)
    return ""


def docker(*arguments: str, text: str | None = None, timeout: float = 300) -> str:
    """What the command line prints, of what it is given to read; raises CalledProcessError."""
    return subprocess.run(
        ["docker", *arguments], input=text, check=True, capture_output=True, text=True, timeout=timeout
    ).stdout.strip()


def inspected(name: str) -> dict[str, Any]:
    """What the engine knows of an image or a container."""
    (told,) = json.loads(docker("inspect", name))
    return dict(told)


def echo_project(folder: Path) -> tuple[Recipe, BentoHome]:
    """A project that the echo is built from, with the template of our own images, and a store for it."""
    root = folder / "project"
    (root / "bentos").mkdir(parents=True)
    (root / "runners" / "echo").mkdir(parents=True)
    shutil.copy(ECHO / "echo_service.py", root)
    shutil.copy(ROOT / "bentos" / "Dockerfile.j2", root / "bentos")
    (root / "runners" / "echo" / "bento.yaml").write_text(ECHO_RECIPE)
    (recipe,) = recipes(root)
    return recipe, BentoHome(folder / "home")


def echo_images(folder: Path) -> list[str]:
    """Makes the echo's images ``tests/echo:1.0.0`` and ``2.0.0``, unless the engine has them as they would be."""
    recipe, store = echo_project(folder)
    made = []
    for tag in recipe.tags():
        build(recipe, tag, store)
        made.append(images.make(store, tag, f"tests/{tag}")[0].name)
    return made


def our_image(home: Path, name: str, number: int = 0) -> str:
    """Makes the image of one of the project's Bentos, in the version of that number, from the models of a home."""
    store = BentoHome(home)
    recipe = next(one for one in recipes() if one.name == name)
    tag = recipe.tags()[number]
    build(recipe, tag, store)
    return images.make(store, tag, images.name_of(tag))[0].name


@dataclass(frozen=True)
class Container:
    """One that runs, and where its port is reached."""

    name: str
    url: str

    def client(self) -> httpx.Client:
        """An HTTP client for it, which nothing in the environment diverts."""
        return httpx.Client(base_url=self.url, timeout=60, trust_env=False)

    def state(self) -> dict[str, Any]:
        """Whether it runs, how it ended, and its health."""
        return dict(inspected(self.name)["State"])

    def run(self, *command: str) -> str:
        """What a command in it prints."""
        return docker("exec", self.name, *command)


@contextmanager
def container(image: str, port: int, *options: str) -> Iterator[Container]:
    """Runs an image until the block ends, its port on a free one of loopback; returns when it is ready."""
    name = docker("run", "--detach", "--publish", f"127.0.0.1::{port}", *options, image)
    try:
        address = docker("port", name, str(port)).splitlines()[0]
        one = Container(name, f"http://{address}")
        _await_ready(one)
        yield one
    finally:
        docker("rm", "--force", "--volumes", name)


def _await_ready(one: Container) -> None:
    deadline = time.monotonic() + START_SECONDS
    with one.client() as client:
        while time.monotonic() < deadline and one.state()["Running"]:
            try:
                if client.get("/readyz", timeout=5).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.2)
    raise RuntimeError(f"{one.name} does not become ready: {docker('logs', '--tail', '30', one.name)}")


def await_line(one: Container, text: str) -> None:
    """Returns when the container has written that."""
    deadline = time.monotonic() + START_SECONDS
    while text not in docker("logs", one.name):
        if time.monotonic() > deadline:
            raise RuntimeError(f"{one.name} never wrote {text}")
        time.sleep(0.1)
