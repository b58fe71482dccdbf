"""What a Bento is, by its files alone: its APIs, its paths, and what it needs to run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from management.domain.bento_tag import Tag

SYSTEM_PATHS: Final = frozenset({"/", "/docs.json", "/healthz", "/livez", "/metrics", "/readyz", "/schema.json"})
"""Paths that BentoML adds to every service."""
SYSTEM_FOLDERS: Final = ("/static_content/", "/assets/")
"""Folders of the pages that BentoML adds to every service."""
TASK_ROUTES: Final = ("/submit", "/status", "/get", "/retry", "/cancel")
"""What BentoML adds to the route of a task."""
CONTRACT_ROUTE: Final = "/infer"
"""Route of the model contract: a list of items in, a result for each item out."""
CONTRACT_ARGUMENT: Final = "requests"
"""The only argument of the model contract."""
DOCS: Final = "/docs"
"""Path of a page about the APIs."""
ROOT_ARGUMENT: Final = "input"
"""Name under which a caller gives the body of an API that takes its body as one value without named properties."""
DEFINITION: Final = "#/$defs/"
"""Beginning of a reference to one of an API's definitions."""


@dataclass(frozen=True)
class BentoApi:
    """An API of a service, as the service's schema describes it."""

    name: str
    route: str
    """Path, which begins with ``/``."""
    description: str = ""
    arguments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """JSON schema of each argument, by name; BentoML adds the types ``file``, ``tensor`` and ``dataframe``."""
    required: frozenset[str] = frozenset()
    """Arguments without a default."""
    root: Mapping[str, Any] | None = None
    """JSON schema of the whole body, for an API that takes its body as one value; such an API has no arguments."""
    definitions: Mapping[str, Any] = field(default_factory=dict)
    """JSON schemas that the others refer to as ``#/$defs/NAME``."""
    output: Mapping[str, Any] = field(default_factory=dict)
    """JSON schema of the answer."""
    batchable: bool = False
    streams: bool = False
    """Whether the answer is a stream of pieces."""
    is_task: bool = False

    @property
    def body_schema(self) -> Mapping[str, Any]:
        """JSON schema of the whole body, of which a reference is followed once; empty for one with named arguments."""
        root = dict(self.root or {})
        name = str(root.pop("$ref", "")).removeprefix(DEFINITION)
        target = self.definitions.get(name)
        return {**target, **root} if isinstance(target, Mapping) else self.root or {}

    @property
    def inputs(self) -> Mapping[str, Mapping[str, Any]]:
        """JSON schema of everything that a caller may give, by name."""
        if self.root is None:
            return self.arguments
        properties = self.body_schema.get("properties")
        return properties if isinstance(properties, Mapping) else {ROOT_ARGUMENT: self.root}

    @property
    def required_inputs(self) -> frozenset[str]:
        """The names that a caller has to give."""
        if self.root is None:
            return self.required
        if self.takes_one_value:
            return frozenset() if "default" in self.root else frozenset({ROOT_ARGUMENT})
        return frozenset(self.body_schema.get("required") or ())

    @property
    def takes_one_value(self) -> bool:
        """Whether its body is one value without named properties."""
        return self.root is not None and self.inputs.get(ROOT_ARGUMENT) is self.root

    @property
    def signature(self) -> str:
        """Its name with what a caller may give; a question mark follows what may be omitted."""
        names = (name if name in self.required_inputs else f"{name}?" for name in self.inputs)
        return f"{self.name}({', '.join(names)})"

    @property
    def follows_contract(self) -> bool:
        """Whether this is the API of the model contract."""
        return self.route == CONTRACT_ROUTE and self.root is None and set(self.arguments) == {CONTRACT_ARGUMENT}


@dataclass(frozen=True)
class PythonNeeds:
    """What a Bento needs to be installed."""

    version: str = ""
    """Minor version of Python, such as ``3.11``; empty where the Bento names none."""
    requirements: tuple[str, ...] = ()
    """Requirements as their author wrote them; of a Bento that has only pinned ones, those."""
    system_packages: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    """Commands and scripts that its author has run in its image, beside those that BentoML adds by itself."""
    conda: bool = False
    base_image: str = ""
    """The image that the author builds on; empty for BentoML's choice."""


@dataclass(frozen=True)
class TrafficLimits:
    """The ``traffic`` settings of a service."""

    timeout: float | None = None
    """Seconds that a request may take; None for BentoML's default."""
    concurrency: int | None = None
    """Requests that one replica takes at a time; None for no limit."""


@dataclass(frozen=True)
class Bento:
    """A Bento, by its files."""

    tag: Tag
    service: str
    """Name of the entry service."""
    bentoml_version: str
    created_at: str
    apis: tuple[BentoApi, ...]
    mounted_paths: tuple[str, ...] = ()
    """Paths of mounted applications, which may have parameters: ``/items/{id}``."""
    paths_complete: bool = False
    """Whether the service serves no other path than those of its APIs and of BentoML."""
    path_prefix: str = ""
    python: PythonNeeds = PythonNeeds()
    traffic: TrafficLimits = TrafficLimits()
    labels: Mapping[str, str] = field(default_factory=dict)
    models: tuple[str, ...] = ()
    """Tags of the models that it takes from the model store."""
    services: tuple[str, ...] = ()
    """Names of all its services; several where the entry service depends on others."""
    openapi: Mapping[str, Any] = field(default_factory=dict)
    """Its OpenAPI document; empty where it has none."""
    resources: Mapping[str, str] = field(default_factory=dict)
    """Resources that the entry service asks for, as BentoML names them: ``cpu``, ``memory``, ``gpu``."""

    @property
    def follows_contract(self) -> bool:
        """Whether its entry service has the API of the model contract.

        A service without APIs may have it in an application that it mounts, whose paths are not always known.
        """
        mounted = not self.apis and (not self.mounted_paths or CONTRACT_ROUTE in self.mounted_paths)
        return mounted or any(api.follows_contract for api in self.apis)

    @property
    def signatures(self) -> str:
        """Its APIs with what a caller may give to each."""
        return ", ".join(api.signature for api in self.apis) or "-"

    def api(self, name: str) -> BentoApi | None:
        """Return the API of that name or route; None where there is no such API."""
        return next((api for api in self.apis if name in (api.name, api.route, api.route.removeprefix("/"))), None)

    @property
    def has_docs(self) -> bool:
        """Whether ``/docs`` may be a page of its own."""
        listed = {*self.mounted_paths, *(api.route for api in self.apis)}
        if not self.paths_complete and not self.mounted_paths:
            return True
        # FastAPI does not list the routes of its routers, but always its document, here that of one at the root.
        return not listed.isdisjoint({DOCS, "/openapi.json"}) or any(path.startswith("/{") for path in listed)

    def serves(self, path: str) -> bool:
        """Return whether the service may serve the path; False only where its files show that it does not."""
        if not self.paths_complete or path in SYSTEM_PATHS or path.startswith(SYSTEM_FOLDERS):
            return True
        inner = path.removeprefix(self.path_prefix) or "/"
        if inner in SYSTEM_PATHS or inner.startswith(SYSTEM_FOLDERS):
            return True
        routes = {api.route for api in self.apis} | {
            api.route + suffix for api in self.apis if api.is_task for suffix in TASK_ROUTES
        }
        return path in routes
