"""The calls that the gallery's READMEs print, each with the answer that it prints, run as they stand."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from tests.support.management_servers import KEY

EXAMPLES: Final = Path(__file__).parents[3] / "examples"
PRINTED: Final = "http://localhost:8080"
"""The address that the READMEs name."""
MODELS: Final = ".models.localhost"
"""The end of every host that names a model."""
PRINTED_HOST: Final = f"{MODELS}:8080"
_BLOCKS: Final = re.compile(
    r"```(?P<language>bash|python)\n(?P<code>.*?)\n```\n```(?P<form>\w+)\n(?P<answer>.*?)\n```", re.DOTALL
)
_SECTIONS: Final = re.compile(r"^## ", re.MULTILINE)
_RESOLVE: Final = """
import socket
_resolve = socket.getaddrinfo
socket.getaddrinfo = lambda host, *rest, **more: _resolve(
    "127.0.0.1" if ".localhost" in str(host) else host, *rest, **more
)
"""
"""What makes names below localhost known to Python on any machine; curl knows them itself."""
LONGEST_SECONDS: Final = 120


@dataclass(frozen=True)
class Example:
    """A call that a README prints, and its answer."""

    section: str
    """Heading of the section that it stands in, in lower case and without quotes."""
    language: str
    code: str
    form: str
    """The answer's form: of JSON, an answer may hold more than what is printed; everything else is printed whole."""
    answer: str

    def run(self, address: str, folder: Path, python: tuple[str, ...] = (sys.executable,)) -> str:
        """Return what the call prints with an address in place of the printed one, in the Bento's folder.

        Python runs with the command ``python``. Raises AssertionError when the call fails.
        """
        code = self.code.replace(PRINTED, address).replace(PRINTED_HOST, f"{MODELS}:{urlsplit(address).port}")
        shell = ["bash", "-euo", "pipefail", "-c", code]
        command = shell if self.language == "bash" else [*python, "-c", _RESOLVE + code]
        environment = {**os.environ, "ATELIER_API_KEY": KEY, "NO_PROXY": "*", "no_proxy": "*"}
        done = subprocess.run(
            command, check=False, cwd=folder, env=environment, capture_output=True, text=True, timeout=LONGEST_SECONDS
        )
        assert done.returncode == 0, f"{code}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        return done.stdout

    def check(self, printed: str) -> None:
        """Raise AssertionError unless that is the answer that the README prints."""
        if self.form == "json":
            assert _holds(json.loads(printed), json.loads(self.answer)), printed[:2000]
        else:
            assert printed.strip() == self.answer.strip()


def examples(name: str) -> list[Example]:
    """Return the calls of a Bento's README, in their order."""
    page = (EXAMPLES / "bentos" / name / "README.md").read_text()
    found = []
    for section in _SECTIONS.split(page)[1:]:
        heading = section.partition("\n")[0].replace("`", "").lower()
        found += [Example(heading, **match.groupdict()) for match in _BLOCKS.finditer(section)]
    return found


def _holds(answer: Any, printed: Any) -> bool:
    """Return whether an answer has all that is printed; objects may have more members."""
    if isinstance(printed, dict):
        return isinstance(answer, dict) and all(
            name in answer and _holds(answer[name], value) for name, value in printed.items()
        )
    if isinstance(printed, list):
        return isinstance(answer, list) and len(answer) == len(printed) and all(map(_holds, answer, printed))
    return bool(answer == printed)
