"""Instance types that an operator lists in a file."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from management.bentoml_api.instances.instance_types import instance_types, named
from management.bentoml_api.instances.type_file import InvalidTypeFile, offered, read
from management.domain.records import Resources
from management.platform import Platform
from tests.doubles.management import settings_of
from tests.support.bentos.program import logged_in
from tests.support.management_servers import managing

GIB = 1024**3
EXAMPLE = """
["gpu.a10"]
cpu = "1500m"
memory = "1G"
gpu = 1
description = "one A10"

[small]
cpu = 0.5
memory = "128Mi"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with two types."""
    made = tmp_path / "types.toml"
    made.write_text(EXAMPLE)
    return made


def test_the_types_of_a_file_are_offered_in_its_order_instead_of_parts_of_the_machine(file: Path) -> None:
    first, second = offered(file, Resources(8000, 32 * GIB, 0))
    assert (first.name, first.description) == ("gpu.a10", "one A10")
    assert first.requirements == {"cpu": "1500m", "memory": "954Mi", "nvidia.com/gpu": "1"}
    assert (second.name, second.description) == ("small", "500m CPU, 128Mi memory")
    assert named([first, second], second.requirements) == "small"
    assert offered(None, Resources(8000, 32 * GIB, 0)) == instance_types(Resources(8000, 32 * GIB, 0))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", ": it lists no instance type"),
        ("[a", " is not TOML: "),
        ("\udc80", " is not TOML: it is not UTF-8"),
        ("a = 1", ": a: it must be a table with cpu and memory"),
        ('[a]\ncpu = "1"', ": a: memory is missing"),
        ('[a]\nmemory = "1Gi"', ": a: cpu is missing"),
        ('[a]\ncpu = "0"\nmemory = "1Gi"', ": a: cpu is not a valid quantity (for example 500m)"),
        ('[a]\ncpu = -1\nmemory = "1Gi"', ": a: cpu is not a valid quantity (for example 500m)"),
        ('[a]\ncpu = true\nmemory = "1Gi"', ": a: cpu must be string"),
        ('[a]\ncpu = 1\nmemory = "128m"', ": a: memory is less than 1 MiB, too little for any program"),
        ('[a]\ncpu = 1\nmemory = "1Gi"\ngpu = 0.5', ": a: gpu is not a valid quantity (for example 1)"),
        ('[a]\ncpu = 1\nmemory = "1Gi"\nprice = 3', ": a: price is not a known field"),
        ('[a.b]\ncpu = 1\nmemory = "1Gi"', 'a name with a dot is written in quotation marks: ["a.b"]'),
        ('[a]\ncpu = 1\nmemory = "1Gi"\n[b]\ncpu = "1000m"\nmemory = "1024Mi"', ": b: it has the resources of a"),
        ('[""]\ncpu = 1\nmemory = "1Gi"', ": '': a name has 1 to 63 printable letters"),
        ('["a\\u001b"]\ncpu = 1\nmemory = "1Gi"', ": 'a?': a name has 1 to 63 printable letters"),
    ],
)
def test_a_wrong_file_is_told_with_its_entry_and_its_field(file: Path, content: str, words: str) -> None:
    file.write_text(content, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(InvalidTypeFile) as refused:
        read(file)
    assert str(refused.value).startswith(str(file))
    assert words in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidTypeFile, match=r"none\.toml cannot be read: No such file"):
        read(tmp_path / "none.toml")


def test_no_server_starts_with_a_wrong_file(tmp_path: Path, file: Path) -> None:
    file.write_text("a = 1")
    platform = Platform(lambda: settings_of(home=tmp_path / "home", instance_types=file))
    with pytest.raises(InvalidTypeFile):
        asyncio.run(platform.start())


@pytest.mark.server
def test_bentomls_commands_deploy_with_the_types_of_the_file(file: Path, tmp_path: Path, home: Path) -> None:
    file.write_text(f'{EXAMPLE}\n[huge]\ncpu = "4k"\nmemory = "128Mi"\n')
    with managing(tmp_path / "store", ATELIER_INSTANCE_TYPES=str(file)) as server:
        program = logged_in(home, server)
        listed = json.loads(program.run("deployment", "list-instance-types", "-o", "json").text)
        shown = [(each["name"], each["cpu"]) for each in listed]
        assert shown == [("gpu.a10", "1500m"), ("small", "500m"), ("huge", "4000000m")]
        program.run("push", "echo:1.0.0")
        program.run("deploy", "echo:1.0.0", "-n", "fits", "--instance-type", "small", "--no-wait")
        (service,) = program.deployment("fits")["config"]["services"].values()
        assert service["instance_type"] == "small"
        for wanted, words in (("huge", "INSUFFICIENT_RESOURCES"), ("cpu.small", "gpu.a10, small, huge")):
            command = ("deploy", "echo:1.0.0", "-n", "not", "--instance-type", wanted, "--no-wait")
            assert words in program.run(*command, check=False).text
