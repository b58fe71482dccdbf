"""The settings, in groups by what reads them. ``configuration`` reads all groups from the environment at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy import make_url

from management.domain import environment_names, quantities
from management.domain.keys import check_chosen


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


Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(gt=0)]
Memory = Annotated[str | None, AfterValidator(_memory)]
Key = Annotated[SecretStr | None, AfterValidator(_sendable)]
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
    """An SQLAlchemy URL. Default: the SQLite file ``atelier.db`` in ``home``."""

    @property
    def database(self) -> str:
        """SQLAlchemy URL of the database."""
        return self.database_url or f"sqlite:///{self.home.absolute() / 'atelier.db'}"

    @property
    def database_folder(self) -> Path:
        """Folder of an SQLite database; ``home`` for any other database."""
        url = make_url(self.database)
        is_file = url.get_backend_name() == "sqlite" and url.database
        return Path(url.database).parent if is_file and url.database else self.home.absolute()

    @property
    def bentoml_home(self) -> Path:
        """BentoML's own folder, with the Bento store: ``BENTOML_HOME``, or ``bentoml`` in ``home``."""
        return Path(os.environ.get("BENTOML_HOME") or self.home / "bentoml").absolute()

    @property
    def replicas(self) -> Path:
        """Folder of the replicas' folders."""
        return self.home.absolute() / "replicas"


class AccessSettings(SettingsGroup):
    """Keys."""

    api_key: Key = None
    """An admin key of your choice, at least 8 characters. Default: one is generated at the first
    start, and kept in ``admin.key``."""

    keys_for_models: bool = False
    """Whether the models' own endpoints (``/classify``, ``/infer`` ...) require a key of an operator or admin, too."""

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
