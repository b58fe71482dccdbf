"""Bento and model repositories: what is in the store, and what the client announces before it uploads it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from management.bentoml_api import PREFIX, schemas
from management.bentoml_api.parsing import base_url, body, page_of, sees_values, tag_in_path
from management.bentoml_api.recognition import DOWNLOADS, UPLOADS
from management.bentoml_api.routes.archives import ArchiveAnswer
from management.bentoml_api.stock import Stock
from management.bentoml_api.views import stored
from management.bentoml_api.views.resources import page
from management.bentoml_api.views.stored import KINDS, StoredItem
from management.control.repository.sending import DownloadPlaces
from management.control.repository.uploads import Uploads
from management.domain.bento_tag import StoredKind, Tag, is_tag
from management.errors import BentoNotFound, InvalidRequest, Problem, StoredModelNotFound, UploadNotFound
from management.packaging.pushes.registrations import PushStatus
from web.answers import large_answer

MULTIPART_BYTES: Final = 64 * 1024 * 1024
"""Bytes of a Bento or a model from which on it is sent in parts, each of which can be sent again."""
SINGLE_BYTES: Final = 4 * 1024**3
"""Bytes from which on it is sent by one request again, because unpacking it may take longer than a minute."""
LISTED: Final = 10_000
"""Entries of a list that asks for no number."""

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class RepositoryRoutes:
    """The routes of one kind; those of the other kind differ in their words alone."""

    def __init__(self, kind: StoredKind, stock: Stock, uploads: Uploads, places: DownloadPlaces) -> None:
        self._kind, self._stock, self._uploads, self._places = kind, stock, uploads, places

    def routes(self) -> list[Route]:
        """The routes."""
        word = KINDS[self._kind]
        repositories = f"/api/v1/{word}_repositories"
        versions = f"{repositories}/{{name}}/{self._kind.value}"
        version = f"{versions}/{{version}}"
        actions: dict[str, Handler] = {
            "presign_upload_url": self.presign_upload,
            "presign_download_url": self.presign_download,
            "start_multipart_upload": self.start_multipart,
            "presign_multipart_upload_url": self.presign_part,
            "complete_multipart_upload": self.complete,
            "start_upload": self.start,
            "finish_upload": self.finish,
        }
        return [
            Route(f"/api/v1/{self._kind.value}", self.all),
            Route(repositories, self.repositories, methods=["GET"]),
            Route(repositories, self.create_repository, methods=["POST"]),
            Route(f"{repositories}/{{name}}", self.repository),
            Route(versions, self.versions, methods=["GET"]),
            Route(versions, self.announce, methods=["POST"]),
            Route(version, self.version, methods=["GET"]),
            Route(version, self.change, methods=["PATCH"]),
            *(Route(f"{version}/{name}", handler, methods=["PATCH"]) for name, handler in actions.items()),
            Route(f"{version}/upload", self.upload, methods=["PUT"]),
            Route(f"{version}/download", self.download),
        ]

    async def all(self, request: Request) -> Response:
        """Everything of this kind, the newest first."""
        start, count = page_of(request, LISTED)
        items = await self._stock.items(self._kind)
        return await large_answer(
            page(
                [stored.with_repository(self._shown(request, each)) for each in items[start : start + count]],
                start,
                len(items),
            )
        )

    async def repositories(self, request: Request) -> Response:
        """The latest version of each name, as the client's schema wants it: versions with their repositories."""
        start, count = page_of(request, LISTED)
        latest: dict[str, StoredItem] = {}
        for item in await self._stock.items(self._kind):
            latest.setdefault(item.tag.name, item)
        shown = [stored.with_repository(self._shown(request, each)) for each in latest.values()]
        return await large_answer(page(shown[start : start + count], start, len(shown)))

    async def repository(self, request: Request) -> Response:
        """One repository. It exists as soon as its name is a valid one: nothing is kept of an empty repository."""
        name = self._name(request)
        items = await self._stock.items(self._kind, name)
        if not items:
            raise self._not_found(name)
        shown = [self._shown(request, items[0])]
        return await large_answer(stored.repository(self._kind, name, shown))

    async def create_repository(self, request: Request) -> Response:
        """A new repository, which is empty until something is announced in it."""
        given = await body(request, schemas.RepositoryBody, InvalidRequest)
        if not is_tag(Tag(given.name, "1")):
            raise InvalidRequest(Problem("name", "pattern", {"expected": "my-model"}))
        return await large_answer(stored.repository(self._kind, given.name))

    async def versions(self, request: Request) -> Response:
        """The versions of a name, the newest first."""
        start, count = page_of(request, LISTED)
        name = self._name(request)
        items = await self._stock.items(self._kind, name)
        if not items:
            raise self._not_found(name)
        return await large_answer(
            page(
                [stored.version(self._shown(request, each)) for each in items[start : start + count]], start, len(items)
            )
        )

    async def announce(self, request: Request) -> Response:
        """Announce a version before its upload."""
        given = await body(request, schemas.VersionBody, InvalidRequest)
        tag = self._tag(Tag(request.path_params["name"], given.version))
        labels = {label.key: label.value for label in given.labels or ()}
        announced = await self._uploads.register(
            self._kind, tag, manifest=given.manifest or {}, labels=labels, description=given.description or ""
        )
        item = stored.of_registration(announced)
        return await large_answer(stored.version(item, strategy=_strategy(item)))

    async def version(self, request: Request) -> Response:
        """One version."""
        item = await self._item(request)
        return await large_answer(stored.version(item, strategy=_strategy(item)))

    async def change(self, request: Request) -> Response:
        """Announce a version again, before another upload of it."""
        given = await body(request, schemas.VersionBody, InvalidRequest)
        tag = self._tag_of(request)
        labels = None if given.labels is None else {label.key: label.value for label in given.labels}
        announced = await self._uploads.update(
            self._kind, tag, manifest=given.manifest, labels=labels, description=given.description
        )
        item = stored.of_registration(announced)
        return await large_answer(stored.version(item, strategy=_strategy(item)))

    async def start(self, request: Request) -> Response:
        """The client begins an upload."""
        await self._uploads.update(self._kind, self._tag_of(request), status=PushStatus.UPLOADING)
        return await large_answer(stored.version(await self._item(request)))

    async def upload(self, request: Request) -> Response:
        """The whole archive as the body."""
        await self._stock.receive(self._kind, self._tag_of(request), request)
        return await large_answer(stored.version(await self._item(request)))

    async def presign_upload(self, request: Request) -> Response:
        """A URL that the whole archive may be sent to, without a key."""
        item = await self._item(request)
        upload_id = await self._uploads.start(self._kind, item.tag, whole=True)
        url = f"{base_url(request)}{PREFIX}{UPLOADS}?id={upload_id}"
        return await large_answer(stored.version(item, upload_url=url))

    async def start_multipart(self, request: Request) -> Response:
        """The id of an upload in parts."""
        item = await self._item(request)
        upload_id = await self._uploads.start(self._kind, item.tag)
        return await large_answer(stored.version(item, upload_id=upload_id))

    async def presign_part(self, request: Request) -> Response:
        """A URL that a part may be sent to, without a key."""
        given = await body(request, schemas.PartBody, InvalidRequest)
        await self._check_upload(request, given.upload_id)
        url = f"{base_url(request)}{PREFIX}{UPLOADS}?id={given.upload_id}&part={given.part_number}"
        item = await self._item(request)
        return await large_answer(stored.version(item, upload_id=given.upload_id, upload_url=url))

    async def complete(self, request: Request) -> Response:
        """Take in what the parts together are."""
        given = await body(request, schemas.CompletionBody, InvalidRequest)
        await self._check_upload(request, given.upload_id)
        await self._uploads.complete(given.upload_id, [(part.part_number, part.etag) for part in given.parts])
        return await large_answer(stored.version(await self._item(request)))

    async def finish(self, request: Request) -> Response:
        """How the upload ended in the client's eyes. The store decides whether there is something."""
        given = await body(request, schemas.FinishBody, InvalidRequest)
        succeeded = given.status == PushStatus.SUCCESS
        await self._uploads.finish(
            self._kind, self._tag_of(request), succeeded=succeeded, reason=(given.reason or "")[:1000]
        )
        return await large_answer(stored.version(await self._item(request)))

    async def presign_download(self, request: Request) -> Response:
        """A URL that the archive may be read from, without a key."""
        item = await self._item(request)
        ticket = await self._uploads.ticket(self._kind, item.tag)
        url = f"{base_url(request)}{PREFIX}{DOWNLOADS}?id={ticket}"
        return await large_answer(stored.version(item, strategy=_strategy(item), download_url=url))

    async def download(self, request: Request) -> Response:
        """The archive."""
        return ArchiveAnswer(self._places, self._stock, self._kind, self._tag_of(request))

    async def _check_upload(self, request: Request, upload_id: str) -> None:
        """Raise UploadNotFound unless the upload is of what the path names."""
        if await self._uploads.target(upload_id) != (self._kind, self._tag_of(request)):
            raise UploadNotFound

    def _tag_of(self, request: Request) -> Tag:
        return self._tag(tag_in_path(request))

    def _tag(self, tag: Tag | None) -> Tag:
        if tag is None or not is_tag(tag):
            raise self._not_found("")
        return tag

    async def _item(self, request: Request) -> StoredItem:
        tag = self._tag_of(request)
        if (item := await self._stock.item(self._kind, tag)) is None:
            raise self._not_found(str(tag))
        return item if sees_values(request) else stored.masked(item)

    def _shown(self, request: Request, item: StoredItem) -> StoredItem:
        return stored.brief(item if sees_values(request) else stored.masked(item))

    def _not_found(self, name: str) -> BentoNotFound | StoredModelNotFound:
        if self._kind is StoredKind.BENTO:
            return BentoNotFound({"bento": name})
        return StoredModelNotFound({"model": name})

    def _name(self, request: Request) -> str:
        """The name in the path. Raises the error of what no repository can be called."""
        name: str = request.path_params["name"]
        if not is_tag(Tag(name, "1")):
            raise self._not_found(name)
        return name


def _strategy(item: StoredItem) -> str | None:
    """How the client sends and reads the archive.

    Small ones by one request, large ones in parts. The client waits a minute for the last step of those, and ten hours
    for a single request to a signed URL, which it asks for where this is None.
    """
    size = item.manifest.get("size_bytes")
    if not isinstance(size, int) or size < MULTIPART_BYTES:
        return "proxy"
    return "presigned_url" if size < SINGLE_BYTES else None
