"""Uploads and downloads at URLs that are the permission: they need no key.

What makes them secret is in the query, which no log shows.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from management.bentoml_api.recognition import DOWNLOADS, UPLOADS
from management.bentoml_api.routes.archives import ArchiveAnswer
from management.bentoml_api.stock import Stock
from management.control.repository.sending import DownloadPlaces
from management.control.repository.uploads import Uploads
from management.errors import InvalidRequest, Problem, UploadNotFound
from web.answers import JSONAnswer


class TransferRoutes:
    """What the client calls presigned URLs."""

    def __init__(self, stock: Stock, uploads: Uploads, places: DownloadPlaces) -> None:
        self._stock, self._uploads, self._places = stock, uploads, places

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            Route(UPLOADS, self.upload, methods=["PUT"]),
            Route(DOWNLOADS, self.download),
        ]

    async def upload(self, request: Request) -> Response:
        """A whole archive, or a part of it, whose ``ETag`` in the answer is what completes the upload."""
        upload_id, part = request.query_params.get("id", ""), request.query_params.get("part")
        if part is None:
            kind, tag = await self._uploads.target(upload_id, whole=True)
            await self._stock.receive(kind, tag, request)
            await self._uploads.end(upload_id)
            return JSONAnswer({})
        if not (part.isascii() and part.isdigit() and len(part) <= 6):
            raise InvalidRequest(Problem("part_number", "type", {"expected": "int"}))
        announced = request.headers.get("content-length", "")
        length = int(announced) if announced.isdigit() else 0
        etag = await self._uploads.put_part(upload_id, int(part), request.stream(), length)
        return JSONAnswer({}, headers={"ETag": f'"{etag}"'})

    async def download(self, request: Request) -> Response:
        """An archive."""
        found = await self._uploads.of_ticket(request.query_params.get("id", ""))
        if found is None:
            raise UploadNotFound
        return ArchiveAnswer(self._places, self._stock, *found)
