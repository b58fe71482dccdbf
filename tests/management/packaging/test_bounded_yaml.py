"""YAML that is small and costs much is refused before it is constructed."""

from __future__ import annotations

import pytest
import yaml  # type: ignore[import-untyped]

from management.packaging import bounded_yaml


def merges(levels: int) -> str:
    """A document each of whose mappings merges nine times the one before it."""
    later = (f"a{n}: &a{n} {{<<: [{','.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, levels))
    return "\n".join(["a0: &a0 {x: 1}", *later])


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "text",
    [
        pytest.param(merges(12), id="merges of merges"),
        pytest.param("a: 1" + ":1" * 2_000_000, id="a number with many parts"),
        pytest.param("a: !!int '1" + ":1" * 2_000_000 + "'", id="a text that is said to be such a number"),
        pytest.param("[" + "[]," * 1_000_000 + "]", id="many lists"),
    ],
)
def test_a_document_that_costs_much_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"too many values|too long"):
        bounded_yaml.load(text)


def test_long_texts_and_a_quoted_merge_key_are_read() -> None:
    value = {"<<": "1" * 5000, "plain": "1 word " * 500, "n": -1.5, "multi": "2\n" * 900}
    assert bounded_yaml.load(yaml.safe_dump(value)) == value
