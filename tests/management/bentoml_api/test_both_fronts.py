"""Whatever is done through either front, both tell the same of it, and it is what was asked for."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from management.bentoml_api import PREFIX
from management.domain.strategy import Strategy
from tests.support.chains.client_platform import BAD, ClientPlatform, add_bentos
from tests.support.chains.fuzz import Fuzzed, fuzzed
from tests.support.chains.wishes import Wish, client_body, documented_body, of_client, of_documented
from tests.support.running.effort import effort

WALKS: Final = effort(30, 10)
STEPS: Final = 20
LOOKS: Final = 200
"""Looks at a deployment until it holds still for one at both fronts."""
NAMES: Final = ("one", "two")
WORDS: Final = {
    "running": {"running", "deploying", "unhealthy", "image-building"},
    "pending": {"image-building", "deploying", "unhealthy"},
    "failed": {"failed", "image-build-failed"},
    "stopped": {"scaled-to-zero", "terminating", "terminated"},
}
"""The client's words for a status that fit each status of the documented API."""
SETTLED: Final = {"running", "unhealthy", "failed", "terminated"}
"""The words for what stays as it is."""
RESOURCES: Final = {"cpu": "100m", "memory": "128Mi"}

names = st.sampled_from(NAMES)
versions = st.sampled_from(["1.0.0", "2.0.0"])
variables = st.dictionaries(st.sampled_from(["APP_A", "APP_B", "APP_C"]), st.sampled_from(["", "1", "x y"]), max_size=3)
labels = st.dictionaries(st.sampled_from(["team", "stage"]), st.sampled_from(["", "vision", "\u4f60"]), max_size=2)
strategies = st.sampled_from([strategy.value for strategy in Strategy])
secrets = st.sampled_from([[], ["hf"], ["s3", "hf"]])
bounds = st.tuples(st.integers(0, 2), st.integers(1, 3)).map(lambda pair: (min(pair), max(pair)))
concurrencies = st.sampled_from([None, 5])
wishes = st.builds(Wish, versions, bounds, variables, labels, strategies, st.booleans(), secrets, concurrencies)


@pytest.fixture(scope="module")
def api() -> Iterator[Fuzzed]:
    quick = {"drain_seconds": 0, "retry_seconds": 0.001, "start_attempts": 1, "cpus": 16, "memory": "16Gi"}
    with fuzzed(ClientPlatform, **quick) as running:
        add_bentos(running.platform.settings.storage.home)
        for name in ("hf", "s3"):
            put = running.ask("PUT", f"/api/v1/secrets/{name}", {"variables": {"HF_TOKEN": name}})
            assert put.status_code < 300, put.content
        yield running


