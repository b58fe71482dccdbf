"""One replica: a Bento in a process of its own, started by the process launcher or in a container.

It is run by path and imports nothing of this project, because a Bento brings modules of the same names. Its interpreter
and its BentoML, 1.2 or later, may be those of the Bento's own environment. Its command line has only a folder, which
holds its arguments:

    launch.json   the Bento's tag or folder, and the other fields of ``LaunchFile``
    token         secret that proves the replica's identity; never sent, see ``proof_of``
    secrets       in a container: secrets that are wiped once they are read, where they can be, see
                  ``received_secrets.py``
    lock          held for as long as this process lives; it was locked before the process began
    http.sock     the socket that it listens on, once it is ready
    log, log.1    the end of its output, kept by its keeper, see ``keeper.py``

In a container the folder has only the first three: the replica listens on a port, and the engine keeps its log.

For a Bento of several services, ``bentoml serve`` runs beside it, behind a unix socket in a private folder.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs

STATE: Final = "/.atelier/state"
"""Path at which the control plane reads a replica's state."""
KEEP_ALIVE_SECONDS: Final = 3600
"""Seconds that an idle connection stays open. The gateway closes it first, so no request meets one that is closing."""
READY_SECONDS: Final = 1.0
"""Seconds that the application's ``/readyz`` has to answer."""
MAX_SOCKET_PATH_BYTES: Final = 100
"""Bytes of the longest socket path that is used as it is."""
NONCE: Final = re.compile(rb"[0-9a-f]{32}\Z")
"""Form of the nonce in a request for the state."""
MARKER: Final = "ATELIER_REPLICA_ID"
"""Environment variable with the replica's id."""
KEY_HEADER: Final = "x-atelier-replica-key"
"""Header with the key that a replica on a port requires."""
SAFE_PATH: Final = ("-P",)
"""Option with which a script's folder is not imported from; Python has it since 3.11."""
SAFE_PATH_BEFORE: Final = (
    "-c",
    "import runpy, sys; del sys.argv[0], sys.path[0]; runpy.run_path(sys.argv[0], run_name='__main__')",
)
"""What stands for it in earlier ones; ``-I`` would ignore the variables of Python, too."""


class Watched:
    """ASGI application that counts the requests in flight and reports the replica's state to the control plane."""

    def __init__(self, app: Any, token: bytes, key: str | None = None) -> None:
        """Require ``key`` on every request if one is given, because others can reach the replica's port."""
        self._app = app
        self._token = token
        self._key = None if key is None else key.encode()
        self._in_flight = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer requests for ``STATE``; pass on every other request that has the key."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] == STATE:
            await self._send_state(scope, send)
        elif not self._has_key(scope):
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            await _answer(send, 403, {"error": "This replica answers its control plane alone", "code": "FORBIDDEN"})
        else:
            self._in_flight += 1
            try:
                await self._app(scope, receive, send)
            finally:
                self._in_flight -= 1

    async def _send_state(self, scope: Any, send: Any) -> None:
        nonce = parse_qs(scope["query_string"]).get(b"nonce", [b""])[0]
        if not NONCE.match(nonce):
            await _answer(send, 400, {"error": "A nonce is 32 hexadecimal digits", "code": "INVALID_INPUT"})
            return
        state = {
            "proof": proof_of(self._token, nonce),
            "ready": await _is_ready(self._app),
            "in_flight": self._in_flight,
        }
        await _answer(send, 200, state)

    def _has_key(self, scope: Any) -> bool:
        given = dict(scope["headers"]).get(KEY_HEADER.encode(), b"")
        return self._key is None or hmac.compare_digest(given, self._key)


async def _answer(send: Any, status: int, content: dict[str, Any]) -> None:
    body = json.dumps(content).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def key_of(token: bytes) -> str:
    """Return the key that requests carry in ``KEY_HEADER``; it does not reveal the token."""
    return _signed(token, b"key", b"")


def proof_of(token: bytes, nonce: bytes) -> str:
    """Return an HMAC that proves possession of the token for this nonce."""
    return _signed(token, b"proof", nonce)


def _signed(token: bytes, purpose: bytes, text: bytes) -> str:
    """Return an HMAC for one purpose: every client can get proofs, and no proof may be usable as a key."""
    return hmac.new(token, purpose + b"\0" + text, hashlib.sha256).hexdigest()


