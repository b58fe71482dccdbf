"""BentoML's own program runs every command of the page's table, one after the other, against a real server."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from string import Template

import click
import pytest

from tests.e2e.bentoml_commands.commands import SECTIONS, Command, table
from tests.support.bentos.program import Program, user_home
from tests.support.calls import quick
from tests.support.management_servers import KEY
from tests.support.running.sharing import made_once
from tests.support.servers import ROOT

PAGE = ROOT / "docs" / "bentoml-commands.md"
FILES = {
    "secrets.env": "FIRST_TOKEN=1\nSECOND_TOKEN=2\n",
    "key.json": "{}",
    "deployment.yaml": """
name: from-file
bento: taught:1.0.0
access_authorization: true
envs:
  - name: LESSON
    value: "1"
secrets: [hf]
services:
  Taught:
    instance_type: cpu.small
    deployment_strategy: RollingUpdate
    scaling:
      min_replicas: 0
      max_replicas: 2
      policy:
        metrics:
          - type: concurrency
            value: 4
""",
    "update.yaml": "name: created\nbento: taught:1.0.0\nservices: {Taught: {scaling: {max_replicas: 5}}}\n",
    "service.py": "import bentoml\n\n@bentoml.service\nclass Empty:\n    pass\n",
    "applied.yaml": "name: applied\nbento: taught:1.0.0\n",
}
COMMANDS = [command for commands in SECTIONS.values() for command in commands]
GROUPS = ("cloud", "code", "deploy", "deployment", "push", "pull", "secret", "api-token")
"""The commands that speak to a server alone; of ``models``, ``push`` and ``pull`` do."""
OF_EVERY_COMMAND = frozenset({"--context", "--do-not-track", "--verbose", "--quiet"})
OF_BUILDING = frozenset({"--arg", "--arg-file"})
"""Options of the build that comes before, on the user's machine."""
OTHER = frozenset({"--from-literal", "--output", "--wait"})
"""An option without an effect, one of how it prints, and the default of one that is there."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands run, with the files that they name."""
    folder = tmp_path_factory.mktemp("work")
    for name, content in FILES.items():
        (folder / name).write_text(content)
    return folder


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A user who has the Bentos, and a server that has none."""
    home = tmp_path_factory.mktemp("user")
    shutil.copytree(made_once("user", user_home), home, symlinks=True, dirs_exist_ok=True)
    with quick(tmp_path_factory.mktemp("store")) as server:
        yield Program(home, server.url)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.line[:60])
def test_each_command_does_what_the_page_says(command: Command, program: Program, folder: Path) -> None:
    words = shlex.split(Template(command.line).safe_substitute(URL=program.url, TOKEN=KEY))
    if command.key:
        ran = program.typed(*words, cwd=folder, key=command.key)
    else:
        ran = program.run(*words, cwd=folder, given=command.given, check=False)
    assert (ran.status != 0) is bool(command.refused), ran.text
    assert (command.refused or command.prints) in ran.text


def test_every_option_is_tried() -> None:
    from bentoml_cli.cli import create_bentoml_cli

    program = create_bentoml_cli()
    assert isinstance(program, click.Group)
    groups = {name: program.get_command(click.Context(program), name) for name in GROUPS}
    found = [each for name, group in groups.items() for each in _commands(group, name)]
    tried = {word.partition("=")[0] for command in COMMANDS for word in shlex.split(command.line)}
    missing = {
        f"{path} {option.opts[-1]}"
        for path, command in found
        for option in command.params
        if isinstance(option, click.Option)
        and option.opts
        and tried.isdisjoint(option.opts)
        and not (OF_EVERY_COMMAND | OF_BUILDING | OTHER).intersection(option.opts)
    }
    lines = [command.line for command in COMMANDS]
    untried = {path for path, _ in found if not any(line.startswith(f"{path} ") or line == path for line in lines)}
    assert (missing, untried) == (set(), set())


def _commands(command: click.Command | None, path: str) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            yield from _commands(command.get_command(click.Context(command), name), f"{path} {name}")
    elif command is not None:
        yield path, command


@pytest.mark.unit
def test_the_page_has_the_table_of_this_run() -> None:
    if "ATELIER_TESTS_WRITE_PAGES" in os.environ:
        before, begin, rest = PAGE.read_text().partition("<!-- commands -->\n")
        _, end, after = rest.partition("<!-- end -->\n")
        PAGE.write_text(f"{before}{begin}{table()}{end}{after}")
    assert table() in PAGE.read_text()
