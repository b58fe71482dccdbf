"""Secrets: set, changed, rotated, moved and damaged; what is shown of them never has a value."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Text, cast, select

from management.api import parsing, schemas
from management.backends.launcher import Launch
from management.control.commands import DeploymentCommands
from management.control.secrets import Secrets, with_versions
from management.domain.capacity import Capacity
from management.domain.config_change import ConfigChange
from management.domain.records import NOTHING, Deletion, Resources
from management.domain.secrets import SecretContent, SecretReference, together
from management.encryption.key_file import EncryptionKey, KeyFile
from management.errors import InvalidModelConfig, InvalidRequest, SecretInUse, SecretNotFound, SecretsUnreadable
from management.forms import bodies
from management.forms.configs import content_of
from management.store import Store, tables
from tests.doubles.management import config, deployment, revision
from tests.doubles.stage import Stage
from tests.management.api.test_schemas import request

CONTENT = SecretContent(
    {"HF_TOKEN": "hf_the_value"}, {"key.json": b"the file"}, {"GOOGLE_APPLICATION_CREDENTIALS": "key.json"}
)
OTHER = SecretContent({"HF_TOKEN": "hf_another_value"})
NAMING_HF = (SecretReference("hf", "0" * 16),)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(f"sqlite:///{tmp_path / 'atelier.db'}")
    opened.migrate()
    yield opened
    opened.close()


@pytest.fixture
def key_file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "secrets.key")


@pytest.fixture
def secrets(store: Store, key_file: KeyFile) -> Secrets:
    return Secrets(store, key_file)


async def test_what_was_set_is_opened_and_not_stored_in_the_clear(secrets: Secrets, store: Store) -> None:
    stored, new = await secrets.put("hf", CONTENT, "admin")
    assert new
    assert (stored.secret.variables, stored.secret.files) == (("HF_TOKEN",), ("key.json",))
    opened = await secrets.contents(["hf"])
    assert opened.variables == CONTENT.variables
    assert opened.files == {"hf/key.json": b"the file"}
    assert opened.paths == {"GOOGLE_APPLICATION_CREDENTIALS": "hf/key.json"}
    with store.reading() as session:
        row = session.connection.execute(tables.secrets.select()).one()
    for hidden in ("hf_the_value", "the file", "dGhlIGZpbGU"):
        assert hidden not in repr(row)


async def test_the_same_content_again_changes_nothing_and_another_makes_a_version(secrets: Secrets) -> None:
    first, _ = await secrets.put("hf", CONTENT, "admin")
    same, new = await secrets.put("hf", CONTENT, "admin")
    assert (same, new) == (first, False)
    changed, _ = await secrets.put("hf", OTHER, "admin")
    assert changed.secret.version != first.secret.version
    assert changed.secret.created_at == first.secret.created_at
    assert (await secrets.contents(["hf"])).variables == OTHER.variables
    assert changed.secret.files == ()


async def test_no_text_of_any_object_or_error_has_a_value(
    secrets: Secrets, key_file: KeyFile, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    stored, _ = await secrets.put("hf", CONTENT, "admin")
    launch = Launch("r", "echo", "tests/echo:1.0.0", NOTHING, secrets=await secrets.contents(["hf"]))
    body = bodies.SecretBody.model_validate({"variables": {"HF_TOKEN": "hf_the_value"}})
    key_file.path.write_bytes(b"")
    with pytest.raises(SecretsUnreadable) as caught:
        await secrets.contents(["hf"])
    for text in (repr(stored), repr(launch), str(launch), repr(body), repr(caught.value.details), caplog.text):
        assert "hf_the_value" not in text
        assert "the file" not in text
    assert content_of(body).variables == {"HF_TOKEN": "hf_the_value"}


@pytest.mark.parametrize(
    "change",
    [
        {"variables": ["LD_PRELOAD"]},
        {"paths": {"HF_TOKEN": "key.json"}},
        {"files": []},
        {"version": "f" * 16},
        {"sealed": b"\x01" + bytes(60)},
        {"name": "moved"},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_a_changed_row_is_not_opened(secrets: Secrets, store: Store, change: dict[str, Any]) -> None:
    await secrets.put("hf", CONTENT, "admin")
    with store.writing() as session:
        session.connection.execute(tables.secrets.update().values(**change))
    with pytest.raises(SecretsUnreadable):
        await secrets.contents([change.get("name", "hf")])
    assert len(await secrets.all()) == 1


async def test_a_secret_whose_key_is_lost_can_be_set_anew(secrets: Secrets, key_file: KeyFile) -> None:
    await secrets.put("hf", CONTENT, "admin")
    key_file.path.unlink()
    with pytest.raises(SecretsUnreadable, match="SECRETS_UNREADABLE"):
        await secrets.put("other", OTHER, "admin")
    assert not key_file.exists(), "a new key would hide that the old one is missing"
    key_file.read_or_make()
    with pytest.raises(SecretsUnreadable) as caught:
        await secrets.contents(["hf"])
    assert caught.value.details == {"secret": "hf", "reason": "the key file does not have the key that encrypted it"}
    await secrets.put("hf", CONTENT, "admin")
    assert (await secrets.contents(["hf"])).variables == CONTENT.variables


@pytest.mark.parametrize("drop_old", [False, True])
async def test_a_rotation_encrypts_everything_with_a_new_key(
    secrets: Secrets, key_file: KeyFile, drop_old: bool
) -> None:
    await secrets.put("hf", CONTENT, "admin")
    await secrets.put("other", OTHER, "admin")
    old = key_file.read()
    before = await secrets.all()
    assert secrets.rotate(drop_old=drop_old) == 2
    keys = key_file.read()
    assert keys[1:] == (() if drop_old else old)
    assert keys[0] not in old
    after = await secrets.all()
    assert [kept.secret.version for kept in after] == [kept.secret.version for kept in before]
    assert (await secrets.contents(["hf", "other"])).variables == OTHER.variables
    assert secrets.rotate() == 2


async def test_two_rotations_at_once_follow_each_other(secrets: Secrets, store: Store, key_file: KeyFile) -> None:
    begun, go_on = threading.Event(), threading.Event()

    class SlowKeyFile(KeyFile):
        """A key file whose first write waits."""

        def write(self, keys: list[EncryptionKey]) -> None:
            if not begun.is_set():
                begun.set()
                assert go_on.wait(10)
            super().write(keys)

    await secrets.put("hf", CONTENT, "admin")
    first = threading.Thread(target=Secrets(store, SlowKeyFile(key_file.path)).rotate)
    second = threading.Thread(target=secrets.rotate, kwargs={"drop_old": True})
    first.start()
    assert begun.wait(10)
    second.start()
    second.join(0.5)
    assert second.is_alive(), "it waits for the first"
    go_on.set()
    for rotation in (first, second):
        rotation.join(10)
    assert (await secrets.contents(["hf"])).variables == CONTENT.variables
    assert len(key_file.read()) == 1


async def test_what_is_in_use_is_not_deleted(secrets: Secrets, store: Store) -> None:
    await secrets.put("hf", CONTENT, "admin")
    last = revision(1, secrets=NAMING_HF)
    with store.writing() as session:
        session.deployments.add(deployment("a", target=revision(2, secrets=NAMING_HF)))
        session.deployments.add(deployment("b", target=revision(2), last_stable=last))
        session.deployments.add(deployment("c", target=last, deletion=Deletion.GRACEFUL))
        session.deployments.add(deployment("d"))
    with pytest.raises(SecretInUse) as caught:
        await secrets.delete("hf", "admin")
    assert caught.value.details == {"secret": "hf", "model_ids": ["a", "b"]}
    await secrets.put("hf", OTHER, "admin")
    with store.reading() as session:
        (event,) = session.events.of("b", 10)
    assert (event.actor, event.action, event.details) == ("admin", "secret_changed", {"secret": "hf"})
    with pytest.raises(SecretNotFound):
        await secrets.delete("absent", "admin")


async def test_an_update_takes_the_versions_of_secrets_that_it_names(secrets: Secrets, store: Store) -> None:
    stored, _ = await secrets.put("hf", CONTENT, "admin")
    commands = DeploymentCommands(Capacity(Resources(10**6, 2**40, 0)))
    with store.writing() as session:
        first = commands.deploy(session, "echo", config(secrets=(SecretReference("hf"),)), "admin")
    assert first.target.config.secrets == (SecretReference("hf", stored.secret.version),)
    await secrets.put("hf", OTHER, "admin")
    with store.writing() as session:
        same = commands.update(session, "echo", ConfigChange(), "admin")
        named = commands.update(session, "echo", ConfigChange(secrets=("hf",)), "admin")
        again = commands.update(session, "echo", ConfigChange(secrets=("hf",)), "admin")
        none = commands.update(session, "echo", ConfigChange(secrets=()), "admin")
    assert [deployed.target.number for deployed in (same, named, again, none)] == [1, 2, 2, 3]
    assert none.target.config.secrets == ()


async def test_absent_secrets_are_named_and_a_backend_may_refuse_all(secrets: Secrets, store: Store) -> None:
    await secrets.put("hf", CONTENT, "admin")
    wanted = config(secrets=(SecretReference("one"), SecretReference("hf"), SecretReference("two")))
    with store.reading() as session, pytest.raises(InvalidModelConfig) as caught:
        with_versions(session, wanted)
    assert [problem.values for problem in caught.value.problems] == [{"found": "one"}, {"found": "two"}]
    commands = DeploymentCommands(Capacity(Resources(10**6, 2**40, 0)), gives_secrets=False)
    with store.writing() as session, pytest.raises(InvalidModelConfig) as caught:
        commands.deploy(session, "echo", config(secrets=(SecretReference("hf"),)), "admin")
    assert [problem.kind for problem in caught.value.problems] == ["secrets_unsupported"]


def test_of_two_secrets_with_the_same_variable_the_later_one_counts() -> None:
    first = SecretContent({"A": "1", "B": "1"}, {"f": b"1"}, {"C": "f"})
    second = SecretContent({"A": "2", "C": "2"}, {"f": b"2"}, {"B": "f"})
    both = together([("one", first), ("two", second)])
    assert both.variables == {"A": "2", "C": "2"}
    assert both.paths == {"B": "two/f"}
    assert both.files == {"one/f": b"1", "two/f": b"2"}


async def test_a_revision_with_secrets_is_stored_and_one_without_is_as_before(store: Store) -> None:
    with store.writing() as session:
        session.deployments.add(deployment("with", target=revision(1, secrets=NAMING_HF)))
        session.deployments.add(deployment("without"))
    with store.reading() as session:
        found = {deployment.model_id: deployment.target.config.secrets for deployment in session.deployments.all()}
        texts = session.connection.scalars(select(cast(tables.deployments.c.wanted, Text))).all()
    assert found == {"with": NAMING_HF, "without": ()}
    assert ["secrets" in json.loads(text)["config"] for text in texts] == [True, False]


async def test_a_replica_is_launched_with_the_present_values_and_refused_without_them(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    secrets = Secrets(stage.store, KeyFile(stage.settings.storage.secrets_key))
    await secrets.put("hf", CONTENT, "admin")
    await stage.lead()
    stage.wish(target=revision(1, secrets=NAMING_HF))
    await stage.until(lambda: stage.rests(1, 1))
    (launch,) = stage.launcher.launches.values()
    assert launch.secrets.variables == CONTENT.variables
    stage.settings.storage.secrets_key.unlink()
    stage.wish(replicas=2)
    await stage.until(lambda: stage.told().reason != "")
    assert stage.told().reason == "secret 'hf' cannot be read: the key file is missing"
    assert len(stage.launcher.launches) == 1


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({}, "", "secret_empty"),
    ({"variables": {}}, "", "secret_empty"),
    ({"variables": {"LD_PRELOAD": "x"}}, "variables.LD_PRELOAD", "secret_variable"),
    ({"variables": {"lower": "x"}}, "variables.lower", "secret_variable"),
    ({"variables": {"ATELIER_HOME": "x"}}, "variables.ATELIER_HOME", "secret_variable"),
    ({"variables": {"HF_TOKEN": "a\0b"}}, "variables.HF_TOKEN", "secret_value"),
    ({"variables": {"HF_TOKEN": "x" * 32769}}, "variables.HF_TOKEN", "secret_value"),
    ({"variables": {"HF_TOKEN": 1}}, "variables.HF_TOKEN", "type"),
    ({"files": {"../up": ""}}, "files.../up", "secret_file"),
    ({"files": {"/etc/passwd": ""}}, "files./etc/passwd", "secret_file"),
    ({"files": {"a//b": ""}}, "files.a//b", "secret_file"),
    ({"files": {"a/..": ""}}, "files.a/..", "secret_file"),
    ({"files": {"a": "not base64!"}}, "files.a", "base64"),
    ({"files": {"a": "", "a/b": ""}}, "", "secret_collision"),
    ({"files": {"a": ""}, "paths": {"GOOGLE_APPLICATION_CREDENTIALS": "b"}}, "", "secret_path"),
    ({"files": {"a": ""}, "paths": {"AWS_CONFIG_FILE": "a"}}, "paths.AWS_CONFIG_FILE", "secret_variable"),
    ({"files": {"a": ""}, "variables": {"HF_TOKEN": "x"}, "paths": {"HF_TOKEN": "a"}}, "", "secret_twice"),
    ({"files": {f"f{n}": "A" * 60000 for n in range(12)}}, "", "secret_size"),
    ({"unknown": 1, "variables": {"HF_TOKEN": "x"}}, "unknown", "unknown"),
]


@pytest.mark.parametrize(("body", "field", "kind"), WRONG, ids=lambda value: value if isinstance(value, str) else "")
async def test_a_wrong_secret_is_refused_without_its_values(body: dict[str, Any], field: str, kind: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await parsing.body(request(body), bodies.SecretBody)
    assert [(problem.field, problem.kind) for problem in caught.value.problems] == [(field, kind)]
    assert "not base64!" not in json.dumps([dict(problem.values) for problem in caught.value.problems])


@pytest.mark.parametrize(
    "names", [["Upper"], ["-a"], ["a-"], ["a" * 64], ["a", "a"], ["a.b"], [f"s{n}" for n in range(17)]]
)
async def test_a_list_of_names_is_refused_where_one_is_none_or_comes_twice(names: list[str]) -> None:
    with pytest.raises(InvalidModelConfig):
        await parsing.body(request({"config": {"secrets": names}}), schemas.UpdateBody)


async def test_a_description_is_bound_to_its_secret_and_makes_no_version(secrets: Secrets, store: Store) -> None:
    first, _ = await secrets.put("hf", CONTENT, "admin")
    told = await secrets.change("hf", CONTENT, "admin", "tokens")
    assert (told.secret.description, told.secret.version) == ("tokens", first.secret.version)
    kept, _ = await secrets.put("hf", OTHER, "admin")
    assert (kept.secret.description, kept.secret.version != first.secret.version) == ("tokens", True)
    assert secrets.rotate() == 1
    assert (await secrets.contents(["hf"])).variables == OTHER.variables
    with store.writing() as session:
        session.connection.execute(tables.secrets.update().values(description="forged"))
    with pytest.raises(SecretsUnreadable):
        await secrets.contents(["hf"])
