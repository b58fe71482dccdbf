"""How the command line finds its server, and to whom it tells the stored key."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner, Result

from client import AtelierClient
from management.cli import _options
from management.cli.main import main
from management.configuration import settings
from tests.e2e.test_client import OK, scripted
from tests.support.management_servers import Management, managing
from tests.support.servers import ROOT, free_port
from web.server import server_file

PROGRAM = ROOT / "bin" / "atelier"
STORED = "the-stored-key"
ANNOUNCING = """
import sys, time
from pathlib import Path
from web.server import server_file
with server_file.announced(Path(sys.argv[1]), "http://127.0.0.1:1", 1):
    print("there", flush=True)
    time.sleep(60)
"""
LISTENING = """
import socket
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
input()
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Management]:
    with managing(tmp_path_factory.mktemp("bentoml"), ATELIER_API_KEY="") as found:
        yield found


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home with a stored key and no server; nothing else says where one is."""
    for name in ("ATELIER_URL", "ATELIER_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ATELIER_HOME", str(tmp_path))
    (tmp_path / "admin.key").write_text(STORED)
    settings.cache_clear()
    yield tmp_path
    settings.cache_clear()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def in_folder(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The program itself, from any folder, as a user calls it."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("ATELIER_")}
    return subprocess.run(
        [PROGRAM, *arguments],
        cwd=folder,
        env=known | environment,
        capture_output=True,
        encoding="latin-1" if "PYTHONIOENCODING" in environment else "utf-8",  # any bytes are read
        timeout=60,
        check=False,
    )


def announce(home: Path, **changes: Any) -> None:
    own = psutil.Process()
    told = {"url": "http://127.0.0.1:1", "port": 1, "pid": own.pid, "started": own.create_time()} | changes
    (home / server_file.NAME).write_text(json.dumps(told))


@pytest.mark.server
def test_the_program_finds_its_server_from_any_folder_and_has_its_key(server: Management, tmp_path: Path) -> None:
    shutil.copy(ROOT / "client.py", tmp_path / "management.py")  # of this folder nothing is imported
    done = in_folder(tmp_path, "list", "--json", ATELIER_HOME=str(server.home))
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "[]", "")


def test_a_link_to_the_program_is_as_good_and_names_itself(tmp_path: Path) -> None:
    (tmp_path / "atelier").symlink_to(PROGRAM)
    done = subprocess.run(
        [tmp_path / "atelier", "deploy", "--help"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "atelier deploy model.yaml" in done.stdout
    assert "python -m" not in done.stdout


@pytest.mark.server
def test_a_running_server_says_where_it_is_and_a_stopped_one_does_not(tmp_path: Path) -> None:
    with managing(tmp_path / "bentoml", home=tmp_path) as found:
        file = tmp_path / server_file.NAME
        assert file.stat().st_mode & 0o777 == 0o600
        running = server_file.running(tmp_path)
        assert running is not None
        assert (running.url, running.pid) == (found.url, found.pid)
        assert running.listens()
    assert not file.exists()


@pytest.mark.server
def test_a_killed_server_is_not_taken_for_a_running_one(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ANNOUNCING, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert server_file.running(tmp_path) is not None
        process.send_signal(signal.SIGKILL)
    assert server_file.read(tmp_path) is not None
    assert server_file.running(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"url": "x", "port": "y", "pid": 1, "started": 0}'])
def test_a_file_that_says_nothing_is_no_server(tmp_path: Path, text: str) -> None:
    (tmp_path / server_file.NAME).write_text(text)
    assert server_file.running(tmp_path) is None


def test_the_stored_key_is_not_told_to_whatever_listens(home: Path) -> None:
    with scripted(OK) as other, subprocess.Popen(["sleep", "60"]) as stranger:
        there = {"url": other.url, "port": int(other.url.rpartition(":")[2])}
        assert run("list", "--url", other.url).exit_code == 1
        announce(home, **there, pid=stranger.pid, started=psutil.Process(stranger.pid).create_time())
        assert run("list").exit_code == 1, "another process listens there"
        assert run("list", "--url", other.url).exit_code == 1
        announce(home, **there, started=1.0)
        assert run("list", "--url", other.url).exit_code == 1, "the number is another process's by now"
        stranger.kill()
    assert [headers["X-API-Key"] for headers in other.headers] == [None] * 4


def test_the_stored_key_is_told_to_the_server_that_listens(home: Path) -> None:
    with scripted(OK) as own:
        port = int(own.url.rpartition(":")[2])
        announce(home, url=own.url, port=port)
        for arguments in (("list",), ("list", "--url", f"http://localhost:{port}"), ("list", "--url", own.url)):
            run(*arguments)
        run("list", "--url", "http://127.0.0.1:1")
    assert [headers["X-API-Key"] for headers in own.headers] == [STORED] * 3


@pytest.mark.server
def test_a_child_of_the_server_may_be_what_listens(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LISTENING]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        own = psutil.Process()
        assert server_file.RunningServer("", port, own.pid, own.create_time()).listens()
        assert not server_file.RunningServer("", free_port(), own.pid, own.create_time()).listens()
        child.kill()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_proxy_is_not_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with scripted(OK, OK) as running, AtelierClient(running.url.replace("127.0.0.1", host)) as client:
        client.health()
    assert len(running.seen) == 1


def test_a_proxy_is_asked_for_other_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with scripted(OK) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        with AtelierClient("http://atelier.invalid") as client:
            client.health()
    assert proxy.seen[0][1].startswith("http://atelier.invalid")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize("arguments", [("--help",), ("infer", "--help")])
def test_help_survives_every_terminal(tmp_path: Path, encoding: str, arguments: tuple[str, ...]) -> None:
    done = in_folder(tmp_path, *arguments, LC_ALL="C", PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.server
@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_json_and_messages_survive_a_terminal_without_the_letters(
    server: Management, tmp_path: Path, encoding: str
) -> None:
    terminal = {"LC_ALL": "C", "PYTHONIOENCODING": encoding, "ATELIER_HOME": str(server.home)}
    made = in_folder(tmp_path, "keys", "create", "é头痛🙂", "--role", "viewer", **terminal)
    assert made.returncode == 0, made.stderr
    listed = in_folder(tmp_path, "keys", "list", "--json", **terminal)
    assert "é头痛🙂" in [model["name"] for model in json.loads(listed.stdout)]
    refused = in_folder(tmp_path, "status", "absent", "--language", "zh", **terminal)
    assert refused.returncode == 1
    assert "MODEL_NOT_FOUND" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("list", "--url", "127.0.0.1:8090"), "http://127.0.0.1:8090?"),
        (("--url", "localhost", "list"), "http://localhost?"),
        (("list", "--url", "ftp://127.0.0.1"), "begin it with http:// or https://"),
        (("list", "--url", "http://127.0.0.1:99999"), "http"),
        (("scale", "d", "-1"), "-1 is not in the range"),
    ],
)
def test_a_wrong_call_says_what_is_wrong_with_it(home: Path, arguments: tuple[str, ...], said: str) -> None:
    announce(home)
    done = run(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("ATELIER_BACKEND=bentocloud", "ATELIER_CLOUD_TOKEN"),
        ("ATELIER_HOME=/proc/nothing", "ATELIER_HOME cannot be written"),
        (f"ATELIER_HOME={ROOT / 'pyproject.toml'}", "ATELIER_HOME cannot be written"),
        ("ATELIER_DATABASE_URL=postgresql+asyncpg2://u@h/d", "there is no driver"),
        ("ATELIER_DATABASE_URL=postgresql+psycopg2://u:geheim@h/d", "psycopg2"),
        ("ATELIER_DATABASE_URL=mysql://u:geheim@h/d", "neither sqlite nor postgresql"),
        ("ATELIER_DATABASE_URL=nothing", "not a URL of a database"),
        ("ATELIER_DATABASE_URL=postgresql://u:geheim@h:port/d", "a port or an option"),
        ("ATELIER_DATABASE_URL=postgresql://u:geheim@h/d?geheim=1", "no URL of PostgreSQL"),
        (f"ATELIER_DATABASE_URL=sqlite:///{ROOT / 'pyproject.toml'}", "is not an SQLite database"),
        ("ATELIER_MEMORY=16GB", "such as 16Gi"),
        ("ATELIER_MEMORY=128m", "128Mi?"),
    ],
)
@pytest.mark.parametrize("command", [("check",), ("serve", "--port", "1")])
def test_what_keeps_a_server_from_starting_is_one_sentence(
    home: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], setting: str, said: str
) -> None:
    monkeypatch.setenv(*setting.split("=", 1))
    settings.cache_clear()
    before = sorted(home.iterdir())
    done = run(*("serve", "--port", str(free_port())) if command[0] == "serve" else command)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "geheim" not in done.stderr
    assert sorted(home.iterdir()) == before


def test_fit_settings_are_said_to_be_so(home: Path) -> None:
    assert "can start" in run("check").stdout
    assert run("check", "--quiet").output == ""


def test_an_interrupted_restore_is_said_before_a_server_starts(home: Path) -> None:
    from management.backup.swap import UNFINISHED

    (home / UNFINISHED).write_text("")
    done = run("check")
    assert done.exit_code == 2
    assert "restore" in done.stderr


@pytest.mark.server
def test_make_refuses_wrong_arguments_before_it_installs_anything(tmp_path: Path) -> None:
    for name in ("Makefile", "bin", "runners"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    for argument in (
        "PORT=99999",
        "PORT=x",
        "HOST=here",
        "MODEL_PATH=/nowhere",
        "MODEL_PATH=empty",
        "MODEL_PATH=./typo",
        "MODEL_PATH=file",
    ):
        command = ["make", "serve", f"PYTHON={sys.executable}", argument]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 2, argument
        assert argument in done.stderr
        assert not (tmp_path / ".venv").exists()


@pytest.mark.server
@pytest.mark.parametrize(("status", "known"), [(404, False), (401, False), (200, True), (503, True)])
def test_a_name_that_the_hub_does_not_have_is_refused_before_torch_is_installed(status: int, known: bool) -> None:
    with scripted((status, {})) as hub:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING_"))}
        command = [sys.executable, str(ROOT / "bin" / "check_serve.py"), "127.0.0.1", "8080", "me/no-such-model"]
        done = subprocess.run(
            command,
            env=environment | {"HF_ENDPOINT": hub.url, "HF_HOME": "/nowhere", "no_proxy": "*"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert (done.returncode == 0) is known
    assert ("me/no-such-model" in done.stderr) is not known


@pytest.mark.server
def test_a_checkpoint_of_a_hub_that_cannot_be_reached_is_refused_before_torch_is_installed() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING_"))}
    away = {"HF_ENDPOINT": f"http://127.0.0.1:{free_port()}", "HF_HOME": "/nowhere", "no_proxy": "*"}
    command = [sys.executable, str(ROOT / "bin" / "check_serve.py"), "127.0.0.1", "8080", "nowhere"]
    done = subprocess.run(command, env=environment | away, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        "MODEL_PATH=nowhere is no folder here, and the Hugging Face Hub cannot be reached to download it\n"
    )


@pytest.mark.server
def test_a_server_in_front_refuses_a_port_that_is_none_and_a_home_that_cannot_be_written() -> None:
    for arguments, environment in (
        (("--port", "99999"), {}),
        (("--port", str(free_port())), {"ATELIER_HOME": "/proc/nothing"}),
    ):
        command = [sys.executable, "-m", "runners.launch", *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert "Traceback" not in done.stderr


def test_the_listening_check_needs_no_free_descriptor_of_a_port_in_use() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # bound, and not listening
        own = psutil.Process()
        port = bound.getsockname()[1]
        assert not server_file.RunningServer("", port, own.pid, own.create_time()).listens()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a folder away")
def test_a_home_in_the_present_folder_that_another_user_made_is_not_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ATELIER_HOME", raising=False)
    Path(".atelier").mkdir()
    _options.find_home()
    assert "ATELIER_HOME" not in os.environ
    os.chown(".atelier", 65534, 65534)
    _options.find_home()
    assert os.environ.pop("ATELIER_HOME") == str(ROOT / ".atelier")


def test_a_server_file_that_others_may_write_is_not_believed(tmp_path: Path) -> None:
    with server_file.announced(tmp_path, "http://127.0.0.1:1", 1):
        assert server_file.running(tmp_path) is not None
        (tmp_path / server_file.NAME).chmod(0o666)
        assert server_file.running(tmp_path) is None
        (tmp_path / server_file.NAME).chmod(0o600)


@pytest.mark.server
def test_a_second_server_of_a_home_leaves_the_first_ones_file_alone(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ANNOUNCING, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        first.stdout.readline()
        before = server_file.read(tmp_path)
        with server_file.announced(tmp_path, "http://127.0.0.1:1", 1):
            assert server_file.read(tmp_path) == before
        assert server_file.running(tmp_path) == before
        first.kill()
