"""Control planes of one database have the files in common by which replicas and logins are recognized."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from management.auth.shared_identity import SharedIdentity
from management.backends.replica import identity
from management.control.secrets import Secrets
from management.encryption.key_file import KeyFile
from management.store import Store

FILES = ("instance.secret", "login.key")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    found = Store(f"sqlite:///{tmp_path}/db")
    found.migrate()
    yield found
    found.close()


def home(tmp_path: Path, name: str) -> Path:
    (tmp_path / name).mkdir(exist_ok=True)
    return tmp_path / name


async def joined(store: Store, tmp_path: Path, name: str, key: str = "secrets.key") -> list[bytes]:
    folder = home(tmp_path, name)
    await SharedIdentity(store, KeyFile(tmp_path / key), folder).join()
    return [(folder / file).read_bytes() for file in FILES]


async def test_all_homes_get_what_the_first_one_had(store: Store, tmp_path: Path) -> None:
    first = identity.of_home(home(tmp_path, "a"))
    a = await joined(store, tmp_path, "a")
    assert a[0] == first.secret
    assert await joined(store, tmp_path, "b") == a
    assert await joined(store, tmp_path, "a") == a
    assert identity.of_home(tmp_path / "b").token("replica") == first.token("replica")
    assert (tmp_path / "b" / "instance.secret").stat().st_mode & 0o777 == 0o600


async def test_a_home_of_another_installation_is_refused_and_left_as_it_is(store: Store, tmp_path: Path) -> None:
    await joined(store, tmp_path, "a")
    other = identity.of_home(home(tmp_path, "c"))
    with pytest.raises(RuntimeError, match="another control plane"):
        await joined(store, tmp_path, "c")
    assert identity.of_home(tmp_path / "c") == other


async def test_another_or_a_missing_key_file_opens_nothing(store: Store, tmp_path: Path) -> None:
    await joined(store, tmp_path, "a")
    KeyFile(tmp_path / "other.key").read_or_make()
    for key in ("other.key", "missing.key"):
        with pytest.raises(RuntimeError, match="copy that of another control plane"):
            await joined(store, tmp_path, "b", key)
    assert not (tmp_path / "missing.key").exists()
    assert not (tmp_path / "b" / "instance.secret").exists()


async def test_nothing_of_it_is_in_the_database_in_the_clear(store: Store, tmp_path: Path) -> None:
    values = await joined(store, tmp_path, "a")
    content = (tmp_path / "db").read_bytes() + (tmp_path / "db-wal").read_bytes()
    assert not any(value in content for value in values)


async def test_a_rotation_encrypts_it_anew(store: Store, tmp_path: Path) -> None:
    a = await joined(store, tmp_path, "a")
    Secrets(store, KeyFile(tmp_path / "secrets.key")).rotate(drop_old=True)
    assert await joined(store, tmp_path, "b") == a
