"""The requests of the summarization endpoints: a text, an upload or several texts, and the options of the summary."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request

from runners.errors import InvalidInput, PayloadTooLarge, RunnerError, UnsupportedMediaType
from runners.http.requests import json_body, media_type
from runners.http.uploads import files_of, multipart
from runners.limits import MAX_CHARACTERS
from runners.models.summarizers.base import MAX_SUMMARY_TOKENS

MAX_TEXTS: Final = 10
"""Texts of the largest batch."""
MAX_NAME_CHARACTERS: Final = 255
"""Characters of the longest file name."""
MAX_TEMPERATURE: Final = 2.0
"""Highest temperature that is accepted."""
PARAMETERS: Final = frozenset({"max_length", "temperature"})
_WHOLE: Final = re.compile(r"[0-9]{1,9}\Z")
_DECIMAL: Final = re.compile(r"([0-9]{1,9}(\.[0-9]{0,20})?|\.[0-9]{1,20})([eE][+-]?[0-9]{1,3})?\Z")
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass(frozen=True)
class SummaryOptions:
    """Options of a summary: at most ``max_length`` tokens of the engine, sampled with this temperature."""

    max_length: int = 128
    temperature: float = 0.7

    def as_parameters(self) -> dict[str, Any]:
        """Return the options as parameters of the model contract."""
        return asdict(self)


@dataclass(frozen=True)
class Upload:
    """A file of a multipart body; ``filename`` only appears in the response and names no file on this machine."""

    data: bytes
    filename: str
    options: SummaryOptions


def options_of(values: Mapping[str, Any]) -> SummaryOptions:
    """Return the options among the values of a JSON object. Raises InvalidInput."""
    defaults = SummaryOptions()
    return SummaryOptions(
        _max_length(values.get("max_length", defaults.max_length)),
        _temperature(values.get("temperature", defaults.temperature)),
    )


def checked_text(text: object) -> str:
    """Return the text if it can be summarized. Raises InvalidInput, and PayloadTooLarge above ``MAX_CHARACTERS``."""
    if not isinstance(text, str):
        raise InvalidInput("text must be a string")
    if not text.strip():
        raise InvalidInput("Empty text provided")
    if len(text) > MAX_CHARACTERS:
        raise PayloadTooLarge(f"Text too long (max {MAX_CHARACTERS} characters)")
    return text


async def one_text(request: Request) -> tuple[str, SummaryOptions]:
    """Read the body of ``/summarize/text``. Raises RunnerError."""
    body = await _object(request, "text")
    options = options_of(body)
    return checked_text(body["text"]), options


async def many_texts(request: Request) -> tuple[list[str | RunnerError], SummaryOptions]:
    """Read the body of ``/batch/summarize``; a text that cannot be summarized is an error at its position."""
    body = await _object(request, "texts")
    texts = body["texts"]
    if not isinstance(texts, list):
        raise InvalidInput("texts must be a list")
    if len(texts) > MAX_TEXTS:
        raise InvalidInput(f"Maximum {MAX_TEXTS} texts per batch")
    options = options_of(body)
    return [_checked(text) for text in texts], options


async def upload(request: Request, field: str) -> Upload:
    """Read the multipart body of ``/summarize/file`` or ``/summarize/image``. Raises InvalidInput."""
    if media_type(request) != "multipart/form-data":
        raise InvalidInput(f"No {field} provided")
    async with multipart(request) as form:
        file = _file(form, field)
        name = _shown_name(file.filename or "", field)
        return Upload(await file.read(), name, _form_options(form, field))


async def _object(request: Request, required: str) -> dict[str, Any]:
    if media_type(request) != "application/json":
        raise UnsupportedMediaType("send application/json")
    body = await json_body(request)
    if not isinstance(body, dict) or required not in body:
        raise InvalidInput(f"Missing {required} field")
    _refuse_unknown(body.keys() - PARAMETERS - {required})
    return body


def _checked(text: object) -> str | RunnerError:
    try:
        return checked_text(text)
    except RunnerError as error:
        return error


def _file(form: FormData, field: str) -> UploadFile:
    files = files_of(form, field)
    if not files:
        raise InvalidInput(f"No {field} provided")
    if len(files) > 1:
        raise InvalidInput(f"One {field} at a time")
    return files[0]


def _shown_name(name: str, field: str) -> str:
    """Return the last part of a path of any system without control characters. Raises InvalidInput."""
    if not name:
        raise InvalidInput(f"No {field} selected")
    if len(name) > MAX_NAME_CHARACTERS:
        raise InvalidInput(f"The file name is too long (max {MAX_NAME_CHARACTERS} characters)")
    return _CONTROLS.sub("", re.split(r"[/\\]", name)[-1]).strip(" .") or field


def _form_options(form: FormData, field: str) -> SummaryOptions:
    _refuse_unknown(form.keys() - PARAMETERS - {field})
    texts = {name: form[name] for name in PARAMETERS & form.keys()}
    length, temperature = texts.get("max_length"), texts.get("temperature")
    values: dict[str, Any] = {}
    if length is not None:
        values["max_length"] = int(length) if isinstance(length, str) and _WHOLE.match(length) else length
    if temperature is not None:
        is_number = isinstance(temperature, str) and _DECIMAL.match(temperature)
        values["temperature"] = float(str(temperature)) if is_number else temperature
    return options_of(values)


def _refuse_unknown(names: set[str]) -> None:
    if names:
        raise InvalidInput(f"unknown field: {', '.join(sorted(names))[:100]!r}")


def _max_length(value: object) -> int:
    if type(value) is not int or not 1 <= value <= MAX_SUMMARY_TOKENS:
        raise InvalidInput(f"max_length must be a whole number from 1 to {MAX_SUMMARY_TOKENS}")
    return value


def _temperature(value: object) -> float:
    if type(value) not in {int, float} or not 0 <= value <= MAX_TEMPERATURE:  # type: ignore[operator]
        raise InvalidInput(f"temperature must be a number from 0 to {MAX_TEMPERATURE:g}")
    return value  # type: ignore[return-value]  # an int stays an int: the response repeats the value as it was sent
