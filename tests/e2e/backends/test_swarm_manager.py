"""A swarm without its manager: models answer on, changes wait or are refused, and are made when it is back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.backends.engines import Swarm
from tests.e2e.backends.operations import deployed
from tests.support.calls import deploy, infer, until
from tests.support.chains.chain import chain
from tests.support.swarm.nodes import Nodes
from tests.support.victims import ready

pytestmark = pytest.mark.swarm


def test_replicas_answer_while_there_is_no_manager(swarm: Nodes, home: Path, echo_bentos: Path) -> None:
    engine = Swarm(swarm)
    with chain(echo_bentos, home, **engine.environment()) as servers, servers.start().server.client() as api:
        swarm.update(swarm.manager, "--availability", "pause")  # so that the replica is on the other node
        deployed(api, 1, engine.room)
        assert set(engine.places(home).values()) == {swarm.worker.name}
        swarm.update(swarm.manager, "--availability", "active")
        swarm.manager.kill()
        try:
            until(lambda: api.get("/health").json()["backend_state"] == "unavailable")
            for _ in range(20):
                assert infer(api, {"n": 1}).status_code == 200
            refused = deploy(api, "other", resource_requirements=engine.room)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "BACKEND_UNAVAILABLE")
            assert api.post("/models/echo/scale", json={"replicas": 2}).status_code == 202
        finally:
            swarm.manager.start()
        until(lambda: api.get("/health").json()["backend_state"] == "ok")
        until(lambda: len(ready(api)) == 2)
        assert api.delete("/models/echo", params={"wait": 60}).status_code == 200
        until(lambda: not engine.left(home))
