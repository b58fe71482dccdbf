"""How Bentos and models are sent to the local BentoCloud: in one piece through it, or to an address that it signs."""

from __future__ import annotations

from aiohttp import web

from tests.doubles.bentocloud.state import Package, repository

HEADER = "X-YATAI-API-TOKEN"
REPOSITORIES = "/api/v1/{kind:bento|model}_repositories"
PACKAGES = REPOSITORIES + "/{name}/{_:bentos|models}"
PACKAGE = PACKAGES + "/{version}"


class Refusal(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


class Uploads:
    """What was sent, and the routes that take it."""

    url: str

    def reset(self) -> None:
        """Nothing was sent yet."""
        self.strategy: str | None = "proxy"
        """How Bentos are sent: ``proxy``, ``presigned_url`` (in parts), or None (to one signed URL)."""
        self.packages: dict[tuple[str, str, str], Package] = {}
        self.repositories: set[tuple[str, str]] = set()

    def upload_routes(self) -> list[web.RouteDef]:
        return [
            web.post(REPOSITORIES, self._add_repository),
            web.get(REPOSITORIES + "/{name}", self._repository),
            web.post(PACKAGES, self._add_package),
            web.get(PACKAGE, self._package),
            web.patch(PACKAGE, self._package),
            web.patch(PACKAGE + "/{step}", self._step),
            web.put(PACKAGE + "/upload", self._upload),
            web.put("/signed/{kind}/{name}/{version}", self._signed),
        ]

    async def _add_repository(self, request: web.Request) -> web.Response:
        kind, name = request.match_info["kind"], (await request.json())["name"]
        self.repositories.add((kind, name))
        return web.json_response(repository(kind, name))

    async def _repository(self, request: web.Request) -> web.Response:
        kind, name = request.match_info["kind"], request.match_info["name"]
        if (kind, name) not in self.repositories:
            raise Refusal(404, "record not found")
        return web.json_response(repository(kind, name))

    async def _add_package(self, request: web.Request) -> web.Response:
        kind, name, told = request.match_info["kind"], request.match_info["name"], await request.json()
        package = Package(kind, name, told["version"], told["manifest"], strategy=self.strategy)
        self.packages[kind, name, package.version] = package
        return web.json_response(package.shape())

    async def _package(self, request: web.Request) -> web.Response:
        return web.json_response(self._packed(request).shape())

    def _packed(self, request: web.Request) -> Package:
        kind, name, version = (request.match_info[key] for key in ("kind", "name", "version"))
        if (kind, name, version) not in self.packages:
            raise Refusal(404, "record not found")
        return self.packages[kind, name, version]

    async def _step(self, request: web.Request) -> web.Response:
        """A step of sending it: what has no answer of its own is answered with the package."""
        package, more = self._packed(request), {}
        signed = f"{self.url}/signed/{package.kind}/{package.repository}/{package.version}"
        match request.match_info["step"]:
            case "presign_upload_url" | "presign_multipart_upload_url":
                more = {"presigned_upload_url": signed}
            case "start_multipart_upload":
                more = {"upload_id": "upload-1"}
            case "finish_upload":
                package.upload_status = (await request.json())["status"]
        return web.json_response(package.shape(**more))

    async def _upload(self, request: web.Request) -> web.Response:
        package = self._packed(request)
        package.content, package.upload_status = await request.read(), "success"
        return web.json_response({})

    async def _signed(self, request: web.Request) -> web.Response:
        """No token comes here: whoever has the URL may send."""
        assert HEADER not in request.headers
        package = self._packed(request)
        package.content = await request.read()
        return web.json_response({}, headers={"ETag": "part-1"})
