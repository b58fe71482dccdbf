"""Archives are unpacked within limits, and hostile ones are refused before they do harm."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from management.packaging.archives.refusals import ArchiveRefused, DiskFull, Stopped
from management.packaging.archives.room import Room
from management.packaging.archives.tree_digest import digest_of, entries_of
from management.packaging.archives.unpack import unpack
from management.settings import BentoSettings
from tests.support.bentos.bento_archives import SERVICE, bento_yaml, files, member, tar, zipped

MIB = 1024 * 1024


def unpacked(archive: bytes, folder: Path, *, stopped: bool = False, **limits: Any) -> list[str]:
    """Unpack an archive with these limits, and return the paths of its files."""
    target = folder / "unpacked"
    target.mkdir(exist_ok=True)
    entries = unpack(io.BytesIO(archive), target, BentoSettings(**limits), Room(folder), lambda: stopped)
    assert digest_of(entries) == digest_of(entries_of(target))
    return [entry.path for entry in entries]


def refused(archive: bytes, folder: Path, **limits: Any) -> tuple[str, str]:
    """Return the kind of the refusal and the member that it names."""
    with pytest.raises(ArchiveRefused) as caught:
        unpacked(archive, folder, **limits)
    return caught.value.kind, caught.value.member


@pytest.mark.parametrize("compression", ["", "gz", "xz", "bz2"])
def test_a_tar_archive_is_unpacked_however_it_is_compressed(compression: str, tmp_path: Path) -> None:
    archive = tar(files(), member("./", tarfile.DIRTYPE), compression=compression)
    assert unpacked(archive, tmp_path) == ["bento.yaml", "src/service.py"]
    assert (tmp_path / "unpacked" / "src" / "service.py").read_bytes() == SERVICE


def test_a_zip_archive_is_unpacked(tmp_path: Path) -> None:
    assert unpacked(zipped(files().items()), tmp_path) == ["bento.yaml", "src/service.py"]


def test_several_compressed_streams_are_one_archive(tmp_path: Path) -> None:
    archive = tar(files())
    half = len(archive) // 2
    compressions: list[Any] = [gzip.compress, bz2.compress, lzma.compress]
    for number, compress in enumerate(compressions):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert len(unpacked(compress(archive[:half]) + compress(archive[half:]), folder)) == 2


def test_names_that_need_longer_headers_are_kept_in_every_format(tmp_path: Path) -> None:
    long = "src/" + "/".join(["pakét"] * 40) + "/模型.py"
    for number, kind in enumerate((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=kind) as archive:
            entry = member(long, size=len(SERVICE))
            entry.mtime = 1.5
            archive.addfile(entry, io.BytesIO(SERVICE))
        folder = tmp_path / str(number)
        folder.mkdir()
        assert unpacked(out.getvalue(), folder) == [long]


def test_only_the_execute_bit_of_a_mode_is_kept(tmp_path: Path) -> None:
    unpacked(tar({}, member("run", mode=0o6755), member("read", mode=0o400)), tmp_path)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "unpacked").iterdir()}
    assert modes == {"run": 0o755, "read": 0o644}


def test_what_python_compiled_is_left_out(tmp_path: Path) -> None:
    archive = tar({**files(), "src/__pycache__/service.cpython-311.pyc": b"x", "atelier.content": b"0"})
    assert unpacked(archive, tmp_path) == ["bento.yaml", "src/service.py"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_a_link_is_refused(kind: bytes, tmp_path: Path) -> None:
    assert refused(tar({}, member("src/link", kind)), tmp_path) == ("archive_link", "src/link")


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE, b"?"])
def test_a_device_a_pipe_and_an_unknown_kind_are_refused(kind: bytes, tmp_path: Path) -> None:
    assert refused(tar({}, member("src/device", kind)), tmp_path) == ("archive_device", "src/device")


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_a_link_in_a_zip_archive_is_refused(mode: int, tmp_path: Path) -> None:
    kind = "archive_link" if mode == stat.S_IFLNK else "archive_device"
    assert refused(zipped([("a", b"bento.yaml")], mode=mode | 0o777), tmp_path) == (kind, "a")


BAD_PATHS = ["/etc/passwd", "../up", "a/../../up", "a/..", "a\nb", "a\\..\\b", "a" * 256, "/".join(["abcdefg"] * 130)]


@pytest.mark.parametrize("name", BAD_PATHS)
def test_a_path_out_of_the_archive_is_refused(name: str, tmp_path: Path) -> None:
    assert refused(tar({name: b""}), tmp_path)[0] == "archive_path"
    assert refused(zipped([(name, b"")]), tmp_path)[0] == "archive_path"
    assert not (tmp_path / "up").exists()


def test_a_name_that_is_no_unicode_is_refused(tmp_path: Path) -> None:
    archive = tar({"caf\udce9": b""})
    assert refused(archive, tmp_path)[0] == "archive_path"


def test_a_member_that_comes_twice_is_refused(tmp_path: Path) -> None:
    twice = tar({"a": b"1"}, member("./a"))
    assert refused(twice, tmp_path) == ("archive_twice", "a")


def test_a_file_that_is_a_folder_too_is_refused(tmp_path: Path) -> None:
    assert refused(tar({"a": b"1", "a/b": b""}), tmp_path) == ("archive_twice", "a/b")
    assert refused(tar({"c/d": b"1", "c": b""}), tmp_path) == ("archive_twice", "c")
    assert refused(tar({"e": b""}, member("e", tarfile.DIRTYPE)), tmp_path) == ("archive_twice", "e")


def test_too_many_members_are_refused(tmp_path: Path) -> None:
    archive = tar({f"src/{number}": b"" for number in range(11)})
    assert refused(archive, tmp_path, files=10)[0] == "archive_files"
    assert len(list((tmp_path / "unpacked").rglob("*"))) <= 11


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    archive = tar({"big": bytes(2049)})
    assert refused(archive, tmp_path, file_bytes=2048) == ("archive_file_size", "big")


def test_a_zip_archive_that_lies_about_a_size_is_refused(tmp_path: Path) -> None:
    archive = bytearray(zipped([("big", bytes(MIB))]))
    listed = archive.rfind(b"PK\x01\x02")
    archive[listed + 24 : listed + 28] = (10).to_bytes(4, "little")
    assert refused(bytes(archive), tmp_path)[0] == "archive_broken"


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_a_decompression_bomb_is_stopped_at_the_limit(compress: Any, tmp_path: Path) -> None:
    bomb = compress(tar({f"zeros{number}": bytes(8 * MIB) for number in range(4)}))
    assert len(bomb) < MIB / 10
    assert refused(bomb, tmp_path, unpacked_bytes=MIB)[0] == "archive_size"
    assert sum(file.stat().st_size for file in (tmp_path / "unpacked").iterdir()) <= 2 * MIB


def test_a_bomb_of_headers_alone_is_stopped(tmp_path: Path) -> None:
    headers = b"".join(member("x" * 90 + str(number), tarfile.XGLTYPE).tobuf() for number in range(30_000))
    archive = gzip.compress(headers + bytes(1024))
    assert refused(archive, tmp_path, files=10, unpacked_bytes=1024)[0] == "archive_size"


def test_a_header_of_any_length_is_not_read_into_memory(tmp_path: Path) -> None:
    header = member("x", tarfile.XHDTYPE, size=8 * 1024**3).tobuf(tarfile.GNU_FORMAT)
    assert refused(header + bytes(10_240), tmp_path)[0] == "archive_broken"


def test_xz_may_not_ask_for_any_memory(tmp_path: Path) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 128 * MIB, "mode": lzma.MODE_FAST, "mf": lzma.MF_HC3}]
    archive = lzma.compress(tar(files()), filters=filters)
    assert refused(archive, tmp_path)[0] == "archive_broken"


@pytest.mark.parametrize("compression", ["", "gz", "xz", "bz2"])
def test_a_truncated_archive_is_refused_wherever_it_ends(compression: str, tmp_path: Path) -> None:
    archive = tar({**files(), "weights": bytes(range(256)) * 40}, compression=compression)
    step = max(1, len(archive) // 60)
    for number, end in enumerate(range(0, len(archive) - (1024 * 9 if not compression else 1), step)):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert refused(archive[:end], folder)[0] == "archive_broken", end


def test_a_truncated_zip_archive_is_refused(tmp_path: Path) -> None:
    archive = zipped(files().items())
    assert {refused(archive[:end], tmp_path)[0] for end in range(0, len(archive), 7)} == {"archive_broken"}


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_a_damaged_byte_is_noticed(compress: Any, tmp_path: Path) -> None:
    archive = bytearray(compress(tar(files())))
    archive[len(archive) // 2] ^= 0xFF
    with pytest.raises(ArchiveRefused):
        unpacked(bytes(archive), tmp_path)


def test_what_follows_the_end_of_an_archive_is_refused(tmp_path: Path) -> None:
    assert refused(tar(files()) + b"more", tmp_path)[0] == "archive_broken"


@pytest.mark.parametrize("content", [b"", b"text", bytes(512), b"\x1f\x8b", b"BZh", b"PK\x03\x04", b"\xfd7zXZ\x00"])
def test_what_is_no_archive_is_refused(content: bytes, tmp_path: Path) -> None:
    if content == bytes(512):
        assert unpacked(content, tmp_path) == []  # an archive without members, which has no bento.yaml
    else:
        assert refused(content, tmp_path)[0] == "archive_broken"


def test_a_zip_archive_with_a_list_of_any_length_is_not_read_into_memory(tmp_path: Path) -> None:
    archive = bytearray(zipped(files().items()))
    end = archive.rfind(b"PK\x05\x06")
    archive[end + 12 : end + 16] = (1024 * MIB).to_bytes(4, "little")
    assert refused(bytes(archive), tmp_path)[0] == "archive_files"


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_a_zip_archive_of_another_method_is_refused(method: int, tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr("bento.yaml", bento_yaml())
    assert refused(out.getvalue(), tmp_path)[0] == "archive_broken"


def test_a_zip_archive_with_a_nameless_file_is_broken(tmp_path: Path) -> None:
    named = zipped([("a", b"")])
    listed = named.rfind(b"PK\x01\x02")
    archive = named[: listed + 28] + b"\x00\x00" + named[listed + 30 : listed + 46] + named[listed + 47 :]
    end = archive.rfind(b"PK\x05\x06")
    shorter = (int.from_bytes(archive[end + 12 : end + 16], "little") - 1).to_bytes(4, "little")
    assert refused(archive[: end + 12] + shorter + archive[end + 16 :], tmp_path)[0] == "archive_broken"


def test_a_caller_who_has_left_ends_the_work(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        unpacked(tar(files()), tmp_path, stopped=True)


def test_a_disk_without_spare_room_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("management.packaging.archives.room.SPARE_BYTES", 2**62)
    monkeypatch.setattr("management.packaging.archives.room.LOOK_BYTES", 1)
    with pytest.raises(DiskFull):
        unpacked(tar(files()), tmp_path)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), compression=st.sampled_from(["", "gz", "xz"]))
def test_no_damage_raises_anything_but_a_refusal(data: st.DataObject, compression: str, tmp_path_factory: Any) -> None:
    archive = bytearray(tar(files(), compression=compression) if data.draw(st.booleans()) else zipped(files().items()))
    for _ in range(data.draw(st.integers(1, 8))):
        archive[data.draw(st.integers(0, len(archive) - 1))] = data.draw(st.integers(0, 255))
    folder = tmp_path_factory.mktemp("damaged")
    with suppress(ArchiveRefused):
        unpacked(bytes(archive), folder)
    assert {entry.name for entry in folder.iterdir()} <= {"unpacked"}
