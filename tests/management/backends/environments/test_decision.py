"""The server's environment is enough for a Bento exactly where it has all that the Bento asks for."""

from __future__ import annotations

import re

import pytest
from packaging.requirements import Requirement

from management.backends.process.environments.decision import (
    Installed,
    ServerEnvironment,
    disagreement,
    lacks_tree,
    requirements,
    unmet_needs,
)
from management.domain.bento import Bento, PythonNeeds
from management.domain.bento_tag import Tag
from tests.support.servers import ROOT

SERVER = ServerEnvironment(
    "3.11",
    {
        "bentoml": Installed("1.4.39"),
        "numpy": Installed("2.4.6"),
        "torch": Installed("2.14.0+cpu"),
        "web-kit": Installed("3.1", ("standard-part>=2; extra == 'standard'", "absent; extra == 'other'")),
        "standard-part": Installed("2.5"),
    },
)


def bento(*lines: str, python: str = "3.11", bentoml: str = "1.4.39", **needs: object) -> Bento:
    wanted = PythonNeeds(version=python, requirements=lines, **needs)  # type: ignore[arg-type]
    return Bento(Tag("b", "1"), "B", bentoml, "", (), python=wanted)


@pytest.mark.parametrize(
    "line",
    [
        "numpy",
        "NumPy>=2,<3",
        "numpy==2.4.6 --hash=sha256:00",
        "torch==2.14.0",
        "web_kit[standard]>=3  # a comment",
        "numpy==1.26.4; python_version < '3.9'",
        "pywin32; sys_platform == 'win32'",
        "--index-url https://index.example/simple",
        "bentoml==1.4.12",
        "bentoml>=1.3",
        "bentoml~=1.4.50",
    ],
)
def test_what_the_server_has_needs_no_other_environment(line: str) -> None:
    assert disagreement(bento(line), SERVER) is None


@pytest.mark.parametrize(
    "line",
    [
        "numpy<2",
        "numpy==1.26.4",
        "absent",
        "web-kit[other]",
        "bentoml==1.3.22",
        "bentoml<1.4",
        "bentoml>=1.4.50",
        "./wheels/numpy-2.4.6-py3-none-any.whl",
        "numpy @ https://example.com/numpy-2.4.6.zip",
        "git+https://example.com/numpy.git",
        "-e .",
        "-r other.txt",
    ],
)
def test_what_the_server_lacks_needs_one(line: str) -> None:
    assert disagreement(bento("bentoml", line), SERVER) == line


def test_another_python_needs_one() -> None:
    assert disagreement(bento(python="3.12"), SERVER) == "python 3.12"
    assert disagreement(bento(python=""), SERVER) is None


def test_a_bento_that_does_not_name_bentoml_needs_the_one_that_built_it() -> None:
    assert disagreement(bento("numpy", bentoml="1.3.22"), SERVER) == "bentoml==1.3.22"
    assert disagreement(bento("numpy", bentoml="1.4.2"), SERVER) is None
    assert disagreement(bento("numpy", bentoml=""), SERVER) is None
    assert disagreement(bento("bentoml-extension", bentoml="1.3.22"), SERVER) == "bentoml-extension"


def test_requirements_are_read_through_options_continuations_and_hashes() -> None:
    lines = ["numpy==2.4.6 \\", "--hash=sha256:aa \\", "--hash=sha256:bb", "# no", "--find-links x", "torch # why"]
    assert list(requirements(lines)) == ["numpy==2.4.6", "torch"]


@pytest.mark.parametrize("installed", ["dev.lock", "neural.lock", "runtime.lock"])
def test_the_shipped_bentos_run_in_an_environment_that_is_installed_from_the_locks(installed: str) -> None:
    packages = pins(installed)
    server = ServerEnvironment("3.11", {name: Installed(version) for name, version in packages.items()})
    compared = 0
    for recipe in (ROOT / "bentofile.yaml", *ROOT.glob("runners/*/bento.yaml")):
        lock = re.search(r"requirements/(\w+\.lock)", recipe.read_text())
        assert lock is not None
        if pins(lock[1]).keys() <= packages.keys():
            compared += 1
            lines = (ROOT / "requirements" / lock[1]).read_text().splitlines()
            assert disagreement(bento(*lines), server) is None, recipe
    assert compared


def pins(lock: str) -> dict[str, str]:
    """The versions in a lock file for this Python and platform, by name."""
    found = map(Requirement, requirements((ROOT / "requirements" / lock).read_text().splitlines()))
    here = [line for line in found if line.marker is None or line.marker.evaluate()]
    return {line.name: next(iter(line.specifier)).version for line in here}


def test_what_no_process_can_be_given_is_named() -> None:
    needs = bento(system_packages=("libgl1",), commands=("curl x",), conda=True)
    assert unmet_needs(needs) == ("conda", "libgl1", "curl x")
    assert unmet_needs(bento(base_image="python:3.11-slim")) == ()


@pytest.mark.parametrize(("version", "lacks"), [("1.3.22", True), ("1.2.0", True), ("1.4.0", False), ("", False)])
def test_several_services_need_the_tree_of_bentoml_1_4(version: str, *, lacks: bool) -> None:
    several = Bento(Tag("b", "1"), "B", version, "", (), services=("A", "B"))
    assert lacks_tree(several) is lacks
    assert not lacks_tree(bento(bentoml=version))
