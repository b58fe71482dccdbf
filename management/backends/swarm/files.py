"""The files of a replica as configs and secrets of Swarm, which keeps them in its encrypted log.

Configs hold no secret and have their content in their name, so that all replicas of a control plane share them; what
no service refers to is removed. Secrets belong to one replica: its token, and those that it was given. A container has
them in memory, readable by its user alone and read-only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from management.backends.docker.client import NOT_FOUND
from management.backends.docker.container import INSTANCE, REPLICA
from management.backends.launcher import LaunchRefused
from management.backends.swarm.service import MountedFile

CONFIG: Final = "atelier.config"
"""Label of a config; its value is the path of the file."""
MAX_SECRET_BYTES: Final = 500 * 1024
"""Bytes of the largest secret that Swarm takes."""
DIGEST_LETTERS: Final = 16


def put_configs(client: Any, instance: str, files: Mapping[str, bytes]) -> list[MountedFile]:
    """Return the configs that hold these files, by path; those that are missing are made."""
    known = {config["Spec"]["Name"]: config["ID"] for config in _configs(client, instance)}
    made = []
    for path, content in files.items():
        name = f"atelier-{instance}-{hashlib.sha256(path.encode() + content).hexdigest()[:DIGEST_LETTERS]}"
        if name not in known:
            known[name] = client.create_config(name, content, {INSTANCE: instance, CONFIG: path})["ID"]
        made.append(MountedFile(known[name], name, path))
    return made


def sweep_configs(client: Any, instance: str) -> None:
    """Remove the configs of this control plane that no service refers to."""
    services = client.services(filters={"label": [f"{INSTANCE}={instance}"]})
    used = {
        config["ConfigID"]
        for service in services
        for config in service["Spec"]["TaskTemplate"]["ContainerSpec"].get("Configs") or ()
    }
    for config in _configs(client, instance):
        if config["ID"] not in used:
            with suppress(NOT_FOUND):
                client.remove_config(config["ID"])


def _configs(client: Any, instance: str) -> list[dict[str, Any]]:
    configs: list[dict[str, Any]] = client.configs(filters={"label": [f"{INSTANCE}={instance}", CONFIG]})
    return configs


def put_secrets(
    client: Any, instance: str, replica_id: str, files: Mapping[str, bytes], owner: int
) -> list[MountedFile]:
    """Return new secrets with these files for the user with the number ``owner``.

    What an interrupted start has left is removed first: secrets may have changed since. Raises LaunchRefused for a file
    that is too large.
    """
    for path, content in files.items():
        if len(content) > MAX_SECRET_BYTES:
            raise LaunchRefused(f"its {path} have {len(content)} bytes; Swarm takes at most {MAX_SECRET_BYTES}")
    remove_secrets(client, instance, replica_id)
    labels, made = {INSTANCE: instance, REPLICA: replica_id}, []
    for path, content in files.items():
        name = f"atelier-{replica_id}-{path}"
        made.append(MountedFile(client.create_secret(name, content, labels)["ID"], name, path, owner, 0o400))
    return made


def remove_secrets(client: Any, instance: str, replica_id: str) -> None:
    """Remove the secrets of a replica; its service must refer to none of them."""
    for secret in client.secrets(filters={"label": [f"{INSTANCE}={instance}", f"{REPLICA}={replica_id}"]}):
        with suppress(NOT_FOUND):
            client.remove_secret(secret["ID"])


def with_secrets(client: Any, instance: str) -> set[str]:
    """Return the ids of all replicas that have secrets."""
    filters = {"label": [f"{INSTANCE}={instance}", REPLICA]}
    return {secret["Spec"]["Labels"][REPLICA] for secret in client.secrets(filters=filters)}
