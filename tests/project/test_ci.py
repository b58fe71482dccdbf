"""How .ci/ installs Debian's packages: without starting the servers among them, and leaving nothing of it behind."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.servers import ROOT

# Tells what it was asked for, and what would have said whether servers may be started meanwhile.
APT_GET = '#!/bin/sh\n[ "$1" = update ] || echo "$(cat "$POLICY_FILE" | tail -n 1): $*"\nexit "${FAILS:-0}"\n'


def install(folder: Path, *packages: str, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "apt-get").write_text(APT_GET)
    (folder / "apt-get").chmod(0o755)
    script = 'set -euo pipefail; . .ci/packages; install_packages "$@"'
    known = {"PATH": f"{folder}:/usr/bin:/bin", "POLICY_FILE": str(folder / "policy-rc.d"), **environment}
    command = ["bash", "-c", script, "bash", *packages]
    return subprocess.run(command, cwd=ROOT, env=known, check=False, capture_output=True, text=True)


def test_no_server_is_started_while_packages_are_installed(tmp_path: Path) -> None:
    done = install(tmp_path, "docker.io", "nginx")
    assert done.stdout == "exit 101: install -y -qq --no-install-recommends docker.io nginx\n"
    assert not (tmp_path / "policy-rc.d").exists()


@pytest.mark.parametrize("fails", ["", "1"])
def test_the_machines_own_rule_stays(tmp_path: Path, fails: str) -> None:
    (tmp_path / "policy-rc.d").write_text("exit 0\n")
    done = install(tmp_path, "nginx", **({"FAILS": fails} if fails else {}))
    assert (done.returncode != 0) == bool(fails)
    assert (tmp_path / "policy-rc.d").read_text() == "exit 0\n"


def test_an_installation_that_fails_is_told_and_leaves_no_rule(tmp_path: Path) -> None:
    assert install(tmp_path, "nginx", FAILS="100").returncode == 100
    assert not (tmp_path / "policy-rc.d").exists()


def test_nothing_is_asked_for_where_nothing_is_missing(tmp_path: Path) -> None:
    assert install(tmp_path).stdout == ""
