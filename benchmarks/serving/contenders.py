"""The contenders: how each server is started, its URL, and the format in which it takes a picture."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

CLASSIFY: Final = "classify"
EMBED: Final = "embed"
SUMMARIZE: Final = "summarize"
LONG: Final = "summarize-1mb"
PICTURES: Final = (CLASSIFY, EMBED)
TASKS: Final = (CLASSIFY, EMBED, SUMMARIZE)
CONTENT_TYPES: Final = {
    CLASSIFY: "image/jpeg",
    EMBED: "image/jpeg",
    SUMMARIZE: "application/json",
    LONG: "application/json",
}

ATELIER: Final = "atelier"
FRONT: Final = "atelier-front"
LIMIT: Final = "limit"
SAME_ENGINE: Final = "litserve-openvino"
"""LitServe with Atelier's engine and precision."""
OURS: Final = frozenset({ATELIER, FRONT})
PORT: Final = "{port}"
RAY: Final = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"}


@dataclass(frozen=True)
class Contender:
    """A server for a task."""

    name: str
    task: str
    route: str
    command: tuple[str, ...]
    """The command line, with ``{port}`` in place of the port."""
    form: str | None = None
    """Multipart form field of the picture; None sends it as the request's body."""
    environment: Mapping[str, str] = field(default_factory=dict)

    def command_on(self, port: int) -> list[str]:
        """Return the command line for that port."""
        return [part.replace(PORT, str(port)) for part in self.command]


def _python(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", *arguments)


def _bentoml(service: str) -> tuple[str, ...]:
    # As in runners/launch/launch.py, without the banner.
    return _python("bentoml", "serve", service, "--host", "127.0.0.1", "--port", PORT)


def _pictures(task: str) -> tuple[Contender, ...]:
    route, variables = f"/{task}", {"BENCH_TASK": task}
    litserve = _python("benchmarks.peers.litserve_app", PORT)
    service = {CLASSIFY: "service:Satellite", EMBED: "service:Embedding"}[task]
    return (
        Contender(ATELIER, task, route, _bentoml(service), "image"),
        Contender(FRONT, task, route, _bentoml("service:Atelier"), "image"),
        Contender(
            "fastapi",
            task,
            route,
            _python("uvicorn", "benchmarks.peers.fastapi_app:app", "--port", PORT),
            "image",
            variables,
        ),
        Contender("litserve", task, route, litserve, "image", variables),
        Contender(SAME_ENGINE, task, route, litserve, "image", variables | {"BENCH_ENGINE": "openvino"}),
        Contender("rayserve", task, route, _python("benchmarks.peers.ray_app", PORT), None, variables | RAY),
        Contender(
            "mosec",
            task,
            route,
            _python("benchmarks.peers.mosec_app", "--address", "127.0.0.1", "--port", PORT, "--timeout", "60000"),
            None,
            variables,
        ),
    )


def _texts() -> tuple[Contender, ...]:
    route = "/summarize/text"
    return (
        Contender(ATELIER, SUMMARIZE, route, _bentoml("service:Summarization")),
        Contender("flask", SUMMARIZE, route, _python("benchmarks.peers.flask_app", PORT)),
    )


CONTENDERS: Final = (*_pictures(CLASSIFY), *_pictures(EMBED), *_texts())
NAMES: Final = (*dict.fromkeys(contender.name for contender in CONTENDERS), LIMIT)
