"""A Bento's files say what it serves and needs, without BentoML."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from management.domain.bento_tag import Tag
from management.packaging.bento_files import UnreadableBento, parse, read

ROUTES = [
    {"name": "greet", "route": "/greet", "input": {"properties": {"name": {"type": "string"}}, "required": ["name"]}},
    {"name": "count", "route": "/count", "input": {"properties": {}}, "output": {"type": "string", "is_stream": True}},
    {"name": "long", "route": "/long", "input": {"properties": {}}, "is_task": True},
    {"name": "say", "route": "/say", "input": {"type": "string", "root_input": True}},
]
BENTO = {
    "name": "hello",
    "version": "1.0.0",
    "bentoml_version": "1.4.39",
    "entry_service": "Hello",
    "services": [{"name": "Hello", "config": {"traffic": {"timeout": 5, "max_concurrency": 8, "concurrency": 4}}}],
    "schema": {"name": "Hello", "routes": ROUTES, "paths": {"/greet": {"mounted": False}}},
    "image": {"python_version": "3.11"},
}


def written(folder: Path, source: str = "import bentoml", **changed: object) -> Path:
    """Write the files of the Bento ``hello`` with these fields changed."""
    (folder / "src").mkdir()
    (folder / "src" / "service.py").write_text(source)
    (folder / "env" / "python").mkdir(parents=True)
    (folder / "env" / "python" / "requirements.txt").write_text("# pinned\nbentoml==1.4.39\nnumpy==1.26.4\n")
    (folder / "bento.yaml").write_text(yaml.safe_dump({**BENTO, **changed}))
    return folder


def test_a_bento_is_known_by_its_files(tmp_path: Path) -> None:
    bento = read(written(tmp_path))
    assert bento.tag == Tag("hello", "1.0.0")
    assert bento.traffic.timeout == 5
    assert bento.traffic.concurrency == 4
    assert bento.python.version == "3.11"
    assert bento.python.requirements == ("bentoml==1.4.39", "numpy==1.26.4")
    assert not bento.follows_contract
    greet = bento.api("greet")
    assert greet is not None
    assert greet.required == {"name"}
    assert greet is bento.api("/greet")
    count, say = bento.api("count"), bento.api("say")
    assert count is not None
    assert count.streams
    assert say is not None
    assert say.root == {"type": "string"}


def test_what_its_author_wrote_goes_before_what_was_pinned(tmp_path: Path) -> None:
    folder = written(tmp_path)
    (folder / "env" / "python" / "requirements.in").write_text("numpy\n")
    assert read(folder).python.requirements == ("numpy",)


def test_a_path_that_no_file_names_is_not_served(tmp_path: Path) -> None:
    bento = read(written(tmp_path))
    assert all(map(bento.serves, ("/greet", "/long/submit", "/metrics", "/static_content/ui.js", "/")))
    assert not any(map(bento.serves, ("/greet/submit", "/admin", "/greet/")))


@pytest.mark.parametrize("source", ["@bentoml.asgi_app(app)", "svc.mount_wsgi_app(app)", "@bentoml.service(cmd=[])"])
def test_a_service_that_may_mount_an_application_may_serve_any_path(source: str, tmp_path: Path) -> None:
    assert read(written(tmp_path, source)).serves("/anything")


def test_the_contract_is_one_argument_at_one_route(tmp_path: Path) -> None:
    route = {"name": "infer", "route": "/infer", "input": {"properties": {"requests": {"type": "array"}}}}
    assert read(written(tmp_path, schema={"routes": [route]})).follows_contract


@pytest.mark.parametrize("text", ["", "- a list", "name: [", "name: hello", "{name: a, version: b, schema: [1]}"])
def test_other_files_are_no_bento(text: str, tmp_path: Path) -> None:
    folder = written(tmp_path)
    (folder / "bento.yaml").write_text(text)
    with pytest.raises(UnreadableBento):
        read(folder)


def test_a_file_that_refers_to_itself_many_times_is_not_read_as_what_it_would_be() -> None:
    levels = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9))
    bomb = f"a0: &a0 [x, x]\n{levels}\n"
    plain = "name: a\nversion: '1'\n"
    assert parse({"bento.yaml": plain, "apis/openapi.yaml": bomb}, ()).openapi == {}
    assert parse({"bento.yaml": plain, "apis/openapi.yaml": "paths: {/a: {}}"}, ()).openapi == {"paths": {"/a": {}}}
    with pytest.raises(UnreadableBento):
        parse({"bento.yaml": plain + bomb}, ())


DEBIAN = (
    "apt-get update && apt-get install -q -y --no-install-recommends --allow-remove-essential "
    "ca-certificates gnupg2 bash build-essential git"
)
UV = "export UV_COMPILE_BYTECODE=1"  # as bentoml 1.4.0 writes it
ALPINE = "apk add --update bash gcc libc-dev shadow musl-dev build-base linux-headers g++ git"


def test_only_commands_that_bentoml_does_not_run_by_itself_are_needs(tmp_path: Path) -> None:
    needed = ["apt-get install -q -y libgl1", "echo hello"]
    image = {"python_version": "3.11", "commands": [UV, DEBIAN, DEBIAN, ALPINE, *needed], "post_commands": ["curl x"]}
    docker = {"setup_script": "./setup.sh", "system_packages": ["ffmpeg"]}
    python = read(written(tmp_path, image=image, docker=docker)).python
    assert python.commands == (*needed, "curl x", "./setup.sh")
    assert python.system_packages == ("ffmpeg",)
