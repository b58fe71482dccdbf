"""What the status of a Pod says of its replica, in words that a person reads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from management.backends.kubernetes.manifest import PORT
from management.backends.launcher import Observation, Phase
from management.domain.quantities import shown_memory

ENDED_PHASES: Final = ("Succeeded", "Failed")
"""Phases of a Pod whose containers have ended."""
HOPELESS: Final = frozenset(
    {"InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
)
"""Reasons for which a container waits, and will wait for ever."""
PULLING: Final = frozenset({"ErrImagePull", "ImagePullBackOff", "ImageInspectError", "RegistryUnavailable"})
"""Reasons for which it waits while its image cannot be pulled; the node tries again."""
FOR_EVER: Final = ("not found", "manifest unknown", "does not exist", "denied", "unauthorized", "forbidden")
"""Texts of a registry that will not give the image, however often it is asked."""
KILLED_STATUSES: Final = (137, 143)
"""Exit statuses of a process that SIGKILL or SIGTERM ended."""
STOPPED: Final = "DeadlineExceeded"
"""Reason of a Pod that was ended by its launcher."""
LOST: Final = frozenset({"NodeLost", "NodeUnreachable"})
"""Reasons of a Pod whose node is silent."""
OVERDUE_SECONDS: Final = 30
"""Seconds after the end of its grace period at which a deleted Pod is overdue; clocks of two machines differ less."""
MAX_CHARACTERS: Final = 300
"""Characters of a text of Kubernetes that are kept."""

Json = dict[str, Any]


@dataclass(frozen=True)
class PodState:
    """A Pod as the API server describes it."""

    pod: Json

    @property
    def name(self) -> str:
        """Name of the Pod."""
        return str(self.pod["metadata"]["name"])

    @property
    def ended(self) -> bool:
        """Whether its containers have ended, or are being ended."""
        return self._status.get("phase") in ENDED_PHASES

    @property
    def ending(self) -> bool:
        """Whether a container of it may run although it has ended: kubelets before 1.27 say so before it is true."""
        return self.ended and any("running" in (status.get("state") or {}) for status in self._statuses)

    @property
    def leaving(self) -> bool:
        """Whether something deletes it while it runs: a drained node, an eviction, or a person."""
        return "deletionTimestamp" in self.pod["metadata"] and not self.ended

    @property
    def overdue(self) -> bool:
        """Whether its deletion should have ended long ago: no kubelet is left that would end it."""
        if not self.leaving:
            return False
        due = datetime.fromisoformat(self.pod["metadata"]["deletionTimestamp"])
        return datetime.now(UTC) > due + timedelta(seconds=OVERDUE_SECONDS)

    @property
    def node(self) -> str:
        """Name of its node; empty while it has none."""
        return str(self.pod["spec"].get("nodeName") or "")

    @property
    def node_is_silent(self) -> bool:
        """Whether the cluster has not heard of its node for a while.

        The node's controller then calls a Pod not ready whose container its kubelet last called ready.
        """
        if self.ended or not self.node:
            return False
        if self._status.get("reason") in LOST:
            return True
        ready = any(status.get("ready") for status in self._status.get("containerStatuses") or ())
        return ready and self._condition("Ready").get("status") in ("False", "Unknown")

    @property
    def address(self) -> str:
        """URL of the replica; empty while the Pod has no address."""
        ip = str(self._status.get("podIP") or "")
        return f"http://[{ip}]:{PORT}" if ":" in ip else f"http://{ip}:{PORT}" if ip else ""

    @property
    def was_given_secrets(self) -> bool:
        """Whether it has an init container, which hands secrets over."""
        return bool(self.pod["spec"].get("initContainers"))

    def verdict(self) -> Observation | None:
        """Return what is known without asking the replica; None when it has to be asked."""
        if self.ended:
            return self._end()
        for status in self._statuses:
            waiting = (status.get("state") or {}).get("waiting")
            if waiting and (verdict := self._waiting(waiting)) is not None:
                return verdict
        if self.node_is_silent:
            return None
        running = any(
            "running" in (status.get("state") or {}) for status in self._status.get("containerStatuses") or ()
        )
        if running and self.address:
            return None
        scheduled = self._condition("PodScheduled")
        if scheduled.get("status") == "False":
            return Observation(Phase.STARTING, reason=f"no node takes it: {_short(scheduled.get('message'))}")
        return Observation(Phase.STARTING)

    def lost(self) -> Observation:
        """Return the observation of a replica that does not answer, on a node that is silent."""
        return Observation(Phase.EXITED, reason=f"its node {self.node} is lost: the cluster does not hear of it")

    def _waiting(self, waiting: Json) -> Observation | None:
        reason, message = str(waiting.get("reason")), _short(waiting.get("message"))
        image = self.pod["spec"]["containers"][0]["image"]
        if reason in PULLING:
            text = f"its image {image} cannot be pulled: {message}"
            final = any(word in message.lower() for word in FOR_EVER)
            return Observation(Phase.EXITED if final else Phase.STARTING, reason=text)
        if reason in HOPELESS:
            return Observation(Phase.EXITED, reason=f"its container cannot be started ({reason}): {message}")
        return None

    def _end(self) -> Observation:
        reason, message = str(self._status.get("reason") or ""), _short(self._status.get("message"))
        if reason == STOPPED:
            return Observation(Phase.EXITED, reason="it was stopped")
        if reason == "Evicted":
            return Observation(Phase.EXITED, reason=f"its node {self.node} evicted it: {message}")
        if reason in LOST:
            return self.lost()
        ends = [status["state"]["terminated"] for status in self._statuses if "terminated" in status.get("state", {})]
        end = next((failure for failure in ends if failure.get("exitCode")), ends[-1] if ends else None)
        if end is None or reason:
            said = f" ({reason})" if reason else ""
            return Observation(Phase.EXITED, reason=f"Kubernetes ended it{said}: {message or 'it gives no reason'}")
        return self._container_end(end)

    def _container_end(self, end: Json) -> Observation:
        code, last = int(end.get("exitCode", 0)), _last_line(end.get("message"))
        if end.get("reason") == "OOMKilled":
            reason = f"it was killed for using more than its {self._memory()} of memory"
            return Observation(Phase.EXITED, reason=reason, crashed=True)
        if code in KILLED_STATUSES:
            return Observation(Phase.EXITED, reason="the container was killed")
        text = f"the container ended with exit status {code}" + (f": {last}" if last else "")
        return Observation(Phase.EXITED, reason=text, crashed=True)

    def _memory(self) -> str:
        limits = self.pod["spec"]["containers"][0]["resources"]["limits"]
        return shown_memory(int(limits["memory"]))

    @property
    def _status(self) -> Json:
        return self.pod.get("status") or {}

    @property
    def _statuses(self) -> list[Json]:
        return [
            *(self._status.get("initContainerStatuses") or ()),
            *(self._status.get("containerStatuses") or ()),
        ]

    def _condition(self, kind: str) -> Json:
        return next((found for found in self._status.get("conditions") or () if found.get("type") == kind), {})


def _short(text: object) -> str:
    return " ".join(str(text or "").split())[:MAX_CHARACTERS]


def _last_line(text: object) -> str:
    lines = [line.strip() for line in str(text or "").splitlines() if line.strip()]
    return lines[-1][:MAX_CHARACTERS] if lines else ""
