"""The nginx of docs/several-control-planes.md in front of two control planes is one server, also when one is killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from management.domain.bento_tag import StoredKind
from management.packaging.archives.pack import pack
from tests.deploy.nginx_server import require
from tests.management.several.planes import planes
from tests.support.calls import deploy, infer, until
from tests.support.management_servers import KEY, Management, copied_echo
from tests.support.servers import ROOT, free_port

pytestmark = pytest.mark.server

PAGE = ROOT / "docs" / "several-control-planes.md"


@contextmanager
def one_address(folder: Path, *servers: Management) -> Iterator[str]:
    """Serve what the page says, with these control planes and without the client's stickiness."""
    found = re.search(r"```nginx\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    port = free_port()
    text = re.sub(r"ip_hash;.*", "", found[1]).replace("listen 80;", f"listen 127.0.0.1:{port};")
    for number, server in enumerate(servers, start=11):
        text = text.replace(f"10.0.0.{number}:8080", server.url.removeprefix("http://"))
    assert "10.0.0." not in text
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; events {{}} http {{ access_log off; {temporary}\n{text}}}"
    )
    command = ["nginx", "-e", str(folder / "errors"), "-c", str(folder / "nginx.conf")]
    process = subprocess.Popen(command)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def test_one_address_goes_on_when_a_control_plane_is_killed(tmp_path: Path) -> None:
    require("nginx")
    home = copied_echo(tmp_path / "echo")
    archive = b"".join(pack(home / "bentos" / "echo" / "1.0.0", StoredKind.BENTO).pieces())
    with planes() as found:
        a, b = found.join("a"), found.join("b")
        with (
            one_address(tmp_path, a, b) as url,
            httpx.Client(base_url=f"{url}/api/v1", headers={"X-API-Key": KEY}, timeout=60, trust_env=False) as client,
        ):
            until(lambda: _reaches(client))
            pushed = client.post("/bentos", content=archive, headers={"Content-Type": "application/x-tar"})
            assert pushed.status_code == 201, pushed.text
            for _ in range(4):
                assert [bento["tag"] for bento in client.get("/bentos").json()] == ["echo:1.0.0"]
            assert deploy(client).status_code == 200
            until(lambda: [infer(client, {}).status_code for _ in range(4)] == [200] * 4)
            os.kill(a.pid, signal.SIGKILL)
            until(lambda: client.get("/health").json().get("models") == {"wanted": 1, "ready": 1})
            until(lambda: infer(client, {}).status_code == 200)
            assert [infer(client, {}).status_code for _ in range(20)] == [200] * 20
            assert client.delete("/models/echo", params={"wait": 60}).status_code == 200
            assert client.delete("/bentos/echo/1.0.0").status_code == 200


def _reaches(client: httpx.Client) -> bool:
    try:
        return client.get("/health").status_code == 200
    except httpx.TransportError:
        return False
