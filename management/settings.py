"""All settings of the management, read once from the environment."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy import make_url

from management.domain import environment_names, quantities
from management.domain.keys import check_chosen
from management.faults import failpoints
from management.urls import private

Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(gt=0)]


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class Settings(BaseSettings):
    """The settings; each is read from the environment variable of its name with the prefix ``ATELIER_``."""

    model_config = SettingsConfigDict(
        env_prefix="ATELIER_", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True
    )

    home: Path = Path(".atelier")
    """Folder of everything that is kept: database, first key, replicas with their logs. Created with mode 0700."""

    database_url: str | None = None
    """An SQLAlchemy URL. Default: the SQLite file ``atelier.db`` in ``home``."""

    api_key: SecretStr | None = None
    """An admin key of your choice, at least 8 characters. Default: one is generated at the first
    start, and kept in ``admin.key``."""

    keys_for_models: bool = False
    """Whether the models' own endpoints (``/classify``, ``/infer`` ...) require a key of an operator or admin, too."""

    language: Literal["zh", "fr", "en"] = "zh"
    """Language of messages to clients that send no Accept-Language."""

    backend: Literal["process", "docker", "bentocloud"] = "process"
    """Where replicas run: in processes of this machine, in containers of its Docker Engine, or on BentoCloud."""

    allowed_environment: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)] = ()
    """Further environment variables that deployments may set, beside those that no library reads: patterns with ``*``,
    separated by commas, such as ``OMP_NUM_THREADS,TF_*``. Atelier's own settings stay refused."""

    docker_socket: Path = Path("/var/run/docker.sock")
    """Unix socket of the Docker Engine."""

    docker_pull: Literal["never", "missing"] = "never"
    """Whether images that the engine does not have are pulled from the registry in their name."""

    docker_images: str = "*"
    """Names of images that may be deployed: patterns with ``*``, separated by commas, such as
    ``atelier/*,registry.example/team/*``."""

    docker_network: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")] = "atelier"
    """Network of the engine for replicas; created without a connection between replicas if it does not exist."""

    docker_pids: Count = 512
    """Processes and threads that one container may have."""

    cloud_token: SecretStr | None = None
    """API token of BentoCloud. Every process that can read or inherits this server's environment has it."""

    cloud_token_file: Path | None = None
    """File with only that token, which is then in no environment; it is read again when it changes."""

    cloud_endpoint_token: SecretStr | None = None
    """Token for protected endpoints only, which is sent to models with each inference. Default: the API token."""

    cloud_endpoint_token_file: Path | None = None
    """File with only that token."""

    cloud_endpoint: str = "https://cloud.bentoml.com"
    """URL of BentoCloud; without TLS only on this machine."""

    cloud_cluster: str | None = None
    """Cluster that models run on. Default: the organization's first cluster."""

    cloud_instance_type: str | None = None
    """Instance type of every replica. Default: the cheapest one with the resources that a model requests."""

    engine_seconds: Seconds = 5.0
    """Seconds between observations of an engine that keeps replicas by itself; a fifth of that during changes."""

    public_url: str = "http://localhost:8080"
    """URL at which clients reach this server; the ``endpoints`` of a status begin with it."""

    overcommit: Annotated[float, Field(ge=1)] = 8.0
    """Multiple of the machine's cores and memory that all replicas together may request; GPUs are not overcommitted."""

    cpus: Annotated[float | None, Field(gt=0)] = None
    """Cores that replicas may request. Default: those of this machine."""

    memory: str | None = None
    """Memory that replicas may request, such as ``16Gi``. Default: that of this machine."""

    gpus: Annotated[int | None, Field(ge=0, le=64)] = None
    """GPUs that replicas may request. Default: those of this machine."""

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

    keep_replicas: bool = False
    """Whether replicas run on when the server is stopped normally. They always outlive a crash of it."""

    idle_seconds: Seconds = 300.0
    """Seconds without a request after which a model with ``min_replicas`` 0 stops; the next request starts it."""

    quiet_seconds: Seconds = 60.0
    """Seconds of lower load after which surplus replicas are ended."""

    hold_seconds: Annotated[float, Field(ge=0)] = 600.0
    """Seconds for which autoscaling keeps a number of replicas that was set by ``scale``."""

    spare_memory: str | None = None
    """Memory to keep free on the machine; below it, idle models with ``min_replicas`` 0 are stopped.
    Default: a twentieth of the machine's memory."""

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

    lease_seconds: Seconds = 3.0
    """Seconds after its last renewal at which a worker loses the right to start and stop replicas."""

    refresh_seconds: Seconds = 0.2
    """Seconds between checks for changes by other workers."""

    log_bytes: Annotated[int, Field(ge=4096)] = 10 * 1024 * 1024
    """Bytes of the end of a replica's log that are kept, in two files."""

    failed_logins: Count = 20
    """Wrong keys from one address in a minute; further ones get 429."""

    failpoint: str | None = None
    """Failpoint at which this process ends, for tests: a name in ``failpoints.py`` with ``:exit``."""

    @field_validator("memory", "spare_memory")
    @classmethod
    def _quantity(cls, text: str | None) -> str | None:
        if text is None:
            return None
        try:
            meant = quantities.too_little_memory(text)
        except ValueError:
            raise ValueError("must be a quantity of memory, such as 16Gi") from None
        if meant is not None:
            raise ValueError(f"is less than 1 MiB; did you mean {meant}?")
        return text

    @field_validator("docker_network")
    @classmethod
    def _own_network(cls, name: str) -> str:
        """Refuse the networks that every engine has: they give no isolation, or no connection."""
        if name in ("host", "none", "bridge", "default"):
            raise ValueError("must name a network of its own")
        return name

    @field_validator("allowed_environment")
    @classmethod
    def _patterns(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        if not all(map(environment_names.PATTERN.match, patterns)):
            raise ValueError("must be names in capital letters, with * for any letters, separated by commas")
        return patterns

    @field_validator("failpoint")
    @classmethod
    def _known(cls, text: str | None) -> str | None:
        if text:
            failpoints.check(text)
        return text or None

    @field_validator("api_key", "cloud_token", "cloud_endpoint_token")
    @classmethod
    def _sendable(cls, key: SecretStr | None) -> SecretStr | None:
        """Turn an empty key into None. Raises ValueError for one that a header cannot carry."""
        if key is None or not key.get_secret_value():
            return None
        check_chosen(key.get_secret_value())
        return key

    @field_validator("cloud_endpoint")
    @classmethod
    def _private(cls, url: str) -> str:
        """Require a URL that the token may be sent to."""
        return private(url)

    @model_validator(mode="after")
    def _complete(self) -> Settings:
        if self.backend == "bentocloud":
            if self.cloud_token is None and self.cloud_token_file is None:
                raise ValueError("ATELIER_CLOUD_TOKEN_FILE or ATELIER_CLOUD_TOKEN is needed for BentoCloud")
            for file in filter(None, (self.cloud_token_file, self.cloud_endpoint_token_file)):
                token_in(file)
        return self

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


def token_in(file: Path) -> SecretStr:
    """Return the token that is the whole text of a file. Raises ValueError without one, or for an unreadable file."""
    try:
        token = file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ValueError(f"{file} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError:
        raise ValueError(f"{file} is not a text file with a token") from None
    check_chosen(token)
    return SecretStr(token)


@cache
def settings() -> Settings:
    """Return the settings of this process."""
    return Settings()
