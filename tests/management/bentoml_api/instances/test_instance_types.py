"""Instance types: parts of the machine, under names that ``--instance-type`` takes."""

from __future__ import annotations

from management.backends.machine import UNLIMITED
from management.bentoml_api.instances.instance_types import instance_types, named
from management.bentoml_api.views.instances import shown
from management.domain.records import Resources

GIB = 1024**3


def test_types_are_parts_of_the_machine() -> None:
    found = {each.name: dict(each.requirements) for each in instance_types(Resources(8000, 32 * GIB, 0))}
    assert found == {
        "cpu.small": {"cpu": "1000m", "memory": "4096Mi", "nvidia.com/gpu": "0"},
        "cpu.medium": {"cpu": "2000m", "memory": "8192Mi", "nvidia.com/gpu": "0"},
        "cpu.large": {"cpu": "4000m", "memory": "16384Mi", "nvidia.com/gpu": "0"},
        "cpu.full": {"cpu": "8000m", "memory": "32768Mi", "nvidia.com/gpu": "0"},
    }


def test_a_machine_with_gpus_has_types_with_some_of_them() -> None:
    found = {each.name: each.requirements for each in instance_types(Resources(64_000, 512 * GIB, 4))}
    assert [name for name in found if name.startswith("gpu")] == ["gpu.1", "gpu.2", "gpu.4"]
    assert found["gpu.1"] == {"cpu": "16000m", "memory": "131072Mi", "nvidia.com/gpu": "1"}
    assert found["gpu.4"]["memory"] == "524288Mi"


def test_types_of_a_tiny_machine_that_would_be_equal_exist_once() -> None:
    assert [each.name for each in instance_types(Resources(100, 256 * 1024**2, 0))] == ["cpu.small"]


def test_a_backend_without_a_limit_has_types_all_the_same() -> None:
    assert instance_types(Resources(UNLIMITED, UNLIMITED, UNLIMITED))[-1].requirements["cpu"] == "16000m"


def test_requirements_are_named_by_the_type_that_has_them() -> None:
    types = instance_types(Resources(8000, 32 * GIB, 1))
    assert all(named(types, each.requirements) == each.name for each in types)
    assert named(types, {"cpu": "1", "memory": "1Gi", "nvidia.com/gpu": "0"}) is None


def test_bentomls_client_reads_a_type() -> None:
    from bentoml._internal.cloud.schemas.schemasv1 import ResourceInstanceSchema
    from bentoml._internal.cloud.schemas.utils import schema_from_object

    read = schema_from_object(shown(instance_types(Resources(8000, 32 * GIB, 1))[-1]), ResourceInstanceSchema)
    assert read.config.resources.requests is not None
    assert (read.display_name, read.config.resources.requests.gpu) == ("gpu.1", "1")
