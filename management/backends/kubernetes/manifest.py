"""The Pod of a replica, and the Secrets that bring in its files.

The files of the first Secret are the replica host's and its arguments. The second Secret has the secrets that the
deployment names: an init container copies them into memory that the replica alone has, where the replica wipes them.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from typing import Any, Final

from management.backends.kubernetes.placement import NODE_SELECTOR, PULL_SECRETS, SPREAD, TOLERATIONS, placement
from management.backends.kubernetes.settings import KubernetesSettings
from management.backends.launcher import Launch
from management.backends.replica.environment import MARKER, for_model
from management.backends.replica.files import ARBITER, FORWARDER, HOST, IN_CONTAINERS
from management.backends.replica.received_secrets import encoded
from management.domain import quantities

PORT: Final = 3000
"""Port of the replica at the Pod's address."""
INSTANCE: Final = "atelier.instance"
"""Label with the id of the control plane."""
REPLICA: Final = "atelier.replica"
"""Label with the replica's id."""
MODEL: Final = "atelier.model"
"""Label, and annotation, with the model's id."""
FOLDER: Final = "/atelier"
"""Folder with the replica host and its arguments."""
SECRETS_FOLDER: Final = "/atelier-secrets"
"""Folder in memory with the file of given secrets, until the replica has read it."""
SOURCE_FOLDER: Final = "/atelier-secrets-source"
"""Folder of the init container with the same file."""
SECRETS_FILE: Final = "secrets"
"""Name of that file."""
GIVEN: Final = "given"
"""Suffix of the name of the Secret with given secrets."""
CONTAINER: Final = "replica"
"""Name of the container."""
MIN_MILLICORES: Final = 10
"""Thousandths of a core: the smallest share that is requested."""
MAX_SECRET_BYTES: Final = 1024 * 1024 - 16 * 1024
"""Bytes of values in a Secret: the API server refuses objects above 1 MiB."""
TEMPORARY: Final = "/tmp"  # noqa: S108 - the Pod's own
"""Folder that a replica may write to."""
WRITES: Final = {"TMPDIR": TEMPORARY, "BENTOML_RESULT_STORE": f"{TEMPORARY}/tasks.db"}
"""Variables that have a replica write there."""
IMAGES_OWN: Final = frozenset({"BENTO_PATH"})
"""Variables that are the image's, whatever a caller says."""
COPY: Final = (
    f"import os, shutil; os.umask(0o077); shutil.copyfile('{SOURCE_FOLDER}/{SECRETS_FILE}', "
    f"'{SECRETS_FOLDER}/{SECRETS_FILE}')"
)
"""Program of the init container."""
_LABEL: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?\Z")

Json = dict[str, Any]


@dataclass(frozen=True)
class PodTerms:
    """What all Pods of a control plane have in common."""

    instance: str
    """Id of the control plane."""
    stop_seconds: float
    """Seconds that a replica has to end."""
    settings: KubernetesSettings

    @property
    def placement(self) -> dict[str, str]:
        """The settings that labels of a deployment override, by those labels' names."""
        settings = self.settings
        return {
            NODE_SELECTOR: settings.node_selector,
            TOLERATIONS: settings.tolerations,
            SPREAD: settings.spread,
            PULL_SECRETS: settings.pull_secrets,
        }


def name(replica_id: str) -> str:
    """Return the name of a replica's Pod, and of the Secret with its files."""
    return f"atelier-{replica_id}"


def given_name(replica_id: str) -> str:
    """Return the name of the Secret with a replica's given secrets."""
    return f"{name(replica_id)}-{GIVEN}"


def labels(launch: Launch, instance: str) -> dict[str, str]:
    """Return the labels of everything that belongs to a replica."""
    model = {MODEL: launch.model_id} if _LABEL.match(launch.model_id) else {}
    return {INSTANCE: instance, REPLICA: launch.replica_id, **model}


def files_secret(launch: Launch, terms: PodTerms, token: bytes) -> Json:
    """Return the Secret with the replica host, its arguments and its token."""
    arguments = {
        "bento": "",
        "arbiter": f"{FOLDER}/{ARBITER.name}",
        "forwarder": f"{FOLDER}/{FORWARDER.name}",
        "port": PORT,
        "stop_seconds": terms.stop_seconds,
        "writable_folder": TEMPORARY,
        "secrets_file": f"{SECRETS_FOLDER}/{SECRETS_FILE}" if launch.secrets else None,
    }
    files = {
        **{file.name: file.read_bytes() for file in IN_CONTAINERS},
        "launch.json": json.dumps(arguments).encode(),
        "token": token,
    }
    return _secret(name(launch.replica_id), labels(launch, terms.instance), files)


def given_secret(launch: Launch, terms: PodTerms) -> Json:
    """Return the Secret with the secrets that the deployment names. Raises ValueError for ones that are too large."""
    secrets = launch.secrets
    content = encoded(secrets.variables, secrets.files, secrets.paths)
    if len(base64.b64encode(content)) > MAX_SECRET_BYTES:
        raise ValueError("its secrets are larger than a Secret of Kubernetes may be, which is 1 MiB")
    return _secret(given_name(launch.replica_id), labels(launch, terms.instance), {SECRETS_FILE: content})


