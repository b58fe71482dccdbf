"""Calls that BentoML's client would not make, and stores that others filled: each is answered all the same."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import yaml  # type: ignore[import-untyped]
from starlette.types import Message, Scope

from management.bentoml_api import PREFIX
from management.errors import StoreUnavailable
from tests.support.chains.client_platform import ClientPlatform, add_bentos, exchange
from tests.support.chains.fuzz import Fuzzed, fuzzed
from tests.support.management_servers import KEY, echo_config


@pytest.fixture(scope="module")
def api() -> Iterator[Fuzzed]:
    with fuzzed(ClientPlatform, cpus=16, memory="16Gi", drain_seconds=0) as running:
        add_bentos(running.platform.settings.storage.home)
        yield running


def ask(api: Fuzzed, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Status and body of an answer."""
    answer = api.ask(method, f"{PREFIX}/api/{path}", body)
    return answer.status_code, json.loads(answer.content)


@pytest.mark.parametrize("end", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "soon"])
def test_a_token_that_ends_where_no_calendar_reaches_is_refused(api: Fuzzed, end: str) -> None:
    status, told = ask(api, "POST", "v1/api_tokens", {"name": "far", "expired_at": end})
    assert (status, told["code"]) == (400, "INVALID_REQUEST")
    assert "expired_at" in told["error"]


def test_a_tokens_end_is_told_in_utc(api: Fuzzed) -> None:
    status, told = ask(api, "POST", "v1/api_tokens", {"name": "near", "expired_at": "2100-01-01T02:00:00+02:00"})
    assert (status, told["expired_at"]) == (200, "2100-01-01T00:00:00.000+00:00")


def keep(api: Fuzzed, kind: str, tag: str, **content: Any) -> None:
    """Write the file of a Bento or a model into the store, past all checks."""
    name, version = tag.split(":")
    folder = api.platform.settings.storage.home / kind / name / version
    folder.mkdir(parents=True)
    (folder / f"{kind[:-1]}.yaml").write_text(yaml.safe_dump({"name": name, "version": version, **content}))


NEVER = ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "yesterday", 5]


@pytest.mark.parametrize(("version", "created"), list(enumerate(NEVER)))
def test_what_was_made_at_no_time_of_utc_is_listed(api: Fuzzed, version: int, created: Any) -> None:
    for kind in ("bentos", "models"):
        keep(api, kind, f"timeless:{version}", creation_time=created)
        assert ask(api, "GET", f"v1/{kind}")[0] == 200
        assert ask(api, "GET", f"v1/{kind[:-1]}_repositories/timeless/{kind}")[0] == 200
    documented = json.loads(api.ask("GET", f"/api/v1/bentos/timeless/{version}").content)
    assert documented["created_at"] is None


def talk(api: Fuzzed, path: str, *said: str | bytes) -> list[Message]:
    """What is sent on a websocket to a caller who says this, and leaves."""
    scope: Scope = {
        **{"type": "websocket", "path": f"{PREFIX}/ws/{path}", "headers": [(b"x-api-key", KEY.encode())], "state": {}},
        **{"query_string": b"pod_name=none", "subprotocols": [], "client": ("127.0.0.1", 1), "scheme": "ws"},
    }
    pieces = ({"text": message} if isinstance(message, str) else {"bytes": message} for message in said)
    messages = [{"type": "websocket.connect"}, *({"type": "websocket.receive"} | piece for piece in pieces)]
    return asyncio.run_coroutine_threadsafe(exchange(api, scope, messages, 0.1), api.loop).result(30)


def test_the_log_of_a_pod_is_asked_for_by_text_alone(api: Fuzzed) -> None:
    sent = talk(api, "v1/clusters/default/tail", b"\xff", '{"type": "data", "payload": {}}')
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.send", "websocket.close"]
    assert json.loads(sent[1]["text"])["type"] == "error"
    assert sent[2]["code"] == 1000


@pytest.mark.parametrize("odd", [5, "text", {"a": 1}, None])
def test_a_bento_whose_file_lists_nothing_is_shown(api: Fuzzed, odd: Any) -> None:
    tag = f"listless:{type(odd).__name__.lower()}"
    keep(api, "bentos", tag, envs=odd, image=odd, spec=odd)
    status, told = ask(api, "GET", f"v1/bento_repositories/listless/bentos/{tag.partition(':')[2]}")
    assert (status, told["manifest"]["envs"]) == (200, [])


