"""Summarization on real servers: the document's calls, documents of every kind, and callers who mean no good."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import bentoml
import docx
import httpx
import psutil
import pytest
from PIL import Image, ImageDraw, ImageFont

from client import AtelierClient, AtelierError, DeepSynthSummarizerClient
from tests.conftest import encoded
from tests.support.servers import ROOT, Server, free_port, serving

pytestmark = [pytest.mark.server, pytest.mark.xdist_group("atelier")]

ARTICLE = (
    "The old harbour of the town will be rebuilt over the next six years. The council voted for the plan on Tuesday "
    "evening, after a debate of four hours. Fishermen had asked for a deeper basin since 2009. The work costs 42 "
    "million euros, half of which the region pays. Mr. Dupont, the mayor, called it the largest project of his "
    "time in office. "
    "Critics fear that the rents around the quays will rise. A first basin is to open in the spring of next year."
)
CALLS = re.findall(r"```bash\n(curl [^`]*?)\n```", (ROOT / "docs" / "summarization.md").read_text())
ENGINE = {"engine": "extractive", "model": "summarization:1.1.0"}


@pytest.fixture(scope="module")
def summarization(store: Path) -> Iterator[Server]:
    """The summarization model alone."""
    with serving("service:Summarization", store) as server:
        yield server


def page(text: str, size: tuple[int, int] = (1000, 400)) -> Image.Image:
    """A picture with a text on it."""
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).multiline_text((40, 40), text, "black", ImageFont.load_default(32))
    return image


def file_of(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def word(text: str) -> bytes:
    document, file = docx.Document(), BytesIO()
    document.add_paragraph(text)
    document.save(file)
    return file.getvalue()


def test_a_text_is_summarized_alone_and_behind_the_front_door_alike(summarization: Server, atelier: Server) -> None:
    answers = []
    for server in (summarization, atelier):
        with server.client() as client:
            answers.append(client.post("/summarize/text", json={"text": ARTICLE, "max_length": 60}).json())
    assert answers[0]["summary"] == answers[1]["summary"]
    answer = answers[0]
    assert {key: answer[key] for key in ENGINE} == ENGINE
    assert (answer["language"], answer["original_length"]) == ("en", len(ARTICLE))
    assert answer["ignored_parameters"] == ["temperature"]
    assert 0 < answer["summary_length"] == len(answer["summary"]) < len(ARTICLE)
    assert answer["compression_ratio"] == round(len(ARTICLE) / len(answer["summary"]), 2)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.txt", ARTICLE.encode("utf-16")),
        ("a.md", b"# The harbour\n\n" + ARTICLE.encode()),
        ("a.html", f"<html><title>The harbour</title><p>{ARTICLE}</p></html>".encode()),
        ("a.docx", word(ARTICLE)),
        ("a", ARTICLE.encode()),
    ],
)
def test_a_file_of_every_kind_is_summarized(summarization: Server, name: str, data: bytes) -> None:
    with summarization.client() as client:
        answer = client.post("/summarize/file", files={"file": (name, data)}, data={"max_length": "60"})
    body = answer.json()
    assert answer.status_code == 200, body
    assert (body["filename"], body["pages"], body["language"]) == (name, 1, "en")
    assert body["summary"].rstrip(".").split(". ")[0] in ARTICLE


def test_pictures_and_scans_are_read(summarization: Server) -> None:
    lines = "The harbour will be rebuilt.\nThe council voted on Tuesday.\nThe work costs 42 million euros."
    first, second = page(lines), page("Critics fear that rents will rise.\nA first basin opens in the spring.")
    sent = {
        "one.png": ("image", file_of(first, "PNG"), 1),
        "two.tif": ("image", file_of(first, "TIFF", save_all=True, append_images=[second]), 2),
        "scan.pdf": ("file", file_of(first, "PDF", save_all=True, append_images=[second], resolution=100), 2),
    }
    with summarization.client() as client:
        for name, (field, data, pages) in sent.items():
            answer = client.post(f"/summarize/{field}", files={field: (name, data)})
            body = answer.json()
            assert answer.status_code == 200, body
            assert (body["pages"], body["filename"]) == (pages, name)
            assert "harbour" in body["summary"]


REFUSED: dict[str, tuple[str, bytes, int, str]] = {
    "an empty file": ("file", b"", 400, "INVALID_DOCUMENT"),
    "white space": ("file", b" \n\t", 400, "INVALID_DOCUMENT"),
    "a damaged PDF": ("file", b"%PDF-1.4\n%%EOF", 400, "INVALID_DOCUMENT"),
    "garbage": ("file", bytes(range(256)) * 20, 415, "UNSUPPORTED_MEDIA_TYPE"),
    "another archive": ("file", b"PK\x05\x06" + bytes(18), 415, "UNSUPPORTED_MEDIA_TYPE"),
    "a picture of nothing": ("image", file_of(Image.new("RGB", (300, 300), "white"), "PNG"), 422, "NO_TEXT"),
    "one pixel": ("image", file_of(Image.new("RGB", (1, 1)), "PNG"), 422, "NO_TEXT"),
    "fifty megapixels": ("image", file_of(Image.new("1", (10_000, 5_000)), "PNG"), 413, "PAYLOAD_TOO_LARGE"),
    "a text in a picture's place": ("image", ARTICLE.encode(), 415, "UNSUPPORTED_MEDIA_TYPE"),
    "half a picture": ("image", encoded(kind="PNG")[:200], 400, "INVALID_IMAGE"),
}


@pytest.mark.parametrize(("field", "data", "status", "code"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_is_refused_with_its_reason(
    summarization: Server, field: str, data: bytes, status: int, code: str
) -> None:
    with summarization.client() as client:
        answer = client.post(f"/summarize/{field}", files={field: ("a", data)})
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize("path", ["/summarize/text", "/summarize/file", "/summarize/image", "/batch/summarize"])
@pytest.mark.parametrize("announced", [True, False])
def test_a_body_beyond_16_mib_is_refused_in_the_documents_words(
    summarization: Server, path: str, announced: bool
) -> None:
    field = path.rsplit("/", 1)[1]
    is_upload = field in {"file", "image"}

    def pieces() -> Iterator[bytes]:
        if is_upload:
            yield f'--b\r\nContent-Disposition: form-data; name="{field}"; filename="a"\r\n\r\n'.encode()
        for _ in range(17):
            yield bytes(1024 * 1024)

    with summarization.client() as client:
        content: Any = b"".join(pieces()) if announced else pieces()
        kind = "multipart/form-data; boundary=b" if is_upload else "application/json"
        answer = client.post(path, content=content, headers={"content-type": kind})
    assert (answer.status_code, answer.json()["error"]) == (413, "File too large (max 16MB)")


def test_unknown_paths_and_wrong_methods_are_json(summarization: Server) -> None:
    with summarization.client() as client:
        for path in ("/nothing", "/read", "/summarize", "/about", "/checked/infer"):
            answer = client.post(path, json={"requests": []})
            assert (answer.status_code, answer.json()["error"]) == (404, "Endpoint not found")
        answer = client.get("/summarize/text")
        assert (answer.status_code, answer.json()["code"]) == (405, "METHOD_NOT_ALLOWED")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("call", CALLS, ids=[re.search(r"5000(\S+)", call)[1] for call in CALLS])  # type: ignore[index]
def test_the_documents_curls_run_as_printed(summarization: Server, call: str) -> None:
    here = call.replace("http://localhost:5000", summarization.url).replace("curl ", "curl -s --fail-with-body ")
    done = subprocess.run(["bash", "-c", here], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "timestamp" in json.loads(done.stdout)


def test_the_clients_speak_to_it(summarization: Server, atelier: Server, tmp_path: Path) -> None:
    (tmp_path / "document.txt").write_text(ARTICLE)
    page("The harbour will be rebuilt.").save(tmp_path / "document.png")
    old = DeepSynthSummarizerClient(summarization.url)
    assert old.summarize_text(ARTICLE)["summary"]
    assert old.summarize_file(str(tmp_path / "document.txt"))["filename"] == "document.txt"
    assert "harbour" in old.summarize_image(str(tmp_path / "document.png"))["summary"]
    assert old.batch_summarize([ARTICLE, ""])["results"][1]["error"] == "Empty text provided"
    assert old.summarize_text(" ")["error"] == "Empty text provided"
    old.close()
    with AtelierClient(atelier.url) as client:
        assert client.health()["summarization"] == ENGINE
        assert client.summarize_file(tmp_path / "document.txt", max_length=40)["pages"] == 1
        assert client.classify(encoded())["model"] == "satellite:1.2.0"
        assert len(client.embed_batch([encoded(), b"no picture"])) == 2
        assert client.infer([{"input_data": {"text": ARTICLE}}], model="summarization")[0]["output_data"]["summary"]
        with pytest.raises(AtelierError) as caught:
            client.summarize_text("")
        assert (caught.value.status, caught.value.code) == (400, "INVALID_INPUT")
        assert caught.value.request_id


def test_bentomls_client_calls_infer(summarization: Server) -> None:
    with bentoml.SyncHTTPClient(summarization.url) as client:
        results = client.infer(requests=[{"input_data": {"text": ARTICLE}}, {"input_data": {"text": ""}}])
        client._temp_dir.cleanup()  # its close() forgets it, and the warning would fail another test
    assert [result["error"] is None for result in results] == [True, False]


def test_health_says_which_engine_serves(summarization: Server) -> None:
    with summarization.client() as client:
        body = client.get("/health").json()
    assert {key: body[key] for key in ("status", "model_loaded", *ENGINE)} == {
        "status": "healthy",
        "model_loaded": True,
        **ENGINE,
    }


@pytest.mark.slow
def test_short_texts_do_not_wait_for_a_long_document(summarization: Server) -> None:
    scan = file_of(page(ARTICLE[:60], (1600, 2200)), "PDF", save_all=True, append_images=[page("More.")] * 7)

    async def both() -> tuple[float, int]:
        async with httpx.AsyncClient(base_url=summarization.url, timeout=300, trust_env=False) as client:
            long = asyncio.create_task(client.post("/summarize/file", files={"file": ("scan.pdf", scan)}))
            await asyncio.sleep(0.5)
            answers = [await client.post("/summarize/text", json={"text": ARTICLE}) for _ in range(10)]
            assert {answer.status_code for answer in answers} == {200}
            still_reading = not long.done()
            answer = await long
            return still_reading, answer.status_code

    assert asyncio.run(both()) == (True, 200)


def test_300_parallel_requests_get_300_answers(summarization: Server) -> None:
    async def all_at_once() -> set[int]:
        limits = httpx.Limits(max_connections=300)
        async with httpx.AsyncClient(base_url=summarization.url, limits=limits, timeout=120, trust_env=False) as client:
            answers = await asyncio.gather(
                *(client.post("/summarize/text", json={"text": ARTICLE, "max_length": 50}) for _ in range(300))
            )
        return {answer.status_code for answer in answers}

    assert asyncio.run(all_at_once()) == {200}


@pytest.mark.parametrize("name", ["summarization", "atelier"])
def test_a_document_is_no_longer_read_for_a_caller_who_left(name: str, request: pytest.FixtureRequest) -> None:
    server: Server = request.getfixturevalue(name)
    pages = [page(ARTICLE[:60], (1600, 2200))] * 60
    scan = file_of(pages[0], "PDF", save_all=True, append_images=pages[1:])
    with server.client() as client:
        with pytest.raises(httpx.ReadTimeout):
            client.post("/summarize/file", files={"file": ("scan.pdf", scan)}, timeout=2)
        # There is one reader for two cores: sixty pages would hold it for a minute and more.
        started = time.monotonic()
        assert client.post("/summarize/file", files={"file": ("a.txt", ARTICLE.encode())}).status_code == 200
        assert time.monotonic() - started < 30


def test_nothing_of_an_upload_stays_when_the_caller_hangs_up(summarization: Server) -> None:
    process = summarization.model_process("Summarization")
    temporary = Path(os.environ.get("TMPDIR", "/tmp"))
    before = set(temporary.iterdir())
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="secret-name.txt"\r\n\r\n' + b"a" * 3_000_000
    host, port = summarization.url.removeprefix("http://").split(":")
    for sent in (body, body + b"\r\n--b--\r\n"):
        with socket.create_connection((host, int(port))) as connection:
            head = f"POST /summarize/file HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body) + 9}\r\n"
            connection.sendall(head.encode() + b"Content-Type: multipart/form-data; boundary=b\r\n\r\n" + sent)
    deadline = time.monotonic() + 10
    while _holds_uploads(process) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _holds_uploads(process)
    assert not [path for path in set(temporary.iterdir()) - before if "secret" in path.name]


def _holds_uploads(process: psutil.Process) -> bool:
    """Whether an unlinked temporary file is open."""
    links = [os.readlink(link) for link in Path(f"/proc/{process.pid}/fd").iterdir() if link.is_symlink()]
    return any("(deleted)" in link and link.startswith(("/tmp", "/var/tmp")) for link in links)


@pytest.mark.slow
@pytest.mark.torch
def test_a_checkpoint_is_served_by_the_engine_of_its_kind(store: Path, tmp_path: Path) -> None:
    from tests.doubles.tiny_checkpoints import bart

    bart(tmp_path / "small-bart")
    checkpoint = str(tmp_path / "small-bart")
    with (
        serving("service:Summarization", store, MODEL_PATH=checkpoint) as server,
        AtelierClient(server.url) as client,
    ):
        health, answer = client.health(), client.summarize_text(ARTICLE, max_length=12)
        again = client.summarize_text(ARTICLE, max_length=12)
    assert (health["engine"], answer["engine"]) == ("seq2seq", "seq2seq")
    assert answer["model"] == health["model"] == "small-bart"
    assert answer["summary"].replace("\n", " ").isprintable()
    assert answer["summary"] == again["summary"]
    assert "ignored_parameters" not in answer


def test_a_checkpoint_that_cannot_be_served_is_said_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "runners.launch", "service:Summarization", "--port", str(free_port())]
    environment = {**os.environ, "MODEL_PATH": str(tmp_path / "nothing" / "here")}
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment, timeout=60)
    assert done.returncode == 2
    assert "MODEL_PATH" in done.stderr
    assert "nothing" in done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - started < 30
