"""Where a test may end the server: named, checked, and nowhere else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from management.faults.failpoints import EXIT, NAMES, check
from tests.doubles.management import settings
from tests.support.servers import ROOT

REACHED = """
import sys
from management.faults import failpoints
failpoints.arm(sys.argv[1] or None)
for name in failpoints.NAMES:
    failpoints.reach(name)
"""


@pytest.mark.server
@pytest.mark.parametrize("armed", ["", f"{NAMES[0]}:exit", f"{NAMES[-1]}:exit"])
def test_a_process_ends_at_the_point_that_is_armed_and_at_no_other(armed: str) -> None:
    process = subprocess.run([sys.executable, "-c", REACHED, armed], cwd=ROOT, check=False, timeout=60)
    assert process.returncode == (EXIT if armed else 0)


@pytest.mark.parametrize("text", ["nowhere:exit", NAMES[0], f"{NAMES[0]}:sleep", "exit"])
def test_any_other_text_is_refused_with_the_names_there_are(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=NAMES[0]):
        settings(tmp_path, failpoint=text)
    with pytest.raises(ValueError, match="must be NAME:exit"):
        check(text)


def test_none_is_armed_by_default(tmp_path: Path) -> None:
    assert settings(tmp_path).server.failpoint is None
    assert settings(tmp_path, failpoint="").server.failpoint is None
