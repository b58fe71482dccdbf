"""Fixtures: a model store of the test run's own, pictures, and real servers on free ports."""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import signal
import tempfile
from pathlib import Path

# Before BentoML is imported anywhere: it must never touch the store of whoever runs the tests.
HOME = tempfile.mkdtemp(prefix="atelier-tests-")
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
os.environ["BENTOML_HOME"] = HOME
os.environ["BENTOML_DO_NOT_TRACK"] = "True"
# BentoML's builds lock what Bentos require by what a package index says, which may not answer for a while.
os.environ.setdefault("UV_HTTP_RETRIES", "10")
if "ATELIER_TESTS_SHARED" not in os.environ:  # the workers of one run have homes of their own, and share this
    os.environ["ATELIER_TESTS_SHARED"] = tempfile.mkdtemp(dir=HOME)

# A shell lets what it runs in the background ignore Ctrl-C, and our servers would with us.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

from collections.abc import Generator, Iterator
from importlib import import_module
from io import BytesIO
from itertools import chain
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from management.settings import StorageSettings
from runners.artifacts import publish
from tests.deploy.nginx_server import Nginx, nginx
from tests.doubles.earlier_replica import earlier_replica
from tests.support import docker_engine, kubernetes_cluster
from tests.support.calls import emptied, quick
from tests.support.management_servers import Management, copied_echo
from tests.support.postgresql.databases import migrated_database
from tests.support.postgresql.server import PostgresqlServer
from tests.support.postgresql.server import running as running_postgresql
from tests.support.running import figures, preloaded, promises, sharing, sorting
from tests.support.servers import Server, serving
from tests.support.swarm import nodes as swarm_nodes

SKIP_NOTHING = "ATELIER_TESTS_SKIP_NOTHING"

preloaded.enabled = True


@pytest.fixture(scope="session")
def store() -> Path:
    """The model store with the shipped models in it; nothing is downloaded."""
    from bentoml._internal.configuration.containers import BentoMLContainer

    home = Path(HOME)
    BentoMLContainer.bentoml_home.set(HOME)  # a test of another home may have imported BentoML first

    def published(folder: Path) -> None:
        publish.choose_embedding("satellite")
        publish.publish()
        shutil.copytree(home / "models", folder)

    shutil.copytree(sharing.made_once("models", published), home / "models", dirs_exist_ok=True)
    (home / "bentos").mkdir(exist_ok=True)
    return home


@pytest.fixture(scope="session")
def atelier(store: Path) -> Iterator[Server]:
    """All models behind one port."""
    with serving("service:Atelier", store) as server:
        yield server


@pytest.fixture(scope="session")
def satellite(store: Path) -> Iterator[Server]:
    """The satellite model alone."""
    with serving("service:Satellite", store) as server:
        yield server


@pytest.fixture(scope="session")
def embedding(store: Path) -> Iterator[Server]:
    """The embedding model alone."""
    with serving("service:Embedding", store) as server:
        yield server


@pytest.fixture(scope="session")
def echo_bentos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BentoML home with the echo in two versions, which tests leave as it is."""
    return copied_echo(tmp_path_factory.mktemp("echo"))


@pytest.fixture(scope="module")
def own_echo_bentos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for the tests of a module alone, which may change it."""
    return copied_echo(tmp_path_factory.mktemp("echo"))


@pytest.fixture(scope="session")
def management(echo_bentos: Path) -> Iterator[Management]:
    """The management alone, with the echo to deploy; it is soon full, and soon tries again."""
    with quick(echo_bentos) as server:
        yield server


@pytest.fixture
def api(management: Management) -> Iterator[httpx.Client]:
    """A client of it; every model that a test leaves is deleted after it."""
    with emptied(management) as client:
        yield client


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Modules that import torch are left alone where no test of them is wanted."""
    return sorting.is_ignored(collection_path, config) or None


def pytest_make_parametrize_id(val: object) -> str | None:
    """The same short name in every process."""
    return sorting.parameter_name(val)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What each test needs, before tests are selected by it."""
    sorting.sort(items)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Before any test runs, whether all were collected as their marks promise."""
    promises.check_collection(session)
    gc.freeze()  # each full collection would look through all modules and tests again, in some test's time


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any, ids: list[str]) -> None:
    """Before the tests are distributed, whether each has its group."""
    if node.config.getoption("dist") == "loadgroup":
        promises.check_groups(ids)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """A test shares the machine with those of other workers, unless it is to be alone on it."""
    with sharing.machine(alone=item.get_closest_marker("alone") is not None), promises.kept(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where everything was promised, what a test misses is a failure."""
    report = yield
    if report.skipped and os.environ.get(SKIP_NOTHING):
        report.outcome = "failed"
        report.longrepr = f"{SKIP_NOTHING} is set, and this was skipped: {report.longreprtext}"
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before a test that needs a Docker Engine, a cluster or nodes of a swarm, whether there is one."""
    marks = {mark.name for mark in item.iter_markers()}
    if marks & {"docker", "kubernetes", "swarm"}:
        docker_engine.require()
    if "kubernetes" in marks:
        kubernetes_cluster.require()
    if "swarm" in marks:
        swarm_nodes.require()


@pytest.fixture(scope="session")
def echo_images(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The echo's two versions, as images: ``tests/echo:1.0.0`` and ``tests/echo:2.0.0``."""
    return docker_engine.echo_images(tmp_path_factory.mktemp("echo-images"))


