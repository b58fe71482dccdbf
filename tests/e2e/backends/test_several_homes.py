"""Control planes with homes of their own, one PostgreSQL and one bucket: each does what another has begun."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from management.domain.bento_tag import StoredKind
from management.packaging.archives.pack import pack
from management.store import Store
from tests.e2e.backends.conftest import ON_NODES
from tests.e2e.backends.engines import Engine
from tests.e2e.backends.operations import WAIT_SECONDS, deployed, none_failed, scaled, under_load, updated
from tests.management.several.planes import planes
from tests.support.calls import infer, until
from tests.support.management_servers import Management
from tests.support.object_stores import VARIABLES, Bucket, temporary_bucket
from tests.support.running.figures import Figure
from tests.support.victims import ready

pytestmark = pytest.mark.postgresql


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with temporary_bucket() as found:
        yield found


@pytest.mark.parametrize("engine", [pytest.param("docker", marks=pytest.mark.docker), *ON_NODES], indirect=True)
def test_what_one_began_another_ends(
    engine: Engine, bucket: Bucket, postgresql_url: str, echo_bentos: Path, figure: Figure
) -> None:
    variables = {"ATELIER_DATABASE_URL": postgresql_url, "ATELIER_LEASE_SECONDS": "3", **engine.environment()}
    with planes(bucket.url("homes"), **VARIABLES, **variables) as found:
        first, second = found.join("a"), found.join("b")
        push(first, echo_bentos, "1.0.0")
        push(second, echo_bentos, "2.0.0")
        with second.client() as api:
            deployed(api, 2, engine.room)
            before = ready(api)

            def succeed() -> None:
                led = holder(postgresql_url)
                os.kill(first.pid, signal.SIGKILL)
                until(lambda: holder(postgresql_url) != led)
                assert ready(api) == before
                scaled(api, 3)
                updated(api, "2.0.0")

            traffic = under_load(second, succeed)
        third = found.join("c")
        with third.client() as api:
            assert infer(api, {"n": 1}).json()["output_data"]["version"] == "2.0.0"
            assert api.delete("/models/echo", params={"wait": WAIT_SECONDS}).status_code == 200
        until(lambda: not engine.left(second.home), WAIT_SECONDS)
    figure(f"a killed leader, a third replica, an update from another home: {none_failed(traffic)}", goal="0 failed")


def push(plane: Management, bentos: Path, version: str) -> None:
    """Push the echo to a control plane, whose home alone has it until then."""
    archive = b"".join(pack(bentos / "bentos" / "echo" / version, StoredKind.BENTO).pieces())
    with plane.client() as client:
        answer: httpx.Response = client.post("/bentos", content=archive, headers={"Content-Type": "application/x-tar"})
    assert answer.status_code == 201, answer.text


def holder(url: str) -> str:
    """Return who holds the lease."""
    with closing(Store(url)) as store, store.reading() as session:
        lease = session.leases.get()
    return "" if lease is None else lease.held_by
