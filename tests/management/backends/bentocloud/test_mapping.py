"""What BentoCloud's words mean, what its deployments are called, where its token may be sent. Nothing is called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from management.backends.bentocloud.instance_types import InstanceType, cheapest, of_told
from management.backends.bentocloud.mapping import MARK, STANDINGS, CloudDeployment, configured, name_of
from management.backends.bentocloud.tokens import tokens
from management.backends.engine import AppliedSpec, EngineSpec
from management.domain.records import Resources
from management.domain.strategy import Strategy
from tests.doubles.bentocloud.server import TOKEN
from tests.doubles.management import revision, settings_of

GIB = 2**30


def test_every_word_of_the_client_is_known() -> None:
    from bentoml._internal.cloud.schemas.modelschemas import DeploymentStatus

    assert {one.value for one in DeploymentStatus} == STANDINGS.keys()


@pytest.mark.parametrize(
    "endpoint", ["http://cloud.example", "ftp://127.0.0.1", "https://a:b@cloud.example", "https://"]
)
def test_the_token_is_not_sent_where_others_read_along(endpoint: str) -> None:
    with pytest.raises(ValueError, match=r"bentocloud\.endpoint"):
        settings_of(backend="bentocloud", cloud_token=TOKEN, cloud_endpoint=endpoint)


def test_without_a_token_there_is_no_such_backend() -> None:
    with pytest.raises(ValueError, match="ATELIER_CLOUD_TOKEN"):
        settings_of(backend="bentocloud")


def test_the_token_is_read_from_its_file_and_shown_nowhere(tmp_path: Path) -> None:
    file = tmp_path / "token"
    for text in ("", "short", "two\nlines of it", None):
        if text is not None:
            file.write_text(text)
        else:
            file.unlink()
        with pytest.raises(ValueError, match=r"token|characters") as raised:
            settings_of(backend="bentocloud", cloud_token_file=file)
        assert "lines" not in str(raised.value)
    with pytest.raises(ValueError, match="ATELIER_CLOUD_TOKEN") as raised:
        settings_of(backend="bentocloud", api_key="a-key-of-the-tests")
    assert "a-key" not in str(raised.value)
    file.write_text(f"{TOKEN}\n")
    settings = settings_of(backend="bentocloud", cloud_token_file=file)
    assert [token.current().get_secret_value() for token in tokens(settings.backends.bentocloud)] == [TOKEN, TOKEN]
    assert TOKEN not in repr(settings)
    with pytest.raises(ValueError, match="elsewhere cannot be read"):
        settings_of(backend="bentocloud", cloud_token_file=file, cloud_endpoint_token_file=tmp_path / "elsewhere")


def test_names_are_dns_labels_and_different_for_different_models() -> None:
    assert name_of("tcm-diagnosis") == "tcm-diagnosis"
    ids = ["a_b", "a-b", "a_b_", "1a", "a--", "-".join("a" * 31), "a" * 63, "_" * 63, "9" * 63]
    names = [name_of(one) for one in ids]
    assert len(set(names)) == len(ids)
    assert all(len(one) <= 63 and one[0].isalpha() and one[-1].isalnum() and "_" not in one for one in names)


def told(**changes: Any) -> CloudDeployment:
    usual = {"name": "echo", "status": {"status": "running"}, "created_at": "now", "config": None, "labels": {}}
    return CloudDeployment({**usual, **changes})


def test_a_deployment_says_whose_it_is_and_which_order_it_holds() -> None:
    order = EngineSpec("d1", "echo", revision(3), 1, 4)
    config = configured(order, "instance", "cpu.1", {"A": "1", MARK: "forged"})
    assert config["access_authorization"] is True
    assert [one["name"] for one in config["envs"]] == ["A", MARK]
    scaling = {"min_replicas": 1, "max_replicas": 4}
    services = {"Other": {"scaling": {"min_replicas": 9}}, "Echo": {"instance_type": "cpu.1", "scaling": scaling}}
    found = told(config={"envs": config["envs"], "services": services})
    assert (found.owner, found.mark) == (("instance", "d1"), AppliedSpec("d1", 3, 1, 4))


def test_every_strategy_is_one_of_the_clients_and_is_passed_on() -> None:
    from bentoml._internal.cloud.schemas.modelschemas import DeploymentStrategy

    assert {strategy.value for strategy in DeploymentStrategy} == set(Strategy)
    for strategy in Strategy:
        order = EngineSpec("d1", "echo", revision(3, strategy=strategy, access_authorization=False), 1, 4)
        config = configured(order, "instance", "cpu.1", {})
        assert (config["strategy"], config["access_authorization"]) == (strategy.value, True)


def test_one_that_is_not_configured_yet_is_known_by_its_labels_and_any_other_is_nobody_s() -> None:
    labels = {"atelier-instance": "instance", "atelier-deployment": "d1"}
    assert (told(labels=labels).owner, told(labels=labels).mark) == (("instance", "d1"), None)
    assert told().owner == ("", "")
    for value in ("", "a.b", "a.b.c", "a.b.1.2"):
        assert told(config={"envs": [{"name": MARK, "value": value}], "services": {}}).owner == ("", ""), value


def test_an_instance_type_that_cannot_be_read_is_not_ordered() -> None:
    assert of_told({"name": "x", "cpu": "many", "memory": "1Gi"}) is None
    assert of_told({"name": "x", "memory": "1Gi"}) is None
    dear = of_told({"name": "dear", "cpu": "1", "memory": "2Gi", "price": "$2"})
    unpriced = of_told({"name": "unpriced", "cpu": "1", "memory": "1Gi", "price": "ask"})
    assert dear is not None
    assert unpriced is not None
    assert cheapest([unpriced, dear], Resources(1000, GIB, 0)) == dear
    assert cheapest([InstanceType("gpu", Resources(4000, 8 * GIB, 1), 0.0), dear], Resources(1000, GIB, 0)) == dear
    assert cheapest([dear], Resources(1001, GIB, 0)) is None
