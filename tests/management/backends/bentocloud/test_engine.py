"""BentoCloud as the engine, through BentoML's own client, against a local server that speaks the calls it makes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from management.backends.bentocloud.engine import BentoCloud
from management.backends.bentocloud.mapping import MARK, STANDINGS
from management.backends.engine import EnginePhase
from management.backends.launcher import LaunchRefused
from management.backends.replica.identity import of_home
from management.configuration import Settings
from management.domain.records import Resources
from tests.doubles.bentocloud import engine as bentocloud_engine
from tests.doubles.bentocloud.engine import GIB, SECONDS, bentocloud, order, seen, serving
from tests.doubles.bentocloud.server import TOKEN, LocalCloud
from tests.doubles.management import deployment

pytestmark = pytest.mark.asyncio(loop_scope="module")

cloud, settings = bentocloud_engine.cloud, bentocloud_engine.settings
shared, engine = bentocloud_engine.shared, bentocloud_engine.engine


async def test_nothing_is_there_at_first(engine: BentoCloud) -> None:
    assert await engine.observe() == {}
    assert await engine.answers()
    assert await engine.log(deployment(), 10) == []


async def test_an_order_becomes_a_deployment_with_all_that_it_says(engine: BentoCloud, cloud: LocalCloud) -> None:
    found = await serving(engine, order(least=2, most=4, environment_variables={"ECHO_VERSION": "7"}))
    assert (found.name, found.mark, found.ready) == ("echo", order(least=2, most=4).mark, 2)
    assert found.address == f"{cloud.url}/d/echo"
    told = cloud.deployments["echo"].config
    assert told["bento"] == "echo:1.0.0"
    assert told["access_authorization"] is True, "or anybody could ask it"
    (service,) = told["services"].values()
    assert (service["scaling"]["min_replicas"], service["scaling"]["max_replicas"]) == (2, 4)
    assert (service["instance_type"], service["deployment_strategy"]) == ("cpu.1", "RollingUpdate")
    environment = cloud.deployments["echo"].environment()
    assert environment["ECHO_VERSION"] == "7"
    assert environment["BENTOML_DO_NOT_TRACK"] == "True"
    assert not any(TOKEN in value for value in environment.values())


@pytest.mark.parametrize("strategy", ["proxy", "presigned_url", None])
async def test_a_bento_that_is_only_here_is_sent_once(
    engine: BentoCloud, cloud: LocalCloud, strategy: str | None
) -> None:
    cloud.strategy = strategy
    await serving(engine, order())
    sent = cloud.packages["bento", "echo", "1.0.0"]
    assert b"class Echo" in sent.content
    uploads = [one for one in cloud.calls if one.endswith(("/upload", "/start_upload"))]
    await engine.apply(order(least=2))
    assert [one for one in cloud.calls if one.endswith(("/upload", "/start_upload"))] == uploads


WEIGHTS = "these are the weights"
SERVICE = """
import bentoml

@bentoml.service(name="Heavy")
class Heavy:
    weights = bentoml.models.BentoModel("weights:1.0.0")

    @bentoml.api
    def infer(self, requests: list[dict]) -> list[dict]:
        return requests
"""
HEAVY = f"""
import bentoml, pathlib, sys
with bentoml.models.create("weights:1.0.0") as model:
    pathlib.Path(model.path, "weights.bin").write_text({WEIGHTS!r})
pathlib.Path("heavy_service.py").write_text({SERVICE!r})
options = {{"include": ["heavy_service.py"], "python": {{"lock_packages": False}}}}
bentoml.bentos.build("heavy_service:Heavy", name="heavy", version="1.0.0", **options)
"""


async def test_the_models_of_a_bento_are_sent_with_it(
    engine: BentoCloud, cloud: LocalCloud, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path))
    await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", HEAVY], cwd=tmp_path, check=True, capture_output=True
    )
    another = bentocloud(settings)
    try:
        await serving(another, order(docker_image="tests/heavy:1.0.0"))
        await another.remove(await seen(another, EnginePhase.RUNNING), force=True)
    finally:
        await another.close()
    sent = cloud.packages["model", "weights", "1.0.0"]
    assert sent.upload_status == "success"
    assert WEIGHTS.encode() in sent.content
    assert WEIGHTS.encode() not in cloud.packages["bento", "heavy", "1.0.0"].content, "it is sent once"


async def test_an_order_given_twice_or_by_two_at_once_is_one_deployment(engine: BentoCloud, cloud: LocalCloud) -> None:
    await asyncio.gather(engine.observe(), engine.observe())  # two processes are ready to call at the same time
    await asyncio.gather(engine.apply(order()), engine.apply(order()))
    assert cloud.made() == 2, "the second call was refused"
    await engine.apply(order())
    assert list(cloud.deployments) == ["echo"]
    assert not [one for one in cloud.calls if one.startswith("PUT /api/v2")], "nothing was to be changed"


async def test_another_revision_or_scaling_is_an_update_and_variables_that_are_gone_are_gone(
    engine: BentoCloud, cloud: LocalCloud
) -> None:
    await serving(engine, order(environment_variables={"ECHO_VERSION": "1", "OLD": "1"}))
    await engine.apply(order(2, environment_variables={}))
    found = await seen(engine, EnginePhase.RUNNING)
    assert found.mark == order(2).mark
    assert cloud.deployments["echo"].config["bento"] == "echo:2.0.0"
    assert {"ECHO_VERSION", "OLD"}.isdisjoint(cloud.deployments["echo"].environment())
    await engine.apply(order(2, 3, 3))
    assert (await seen(engine, EnginePhase.RUNNING)).ready == 3


async def test_what_is_halted_stays_and_starts_again_as_it_was(engine: BentoCloud, cloud: LocalCloud) -> None:
    found = await serving(engine, order())
    await engine.halt(found)
    stopped = await seen(engine, EnginePhase.STOPPED)
    assert stopped.mark == order().mark
    await engine.halt(stopped)
    assert [one for one in cloud.calls if one.endswith("/terminate")] == ["POST /api/v2/deployments/echo/terminate"]
    again = await serving(engine, order())
    assert (again.mark, again.ready) == (found.mark, found.ready)


async def test_the_client_s_own_start_still_starts_nothing(
    engine: BentoCloud, cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When it does, the update that stands for it can go."""
    import bentoml.deployment

    await engine.halt(await serving(engine, order()))
    await seen(engine, EnginePhase.STOPPED)
    monkeypatch.setenv("BENTO_CLOUD_API_KEY", TOKEN)
    monkeypatch.setenv("BENTO_CLOUD_API_ENDPOINT", cloud.url)
    with pytest.raises(bentoml.exceptions.BentoMLException, match="must be called first"):
        await asyncio.to_thread(bentoml.deployment.start, "echo")


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("terminated_first", [False, True])
async def test_a_removal_takes_a_step_each_time_until_nothing_is_left(
    engine: BentoCloud, cloud: LocalCloud, force: bool, terminated_first: bool
) -> None:
    cloud.terminated_first = terminated_first
    found = await serving(engine, order())
    async with asyncio.timeout(SECONDS):
        while conditions := await engine.observe():
            await engine.remove(conditions["d1"], force=force)
    assert cloud.deployments == {}
    await engine.remove(found, force=True)
    assert [one for one in cloud.calls if "terminate" in one] or (force and not terminated_first)


