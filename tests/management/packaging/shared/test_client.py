"""Objects of a shared folder and of a bucket behave the same."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from management.errors import SharedStoreUnavailable
from management.packaging.shared import client as module
from management.packaging.shared.client import ObstoreClient
from management.packaging.shared.credentials import of_files
from management.packaging.shared.objects import PIECE_BYTES
from tests.support.calls import until
from tests.support.object_stores import Bucket


def test_an_object_is_created_once_however_many_try_at_the_same_moment(objects: ObstoreClient) -> None:
    together = threading.Barrier(8)
    created: list[int] = []

    def create(number: int) -> None:
        together.wait()
        if objects.create("bentos/hello/1.json", str(number).encode()):
            created.append(number)

    threads = [threading.Thread(target=create, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(created) == 1
    found = objects.read("bentos/hello/1.json")
    assert found is not None
    assert found.content == str(created[0]).encode()


def test_an_object_is_read_again_only_when_it_has_changed(objects: ObstoreClient) -> None:
    assert objects.read("a/b") is None
    objects.write("a/b", b"first")
    first = objects.read("a/b")
    assert objects.read("a/b", first) is first
    objects.write("a/b", b"second")
    second = objects.read("a/b", first)
    assert second is not None
    assert second.content == b"second"
    objects.remove("a/b")
    objects.remove("a/b")
    assert objects.read("a/b", second) is None


def test_a_large_object_appears_whole_and_not_before_its_end(objects: ObstoreClient) -> None:
    content = bytes(range(256)) * (3 * PIECE_BYTES // 256) + b"rest"
    seen: list[int] = []

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(content), 1_000_000):
            seen.append(len(objects.below("archives")))
            yield content[start : start + 1_000_000]

    assert objects.send("archives/large", pieces()) == len(content)
    assert set(seen) == {0}
    assert [(each.key, each.size) for each in objects.below("archives")] == [("archives/large", len(content))]
    assert b"".join(objects.pieces("archives/large", len(content))) == content


def test_a_large_object_whose_source_fails_does_not_appear(objects: ObstoreClient) -> None:
    def pieces() -> Iterator[bytes]:
        yield bytes(2 * PIECE_BYTES)
        raise KeyError("the source")

    with pytest.raises(KeyError):
        objects.send("archives/large", pieces())
    assert objects.below("archives") == []


def test_a_shorter_object_than_was_said_is_not_taken_for_the_whole(objects: ObstoreClient) -> None:
    objects.send("archives/short", iter([b"short"]))
    with pytest.raises(FileNotFoundError):
        list(objects.pieces("archives/short", 6))


def test_a_folder_that_is_not_mounted_is_away_and_not_empty(tmp_path: Path) -> None:
    objects = ObstoreClient(f"file://{tmp_path}/nowhere")
    for call in (lambda: objects.below("bentos"), lambda: objects.read("a"), lambda: objects.create("a", b"")):
        with pytest.raises(SharedStoreUnavailable):
            call()
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.server
def test_a_frozen_store_fails_within_its_deadline_and_then_at_once(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "CALL_SECONDS", 0.5)
    monkeypatch.setattr(module, "PAUSE_SECONDS", 3600.0)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "atelier-tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-of-the-tests")
    objects = ObstoreClient(bucket.url("frozen"))
    objects.write("a", b"1")
    asked: list[object] = []
    submit = objects._pool.submit

    def counted(*given: Any) -> Any:
        asked.append(given)
        return submit(*given)

    monkeypatch.setattr(objects._pool, "submit", counted)
    with bucket.frozen():
        for _ in range(20):
            with pytest.raises(SharedStoreUnavailable):
                objects.read("a")
        assert len(asked) == 1
        objects._away_until = 1.0  # the pause is over
        waiting = [threading.Thread(target=pytest.raises, args=[SharedStoreUnavailable, objects.read, "a"])]
        waiting[0].start()
        until(lambda: len(asked) == 2)
        for _ in range(20):
            with pytest.raises(SharedStoreUnavailable):
                objects.read("a")
        waiting[0].join()
        assert len(asked) == 2
    assert len([record for record in caplog.records if "does not answer" in record.message]) == 1


@pytest.mark.server
def test_wrong_credentials_are_named_and_not_shown(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "atelier-tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret-of-the-tests")
    caplog.set_level("DEBUG")
    with pytest.raises(SharedStoreUnavailable):
        ObstoreClient(bucket.url("refused")).read("a")
    assert "it refuses the credentials" in caplog.text
    assert "not-the-secret" not in caplog.text


def test_credentials_come_from_a_file_unless_a_variable_names_them(tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    file.write_text(
        "[default]\naws_access_key_id = one\n[other]\naws_access_key_id=two\naws_secret_access_key=three%\n"
    )
    named = {"AWS_SHARED_CREDENTIALS_FILE": str(file)}
    assert of_files(named) == {"aws_access_key_id": "one"}
    assert of_files({**named, "AWS_PROFILE": "other"}) == {
        "aws_access_key_id": "two",
        "aws_secret_access_key": "three%",
    }
    assert of_files({**named, "AWS_ACCESS_KEY_ID": "given"}) == {}
    assert of_files({"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none")}) == {}
