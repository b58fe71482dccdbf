"""What an earlier version of the control plane started is adopted by this one: folder, lock and proof are as they were."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from management.backends.base import Phase
from management.backends.process import ProcessLauncher
from management.replica_client import ReplicaClient
from tests.management_doubles import settings
from tests.management_launchers import until

EARLIER = '''
"""A replica as version 0.1 ran it: it writes its own log, and no keeper stands over it."""
import hashlib, hmac, json, os, pathlib, sys, urllib.parse
import uvicorn

folder = pathlib.Path(sys.argv[1])
os.set_inheritable(json.loads((folder / "launch.json").read_text())["lock_fd"], False)
token = (folder / "token").read_bytes()
print("it was started by an earlier version", flush=True)

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    if scope["path"] == "/.atelier/state":
        nonce = urllib.parse.parse_qs(scope["query_string"])[b"nonce"][0]
        proof = hmac.new(token, b"proof\\0" + nonce, hashlib.sha256).hexdigest()
        told = {"proof": proof, "ready": True, "in_flight": 0}
    else:
        told = [{"output_data": {"version": "0.1"}, "error": None, "confidence": None}]
    body = json.dumps(told).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})

uvicorn.run(app, uds=str(folder / "http.sock"), lifespan="off", log_level="critical")
'''


def began(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


@pytest.fixture
def home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="at-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def earlier(home: Path) -> Iterator[str]:
    """The id of a replica that an earlier version started, and left when it was updated."""
    replica_id = uuid4().hex
    folder = home / "replicas" / replica_id
    folder.mkdir(parents=True, mode=0o700)
    (folder / "token").write_bytes(secrets.token_bytes(32))
    (folder / "log.1").write_text("the older part of its log\n")
    with (folder / "lock").open("ab") as lock, (folder / "log").open("ab") as log:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        told = {"bento": "tests/echo:1.0.0", "lock_fd": lock.fileno(), "log_bytes": 10485760, "stop_seconds": 10.0}
        (folder / "launch.json").write_text(json.dumps(told))
        replica = subprocess.Popen(
            [sys.executable, "-c", EARLIER, str(folder)],
            stdout=log,
            stderr=log,
            pass_fds=(lock.fileno(),),
            start_new_session=True,
            env={**os.environ, "ATELIER_REPLICA_ID": replica_id, "HOME": str(folder)},
        )
    (folder / "pid").write_text(f"{replica.pid} {began(replica.pid)}")
    yield replica_id
    replica.kill()
    replica.wait()


async def test_a_replica_of_an_earlier_version_serves_on_and_is_ended_in_peace(home: Path, earlier: str) -> None:
    launcher = ProcessLauncher(settings(home))
    assert await launcher.running() == [earlier]
    look = await until(launcher, earlier, Phase.READY)
    client = ReplicaClient(look.address)
    (result,) = await client.infer([{"input_data": {}, "parameters": {}}], "id")
    await client.close()
    assert result["output_data"] == {"version": "0.1"}
    assert await launcher.log(earlier, 5) == ["the older part of its log", "it was started by an earlier version"]
    assert (await launcher.usage([earlier]))[earlier].memory_bytes > 0
    await launcher.stop(earlier, 5.0)
    assert (await launcher.observe(earlier)).phase is Phase.EXITED
    assert await launcher.running() == []
    await launcher.clean(earlier)
    assert (await launcher.observe(earlier)).phase is Phase.ABSENT
