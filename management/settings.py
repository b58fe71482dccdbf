"""The settings, in groups by what reads them. ``configuration`` reads all groups from the environment at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from management.domain import environment_names, quantities
from management.domain.keys import check_chosen
from management.urls import check_store, sqlite_file


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _patterns(patterns: tuple[str, ...]) -> tuple[str, ...]:
    if not all(map(environment_names.PATTERN.match, patterns)):
        raise ValueError("must be names in capital letters, with * for any letters, separated by commas")
    return patterns


def _memory(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        meant = quantities.too_little_memory(text)
    except ValueError:
        raise ValueError("must be a quantity of memory, such as 16Gi") from None
    if meant is not None:
        raise ValueError(f"is less than 1 MiB; did you mean {meant}?")
    return text


def _sendable(key: SecretStr | None) -> SecretStr | None:
    """Turn an empty key into None. Raises ValueError for one that a header cannot carry."""
    if key is None or not key.get_secret_value():
        return None
    check_chosen(key.get_secret_value())
    return key


def _store_url(text: str | None) -> str | None:
    if text:
        check_store(text)
    return text or None


Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(gt=0)]
Memory = Annotated[str | None, AfterValidator(_memory)]
Key = Annotated[SecretStr | None, AfterValidator(_sendable)]
GIB: Final = 1024**3
READ: Any = {}
"""Default of a field that is a group: the group is read from the environment."""


class SettingsGroup(BaseSettings):
    """Settings that one part reads, each from the environment variable of its name with the group's prefix.

    The first line of a group's docstring is its heading in docs/settings.md.
    """

    model_config = SettingsConfigDict(
        env_prefix="ATELIER_", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True
    )


class StorageSettings(SettingsGroup):
    """Storage."""

    home: Path = Path(".atelier")
    """Folder of everything that is kept: database, first key, replicas with their logs. Created with mode 0700."""

    database_url: str | None = None
    """The database: ``postgresql://USER:PASSWORD@HOST/NAME``, with all options of libpq after a ``?``, for servers on
    several machines (postgresql.md); or ``sqlite:///FILE``. Default: the SQLite file ``atelier.db`` in ``home``."""

    store_url: Annotated[str | None, AfterValidator(_store_url)] = None
    """Where several control planes share Bentos and models: ``file:///folder``, which all of them mount, or
    ``s3://bucket/prefix?endpoint=https://host&region=name``; credentials come from the variables and files of AWS's own
    tools. Default: the Bento store is that of this machine alone. See several-control-planes.md."""

    secrets_key_file: Path | None = None
    """File with the keys that encrypt secrets in the database; made with mode 0600 when the first secret is set. It is
    in no back-up: keep a copy elsewhere. Several servers on one database need the same file. Default: ``secrets.key``
    in ``home``."""

    @property
    def secrets_key(self) -> Path:
        """File with the keys that encrypt secrets."""
        return (self.secrets_key_file or self.home / "secrets.key").absolute()

    @property
    def database(self) -> str:
        """SQLAlchemy URL of the database."""
        return self.database_url or f"sqlite:///{self.home.absolute() / 'atelier.db'}"

    @property
    def database_folder(self) -> Path:
        """Folder of an SQLite database; ``home`` for any other database."""
        file = self.database_file
        return self.home.absolute() if file is None else file.parent

    @property
    def database_file(self) -> Path | None:
        """File of an SQLite database; None for any other database."""
        return sqlite_file(self.database)

    @property
    def bentoml_home(self) -> Path:
        """BentoML's own folder, with the Bento store: ``BENTOML_HOME``, or ``bentoml`` in ``home``."""
        return Path(os.environ.get("BENTOML_HOME") or self.home / "bentoml").absolute()

    @property
    def replicas(self) -> Path:
        """Folder of the replicas' folders."""
        return self.home.absolute() / "replicas"

    @property
    def environments(self) -> Path:
        """Folder of the Bentos' own environments."""
        return self.home.absolute() / "environments"


class BentoSettings(SettingsGroup):
    """Bentos that are pushed."""

    model_config = SettingsConfigDict(env_prefix="ATELIER_BENTO_")

    upload_bytes: Annotated[int, Field(ge=1024)] = 20 * GIB
    """Bytes of the largest archive; a larger one gets 413. The default has room for a language model of 8 billion
    parameters in 16 bits each."""

    unpacked_bytes: Annotated[int, Field(ge=1024)] = 40 * GIB
    """Bytes of all files in an archive. Weights are hardly compressed, and sources seldom to less than half."""

    file_bytes: Annotated[int, Field(ge=1024)] = 20 * GIB
    """Bytes of the largest file in an archive."""

    files: Count = 50_000
    """Files and folders in an archive: more than a large environment of Python packages has."""

    downloads: Count = 32
    """Downloads of Bentos and models that each worker sends at a time; further ones get 503."""


