"""Each Bento of the gallery: deployed as it is, called in every way its author knows, and served through changes."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.gallery.bentos import GALLERY, VERSION, Listed, built
from tests.e2e.gallery.readmes import EXAMPLES, Example, examples
from tests.e2e.gallery.steady import Steady, call, caller
from tests.support.bentos.program import Program
from tests.support.calls import status, until
from tests.support.management_servers import Management, managing
from tests.support.running.effort import effort
from tests.support.victims import pid_of, ready

pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")]

START_SECONDS = 180
"""Time for an environment that is made first."""
IDLE_SECONDS = 3
THROUGH_CHANGES = effort(GALLERY, tuple(listed for listed in GALLERY if listed.name in ("batch", "fastapi", "stream")))
"""The Bentos that are called while they are updated, killed, and woken."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Management]:
    """A server that has no Bento: BentoML's own program pushes each when its turn comes."""
    with managing(tmp_path_factory.mktemp("gallery"), ATELIER_IDLE_SECONDS=str(IDLE_SECONDS)) as running:
        yield running


@pytest.fixture(scope="module")
def api(server: Management) -> Iterator[httpx.Client]:
    with server.client() as client:
        client.timeout = START_SECONDS
        yield client


@pytest.fixture(scope="module", params=GALLERY, ids=lambda listed: listed.name)
def listed(request: pytest.FixtureRequest, server: Management, api: httpx.Client) -> Iterator[Listed]:
    """A Bento while it is deployed, by ``bentoml deploy`` alone."""
    bento: Listed = request.param
    deployed = f"{bento.name}:{VERSION}"
    program(server, bento).run("deploy", deployed, "-n", bento.name, "--scaling-max", "2", "--no-wait")
    until(lambda: status(api, bento.name)["status"] != "pending", START_SECONDS)
    assert status(api, bento.name)["status"] == "running", status(api, bento.name)
    yield bento
    api.delete(f"/models/{bento.name}", params={"force": True, "wait": 60})


def run(server: Management, listed: Listed, folder: Path, *sections: str) -> list[Example]:
    """Run the calls of these sections of a Bento's page, or of all others, and compare their answers."""
    known = {"curl", "bentoml's client", "inference"}
    chosen = [
        shown
        for shown in examples(listed.name)
        if (shown.section in sections if sections else shown.section not in known)
    ]
    shutil.copytree(EXAMPLES, folder / "examples")
    for example in chosen:
        python = tuple(_python(listed)) if "bentoml" not in example.code else (sys.executable,)
        printed = example.run(server.url, folder / "examples" / "bentos" / listed.name, python)
        example.check(printed)
    return chosen


def program(server: Management, listed: Listed) -> Program:
    """BentoML's program of the Bento's author."""
    return Program(built(listed), server.url)


def _python(listed: Listed) -> list[str]:
    """The interpreter of a page's Python: this one, or one with the packages that it needs."""
    if not listed.needs:
        return [sys.executable]
    packages = [part for package in listed.needs for part in ("--with", package)]
    return [sys.executable, "-m", "uv", "run", "--quiet", "--no-project", *packages, "python"]


def test_it_is_deployed_as_it_is(listed: Listed, api: httpx.Client) -> None:
    told = status(api, listed.name)
    assert told["status"] == "running"
    assert f"/models/{listed.name}" in str(told["endpoints"])


def test_curl_gets_what_its_page_prints(listed: Listed, server: Management, tmp_path: Path) -> None:
    assert run(server, listed, tmp_path, "curl")


def test_bentomls_client_gets_what_its_page_prints(listed: Listed, server: Management, tmp_path: Path) -> None:
    assert run(server, listed, tmp_path, "bentoml's client")


def test_inference_gives_what_its_page_prints(listed: Listed, server: Management, tmp_path: Path) -> None:
    assert run(server, listed, tmp_path, "inference")


def test_every_other_call_of_its_page_gives_what_is_printed(listed: Listed, server: Management, tmp_path: Path) -> None:
    run(server, listed, tmp_path)


@pytest.mark.parametrize("listed", THROUGH_CHANGES, ids=lambda listed: listed.name, indirect=True, scope="module")
def test_an_update_under_load_fails_no_request(listed: Listed, server: Management, api: httpx.Client) -> None:
    before = str(status(api, listed.name)["revision"])
    with Steady(server, listed) as steady:
        until(lambda: steady.answers[before] >= 5 or steady.failures)
        program(server, listed).run("deployment", "update", listed.name, "--env", "GALLERY=updated")
        after = str(status(api, listed.name)["revision"])
        until(lambda: steady.answers[after] >= 5 or steady.failures, START_SECONDS)
    assert after != before
    assert not steady.failures, steady.failures[:3]


@pytest.mark.parametrize("listed", THROUGH_CHANGES, ids=lambda listed: listed.name, indirect=True, scope="module")
def test_a_killed_replica_of_two_fails_no_request_that_may_be_repeated(
    listed: Listed, server: Management, api: httpx.Client
) -> None:
    api.post(f"/models/{listed.name}/scale", json={"replicas": 2}).raise_for_status()
    until(lambda: len(ready(api, listed.name)) == 2, START_SECONDS)
    with Steady(server, listed) as steady:
        until(lambda: steady.answers.total() >= 5 or steady.failures)
        victim = min(ready(api, listed.name))
        os.kill(pid_of(server.home, victim), signal.SIGKILL)
        until(lambda: victim not in ready(api, listed.name))
        until(lambda: len(ready(api, listed.name)) == 2, START_SECONDS)
    assert not steady.failures, steady.failures[:3]


@pytest.mark.parametrize("listed", THROUGH_CHANGES, ids=lambda listed: listed.name, indirect=True, scope="module")
def test_it_sleeps_without_requests_and_a_request_wakes_it(
    listed: Listed, server: Management, api: httpx.Client
) -> None:
    scaling = {"config": {"scaling_config": {"min_replicas": 0, "max_replicas": 1}}}
    api.put(f"/models/{listed.name}", params={"wait": START_SECONDS}, json=scaling).raise_for_status()
    until(lambda: status(api, listed.name)["replicas"]["current"] == 0, START_SECONDS)
    with caller(server, listed) as client:
        assert call(client, listed).is_success
    assert status(api, listed.name)["replicas"]["ready"] == 1
