"""The models: one row each, from which services, limits, deployment files, documentation and tests are made.

It imports Python's own library alone: what runs before an installation reads it, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

MIB: Final = 1024 * 1024
BODY_BYTES: Final = 24 * MIB
"""Most bytes of a body where a route does not say: an image of 16 MiB as base64 in JSON, and what is around it."""
LIST_BYTES: Final = 64 * MIB
"""Most bytes of a body that holds a list of images."""
DOCUMENT_BYTES: Final = 16 * MIB
"""Most bytes of a body that holds a document."""


@dataclass(frozen=True)
class Route:
    """A path of a model's own, and the limits of a request to it."""

    path: str
    body_bytes: int | None = None
    """Most bytes of a request's body; None leaves it to the server, and to the proxy before it."""
    document: bool = False
    """Whether it reads a document: it may then take ``ATELIER_DOCUMENT_SECONDS``."""


@dataclass(frozen=True)
class Model:
    """One model: everything that the code outside its folder knows of it.

    The module of ``service`` has a function ``mounted``, which says how the model is called.
    """

    name: str
    """Its name in ``ATELIER_MODELS``, ``POST /infer`` and ``/health``."""
    service: str
    """Its BentoML service, as ``module:class``."""
    port: int
    """TCP port that it answers on alone."""
    model_type: str
    """Its ``model_type`` in the management API."""
    title: str
    description: str
    routes: tuple[Route, ...]
    examples: tuple[str, ...]
    """Calls to try in a shell; ``{url}`` stands for the server's address."""
    weights: tuple[str, ...] = ()
    """Files of ``runners/weights`` that are put into the model store: ``NAME-VERSION.onnx`` as ``NAME:VERSION``."""
    bento_name: str = ""
    """Name of its Bento, image and container where it is not ``name``."""
    prefixes: tuple[str, ...] = ()
    """Paths that a proxy passes on with everything below them; without any, it passes on the routes alone."""
    gpu: bool = False
    """Whether its network computes on a GPU where there is one, and keeps the cores busy elsewhere."""
    loads_checkpoint: bool = False
    """Whether it serves the checkpoint at ``MODEL_PATH``, and has a large network only then."""
    container_memory: str = "2g"
    """Most memory of its container, as Docker writes it."""

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
        """Return its ``Mounted``: of this process, or of the service that this one depends on by ``attribute``."""
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
        weights=("satellite-1.0.0.onnx",),
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
        weights=("summarization-1.0.0.safetensors",),
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
    """Return the row of the BentoML service of that name; None where it is no model's."""
    return next((row for row in MODELS if row.class_name == class_name), None)
