"""Wheels without a package index: those of installed distributions, packed again, and tiny ones of the tests' own."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LEFT_OUT = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}
"""Files of an installed distribution that its wheel did not have."""


def bentoml_wheels(folder: Path) -> Path:
    """Write the wheels of the installed BentoML and of all that it requires, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    waiting, packed = ["bentoml", "uvicorn", "aiohttp", "setuptools"], set[str]()
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in packed:
            continue
        packed.add(name)
        distribution = metadata.distribution(name)
        _repack(distribution, folder)
        waiting += [needed.name for needed in map(Requirement, distribution.requires or ()) if _applies(needed)]
    return folder


def tiny_wheel(folder: Path, version: str, *, name: str = "tiny", content: str = "", requires: str = "") -> Path:
    """Write a wheel with one module, whose ``VERSION`` is that of the wheel."""
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + (requires and f"Requires-Dist: {requires}\n")
    wheel = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    info = f"{name}-{version}.dist-info"
    module = f"VERSION = {version!r}\n{content}"
    files = {f"{name}.py": module.encode(), f"{info}/METADATA": about.encode(), f"{info}/WHEEL": wheel.encode()}
    folder.mkdir(parents=True, exist_ok=True)
    return _write(folder / f"{name}-{version}-py3-none-any.whl", files.items(), info)


def _applies(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})


def _repack(distribution: metadata.Distribution, folder: Path) -> None:
    listed = [file for file in distribution.files or () if ".." not in file.parts and "__pycache__" not in file.parts]
    kept = [file for file in listed if file.name not in LEFT_OUT and Path(str(file.locate())).is_file()]
    info = next(file.parts[0] for file in kept if file.name == "METADATA")
    tags = [line[5:].split("-") for line in (distribution.read_text("WHEEL") or "").splitlines() if line[:5] == "Tag: "]
    kinds = "-".join(".".join(dict.fromkeys(parts)) for parts in zip(*tags, strict=True))
    name = folder / f"{info.removesuffix('.dist-info')}-{kinds}.whl"
    _write(name, ((str(file), Path(str(file.locate())).read_bytes()) for file in kept), info)


def _write(wheel: Path, files: Iterable[tuple[str, bytes]], info: str) -> Path:
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_STORED) as archive:
        record = []
        for name, content in files:
            archive.writestr(zipfile.ZipInfo(name), content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record.append(f"{name},sha256={digest},{len(content)}")
        archive.writestr(f"{info}/RECORD", "\n".join([*record, f"{info}/RECORD,,"]) + "\n")
    return wheel
