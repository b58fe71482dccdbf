"""What ``deploy/`` has for Prometheus and Grafana: it names what servers expose, and Prometheus itself takes it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml  # type: ignore[import-untyped]
from prometheus_client.parser import text_string_to_metric_families

from runners.registry import MODELS
from tests.conftest import encoded
from tests.support.calls import deploy, infer, until
from tests.support.management_servers import KEY, Management
from tests.support.servers import ROOT, Server, free_port

DEPLOY = ROOT / "deploy"
CONFIG = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
RULES = [rule for group in yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
ALERTS = {rule["alert"] for rule in RULES}
BOARD = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
COMPOSE = yaml.safe_load((DEPLOY / "compose.monitoring.yaml").read_text())

OWN = {"up", "ALERTS"}
"""Prometheus' own series."""
WORDS = {"sum", "rate", "by", "on", "group_left", "histogram_quantile", "increase", "max", "min", "count", "vector"}
WORDS |= {"and", "or", "absent"}

needs_prometheus = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


def asked() -> list[tuple[str, str]]:
    """Every question of a panel or an alert, after where it stands; Grafana's variables are filled in."""
    panels = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]
    filled = [(title, re.sub(r"\$(service|model)\b", ".*", question)) for title, question in panels]
    filled = [(title, question.replace("$__rate_interval", "1m")) for title, question in filled]
    variables = [
        (variable["name"], variable["definition"].split("(")[1].split(",")[0])
        for variable in BOARD["templating"]["list"]
    ]
    return [*filled, *variables, *((rule["alert"], rule["expr"]) for rule in RULES)]


def named(question: str) -> set[str]:
    """The series that a question names."""
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|\"[^\"]*\"", " ", question)
    bare = re.sub(r"\b(by|on|group_left)\s*\([^)]*\)", " ", bare)
    return set(re.findall(r"[A-Za-z_:][\w:]*", bare)) - WORDS


@pytest.fixture
def busy(api: httpx.Client, management: Management, satellite: Server) -> tuple[Management, Server]:
    """A management with a model that was asked, and a model alone that was."""
    deploy(api)
    infer(api, {"n": 1})
    with satellite.client() as client:
        assert client.post("/classify", files={"image": encoded()}).status_code == 200
    return management, satellite


def exposed(client: httpx.Client, path: str) -> set[str]:
    text = client.get(path).text
    return {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}


def test_every_metric_that_a_panel_or_an_alert_names_is_one_that_a_server_exposes(
    busy: tuple[Management, Server],
) -> None:
    management, satellite = busy
    with management.client() as api, satellite.client() as client:
        known = exposed(api, "/metrics") | exposed(client, "/metrics") | OWN
    missing = {(where, name) for where, question in asked() for name in named(question) - known}
    assert not missing
    assert len({name for _, question in asked() for name in named(question)}) > 20


def test_a_name_that_nobody_exposes_would_be_seen() -> None:
    question = 'sum by (model) (rate(atelier_typo_total{model=~"a"}[5m])) / on (model) group_left count(node_load1)'
    assert named(question) == {"atelier_typo_total", "node_load1"}


def test_every_service_and_the_management_are_scraped_on_the_ports_they_have() -> None:
    ports = {job["job_name"]: job["dns_sd_configs"][0]["port"] for job in CONFIG["scrape_configs"][:-1]}
    assert ports == {row.bento: row.port for row in MODELS} | {"atelier": 8080, "management": 8080}
    keyed = {job["job_name"] for job in CONFIG["scrape_configs"] if "authorization" in job}
    assert keyed == {"atelier", "management"}


