"""The commands about secrets: values come from anywhere but the arguments of a command, and are shown nowhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from client import AtelierClient
from management.cli.main import main
from management.configuration import settings
from management.control.secrets import opened
from management.domain.secrets import SecretContent
from management.encryption.key_file import KeyFile
from management.settings import StorageSettings
from management.store import Store
from tests.support.management_servers import KEY, Management, managing

pytestmark = pytest.mark.server

VALUE = "hf_the_value_of_the_secret"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Management]:
    with managing(tmp_path_factory.mktemp("bentoml")) as running:
        yield running


@pytest.fixture(autouse=True)
def at_home(server: Management, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The shell of somebody who has the key, and this home."""
    monkeypatch.setenv("ATELIER_API_KEY", KEY)
    monkeypatch.setenv("ATELIER_URL", server.url)
    monkeypatch.setenv("ATELIER_HOME", str(server.home))
    monkeypatch.setenv("LC_ALL", "en_US.UTF-8")
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    settings.cache_clear()
    yield
    settings.cache_clear()


def run(*arguments: str, text: str | None = None, code: int = 0) -> Result:
    done = CliRunner().invoke(main, arguments, input=text)
    assert done.exit_code == code, done.output
    assert VALUE not in done.output
    return done


def stored(server: Management, name: str = "hf") -> SecretContent:
    store = Store(f"sqlite:///{server.home / 'atelier.db'}")
    with store.reading() as session:
        secret = session.secrets.get(name)
    store.close()
    assert secret is not None
    return opened(secret, KeyFile(server.home / "secrets.key").read())


def test_a_value_is_read_from_stdin_and_the_secret_is_listed_without_it(server: Management) -> None:
    assert "Secret hf is set" in run("secrets", "set", "hf", "HF_TOKEN", text=f"{VALUE}\n").output
    assert stored(server).variables == {"HF_TOKEN": VALUE}
    listed = run("secrets").output
    assert "hf" in listed
    assert "HF_TOKEN" in listed
    (entry,) = json.loads(run("secrets", "--json").stdout)
    assert (entry["name"], entry["variables"], entry["model_ids"]) == ("hf", ["HF_TOKEN"], [])


def test_a_value_comes_from_the_environment_or_a_file_of_lines(
    server: Management, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_TOKEN", VALUE)
    run("secrets", "set", "hf", "HF_TOKEN", "APP_MODE=plain", "--from-env")
    assert stored(server).variables == {"HF_TOKEN": VALUE, "APP_MODE": "plain"}
    (tmp_path / ".env").write_text(f"# a comment\n\nexport HF_TOKEN='{VALUE}'\nAPP_MODE = a=b \n")
    run("secrets", "set", "hf", "--from-file", str(tmp_path / ".env"))
    assert stored(server).variables == {"HF_TOKEN": VALUE, "APP_MODE": "a=b"}
    assert "line 1 of -" in run("secrets", "set", "hf", "--from-file", "-", text=f"{VALUE}\n", code=2).output
    assert "single KEY" in run("secrets", "set", "hf", "HF_TOKEN", "OPENAI_API_KEY", text=VALUE, code=2).output
    assert "not in the environment" in run("secrets", "set", "hf", "ABSENT", "--from-env", code=2).output


def test_files_are_given_under_their_names_and_a_variable_has_the_path(server: Management, tmp_path: Path) -> None:
    (tmp_path / "key.json").write_bytes(b"\x00binary")
    arguments = ("--file", str(tmp_path / "key.json"), "--file", f"certs/ca.pem={tmp_path / 'key.json'}")
    run("secrets", "set", "gcp", *arguments, "--path", "GOOGLE_APPLICATION_CREDENTIALS=key.json")
    assert stored(server, "gcp") == SecretContent(
        {},
        {"key.json": b"\x00binary", "certs/ca.pem": b"\x00binary"},
        {"GOOGLE_APPLICATION_CREDENTIALS": "key.json"},
    )
    assert "cannot be read" in run("secrets", "set", "gcp", "--file", str(tmp_path / "absent"), code=2).output


def test_what_the_server_refuses_is_told_field_by_field(server: Management) -> None:
    refused = run("secrets", "set", "hf", f"LD_PRELOAD={VALUE}", code=1).output
    assert "variables.LD_PRELOAD: is not allowed in a secret" in refused
    assert "INVALID_REQUEST" in run("secrets", "set", "No_Name", "HF_TOKEN=x", code=1).output


def test_a_deleted_secret_is_gone_and_another_one_is_not_found(server: Management) -> None:
    run("secrets", "set", "old", "HF_TOKEN", text=VALUE)
    assert "Secret old is deleted" in run("secrets", "delete", "old").output
    assert "secrets shows every secret" in run("secrets", "delete", "old", code=1).output


def test_a_rotation_beside_a_running_server_keeps_every_secret_readable(server: Management) -> None:
    run("secrets", "set", "hf", "HF_TOKEN", text=VALUE)
    before = KeyFile(server.home / "secrets.key").read()
    told = json.loads(run("secrets", "rotate", "--json").stdout)
    assert told["secrets"] >= 1
    after = KeyFile(server.home / "secrets.key").read()
    assert after[1:] == before
    run("secrets", "set", "new", "HF_TOKEN", text=VALUE)
    run("secrets", "rotate", "--drop-old")
    assert len(KeyFile(server.home / "secrets.key").read()) == 1
    assert stored(server).variables == stored(server, "new").variables == {"HF_TOKEN": VALUE}


def test_back_up_and_restore_say_that_the_key_file_is_in_no_archive(
    server: Management, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("secrets", "set", "hf", "HF_TOKEN", text=VALUE)
    key = server.home / "secrets.key"
    file = str(tmp_path / "archive.tar.gz")
    assert f"need {key}" in run("backup", file).stderr
    monkeypatch.setenv("ATELIER_HOME", str(tmp_path / "new"))
    settings.cache_clear()
    restored = run("restore", file)
    assert str(tmp_path / "new" / "secrets.key") in restored.stderr
    assert not StorageSettings(home=tmp_path / "new").secrets_key.exists()


def test_the_client_sets_shows_and_deletes_secrets(server: Management) -> None:
    with AtelierClient(server.url, api_key=KEY) as client:
        made: dict[str, Any] = client.set_secret(
            "mine", {"HF_TOKEN": VALUE}, files={"a": b"b"}, paths={"APP_FILE": "a"}
        )
        assert client.last_status == 201
        assert client.secret("mine") == {name: value for name, value in made.items() if name != "message"}
        assert "mine" in [secret["name"] for secret in client.secrets()]
        assert VALUE not in json.dumps(made)
        client.delete_secret("mine")
        with pytest.raises(ValueError, match="name is required"):
            client.secret("..")


@pytest.mark.parametrize(
    ("flags", "secrets"), [(["--secret", "a", "--secret", "b"], ["a", "b"]), (["--no-secrets"], []), ([], None)]
)
def test_an_update_names_secrets_or_none(flags: list[str], secrets: list[str] | None) -> None:
    from management.cli.config import config

    given = {"secrets": tuple(flags[1::2]), "no_secrets": "--no-secrets" in flags}
    assert config(None, {"version": "2.0.0", **given}).get("secrets") == secrets
    run("update", "x", "--secret", "a", "--no-secrets", code=2)