@pytest.fixture(scope="session")
def swarm(echo_images: list[str]) -> Iterator[swarm_nodes.Nodes]:
    """A swarm of two nodes that have the echo's images."""
    with swarm_nodes.nodes(2) as running:
        for node in running.all:
            node.load(*echo_images)
        yield running


@pytest.fixture(scope="session")
def tcm_image(store: Path) -> str:
    """The diagnosis model's image: ``atelier/tcm-diagnosis:2.0.0``."""
    return docker_engine.our_image(store, "tcm-diagnosis")


@pytest.fixture(scope="session")
def summarization_image(store: Path) -> str:
    """The summarizer's image: ``atelier/summarization:1.0.0``."""
    return docker_engine.our_image(store, "summarization")


@pytest.fixture(scope="session")
def atelier_image(store: Path) -> str:
    """The image of everything behind one port."""
    return docker_engine.our_image(store, "atelier")


@pytest.fixture(scope="session")
def tcm_image_again(store: Path) -> str:
    """Another version of it: ``atelier/tcm-diagnosis:2.1.0``."""
    return docker_engine.our_image(store, "tcm-diagnosis", 1)


@pytest.fixture(scope="session")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """A real nginx with the configuration of deploy/."""
    with nginx(tmp_path_factory.mktemp("nginx")) as server:
        yield server


@pytest.fixture
def caller(front: Nginx) -> Iterator[httpx.Client]:
    """A client of its port 80."""
    with front.client() as client:
        yield client


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """A PostgreSQL server for all tests of one worker, which leave it as it is."""
    with running_postgresql() as server:
        yield server


@pytest.fixture
def postgresql_url(postgresql: PostgresqlServer) -> Iterator[str]:
    """A database of its own for a test, with the tables of this version."""
    with migrated_database(postgresql) as url:
        yield url


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> figures.Figure:
    """Takes down what a promise came to: ``figure("0 failed of 5,000", goal="0 failed")``."""

    def take(measured: str, *, goal: str) -> None:
        figures.take_down(request.node, measured, goal)

    return take


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The figures of this run."""
    if taken := figures.taken(chain.from_iterable(terminalreporter.stats.values())):
        terminalreporter.section("figures")
        terminalreporter.write_line(figures.table(taken))


@pytest.fixture(params=["h11_impl:H11Protocol", "httptools_impl:HttpToolsProtocol"], ids=["h11", "httptools"])
def auto(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """uvicorn's lookup of its HTTP protocol class, with each of its implementations; put back afterwards."""
    module, name = request.param.split(":")
    found = import_module("uvicorn.protocols.http.auto")
    monkeypatch.setattr(found, "AutoHTTPProtocol", getattr(import_module(f"uvicorn.protocols.http.{module}"), name))
    return found


@pytest.fixture
def short_home() -> Iterator[Path]:
    """A folder whose path is short enough for unix sockets in the folders of its replicas."""
    folder = Path(tempfile.mkdtemp(prefix="at-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def earlier(short_home: Path) -> Iterator[str]:
    """The id of a replica that serves, started as an earlier version started it."""
    with earlier_replica(short_home) as replica_id:
        yield replica_id


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StorageSettings:
    """Settings of folders that are not there yet."""
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    return StorageSettings(home=tmp_path / "home")


def picture(seed: int = 0, size: tuple[int, int] = (64, 64)) -> Image.Image:
    """Smooth noise, different for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def encoded(seed: int = 0, size: tuple[int, int] = (64, 64), kind: str = "PNG") -> bytes:
    """The bytes of ``picture``."""
    file = BytesIO()
    picture(seed, size).save(file, kind)
    return file.getvalue()
