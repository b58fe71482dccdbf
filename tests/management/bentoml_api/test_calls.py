"""The calls of BentoML's client, made by its own REST client: uploads of every kind, pages, logs, refusals."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import httpx
import pytest
from bentoml._internal.cloud.client import RestApiClient
from bentoml._internal.cloud.schemas.modelschemas import ModelManifestSchema
from bentoml._internal.cloud.schemas.schemasv1 import (
    CompleteMultipartUploadSchema,
    CompletePartSchema,
    CreateModelSchema,
    FinishUploadSchema,
    PreSignMultipartUploadUrlSchema,
)
from bentoml.exceptions import CloudRESTApiClientError, NotFound

from tests.support.bentos.bento_archives import tar
from tests.support.calls import deploy, until
from tests.support.management_servers import KEY, Management

pytestmark = pytest.mark.server

MANIFEST = ModelManifestSchema("", "v1", "1.4.0", 10)


@pytest.fixture(scope="module")
def client(server: Management) -> Iterator[RestApiClient]:
    """BentoML's own REST client."""
    rest = RestApiClient(server.url, KEY)
    yield rest
    rest.session.close()


def described(name: str, version: str) -> bytes:
    """Return a model's ``model.yaml``."""
    created = "creation_time: '2026-01-01T00:00:00+00:00'"
    return f"name: {name}\nversion: '{version}'\nmodule: ''\napi_version: v1\n{created}\n".encode()


def model(name: str, version: str, content: bytes = b"x") -> bytes:
    """Return the archive of a model, as the client makes it."""
    return tar({"./model.yaml": described(name, version), "./weights.txt": content})


def announced(client: RestApiClient, name: str, version: str) -> None:
    client.v1.create_model(name, CreateModelSchema(description="", version=version, manifest=MANIFEST))


class InParts:
    """An upload of version 1 of a model in parts."""

    def __init__(self, client: RestApiClient, name: str) -> None:
        self._client, self._name = client, name
        self.id = str(client.v1.start_model_multipart_upload(name, "1").upload_id)

    def put(self, number: int, content: bytes) -> CompletePartSchema:
        """Send a part as the client does: to a URL that the server signs, without a key."""
        wanted = PreSignMultipartUploadUrlSchema(upload_id=self.id, part_number=number)
        url = self._client.v1.presign_model_multipart_upload_url(self._name, "1", wanted).presigned_upload_url
        answer = httpx.put(url, content=content, trust_env=False)
        assert answer.status_code == 200, answer.text
        return CompletePartSchema(part_number=number, etag=answer.headers["ETag"])

    def complete(self, *parts: CompletePartSchema) -> None:
        """Complete the upload."""
        whole = CompleteMultipartUploadSchema(parts=list(parts), upload_id=self.id)
        self._client.v1.complete_model_multipart_upload(self._name, "1", whole)


def pulled(client: RestApiClient, name: str, version: str) -> bytes:
    with client.v1.download_model(name, version) as answer:
        return answer.read()


def test_what_is_announced_is_not_listed_before_it_is_there(client: RestApiClient) -> None:
    announced(client, "early", "1")
    found = client.v1.get_model("early", "1")
    assert found is not None
    assert found.upload_status == "pending"
    assert client.v1.get_model_repository("early") is None
    listed = client.v1.get_models_list()
    assert listed is not None
    assert "early" not in {each.repository.name for each in listed.items}


def test_an_upload_in_parts_of_any_order(client: RestApiClient) -> None:
    announced(client, "parts", "1")
    upload, content = InParts(client, "parts"), model("parts", "1", b"y" * 9000)
    second = upload.put(2, content[5000:])
    upload.put(1, b"sent once more")
    upload.complete(second, upload.put(1, content[:5000]))
    client.v1.finish_upload_model("parts", "1", FinishUploadSchema("success", ""))
    found = client.v1.get_model("parts", "1")
    assert found is not None
    size = 9000 + len(described("parts", "1"))
    assert (found.upload_status, found.manifest.size_bytes) == ("success", size)
    assert b"y" * 9000 in pulled(client, "parts", "1")


