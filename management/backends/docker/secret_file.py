"""Secrets on their way into a container: a file that its user alone may read, and that the replica wipes at its start.

Variables of the container would be shown, by its description, to everybody who can ask the engine.
"""

from __future__ import annotations

import io
import tarfile
from typing import Any, Final

from management.backends.docker.client import DockerEngine, archive_of
from management.backends.docker.container import archive
from management.backends.launcher import Launch, LaunchRefused
from management.backends.replica.received_secrets import encoded

LABEL: Final = "atelier.secrets"
"""Label of a container that was given secrets; it has none of them."""
FILE: Final = "secrets"
"""Name of the file."""


async def private_files(
    engine: DockerEngine, launch: Launch, container: dict[str, Any]
) -> tuple[dict[str, bytes], int]:
    """Return the file for a container that was not started yet, and the number of its user.

    Raises LaunchRefused when the image's user has no number.
    """
    if not launch.secrets:
        return {}, 0
    user, passwd = str(container["Config"].get("User") or ""), b""
    if not user.partition(":")[0].isdecimal():
        passwd = await engine.call(lambda client: file_of(client, container["Id"], "/etc/passwd"))
    owner = user_id(user, passwd)
    if owner is None:
        raise LaunchRefused(f"{launch.docker_image} does not know its own user, who is to read the secrets")
    return {FILE: encoded(launch.secrets.variables, launch.secrets.files, launch.secrets.paths)}, owner


async def wipe(engine: DockerEngine, name: str, folder: str) -> None:
    """Wipe the file of a container that ended before it read its secrets: it stays for its log."""
    container = await engine.inspect(name)
    if container is not None and LABEL in (container["Config"].get("Labels") or {}):
        empty = archive(folder, {}, {FILE: b""})
        await engine.call(lambda client: client.put_archive(name, "/", empty))


def file_of(client: Any, container_id: str, path: str) -> bytes:
    """Return a file of a container; empty where it has no such file."""
    pieces = archive_of(client, container_id, path)
    return b"" if pieces is None else _only_file(b"".join(pieces))


def _only_file(packed: bytes) -> bytes:
    """Return the content of the only file of a tar archive; empty when it is no regular file."""
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        member = tar.next()
        file = None if member is None else tar.extractfile(member)
        return b"" if file is None else file.read()


def user_id(user: str, passwd: bytes) -> int | None:
    """Return the number of an image's USER, which may be a name in its ``/etc/passwd``; None for an unknown name."""
    name = user.partition(":")[0]
    if name.isdecimal():
        return int(name)
    fields = (line.split(":") for line in passwd.decode(errors="replace").splitlines())
    return next((int(line[2]) for line in fields if line[0] == name and len(line) > 2 and line[2].isdecimal()), None)
