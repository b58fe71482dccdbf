"""The documented routes of summarization, for a model in any process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from fastapi import APIRouter, Request

from runners.contract import InferenceRequest, InferenceResult, ModelProxy, infer_each
from runners.http import openapi
from runners.models.summarizers.base import MAX_SUMMARY_TOKENS
from runners.summarization.model import ratio
from runners.summarization.requests import (
    MAX_TEMPERATURE,
    MAX_TEXTS,
    SummaryOptions,
    Upload,
    many_texts,
    one_text,
    upload,
)
from web.answers import JSONAnswer, timestamp
from web.download.client import Downloader
from web.error_shape import shape

LENGTHS: Final = ("original_length", "summary_length", "compression_ratio")
ADDED: Final = ("engine", "model", "language", "ignored_parameters")
EXAMPLE: Final = {
    "summary": "The first sentence that matters. Another one.",
    "original_length": 180,
    "summary_length": 45,
    "compression_ratio": 4.0,
    "engine": "extractive",
    "model": "summarization:1.1.0",
    "language": "en",
    "ignored_parameters": ["temperature"],
}
EXAMPLE_INPUT: Final = {"text": "A text to summarize. It has a few sentences. Some of them matter more than others."}

OPTIONS: Final = {
    "max_length": {
        "type": "integer",
        "default": SummaryOptions().max_length,
        "minimum": 1,
        "maximum": MAX_SUMMARY_TOKENS,
    },
    "temperature": {
        "type": "number",
        "default": SummaryOptions().temperature,
        "minimum": 0,
        "maximum": MAX_TEMPERATURE,
    },
}


def router(model: ModelProxy, _: Downloader) -> APIRouter:
    """Return the documented routes of a summarization model in any process."""
    routes = APIRouter(tags=["summarization"])
    _add_texts(routes, model)
    _add_uploads(routes, model)
    return routes


def _add_texts(routes: APIRouter, model: ModelProxy) -> None:
    text = {**EXAMPLE_INPUT, **SummaryOptions().as_parameters()}
    texts = {"texts": [EXAMPLE_INPUT["text"]] * 2, **SummaryOptions().as_parameters()}

    @routes.post(
        "/summarize/text",
        summary="Summarize a text",
        openapi_extra=openapi.json_body(text),
        responses=openapi.answers(EXAMPLE),
    )
    async def summarize_text(request: Request) -> JSONAnswer:
        text, options = await one_text(request)
        (result,) = await model.infer([_request({"text": text}, options)])
        output = result.output()
        fields = _only(output, ("summary", *LENGTHS))
        return JSONAnswer({**fields, "parameters": options.as_parameters(), **_end(output)})

    @routes.post(
        "/batch/summarize",
        summary=f"Summarize up to {MAX_TEXTS} texts: a summary or an error each",
        openapi_extra=openapi.json_body(texts),
        responses=openapi.answers({"results": [{"index": 0, **EXAMPLE}], "batch_size": 1}),
    )
    async def batch_summarize(request: Request) -> JSONAnswer:
        texts, options = await many_texts(request)
        requests = [_request({"text": text}, options) if isinstance(text, str) else text for text in texts]
        results = await infer_each(model, requests)
        return JSONAnswer({**_batch(results), **(await model.info() or {})})


def _add_uploads(routes: APIRouter, model: ModelProxy) -> None:
    async def summarized(sent: Upload, field: str) -> dict[str, Any]:
        request = _request({field: sent.data, "filename": sent.filename}, sent.options)
        (result,) = await model.infer([request])
        return result.output()

    @routes.post(
        "/summarize/file",
        summary="Summarize a document: text, Markdown, HTML, PDF, Word, e-mail, feeds or XML",
        openapi_extra=openapi.upload("file", OPTIONS),
        responses=openapi.answers({**EXAMPLE, "filename": "document.pdf", "pages": 3}),
    )
    async def summarize_file(request: Request) -> JSONAnswer:
        sent = await upload(request, "file")
        output = await summarized(sent, "file")
        return JSONAnswer({**_document(output, sent, LENGTHS), **_end(output)})

    @routes.post(
        "/summarize/image",
        summary="Summarize the picture of a document, or a TIFF of several pages",
        openapi_extra=openapi.upload("image", OPTIONS),
        responses=openapi.answers({**EXAMPLE, "filename": "document.png", "pages": 1}),
    )
    async def summarize_image(request: Request) -> JSONAnswer:
        sent = await upload(request, "image")
        output = await summarized(sent, "image")
        return JSONAnswer({**_document(output, sent, ("summary_length",)), **_end(output)})


def _request(input_data: dict[str, Any], options: SummaryOptions) -> InferenceRequest:
    return InferenceRequest(input_data=input_data, parameters=options.as_parameters())


def _document(output: dict[str, Any], sent: Upload, lengths: Sequence[str]) -> dict[str, Any]:
    return {"summary": output["summary"], "filename": sent.filename, **_only(output, (*lengths, "pages"))}


def _end(output: dict[str, Any]) -> dict[str, Any]:
    return {"timestamp": timestamp(), **_only(output, ADDED)}


def _only(output: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: output[name] for name in names if name in output}


def _batch(results: Sequence[InferenceResult]) -> dict[str, Any]:
    outputs = [result.output_data for result in results if result.output_data is not None]
    original, summary = (sum(output[name] for output in outputs) for name in LENGTHS[:2])
    return {
        "results": [{"index": index, **_entry(result)} for index, result in enumerate(results)],
        "batch_size": len(results),
        "total_compression_ratio": ratio(original, summary),
        "timestamp": timestamp(),
    }


def _entry(result: InferenceResult) -> dict[str, Any]:
    if result.error is not None:
        return shape(result.error.message, result.error.code)
    return _only(result.output_data or {}, ("summary", *LENGTHS, "language", "ignored_parameters"))