def test_an_upload_at_a_signed_url_and_a_download_at_another(client: RestApiClient) -> None:
    announced(client, "signed", "1")
    url = client.v1.presign_model_upload_url("signed", "1").presigned_upload_url
    assert httpx.put(url, content=model("signed", "1"), trust_env=False).status_code == 200
    url = client.v1.presign_model_download_url("signed", "1").presigned_download_url
    answer = httpx.get(url, trust_env=False)
    assert answer.content == pulled(client, "signed", "1")
    assert int(answer.headers["content-length"]) == len(answer.content)


def test_an_upload_with_a_missing_part_is_refused_and_can_be_completed(client: RestApiClient) -> None:
    announced(client, "missing", "1")
    upload, content = InParts(client, "missing"), model("missing", "1")
    second = upload.put(2, content[4000:])
    with pytest.raises(CloudRESTApiClientError, match="400"):
        upload.complete(second)
    upload.complete(upload.put(1, content[:4000]), second)


def test_two_uploads_of_one_tag_do_not_mix(client: RestApiClient) -> None:
    announced(client, "twice", "1")
    one, other = InParts(client, "twice"), InParts(client, "twice")
    sent = {one: [], other: []}  # type: dict[InParts, list[CompletePartSchema]]
    for number, start in enumerate(range(0, 15_000, 5000), 1):
        for upload, letter in ((one, b"a"), (other, b"b")):
            piece = model("twice", "1", letter * 9000)[start : start + (5000 if number < 3 else 10**6)]
            sent[upload].append(upload.put(number, piece))
    other.complete(*sent[other])
    with pytest.raises(CloudRESTApiClientError, match="409"):
        one.complete(*sent[one])
    kept = pulled(client, "twice", "1")
    assert (b"b" * 9000 in kept, b"aa" in kept) == (True, False)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no archive", "archive"),
        (tar({"./weights.txt": b"x"}), "model.yaml"),
        (model("other", "1"), "other"),
    ],
    ids=["no archive", "no model", "another model"],
)
def test_what_is_not_the_announced_model_is_refused(client: RestApiClient, content: bytes, words: str) -> None:
    announced(client, "refused", "1")
    with BytesIO(content) as body, pytest.raises(CloudRESTApiClientError, match=f"422.*{words}"):
        client.v1.upload_model("refused", "1", body)
    found = client.v1.get_model("refused", "1")
    assert found is None or found.upload_status != "success"


@pytest.mark.parametrize("query", ["", "?id=", "?id=../../etc", "?id=" + "x" * 43, "?id=" + "x" * 43 + "&part=1"])
def test_an_upload_url_that_nobody_signed_is_404(server: Management, query: str) -> None:
    assert httpx.put(f"{server.url}/bentoml/uploads{query}", content=b"x", trust_env=False).status_code == 404
    assert httpx.get(f"{server.url}/bentoml/downloads{query}", trust_env=False).status_code == 404


def test_no_log_shows_what_makes_a_url_a_permission(client: RestApiClient, server: Management) -> None:
    announced(client, "logged", "1")
    url = client.v1.presign_model_upload_url("logged", "1").presigned_upload_url
    httpx.put(url, content=model("logged", "1"), trust_env=False)
    assert url.partition("id=")[2] not in server.log.read_text()


def test_lists_are_paged_and_searched(client: RestApiClient, api: httpx.Client, pushed: None) -> None:
    for name in ("one", "two", "other-one"):
        deploy(api, name, scaling_config={"min_replicas": 0, "max_replicas": 1}).raise_for_status()
    found = client.v2.list_deployment(count=2, start=0)
    assert (found.total, [each.name for each in found.items]) == (3, ["other-one", "two"])
    assert [each.name for each in client.v2.list_deployment(count=2, start=2).items] == ["one"]
    assert {each.name for each in client.v2.list_deployment(search="one").items} == {"one", "other-one"}