def deployment(**changes: Any) -> dict[str, Any]:
    """The body of a deployment of the echo."""
    return {"name": "odd", "bento": "echo:1.0.0"} | changes


@pytest.mark.parametrize("value", ["9" * 5000, "9" * 30, "\u00b2", "1e3", "", 1.5, True, [], 2**64 - 1])
def test_what_scaling_cannot_aim_at_is_refused(api: Fuzzed, value: Any) -> None:
    metrics = {"policy": {"metrics": [{"type": "concurrency", "value": value}]}}
    status, told = ask(api, "POST", "v2/deployments", deployment(services={"Echo": {"scaling": metrics}}))
    assert (status, told["code"]) == (400, "INVALID_MODEL_CONFIG"), told


def test_an_error_is_short_whatever_it_names(api: Fuzzed) -> None:
    services = {f"{'x' * 3000}{number}": {"extras": {"a": 1}, "instance_type": "cpu.small"} for number in range(500)}
    status, told = ask(api, "POST", "v2/deployments", deployment(services=services))
    assert (status, told["code"]) == (400, "INVALID_MODEL_CONFIG")
    assert len(told["error"]) < 20_000


@pytest.mark.parametrize(
    "changes",
    [
        {"services": {"record not found": {"extras": {"a": 1}}, "Echo": {}}},
        {"labels": [{"key": "record not found", "value": "\x1b"}]},
    ],
)
def test_no_error_has_the_words_that_the_client_takes_for_404(api: Fuzzed, changes: dict[str, Any]) -> None:
    status, told = ask(api, "POST", "v2/deployments", deployment(**changes))
    assert (status, told["code"]) == (400, "INVALID_MODEL_CONFIG")
    assert "record not found" not in told["error"]


def test_a_service_with_an_unprintable_name_is_named_in_print(api: Fuzzed) -> None:
    _, told = ask(api, "POST", "v2/deployments", deployment(services={"\x1b[2J": {"extras": {"a": 1}}, "Echo": {}}))
    assert told["error"].isprintable()


