"""The manager of a Swarm that this backend talks to, and what it says when it is none."""

from __future__ import annotations

from typing import Any, Final

from typing_extensions import override

from management.backends.docker.client import NO_ANSWER, DockerEngine, DockerNotFound
from management.errors import BackendUnavailable

NO_MANAGER: Final = "this engine is not a manager of a swarm: docker swarm init makes it one"
NO_LEADER: Final = "the swarm has no leader: more than half of its managers must be online"


class SwarmManager(DockerEngine):
    """A Docker Engine that is a manager of its Swarm."""

    backend = "swarm"
    _node_id: str | None = None

    @override
    async def _ask(self) -> None:
        """Raise BackendUnavailable or DockerRefused unless the engine manages a swarm that has a leader."""
        await self.call(lambda client: client.inspect_swarm())

    @override
    def unavailable(self, error: Exception) -> BackendUnavailable:
        explanation = str(getattr(error, "explanation", None) or "")
        if "not a swarm manager" in explanation:
            reason = NO_MANAGER
        elif "does not have a leader" in explanation:
            reason = NO_LEADER
        else:
            reason = NO_ANSWER
        return BackendUnavailable({"backend": self.backend, "reason": reason}, retry_after=5)

    async def node_id(self) -> str:
        """Return the id of this engine's node. Raises BackendUnavailable."""
        if self._node_id is None:
            self._node_id = str((await self.call(lambda client: client.info()))["Swarm"]["NodeID"])
        return self._node_id

    async def service(self, name: str) -> dict[str, Any] | None:
        """Return Swarm's description of a service; None when there is none of that name."""
        try:
            service: dict[str, Any] = await self.call(lambda client: client.inspect_service(name))
        except DockerNotFound:
            return None
        return service

    async def subnets(self, network: str) -> list[str]:
        """Return the subnets of a network; none when there is no such network."""
        try:
            found = await self.call(lambda client: client.inspect_network(network))
        except DockerNotFound:
            return []
        return [config["Subnet"] for config in found["IPAM"]["Config"] or () if "Subnet" in config]

    @override
    async def _make_network(self, name: str) -> None:
        def work(client: Any) -> None:
            if not any(network["Name"] == name for network in client.networks(names=[name])):
                client.create_network(name, driver="overlay", attachable=True, labels={"atelier.network": name})

        await self.call(work)
