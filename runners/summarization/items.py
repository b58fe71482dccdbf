"""Items of the model contract for summarization: a text, page pictures, or a document's file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from runners.contract import InferenceRequest, only
from runners.errors import InvalidInput
from runners.http.requests import decode_base64
from runners.models.summarizers.base import Task
from runners.summarization.requests import PARAMETERS, SummaryOptions, checked_text, options_of

if TYPE_CHECKING:
    from runners.documents.document import Document

FILES: Final = frozenset({"file", "image"})
TEXTS: Final = frozenset({"text", "title", "language", "images", "pages"})
LANGUAGE: Final = re.compile(r"[a-z]{2,3}\Z")
SHAPES: Final = '{"text": text}, {"image": base64}, {"url": text} or {"file": base64, "filename": text}'


@dataclass(frozen=True)
class DocumentSource:
    """The text or pictures of an item, and the number of pages if it is a document."""

    task: Task
    pages: int | None = None


def is_file(request: InferenceRequest) -> bool:
    """Return whether the item is a file that must first be read."""
    return bool(request.input_data.keys() & FILES)


def checked_options(request: InferenceRequest) -> SummaryOptions:
    """Return the item's options. Raises InvalidInput."""
    only(request.parameters, PARAMETERS)
    return options_of(request.parameters)


def payload(request: InferenceRequest) -> tuple[bytes, str]:
    """Return the document's bytes and file name. Raises InvalidInput."""
    data = request.input_data
    kinds = data.keys() & FILES
    if len(kinds) != 1 or not data.keys() <= kinds | {"filename"}:
        raise InvalidInput(f"an item's input_data is {SHAPES}")
    name = data.get("filename", "")
    if not isinstance(name, str):
        raise InvalidInput("filename must be a string")
    kind = kinds.pop()
    return _bytes(data[kind], kind), name


def of_document(request: InferenceRequest, document: Document) -> DocumentSource:
    """Return the source of an item whose document has been read. Raises InvalidInput."""
    task = _task(checked_options(request), document.text, title=document.title, images=document.images)
    return DocumentSource(task, document.pages)


def of_text(request: InferenceRequest) -> DocumentSource:
    """Return the source of an item with a text or page pictures. Raises InvalidInput and PayloadTooLarge."""
    data, options = request.input_data, checked_options(request)
    if not data.keys() <= TEXTS or not data.keys() & {"text", "images"}:
        raise InvalidInput(f"an item's input_data is {SHAPES}")
    images = tuple(_bytes(page, "image") for page in _list(data.get("images", [])))
    text = "" if images and "text" not in data else checked_text(data.get("text"))
    pages, language, title = _pages(data.get("pages")), _language(data.get("language")), _title(data.get("title"))
    return DocumentSource(_task(options, text, language=language, title=title, images=images), pages)


def _task(
    options: SummaryOptions,
    text: str,
    *,
    language: str | None = None,
    title: str | None = None,
    images: tuple[bytes, ...] = (),
) -> Task:
    from runners.models.text.language import detect

    return Task(text, options.max_length, options.temperature, language or detect(text), title, images)


def _bytes(value: object, name: str) -> bytes:
    """Return the bytes: within a server they are sent unchanged, clients send base64."""
    return value if isinstance(value, bytes) else decode_base64(value, name)


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise InvalidInput("images must be a list")
    return value


def _language(value: object) -> str | None:
    if value is not None and not (isinstance(value, str) and LANGUAGE.match(value)):
        raise InvalidInput("language must be an ISO 639-1 code")
    return value


def _pages(value: object) -> int | None:
    if value is not None and (type(value) is not int or value < 1):
        raise InvalidInput("pages must be a whole number from 1 on")
    return value


def _title(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise InvalidInput("title must be a string")
    return value
