"""What is told of deployments: the records, their Bentos, and the state of their environments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from management.backends.preparation import EnvironmentPreparer
from management.bentoml_api.instances.instance_types import LocalInstanceType, named
from management.bentoml_api.stock import Stock
from management.bentoml_api.views.deployments import ShownDeployment
from management.control.bentos import Bentos
from management.control.codespaces.codespaces import Codespaces
from management.domain.bento import Bento
from management.domain.bento_tag import StoredKind, Tag, is_tag, tag_of
from management.domain.records import Deployment, Replica
from management.errors import BentoNotFound, ModelNotFound
from management.store import Session, Store

LATEST: Final = "latest"
"""Version that means the newest one."""
Records = tuple[Deployment, list[Replica], str]
"""A deployment, its replicas, and who created it."""


class Catalog:
    """Reads for the routes; each read of the database is one transaction."""

    def __init__(  # noqa: PLR0913, PLR0917 - its parts
        self,
        store: Store,
        bentos: Bentos,
        stock: Stock,
        environments: EnvironmentPreparer,
        codespaces: Codespaces,
        types: Sequence[LocalInstanceType],
    ) -> None:
        self._store, self._bentos, self._stock = store, bentos, stock
        self._environments, self._codespaces, self._types = environments, codespaces, types

    async def deployment(self, name: str) -> ShownDeployment:
        """A deployment. Raises ModelNotFound."""
        return await self.shown(*await self.records(name))

    async def records(self, name: str) -> Records:
        """The records of a deployment, and who created it. Raises ModelNotFound."""

        def read(session: Session) -> Records:
            found = session.deployments.get(name)
            if found is None:
                raise ModelNotFound({"model_id": name})
            creators = session.events.actors("deploy", [found.id])
            return found, session.replicas.of([found.id]), creators.get(found.id, "")

        return await self._store.read(read)

    async def all(self, search: str = "", labels: Mapping[str, str] | None = None) -> list[Records]:
        """The deployments whose name contains the text, and that have these labels; the newest first."""
        wanted = (labels or {}).items()

        def read(session: Session) -> list[Records]:
            found = [
                each
                for each in session.deployments.all()
                if search in each.model_id and wanted <= dict(each.target.config.labels).items()
            ]
            ids = [each.id for each in found]
            creators, replicas = session.events.actors("deploy", ids), session.replicas.of(ids)
            return [
                (each, [replica for replica in replicas if replica.deployment_id == each.id], creators.get(each.id, ""))
                for each in reversed(found)
            ]

        return await self._store.read(read)

    async def shown(self, deployment: Deployment, replicas: list[Replica], creator: str) -> ShownDeployment:
        """The records with all that is told of them."""
        config = deployment.target.config
        tag = _tag_of_image(config.docker_image)
        item = None if tag is None else await self._stock.item(StoredKind.BENTO, tag)
        return ShownDeployment(
            deployment,
            replicas,
            creator,
            item,
            None if tag is None else await self._bento(tag),
            await self._environments.look(config.docker_image),
            named(self._types, config.resource_requirements),
            await self._codespaces.of(config.docker_image),
        )

    async def is_codespace(self, deployment: Deployment) -> bool:
        """Whether a deployment is edited while it runs."""
        return await self._codespaces.of(deployment.target.config.docker_image) is not None

    async def bento(self, text: str) -> Bento:
        """The Bento of a tag; without a version, or with ``latest``, the newest. Raises BentoNotFound."""
        name, _, version = text.partition(":")
        if version in ("", LATEST):
            items = await self._stock.items(StoredKind.BENTO, name)
            version = items[0].tag.version if items else ""
        tag = Tag(name, version)
        found = await self._bento(tag) if is_tag(tag) else None
        if found is None:
            raise BentoNotFound({"bento": text})
        return found

    async def _bento(self, tag: Tag) -> Bento | None:
        kept = await self._bentos.kept(tag)
        return None if kept is None else kept.bento


def _tag_of_image(image: str) -> Tag | None:
    try:
        return tag_of(image)
    except ValueError:  # an earlier version accepted the name
        return None
