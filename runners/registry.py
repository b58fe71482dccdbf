"""The registry of models: one row each, from which services, limits, deployment files, docs and tests are generated.

It imports only the standard library, because scripts that run before the installation read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

MIB: Final = 1024 * 1024
BODY_BYTES: Final = 24 * MIB
"""Bytes of the largest body of a route without its own limit: an image of 16 MiB as base64 in JSON."""
LIST_BYTES: Final = 64 * MIB
"""Bytes of the largest body with a list of images."""
DOCUMENT_BYTES: Final = 16 * MIB
"""Bytes of the largest body with a document."""


@dataclass(frozen=True)
class Route:
    """A path of one model, and the limits of requests to it."""

    path: str
    body_bytes: int | None = None
    """Bytes of the largest body; None leaves the limit to the server and to the proxy in front of it."""
    document: bool = False
    """Whether it reads a document, which may take ``ATELIER_DOCUMENT_SECONDS``."""


@dataclass(frozen=True)
class Model:
    """One model: everything that code outside its folder knows about it.

    The module of ``service`` has a function ``mounted``, which returns the MountedModel.
    """

    name: str
    """Its name in ``ATELIER_MODELS``, ``POST /infer`` and ``/health``."""
    service: str
    """Its BentoML service, as ``module:class``."""
    port: int
    """TCP port of the model when it is served alone."""
    model_type: str
    """Its ``model_type`` in the management API."""
    title: str
    description: str
    routes: tuple[Route, ...]
    examples: tuple[str, ...]
    """Shell commands to try; ``{url}`` is replaced with the server's address."""
    weights: tuple[str, ...] = ()
    """Files of ``runners/weights`` for the model store; ``NAME-VERSION.onnx`` is published as ``NAME:VERSION``."""
    bento_name: str = ""
    """Name of its Bento, image and container, if it differs from ``name``."""
    prefixes: tuple[str, ...] = ()
    """Paths that a proxy forwards with everything below them; without any, it forwards only the routes."""
    gpu: bool = False
    """Whether its network computes on a GPU if there is one, and otherwise keeps the CPU cores busy."""
    loads_checkpoint: bool = False
    """Whether it can serve the checkpoint at ``MODEL_PATH``; only then it has a large network."""
    container_memory: str = "2g"
    """Memory limit of its container in Docker's notation."""

    @property
    def module(self) -> str:
        """The name of the module that serves it."""
        return self.service.partition(":")[0]

    @property
    def class_name(self) -> str:
        """The name of its BentoML service."""
        return self.service.partition(":")[2]

    @property
    def bento(self) -> str:
        """The name of its Bento, image and container."""
        return self.bento_name or self.name

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags of its weights in the model store."""
        return tuple(map(tag_of, self.weights))

    def load(self) -> Any:
        """Import its BentoML service."""
        return getattr(import_module(self.module), self.class_name)

    def mounted(self, attribute: str | None = None) -> Any:
        """Return its MountedModel, of this process or of the dependency ``attribute`` of this process's service."""
        return import_module(self.module).mounted(attribute)


def tag_of(file: str) -> str:
    """Return the tag that a file of weights has in the model store."""
    name, _, version = file.rpartition(".")[0].rpartition("-")
    return f"{name}:{version}"


MODELS: Final = (
    Model(
        name="satellite",
        service="runners.satellite.service:Satellite",
        port=8001,
        model_type="image_classification",
        title="satellite image classification",
        description="Forest, sea, desert or clouds, or none of these.",
        routes=(Route("/classify", BODY_BYTES), Route("/classify/batch", LIST_BYTES)),
        prefixes=("/classify",),
        examples=(
            "curl -F image=@examples/forest.jpg {url}/classify",
            'curl -F image=@examples/forest.jpg "{url}/classify?lang=en"',
        ),
        weights=("satellite-1.2.0.onnx",),
        gpu=True,
    ),
    Model(
        name="embedding",  # its weights are chosen at set-up: runners/artifacts
        service="runners.embedding.service:Embedding",
        port=8000,
        model_type="image_embedding",
        title="image embedding",
        description="512 numbers of length one, near for pictures that look alike.",
        routes=(Route("/embed", BODY_BYTES), Route("/embed/batch", LIST_BYTES)),
        prefixes=("/embed",),
        examples=("curl -F image=@examples/sea.jpg {url}/embed",),
        gpu=True,
    ),
    Model(
        name="summarization",
        service="runners.summarization.service:Summarization",
        port=5000,
        model_type="summarization",
        title="document summarization",
        description="Texts, files, pictures of pages.",
        routes=(
            Route("/summarize/text", DOCUMENT_BYTES, document=True),
            Route("/summarize/file", DOCUMENT_BYTES, document=True),
            Route("/summarize/image", DOCUMENT_BYTES, document=True),
            Route("/batch/summarize", DOCUMENT_BYTES, document=True),
        ),
        prefixes=("/summarize", "/batch/summarize"),
        examples=("curl -F file=@examples/harbour.txt {url}/summarize/file",),
        weights=("summarization-1.1.0.safetensors",),
        gpu=True,
        loads_checkpoint=True,
    ),
    Model(
        name="diagnosis",
        service="runners.tcm.diagnosis:Diagnosis",
        port=8002,
        model_type="tcm_diagnosis",
        title="diagnosis of Chinese medicine",
        description="Symptoms to syndrome elements and ranked syndromes.",
        routes=(Route("/diagnose"),),
        examples=(
            'curl -H "Content-Type: application/json" '
            """-d '{"symptoms": ["头痛", "乏力", "食欲不振"]}' {url}/diagnose""",
        ),
        weights=("tcm-diagnosis-1.0.0.onnx",),
        bento_name="tcm-diagnosis",
        container_memory="1g",
    ),
    Model(
        name="treatment",
        service="runners.tcm.treatment:Treatment",
        port=8003,
        model_type="treatment",
        title="treatment of Chinese medicine",
        description="Symptoms or a diagnosis to ranked herbs, textbook formulae and a principle.",
        routes=(Route("/treat"),),
        examples=(
            """curl -H "Content-Type: application/json" -d '{"symptoms": ["恶寒", "发热", "咳嗽"]}' {url}/treat""",
        ),
        weights=("tcm-treatment-1.0.0.onnx",),
        bento_name="tcm-treatment",
        container_memory="1g",
    ),
)


def model(name: str) -> Model:
    """Return the row of that name. Raises KeyError."""
    return {row.name: row for row in MODELS}[name]


def of_service(class_name: str) -> Model | None:
    """Return the row of the BentoML service of that name, or None if it serves no single model."""
    return next((row for row in MODELS if row.class_name == class_name), None)