def _secret(own_name: str, own_labels: dict[str, str], files: dict[str, bytes]) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": own_name, "labels": own_labels},
        "type": "Opaque",
        "immutable": True,
        "data": {file: base64.b64encode(content).decode() for file, content in files.items()},
    }


def pod(launch: Launch, terms: PodTerms) -> Json:
    """Return the Pod. Raises ValueError, with a text for the operator, for labels that cannot be read."""
    settings, place = terms.settings, placement(terms.placement, launch.labels)
    given = bool(launch.secrets)
    optional: Json = {"nodeSelector": place.node_selector, "tolerations": place.tolerations}
    optional["imagePullSecrets"] = [{"name": name} for name in place.pull_secrets]
    optional["topologySpreadConstraints"] = [_spread(key, launch, terms) for key in place.spread]
    optional["priorityClassName"] = settings.priority_class
    optional["initContainers"] = [_handing_over(launch, terms)] if given else []
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name(launch.replica_id),
            "labels": labels(launch, terms.instance),
            "annotations": {MODEL: launch.model_id, "cluster-autoscaler.kubernetes.io/safe-to-evict": "true"},
        },
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": max(1, round(terms.stop_seconds)),
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": settings.user,
                "runAsGroup": settings.user,
                "fsGroup": settings.user,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [_replica(launch, terms)],
            "volumes": _volumes(launch, given=given),
            **{field: value for field, value in optional.items() if value},
        },
    }


def _replica(launch: Launch, terms: PodTerms) -> Json:
    variables = {**for_model(launch), **WRITES, MARKER: launch.replica_id}
    mounts = [{"name": "files", "mountPath": FOLDER, "readOnly": True}, {"name": "tmp", "mountPath": TEMPORARY}]
    if launch.secrets:
        mounts.append({"name": "secrets", "mountPath": SECRETS_FOLDER})
    return {
        "name": CONTAINER,
        "image": launch.docker_image,
        "imagePullPolicy": terms.settings.pull,
        "command": ["python", f"{FOLDER}/{HOST.name}", FOLDER],
        "env": [{"name": key, "value": _literal(text)} for key, text in variables.items() if key not in IMAGES_OWN],
        "ports": [{"name": "http", "containerPort": PORT}],
        "resources": _resources(launch),
        "securityContext": _confined(terms.settings),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    }


def _handing_over(launch: Launch, terms: PodTerms) -> Json:
    """Return the init container that copies the given secrets into the Pod's memory, as the replica's own user."""
    return {
        "name": "secrets",
        "image": launch.docker_image,
        "imagePullPolicy": terms.settings.pull,
        "command": ["python", "-I", "-c", COPY],
        "resources": _resources(launch),
        "securityContext": _confined(terms.settings),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "given", "mountPath": SOURCE_FOLDER, "readOnly": True},
            {"name": "secrets", "mountPath": SECRETS_FOLDER},
        ],
    }


def _confined(settings: KubernetesSettings) -> Json:
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": settings.read_only,
    }


def _resources(launch: Launch) -> Json:
    """Return equal requests and limits: a replica has what was deployed, and nothing of its neighbours."""
    asked = launch.resources
    amounts = {
        quantities.CPU: quantities.shown_cpu(max(MIN_MILLICORES, asked.cpu_millicores)),
        quantities.MEMORY: str(asked.memory_bytes),
        **({quantities.GPU: str(asked.gpus)} if asked.gpus else {}),
    }
    return {"requests": amounts, "limits": dict(amounts)}


def _volumes(launch: Launch, *, given: bool) -> list[Json]:
    """Return the volumes; files of Secrets can be read by the Pod's group, in which the replica's user alone is."""
    volumes: list[Json] = [
        {"name": "files", "secret": {"secretName": name(launch.replica_id), "defaultMode": 0o440}},
        {"name": "tmp", "emptyDir": {}},
    ]
    if given:
        volumes += [
            # Optional: it is deleted once the replica has its secrets, and the kubelet then empties the volume.
            {
                "name": "given",
                "secret": {"secretName": given_name(launch.replica_id), "defaultMode": 0o440, "optional": True},
            },
            {"name": "secrets", "emptyDir": {"medium": "Memory"}},
        ]
    return volumes


def _spread(key: str, launch: Launch, terms: PodTerms) -> Json:
    own = labels(launch, terms.instance)
    same_model = {label: own[label] for label in (INSTANCE, MODEL) if label in own}
    return {
        "maxSkew": 1,
        "topologyKey": key,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": same_model},
    }


def _literal(text: str) -> str:
    """Return a value in which Kubernetes replaces nothing: it reads ``$(NAME)`` as another variable."""
    return text.replace("$(", "$$(")
