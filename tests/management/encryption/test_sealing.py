"""Sealed values: opened by their key where they were put, and by nothing else, anywhere else."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from management.encryption.key_file import KeyFile, KeyFileUnusable, new_key
from management.encryption.sealing import Unreadable, seal, sealed_by, unseal

VALUE = b"the value that nobody sees"


@pytest.fixture
def key_file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "home" / "secrets.key")


def test_a_value_is_opened_by_its_key_and_is_not_seen_in_what_is_stored() -> None:
    key = new_key()
    sealed = seal(key, VALUE, b"row")
    assert VALUE not in sealed
    assert unseal([new_key(), key], sealed, b"row") == VALUE
    assert seal(key, VALUE, b"row") != sealed, "no nonce comes twice"
    assert key.secret not in sealed


def test_another_key_does_not_open_it_and_the_reason_tells_nothing_of_it() -> None:
    with pytest.raises(Unreadable, match="does not have the key") as caught:
        unseal([new_key()], seal(new_key(), VALUE, b"row"), b"row")
    assert VALUE.decode() not in str(caught.value)


@pytest.mark.parametrize("place", [0, 1, 9, 21, -1])
def test_a_changed_byte_is_noticed_wherever_it_is(place: int) -> None:
    key = new_key()
    sealed = bytearray(seal(key, VALUE, b"row"))
    sealed[place] ^= 1
    with pytest.raises(Unreadable):
        unseal([key], bytes(sealed), b"row")


def test_a_value_that_is_moved_to_another_row_is_not_opened() -> None:
    key = new_key()
    with pytest.raises(Unreadable, match="was changed"):
        unseal([key], seal(key, VALUE, b"row"), b"other row")


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"\x02" + bytes(60), b"plain text"])
def test_what_was_never_sealed_is_not_opened(sealed: bytes) -> None:
    with pytest.raises(Unreadable):
        unseal([new_key()], sealed, b"row")


def test_a_key_file_is_made_once_for_its_owner_alone(key_file: KeyFile) -> None:
    with ThreadPoolExecutor(8) as workers:
        found = set(workers.map(lambda _: key_file.read_or_make(), range(8)))
    assert len(found) == 1
    assert stat.S_IMODE(key_file.path.stat().st_mode) == 0o600
    assert [file.name for file in key_file.path.parent.iterdir()] == ["secrets.key"]


@pytest.mark.parametrize("content", [b"", b"\n", b"not a key", b"c2hvcnQ=\n", b"\xff\xfe"])
def test_a_damaged_key_file_is_never_overwritten(key_file: KeyFile, content: bytes) -> None:
    key_file.path.parent.mkdir()
    key_file.path.write_bytes(content)
    with pytest.raises(KeyFileUnusable, match=r"empty|damaged") as caught:
        key_file.read_or_make()
    assert key_file.path.read_bytes() == content
    assert str(key_file.path) not in str(caught.value)


def test_a_key_file_that_is_missing_or_is_a_folder_says_so(key_file: KeyFile) -> None:
    with pytest.raises(KeyFileUnusable, match="is missing"):
        key_file.read()
    key_file.path.mkdir(parents=True)
    with pytest.raises(KeyFileUnusable, match="cannot be read"):
        key_file.read()


def test_the_first_of_several_keys_encrypts_and_all_of_them_decrypt(key_file: KeyFile) -> None:
    old = key_file.read_or_make()[0]
    before = seal(old, VALUE, b"row")
    key_file.write([new_key(), old])
    keys = key_file.read()
    assert unseal(keys, before, b"row") == VALUE
    assert not sealed_by(keys[0], before)
    assert sealed_by(keys[0], seal(keys[0], VALUE, b"row"))
    assert stat.S_IMODE(os.stat(key_file.path).st_mode) == 0o600


def test_no_representation_shows_a_key() -> None:
    key = new_key()
    assert repr(key) == "EncryptionKey()"
