"""Requests that are nearly those of BentoML's own client: each route of the section, near misses, and odd bodies."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, quote, unquote, urlsplit

import yaml  # type: ignore[import-untyped]
from pydantic import BaseModel
from starlette.types import Message, Scope

from management.bentoml_api import PREFIX, schemas
from management.bentoml_api.deployments_v1.bodies import NamedTargetsBody, TargetsBody
from management.bentoml_api.recognition import DOWNLOADS, PAGE, TOKEN, UPLOADS
from tests.support.bentos.bento_archives import tar
from tests.support.chains.client_platform import BENTOS
from tests.support.chains.nearly_right import NearlyRight
from tests.support.management_servers import KEY

Route = tuple[str, str]
"""Method and path of a route, with its parameters in braces; a websocket has the method ``WEBSOCKET``."""
VERSION: Final = "/{version}"
BODIES: Final[dict[tuple[str, str], type[BaseModel]]] = {
    ("POST", "/clusters/{cluster}/deployments"): NamedTargetsBody,
    ("PATCH", "/deployments/{name}"): TargetsBody,
    ("POST", "/deployments"): schemas.DeploymentBody,
    ("PUT", "/{name}"): schemas.DeploymentBody,
    ("POST", "_repositories"): schemas.RepositoryBody,
    ("POST", "/bentos"): schemas.VersionBody,
    ("POST", "/models"): schemas.VersionBody,
    ("PATCH", VERSION): schemas.VersionBody,
    ("PATCH", "/presign_multipart_upload_url"): schemas.PartBody,
    ("PATCH", "/complete_multipart_upload"): schemas.CompletionBody,
    ("PATCH", "/finish_upload"): schemas.FinishBody,
    ("POST", "/org_secrets"): schemas.CloudSecretBody,
    ("PATCH", "/{name}"): schemas.CloudSecretBody,
    ("POST", "/api_tokens"): schemas.TokenBody,
    ("POST", "/files"): schemas.SourcesBody,
    ("DELETE", "/files"): schemas.RemovedSourcesBody,
}
"""The bodies of routes, by method and the end of the path; the first that fits counts."""
SPACE: Final = "space"
"""Name of a deployment that is mostly a codespace."""
DEPLOYMENTS: Final = (SPACE, "one", "two", "three-3", "four_4")
SECRETS: Final = ("hf", "file-1", "s3")
STORED: Final = ("fresh", "lesson", "echo", "herbs")
VERSIONS: Final = (*map(str, range(1, 30)), "1.0.0", "2.0.0", "latest")
CLUSTERS: Final = (*["default"] * 9, "other")
NAMESPACES: Final = (*["atelier"] * 9, "default")
METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "X", "get")
MISSES: Final = (
    *("", "/", "//", "/..", "/%2e%2e", "%00", "%2F", "/x", "X", "%FF", "%E4%BD%A0", "%", ";a=b", ".json", "%0d%0aX:y"),
)
NUMBERS: Final = (
    *("0", "1", "2", "10000", "10001", "-1", "999999", "1000000", "%C2%B2", "%D9%A3", "1_0", "%201", "", "x"),
    "9" * 5000,
)
HOSTS: Final = (
    *("testserver", "127.0.0.1:8080", "[::1]:80", "[", "]", "a[b", "", "caf\xe9", "a b", "a@b", "a/b", "a:99999999"),
    "\\",
)
HEADERS: Final = (
    *("accept", "accept-language", "content-type", "content-encoding", "x-request-id", "idempotency-key", "range"),
    *("expect", "origin", "cookie", "x-forwarded-proto", "x-forwarded-host", "forwarded", "content-digest", "via"),
)
VALUES: Final = (
    *("", "1", "-1", "gzip", "identity", "fr", "zh-CN,zh;q=0.9", "application/json", "text/html"),
    *("application/x-pickle", "https", "caf\xe9", "\xff\xfe", "a\tb", "\x01\x7f", "x" * 6000, "bytes=0-1", "*/*;q=2"),
)
MOMENTS: Final = (
    *("2030-01-01T00:00:00", "2030-01-01T00:00:00+02:00", "2030-01-01", "2030-W01-1", "0001-01-01T00:00:00+14:00"),
    *("9999-12-31T23:59:59.999999", "9999-12-31T23:59:59-14:00", "2020-01-01T00:00:00Z", "20300101T000000Z", "soon"),
)


FORMS: Final = (f"key={KEY}", "key=wrong-key", "key=", "key=a&key=b", "&" * 50, "key=%FF%00", "\xff")
SAID: Final = (
    *('{"type": "heartbeat"}', "", "[]", "NaN", "9" * 5000, "[" * 10**5, "x" * 10**5, "\0", '{"type": "data"}'),
    *(b"", b"\xff\0"),
)
"""What the caller of a websocket may say besides."""
TOLD: Final = (
    *("creation_time", "services", "envs", "labels", "schema", "metadata", "context", "models", "spec", "image"),
)
"""Fields of the file of a Bento or a model."""
KNOWN: Final[dict[str, Sequence[Any]]] = {
    "bento": [*BENTOS, "echo", "echo:latest", "fresh:1"],
    **{"DeploymentBody.name": DEPLOYMENTS, "DeploymentBody.secrets": SECRETS, "dev": [False]},
    **{"CloudSecretBody.name": SECRETS, "VariableBody.name": ["APP_A", "APP_B"], "RepositoryBody.name": STORED},
    **{"TokenBody.name": ["ci", "other"], "TokenBody.scopes": ["api", "read_cluster"], "expired_at": MOMENTS},
    **{"version": VERSIONS, "part_number": [1, 2, 10_000, 10_001, 0, -1]},
    **{"services.key": ["Echo", "Echo", "Echo", "Seer", "Side"]},
    **{"TargetBody.bento_repository": ["echo"], "TargetBody.bento": ["1.0.0", "2.0.0", "latest"]},
    **{"NamedTargetsBody.name": DEPLOYMENTS, "kube_namespace": ["atelier"], "access_control": ["public", "protected"]},
    **{"AmountsBody.cpu": ["100m"], "AmountsBody.memory": ["128Mi"], "AmountsBody.gpu": ["0"]},
    **{"do_not_deploy": [False], "enable_ingress": [True], "description": [""]},
    "instance_type": ["cpu.small", "cpu.small", "cpu.medium", "cpu.full", ""],
    "deployment_strategy": ["RollingUpdate", "Recreate", "RampedSlowRollout", "BestEffortControlledRollout"],
    **{"min_replicas": [0, 1, 2], "max_replicas": [1, 2, 3, 64]},
    **{"MetricBody.type": ["cpu", "concurrency"], "MetricBody.value": [50, "80", 1, "9" * 5000]},
    **{"SecretContentBody.type": ["env", "mountfile"], "stage": ["runtime", ""]},
    **{"path": ["$BENTOML_HOME", "$BENTOML_HOME/keys"], "status": ["success", "failed"]},
    **{"SourceBody.path": ["service.py", "a/b.txt", ".project_ready", "../x", "a"], "paths": ["a/b.txt", "none"]},
    **{"b64_encoded_content": ["", "aGk=", "?"]},
    **{"SecretItemBody.key": ["HF_TOKEN", "APP_B", "key.json"]},
}
"""Values that are right for fields of the bodies."""


COMPLETES = "/complete_multipart_upload"


@dataclass
class Learnt:
    """What answers said that later requests may use."""

    uploads: list[str] = field(default_factory=lambda: ["x" * 43])
    tickets: list[str] = field(default_factory=lambda: ["x" * 43])
    tags: dict[str, Sequence[str]] = field(default_factory=dict)
    """Kind, name and version of each upload."""
    parts: dict[str, dict[int, str]] = field(default_factory=dict)
    """Etags of the parts of each upload, by number."""
    tokens: list[str] = field(default_factory=lambda: ["0" * 12])
    announced: list[str] = field(default_factory=lambda: ["fresh:1"])
    """Tags of Bentos that were announced."""
    codes: list[str] = field(default_factory=lambda: ["1800000000.a.b"])

    def of(self, route: Route, target: str, told: Any, headers: dict[bytes, bytes]) -> None:
        """Learn from a good answer to a request."""
        if not isinstance(told, dict):
            return
        for url in (told.get("presigned_upload_url"), told.get("presigned_download_url")):
            if url:
                found = parse_qs(urlsplit(url).query)["id"][0]
                (self.tickets if DOWNLOADS in url else self.uploads).append(found)
                self.tags[found] = _tag_in(target)
        if told.get("upload_id"):
            self.uploads.append(told["upload_id"])
            self.tags[told["upload_id"]] = _tag_in(target)
        if told.get("token") and route[0] == "POST":
            self.tokens.append(told["uid"])
        if route[0] == "POST" and route[1].endswith("/bentos"):
            self.announced.append(f"{urlsplit(target).path.split('/')[-2]}:{told['version']}")
        if "code" in told:
            self.codes.append(told["code"])
        if b"etag" in headers:
            query = parse_qs(urlsplit(target).query)
            self.parts.setdefault(query["id"][0], {})[int(query["part"][0])] = headers[b"etag"].decode()


def _tag_in(target: str) -> Sequence[str]:
    """Kind, name and version of the path of a version."""
    parts = urlsplit(target).path.split("/")
    kinds = [at for at, part in enumerate(parts) if part in ("bentos", "models") and 0 < at < len(parts) - 1]
    return (parts[kinds[-1]], parts[kinds[-1] - 1], parts[kinds[-1] + 1]) if kinds else ()


def weight_of(route: Route) -> int:
    """How often a route is called: those that take the most in are called the most."""
    if "{cluster}" in route[1]:
        return {"POST": 8, "PATCH": 8}.get(route[0], 2)  # the calls of version 1 on deployments, mostly
    if route[1].endswith("/files"):
        return 3
    if route[1].endswith(("/deployments", "/deployments/{name}")):
        return {"POST": 20, "PUT": 15, "DELETE": 2}.get(route[0], 4)
    if "_multipart_" in route[1] or route[1] == UPLOADS:
        return 10  # only together do they bring something into the store
    if route[1].endswith("/org_secrets/{name}") and route[0] == "PATCH":
        return 6  # only what was created before can be changed
    return 4 if route[0] in ("POST", "PUT") or route[1].endswith("_upload") else 1


class Requests:
    """Makes requests to these routes; ``pods`` returns the ids of replicas."""

    def __init__(
        self, chance: random.Random, routes: Sequence[Route], viewer: str, pods: Callable[[], list[str]]
    ) -> None:
        self.chance, self.routes, self.viewer, self.pods = chance, routes, viewer, pods
        self.learnt = Learnt()
        self._upload = ""
        self._weights = [weight_of(route) for route in routes]
        self.body = NearlyRight(chance, KNOWN | {"upload_id": self.learnt.uploads})

    def next(self) -> tuple[Route, str, Scope, list[Message]]:
        """A route, the target of a request to it, its scope, and what its caller says."""
        route = self.chance.choices(self.routes, self._weights)[0]
        self.body.wrong = self.chance.choice([0, 0, 0, 0.03, 0.1, 0.3])
        self._upload = self._upload_of(route)
        path = self._path(route[1])
        query = self._query(route[1])
        headers = self._headers()
        root, headers = self._place(path, headers)
        target = root + path + (f"?{query}" if query else "")
        scope: dict[str, Any] = {
            **{"type": "websocket" if route[0] == "WEBSOCKET" else "http", "asgi": {"version": "3.0"}, "root_path": ""},
            **{"http_version": "1.1", "scheme": "http", "path": unquote(root + path, "utf-8", "replace")},
            **{"raw_path": (root + path).encode(), "query_string": query.encode(), "headers": headers, "state": {}},
            **{"client": ("127.0.0.1", 1), "server": ("testserver", 80)},
        }
        if route[0] == "WEBSOCKET":
            return route, target, {**scope, "subprotocols": []}, self._messages()
        method = route[0] if self.chance.random() < 0.95 else self.chance.choice(METHODS)
        data = self._data(route, path, query)
        cuts = sorted(self.chance.randrange(len(data) + 1) for _ in range(self.chance.choice([0, 0, 1, 3])))
        pieces = [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        if self.chance.random() < 0.5:  # servers see to it that it is the right one
            headers.append((b"content-length", str(len(data)).encode()))
        said: list[Message] = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
        return route, target, {**scope, "method": method}, [*said[:-1], {**said[-1], "more_body": False}]

    def _place(self, path: str, headers: list[tuple[bytes, bytes]]) -> tuple[str, list[tuple[bytes, bytes]]]:
        """Below the prefix with any header, or at the root, where the client's header shows whose request it is."""
        key = self.chance.choice([*([KEY] * 20), self.viewer, "wrong", None])
        names = [b"x-yatai-api-token", b"x-api-key", b"authorization"]
        at_root = self.chance.random() < 0.4 and path.startswith(("/api/", "/ws/"))
        name = names[0] if at_root else self.chance.choice(names)
        if key is None:
            return PREFIX, headers
        value = f"Bearer {key}" if name == names[2] else key
        return "" if at_root else PREFIX, [*headers, (name, value.encode())]

    def _upload_of(self, route: Route) -> str:
        """An upload that the route may be about: an id opens nothing below another tag."""
        kind = "bentos" if "/bento_repositories/" in route[1] else "models"
        ids = [*self.learnt.parts] if route[1].endswith(COMPLETES) else self.learnt.uploads
        fitting = [each for each in ids if self.learnt.tags.get(each, ("",))[:1] == (kind,)]
        return self.chance.choice((fitting or self.learnt.uploads)[-2:])

    def _path(self, template: str) -> str:
        path = template
        if template.endswith((COMPLETES, "/presign_multipart_upload_url")) and self.chance.random() < 0.8:
            for name, value in zip(("{name}", "{version}"), self.learnt.tags.get(self._upload, ())[1:], strict=False):
                path = path.replace(name, value)
        names: Sequence[str] = SECRETS if "org_secrets" in path else DEPLOYMENTS if "deployments" in path else STORED
        if path.endswith("/files") and self.chance.random() < 0.95:
            names = [SPACE]
        values = {
            "name": names,
            "version": VERSIONS,
            "cluster": CLUSTERS,
            "namespace": NAMESPACES,
            "uid": self.learnt.tokens[-3:],
        }
        for name, known in values.items():
            odd = self.chance.random() < 0.04
            text = str(self.body.odd()) if odd else self.chance.choice(known)
            path = path.replace(f"{{{name}}}", quote(text[:300], safe="", errors="replace"))
        if self.chance.random() < 0.05:
            at = self.chance.randrange(len(path))
            path = f"{path[:at]}{self.chance.choice(MISSES)}{path[at + self.chance.randrange(2) :]}"
        return path + self.chance.choice(MISSES) if self.chance.random() < 0.03 else path

    def _query(self, template: str) -> str:
        chance, learnt = self.chance, self.learnt
        if chance.random() < 0.06:
            return "".join(chance.choices([*"abc&=?+;", "%00", "%FF", "%zz", "id=", "count="], k=8))
        part = chance.choice(["", "&part=1", f"&part={self._number()}"])
        pod = chance.choice([*self.pods()[-5:], "builder.one", "builder.none", "none"])
        given = [f"start={self._number()}", f"count={self._number()}", "search=o", "q=label:a%3D1+is:dev", "q=label:a"]
        own = {
            UPLOADS: f"id={chance.choice(learnt.uploads[-2:])}{part}",
            DOWNLOADS: f"id={chance.choice(learnt.tickets[-3:])}",
            **dict.fromkeys((PAGE, TOKEN), f"code={chance.choice(learnt.codes[-2:])}"),
            "/ws/v1/clusters/{cluster}/tail": f"pod_name={pod}&namespace=atelier",
            "/ws/v1/clusters/{cluster}/pods": "selector=yatai.ai/bento-repository%3Decho,yatai.ai/bento%3D9.0.0",
        }
        return own.get(template, "&".join(chance.sample(given, k=chance.choice([0, 0, 1, 2]))))

    def _number(self) -> str:
        return self.chance.choice(NUMBERS)

    def _headers(self) -> list[tuple[bytes, bytes]]:
        host = "testserver" if self.chance.random() < 0.9 else self.chance.choice(HOSTS)
        found = [(b"host", host.encode("latin-1"))] * (self.chance.random() < 0.98)
        for _ in range(self.chance.choice([0, 0, 0, 1, 3])):
            found.append((self.chance.choice(HEADERS).encode(), self.chance.choice(VALUES).encode("latin-1")))
        return found

    def _data(self, route: Route, path: str, query: str) -> bytes:
        """A body for the route: JSON, an archive, or a form."""
        if route == ("POST", PAGE):
            return self.chance.choice([*FORMS, f"key={self.viewer}"]).encode("latin-1")
        if route[0] == "PUT" and route[1].endswith(("/upload", UPLOADS)):
            own = self.learnt.tags.get(parse_qs(query).get("id", [""])[0]) or _tag_in(path)
            return self._archive(own or ("models", "fresh", "1"))
        models = [one for (method, end), one in BODIES.items() if method == route[0] and route[1].endswith(end)]
        if not models:
            return b"" if self.chance.random() < 0.8 else self.body.written(self.body.odd())
        value = self.body.of(models[0], **self._chosen(models[0]))
        return self.body.written(value if self.chance.random() < 0.97 else self.body.odd())

    def _chosen(self, model: type[BaseModel]) -> dict[str, Any]:
        """Fields that chance alone would seldom make right."""
        if model is schemas.DeploymentBody and self.chance.random() < 0.2:
            return {"name": SPACE, "dev": True, "bento": self.chance.choice(self.learnt.announced[-3:])}
        if model in (schemas.DeploymentBody, NamedTargetsBody) and self.chance.random() < 0.9:
            return {"name": self.chance.choice(DEPLOYMENTS)}  # without a name there are more and more deployments
        if model is schemas.PartBody:
            return {"upload_id": self._upload}
        if model is not schemas.CompletionBody:
            return {}
        known = self.learnt.parts.get(self._upload, {}).items()
        return {"upload_id": self._upload, "parts": [{"part_number": number, "etag": etag} for number, etag in known]}

    def _archive(self, tag: Sequence[str]) -> bytes:
        """An archive of a Bento or a model, which may say odd things of itself, or garbage."""
        kind, name, version = tag
        if self.chance.random() < 0.2:
            return self.chance.randbytes(self.chance.choice([0, 1, 600, 70_000]))
        about: dict[str, Any] = {"name": name, "version": version, "creation_time": "2026-02-01T00:00:00+00:00"}
        services = [{"name": "Echo", "config": {"resources": {"cpu": "100m"}}}]
        about |= {"services": services, "entry_service": "Echo"} if kind == "bentos" else {"module": "", "context": {}}
        odd: list[Any] = [*self.chance.choices(MOMENTS, k=3), 5, "text", [1], {"a": 1}, None, 1e400, [{"a": {}}]]
        for _ in range(self.chance.choice([0, 0, 1, 3])):
            about[self.chance.choice(TOLD)] = self.chance.choice(odd)
        file = "bento.yaml" if kind == "bentos" else "model.yaml"
        data = tar({f"./{file}": yaml.safe_dump(about).encode(), "./x.txt": self.chance.randbytes(9)})
        return data if self.chance.random() < 0.9 else data[: self.chance.randrange(len(data))]

    def _messages(self) -> list[Message]:
        """What the caller of a websocket says."""
        asked: dict[str, Any] = {
            "tail_lines": self.chance.choice([0, 1, 50, 10**6]),
            "follow": self.chance.random() < 0.3,
        }
        if self.chance.random() < self.body.wrong * 2:
            asked[self.chance.choice(list(asked))] = self.body.odd()
        right = self.body.written({"type": "data", "payload": asked}).decode(errors="replace")
        said: list[str | bytes] = [*self.chance.choices(SAID, k=self.chance.choice([0, 0, 1, 2]))]
        said += [right] * (self.chance.random() < 0.9)
        kinds = ({"text": part} if isinstance(part, str) else {"bytes": part} for part in said)
        return [{"type": "websocket.connect"}, *({"type": "websocket.receive"} | kind for kind in kinds)]


def json_of(data: bytes) -> Any:
    """The value of an answer's body; None where it is no JSON."""
    try:
        return json.loads(data)
    except ValueError:
        return None