async def test_every_word_for_a_status_means_something_here(engine: BentoCloud, cloud: LocalCloud) -> None:
    await serving(engine, order())
    for word, standing in {**STANDINGS, "a-word-of-tomorrow": EnginePhase.PENDING}.items():
        cloud.deployments["echo"].becomes(word)
        found = (await engine.observe())["d1"]
        assert found.phase is standing, word
        assert (word in found.reason) == (standing in (EnginePhase.FAILED, EnginePhase.UNHEALTHY)), word
    cloud.deployments["echo"].becomes("scaled-to-zero")
    assert (await engine.observe())["d1"].ready == 0


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        (Resources(1000, GIB, 0), "cpu.1"),
        (Resources(1500, GIB, 0), "cpu.4"),
        (Resources(100, 8 * GIB, 0), "cpu.4"),
        (Resources(100, GIB, 1), "gpu.t4.1"),
    ],
)
async def test_the_cheapest_instance_type_that_has_enough_is_taken(
    engine: BentoCloud, cloud: LocalCloud, wanted: Resources, name: str
) -> None:
    await engine.apply(order(resources=wanted))
    assert cloud.deployments["echo"].config["services"]["Echo"]["instance_type"] == name


async def test_what_no_instance_type_has_is_refused(engine: BentoCloud, cloud: LocalCloud) -> None:
    with pytest.raises(LaunchRefused, match=r"no instance type .*65536Mi.*cpu\.1"):
        await engine.apply(order(resources=Resources(100, 64 * GIB, 0)))
    assert cloud.deployments == {}


async def test_a_bento_that_is_nowhere_is_refused_and_no_module_of_its_name_is_imported(
    engine: BentoCloud, settings: Settings, tmp_path: Path
) -> None:
    (settings.storage.home / "bentocloud").mkdir(exist_ok=True)
    trap = settings.storage.home / "bentocloud" / "nobody.py"
    trap.write_text(f"open({str(tmp_path / 'imported')!r}, 'w')")
    with pytest.raises(LaunchRefused, match=r"nobody:1\.0\.0 is neither"):
        await engine.apply(order(docker_image="tests/nobody:1.0.0"))
    assert not (tmp_path / "imported").exists()


async def test_a_deployment_of_the_name_that_is_somebody_else_s_is_left_alone(
    engine: BentoCloud, cloud: LocalCloud
) -> None:
    await serving(engine, order())
    config = cloud.deployments["echo"].config
    cloud.deployments["echo"].labels = []
    cloud.deployments["echo"].config = {**config, "envs": [{"name": MARK, "value": "other.d1.1"}]}
    assert await engine.observe() == {}
    with pytest.raises(LaunchRefused, match="did not create"):
        await engine.apply(order(2))
    assert cloud.deployments["echo"].config["bento"] == "echo:1.0.0"


async def test_what_was_before_of_the_same_name_goes_first(engine: BentoCloud, cloud: LocalCloud) -> None:
    await serving(engine, order())
    await engine.apply(replace(order(2), deployment_id="d2"))
    assert cloud.deployments["echo"].config["bento"] == "echo:1.0.0"
    assert list(await engine.observe()) == ["d1"], "it is still there to be removed"


async def test_a_control_plane_that_starts_anew_finds_its_own(
    engine: BentoCloud, settings: Settings, cloud: LocalCloud
) -> None:
    await serving(engine, order(2))
    other = bentocloud(settings)
    try:
        assert (await other.observe())["d1"].mark == order(2).mark
    finally:
        await other.close()
    assert of_home(settings.storage.home).id in str(cloud.deployments["echo"].labels)
