"""BentoML's own program, unchanged, against a real server; what it does is seen by the documented API, and reverse."""

from __future__ import annotations

import filecmp
from pathlib import Path

import httpx
import pytest

from tests.support.bentos.program import Program, logged_in
from tests.support.calls import deploy, status, until
from tests.support.management_servers import KEY, Management

pytestmark = pytest.mark.server

BAD = """
import bentoml

@bentoml.service
class Bad:
    def __init__(self) -> None:
        raise RuntimeError("no weights here")

    @bentoml.api
    def greet(self, name: str) -> str:
        return name
"""


def same(one: Path, other: Path) -> bool:
    """Return whether two folders have the same files with the same content."""
    found = filecmp.dircmp(one, other)
    names = found.left_only + found.right_only + found.funny_files
    _, different, unread = filecmp.cmpfiles(one, other, found.common_files, shallow=False)
    return not names and not different and not unread and all(same(one / sub, other / sub) for sub in found.common_dirs)


@pytest.fixture(scope="module")
def pushed(program: Program) -> Program:
    """The user, who has pushed ``echo`` and ``taught``."""
    program.run("push", "echo:1.0.0")
    program.run("push", "taught:1.0.0")
    return program


def test_a_login_names_the_user_and_the_organization(server: Management, tmp_path: Path) -> None:
    told = Program(tmp_path, server.url).run("cloud", "login").text
    assert "Logged in as ATELIER_API_KEY" in told
    assert "at atelier organization" in told


def test_a_login_with_a_prefix_works(server: Management, tmp_path: Path) -> None:
    program = logged_in(tmp_path, server, prefix="/bentoml")
    assert program.json("deployment", "list") == []


def test_a_wrong_token_is_refused(server: Management, tmp_path: Path) -> None:
    refused = Program(tmp_path, server.url, "atl_wrong-token").run("cloud", "login", check=False)
    assert (refused.status, "HTTP 401" in refused.text) == (1, True)


def test_what_is_pushed_is_pulled_as_it_was(pushed: Program, server: Management, tmp_path: Path) -> None:
    other = logged_in(tmp_path, server)
    other.run("pull", "taught:1.0.0", "--with-models")
    for place in ("bentos/taught/1.0.0", "models/lesson/1"):
        assert same(pushed.home / place, other.home / place), place


def test_a_second_push_is_skipped(pushed: Program) -> None:
    assert "already exists in remote Bento store" in pushed.run("push", "taught:1.0.0").text


def test_the_documented_list_of_models_keeps_its_meaning(pushed: Program, api: httpx.Client) -> None:
    assert api.get("/models").json() == []
    assert {bento["tag"] for bento in api.get("/bentos").json()} >= {"taught:1.0.0", "echo:1.0.0"}


def test_a_deployment_has_the_same_life_at_both_fronts(pushed: Program, api: httpx.Client) -> None:
    pushed.run("deploy", "taught:1.0.0", "-n", "lesson", "--env", "LESSON=1", "--no-wait")
    until(lambda: pushed.status("lesson") == "running")
    assert status(api, "lesson")["status"] == "running"
    told = pushed.deployment("lesson")
    assert told["config"]["envs"] == [{"name": "LESSON", "value": "1"}]
    assert (told["bento"], told["created_by"].split()[0]) == ("taught:1.0.0", "ATELIER_API_KEY")
    answer = httpx.post(f"{told['endpoint_urls'][0]}/recite", json={}, headers={"Authorization": f"Bearer {KEY}"})
    assert (answer.status_code, answer.text) == (200, "Look twice.")

    pushed.run("deployment", "update", "lesson", "--scaling-min", "0", "--scaling-max", "3")
    assert status(api, "lesson")["config"]["scaling_config"]["max_replicas"] == 3
    assert pushed.deployment("lesson")["config"]["envs"] == [{"name": "LESSON", "value": "1"}]

    pushed.run("deployment", "terminate", "lesson", "--wait")
    assert (pushed.status("lesson"), status(api, "lesson")["status"]) == ("terminated", "stopped")
    pushed.run("deployment", "update", "lesson", "--scaling-min", "1")
    until(lambda: status(api, "lesson")["status"] == "running")

    pushed.run("deployment", "delete", "lesson")
    until(lambda: api.get("/models/lesson/status").status_code == 404)
    gone = pushed.run("deployment", "get", "lesson", check=False)
    assert (gone.status, "not found" in gone.text) == (1, True)


def test_what_the_documented_api_deploys_is_managed_by_the_program(pushed: Program, api: httpx.Client) -> None:
    deploy(api).raise_for_status()
    (told,) = pushed.json("deployment", "list")
    assert (told["name"], told["bento"], told["status"]["status"]) == ("echo", "echo:1.0.0", "running")
    pushed.run("deployment", "terminate", "echo")
    assert status(api)["replicas"]["desired"] == 0


def test_a_deployment_without_a_name_gets_one(pushed: Program, api: httpx.Client) -> None:
    pushed.run("deploy", "echo:1.0.0", "--no-wait")
    (model,) = api.get("/models").json()
    assert model["model_id"].startswith("echo-")


