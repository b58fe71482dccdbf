"""The header Content-Digest is read as RFC 9530 writes it."""

from __future__ import annotations

import hashlib
from base64 import b64encode

import pytest

from web.content_digest import Digests, read

BODY = b'{"hello": "world"}'
SHA_256 = b64encode(hashlib.sha256(BODY).digest()).decode()
SHA_512 = b64encode(hashlib.sha512(BODY).digest()).decode()


@pytest.mark.parametrize(
    ("header", "known"),
    [
        (f"sha-256=:{SHA_256}:", ["sha-256"]),
        (f"sha-512=:{SHA_512}:", ["sha-512"]),
        (f" sha-256=:{SHA_256}: ,\tsha-512=:{SHA_512}:", ["sha-256", "sha-512"]),
        (f"md5=:AAAA:, sha-256=:{SHA_256}:;a=1;b", ["sha-256"]),
        (f"sha-256=:{SHA_256.rstrip('=')}:", ["sha-256"]),
        ("unixsum=:AAA=:", []),
    ],
)
def test_known_digests_are_compared_and_others_are_ignored(header: str, known: list[str]) -> None:
    expected = read(header)
    assert list(expected) == known
    right, wrong = Digests(expected), Digests(expected)
    right.update(BODY[:5])
    right.update(BODY[5:])
    wrong.update(BODY + b" ")
    assert right.agree(expected)
    assert wrong.agree(expected) is not bool(known)


@pytest.mark.parametrize(
    "header",
    [
        *("", "sha-256", "sha-256=abc", "sha-256=:AAAA:", "sha-256=:~~~~:", "sha-256=:AAAA", "sha-256=:A:", ",,"),
        *(f"sha-256=:{SHA_256}:,", f"SHA-256=:{SHA_256}:", f"sha-512=:{SHA_256}:"),
        f"sha-256=:{SHA_256}: sha-512=:{SHA_512}:",
    ],
)
def test_a_malformed_header_is_refused(header: str) -> None:
    with pytest.raises(ValueError, match="not"):
        read(header)