async def _is_ready(app: Any) -> bool:
    """Return whether the application's own ``/readyz`` answers 200 in time."""
    status = 0

    asked = False

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if asked:  # as of a caller who waits for the answer
            await asyncio.Event().wait()
        asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)

    scope = {
        **{"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http"},
        **{"path": "/readyz", "raw_path": b"/readyz", "query_string": b"", "root_path": ""},
        **{"headers": [(b"host", b"replica")], "client": None, "server": None, "state": {}},
    }
    try:
        await asyncio.wait_for(app(scope, receive, send), READY_SECONDS)  # a Bento's Python may be older than 3.11
    except Exception:  # an application that fails is not ready
        return False
    return status == 200


@dataclass(frozen=True)
class LaunchFile:
    """Contents of ``launch.json``."""

    bento: str
    """Tag or folder of the Bento; empty for the folder that the image names in ``BENTO_PATH``."""
    arbiter: str
    """Path of the file that runs ``bentoml serve``."""
    forwarder: str
    """Path of the file that forwards to it."""
    stop_seconds: float
    port: int | None = None
    """Port to listen on; None for the socket ``http.sock``."""
    lock_fd: int | None = None
    secrets_fd: int | None = None
    """Open file with secrets; None for a file by its path."""
    secrets_file: str | None = None
    """Path of a file with secrets; None for the file ``secrets``, if the folder has one."""
    secrets_read_only: bool = False
    """Whether that file cannot be wiped: its engine has it in memory, and removes it with the container."""
    writable_folder: str | None = None
    """Folder for a BentoML home, where that of the image cannot be written; None for the image's."""


def main() -> None:
    """Serve the Bento of the folder that is the only argument."""
    folder = Path(sys.argv[1])
    launch = LaunchFile(**json.loads((folder / "launch.json").read_text()))
    if launch.lock_fd is not None:
        os.set_inheritable(launch.lock_fd, False)  # a child must not hold the lock after this process has ended
    if launch.port is not None and os.geteuid() == 0:
        sys.exit("this image runs as root; it needs a USER of its own")
    bento = launch.bento or os.environ.get("BENTO_PATH") or sys.exit("this image was not built by BentoML")
    _receive_secrets(folder, launch)
    if launch.writable_folder is not None:
        os.environ.update(_separate_home(Path(launch.writable_folder)))
    import bentoml

    _keep_metrics_in_memory()
    service: Any = bentoml.load(bento)
    if not service.dependencies:
        _prepare(service)
        _serve(service.to_asgi(is_main=True), folder, launch)
        return
    short = _short_folder(folder if launch.port is None else None)
    tree = _serve_tree(bento, launch, short, folder if launch.port is None else None)
    try:
        _serve(_module(launch.forwarder).Forwarder(_door(short)), folder, launch)
    finally:
        _end_tree(tree, launch.stop_seconds)


def _keep_metrics_in_memory() -> None:
    """Let BentoML keep its metrics in this one process: files of metrics would need a disk with room."""
    from bentoml._internal.configuration.containers import BentoMLContainer
    from bentoml._internal.server.metrics.prometheus import PrometheusClient

    BentoMLContainer.metrics_client.set(PrometheusClient(multiproc=False))


def _prepare(service: Any) -> None:
    """Do what ``bentoml serve`` does first: run the hooks of a deployment, and make the store of tasks' results.

    BentoML removes that store at each start. Here all replicas of a model share one, and it stays.
    """
    from _bentoml_impl.server import serving

    if not hasattr(serving, "server_on_deployment"):  # early releases of BentoML have neither
        return
    serving.server_on_deployment(service, result_file=str(Path(tempfile.gettempdir()) / "unused.db"))
    from _bentoml_impl.tasks.result import Sqlite3Store
    from bentoml._internal.configuration.containers import BentoMLContainer

    if hasattr(Sqlite3Store, "init_db") and service.needs_task_db():  # earlier ones make it when they open it
        Sqlite3Store.init_db(BentoMLContainer.result_store_file.get())


