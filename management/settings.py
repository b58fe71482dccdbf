"""Every setting of the management, read from the environment once."""

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
    """Environment variables begin with ``ATELIER_``."""

    model_config = SettingsConfigDict(
        env_prefix="ATELIER_", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True
    )

    home: Path = Path(".atelier")
    """The folder of everything that is kept: database, first key, replicas with their logs. Made with mode 0700."""

    database_url: str | None = None
    """An SQLAlchemy URL. Default: the SQLite file ``atelier.db`` in ``home``."""

    api_key: SecretStr | None = None
    """An admin key of your choice, at least 8 characters. Default: one is made at the first
    start, and kept in ``admin.key``."""

    keys_for_models: bool = False
    """Whether the models' own endpoints (``/classify``, ``/infer`` ...) need a key as well: operator or admin."""

    language: Literal["zh", "fr", "en"] = "zh"
    """Language of messages to callers that send no Accept-Language."""

    backend: Literal["process", "docker", "bentocloud"] = "process"
    """Where replicas run: in processes of this machine, in containers of its Docker Engine, or on BentoCloud."""

    allowed_environment: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)] = ()
    """Names of environment variables that deployments may set beside those which no library reads: patterns with ``*``,
    separated by commas, such as ``OMP_NUM_THREADS,TF_*``. Atelier's own settings stay refused."""

    docker_socket: Path = Path("/var/run/docker.sock")
    """The unix socket of the Docker Engine."""

    docker_pull: Literal["never", "missing"] = "never"
    """Whether images that the engine lacks are pulled from the registry in their name."""

    docker_images: str = "*"
    """Names of images that may be deployed, with ``*`` for any letters, separated by commas:
    ``atelier/*,registry.example/team/*``."""

    docker_network: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")] = "atelier"
    """The engine's network that replicas are put into; made if there is none, so that none reaches another."""

    docker_pids: Count = 512
    """Processes and threads that one container may have."""

    cloud_token: SecretStr | None = None
    """The API token of BentoCloud. Who can read this server's environment, or inherits it, has it."""

    cloud_token_file: Path | None = None
    """A file that holds only that token, which then is in no environment; read again when it changes."""

    cloud_endpoint_token: SecretStr | None = None
    """A token for protected endpoints only, which goes to models with each inference. Default: the API token."""

    cloud_endpoint_token_file: Path | None = None
    """A file with nothing but that token."""

    cloud_endpoint: str = "https://cloud.bentoml.com"
    """Where BentoCloud is reached; without TLS only on this machine."""

    cloud_cluster: str | None = None
    """The cluster that models run on. Default: the first one of the organization."""

    cloud_instance_type: str | None = None
    """The instance type of every replica. Default: the cheapest that has what a model asks for."""

    engine_seconds: Seconds = 5.0
    """Seconds between looks at an engine that keeps replicas by itself; a fifth of it while something changes."""

    public_url: str = "http://localhost:8080"
    """Address at which callers reach this server; the ``endpoints`` of a status begin with it."""

    overcommit: Annotated[float, Field(ge=1)] = 8.0
    """How many times the machine's cores and memory may be asked for by all replicas together; GPUs never are."""

    cpus: Annotated[float | None, Field(gt=0)] = None
    """Cores that replicas may ask for. Default: those of this machine."""

    memory: str | None = None
    """Memory that replicas may ask for, such as ``16Gi``. Default: that of this machine."""

    gpus: Annotated[int | None, Field(ge=0, le=64)] = None
    """GPUs that replicas may ask for. Default: those of this machine."""

    start_seconds: Seconds = 180.0
    """Seconds a replica has to become ready; then it is ended, and counts as failed."""

    start_attempts: Count = 3
    """Replicas that may fail in a row before a revision that was never ready is given up."""

    crash_attempts: Count = 5
    """The same of a revision that has been ready, when nothing of it is left."""

    retry_seconds: Seconds = 1.0
    """Seconds before a failed replica's successor is started; doubled with each failure, a minute at most."""

    steady_seconds: Seconds = 30.0
    """Seconds that a replica must be ready for its predecessors' failures to be forgotten."""

    drain_seconds: Annotated[float, Field(ge=0)] = 60.0
    """Seconds that requests in flight have when their replica is drained."""

    stop_seconds: Seconds = 5.0
    """Seconds from the signal to end until a replica is killed."""

    silence_seconds: Seconds = 30.0
    """Seconds that a ready replica may leave its probes unanswered before it is replaced."""

    keep_replicas: bool = False
    """Whether replicas run on when the server is stopped in an orderly way. They always outlive its crash."""

    idle_seconds: Seconds = 300.0
    """Seconds without a request after which a model with ``min_replicas`` 0 is ended; the next request starts it."""

    quiet_seconds: Seconds = 60.0
    """Seconds without need for them, after which replicas that the load once needed are ended."""

    hold_seconds: Annotated[float, Field(ge=0)] = 600.0
    """Seconds that a number of replicas set by ``scale`` stays before the load decides again."""

    spare_memory: str | None = None
    """Memory to keep free on the machine; below it, idle models with ``min_replicas`` 0 are stopped.
    Default: a twentieth of the machine's."""

    concurrency: Annotated[int, Field(ge=1, le=1024)] = 32
    """Requests that one replica gets at a time from each worker; further ones wait in the queue."""

    queue_size: Annotated[int, Field(ge=0)] = 256
    """Requests that may wait for one model in each worker; further ones get 503. What is less urgent does not
    count, so that three times as many may wait where all priorities are asked for."""

    queue_bytes: Annotated[int, Field(ge=0)] = 256 * 1024 * 1024
    """Bytes of all requests that may wait for one model in each worker; further ones get 503. A quarter is kept for
    what is more urgent than low, another one for high."""

    ageing_seconds: Seconds = 10.0
    """Seconds of waiting that are worth one step of priority: low is served before high that came 20 s later."""

    lease_seconds: Seconds = 3.0
    """Seconds after its last sign that a worker loses the right to start and stop replicas."""

    refresh_seconds: Seconds = 0.2
    """Seconds between looks for what other workers changed."""

    log_bytes: Annotated[int, Field(ge=4096)] = 10 * 1024 * 1024
    """Bytes of the end of a replica's log that are kept, in two parts."""

    failed_logins: Count = 20
    """Wrong keys from one address in a minute after which further ones are answered 429."""

    failpoint: str | None = None
    """Where this process ends at once, for tests: a name of ``failpoints.py`` and ``:exit``."""

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
        """Those that every engine has are the host's, none at all, or everybody's."""
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
        """Empty is none; any other must be one that a header can carry."""
        if key is None or not key.get_secret_value():
            return None
        check_chosen(key.get_secret_value())
        return key

    @field_validator("cloud_endpoint")
    @classmethod
    def _private(cls, url: str) -> str:
        """The token is sent there."""
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
        """The database's URL."""
        return self.database_url or f"sqlite:///{self.home.absolute() / 'atelier.db'}"

    @property
    def database_folder(self) -> Path:
        """The folder of an SQLite database; ``home`` where the database is elsewhere."""
        url = make_url(self.database)
        own = url.get_backend_name() == "sqlite" and url.database
        return Path(url.database).parent if own and url.database else self.home.absolute()

    @property
    def bentoml_home(self) -> Path:
        """BentoML's own folder, with the Bento store: ``BENTOML_HOME``, or one beside everything else."""
        return Path(os.environ.get("BENTOML_HOME") or self.home / "bentoml").absolute()

    @property
    def replicas(self) -> Path:
        """The replicas' folders."""
        return self.home.absolute() / "replicas"


def token_in(file: Path) -> SecretStr:
    """The token that is all of a file. Raises ValueError where there is none, or it cannot be read."""
    try:
        token = file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ValueError(f"{file} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError:
        raise ValueError(f"{file} has no text for a token") from None
    check_chosen(token)
    return SecretStr(token)


@cache
def settings() -> Settings:
    """The settings of this process."""
    return Settings()
