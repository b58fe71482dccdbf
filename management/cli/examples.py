"""What a model of each type is asked with: an example to copy, and a file as its input."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

PICTURE_TYPES: Final = ("image_classification", "image_embedding")
TEXT_TYPES: Final = ("tcm_diagnosis", "treatment")
DOCUMENTS: Final = "summarization"
_PICTURES: Final = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First bytes of JPEG, PNG, GIF, BMP, TIFF and BigTIFF files."""


@dataclass(frozen=True)
class Example:
    """How a model may be called: the arguments of ``infer``, and the same as a request's body for a shell."""

    arguments: str
    body: str


def example(model_type: str) -> Example:
    """One of the type; of a model whose input is not known, a frame for it."""
    if model_type in PICTURE_TYPES:
        return Example(
            "--file picture.jpg", '"{\\"input_data\\": {\\"image\\": \\"$(base64 < picture.jpg | tr -d \'\\n\')\\"}}"'
        )
    given = json.dumps(_INPUTS.get(model_type, {"key": "value"}), ensure_ascii=False)
    return Example(f"'{given}'", f"'{{\"input_data\": {given}}}'")


_INPUTS: Final[dict[str, dict[str, Any]]] = {
    "tcm_diagnosis": {"symptoms": ["头痛", "乏力", "食欲不振"]},
    "treatment": {"symptoms": ["恶寒", "发热", "咳嗽"]},
    DOCUMENTS: {"text": "The council met on Monday. It agreed on the budget. The new bridge opens in May."},
}


def input_of(file: Path, model_type: str) -> dict[str, Any]:
    """A file as the ``input_data`` of a model of that type: JSON as it is, pictures and documents as base64.

    Raises OSError, and ValueError for a text or JSON that is not UTF-8 or no object.
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
    told = json.loads(data.decode("utf-8-sig"))
    if not isinstance(told, dict):
        raise ValueError("its JSON is not an object")
    return told


def _is_picture(data: bytes) -> bool:
    return data.startswith(_PICTURES) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")


def _is_text(data: bytes) -> bool:
    try:
        return "\0" not in data.decode("utf-8")
    except UnicodeDecodeError:
        return False
