"""deploy/atelier.service starts what is there, and closes what it can."""

from __future__ import annotations

import re
from importlib.util import find_spec

from tests.support.servers import ROOT

UNIT = (ROOT / "deploy" / "atelier.service").read_text()


def values(name: str) -> list[str]:
    """Every value of a directive, in order."""
    return re.findall(rf"^{name}=(.*)$", UNIT, re.MULTILINE)


def test_every_module_that_it_starts_is_there() -> None:
    modules = [line.split(" -m ")[1].split()[0] for line in values("ExecStartPre") + values("ExecStart")]
    assert modules == ["runners.artifacts", "management", "runners.launch"]
    assert all(find_spec(module) for module in modules)


def test_the_service_is_no_root_and_writes_to_its_state_alone() -> None:
    assert values("User") == ["atelier"]
    assert values("CapabilityBoundingSet") == [""]
    assert values("ProtectSystem") == ["strict"]
    assert values("StateDirectory") == ["atelier"]
    for directive in ("NoNewPrivileges", "ProtectHome", "PrivateTmp", "PrivateDevices", "RestrictSUIDSGID"):
        assert values(directive) == ["yes"], directive


def test_it_sends_nothing_home() -> None:
    assert "BENTOML_DO_NOT_TRACK=True" in UNIT
