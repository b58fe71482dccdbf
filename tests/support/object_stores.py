"""A real S3 server on loopback: SeaweedFS, which a test may also freeze."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import psutil

from tests.support.servers import free_ports

ACCESS_KEY: Final = "atelier-tests"
SECRET_KEY: Final = "a-secret-of-the-tests"
START_SECONDS: Final = 60.0
VARIABLES: Final = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
"""Environment variables of a client of the server."""
_PORTS: Final = ("master", "volume", "filer", "s3")
_NO_CATALOGUES: Final = ("-s3.port.iceberg=0", "-s3.port.lance=0")
"""They would be served on ports of their own, which two servers at once cannot share."""
_IDENTITY: Final = {
    "name": "tests",
    "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
    "actions": ["Admin", "Read", "Write", "List"],
}


@dataclass(frozen=True)
class Bucket:
    """A bucket of a running S3 server."""

    endpoint: str
    process: subprocess.Popen[bytes]

    def url(self, prefix: str) -> str:
        """Return the URL of a shared store below a prefix of its own."""
        return f"s3://tests/{prefix}?endpoint={self.endpoint}&region=us-east-1"

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let the server take connections and answer none until the block ends."""
        self.process.send_signal(signal.SIGSTOP)
        while psutil.Process(self.process.pid).status() != psutil.STATUS_STOPPED:
            time.sleep(0.01)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


@contextmanager
def bucket(folder: Path) -> Iterator[Bucket]:
    """Serve a bucket whose files are in the folder. Raises RuntimeError when the server does not answer."""
    (folder / "identities.json").write_text(json.dumps({"identities": [_IDENTITY]}))
    numbers = free_ports(2 * len(_PORTS))
    ports = dict(zip(_PORTS, numbers, strict=False))
    options = [f"-{name}.port={ports[name]}" for name in _PORTS]
    options += [f"-{name}.port.grpc={port}" for name, port in zip(_PORTS, numbers[len(_PORTS) :], strict=True)]
    command = [
        *(str(Path(sys.executable).with_name("weed")), "-logtostderr=true", "server", "-filer", "-s3"),
        *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}", f"-s3.config={folder}/identities.json"),
        *("-master.telemetry=false", "-master.volumeSizeLimitMB=64", "-volume.max=8", *_NO_CATALOGUES, *options),
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, start_new_session=True)
    try:
        found = Bucket(f"http://127.0.0.1:{ports['s3']}", process)
        _await(found, folder / "log")
        yield found
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _await(found: Bucket, log: Path) -> None:
    """Wait until an object can be written, for which the bucket is made, too."""
    import obstore
    from obstore.exceptions import BaseError
    from obstore.store import S3Store

    store = S3Store(
        "tests",
        endpoint=found.endpoint,
        region="us-east-1",
        access_key_id=ACCESS_KEY,
        secret_access_key=SECRET_KEY,
        client_options={"allow_http": True, "timeout": "5s"},
        retry_config={"max_retries": 0},
    )
    deadline = time.monotonic() + START_SECONDS
    while found.process.poll() is None and time.monotonic() < deadline:
        try:
            httpx.get(found.endpoint, trust_env=False, timeout=5)
            obstore.put(store, "started", b"1")
        except (httpx.TransportError, BaseError, OSError):
            time.sleep(0.2)
        else:
            return
    raise RuntimeError(log.read_text(errors="replace")[-3000:])


@contextmanager
def temporary_bucket() -> Iterator[Bucket]:
    """Serve a bucket whose files go with it."""
    with tempfile.TemporaryDirectory(prefix="atelier-s3-") as folder, bucket(Path(folder)) as found:
        yield found