def _module(file: str) -> Any:
    """Return the module in a file, which is on no path that modules are imported from."""
    spec = importlib.util.spec_from_file_location(f"atelier_{Path(file).stem}", file)
    assert spec is not None  # noqa: S101
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _receive_secrets(folder: Path, launch: LaunchFile) -> None:
    """Put the replica's secrets into its environment, before any code of the Bento runs."""
    file, source = Path(launch.secrets_file or folder / "secrets"), launch.secrets_fd
    if source is None and launch.secrets_file is None and not file.exists():
        return
    received_secrets = _module(str(Path(__file__).with_name("received_secrets.py")))
    if source is None:
        source = os.open(file, os.O_RDONLY if launch.secrets_read_only else os.O_RDWR)
    received_secrets.receive(source, os.environ[MARKER], wipe=not launch.secrets_read_only)


def _serve(app: Any, folder: Path, launch: LaunchFile) -> None:
    """Serve the application until a signal ends it."""
    import uvicorn

    token = (folder / "token").read_bytes()
    socket_file = folder / "http.sock"
    if launch.port is None:
        socket_file.unlink(missing_ok=True)
        address: dict[str, Any] = {"uds": _short(socket_file)}
    else:
        address = {"host": "0.0.0.0", "port": launch.port}  # noqa: S104 - inside a container, which publishes the port or not
    try:
        uvicorn.run(
            Watched(app, token, None if launch.port is None else key_of(token)),
            **address,
            access_log=False,
            log_level="warning",
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=max(1, int(launch.stop_seconds)),
        )
    finally:
        if launch.port is None:
            socket_file.unlink(missing_ok=True)


def _short(file: Path) -> str:
    """Return a short path to the same file: a socket's path may have 108 bytes, and folders may have long names."""
    if len(os.fsencode(file)) <= MAX_SOCKET_PATH_BYTES:
        return str(file)
    return f"/proc/self/fd/{os.open(file.parent, os.O_PATH | os.O_DIRECTORY)}/{file.name}"


def _serve_tree(bento: str, launch: LaunchFile, short: Path, folder: Path | None) -> subprocess.Popen[bytes]:
    """Run ``bentoml serve``: an arbiter, and a process for each service. This replica ends when the arbiter does."""
    options = SAFE_PATH if hasattr(sys.flags, "safe_path") else SAFE_PATH_BEFORE
    command = [sys.executable, *options, launch.arbiter, "--door", _door(short), bento]
    own = {"TMPDIR": str(short), "BENTOML_RESULT_STORE": str(short / "tasks.db")}  # BentoML removes it at each start
    environment = {**os.environ, **own, **({} if folder is None else _separate_home(folder))}
    tree = subprocess.Popen([*command, "--timeout-graceful-shutdown", "3"], env=environment)  # noqa: S603
    threading.Thread(target=_end_with, args=(tree,), daemon=True).start()
    return tree


def _door(short: Path) -> str:
    return str(short / "door")


def _short_folder(folder: Path | None) -> Path:
    """Return a private folder for unix sockets with a short path: the replica's own folder may be too long."""
    if folder is None:
        return Path(tempfile.mkdtemp(prefix="at-"))
    short = Path("/tmp") / f"at-{folder.name[:16]}"  # noqa: S108 - mkdir fails if it exists
    short.mkdir(mode=0o700)  # removed with the folder
    return short


def _separate_home(folder: Path) -> dict[str, str]:
    """Return a BentoML home with the same store: a second server on one home would delete the first one's metrics."""
    home = folder / "bentoml"
    home.mkdir(exist_ok=True)
    for store in ("bentos", "models"):
        original = Path(os.environ["BENTOML_HOME"]) / store
        if original.exists():
            with suppress(FileExistsError):
                (home / store).symlink_to(original)
    return {"BENTOML_HOME": str(home)}


def _end_with(tree: subprocess.Popen[bytes]) -> None:
    """End this process once the arbiter has ended, with the arbiter's exit status."""
    os._exit(abs(tree.wait()))


def _end_tree(tree: subprocess.Popen[bytes], seconds: float) -> None:
    """End the arbiter, which ends its workers. The launcher sweeps any that stay, by the id in their environment."""
    tree.terminate()
    try:
        tree.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        tree.kill()


if __name__ == "__main__":
    main()
