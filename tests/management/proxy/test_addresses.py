"""Which part of a request's path is a model's own path."""

from __future__ import annotations

import pytest

from management.proxy.addresses import Address, address_of


def given(raw_path: str, path: str) -> Address | None:
    return address_of({"type": "http", "path": path, "raw_path": raw_path.encode(), "query_string": b"", "headers": []})


@pytest.mark.parametrize("rest", ["%2F@127.0.0.1:9/x", "%2f.example.org/x", "%2F"])
def test_a_path_whose_first_slash_is_encoded_is_no_models(rest: str) -> None:
    assert given(f"/models/many{rest}", f"/models/many/{rest[3:]}") is None


def test_a_target_begins_with_a_slash() -> None:
    whole, root = given("/models/many/a%2Fb", "/models/many/a/b"), given("/models/many", "/models/many")
    assert (whole and whole.target, root and root.target) == ("/a%2Fb", "/")
