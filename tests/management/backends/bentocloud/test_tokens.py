"""The tokens of BentoCloud: where they are, where they are sent, and when they are read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
from pydantic import SecretStr

from management.backends.bentocloud.engine import BentoCloud
from management.configuration import Settings
from tests.doubles.bentocloud import engine as bentocloud_engine
from tests.doubles.bentocloud.engine import bentocloud, callers
from tests.doubles.bentocloud.server import TOKEN, LocalCloud
from tests.doubles.management import replica

pytestmark = pytest.mark.asyncio(loop_scope="module")

cloud, settings = bentocloud_engine.cloud, bentocloud_engine.settings
shared, engine = bentocloud_engine.shared, bentocloud_engine.engine


async def test_the_token_is_in_no_environment_and_no_argument(engine: BentoCloud, settings: Settings) -> None:
    await engine.observe()
    for caller in callers():
        secretive(caller)
    assert callers()
    files = settings.storage.home.rglob("*")
    assert not [file for file in files if file.is_file() and TOKEN in file.read_text("latin-1")]


def secretive(caller: psutil.Process) -> None:
    assert caller.environ().keys() <= {"PATH", "LANG", "LC_ALL", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY"} | {
        *("https_proxy", "NO_PROXY", "no_proxy", "HOME", "BENTOML_HOME", "BENTOML_DO_NOT_TRACK", "LC_CTYPE")
    }
    assert TOKEN not in str(caller.environ()) + str(caller.cmdline())


async def test_the_token_goes_to_what_is_proven_by_a_certificate_or_lies_here(
    engine: BentoCloud, settings: Settings
) -> None:
    assert engine.headers(replica(address="http://127.0.0.1:9/d/echo")) == {"Authorization": f"Bearer {TOKEN}"}
    assert engine.headers(replica(address="https://echo.example")) == {"Authorization": f"Bearer {TOKEN}"}
    for address in ("unix:/tmp/http.sock", "http://echo.example", "https://user@echo.example", ""):
        assert engine.headers(replica(address=address)) == {}, address
    abroad = bentocloud(settings, endpoint="https://cloud.example")
    assert abroad.headers(replica(address="http://127.0.0.1:9/d/echo")) == {}, "the cloud is not on this machine"


ELSE = "another-token-of-the-tests-7b"
THERE = replica(address="https://echo.example")


def said(engine: BentoCloud) -> str:
    """The token that goes with an inference."""
    return engine.headers(THERE)["Authorization"].removeprefix("Bearer ")


@pytest_asyncio.fixture(loop_scope="module")
async def filed(settings: Settings, cloud: LocalCloud, tmp_path: Path) -> AsyncIterator[tuple[BentoCloud, Path]]:
    """An engine whose token lies in a file."""
    cloud.reset()
    file = tmp_path / "token"
    file.write_text(TOKEN)
    made = bentocloud(settings, token=None, token_file=file)
    yield made, file
    await made.close()


@pytest.mark.parametrize("filed_too", [False, True])
async def test_models_get_a_token_of_their_own_if_there_is_one(
    settings: Settings, cloud: LocalCloud, tmp_path: Path, filed_too: bool
) -> None:
    cloud.reset()
    file = tmp_path / "token"
    file.write_text(ELSE)
    told = {"endpoint_token_file": file} if filed_too else {"endpoint_token": SecretStr(ELSE)}
    made = bentocloud(settings, **told)
    try:
        assert said(made) == ELSE
        assert await made.observe() == {}, "the API gets the one that it knows"
    finally:
        await made.close()


async def test_a_new_token_in_the_file_is_taken_for_calls_and_inferences_and_old_processes_end(
    filed: tuple[BentoCloud, Path], cloud: LocalCloud
) -> None:
    engine, file = filed
    others = callers()
    await asyncio.gather(engine.observe(), engine.observe())
    before = [one for one in callers() if one not in others]
    file.write_text(f"{ELSE}\n")
    cloud.token = ELSE
    assert said(engine) == ELSE
    assert await engine.observe() == {}
    assert len(before) == 2
    assert not any(one.is_running() for one in before), "they have the old one"


async def test_a_file_that_has_no_token_for_a_while_leaves_the_last_good_one(
    filed: tuple[BentoCloud, Path], caplog: pytest.LogCaptureFixture
) -> None:
    engine, file = filed
    for content in (b"", b"two\nlines-of-a-secret", b"\xff\xfe\x00 a secret", None):
        file.unlink()
        if content is not None:
            file.write_bytes(content)
        caplog.clear()
        assert [said(engine), said(engine)] == [TOKEN, TOKEN]
        assert await engine.observe() == {}
        assert len(caplog.records) == 1, "it is said once"
        assert "secret" not in caplog.text
        assert TOKEN not in caplog.text
        file.write_text(TOKEN)
    file.write_text(ELSE)
    assert said(engine) == ELSE
