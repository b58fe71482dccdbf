"""What a container is asked of the engine for, and what its end says; no engine is needed to know."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from management.backends.docker.container import archive, ended, limits
from management.backends.docker.images import unfit
from management.backends.docker.secret_file import user_id
from management.backends.docker.settings import DockerSettings
from management.domain.records import Resources
from tests.doubles.launchers import launch


def test_gpus_are_those_that_the_server_itself_may_see(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-3")
    (asked,) = limits(replace(launch(), gpus=(0, 1)), 8, DockerSettings(), 4096)["device_requests"]
    assert asked["DeviceIDs"] == ["2", "GPU-3"]


@pytest.mark.parametrize(("millicores", "nano"), [(1, 10_000_000), (1500, 1_500_000_000), (9000, 4_000_000_000)])
def test_cpu_is_what_an_engine_of_four_cores_can_give(millicores: int, nano: int, tmp_path: Path) -> None:
    asked = replace(launch(), resources=Resources(millicores, 2**27, 0))
    assert limits(asked, 4, DockerSettings(), 4096)["nano_cpus"] == nano


@pytest.mark.parametrize(
    ("state", "reason", "crashed"),
    [
        ({"ExitCode": 3}, "the container ended with exit status 3", True),
        ({"ExitCode": 137}, "the container was killed", False),
        ({"ExitCode": 137, "OOMKilled": True}, "it was killed for using more than its 1024Mi of memory", True),
    ],
)
def test_an_end_has_its_reason(state: dict[str, Any], reason: str, *, crashed: bool) -> None:
    look = ended(state, 2**30)
    assert (look.reason, look.crashed) == (reason, crashed)


@pytest.mark.parametrize("user", ["", "0", "00", "+0", "root", "0:1034", " 0"])
def test_an_image_of_roots_is_unfit_however_it_is_written(user: str) -> None:
    assert unfit({"Config": {"Env": ["A", "BENTO_PATH=/bento"], "User": user}}) == "image_root"
    assert unfit({"Config": {"Env": ["A", "BENTO_PATH=/bento"], "User": "1034"}}) is None
    assert unfit({"Config": {"Env": ["A", "BENTO_PATH="], "User": "1034"}}) == "image_foreign"


PASSWD = b"root:x:0:0:root:/root:/bin/sh\nbentoml:x:1034:1034::/home/bentoml:/bin/sh\nbroken\n"


@pytest.mark.parametrize(
    ("user", "number"),
    [("bentoml", 1034), ("bentoml:bentoml", 1034), ("1000", 1000), ("1000:0", 1000), ("ghost", None)],
)
def test_the_user_who_reads_the_secrets_is_known_by_number(user: str, number: int | None) -> None:
    assert user_id(user, PASSWD) == number


def test_a_private_file_belongs_to_that_user_alone() -> None:
    with tarfile.open(fileobj=io.BytesIO(archive("atelier", {"host.py": b"code"}, {"secrets": b"value"}, 1034))) as tar:
        modes = {member.name: (oct(member.mode), member.uid) for member in tar}
    assert modes == {
        "atelier": ("0o755", 0),
        "atelier/host.py": ("0o444", 0),
        "atelier/secrets": ("0o600", 1034),
    }