def documented(api: Fuzzed, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Status and body of an answer of the documented API."""
    answer = api.ask(method, f"/api/v1/models{path}", body)
    return answer.status_code, json.loads(answer.content)


def client(api: Fuzzed, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Status and body of an answer to BentoML's client."""
    answer = api.ask(method, f"{PREFIX}/api/v2/deployments{path}", body)
    return answer.status_code, json.loads(answer.content)


def settled(api: Fuzzed, name: str) -> str:
    """Wait until a deployment is what it stays, and return the client's word for it."""
    for _ in range(LOOKS):
        word = str(client(api, "GET", f"/{name}")[1]["status"])
        if word in SETTLED:
            return word
        time.sleep(0.05)
    raise AssertionError(word)


class BothFronts(RuleBasedStateMachine):
    """Calls of either front; after each, both tell the same."""

    api: Fuzzed

    @initialize()
    def begin(self) -> None:
        self.wishes: dict[str, Wish | None] = {}
        """What each deployment is to be; None for one whose update may have been rolled back."""
        for name in NAMES:
            self.gone(name)

    def gone(self, name: str) -> None:
        assert documented(self.api, "DELETE", f"/{name}?force=true&wait=30")[0] in (200, 404)

    def outcome(self, name: str, status: int, told: Any, *, there: bool) -> bool:
        """Whether a change of a deployment was made: it is, if the deployment is ``there``, and refused else."""
        assert (status < 300) == there, (name, status, told)
        return there

    # Changes

    @rule(name=names, by_client=st.booleans(), wish=wishes)
    def deploy(self, name: str, by_client: bool, wish: Wish) -> None:
        if by_client:
            status, told = client(self.api, "POST", "", client_body(wish) | {"name": name})
        else:
            about = {"model_id": name, "name": "Echo", "model_type": "multimodal", "framework": "onnx"}
            config = documented_body(wish) | about | {"resource_requirements": RESOURCES}
            status, told = documented(self.api, "POST", "/deploy", {"config": config})
        if self.outcome(name, status, told, there=name not in self.wishes):
            self.wishes[name] = wish
        else:
            assert (status, code_of(told)) == (409, "MODEL_ALREADY_EXISTS")

    @rule(name=names, by_client=st.booleans(), wish=wishes)
    def update(self, name: str, by_client: bool, wish: Wish) -> None:
        """Describe it anew as a whole, which starts it if the client does so."""
        if by_client:
            status, told = client(self.api, "PUT", f"/{name}", client_body(wish))
        else:
            removed = dict.fromkeys(["APP_A", "APP_B", "APP_C"])
            status, told = documented(self.api, "PUT", f"/{name}", {"config": documented_body(wish, removed)})
        self.expect(name, status, told, wish)
        if by_client and name in self.wishes:
            assert self.desired(name) >= 1 or wish.bounds[1] == 0

    @precondition(lambda self: self.wishes)
    @rule(chance=st.randoms(use_true_random=False), by_client=st.booleans(), settles=st.booleans())
    def update_to_what_fails(self, chance: Random, by_client: bool, settles: bool) -> None:
        """Its replicas end at once: it fails, or what was there before serves on."""
        name, bad = chance.choice(sorted(self.wishes)), Wish(BAD, (1, 1))
        if by_client:
            status, told = client(self.api, "PUT", f"/{name}", client_body(bad))
        else:
            status, told = documented(self.api, "PUT", f"/{name}", {"config": documented_body(bad, {})})
        self.expect(name, status, told, None)
        if settles:
            settled(self.api, name)

    @rule(name=names, new=labels)
    def relabel(self, name: str, new: dict[str, str]) -> None:
        status, told = documented(self.api, "PUT", f"/{name}", {"config": {"labels": new}})
        wish = self.wishes.get(name)
        self.expect(name, status, told, None if wish is None else replace(wish, labels=new))

    @rule(name=names, by_client=st.booleans())
    def stop(self, name: str, by_client: bool) -> None:
        if by_client:
            status, told = client(self.api, "POST", f"/{name}/terminate")
        else:
            status, told = documented(self.api, "POST", f"/{name}/scale", {"replicas": 0})
        self.expect(name, status, told, self.wishes.get(name))

    @rule(name=names)
    def start(self, name: str) -> None:
        status, told = client(self.api, "PUT", f"/{name}/void_update")
        self.expect(name, status, told, self.wishes.get(name))
        assert name not in self.wishes or self.desired(name) >= 1

    @rule(name=names, by_client=st.booleans())
    def delete(self, name: str, by_client: bool) -> None:
        status, told = (client if by_client else documented)(self.api, "DELETE", f"/{name}")
        self.outcome(name, status, told, there=name in self.wishes)
        self.gone(name)
        self.wishes.pop(name, None)

    def expect(self, name: str, status: int, told: Any, wish: Wish | None) -> None:
        """The deployment is to be so, if there is one; else the change was refused as any of a missing one."""
        if self.outcome(name, status, told, there=name in self.wishes):
            self.wishes[name] = wish
        else:
            assert (status, code_of(told)) == (404, "MODEL_NOT_FOUND")

    @precondition(lambda self: self.wishes)
    @rule()
    def settle_all(self) -> None:
        for name in self.wishes:
            settled(self.api, name)

    # What both tell

    @invariant()
    def the_same_deployments_exist(self) -> None:
        if not hasattr(self, "wishes"):
            return
        listed = client(self.api, "GET", "")[1]["items"]
        assert {each["name"] for each in listed} == self.wishes.keys()
        assert {each["model_id"] for each in documented(self.api, "GET", "")[1]} == self.wishes.keys()
        for label in ("team=vision", "stage="):
            key, _, value = label.partition("=")
            found = client(self.api, "GET", f"?q=label:{label}")[1]["items"]
            having = [name for name, wish in self.wishes.items() if wish and wish.labels.get(key) == value]
            assert {each["name"] for each in found} >= set(having)

    @invariant()
    def both_tell_the_same(self) -> None:
        for name in NAMES if hasattr(self, "wishes") else ():
            if name in self.wishes:
                self.compare(name, self.wishes[name])
            else:
                assert documented(self.api, "GET", f"/{name}/status")[0] == 404
                assert client(self.api, "GET", f"/{name}")[0] == 404

    def compare(self, name: str, wish: Wish | None) -> None:
        for _ in range(LOOKS):
            told, other, again = self.status(name), client(self.api, "GET", f"/{name}")[1], self.status(name)
            if told == again:
                break
        else:
            raise AssertionError("it never holds still")
        assert other["status"] in WORDS[told["status"]], told
        assert (other["name"], other["uid"]) == (told["model_id"], told["deployment_id"])
        assert other["urls"][0].endswith(f"/models/{name}")
        here, there = of_documented(told), of_client(other)
        assert here.variables.keys() == there.variables.keys()
        assert replace(here, variables={}) == replace(there, variables={})
        if wish is not None:
            assert there == wish

    def status(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = documented(self.api, "GET", f"/{name}/status")[1]
        kept = ("model_id", "deployment_id", "status", "config", "revision")
        return {key: found[key] for key in kept} | {"desired": found["replicas"]["desired"]}

    def desired(self, name: str) -> int:
        return int(self.status(name)["desired"])


def code_of(told: dict[str, Any]) -> str:
    """The code of an error of either front."""
    return str(told["code"] if "code" in told else told["error"]["code"])


@pytest.mark.slow
def test_both_fronts_tell_the_same_whichever_a_change_came_through(api: Fuzzed) -> None:
    BothFronts.api = api
    walks = settings(
        max_examples=WALKS,
        stateful_step_count=STEPS,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(BothFronts, settings=walks)


def test_each_status_has_its_words_at_both_fronts(api: Fuzzed) -> None:
    def told(name: str) -> tuple[str, str]:
        word = settled(api, name)
        return documented(api, "GET", f"/{name}/status")[1]["status"], word

    good, bad = (client_body(Wish(version, (1, 1))) for version in ("1.0.0", BAD))
    assert client(api, "POST", "", bad | {"name": "never"})[0] == 200
    assert told("never") == ("failed", "failed")
    assert client(api, "POST", "/never/terminate")[0] == 200
    assert told("never") == ("stopped", "terminated")
    assert client(api, "POST", "", good | {"name": "once"})[0] == 200
    assert told("once") == ("running", "running")
    assert client(api, "PUT", "/once", bad)[0] == 200
    assert told("once") == ("running", "unhealthy")
    assert client(api, "PUT", "/never", good)[0] == 200
    assert told("never") == ("running", "running")
    for name in ("never", "once"):
        assert documented(api, "DELETE", f"/{name}?force=true&wait=30")[0] == 200