def test_a_list_reads_the_records_once_however_long_it_is(api: Fuzzed, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        assert ask(api, "POST", "v2/deployments", deployment(name=f"listed-{number}"))[0] == 200
    reads: list[object] = []
    read = api.platform.store.read

    async def counted(work: Any) -> Any:
        if "catalog" in work.__module__ or "bentos" in work.__module__:
            reads.append(work)
        return await read(work)

    monkeypatch.setattr(api.platform.store, "read", counted)
    status, told = ask(api, "GET", "v2/deployments?search=listed")
    assert (status, told["total"], len(reads)) == (200, 5, 1)


def update_of_both_fronts(api: Fuzzed, image: str) -> tuple[tuple[int, str], tuple[int, str]]:
    """Status and code with which each front refuses the Bento for the deployment ``taken``."""
    documented = api.ask("PUT", "/api/v1/models/taken", {"config": {"docker_image": f"bentos/{image}"}})
    status, told = ask(api, "PUT", "v2/deployments/taken", {"bento": image})
    return (documented.status_code, json.loads(documented.content)["error"]["code"]), (status, told["code"])


def test_an_update_to_another_type_of_model_is_refused_as_by_the_documented_api(api: Fuzzed) -> None:
    assert ask(api, "POST", "v2/deployments", {"name": "taken", "bento": "diagnosis:1.0.0"})[0] == 200
    documented, client = update_of_both_fronts(api, "herbs:1.0.0")
    assert documented == client == (400, "INVALID_MODEL_CONFIG")
    assert ask(api, "DELETE", "v2/deployments/taken")[0] == 200


def test_an_update_to_a_bento_without_the_chosen_api_is_refused_as_by_the_documented_api(api: Fuzzed) -> None:
    greets = {"name": "Echo", "routes": [{"name": "greet", "route": "/greet"}]}
    keep(api, "bentos", "apis:1", entry_service="Echo", services=[{"name": "Echo"}], schema=greets)
    keep(api, "bentos", "apis:2", entry_service="Echo", services=[{"name": "Echo"}], schema=greets | {"routes": []})
    config = echo_config("taken", docker_image="bentos/apis:1", version="1", default_api="greet")
    assert api.ask("DELETE", "/api/v1/models/taken?wait=30&force=true").status_code in (200, 404)
    assert api.ask("POST", "/api/v1/models/deploy", {"config": config}).status_code == 202
    documented, client = update_of_both_fronts(api, "apis:2")
    assert documented == client == (400, "INVALID_MODEL_CONFIG")


def test_a_login_whose_token_was_revoked_cannot_be_repeated(api: Fuzzed) -> None:
    code = ask(api, "GET", "v1/auth/code")[1]["code"]
    page = f"http://testserver/api_tokens?code={code}"
    form = requests.Request("POST", page, data={"key": KEY}).prepare
    assert api.send(form()).status_code == 200
    (token,) = ask(api, "GET", "v1/api_tokens?search=login")[1]["items"]
    assert ask(api, "DELETE", f"v1/api_tokens/{token['uid']}")[0] == 200
    assert api.send(form()).status_code == 404
    assert ask(api, "GET", "v1/api_tokens?search=login")[1]["items"] == []


@pytest.mark.parametrize("path", ["v2/deployments/odd/pods", "v1/clusters/default/pods", "v1/clusters/default/tail"])
def test_a_websocket_tells_that_the_database_is_away(api: Fuzzed, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(_: Any) -> Any:
        raise StoreUnavailable

    monkeypatch.setattr(api.platform.store, "read", fails)
    sent = talk(api, path, '{"type": "data"}')
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.send", "websocket.close"]
    told = json.loads(sent[1]["text"])
    assert (told["type"], "database" in told["message"]) == ("error", True)


@pytest.mark.parametrize("path", ["$BENTOML_HOMEs", "$BENTOML_HOME..", "$BENTOML_HOME/../x", "BENTOML_HOME", "/"])
def test_files_of_a_secret_are_below_the_home(api: Fuzzed, path: str) -> None:
    content = {"type": "mountfile", "path": path, "items": [{"key": "a.json", "value": "{}"}]}
    status, told = ask(api, "POST", "v1/org_secrets", {"name": "files", "content": content})
    assert (status, "must be a folder below $BENTOML_HOME" in told.get("error", "")) == (400, True)


def described(api: Fuzzed, path: str, name: str) -> str:
    """The description that a list of the client shows."""
    (item,) = ask(api, "GET", f"v1/{path}?search={name}")[1]["items"]
    return str(item["description"])


def test_descriptions_are_kept_until_there_is_another(api: Fuzzed) -> None:
    content = {"type": "env", "items": [{"key": "A_TOKEN", "value": "x"}]}
    assert ask(api, "POST", "v1/org_secrets", {"name": "told", "content": content, "description": "é 你"})[0] == 200
    assert described(api, "org_secrets", "told") == "é 你"
    assert ask(api, "PATCH", "v1/org_secrets/told", {"content": content})[0] == 200
    documented = json.loads(api.ask("GET", "/api/v1/secrets/told").content)
    assert documented["description"] == "é 你"
    for text in ("y" * 1000, ""):
        assert ask(api, "PATCH", "v1/org_secrets/told", {"content": content, "description": text})[0] == 200
        assert described(api, "org_secrets", "told") == text
    assert json.loads(api.ask("GET", "/api/v1/secrets/told").content)["version"] == documented["version"]
    assert ask(api, "POST", "v1/api_tokens", {"name": "told", "description": "builds"})[0] == 200
    assert described(api, "api_tokens", "told") == "builds"


@pytest.mark.parametrize("text", ["y" * 1001, "a\x1b[2J", "a\nb", "\u202e", 5])
def test_a_description_is_short_and_printable(api: Fuzzed, text: Any) -> None:
    content = {"type": "env", "items": []}
    for path, given in (("org_secrets", {"name": "odd", "content": content}), ("api_tokens", {"name": "odd"})):
        status, told = ask(api, "POST", f"v1/{path}", given | {"description": text})
        assert (status, told["error"].isprintable(), "description" in told["error"]) == (400, True, True)
