"""How does a program call Atelier?

    from client import AtelierClient

    client = AtelierClient("http://127.0.0.1:8080")
    client.classify("field.jpg", lang="en")["label"]
    client.summarize_file("report.pdf")["summary"]
    client.deploy({"model_id": "tcm_v2", ...}, wait=120)  # with a key: api_key=... or ATELIER_API_KEY
    client.infer_model("tcm_v2", {"symptoms": ["头痛", "乏力"]})["output_data"]

An image is a path, bytes, or an http(s) URL that the server fetches. Every method returns the answer's JSON or raises

    AtelierError                with the answer's status, code, details and request id
    ├── AtelierUnreachable      no connection, or it was lost at each try
    └── AtelierTimeout          no answer within the timeout
"""

from __future__ import annotations

import os
import re
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from ipaddress import ip_address
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib.parse import quote, urlsplit
from uuid import uuid4

import requests
from urllib3.exceptions import MaxRetryError, NewConnectionError, ReadTimeoutError

__all__ = ["AtelierClient", "AtelierError", "AtelierTimeout", "AtelierUnreachable", "DeepSynthSummarizerClient"]

CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 310.0  # default timeout: reading and summarizing a long document takes less
FIRST_PAUSE_SECONDS: Final = 0.2  # pause before the second try; it doubles with each further one
MARGIN_SECONDS: Final = 30.0  # added to the time that the server may take for an answer
MODELS: Final = "/api/v1/models"
SECRETS: Final = "/api/v1/secrets"
SAFE: Final = ("GET", "HEAD", "OPTIONS")  # methods that may be sent again after a lost connection
BENTOS: Final = "/api/v1/bentos"
PUSH_SECONDS: Final = 3600.0  # timeout of a push: a large archive takes minutes to unpack
LOCALES: Final = ("LC_ALL", "LC_MESSAGES", "LANG")  # the first variable with a value is used
PAGE_SIZE: Final = 500  # maximum number of entries in a page of a list
PIECE_BYTES: Final = 64 * 1024  # bytes of a file that are sent at a time

Image = str | PathLike[str] | bytes
Answer = dict[str, Any]


