"""What a document may compute: the kernel ends a process that takes more, and pages allow for more."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys

import pytest

from tests.support.servers import ROOT

pytestmark = pytest.mark.server

BEGIN = """
import time
from runners.documents import budget
budget.DOCUMENT_SECONDS = 0.2
def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
budget.current().begin(0)
"""


def ended(code: str) -> int:
    return subprocess.run([sys.executable, "-c", BEGIN + code], cwd=ROOT, check=False, timeout=60).returncode


def test_a_document_that_computes_too_much_ends_its_process() -> None:
    assert ended("burn(30)") == -signal.SIGXCPU


def test_code_that_never_returns_to_python_ends_too() -> None:
    assert ended("'a'.join('b' * 10 for _ in [0]); import re; re.match('(a|a)*b', 'a' * 60)") == -signal.SIGXCPU


def test_pages_allow_for_more() -> None:
    assert ended("for _ in range(8): budget.page()\nburn(1.5)") == 0


def test_the_reading_of_a_picture_is_not_the_documents() -> None:
    code = "with budget.current().picture(): burn(1.5)\n"
    assert ended(code) == 0
    assert ended(code + "burn(30)") == -signal.SIGXCPU


def test_between_documents_nothing_is_counted() -> None:
    assert ended("budget.current().finish()\nburn(1.5)") == 0


def test_where_no_document_is_read_pages_set_no_limit() -> None:
    before = resource.getrlimit(resource.RLIMIT_CPU)
    from runners.documents import budget

    budget.page()
    with budget.current().picture():
        pass
    assert resource.getrlimit(resource.RLIMIT_CPU) == before
