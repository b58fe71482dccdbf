"""The README's calls, pasted."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest

from tests.support.servers import ROOT, Server

EXAMPLE = re.compile(r"```bash\n(curl [^`]*?)\n```\n```json\n(.*?)\n```", re.DOTALL)
EXAMPLES = EXAMPLE.findall((ROOT / "README.md").read_text())
NAMES = [command.split("/")[-1][:30] for command, _ in EXAMPLES]


def shape(answer: object) -> object:
    """What must stay true of an answer on another machine: everything but the digits of its numbers."""
    if isinstance(answer, dict):
        return {key: "a time" if key == "timestamp" else shape(value) for key, value in answer.items()}
    if isinstance(answer, list):
        return [shape(value) for value in answer]
    return "a number" if isinstance(answer, float) else answer


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize(("command", "answer"), EXAMPLES, ids=NAMES)
def test_the_readmes_call_gives_the_readmes_answer(atelier: Server, command: str, answer: str) -> None:
    here = command.replace("http://127.0.0.1:8080", atelier.url)
    printed = subprocess.run(["bash", "-c", here], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    if "cut" in command:
        assert printed.startswith('{"embedding":[')
        assert len(printed.strip()) == len(answer)
    else:
        assert shape(json.loads(printed)) == shape(json.loads(answer))
