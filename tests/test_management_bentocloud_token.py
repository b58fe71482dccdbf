"""The tokens of BentoCloud: where they are, where they are sent, and when they are read."""

from __future__ import annotations

import psutil
import pytest

from management.backends.bentocloud import BentoCloud
from management.settings import Settings
from tests import bentocloud_engine
from tests.bentocloud_engine import callers
from tests.bentocloud_server import TOKEN
from tests.management_doubles import replica

pytestmark = pytest.mark.asyncio(loop_scope="module")

cloud, settings = bentocloud_engine.cloud, bentocloud_engine.settings
shared, engine = bentocloud_engine.shared, bentocloud_engine.engine


async def test_the_token_is_in_no_environment_and_no_argument(engine: BentoCloud, settings: Settings) -> None:
    await engine.observe()
    for caller in callers():
        secretive(caller)
    assert callers()
    assert not [file for file in settings.home.rglob("*") if file.is_file() and TOKEN in file.read_text("latin-1")]


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
    abroad = BentoCloud(settings.model_copy(update={"cloud_endpoint": "https://cloud.example"}))
    assert abroad.headers(replica(address="http://127.0.0.1:9/d/echo")) == {}, "the cloud is not on this machine"
