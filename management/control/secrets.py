"""Secrets: set and deleted by administrators, named by deployments, and opened only when a replica is started.

The running replicas of a deployment keep the values that they started with. A replica that starts later gets the
current values, whatever its revision. A deployment whose update names its secrets again becomes a new revision if any
of them has changed, and is rolled out.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from management.auth.shared_identity import encrypt_anew
from management.domain.clock import SYSTEM, Clock
from management.domain.records import Deployment, Event, ModelConfig
from management.domain.secrets import NO_SECRETS, Secret, SecretContent, SecretReference, together
from management.encryption.key_file import EncryptionKey, KeyFile, KeyFileUnusable, new_key
from management.encryption.sealing import Unreadable, seal, sealed_by, unseal
from management.errors import InvalidModelConfig, Problem, SecretInUse, SecretNotFound, SecretsUnreadable
from management.store import Session, Store

FIELD: Final = "config.secrets"
"""The field of a problem with a deployment's secrets."""
VERSION_BYTES: Final = 8
"""Random bytes of a version."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredSecret:
    """A secret, and what names it."""

    secret: Secret
    model_ids: tuple[str, ...]
    """The models whose configuration names it, or whose last stable one does."""


class Secrets:
    """All secrets of one database, and the key file that opens them."""

    def __init__(self, store: Store, key_file: KeyFile, clock: Clock = SYSTEM) -> None:
        self._store, self._key_file, self._clock = store, key_file, clock

    async def all(self) -> list[StoredSecret]:
        """All secrets without their values; no key is needed."""
        return await self._store.read(lambda session: _stored(session, session.secrets.all()))

    async def get(self, name: str) -> StoredSecret:
        """One secret without its values. Raises SecretNotFound."""
        (found,) = await self._store.read(lambda session: _stored(session, [existing(session, name)]))
        return found

    async def put(self, name: str, content: SecretContent, actor: str) -> tuple[StoredSecret, bool]:
        """Set a secret, and return it with whether it is new. The same content again changes nothing.

        The first secret of all makes the key file. Raises SecretsUnreadable where that file is missing although
        secrets are stored, or cannot be used.
        """

        def write(session: Session) -> tuple[StoredSecret, bool]:
            is_new = session.secrets.get(name) is None
            return self._set(session, name, content, actor), is_new

        return await self._store.write(write)

    async def add(
        self, name: str, content: SecretContent, actor: str, description: str | None = None
    ) -> StoredSecret | None:
        """Set a secret that there is not yet; None, and no change, where there is. Raises as ``put`` does."""

        def write(session: Session) -> StoredSecret | None:
            return None if session.secrets.get(name) else self._set(session, name, content, actor, description)

        return await self._store.write(write)

    async def change(
        self, name: str, content: SecretContent, actor: str, description: str | None = None
    ) -> StoredSecret:
        """Set a secret that there is already. Raises SecretNotFound, and as ``put`` does."""

        def write(session: Session) -> StoredSecret:
            existing(session, name)
            return self._set(session, name, content, actor, description)

        return await self._store.write(write)

    def _set(
        self, session: Session, name: str, content: SecretContent, actor: str, description: str | None = None
    ) -> StoredSecret:
        """Set a secret; without a description, an earlier one stays. Another one makes no new version."""
        before, keys = session.secrets.get(name), self._keys_to_encrypt(session, name)
        if before is None or not _holds(before, content, keys):
            self._put(session, _described(name, content, before, self._clock, description), content, keys[0])
            _add_events(session, name, actor, self._clock)
        elif description not in (None, before.description):
            changed = replace(before, description=description or "", updated_at=self._clock.now())
            self._put(session, changed, content, keys[0])
        logger.info("secret %s was set by %s", name, actor)
        return _stored(session, [existing(session, name)])[0]

    def _keys_to_encrypt(self, session: Session, name: str) -> tuple[EncryptionKey, ...]:
        """The keys, read while no other process writes: a rotation encrypts what was written before it."""
        try:
            return self._key_file.read() if session.secrets.all() else self._key_file.read_or_make()
        except KeyFileUnusable as error:
            raise _unreadable(name, error) from None

    def _put(self, session: Session, secret: Secret, content: SecretContent, key: EncryptionKey) -> None:
        write = session.secrets.add if session.secrets.get(secret.name) is None else session.secrets.put
        write(_sealed(secret, content, key))

    async def delete(self, name: str, actor: str) -> None:
        """Delete a secret that no model names. Raises SecretNotFound and SecretInUse."""

        def write(session: Session) -> None:
            (found,) = _stored(session, [existing(session, name)])
            if found.model_ids:
                raise SecretInUse({"secret": name, "model_ids": list(found.model_ids)})
            session.secrets.remove(name)

        await self._store.write(write)
        logger.info("secret %s was deleted by %s", name, actor)

    async def contents(self, names: Iterable[str]) -> SecretContent:
        """The present content of these secrets together. Raises SecretsUnreadable and SecretNotFound, with a name."""
        wanted = list(names)
        if not wanted:
            return NO_SECRETS
        found = await self._store.read(lambda session: [existing(session, name) for name in wanted])
        try:
            keys = await asyncio.to_thread(self._key_file.read)
        except KeyFileUnusable as error:
            raise _unreadable(wanted[0], error) from None
        return together((secret.name, opened(secret, keys)) for secret in found)

    async def check(self, names: Iterable[str]) -> None:
        """Raises SecretsUnreadable for a secret that exists and cannot be opened now."""
        known = {stored.secret.name for stored in await self.all()}
        await self.contents(name for name in names if name in known)

    async def require_key(self) -> None:
        """Raise RuntimeError where the key file here does not open the secrets of the database."""
        try:
            await self.check([stored.secret.name for stored in await self.all()])
        except SecretsUnreadable as error:
            raise RuntimeError(
                f"{self._key_file.path} does not open the secrets of the database ({error.details.get('reason')}): "
                "copy the key file of another control plane, and name it by ATELIER_SECRETS_KEY_FILE"
            ) from None

    def rotate(self, *, drop_old: bool = False) -> int:
        """Encrypt all secrets with a new key, and return their number; for the command line, in this thread.

        The old keys stay in the file, because back-ups were encrypted with them, unless ``drop_old``. A server may run,
        and another rotation waits. Raises SecretsUnreadable, with nothing changed but the new key in the file, and
        OSError.
        """
        with self._key_file.locked():
            return self._rotate(drop_old=drop_old)

    def _rotate(self, *, drop_old: bool) -> int:
        try:
            keys = [new_key(), *self._key_file.read_or_make()]
            self._key_file.write(keys)  # first: nothing may be encrypted with a key that is not stored
        except KeyFileUnusable as error:
            raise _unreadable("", error) from None
        with self._store.writing() as session:
            stale = [secret for secret in session.secrets.all() if not sealed_by(keys[0], secret.sealed)]
            for secret in stale:
                session.secrets.put(_sealed(secret, opened(secret, keys), keys[0]))
            try:
                encrypt_anew(session, keys)
            except Unreadable as error:
                raise _unreadable("", error) from None
        if drop_old:
            self._key_file.write(keys[:1])
        return len(stale)


def existing(session: Session, name: str) -> Secret:
    """The secret of that name. Raises SecretNotFound."""
    secret = session.secrets.get(name)
    if secret is None:
        raise SecretNotFound({"secret": name})
    return secret


def with_versions(session: Session, config: ModelConfig) -> ModelConfig:
    """The configuration with the present versions of its secrets. Raises InvalidModelConfig for absent ones."""
    versions = {secret.name: secret.version for secret in session.secrets.all()} if config.secrets else {}
    absent = [reference.name for reference in config.secrets if reference.name not in versions]
    if absent:
        raise InvalidModelConfig(*(Problem(FIELD, "secret_absent", {"found": name}) for name in absent))
    references = (SecretReference(reference.name, versions[reference.name]) for reference in config.secrets)
    return replace(config, secrets=tuple(references))


def opened(secret: Secret, keys: Sequence[EncryptionKey]) -> SecretContent:
    """The content of a secret. Raises SecretsUnreadable, without any value."""
    try:
        value = json.loads(unseal(keys, secret.sealed, _bound(secret)))
    except Unreadable as error:
        raise _unreadable(secret.name, error) from None
    files = {path: b64decode(data) for path, data in value["files"].items()}
    return SecretContent(value["variables"], files, secret.paths)


def _sealed(secret: Secret, content: SecretContent, key: EncryptionKey) -> Secret:
    files = {path: b64encode(data).decode() for path, data in content.files.items()}
    value = json.dumps({"variables": dict(content.variables), "files": files}).encode()
    return replace(secret, sealed=seal(key, value, _bound(secret)))


def _bound(secret: Secret) -> bytes:
    """What is shown of a secret: changing it in the database makes the secret unreadable."""
    shown: list[Any] = [secret.name, secret.version, secret.variables, secret.files, sorted(secret.paths.items())]
    if secret.description:  # those of versions before were sealed without any
        shown.append(secret.description)
    return json.dumps(["atelier secret", *shown]).encode()


def _holds(secret: Secret, content: SecretContent, keys: Sequence[EncryptionKey]) -> bool:
    """Whether a stored secret has this content; False for one that cannot be opened, which is then replaced."""
    try:
        return opened(secret, keys) == content
    except SecretsUnreadable:
        return False


def _described(
    name: str, content: SecretContent, before: Secret | None, clock: Clock, description: str | None
) -> Secret:
    """A new version of a secret, still without its values."""
    now = clock.now()
    earlier = "" if before is None else before.description
    return Secret(
        name=name,
        version=secrets.token_hex(VERSION_BYTES),
        variables=tuple(sorted(content.variables)),
        files=tuple(sorted(content.files)),
        paths=dict(sorted(content.paths.items())),
        sealed=b"",
        created_at=now if before is None else before.created_at,
        updated_at=now,
        description=earlier if description is None else description,
    )


def _add_events(session: Session, name: str, actor: str, clock: Clock) -> None:
    """Record the change for each model that names the secret."""
    for deployment in _users(session.deployments.all(), name):
        details = {"secret": name}
        session.events.add(Event(clock.now(), deployment.model_id, deployment.id, actor, "secret_changed", details))


def _stored(session: Session, found: Iterable[Secret]) -> list[StoredSecret]:
    deployments = session.deployments.all()
    return [
        StoredSecret(secret, tuple(deployment.model_id for deployment in _users(deployments, secret.name)))
        for secret in found
    ]


def _users(deployments: Iterable[Deployment], name: str) -> list[Deployment]:
    """The deployments that name the secret; those that are being deleted start no replica, and do not count."""
    return [deployment for deployment in deployments if not deployment.deletion and name in _named(deployment)]


def _named(deployment: Deployment) -> set[str]:
    """The secrets of the target revision, and of the last stable one, which a failed update falls back to."""
    revisions = [revision for revision in (deployment.target, deployment.last_stable) if revision is not None]
    return {reference.name for revision in revisions for reference in revision.config.secrets}


def _unreadable(name: str, error: Exception) -> SecretsUnreadable:
    return SecretsUnreadable({**({"secret": name} if name else {}), "reason": str(error)})
