"""What holds a secret is in no commit: whatever the documentation has people write is ignored by git."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from tests.support.servers import ROOT

SECRET = [
    *(
        "deploy/.env",
        "deploy/secrets/prometheus.key",
        "deploy/secrets/atelier.key",
        "deploy/ssl/privkey.pem",
        "bentocloud.token",
    ),
    *(".atelier/admin.key", ".atelier/secrets.key", ".atelier/bentocloud.token", ".atelier/endpoints.token"),
    ".atelier/kubernetes/secrets.key",
]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no checkout")
@pytest.mark.parametrize("path", SECRET)
def test_git_ignores_and_has_not_what_holds_a_secret(path: str) -> None:
    assert subprocess.run(["git", "check-ignore", "-q", "--no-index", path], cwd=ROOT, check=False).returncode == 0
    assert subprocess.run(["git", "ls-files", path], cwd=ROOT, check=True, capture_output=True).stdout == b""


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no checkout")
def test_git_ignores_the_archives_that_the_documentation_writes() -> None:
    pages = "\n".join(page.read_text() for page in (ROOT / "docs").glob("*.md")).replace("$(date +%Y%m%d)", "20261127")
    archives = set(re.findall(r"(?:backup|restore|tar czf) ([\w./-]+\.tar\.gz)", pages))
    assert archives >= {"atelier-20261127.tar.gz", "model-20261127.tar.gz"}
    for path in archives:
        assert subprocess.run(["git", "check-ignore", "-q", "--no-index", path], cwd=ROOT, check=False).returncode == 0


def test_the_documentation_writes_secrets_there_alone() -> None:
    pages = "\n".join(page.read_text() for page in (ROOT / "docs").glob("*.md"))
    written = set(re.findall(r"(?:>>?|install -m 600 /dev/stdin) +([\w./-]*(?:\.env|\.key|\.token|\.pem))", pages))
    assert written >= {".env", "secrets/prometheus.key", ".atelier/bentocloud.token"}
    assert {path if path.startswith((".atelier/", "deploy/")) else f"deploy/{path}" for path in written} <= set(SECRET)


def test_compose_makes_a_file_of_its_users_own_once(tmp_path: Path) -> None:
    for name in ("compose", ".env.example"):
        shutil.copy(ROOT / "deploy" / name, tmp_path)
    (tmp_path / "docker").write_text("#!/bin/sh\necho asked\n")  # the engine is not what this is about
    (tmp_path / "docker").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}

    def compose() -> str:
        command = [str(tmp_path / "compose"), "ps"]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    assert compose() == "asked\n"
    made = tmp_path / ".env"
    assert made.read_text() == (tmp_path / ".env.example").read_text()
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    made.write_text("HTTP_PORT=8088\n")
    compose()
    assert made.read_text() == "HTTP_PORT=8088\n"
