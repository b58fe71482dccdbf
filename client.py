"""How does a program call Atelier?

    from client import AtelierClient

    client = AtelierClient("http://127.0.0.1:8080")
    client.classify("field.jpg", lang="en")["label"]
    client.summarize_file("report.pdf")["summary"]

An image is a path, bytes, or an http(s) URL that the server fetches. Every method returns the answer's JSON, and raises

    AtelierError                with the answer's status, code and request id
    ├── AtelierUnreachable      nobody answered, though a lost connection was tried again
    └── AtelierTimeout          an answer began too late
"""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Final

import requests
from urllib3.exceptions import ReadTimeoutError

__all__ = ["AtelierClient", "AtelierError", "AtelierTimeout", "AtelierUnreachable", "DeepSynthSummarizerClient"]

CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 310.0  # a long document is read and summarized in less
FIRST_PAUSE: Final = 0.2  # seconds before the second try; each further one waits twice as long

Image = str | PathLike[str] | bytes
Answer = dict[str, Any]


class AtelierError(Exception):
    """The server's refusal, or its failure: ``status`` and ``code`` say which, ``request_id`` finds it in its log."""

    def __init__(
        self, message: str, *, code: str = "UNKNOWN", status: int | None = None, request_id: str | None = None
    ) -> None:
        super().__init__(message)
        self.message, self.code, self.status, self.request_id = message, code, status, request_id

    def __str__(self) -> str:
        """The message with what helps to find its cause."""
        known = (f"HTTP {self.status}" if self.status else None, self.code, self.request_id)
        return f"{self.message} ({', '.join(one for one in known if one)})"


class AtelierUnreachable(AtelierError):
    """No server at that address, or its connection broke off each time."""


class AtelierTimeout(AtelierError):
    """The server took longer than the client's ``timeout``."""