def test_pods_are_the_replicas_and_their_logs_are_followed(
    client: RestApiClient, api: httpx.Client, pushed: None
) -> None:
    deploy(api).raise_for_status()
    (pod,) = client.v2.list_deployment_pods("echo")
    assert (pod.status.phase, pod.status.ready, pod.runner_name) == ("Running", True, "Echo")
    lines: list[str] = []
    stop = threading.Event()

    def read() -> None:
        for piece in client.v2.tail_logs(
            cluster_name="default", namespace="atelier", pod_name=pod.name, stop_event=stop
        ):
            lines.append(base64.b64decode(piece).decode())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        until(lambda: "echo says" in "".join(lines) or _say(api))
    finally:
        stop.set()
        reader.join()


def _say(api: httpx.Client) -> bool:
    """Have the model write a line."""
    api.post("/models/echo/inference", json={"input_data": {"print": "echo says this"}})
    return False


def test_the_log_of_an_unknown_pod_is_an_error_that_the_client_raises(client: RestApiClient) -> None:
    with pytest.raises(CloudRESTApiClientError, match="does not exist"):
        list(client.v2.tail_logs(cluster_name="default", namespace="", pod_name="none", stop_event=threading.Event()))


def test_what_is_not_there_is_told_as_the_client_expects(client: RestApiClient) -> None:
    assert client.v1.get_bento("none", "1") is None
    assert client.v1.get_bento_repository("none") is None
    assert client.v1.get_model("../etc", "1") is None
    assert client.v1.get_cluster("other") is None
    with pytest.raises(NotFound, match="none"):
        client.v2.get_deployment("none")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/api/v3/x"), ("POST", "/api/v1/clusters"), ("PATCH", "/api/v1/x")]
)
def test_an_unknown_call_is_answered_in_the_clients_form(client: RestApiClient, method: str, path: str) -> None:
    answer = client.session.request(method, path)
    assert answer.status_code in (404, 405)
    assert set(answer.json()) == {"error", "code"}


def test_unknown_fields_of_a_newer_client_are_tolerated(client: RestApiClient, api: httpx.Client, pushed: None) -> None:
    body = {"name": "newer", "bento": "echo:1.0.0", "brand_new": {"a": 1}, "services": {"Echo": {"later": True}}}
    assert client.session.post("/api/v2/deployments", json=body).status_code == 200
    assert api.get("/models/newer/status").json()["name"] == "Echo"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"canary": {"versions": {"a": {}}}}, "canary has no meaning on this server"),
        ({"dev": True}, "BENTO_NOT_FOUND"),
        ({"services": {"Echo": {"cold_start_timeout": 3}}}, "services.Echo.cold_start_timeout has no meaning"),
        ({"services": {"Echo": {"config_overrides": {"a": 1}}}}, "services.Echo.config_overrides has no meaning"),
        ({"services": {"Echo": {"scaling": {"policy": {"scale_up_behavior": "fast"}}}}}, "scale_up_behavior"),
        (
            {"services": {"Echo": {"scaling": {"policy": {"metrics": [{"type": "qps", "value": 1}]}}}}},
            "cpu, concurrency",
        ),
        ({"services": {"Echo": {"scaling": {"min_replicas": 3, "max_replicas": 2}}}}, "min"),
        ({"bento": "none:1"}, "BENTO_NOT_FOUND"),
        ({"bento": "../x"}, "BENTO_NOT_FOUND"),
        ({"services": []}, "services"),
        ({"envs": [{"value": "x"}]}, "envs.0.name"),
    ],
)
def test_what_has_no_meaning_here_is_refused(
    client: RestApiClient, pushed: None, change: dict[str, Any], words: str
) -> None:
    answer = client.session.post("/api/v2/deployments", json={"name": "x", "bento": "echo:1.0.0"} | change)
    assert 400 <= answer.status_code < 500
    assert words in answer.text
    assert "record not found" not in answer.text  # the client takes this for 404


def test_the_newest_bento_is_the_one_without_a_version(client: RestApiClient, api: httpx.Client, pushed: None) -> None:
    for name, bento in (("bare", "echo"), ("latest", "echo:latest")):
        assert client.session.post("/api/v2/deployments", json={"name": name, "bento": bento}).status_code == 200
        assert client.v2.get_deployment(name).latest_revision.targets[0].bento.version == "1.0.0"  # type: ignore[union-attr]
