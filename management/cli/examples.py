"""Inputs of models by type: an example to copy, and a file turned into an input."""

from __future__ import annotations

import json
import shlex
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from management.domain.bento import ROOT_ARGUMENT

PICTURE_TYPES: Final = ("image_classification", "image_embedding")
TEXT_TYPES: Final = ("tcm_diagnosis", "treatment")
DOCUMENTS: Final = "summarization"
_PICTURE_SIGNATURES: Final = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First bytes of JPEG, PNG, GIF, BMP, TIFF and BigTIFF files."""


@dataclass(frozen=True)
class Example:
    """How to call a model: the arguments of ``infer``, and the same input as a request body quoted for a shell."""

    arguments: str
    body: str


def example(model_type: str) -> Example:
    """An example for the type; for a type without a known input, a skeleton to fill in."""
    if model_type in PICTURE_TYPES:
        return Example(
            "--file picture.jpg", '"{\\"input_data\\": {\\"image\\": \\"$(base64 < picture.jpg | tr -d \'\\n\')\\"}}"'
        )
    text = json.dumps(_INPUTS.get(model_type, {"key": "value"}), ensure_ascii=False)
    return Example(f"'{text}'", f"'{{\"input_data\": {text}}}'")


def example_of(api: dict[str, Any], *, named: bool) -> Example:
    """An example for an API as a status shows it; ``named`` where a call has to name it."""
    schema = api["input"]
    properties = schema.get("properties", {ROOT_ARGUMENT: schema})
    required = schema.get("required", ()) if "properties" in schema else properties
    given = {name: _value(properties[name]) for name in required if name in properties}
    text, api_name = json.dumps(given, ensure_ascii=False), json.dumps(api["name"])
    flag, field = (f"--api {api['name']} ", f'"api": {api_name}, ') if named else ("", "")
    return Example(f"{flag}{shlex.quote(text)}", shlex.quote(f'{{{field}"input_data": {text}}}'))


def _value(schema: dict[str, Any]) -> Any:
    """A value of the schema's type, to be replaced by one that means something."""
    for key in ("default", "const", "minimum"):
        if key in schema:
            return schema[key]
    if schema.get("enum") or schema.get("examples"):
        return (schema.get("enum") or schema["examples"])[0]
    return _VALUES.get(str(schema.get("type")), {})


_VALUES: Final[dict[str, Any]] = {
    "string": "text",
    "integer": 1,
    "number": 1.0,
    "boolean": True,
    "array": [],
    "file": "https://example.com/file",
    "tensor": [[1.0, 2.0]],
    "dataframe": [{"column": 1.0}],
}
_INPUTS: Final[dict[str, dict[str, Any]]] = {
    "tcm_diagnosis": {"symptoms": ["头痛", "乏力", "食欲不振"]},
    "treatment": {"symptoms": ["恶寒", "发热", "咳嗽"]},
    DOCUMENTS: {"text": "The council met on Monday. It agreed on the budget. The new bridge opens in May."},
}


def input_of(file: Path, model_type: str) -> dict[str, Any]:
    """A file as the ``input_data`` of a model of that type: JSON unchanged, pictures and documents as base64.

    Raises OSError for an unreadable file, and ValueError for text that is not UTF-8 or JSON that is not an object.
    """
    data = file.read_bytes()
    if file.suffix.lower() == ".json":
        return _object(data)
    if _is_picture(data) or model_type in PICTURE_TYPES:
        return {"image": b64encode(data).decode()}
    if model_type in TEXT_TYPES or (model_type != DOCUMENTS and _is_text(data)):
        return {"text": data.decode("utf-8-sig")}
    return {"file": b64encode(data).decode(), "filename": file.name}


def _object(data: bytes) -> dict[str, Any]:
    content = json.loads(data.decode("utf-8-sig"))
    if not isinstance(content, dict):
        raise ValueError("its JSON is not an object")
    return content


def _is_picture(data: bytes) -> bool:
    return data.startswith(_PICTURE_SIGNATURES) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")


def _is_text(data: bytes) -> bool:
    try:
        return "\0" not in data.decode("utf-8")
    except UnicodeDecodeError:
        return False
