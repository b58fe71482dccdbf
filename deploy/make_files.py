"""Write the parts of the deployment's files that depend on the models: python -m deploy.make_files.

The lines come from the rows of ``runners/registry.py`` and are between two comments; the rest of a file is written by
hand.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from textwrap import wrap
from typing import Final

from management.packaging.build import recipes
from runners.registry import LIST_BYTES, MIB, MODELS, Model

ROOT: Final = Path(__file__).parents[1]
PROXY_BODY_BYTES: Final = 20 * MIB
"""Bytes of a body that nginx accepts without a separate location."""
CONTAINER_MEMORY: Final = "2g"
"""Memory limit of a container whose service sets none."""
RULE_WIDTH: Final = 100
"""Maximum characters of a line of an alert rule."""
INFER: Final = "/infer"
_PART: Final = re.compile(
    r"^(?P<indent> *)# made by `make deploy-files`: (?P<name>\w+)\n(?P<lines>.*?)^ *# end of (?P=name)\n",
    re.MULTILINE | re.DOTALL,
)

Lines = list[str]


def main() -> None:
    """Write every file."""
    for name in PARTS:
        path = ROOT / name
        path.write_text(render(name, path.read_text(encoding="utf-8")), encoding="utf-8")


def render(name: str, text: str) -> str:
    """Return the file's text with its parts made from the rows. Raises ValueError for other parts than it must have."""
    parts = PARTS[name]
    if sorted(found := [part["name"] for part in _PART.finditer(text)]) != sorted(parts):
        raise ValueError(f"{name} has the parts {found} instead of {sorted(parts)}")
    return _PART.sub(lambda part: _part(part["indent"], part["name"], parts[part["name"]]()), text)


def _part(indent: str, name: str, lines: Lines) -> str:
    section = [f"# made by `make deploy-files`: {name}", *lines, f"# end of {name}"]
    return "".join(f"{indent}{line}\n" if line else "\n" for line in section)


def _nginx_ports() -> Lines:
    return [f"{row.port}    {_address(row)};" for row in MODELS]


def _nginx_paths() -> Lines:
    return [f"{path:<36} {_address(row)};" for row in MODELS for path in _paths(row)]


def _paths(row: Model) -> Lines:
    """Return the pattern with which nginx's map routes a path to the model."""
    if not row.prefixes:
        return [route.path for route in row.routes]
    names = "|".join(prefix.removeprefix("/") for prefix in row.prefixes)
    return [f"~^/({names})(/|$)" if len(row.prefixes) > 1 else f"~^/{names}(/|$)"]


def _nginx_health() -> Lines:
    return [f"{f'/health/{row.bento}':<36} {_address(row)};" for row in MODELS]


def _nginx_listen() -> Lines:
    return [f"listen {row.port};" for row in MODELS]


def _nginx_bodies() -> Lines:
    """Return a location for each body size above nginx's default."""
    paths: dict[int, Lines] = defaultdict(list)
    for row in MODELS:
        for route in row.routes:
            if route.body_bytes is not None and route.body_bytes > PROXY_BODY_BYTES:
                paths[route.body_bytes].append(route.path)
    paths[LIST_BYTES].append(INFER)
    return _with_blank_lines(_location(paths[size], size) for size in sorted(paths))


def _location(paths: Lines, size: int) -> Lines:
    names = "|".join(path.removeprefix("/") for path in paths)
    return [
        f"location ~ ^/({names})$ {{",
        f"    client_max_body_size {size // MIB}m;",
        '    if ($backend = "") {',
        "        return 404;",
        "    }",
        "    proxy_pass http://$backend;",
        "}",
    ]


def _address(row: Model) -> str:
    return f"{row.bento}:{row.port}"


def _prometheus_jobs() -> Lines:
    jobs = [
        [
            f"- job_name: {row.bento}",
            f"  dns_sd_configs: [{{names: [{row.bento}], type: A, port: {row.port}, refresh_interval: 15s}}]",
        ]
        for row in MODELS
    ]
    return _with_blank_lines(jobs)


def _alert_jobs() -> Lines:
    """Return the alert rule for a model without a replica."""
    terms = " or ".join(f'absent(up{{job="{row.bento}"}})' for row in MODELS)
    return ["expr: >-", *(f"  {line}" for line in wrap(terms, RULE_WIDTH, break_on_hyphens=False))]


def _compose_ports() -> Lines:
    return [f'- "127.0.0.1:${{{_variable(row)}_PORT:-{row.port}}}:{row.port}"' for row in MODELS]


def _compose_services() -> Lines:
    return _with_blank_lines(map(_compose_service, MODELS))


def _compose_service(row: Model) -> Lines:
    environment = ["  environment: *environment"]
    if row.loads_checkpoint:
        environment = [
            "  environment:",
            "    <<: *environment",
            "    MODEL_PATH: ${MODEL_PATH:-}",
            '  volumes: ["./models:/models:ro"]  # a checkpoint of your own: MODEL_PATH=/models/NAME',
        ]
    return [
        f"{row.bento}:",
        "  <<: *service",
        f"  image: ${{{_variable(row)}_IMAGE:-{_image(row)}}}",
        *environment,
        "  healthcheck: *healthcheck",
        *([f"  mem_limit: {row.container_memory}"] if row.container_memory != CONTAINER_MEMORY else []),
    ]


def _gpu_services() -> Lines:
    return [f"{row.bento}: *gpu" for row in MODELS if row.gpu]


def _environment_ports() -> Lines:
    return [f"#{_variable(row)}_PORT={row.port}" for row in MODELS]


def _environment_images() -> Lines:
    return [f"#{_variable(row)}_IMAGE={_image(row)}" for row in MODELS]


def _bento_models() -> Lines:
    return [f'- "{tag}"' for row in MODELS for tag in row.tags]


def _variable(row: Model) -> str:
    return row.bento.upper().replace("-", "_")


def _image(row: Model) -> str:
    """Return the name of the model's image, with the first tag of its Bento."""
    (recipe,) = (recipe for recipe in recipes() if recipe.name == row.bento)
    return f"atelier/{recipe.tags()[0]}"


def _with_blank_lines(stanzas: Iterable[Lines]) -> Lines:
    return [line for stanza in stanzas for line in ("", *stanza)][1:]


PARTS: Final[Mapping[str, Mapping[str, Callable[[], Lines]]]] = {
    "deploy/nginx.conf": {
        "ports": _nginx_ports,
        "paths": _nginx_paths,
        "health": _nginx_health,
        "listen": _nginx_listen,
        "bodies": _nginx_bodies,
    },
    "deploy/prometheus.yml": {"jobs": _prometheus_jobs},
    "deploy/alerts.yml": {"jobs": _alert_jobs},
    "deploy/compose.yaml": {"ports": _compose_ports, "services": _compose_services},
    "deploy/compose.gpu.yaml": {"services": _gpu_services},
    "deploy/.env.example": {"ports": _environment_ports, "images": _environment_images},
    "bentofile.yaml": {"models": _bento_models},
}
"""The parts of each file, by the names in its comments."""


if __name__ == "__main__":
    main()