class AtelierError(Exception):
    """The server refused the request or failed.

    ``status`` and ``code`` name the error, and ``request_id`` finds the request in the server's log. ``details`` is for
    programs. ``retry_after`` is the number of seconds after which to retry, if the server gives one.
    """

    def __init__(  # noqa: PLR0913 - the parts of an error answer
        self,
        message: str,
        *,
        code: str = "UNKNOWN",
        status: int | None = None,
        request_id: str | None = None,
        details: Answer | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message, self.code, self.status, self.request_id = message, code, status, request_id
        self.details, self.retry_after = details or {}, retry_after

    def __str__(self) -> str:
        """Return the message with HTTP status, code and request id."""
        identifiers = (f"HTTP {self.status}" if self.status else None, self.code, self.request_id)
        return f"{self.message} ({', '.join(part for part in identifiers if part)})"


class AtelierUnreachable(AtelierError):
    """No server answers at this address, or the connection was lost at each try."""


class AtelierTimeout(AtelierError):
    """The server took longer than the client's ``timeout``."""


class _Session(requests.Session):
    """Sends no key to another host after a redirect; requests itself removes only ``Authorization``."""

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        before, after = response.request.url or "", prepared_request.url or ""
        if self.should_strip_auth(before, after):  # type: ignore[no-untyped-call]
            prepared_request.headers.pop("X-API-Key", None)
        super().rebuild_auth(prepared_request, response)  # type: ignore[no-untyped-call]

    def merge_environment_settings(self, url: Any, *arguments: Any) -> Any:
        """Ignore the environment's proxies for loopback addresses, which they cannot reach."""
        with self._without_proxies(url):
            return super().merge_environment_settings(url, *arguments)

    def rebuild_proxies(self, prepared_request: requests.PreparedRequest, proxies: Any) -> Any:
        """Ignore the environment's proxies where a redirect leads to a loopback address."""
        with self._without_proxies(prepared_request.url):
            return super().rebuild_proxies(prepared_request, proxies)  # type: ignore[no-untyped-call]

    @contextmanager
    def _without_proxies(self, url: Any) -> Iterator[None]:
        trusted, self.trust_env = self.trust_env, self.trust_env and not is_loopback(str(url))
        try:
            yield
        finally:
            self.trust_env = trusted


class AtelierClient:
    """A client of one server: Atelier, or a single model. Threads must not share it.

    The default of ``api_key`` is ``ATELIER_API_KEY``. ``language`` is the language of the management's messages. Its
    default is this user's locale, else English; an empty string leaves the choice to the server.
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8080",
        *,
        timeout: float = ANSWER_SECONDS,
        retries: int = 2,
        api_key: str | None = None,
        language: str | None = None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.timeout = timeout
        self.retries = retries
        self.last_status: int | None = None
        """HTTP status of the last answer; 202 means that a change is still under way."""
        self._session = _Session()
        key = os.environ.get("ATELIER_API_KEY", "") if api_key is None else api_key
        headers = {"X-API-Key": _sendable(key), "Accept-Language": own_language() if language is None else language}
        self._session.headers.update({name: value for name, value in headers.items() if value})

    def __enter__(self) -> AtelierClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def health(self) -> Answer:
        """Return the health of all models. Raises AtelierError with status 503 if a model does not answer."""
        return self.call("GET", "/health")

    def classify(self, image: Image, *, lang: str = "fr") -> Answer:
        """Classify the cover of a satellite image."""
        return self.call("POST", "/classify", json={**_source(image), "lang": lang})

    def classify_batch(self, images: Sequence[Image], *, lang: str = "fr") -> list[Answer]:
        """Classify up to 32 satellite images; each has an answer or an ``error``."""
        return _results(
            self.call("POST", "/classify/batch", json=[_source(image) for image in images], params={"lang": lang})
        )

    def embed(self, image: Image) -> list[float]:
        """Embed an image as a unit vector of 512 numbers."""
        embedding: list[float] = self.call("POST", "/embed", json=_source(image))["embedding"]
        return embedding

    def embed_batch(self, images: Sequence[Image]) -> list[Answer]:
        """Embed up to 32 images; each has an ``embedding`` or an ``error``."""
        return _results(self.call("POST", "/embed/batch", json=[_source(image) for image in images]))

    def summarize_text(self, text: str, *, max_length: int = 128, temperature: float = 0.7) -> Answer:
        """Summarize a text in at most ``max_length`` tokens."""
        return self.call("POST", "/summarize/text", json={"text": text, **_options(max_length, temperature)})

    def summarize_file(self, path: str | PathLike[str], *, max_length: int = 128, temperature: float = 0.7) -> Answer:
        """Summarize a text, Markdown, HTML, PDF or DOCX file."""
        return self._upload("file", path, _options(max_length, temperature))

    def summarize_image(self, path: str | PathLike[str], *, max_length: int = 128, temperature: float = 0.7) -> Answer:
        """Summarize the text in a picture."""
        return self._upload("image", path, _options(max_length, temperature))

    def batch_summarize(self, texts: Sequence[str], *, max_length: int = 128, temperature: float = 0.7) -> Answer:
        """Summarize up to 10 texts; each entry of ``results`` has a ``summary`` or an ``error``."""
        return self.call("POST", "/batch/summarize", json={"texts": list(texts), **_options(max_length, temperature)})

    def diagnose(self, symptoms: str | Sequence[str], *, patient: Answer | None = None, **parameters: Any) -> Answer:
        """Name Chinese medicine's syndromes for symptoms, a list or free text. Parameters: ``top_k`` and ``lang``."""
        return self._patient("/diagnose", symptoms, patient, parameters)

    def treat(self, symptoms: str | Sequence[str], *, patient: Answer | None = None, **parameters: Any) -> Answer:
        """Suggest Chinese medicine's herbs and formulae for symptoms; ``patient`` becomes ``patient_info``."""
        return self._patient("/treat", symptoms, patient, parameters)

    def _patient(self, path: str, symptoms: str | Sequence[str], patient: Answer | None, parameters: Answer) -> Answer:
        body = {"text": symptoms} if isinstance(symptoms, str) else {"symptoms": list(symptoms)}
        more = {"patient_info": patient, "parameters": parameters or None}
        return self.call("POST", path, json=body | {name: value for name, value in more.items() if value is not None})

    def infer(self, items: Sequence[Answer], *, model: str | None = None) -> list[Answer]:
        """Call a model by the common contract: items ``{"input_data": {...}, "parameters": {...}}``, a result for each.

        ``model`` is required if the server has several models.
        """
        body = {"requests": list(items)} | ({} if model is None else {"model": model})
        return self._list("POST", "/infer", json=body)

    # The management. ``wait`` is the number of seconds to wait for a change's outcome, at most 600. Without it, the
    # change continues in the background.

    def deploy(  # noqa: PLR0913 - the optional fields of a configuration
        self,
        config: Answer,
        *,
        wait: float | None = None,
        idempotency_key: str | None = None,
        default_api: str | None = None,
        access_authorization: bool | None = None,
        strategy: str | None = None,
        labels: dict[str, str] | None = None,
    ) -> Answer:
        """Deploy a model. Requests with the same idempotency key deploy it once, as with ``scale`` and ``update``.

        By default, each call has a new key. ``default_api`` is the API of the Bento that inference calls. With
        ``access_authorization=False`` the model's own address requires no key.
        """
        body = {"config": _with_options(config, default_api, access_authorization, strategy, labels)}
        return self._change("POST", f"{MODELS}/deploy", body, wait, idempotency_key)

    def update(  # noqa: PLR0913 - the optional fields of a configuration
        self,
        model_id: str,
        config: Answer,
        *,
        wait: float | None = None,
        idempotency_key: str | None = None,
        default_api: str | None = None,
        access_authorization: bool | None = None,
        strategy: str | None = None,
        labels: dict[str, str] | None = None,
    ) -> Answer:
        """Replace a model's replicas by replicas of another version or configuration; omitted fields stay.

        ``default_api`` is the API of the Bento that inference calls; an empty text removes the choice. ``labels`` are
        all labels of the model, in place of the earlier ones.
        """
        body = {"config": _with_options(config, default_api, access_authorization, strategy, labels)}
        return self._change("PUT", _path(model_id), body, wait, idempotency_key)

    def scale(
        self, model_id: str, replicas: int, *, wait: float | None = None, idempotency_key: str | None = None
    ) -> Answer:
        """Set the number of replicas; 0 stops the model."""
        return self._change("POST", _path(model_id, "scale"), {"replicas": replicas}, wait, idempotency_key)

    def delete(self, model_id: str, *, force: bool = False, wait: float | None = None) -> Answer:
        """Delete a model; with ``force`` without waiting for requests in flight.

        A request that may have arrived is not sent again: another model may have this id by then.
        """
        params = {"force": "true" if force else None, "wait": wait}
        return self.call("DELETE", _path(model_id), params=params, timeout=self._seconds(wait), again=False)

    def models(
        self, status: str | None = None, model_type: str | None = None, limit: int = 50, offset: int = 0
    ) -> list[Answer]:
        """Return a page of the models, the oldest first."""
        params = {"status": status, "model_type": model_type, "limit": limit, "offset": offset}
        return self._list("GET", MODELS, params=params)

    def all_models(self, status: str | None = None, model_type: str | None = None) -> Iterator[Answer]:
        """Yield every model; pages are requested as needed."""
        offset, page = 0, self.models(status, model_type, PAGE_SIZE)
        while page:
            yield from page
            offset += len(page)
            page = self.models(status, model_type, PAGE_SIZE, offset) if len(page) == PAGE_SIZE else []

    def status(self, model_id: str) -> Answer:
        """Return a model's configuration, its replicas, their usage, and reasons of failures."""
        return self.call("GET", _path(model_id, "status"))

    def logs(self, model_id: str, tail: int = 100) -> Answer:
        """Return the last ``tail`` lines of each replica's log."""
        return self.call("GET", _path(model_id, "logs"), params={"tail": tail})

    def environment(self, model_id: str, tail: int = 100) -> Answer:
        """Return a model's environment, what is installed in it, and the last ``tail`` lines of its making's log."""
        return self.call("GET", _path(model_id, "environment"), params={"tail": tail})

    def events(self, model_id: str, limit: int = 100) -> list[Answer]:
        """Return the changes of a model with their authors, also those of a deleted model."""
        return self._list("GET", _path(model_id, "events"), params={"limit": limit})

    # The Bentos in the server's store. A tag is NAME:VERSION.

    def push_bento(self, path: str | PathLike[str], *, progress: Callable[[int], object] = lambda size: None) -> Answer:
        """Bring a Bento in: a file that ``bentoml export`` wrote. The same Bento again changes nothing.

        The file is sent piece by piece; ``progress`` is called with the bytes of each. ``last_status`` is 201 for a
        new Bento, and 200 for one that the server has.
        """
        digest = b64encode(_sha256(Path(path))).decode()
        headers = {"Content-Type": "application/octet-stream", "Content-Digest": f"sha-256=:{digest}:"}
        with Path(path).open("rb") as file:
            body = _Upload(file, progress)
            return self.call("POST", BENTOS, data=body, headers=headers, timeout=PUSH_SECONDS, again=False)

    def list_bentos(self, name: str | None = None, limit: int = 50, offset: int = 0) -> list[Answer]:
        """Return a page of the Bentos, by name and version."""
        return self._list("GET", BENTOS, params={"name": name, "limit": limit, "offset": offset})

    def all_bentos(self, name: str | None = None) -> Iterator[Answer]:
        """Yield every Bento; pages are requested as needed."""
        offset, page = 0, self.list_bentos(name, PAGE_SIZE)
        while page:
            yield from page
            offset += len(page)
            page = self.list_bentos(name, PAGE_SIZE, offset) if len(page) == PAGE_SIZE else []

    def get_bento(self, tag: str) -> Answer:
        """Return a Bento's APIs with their schemas, what it needs, and which models run it."""
        return self.call("GET", _bento_path(tag))

    def delete_bento(self, tag: str) -> Answer:
        """Delete a Bento. Raises AtelierError with status 409 while a model uses it."""
        return self.call("DELETE", _bento_path(tag), again=False)

    def infer_model(  # noqa: PLR0913 - the fields of a request
        self,
        model_id: str,
        input_data: Answer,
        parameters: Answer | None = None,
        *,
        timeout: int = 30,
        priority: str = "normal",
        api: str | None = None,
    ) -> Answer:
        """Call a model with one input. ``timeout`` in seconds includes the time in the queue.

        ``api`` names an API of the model's Bento, whose arguments the input is; Bentos with several need it.
        """
        body = {"input_data": input_data, "parameters": parameters or {}, "timeout": timeout, "priority": priority}
        body |= {} if api is None else {"api": api}
        return self.call("POST", _path(model_id, "inference"), json=body, timeout=self._seconds(timeout))

    def infer_batch(
        self,
        model_id: str,
        requests: Sequence[Answer],
        *,
        timeout: int = 30,
        priority: str = "normal",
        api: str | None = None,
    ) -> list[Answer]:
        """Call a model with up to 64 items as in ``infer``; failed items have an ``error``."""
        body = {"requests": list(requests), "timeout": timeout, "priority": priority}
        body |= {} if api is None else {"api": api}
        return self._list("POST", _path(model_id, "batch_inference"), json=body, timeout=self._seconds(timeout))

    def call_model(  # noqa: PLR0913 - the parts of a request
        self,
        model_id: str,
        path: str = "/",
        *,
        method: str = "POST",
        timeout: float | None = None,
        priority: str | None = None,
        headers: Mapping[str, str] | None = None,
        **arguments: Any,
    ) -> requests.Response:
        """Send any request to a model's own address, and return the model's response whatever its status.

        ``timeout`` is the deadline of the first byte in seconds. ``stream=True`` returns once the headers are there;
        ``arguments`` go to ``requests``. Raises AtelierError for an error that is not the model's own.
        """
        asked = {"X-Atelier-Timeout": None if timeout is None else f"{timeout:g}", "X-Atelier-Priority": priority}
        sent = {**{name: value for name, value in asked.items() if value is not None}, **(headers or {})}
        seconds = None if timeout is None else self._seconds(timeout)
        address = f"/models/{_quoted(model_id)}/{path.removeprefix('/')}"
        response = self.send(method, address, timeout=seconds, again=method in SAFE, headers=sent, **arguments)
        if "X-Atelier-Error" in response.headers:
            raise _refusal(response)
        return response

    def set_secret(
        self,
        name: str,
        variables: dict[str, str] | None = None,
        *,
        files: dict[str, bytes] | None = None,
        paths: dict[str, str] | None = None,
    ) -> Answer:
        """Set all values of a secret; no answer has any of them. A model receives it by ``secrets`` in its config.

        ``files`` are contents by path; ``paths`` are variables that get the path of one of them.
        """
        contents = {path: b64encode(content).decode() for path, content in (files or {}).items()}
        body = {"variables": variables or {}, "files": contents, "paths": paths or {}}
        return self.call("PUT", _secret_path(name), json=body)

    def secrets(self) -> list[Answer]:
        """Return all secrets without their values: names, keys, and the models that name each."""
        return self._list("GET", SECRETS)

    def secret(self, name: str) -> Answer:
        """Return a secret without its values."""
        return self.call("GET", _secret_path(name))

    def delete_secret(self, name: str) -> Answer:
        """Delete a secret that no model names."""
        return self.call("DELETE", _secret_path(name), again=False)

    def platform_health(self) -> Answer:
        """Return the health of the management. Raises AtelierError with status 503 if it is unhealthy."""
        return self.call("GET", "/api/v1/health")

    def call(self, method: str, path: str, **arguments: Any) -> Answer:
        """Call any endpoint whose answer is a JSON object; ``arguments`` go to ``requests``."""
        answer: Answer = _json(self.request(method, path, **arguments))
        return answer

    def request(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """Send a request and return the response. Raises AtelierError for a status of 400 or more."""
        response = self.send(method, path, **arguments)
        if response.status_code >= requests.codes.bad_request:
            raise _refusal(response)
        return response

    def send(
        self, method: str, path: str, *, timeout: float | None = None, again: bool = True, **arguments: Any
    ) -> requests.Response:
        """Send a request and return the response, also for error statuses. Only a lost connection is tried again.

        ``timeout`` replaces the client's. With ``again=False``, only a connection that was never made is tried again.
        """
        try:
            check_address(self.base_url)
        except ValueError as error:
            raise AtelierError(str(error), code="CLIENT_ERROR") from None
        tries = self.retries + 1
        limits = (CONNECT_SECONDS, self.timeout if timeout is None else timeout)
        for number in range(tries):
            try:
                response = self._session.request(method, self.base_url + path, timeout=limits, **arguments)
                self.last_status = response.status_code
                return response
            except requests.Timeout as error:
                raise AtelierTimeout(f"{self.base_url} did not answer in time", code="CLIENT_TIMEOUT") from error
            except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
                if _was_late(error):
                    raise AtelierTimeout(
                        f"{self.base_url} stopped in the middle of its answer", code="CLIENT_TIMEOUT"
                    ) from error
                if number + 1 == tries or not (again or _was_refused(error)):
                    raise AtelierUnreachable(f"{self.base_url} cannot be reached", code="UNREACHABLE") from error
                time.sleep(FIRST_PAUSE_SECONDS * 2**number)
            except requests.RequestException as error:
                raise AtelierError(f"the request cannot be sent: {error}", code="CLIENT_ERROR") from error
        raise AssertionError("every try returns or raises")

    def _list(self, method: str, path: str, **arguments: Any) -> list[Answer]:
        answers: list[Answer] = _json(self.request(method, path, **arguments))
        return answers

    def _change(self, method: str, path: str, body: Answer, wait: float | None, key: str | None) -> Answer:
        """Send a change with an idempotency key. After a lost connection, repeat it until the first request is done."""
        headers = {"Idempotency-Key": key or uuid4().hex}
        arguments = {"json": body, "headers": headers, "params": {"wait": wait}, "timeout": self._seconds(wait)}
        deadline = time.monotonic() + (wait or 0) + MARGIN_SECONDS
        while True:
            try:
                return self.call(method, path, **arguments)
            except AtelierError as error:
                if error.code != "REQUEST_RUNNING" or time.monotonic() > deadline:
                    raise
                time.sleep(error.retry_after or 1)

    def _seconds(self, wait: float | None) -> float:
        """Return the timeout of a request for which the server may take ``wait`` seconds."""
        return max(self.timeout, wait + MARGIN_SECONDS) if wait else self.timeout

    def _upload(self, field: str, path: str | PathLike[str], options: Answer) -> Answer:
        return self.call("POST", f"/summarize/{field}", files={field: _file(path)}, data=options)


class DeepSynthSummarizerClient:
    """The client of the summarization document, where errors are returned as JSON and not raised."""

    def __init__(self, base_url: str = "http://localhost:5000") -> None:
        self.base_url = base_url.rstrip("/")
        self._client = AtelierClient(self.base_url)

    def close(self) -> None:
        """Close the connections."""
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


def is_loopback(url: str) -> bool:
    """Return whether a URL leads to this machine."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    try:
        return host == "localhost" or host.endswith(".localhost") or ip_address(host).is_loopback
    except ValueError:
        return False


def check_address(base_url: str) -> None:
    """Raise ValueError for anything but the http(s) URL of a server."""
    try:
        parts = urlsplit(base_url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        hint = "" if "://" in base_url or not base_url else f"; did you mean http://{base_url}?"
        raise ValueError(f"{base_url!r} is not a server's address: begin it with http:// or https://{hint}")


def own_language() -> str:
    """Return an Accept-Language header for the locale in the POSIX variables, else for English."""
    chosen = next((os.environ[name] for name in LOCALES if os.environ.get(name)), "")
    tag = chosen.split(":")[0].split(".")[0].split("@")[0].replace("_", "-")
    if not re.fullmatch(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*", tag) or tag.upper() == "POSIX":
        return "en"
    return tag if tag.lower().startswith("en") else f"{tag}, en;q=0.5"


def _with_options(
    config: Answer,
    default_api: str | None,
    access_authorization: bool | None,
    strategy: str | None,
    labels: dict[str, str] | None,
) -> Answer:
    options = {
        "default_api": default_api,
        "access_authorization": access_authorization,
        "strategy": strategy,
        "labels": labels,
    }
    return {**config, **{name: value for name, value in options.items() if value is not None}}


def _options(max_length: int, temperature: float) -> Answer:
    return {"max_length": max_length, "temperature": temperature}


def _file(path: str | PathLike[str]) -> tuple[str, bytes]:
    # Read into memory, so that a retry can send it again from the beginning.
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


def _path(model_id: str, action: str = "") -> str:
    return f"{MODELS}/{_quoted(model_id)}" + (f"/{action}" if action else "")


def _quoted(model_id: str) -> str:
    if model_id in ("", ".", ".."):
        raise ValueError("a model's id is required")  # these would change the path itself
    return quote(model_id, safe="")


def _bento_path(tag: str) -> str:
    name, _, version = tag.partition(":")
    if not name.strip(".") or not version.strip("."):
        raise ValueError("a Bento's tag is NAME:VERSION")  # dots alone would change the path itself
    return f"{BENTOS}/{quote(name, safe='')}/{quote(version, safe='')}"


def _sha256(path: Path) -> bytes:
    total = sha256()
    with path.open("rb") as file:
        while piece := file.read(1024 * 1024):
            total.update(piece)
    return total.digest()


class _Upload:
    """A file as a request's body of known length, which tells how much of it was sent."""

    def __init__(self, file: BinaryIO, progress: Callable[[int], object]) -> None:
        self._file, self._progress = file, progress
        self._size = os.fstat(file.fileno()).st_size

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        while piece := self.read(PIECE_BYTES):
            yield piece

    def read(self, size: int = -1) -> bytes:
        piece = self._file.read(max(size, PIECE_BYTES) if size >= 0 else size)
        if piece:
            self._progress(len(piece))
        return piece


def _secret_path(name: str) -> str:
    if name in ("", ".", ".."):
        raise ValueError("a secret's name is required")
    return f"{SECRETS}/{quote(name, safe='')}"


def _sendable(key: str) -> str:
    """Return the key as a header value. Raises ValueError, without the key in the message."""
    key = key.strip()
    if not (key.isascii() and key.isprintable()):
        raise ValueError("the API key has characters that no header can carry")
    return key


def _was_refused(error: requests.RequestException) -> bool:
    """Return whether no connection was made, so that nothing of the request has arrived."""
    reason = error.args[0] if error.args else None
    return isinstance(reason, MaxRetryError) and isinstance(reason.reason, NewConnectionError)


def _was_late(error: requests.RequestException) -> bool:
    """Return whether reading the answer's body timed out, which requests reports as a lost connection."""
    return bool(error.args) and isinstance(error.args[0], ReadTimeoutError)


def _refusal(response: requests.Response) -> AtelierError:
    try:
        body = response.json()
    except requests.JSONDecodeError:
        body = {}
    body = body if isinstance(body, dict) else {}
    # In the management's answers, ``error`` is an object; in those of models, a message with a code beside it.
    error = body["error"] if isinstance(body.get("error"), dict) else {**body, "message": body.get("error")}
    details = error.get("details")
    after = response.headers.get("Retry-After", "")
    return AtelierError(
        str(error.get("message") or response.reason),
        code=str(error.get("code", "UNKNOWN")),
        status=response.status_code,
        request_id=response.headers.get("X-Request-ID"),
        details=details if isinstance(details, dict) else {},
        retry_after=int(after) if after.isascii() and after.isdigit() else None,
    )
