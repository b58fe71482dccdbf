"""Archives of Bentos, well-formed and hostile, made member by member."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any

import yaml  # type: ignore[import-untyped]

SERVICE = b"import bentoml\n"


def bento_yaml(version: str = "1.0.0", **changed: Any) -> bytes:
    """Return the file of the Bento ``hello`` with these fields changed."""
    content = {
        "name": "hello",
        "version": version,
        "bentoml_version": "1.4.39",
        "creation_time": "2026-01-01T00:00:00+00:00",
        "entry_service": "Hello",
        "services": [{"name": "Hello"}],
        "schema": {"name": "Hello", "routes": [{"name": "greet", "route": "/greet"}]},
    }
    return bytes(yaml.safe_dump({**content, **changed}).encode())


def model_yaml(name: str = "iris", version: str = "1") -> bytes:
    """Return the file of a model."""
    return bytes(yaml.safe_dump({"name": name, "version": version}).encode())


def files(**changed: Any) -> dict[str, bytes]:
    """Return the files of the Bento ``hello``, whose ``bento.yaml`` has these fields changed."""
    return {"bento.yaml": bento_yaml(**changed), "src/service.py": SERVICE}


def tar(contents: Mapping[str, bytes], *more: tarfile.TarInfo, compression: str = "") -> bytes:
    """Return a tar archive of files, then of members without content."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=f"w:{compression}") as archive:  # type: ignore[call-overload]
        for name, content in contents.items():
            archive.addfile(member(name, size=len(content)), io.BytesIO(content))
        for entry in more:
            archive.addfile(entry)
    return out.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, *, size: int = 0, mode: int = 0o644) -> tarfile.TarInfo:
    """Return a member of a tar archive; a link leads to ``bento.yaml``."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.size, entry.mode = kind, size, mode
    entry.linkname = "bento.yaml" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
    return entry


def zipped(contents: Iterable[tuple[str, bytes]], *, mode: int = stat.S_IFREG | 0o644) -> bytes:
    """Return a ZIP archive of files, all of this mode."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents:
            entry = zipfile.ZipInfo(name)
            entry.external_attr, entry.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return out.getvalue()
