"""A service is edited while it runs, by BentoML's own REST client: what it sends, waits for and reads."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator

import httpx
import pytest
from bentoml._internal.cloud.client import RestApiClient
from bentoml._internal.cloud.schemas.schemasv2 import UploadDeploymentFileSchema, UploadDeploymentFilesSchema
from bentoml.exceptions import CloudRESTApiClientError

from tests.support.bentos.codespaces import Space, manifest, source
from tests.support.calls import until
from tests.support.management_servers import KEY, Management

pytestmark = pytest.mark.server

START_SECONDS = 60


@pytest.fixture(scope="module")
def client(server: Management) -> Iterator[RestApiClient]:
    """BentoML's own REST client."""
    rest = RestApiClient(server.url, KEY)
    yield rest
    rest.session.close()


@pytest.fixture
def space(client: RestApiClient, api: httpx.Client) -> Space:
    """A codespace without files; it is deleted at the end with all that was deployed."""
    created = Space(client, "space")
    assert created.change("POST", created.announce("a")).status_code == 200
    return created


def running(space: Space, word: str = "Hello") -> Space:
    """Return the codespace once it greets with that word."""
    space.send(service_py=source(word), requirements_txt=b"bentoml\n", notes_txt=b"n")
    space.complete()
    until(lambda: space.greets() == f"{word}, Ann", START_SECONDS)
    return space


def test_it_waits_for_files_and_each_edit_replaces_what_runs(space: Space, client: RestApiClient) -> None:
    assert space.status == "deploying"
    (pod,) = client.v2.list_deployment_pods("space", "default")
    assert (pod.status.phase, pod.labels) == ("Running", {"yatai.ai/bento-function-component-type": "api-server"})
    space.send(service_py=b"raise SystemExit('not whole yet')")
    assert space.status == "deploying", "nothing starts before all files are there"
    running(space)
    assert space.status == "running"
    space.send(service_py=source("Servus"))
    until(lambda: space.greets() == "Servus, Ann", START_SECONDS)
    files = {file.path: file.size for file in client.v2.list_files("space", cluster="default").files}
    assert files == {"service.py": len(source("Servus")), "requirements.txt": 8, "notes.txt": 1}
    space.remove("notes.txt")
    assert [file.path for file in client.v2.list_files("space", cluster="default").files] == [
        "requirements.txt",
        "service.py",
    ]


def test_an_edit_that_does_not_start_leaves_what_runs_and_the_log_says_why(space: Space, client: RestApiClient) -> None:
    running(space)
    lines: list[str] = []
    stop = threading.Event()

    def tail() -> None:
        for piece in client.v2.tail_logs(
            cluster_name="default",
            namespace="default",
            pod_name="codespace.space",
            container_name="main",
            stop_event=stop,
        ):
            lines.append(base64.b64decode(piece).decode())

    reading = threading.Thread(target=tail, daemon=True)
    reading.start()
    space.send(service_py=b"raise SystemExit('the editor slipped')")
    until(lambda: "the editor slipped" in "".join(lines), START_SECONDS)
    assert space.greets() == "Hello, Ann"
    assert space.status in ("running", "deploying"), "its client would leave one that failed"
    space.send(service_py=source("Moin"))
    until(lambda: space.greets() == "Moin, Ann", START_SECONDS)
    stop.set()
    reading.join(START_SECONDS)


def test_another_manifest_waits_for_its_files(space: Space) -> None:
    running(space)
    routes = manifest()["schema"]["routes"]
    schema = {**manifest()["schema"], "routes": [routes[0], {**routes[0], "name": "part", "route": "/part"}]}
    assert space.change("PUT", space.announce("b", schema=schema), "/space").status_code == 200
    space.send(service_py=source("Adieu").replace(b"def greet", b"def part"))
    assert space.greets() == "Hello, Ann"
    space.complete()
    until(lambda: space.greets("/part") == "Adieu, Ann", START_SECONDS)


def test_the_client_knows_its_codespaces_from_other_deployments(space: Space, client: RestApiClient) -> None:
    (listed,) = client.v2.list_deployment(cluster="default", q="is:dev").items
    assert (listed.name, listed.manifest.dev if listed.manifest else None) == ("space", True)
    assert client.v2.get_deployment("space", cluster="default").latest_revision is not None


def test_what_is_no_codespace_takes_no_files(space: Space, api: httpx.Client, pushed: None) -> None:
    other = Space(space.client, "other")
    body = {"bento": "echo:1.0.0", "name": "other", "services": {}}
    assert space.client.session.post(f"{space.client.endpoint}/api/v2/deployments", json=body).status_code == 200
    for refused in (
        lambda: other.send(service_py=b""),
        lambda: other.remove("a"),
        lambda: space.client.v2.list_files("other", cluster="default"),
    ):
        with pytest.raises(CloudRESTApiClientError, match="is not a codespace"):
            refused()
    assert "is not a codespace" in other.change("PUT", space.announce("c"), "/other").text
    assert space.change("POST", "hello:never").status_code == 404
    assert space.change("POST", space.announce("d")).status_code == 409, "the name is taken"


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x"])
def test_files_stay_in_their_codespace(space: Space, path: str) -> None:
    given = UploadDeploymentFilesSchema([UploadDeploymentFileSchema(path, "")])
    with pytest.raises(CloudRESTApiClientError, match="is not the path of a file"):
        space.client.v2.upload_files("space", given, cluster="default")
    with pytest.raises(CloudRESTApiClientError, match="is not base64"):
        space.client.v2.upload_files(
            "space", UploadDeploymentFilesSchema([UploadDeploymentFileSchema("a", "?")]), cluster="default"
        )


def test_a_deleted_codespace_leaves_nothing(space: Space, client: RestApiClient, api: httpx.Client) -> None:
    running(space)
    own = api.get("/models/space/status").json()["config"]["docker_image"].removeprefix("bentos/").partition(":")[0]
    assert [each["version"] for each in api.get("/bentos", params={"name": own}).json()] == ["1"]
    client.v2.delete_deployment("space", cluster="default")
    until(lambda: api.get("/models/space/status").status_code == 404)
    last = Space(client, "last")
    assert last.change("POST", last.announce("e")).status_code == 200
    assert api.get("/bentos", params={"name": own}).json() == []
