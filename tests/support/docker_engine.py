"""The Docker Engine of the tests that are marked ``docker``, and the images that they share."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
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
from management.packaging.build import ROOT, BentoHome, Recipe, build, recipes
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
    """Skip the current test unless an engine answers."""
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
    """Run a docker command with that input, and return its output. Raises CalledProcessError."""
    return subprocess.run(
        ["docker", *arguments], input=text, check=True, capture_output=True, text=True, timeout=timeout
    ).stdout.strip()


def inspected(name: str) -> dict[str, Any]:
    """Return the engine's description of an image or a container."""
    (description,) = json.loads(docker("inspect", name))
    return dict(description)


def echo_project(folder: Path) -> tuple[Recipe, BentoHome]:
    """Return a recipe of the echo Bento in a new project with our images' template, and a home for it."""
    root = folder / "project"
    (root / "bentos").mkdir(parents=True)
    (root / "runners" / "echo").mkdir(parents=True)
    shutil.copy(ECHO / "echo_service.py", root)
    shutil.copy(ROOT / "bentos" / "Dockerfile.j2", root / "bentos")
    (root / "runners" / "echo" / "bento.yaml").write_text(ECHO_RECIPE)
    (recipe,) = recipes(root)
    return recipe, BentoHome(folder / "home")


def echo_images(folder: Path) -> list[str]:
    """Make the images ``tests/echo:1.0.0`` and ``2.0.0``, unless the engine has them, and return their names."""
    recipe, store = echo_project(folder)
    names = []
    for tag in recipe.tags():
        build(recipe, tag, store)
        names.append(images.make(store, tag, f"tests/{tag}")[0].name)
    return names


def our_image(home: Path, name: str, number: int = 0) -> str:
    """Make the image of a Bento of the project in its ``number``-th version, and return its name."""
    store = BentoHome(home)
    recipe = next(recipe for recipe in recipes() if recipe.name == name)
    tag = recipe.tags()[number]
    build(recipe, tag, store)
    return images.make(store, tag, images.name_of(tag))[0].name


def user_images(home: Path, *names: str) -> list[str]:
    """Make the images ``users/NAME:1.0.0`` of Bentos in a home as a user of BentoML makes them; return their names."""
    environment = {**os.environ, "BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True", "DOCKER_BUILDKIT": "1"}
    tags = [f"{name}:1.0.0" for name in names]
    for tag in tags:
        command = [sys.executable, "-m", "bentoml", "containerize", tag, "--image-tag", f"users/{tag}"]
        subprocess.run([*command, "--backend", "docker"], env=environment, cwd=home, check=True, capture_output=True)
    return [f"users/{tag}" for tag in tags]


@dataclass(frozen=True)
class Container:
    """A running container and the URL of its port."""

    name: str
    url: str

    def client(self) -> httpx.Client:
        """Return an HTTP client that ignores the environment's proxies."""
        return httpx.Client(base_url=self.url, timeout=60, trust_env=False)

    def state(self) -> dict[str, Any]:
        """Return the engine's state of it: whether it runs, its exit code and its health."""
        return dict(inspected(self.name)["State"])

    def run(self, *command: str) -> str:
        """Run a command in it, and return the output."""
        return docker("exec", self.name, *command)


@contextmanager
def container(image: str, port: int, *options: str) -> Iterator[Container]:
    """Run an image until the block ends, published on a free loopback port; yields when it is ready."""
    name = docker("run", "--detach", "--publish", f"127.0.0.1::{port}", *options, image)
    try:
        address = docker("port", name, str(port)).splitlines()[0]
        running = Container(name, f"http://{address}")
        _await_ready(running)
        yield running
    finally:
        docker("rm", "--force", "--volumes", name)


def _await_ready(container: Container) -> None:
    deadline = time.monotonic() + START_SECONDS
    with container.client() as client:
        while time.monotonic() < deadline and container.state()["Running"]:
            try:
                if client.get("/readyz", timeout=5).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.2)
    raise RuntimeError(f"{container.name} does not become ready: {docker('logs', '--tail', '30', container.name)}")


def await_line(container: Container, text: str) -> None:
    """Wait until the container's log has the text."""
    deadline = time.monotonic() + START_SECONDS
    while text not in docker("logs", container.name):
        if time.monotonic() > deadline:
            raise RuntimeError(f"{container.name} never wrote {text}")
        time.sleep(0.1)
