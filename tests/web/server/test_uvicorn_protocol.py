"""What is put before uvicorn's HTTP protocol class. Where uvicorn has moved it, these tests fail."""

from __future__ import annotations

import logging
import pickle
from typing import Any

import pytest

from management.server import HTTPProtocol
from web.server import uvicorn_protocol
from web.server.uvicorn_protocol import Connection, configure_connections


def test_the_last_configuration_counts_and_only_once(auto: Any) -> None:
    configure_connections(60)
    configure_connections(0.4)
    assert auto.AutoHTTPProtocol.__mro__.count(Connection) == 1
    assert auto.AutoHTTPProtocol.header_seconds == 0.4


def test_a_uvicorn_that_keeps_its_protocol_elsewhere_is_named_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def nothing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(uvicorn_protocol, "import_module", nothing)
    with caplog.at_level(logging.WARNING):
        configure_connections(60)
    assert "connections have no limits" in caplog.text


def test_the_workers_of_a_server_can_be_sent_its_protocol() -> None:
    assert pickle.loads(pickle.dumps(HTTPProtocol)) is HTTPProtocol