class AtelierClient:
    """One server of Atelier, or of one of its models alone. Not to be shared between threads."""

    def __init__(
        self, base_url: str = "http://127.0.0.1:8080", *, timeout: float = ANSWER_SECONDS, retries: int = 2
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.timeout = timeout
        self.retries = retries
        self._session = requests.Session()

    def __enter__(self) -> AtelierClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._session.close()

    def health(self) -> Answer:
        """Whether every model is loaded and answers; raises AtelierError with status 503 where one does not."""
        return self.call("GET", "/health")

    def classify(self, image: Image, *, lang: str = "fr") -> Answer:
        """What a satellite image shows."""
        return self.call("POST", "/classify", json={**_source(image), "lang": lang})

    def classify_batch(self, images: Sequence[Image], *, lang: str = "fr") -> list[Answer]:
        """What up to 32 satellite images show: an answer or an ``error`` each."""
        return _results(
            self.call("POST", "/classify/batch", json=[_source(one) for one in images], params={"lang": lang})
        )

    def embed(self, image: Image) -> list[float]:
        """512 numbers of length one."""
        embedding: list[float] = self.call("POST", "/embed", json=_source(image))["embedding"]
        return embedding

    def embed_batch(self, images: Sequence[Image]) -> list[Answer]:
        """Vectors of up to 32 images: an ``embedding`` or an ``error`` each."""
        return _results(self.call("POST", "/embed/batch", json=[_source(one) for one in images]))

    def summarize_text(self, text: str, *, max_length: int = 128, temperature: float = 0.7) -> Answer:
        """A summary of at most ``max_length`` tokens."""
        return self.call("POST", "/summarize/text", json={"text": text, **_options(max_length, temperature)})

    def summarize_file(self, path: str | PathLike[str], *, max_length: int = 128, temperature: float = 0.7) -> Answer:
        """A summary of a text, Markdown, HTML, PDF or DOCX file."""
        return self._upload("file", path, _options(max_length, temperature))

    def summarize_image(self, path: str | PathLike[str], *, max_length: int = 128, temperature: float = 0.7) -> Answer:
        """A summary of what is written on a picture."""
        return self._upload("image", path, _options(max_length, temperature))

    def batch_summarize(self, texts: Sequence[str], *, max_length: int = 128, temperature: float = 0.7) -> Answer:
        """Summaries of up to 10 texts: a ``summary`` or an ``error`` each, in ``results``."""
        return self.call("POST", "/batch/summarize", json={"texts": list(texts), **_options(max_length, temperature)})

    def infer(self, items: Sequence[Answer], *, model: str | None = None) -> list[Answer]:
        """The model contract: each item is ``{"input_data": {...}, "parameters": {...}}``; a result for each.

        ``model`` is wanted where the server has several.
        """
        body = {"requests": list(items)} | ({} if model is None else {"model": model})
        results: list[Answer] = _json(self.request("POST", "/infer", json=body))
        return results

    def call(self, method: str, path: str, **arguments: Any) -> Answer:
        """Any endpoint whose answer is a JSON object; ``arguments`` are those of requests."""
        answer: Answer = _json(self.request(method, path, **arguments))
        return answer

    def request(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """The answer with its headers. Raises AtelierError for every status from 400 on."""
        response = self.send(method, path, **arguments)
        if response.status_code >= requests.codes.bad_request:
            raise _refusal(response)
        return response

    def send(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """The answer, whatever its status. A request whose connection was lost is sent again; no other is."""
        tries = self.retries + 1
        for number in range(tries):
            try:
                return self._session.request(
                    method, self.base_url + path, timeout=(CONNECT_SECONDS, self.timeout), **arguments
                )
            except requests.Timeout as error:
                raise AtelierTimeout(f"{self.base_url} did not answer in time", code="CLIENT_TIMEOUT") from error
            except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
                if _was_late(error):
                    raise AtelierTimeout(f"{self.base_url} broke off in mid-answer", code="CLIENT_TIMEOUT") from error
                if number + 1 == tries:
                    raise AtelierUnreachable(f"{self.base_url} cannot be reached", code="UNREACHABLE") from error
                time.sleep(FIRST_PAUSE * 2**number)
            except requests.RequestException as error:
                raise AtelierError(f"the request cannot be sent: {error}", code="CLIENT_ERROR") from error
        raise AssertionError("every try returns or raises")

    def _upload(self, field: str, path: str | PathLike[str], options: Answer) -> Answer:
        return self.call("POST", f"/summarize/{field}", files={field: _file(path)}, data=options)


class DeepSynthSummarizerClient:
    """The summarization document's client: as there, an error's JSON is returned like any other answer."""

    def __init__(self, base_url: str = "http://localhost:5000") -> None:
        self.base_url = base_url.rstrip("/")
        self._client = AtelierClient(self.base_url)

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def summarize_text(self, text: str, max_length: int = 128, temperature: float = 0.7) -> Answer:
        """Summarize text via API."""
        return self._json("/summarize/text", json={"text": text, **_options(max_length, temperature)})

    def summarize_file(self, file_path: str, max_length: int = 128, temperature: float = 0.7) -> Answer:
        """Summarize file via API."""
        return self._json("/summarize/file", files={"file": _file(file_path)}, data=_options(max_length, temperature))

    def summarize_image(self, image_path: str, max_length: int = 128, temperature: float = 0.7) -> Answer:
        """Summarize document image via API."""
        return self._json(
            "/summarize/image", files={"image": _file(image_path)}, data=_options(max_length, temperature)
        )

    def batch_summarize(self, texts: list[str], max_length: int = 128, temperature: float = 0.7) -> Answer:
        """Batch summarize texts via API."""
        return self._json("/batch/summarize", json={"texts": texts, **_options(max_length, temperature)})

    def _json(self, path: str, **arguments: Any) -> Answer:
        answer: Answer = self._client.send("POST", path, **arguments).json()
        return answer


def _options(max_length: int, temperature: float) -> Answer:
    return {"max_length": max_length, "temperature": temperature}


def _file(path: str | PathLike[str]) -> tuple[str, bytes]:
    # Read whole, so that a lost connection can be tried again from its beginning.
    return Path(path).name, Path(path).read_bytes()


def _source(image: Image) -> Answer:
    if isinstance(image, str) and image.startswith(("http://", "https://")):
        return {"url": image}
    data = image if isinstance(image, bytes) else Path(image).read_bytes()
    return {"image": b64encode(data).decode()}


def _results(answer: Answer) -> list[Answer]:
    results: list[Answer] = answer["results"]
    return results


def _json(response: requests.Response) -> Any:
    try:
        return response.json()
    except requests.JSONDecodeError as error:
        message = "the answer is not JSON: is this a server of Atelier?"
        raise AtelierError(message, code="NO_JSON", status=response.status_code) from error


def _was_late(error: requests.RequestException) -> bool:
    """Whether the answer's body stopped coming, which requests reports as a lost connection."""
    return bool(error.args) and isinstance(error.args[0], ReadTimeoutError)


def _refusal(response: requests.Response) -> AtelierError:
    try:
        told = response.json()
    except requests.JSONDecodeError:
        told = {}
    told = told if isinstance(told, dict) else {}
    return AtelierError(
        str(told.get("error", response.reason)),
        code=str(told.get("code", "UNKNOWN")),
        status=response.status_code,
        request_id=response.headers.get("X-Request-ID"),
    )
