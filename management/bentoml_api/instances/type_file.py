"""Instance types that an operator lists in a file of TOML: a table of resources under each name."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from management.bentoml_api.instances.instance_types import LocalInstanceType, instance_types, requirements_of
from management.domain import quantities
from management.domain.records import Resources
from management.errors import InvalidRequest
from management.forms import fields
from management.forms.validation import printable, validated
from management.wording import messages

MAX_NAME: Final = 63
"""Letters of the longest name of a type."""
_QUOTED: Final = "a name with a dot is written in quotation marks"


class InvalidTypeFile(ValueError):
    """The file is not a list of instance types; the message is a sentence that names file, entry and field."""


def _as_text(value: Any) -> Any:
    """Turn a number into its text: TOML writes both ``cpu = 2`` and ``cpu = "500m"``."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


class InstanceTypeEntry(BaseModel):
    """The resources of each replica by one type."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cpu: Annotated[fields.Cpu, BeforeValidator(_as_text)]
    memory: fields.Memory
    gpu: Annotated[fields.Gpus, BeforeValidator(_as_text)] = "0"
    description: Annotated[str, Field(max_length=200)] = ""

    @property
    def resources(self) -> Resources:
        """The amounts."""
        return Resources(
            quantities.cpu_millicores(self.cpu), quantities.memory_bytes(self.memory), quantities.gpus(self.gpu)
        )


def offered(file: Path | None, machine: Resources) -> Sequence[LocalInstanceType]:
    """Return the types of the file, in its order; parts of the machine without one. Raises InvalidTypeFile."""
    return instance_types(machine) if file is None else read(file)


def read(file: Path) -> list[LocalInstanceType]:
    """Return the types of a file. Raises InvalidTypeFile."""
    document = _document(file)
    if not document:
        raise InvalidTypeFile(f"{file}: it lists no instance type")
    found: dict[Resources, LocalInstanceType] = {}
    for name, content in document.items():
        entry = _entry(file, name, content)
        if (other := found.get(entry.resources)) is not None:  # a deployment is shown by the type of its resources
            raise InvalidTypeFile(f"{file}: {name}: it has the resources of {other.name}")
        found[entry.resources] = LocalInstanceType(name, requirements_of(entry.resources), entry.description)
    return list(found.values())


def _document(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidTypeFile(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidTypeFile(f"{file} is not TOML: it is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise InvalidTypeFile(f"{file} is not TOML: {error}") from None


def _entry(file: Path, name: str, content: Any) -> InstanceTypeEntry:
    shown = printable(name)
    if not (name and len(name) <= MAX_NAME and name.isprintable()):
        raise InvalidTypeFile(f"{file}: {shown!r}: a name has 1 to {MAX_NAME} printable letters")
    if not isinstance(content, Mapping):
        raise InvalidTypeFile(f"{file}: {shown}: it must be a table with cpu and memory")
    try:
        return validated(content, InstanceTypeEntry, InvalidRequest, {})
    except InvalidRequest as error:
        raise InvalidTypeFile(f"{file}: {shown}: {'; '.join(_sentences(error, name, content))}") from None


def _sentences(error: InvalidRequest, name: str, content: Mapping[str, Any]) -> Iterator[str]:
    for problem in error.problems:
        yield f"{problem.field} {messages.text(messages.PROBLEMS, problem.kind, 'en', **problem.values)}"
    for inner, value in content.items():
        if isinstance(value, Mapping) and inner not in InstanceTypeEntry.model_fields:
            yield f'{_QUOTED}: ["{printable(name)}.{printable(inner)}"]'
