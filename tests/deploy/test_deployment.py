"""deploy/compose.yaml in a real engine: two services behind nginx, called, scaled, updated, killed, and taken down."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import struct
import subprocess
import time
import zlib
from collections.abc import Iterator
from io import BytesIO

import pytest
from PIL import Image, ImageDraw, ImageFont

from tests.deploy.deployment import Deployment, deployment, health, load
from tests.deploy.nginx_server import DEPLOY
from tests.support.docker_engine import docker, inspected
from tests.support.running.figures import Figure
from tests.support.servers import ROOT

pytestmark = pytest.mark.docker

SUMMARIZATION, DIAGNOSIS = "atelier/summarization:1.0.0", "atelier/tcm-diagnosis:2.0.0"
NEW = "tests/tcm-diagnosis:new"
CALLS = re.findall(r"```bash\n(curl [^`]*?)\n```", (ROOT / "docs" / "summarization.md").read_text())
SYMPTOMS = {"symptoms": ["头痛", "乏力"]}
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def deployed(summarization_image: str, tcm_image: str) -> Iterator[Deployment]:
    assert (summarization_image, tcm_image) == (SUMMARIZATION, DIAGNOSIS)
    with deployment() as running:
        running.up("nginx", "summarization", "tcm-diagnosis")
        yield running
        running.compose("down", "--volumes")
        assert running.left() == []


def page(text: str) -> bytes:
    """A PNG with a text on it."""
    image = Image.new("RGB", (1000, 300), "white")
    ImageDraw.Draw(image).multiline_text((40, 40), text, "black", ImageFont.load_default(32))
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def padded(png: bytes, size: int) -> bytes:
    """The same picture with a private chunk that nobody reads, so that it has so many bytes."""
    data = b"npAd" + bytes(size - len(png) - 12)
    chunk = struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))
    return png[:33] + chunk + png[33:]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("call", CALLS, ids=[each.split("localhost:5000")[1][:24].split()[0] for each in CALLS])
@pytest.mark.parametrize("door", ["summarization", None], ids=["its own port", "port 80"])
def test_the_documents_calls_answer(deployed: Deployment, call: str, door: str | None) -> None:
    here = call.replace("http://localhost:5000", deployed.url(door))
    done = subprocess.run(["bash", "-c", here], cwd=ROOT, capture_output=True, text=True, check=True, timeout=90)
    answer = json.loads(done.stdout)
    assert answer.keys() & {"summary", "results"} or answer["status"] == "healthy"


def test_two_services_answer_on_one_port(deployed: Deployment) -> None:
    with deployed.client() as client:
        assert client.post("/diagnose", json=SYMPTOMS).json()["syndromes"]
        assert client.get("/health/tcm-diagnosis").json()["status"] == "healthy"
        missing = client.post("/classify", json={})
    assert (missing.status_code, missing.json()["code"]) == (502, "UPSTREAM_FAILED")


def test_a_picture_of_16_mib_is_read_and_21_mb_are_413(deployed: Deployment) -> None:
    picture = padded(page("The harbour will be rebuilt over the next six years."), 16 * MIB - 2048)
    with deployed.client("summarization") as client:
        read = client.post("/summarize/image", files={"image": ("page.png", picture)})
        refused = client.post("/summarize/file", files={"file": ("file.txt", bytes(21_000_000))})
    assert read.status_code == 200, read.text
    assert "harbour" in read.json()["summary"]
    assert (refused.status_code, refused.json()) == (
        413,
        {"error": "The body is too large", "code": "PAYLOAD_TOO_LARGE"},
    )


def test_the_containers_may_do_little(deployed: Deployment) -> None:
    for container in deployed.containers():
        host = inspected(container)["HostConfig"]
        assert host["CapDrop"] == ["ALL"]
        assert not host["CapAdd"]
        assert not host["Privileged"]
        assert host["ReadonlyRootfs"]
        assert "no-new-privileges:true" in host["SecurityOpt"]
        assert host["NetworkMode"] not in ("host", "none")
        assert host["Memory"] > 0
        assert host["PidsLimit"] > 0
        assert host["RestartPolicy"]["Name"] == "unless-stopped"
        assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-file": "5", "max-size": "10m"}}
        assert docker("exec", container, "id", "-u") != "0"
    published = {
        container: [
            binding for bound in inspected(container)["HostConfig"]["PortBindings"].values() for binding in bound
        ]
        for container in deployed.containers()
    }
    assert [len(bindings) for bindings in published.values() if bindings] == [6]  # nginx's alone
    assert {binding["HostIp"] for bound in published.values() for binding in bound} == {"127.0.0.1"}


def test_three_replicas_of_a_scaled_service_all_answer(deployed: Deployment, figure: Figure) -> None:
    body = json.loads((DEPLOY / "test_data.json").read_text())
    with load(f"{deployed.url('summarization')}/summarize/text", body) as told:
        deployed.up("--scale", "summarization=3", "--no-recreate", "summarization")
    replicas = deployed.containers("summarization")
    addresses = {
        network["IPAddress"]
        for replica in replicas
        for network in inspected(replica)["NetworkSettings"]["Networks"].values()
    }
    assert len(addresses) == 3
    before = len(deployed.requests())
    with deployed.client("summarization") as client:
        for _ in range(60):
            assert client.post("/summarize/text", json=body).status_code == 200
    used = {request["upstream"].split(":")[0] for request in deployed.requests()[before:]}
    assert used == addresses
    assert told.failed == {}
    figure(f"0 failed of {told.statuses[200]}, the slowest {told.slowest:.1f} s", goal="0 failed")


@pytest.mark.skipif(shutil.which("ab") is None, reason="apache2-utils is not installed")
def test_the_documents_load_test_runs_as_printed(deployed: Deployment) -> None:
    (line,) = re.findall(r"^ab (?:.*\\\n)*.*$", (ROOT / "docs" / "deployment.md").read_text(), re.MULTILINE)
    here = line.replace("http://localhost:5000", deployed.url("summarization"))
    done = subprocess.run(["bash", "-c", here], cwd=DEPLOY, capture_output=True, text=True, check=True, timeout=120)
    assert re.search(r"Complete requests: +100\n", done.stdout)
    assert re.search(r"Failed requests: +0\n", done.stdout) or "(Connect: 0, Receive: 0," in done.stdout  # a length
    assert "Non-2xx" not in done.stdout


def test_an_update_replaces_every_replica_and_fails_no_request(deployed: Deployment, figure: Figure) -> None:
    docker("build", "-q", "-t", NEW, "-", text=f"FROM {DIAGNOSIS}\nLABEL tests.version=new\n")
    deployed.up("--scale", "tcm-diagnosis=2", "--no-recreate", "tcm-diagnosis")
    old = deployed.containers("tcm-diagnosis")
    try:
        with load(f"{deployed.url('tcm-diagnosis')}/diagnose", SYMPTOMS) as told:
            done = deployed.run("update", "tcm-diagnosis", TCM_DIAGNOSIS_IMAGE=NEW)
        assert done.returncode == 0, done.stdout + done.stderr
        new = deployed.containers("tcm-diagnosis")
        assert len(new) == 2
        assert not set(new) & set(old)
        assert {inspected(container)["Image"] for container in new} == {inspected(NEW)["Id"]}
        assert told.failed == {}
        figure(f"0 failed of {told.statuses[200]}, the slowest {told.slowest:.1f} s", goal="0 failed")
    finally:
        deployed.up("--scale", "tcm-diagnosis=1", "tcm-diagnosis")
        docker("image", "rm", NEW)


def test_an_update_to_what_never_becomes_healthy_leaves_the_old_replicas(deployed: Deployment) -> None:
    old = deployed.containers("tcm-diagnosis")
    bad = "tests/tcm-diagnosis:bad"
    docker("build", "-q", "-t", bad, "-", text=f'FROM {DIAGNOSIS}\nENTRYPOINT ["sleep", "1000"]\nCMD []\n')
    try:
        done = deployed.run("update", "tcm-diagnosis", TCM_DIAGNOSIS_IMAGE=bad, HEALTHY_SECONDS="5")
        assert done.returncode == 1
        assert "the old ones serve on" in done.stderr
        assert deployed.containers("tcm-diagnosis") == old
        with deployed.client() as client:
            assert client.post("/diagnose", json=SYMPTOMS).status_code == 200
    finally:
        docker("image", "rm", "-f", bad)


def test_an_update_clears_away_what_one_that_was_killed_and_what_was_stopped_left(deployed: Deployment) -> None:
    deployed.up("--scale", "tcm-diagnosis=2", "--no-recreate", "tcm-diagnosis")
    stopped, serving = deployed.containers("tcm-diagnosis")
    docker("stop", stopped)
    slow = "tests/tcm-diagnosis:slow"
    docker("build", "-q", "-t", slow, "-", text=f'FROM {DIAGNOSIS}\nENTRYPOINT ["sleep", "1000"]\nCMD []\n')
    try:
        with subprocess.Popen(
            [DEPLOY / "update", "tcm-diagnosis"], env={**deployed.variables, "TCM_DIAGNOSIS_IMAGE": slow}
        ) as killed:
            deadline = time.monotonic() + 60
            while not (hidden := set(deployed.containers("tcm-diagnosis")) - {serving}):
                assert killed.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
            killed.kill()
        done = deployed.run("update", "tcm-diagnosis")
        assert done.returncode == 0, done.stdout + done.stderr
        label = f"label=com.docker.compose.project={deployed.project}"
        every = docker("ps", "-aq", "--no-trunc", "--filter", label, "--filter", f"ancestor={DIAGNOSIS}").split()
        assert every == deployed.containers("tcm-diagnosis")
        assert len(every) == 1
        assert not set(every) & {stopped, serving, *hidden}
        with deployed.client() as client:
            assert client.post("/diagnose", json=SYMPTOMS).status_code == 200
    finally:
        docker("image", "rm", "-f", slow)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may kill what the engine runs")
def test_a_replica_that_is_killed_at_work_fails_no_request_and_comes_back(deployed: Deployment, figure: Figure) -> None:
    deployed.up("--scale", "summarization=2", "summarization")
    victim = deployed.containers("summarization")[0]
    long = {"text": "\n".join(f"The harbour of town {number} is rebuilt for {number} euros." for number in range(5000))}
    with load(f"{deployed.url('summarization')}/summarize/text", long) as told:
        deadline = time.monotonic() + 120
        while sum(told.statuses.values()) < 4:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        os.kill(inspected(victim)["State"]["Pid"], signal.SIGKILL)
        while inspected(victim)["RestartCount"] != 1 or health(victim) != "healthy":
            assert time.monotonic() < deadline
            time.sleep(0.2)
    assert told.failed == {}
    again = [request for request in deployed.requests() if " : " in request["upstream"]]
    assert again
    figure(f"0 failed of {told.statuses[200]}, {len(again)} asked again elsewhere", goal="0 failed")
