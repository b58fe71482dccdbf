"""Real servers, called as users call them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from base64 import b64encode
from collections import Counter
from pathlib import Path
from typing import Any

import bentoml
import httpx
import psutil
import pytest
from _bentoml_impl.server.allocator import ResourceAllocator
from pydantic import ValidationError

from runners import registry
from runners.serving import service
from runners.settings import MODELS, Settings
from service import Atelier
from tests.conftest import encoded
from tests.support.servers import ROOT, Server
from tests.support.servers import serving as serving_at

pytestmark = [pytest.mark.server, pytest.mark.xdist_group("atelier")]


def test_a_picture_is_classified_in_the_wanted_language(atelier: Server) -> None:
    with atelier.client() as client:
        answer = client.post("/classify", files={"image": encoded()}).json()
        english = client.post("/classify", files={"image": encoded()}, params={"lang": "en"}).json()
    assert set(answer) == {"label", "confidence", "probabilities", "rejected", "model"}
    assert set(answer["probabilities"]) == {"forêt", "mer", "désert", "nuageux"}
    assert set(english["probabilities"]) == {"forest", "sea", "desert", "cloudy"}
    assert answer["confidence"] == max(answer["probabilities"].values())
    assert answer["model"].startswith("satellite:")


def test_a_picture_is_embedded_as_512_numbers_of_length_one(atelier: Server) -> None:
    with atelier.client() as client:
        answer = client.post("/embed", json={"image": b64encode(encoded()).decode()}).json()
    assert len(answer["embedding"]) == 512
    assert sum(value * value for value in answer["embedding"]) == pytest.approx(1, abs=1e-3)
    assert answer["model"].startswith("embedding:")


def test_a_model_says_the_same_alone_and_behind_the_front_door(
    atelier: Server, satellite: Server, embedding: Server
) -> None:
    for path, alone in (("/classify", satellite), ("/embed", embedding)):
        with atelier.client() as front, alone.client() as other:
            first = front.post(path, files={"image": encoded(4)}).json()
            second = other.post(path, content=encoded(4), headers={"content-type": "image/png"}).json()
        assert first.keys() == second.keys()
        if path == "/embed":
            assert sum(a * b for a, b in zip(first["embedding"], second["embedding"], strict=True)) > 0.999
        else:
            assert first["label"] == second["label"]


@pytest.mark.slow
def test_500_parallel_requests_get_500_answers(atelier: Server) -> None:
    image = encoded()

    async def all_at_once() -> Counter[int]:
        limits = httpx.Limits(max_connections=500)
        async with httpx.AsyncClient(base_url=atelier.url, limits=limits, timeout=120, trust_env=False) as client:

            async def one(number: int) -> int:
                path = "/classify" if number % 2 else "/embed"
                return (await client.post(path, files={"image": image})).status_code

            return Counter(await asyncio.gather(*map(one, range(500))))

    assert asyncio.run(all_at_once()) == {200: 500}


@pytest.mark.parametrize("name", ["satellite", "embedding"])
def test_bentomls_client_calls_infer(name: str, request: pytest.FixtureRequest) -> None:
    server: Server = request.getfixturevalue(name)
    requests = [{"input_data": {"image": b64encode(encoded(seed)).decode()}} for seed in range(3)]
    with bentoml.SyncHTTPClient(server.url) as client:
        results = client.infer(requests=[*requests, {"input_data": {"image": "%"}}])
        client._temp_dir.cleanup()  # its close() forgets it, and the warning would fail another test
    assert [result["error"] is None for result in results] == [True, True, True, False]


def test_the_front_door_speaks_the_contract_for_each_model(atelier: Server) -> None:
    item = {"input_data": {"image": b64encode(encoded()).decode()}, "parameters": {}}
    with atelier.client() as client:
        for model, key in (("satellite", "label"), ("embedding", "embedding")):
            (result,) = client.post("/infer", json={"model": model, "requests": [item]}).json()
            assert key in result["output_data"]
        assert client.post("/infer", json={"requests": [item]}).status_code == 400


def test_concurrent_requests_share_batches(satellite: Server) -> None:
    image = encoded()

    async def many() -> None:
        async with httpx.AsyncClient(base_url=satellite.url, timeout=60, trust_env=False) as client:
            await asyncio.gather(*(client.post("/classify", files={"image": image}) for _ in range(64)))

    def batches() -> float:
        with satellite.client() as client:
            lines = client.get("/metrics").text.splitlines()
        counts = [line for line in lines if line.startswith("atelier_batch_size_count")]
        return sum(float(line.rsplit(" ", 1)[1]) for line in counts)

    before = batches()
    asyncio.run(many())
    assert 0 < batches() - before < 48


def test_pickle_never_reaches_a_service(satellite: Server) -> None:
    with satellite.client() as client:
        for kind in ("application/vnd.bentoml+pickle", "application/json; x=PICKLE", "application/x-pickle"):
            answer = client.post("/infer", content=b"cos\nsystem\n(S'true'\ntR.", headers={"content-type": kind})
            assert (answer.status_code, answer.json()["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")


def test_the_way_around_the_checks_is_closed(satellite: Server) -> None:
    with satellite.client() as client:
        assert client.post("/checked/infer", json={"requests": []}).status_code == 404


@pytest.mark.parametrize("path", ["/nowhere", "/classify/", "//classify", "/static_content/nothing", "/%00"])
def test_an_unknown_path_is_a_json_404_and_no_metric(atelier: Server, path: str) -> None:
    with atelier.client() as client:
        answer = client.get(atelier.url + path)
        assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")
        assert "nowhere" not in client.get("/metrics").text


def test_a_wrong_method_is_a_405_that_names_the_right_one(atelier: Server) -> None:
    with atelier.client() as client:
        answer = client.get("/classify")
    assert (answer.status_code, answer.headers["allow"], answer.json()["code"]) == (405, "POST", "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/health", "/docs", "/openapi.json", "/"])
def test_every_page_answers_with_a_request_id(atelier: Server, path: str) -> None:
    with atelier.client() as client:
        answer = client.get(path, headers={"X-Request-ID": "my-request.1"})
        assert answer.status_code in {200, 307}
        assert answer.headers["x-request-id"] == "my-request.1"
        assert len(client.get(path, headers={"X-Request-ID": "a b!"}).headers["x-request-id"]) == 32


def test_the_documentation_needs_no_internet(atelier: Server) -> None:
    with atelier.client() as client:
        page = client.get("/docs").text
        for asset in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-light-32x32.png"):
            assert f"/static_content/{asset}" in page
            assert client.get(f"/static_content/{asset}").status_code == 200


def test_a_body_beyond_the_limit_is_a_413(atelier: Server) -> None:
    with atelier.client() as client:
        answer = client.post("/classify", files={"image": b"\xff\xd8\xff" + bytes(25 * 1024 * 1024)})
        assert (answer.status_code, answer.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")
        just_over = client.post("/classify", files={"image": b"\xff\xd8\xff" + bytes(16 * 1024 * 1024)})
        assert (just_over.status_code, just_over.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")


def test_loopback_is_not_downloaded_from(atelier: Server) -> None:
    with atelier.client() as client:
        for url in (f"{atelier.url}/health", "http://localhost/", "http://169.254.169.254/latest", "http://[::1]/"):
            answer = client.post("/embed", json={"url": url})
            assert (answer.status_code, answer.json()["code"]) == (403, "URL_REFUSED"), url


@pytest.mark.alone
def test_a_frozen_model_makes_health_say_so_within_a_second(atelier: Server) -> None:
    model = atelier.model_process("Embedding")
    with atelier.client() as client:
        model.send_signal(signal.SIGSTOP)
        try:
            started = time.monotonic()
            answer = client.get("/health")
            seconds = time.monotonic() - started
            still_served = client.post("/classify", files={"image": encoded()})
        finally:
            model.send_signal(signal.SIGCONT)
        assert answer.status_code == 503
        others = ("satellite", "summarization", "diagnosis", "treatment")
        assert answer.json()["models"] == {"embedding": False} | dict.fromkeys(others, True)
        assert seconds < 1
        assert still_served.status_code == 200
        assert client.get("/health").status_code == 200


def test_no_error_leaves_a_traceback_in_the_log(atelier: Server) -> None:
    with atelier.client() as client:
        for body in (b"", b"{", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"%PDF-1.4"):
            assert client.post("/classify", content=body, headers={"content-type": "image/png"}).status_code < 500
            assert client.post("/infer", content=body, headers={"content-type": "application/json"}).status_code < 500
    assert "Traceback" not in atelier.log.read_text()


def test_the_front_door_loads_no_network() -> None:
    check = "import service, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False, cwd=ROOT).returncode == 0


def test_models_that_are_not_chosen_take_no_process_and_no_path(store: Path) -> None:
    with serving_at("service:Atelier", store, ATELIER_MODELS="treatment, diagnosis") as server:
        family = psutil.Process(server.pid).children(recursive=True)
        lines = [line for line in map(psutil.Process.cmdline, family) if "--service-name" in line]
        with server.client() as client:
            assert client.get("/health").json()["models"] == {"diagnosis": True, "treatment": True}
            assert client.post("/diagnose", json={"symptoms": ["头痛", "乏力"]}).status_code == 200
            assert client.post("/classify", files={"image": encoded()}).status_code == 404
            assert "/classify" not in client.get("/openapi.json").json()["paths"]
    assert sorted(line[line.index("--service-name") + 1] for line in lines) == [
        "Atelier",
        "Diagnosis",
        "Treatment",
    ]


@pytest.mark.parametrize(
    ("given", "served"), [("", MODELS), (" ", MODELS), ("embedding,satellite,embedding", MODELS[:2])]
)
def test_the_choice_of_models_is_a_set_and_none_means_all(given: str, served: tuple[str, ...]) -> None:
    assert Settings.model_validate({"models": given}).models == served


def test_a_model_that_there_is_not_cannot_be_chosen() -> None:
    with pytest.raises(ValidationError, match="satellite"):
        Settings.model_validate({"models": "satelite"})


def test_nothing_is_tracked_however_a_service_is_started() -> None:
    check = (
        "import service\n"
        "from bentoml._internal.utils.analytics.usage_stats import do_not_track\n"
        "raise SystemExit(not do_not_track())"
    )
    untold = {name: value for name, value in os.environ.items() if name != "BENTOML_DO_NOT_TRACK"}
    assert subprocess.run([sys.executable, "-c", check], check=False, cwd=ROOT, env=untold).returncode == 0


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("models", [2, 3])
def test_no_model_is_left_without_a_gpu_where_there_is_one(
    count: int, models: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "gpus", lambda: count)
    chosen = Settings.model_validate({"MODEL_PATH": None if models == 2 else "a/network"})
    monkeypatch.setattr(service, "settings", lambda: chosen)
    allocator = ResourceAllocator()
    allocator.system_resources = {"nvidia.com/gpu": list(range(count)), "cpu": 2}
    allocator.remaining_gpus = count
    allocator._available_gpus = [(1.0, 1.0)] * count
    asked = [wanted["gpu"] for row in registry.MODELS if (wanted := service.resources(row))]
    assert len(asked) == models
    assigned = [allocator.assign_gpus(gpu) for gpu in asked]
    assert all(gpu < count for each in assigned for gpu in each)
    front_door: Any = Atelier
    assert not front_door.config.get("resources")
