"""A replica as an earlier version of the control plane left it running; it has no Bento, and starts at once."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

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


@contextmanager
def earlier_replica(home: Path) -> Iterator[str]:
    """Start a replica as an earlier version did; yields its id, and kills it after the block."""
    replica_id = uuid4().hex
    folder = home / "replicas" / replica_id
    folder.mkdir(parents=True, mode=0o700)
    (folder / "token").write_bytes(secrets.token_bytes(32))
    (folder / "log.1").write_text("the older part of its log\n")
    with (folder / "lock").open("ab") as lock, (folder / "log").open("ab") as log:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        launch = {"bento": "tests/echo:1.0.0", "lock_fd": lock.fileno(), "log_bytes": 10485760, "stop_seconds": 10.0}
        (folder / "launch.json").write_text(json.dumps(launch))
        replica = subprocess.Popen(
            [sys.executable, "-c", EARLIER, str(folder)],
            stdout=log,
            stderr=log,
            pass_fds=(lock.fileno(),),
            start_new_session=True,
            env={**os.environ, "ATELIER_REPLICA_ID": replica_id, "HOME": str(folder)},
        )
    (folder / "pid").write_text(f"{replica.pid} {began(replica.pid)}")
    try:
        yield replica_id
    finally:
        replica.kill()
        replica.wait()