def test_a_bento_that_fails_shows_its_traceback_and_fails_the_command(
    program: Program, api: httpx.Client, tmp_path: Path
) -> None:
    (tmp_path / "service.py").write_text(BAD)
    failed = program.run("deploy", ".", "-n", "bad", cwd=tmp_path, check=False)
    assert failed.status == 1
    assert 'Deployment "bad" is not ready. Current status: "failed"' in failed.text
    assert "RuntimeError: no weights here" in failed.text
    assert status(api, "bad")["status"] == "failed"


def test_secrets_are_set_and_reach_the_replica(pushed: Program, api: httpx.Client) -> None:
    pushed.run("secret", "create", "hf", "HF_TOKEN=hf_abc")
    pushed.run("secret", "apply", "hf", "HF_TOKEN=hf_def", "OTHER_TOKEN=x")
    (told,) = pushed.json("secret", "list")
    assert [item["key"] for item in told["content"]["items"]] == ["HF_TOKEN", "OTHER_TOKEN"]
    assert "hf_def" not in str(told)
    pushed.run("deploy", "echo:1.0.0", "-n", "echo", "--secret", "hf", "--no-wait")
    assert status(api)["config"]["secrets"] == ["hf"]
    in_use = pushed.run("secret", "delete", "hf", check=False)
    assert (in_use.status, "SECRET_IN_USE" in in_use.text) == (1, True)
    pushed.run("deployment", "delete", "echo")
    until(lambda: api.get("/models/echo/status").status_code == 404)
    pushed.run("secret", "delete", "hf")
    assert pushed.json("secret", "list") == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("secret", "create", "A_b", "X=1"), "name must match"),
        (("secret", "create", "p", "PATH=1"), "PATH is not allowed"),
        (("secret", "create", "s", "X=1", "--stage", "build"), "stage must be runtime"),
        (("secret", "create", "f", "k=v", "-t", "file", "-p", "/etc"), "must be a folder below $BENTOML_HOME"),
        (("deploy", "echo:1.0.0", "-n", "x", "--instance-type", "cpu.9"), "instance_type must be one of: cpu.small"),
        (("deploy", "echo:1.0.0", "-n", "x", "--env", "LD_PRELOAD=1"), "LD_PRELOAD"),
        (("deploy", "echo:1.0.0", "-n", "x", "--secret", "none"), "This secret does not exist"),
        (("deploy", "echo:1.0.0", "-n", "X_!"), "model_id must match"),
        (("deployment", "get", "none"), "MODEL_NOT_FOUND"),
        (("api-token", "create", "t", "--scope", "all"), "scopes must be one of: api"),
        (("pull", "none:1"), "not found on remote Bento store"),
    ],
)
def test_what_cannot_be_is_refused_in_words_that_the_program_prints(
    pushed: Program, arguments: tuple[str, ...], words: str
) -> None:
    refused = pushed.run(*arguments, check=False)
    assert refused.status == 1
    assert words in refused.text


def test_tokens_do_what_their_scopes_say(
    pushed: Program, server: Management, api: httpx.Client, tmp_path: Path
) -> None:
    scopes = {"reads": "read_cluster", "calls": "api", "writes": "write_cluster"}
    made = {name: pushed.json("api-token", "create", name, "--scope", scope) for name, scope in scopes.items()}
    users = {name: logged_in(tmp_path / name, server, told["token"]) for name, told in made.items()}
    deploy(api).raise_for_status()
    assert all(user.status("echo") == "running" for user in users.values())
    assert [user.run("deployment", "terminate", "echo", check=False).status for user in users.values()] == [1, 1, 0]
    assert "403" in users["reads"].run("deployment", "delete", "echo", check=False).text
    for told in made.values():
        pushed.run("api-token", "delete", told["uid"])
    assert "401" in users["writes"].run("deployment", "list", check=False).text


def test_values_of_variables_are_shown_to_admins_alone(
    pushed: Program, server: Management, api: httpx.Client, tmp_path: Path
) -> None:
    token = pushed.json("api-token", "create", "viewer", "--scope", "read_cluster")
    deploy(api).raise_for_status()
    viewer = logged_in(tmp_path, server, token["token"])
    assert pushed.deployment("echo")["config"]["envs"] == [{"name": "ECHO_VERSION", "value": "1.0.0"}]
    assert viewer.deployment("echo")["config"]["envs"] == [{"name": "ECHO_VERSION", "value": "******"}]
    pushed.run("api-token", "delete", token["uid"])


CALLS = r"""
import bentoml
made = bentoml.deployment.create(bento="taught:1.0.0", name="scripted", scaling_min=1, scaling_max=2)
assert made.wait_until_ready(timeout=60, check_interval=1) == 0
with bentoml.deployment.get("scripted").get_client(token=%r) as client:
    print("\nrecited", client.recite())
bentoml.deployment.update(name="scripted", scaling_max=4)
print("\nmost", bentoml.deployment.get("scripted").get_config().services["Taught"].scaling.max_replicas)
print("\nlisted", [each.name for each in bentoml.deployment.list()])
bentoml.deployment.terminate("scripted", wait=True)
print("\nis", bentoml.deployment.get("scripted").get_status().status)
bentoml.deployment.delete("scripted")
"""


def test_the_python_api_does_what_the_program_does(pushed: Program, api: httpx.Client) -> None:
    printed = pushed.script(CALLS % KEY).splitlines()
    expected = ["recited Look twice.", "most 4", "listed ['scripted']", "is terminated"]
    assert [line for line in printed if line.startswith(("recited", "most", "listed", "is "))] == expected
    until(lambda: api.get("/models").json() == [])