class AccessSettings(SettingsGroup):
    """Keys."""

    api_key: Key = None
    """An admin key of your choice, at least 8 characters. Default: one is generated at the first
    start, and kept in ``admin.key``."""

    keys_for_models: bool = False
    """Whether the models' own endpoints (``/classify``, ``/infer`` ...) require a key of an operator or admin, too."""

    open_models: bool = True
    """Whether a deployment may say that its model's own address needs no key (``access_authorization: false``), which
    is the default of BentoML's commands."""

    failed_logins: Count = 20
    """Wrong keys from one address in a minute; further ones get 429."""


class ApiSettings(SettingsGroup):
    """The API."""

    language: Literal["zh", "fr", "en"] = "zh"
    """Language of messages to clients that send no Accept-Language."""

    public_url: str = "http://localhost:8080"
    """URL at which clients reach this server; the ``endpoints`` of a status begin with it."""

    allowed_environment: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_patterns)] = ()
    """Further environment variables that deployments may set, beside those that no library reads: patterns with ``*``,
    separated by commas, such as ``OMP_NUM_THREADS,TF_*``. Atelier's own settings stay refused."""

    instance_types: Path | None = None
    """A TOML file with the instance types that BentoML's commands may name, such as ``/etc/atelier/types.toml``; its
    form is in bentoml-commands.md. Default: parts of this machine."""


class CapacitySettings(SettingsGroup):
    """Capacity for replicas."""

    overcommit: Annotated[float, Field(ge=1)] = 8.0
    """Multiple of the machine's cores and memory that all replicas together may request; GPUs are not overcommitted."""

    cpus: Annotated[float | None, Field(gt=0)] = None
    """Cores that replicas may request. Default: those of this machine."""

    memory: Memory = None
    """Memory that replicas may request, such as ``16Gi``. Default: that of this machine."""

    gpus: Annotated[int | None, Field(ge=0, le=64)] = None
    """GPUs that replicas may request. Default: those of this machine."""

    spare_memory: Memory = None
    """Memory to keep free on the machine; below it, idle models with ``min_replicas`` 0 are stopped.
    Default: a twentieth of the machine's memory."""


class ReplicaSettings(SettingsGroup):
    """The life of a replica."""

    start_seconds: Seconds = 180.0
    """Seconds that a replica has to become ready; after that it is ended and counts as failed."""

    start_attempts: Count = 3
    """Replicas that may fail in a row before a revision that was never ready counts as failed."""

    crash_attempts: Count = 5
    """Replicas that may fail in a row before a revision that has been ready counts as failed, once none is left."""

    retry_seconds: Seconds = 1.0
    """Seconds before a failed replica is replaced; doubled by each further failure, up to a minute."""

    steady_seconds: Seconds = 30.0
    """Seconds that a replica must be ready before earlier failures no longer count."""

    drain_seconds: Annotated[float, Field(ge=0)] = 60.0
    """Seconds that requests in flight have to finish when their replica is drained."""

    stop_seconds: Seconds = 5.0
    """Seconds between SIGTERM and SIGKILL for a replica."""

    silence_seconds: Seconds = 30.0
    """Seconds without an answer to a probe after which a ready replica is replaced."""

    log_bytes: Annotated[int, Field(ge=4096)] = 10 * 1024 * 1024
    """Bytes of the end of a replica's log that are kept, in two files."""

    engine_seconds: Seconds = 5.0
    """Seconds between observations of an engine that keeps replicas by itself; a fifth of that during changes."""


class AutoscalingSettings(SettingsGroup):
    """Autoscaling."""

    idle_seconds: Seconds = 300.0
    """Seconds without a request after which a model with ``min_replicas`` 0 stops; the next request starts it."""

    quiet_seconds: Seconds = 60.0
    """Seconds of lower load after which surplus replicas are ended."""

    hold_seconds: Annotated[float, Field(ge=0)] = 600.0
    """Seconds for which autoscaling keeps a number of replicas that was set by ``scale``."""


class QueueSettings(SettingsGroup):
    """Queues of requests."""

    concurrency: Annotated[int, Field(ge=1, le=1024)] = 32
    """Requests that each worker sends to one replica at a time; further ones wait in the queue."""

    queue_size: Annotated[int, Field(ge=0)] = 256
    """Requests that may wait for one model in each worker; further ones get 503. Only requests of equal or higher
    priority count, so that up to three times as many may wait when all three priorities are used."""

    queue_bytes: Annotated[int, Field(ge=0)] = 256 * 1024 * 1024
    """Bytes of all requests that may wait for one model in each worker; further ones get 503. A quarter is reserved
    for priorities above low, and another quarter for high."""

    ageing_seconds: Seconds = 10.0
    """Seconds of waiting that equal one step of priority: low is served before high that came 20 s later."""


class AddressSettings(SettingsGroup):
    """Models' own addresses."""

    call_bytes: Annotated[int, Field(ge=1)] = 1024**3
    """Bytes of the largest body of a request to a model's own address; larger ones get 413."""

    stream_seconds: Seconds = 300.0
    """Seconds without a piece after which an answer that has begun, or a websocket, is ended."""
