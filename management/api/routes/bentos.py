"""Routes of the Bentos in this machine's store: push, list, show, delete."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request

from management.api import PREFIX, schemas, views
from management.api.documentation import openapi
from management.api.documentation.bento_answers import BentoAnswer, ListedBento
from management.api.documentation.responses import DeleteAnswer
from management.api.pages import page_headers
from management.api.parsing import language
from management.control.bentos import Bentos, DeployedBento
from management.control.repository.receiving import DIGEST_FIELD
from management.domain.bento import Bento
from management.domain.bento_tag import Tag, tag_of
from management.domain.clock import shown, written
from management.errors import ArchiveExpected, BentoNotFound, InvalidRequest, Problem
from management.packaging.bounded_yaml import plain
from management.wording import messages
from web import content_digest
from web.answers import JSONAnswer

REPOSITORY: Final = "bentos"
"""First part of the image names that the answers suggest; any other one names the same Bento."""


class BentoRoutes:
    """The store is that of the machine which answers, also where the models run elsewhere."""

    def __init__(self, bentos: Bentos) -> None:
        self._bentos = bentos

    def add_to(self, router: APIRouter) -> None:
        """Add the routes with their documentation."""
        router.post("/bentos", **openapi.upload(BentoAnswer))(self.push_bento)
        router.get("/bentos", **openapi.bento_listing(list[ListedBento]))(self.list_bentos)
        router.get("/bentos/{name}/{version}", **openapi.bento_view(BentoAnswer))(self.show_bento)
        router.delete("/bentos/{name}/{version}", **openapi.bento_deletion(DeleteAnswer))(self.delete_bento)

    async def push_bento(self, request: Request) -> JSONAnswer:
        """Bring a Bento in.

        The body is what `bentoml export` writes: a tar archive, compressed by gzip, xz, bzip2 or not at all, or a ZIP
        archive. The same content again is answered with 200.
        """
        _check_media_type(request)
        length = int(request.headers.get("content-length", "0"))
        taken = await self._bentos.receive(request.stream(), _digests(request), length)
        answer = await self._described(taken.tag)
        location = {"Location": f"{PREFIX}/bentos/{taken.tag.name}/{taken.tag.version}"}
        return JSONAnswer(answer, status_code=201 if taken.is_new else 200, headers=location)

    async def list_bentos(self, request: Request, given: Annotated[schemas.BentoListQuery, Query()]) -> JSONAnswer:
        """A page of the Bentos, with links to its neighbours."""
        bentos, total = await self._bentos.page(given.name, given.limit, given.offset)
        headers = page_headers(request, "bentos", given, total)
        return JSONAnswer([_listed(bento) for bento in bentos], headers=headers)

    async def show_bento(self, name: str, version: str) -> JSONAnswer:
        """One Bento: its APIs with their schemas, what it needs, and which models run it."""
        return JSONAnswer(await self._described(_tag(name, version)))

    async def delete_bento(self, request: Request, name: str, version: str) -> JSONAnswer:
        """Delete a Bento that no deployed model uses; the models that it has in the model store stay."""
        tag = _tag(name, version)
        await self._bentos.delete(tag)
        return JSONAnswer({"message": messages.text(messages.DONE, "bento_deleted", language(request), tag=tag)})

    async def _described(self, tag: Tag) -> dict[str, Any]:
        found = await self._bentos.get(tag)
        return {**_listed(found), **_details(found.kept.bento), "digest": f"sha256:{await self._bentos.digest(tag)}"}


def _check_media_type(request: Request) -> None:
    """Raises ArchiveExpected for a body that is not named as an archive. Its first bytes say which one it is."""
    given = request.headers.get("content-type", openapi.ARCHIVES[0]).split(";")[0].strip().lower()
    if given not in openapi.ARCHIVES:
        raise ArchiveExpected


def _digests(request: Request) -> Mapping[str, bytes]:
    """The digests that the caller expects. Raises InvalidRequest."""
    lines = request.headers.getlist(DIGEST_FIELD)
    try:
        return content_digest.read(", ".join(lines)) if lines else {}
    except ValueError:
        raise InvalidRequest(Problem(DIGEST_FIELD, "header")) from None


def _tag(name: str, version: str) -> Tag:
    """The tag in a path. Raises BentoNotFound for what no Bento is called."""
    try:
        tag = tag_of(f"{name}:{version}")
    except ValueError:
        tag = None
    if tag != Tag(name, version):  # a path part such as %2e%2e or a%2fb must not become another folder
        raise BentoNotFound
    return Tag(name, version)


def _listed(found: DeployedBento) -> dict[str, Any]:
    bento = found.kept.bento
    return {
        "tag": str(found.tag),
        "name": found.tag.name,
        "version": found.tag.version,
        "docker_image": f"{REPOSITORY}/{found.tag}",
        "service": bento.service,
        "bentoml_version": bento.bentoml_version,
        "created_at": _instant(bento.created_at),
        "size_bytes": found.kept.size,
        "labels": plain(dict(bento.labels)),
        "models": list(bento.models),
        "deployments": [{"model_id": use.model_id, "live": use.is_live} for use in found.uses],
    }


def _details(bento: Bento) -> dict[str, Any]:
    python, traffic = bento.python, bento.traffic
    return {
        "services": list(bento.services),
        "apis": [views.api(api) for api in bento.apis],
        "mounted_paths": list(bento.mounted_paths),
        "python": {
            "version": python.version or None,
            "requirements": list(python.requirements),
            "system_packages": list(python.system_packages),
            "conda": python.conda,
            "base_image": python.base_image or None,
        },
        "resources": dict(bento.resources),
        "traffic": {"timeout": traffic.timeout, "concurrency": traffic.concurrency},
    }


def _instant(text: str) -> str | None:
    moment = written(text)
    return None if moment is None else shown(moment)