def test_the_dashboards_panels_are_told_apart_and_lie_beside_each_other() -> None:
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(ids) == len(set(ids))
    places = [panel["gridPos"] for panel in BOARD["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for place, other in combinations(places, 2):
        apart = (
            place["x"] + place["w"] <= other["x"]
            or other["x"] + other["w"] <= place["x"]
            or place["y"] + place["h"] <= other["y"]
            or other["y"] + other["h"] <= place["y"]
        )
        assert apart, (place, other)
    used = set(re.findall(r"=~\"\$(\w+)\"", json.dumps(BOARD).replace('\\"', '"')))
    assert used == {variable["name"] for variable in BOARD["templating"]["list"]}


def test_grafana_loads_the_dashboard_and_its_source_by_itself() -> None:
    (source,) = yaml.safe_load((DEPLOY / "grafana/datasources/prometheus.yaml").read_text())["datasources"]
    assert {panel["datasource"]["uid"] for panel in PANELS} == {source["uid"]}
    (provider,) = yaml.safe_load((DEPLOY / "grafana/dashboards/atelier.yaml").read_text())["providers"]
    mounts = dict(volume.split(":")[:2] for volume in COMPOSE["services"]["grafana"]["volumes"])
    assert mounts["./grafana-dashboard.json"].startswith(provider["options"]["path"] + "/")
    assert all((DEPLOY / mount).exists() for mount in mounts if mount.startswith("."))
    home = COMPOSE["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == mounts["./grafana-dashboard.json"]
    ports = [port for service in COMPOSE["services"].values() for port in service["ports"]]
    assert all(port.startswith("127.0.0.1:") for port in ports)


# With Prometheus itself


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    """The files as they are shipped, with a key beside them."""
    for name in ("prometheus.yml", "prometheus-local.yml", "alerts.yml"):
        shutil.copy(DEPLOY / name, tmp_path)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "prometheus.key").write_text(f"{KEY}\n")
    return tmp_path


def promtool(*arguments: str | Path) -> str:
    """What it says, once it has nothing against it."""
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_prometheus
def test_prometheus_takes_the_configuration_and_the_rules(shipped: Path) -> None:
    for name in ("prometheus.yml", "prometheus-local.yml"):
        assert f"{len(RULES)} rules found" in promtool("check", "config", shipped / name)


@needs_prometheus
def test_each_alert_is_raised_when_it_should_be_and_is_silent_when_all_is_well() -> None:
    file = ROOT / "tests" / "deploy" / "alerts.test.yml"
    promtool("test", "rules", file)
    assert set(re.findall(r"\w+", file.read_text())) >= ALERTS


@contextmanager
def prometheus(folder: Path, targets: dict[str, str]) -> Iterator[httpx.Client]:
    """Prometheus with the shipped configuration, whose services are these, by job."""
    jobs = [
        {
            **{key: value for key, value in job.items() if key != "dns_sd_configs"},
            "static_configs": [{"targets": [targets[job["job_name"]].removeprefix("http://")]}],
            "scrape_interval": "1s",
            "scrape_timeout": "1s",
        }
        for job in CONFIG["scrape_configs"]
        if job["job_name"] in targets
    ]
    (folder / "prometheus.yml").write_text(yaml.safe_dump({**CONFIG, "scrape_configs": jobs}))
    address = f"127.0.0.1:{free_port()}"
    command = ["prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    process = subprocess.Popen(
        [*command, f"--web.listen-address={address}", "--log.level=error"], stderr=subprocess.DEVNULL
    )
    try:
        with httpx.Client(base_url=f"http://{address}/api/v1", trust_env=False) as client:
            until(lambda: _answers(client))
            yield client
    finally:
        process.terminate()
        process.wait(timeout=30)


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/query", params={"query": "up"}).status_code == 200
    except httpx.TransportError:
        return False


def told(client: httpx.Client, question: str) -> list[dict[str, Any]]:
    answer = client.get("/query", params={"query": question}).json()
    assert answer["status"] == "success", (question, answer)
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found


@pytest.mark.slow
@needs_prometheus
def test_prometheus_scrapes_real_servers_with_its_key_and_each_panel_has_something_to_show(
    shipped: Path, busy: tuple[Management, Server]
) -> None:
    management, satellite = busy
    targets = {"satellite": satellite.url, "atelier": satellite.url, "management": management.url}
    with prometheus(shipped, targets) as client:
        until(lambda: len(told(client, "up == 1")) == 3)
        until(lambda: len(told(client, "count_over_time(up[1m]) >= 3")) == 3)
        empty = {(where, query) for where, query in asked() if where not in ALERTS and not told(client, query)}
        wrong = [told(client, rule["expr"]) for rule in RULES]
    assert not empty
    assert len(wrong) == len(RULES)
