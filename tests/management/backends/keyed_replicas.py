"""What every replica behind a port does, on each engine: it answers who has its key, and has its secrets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import pytest

from management.backends.launcher import Headers, Observation, Phase
from management.backends.replica.host import KEY_HEADER
from management.domain.secrets import SecretContent
from management.gateway.replica_client import ReplicaClient
from management.gateway.replica_errors import ReplicaRefused
from tests.doubles.launchers import Bench, until
from tests.doubles.management import replica

SECRETS: Final = SecretContent(
    {"HF_TOKEN": "hf_the_value"}, {"gcp/key.json": b"q7w8e9r0-the-key"}, {"APP_KEY": "gcp/key.json"}
)
HIDDEN: Final = ("hf_the_value", "q7w8e9r0-the-key", "cTd3OGU5cjAt")
"""What nothing may show of them: the values, and the beginning of the file's in base64."""


async def output(address: str, headers: dict[str, str], input_data: dict[str, Any]) -> Any:
    """Return what the echo of a replica makes of the input. Raises ReplicaRefused."""
    client = ReplicaClient(address, headers.copy)
    try:
        (result,) = await client.infer([{"input_data": input_data, "parameters": {}}], "id")
    finally:
        await client.close()
    return result["output_data"]


async def answers_those_with_its_key_alone(look: Observation, headers: Headers, replica_id: str) -> None:
    """A replica refuses calls without its key, and with another one."""
    for other in ({}, {KEY_HEADER: "0" * 64}):
        with pytest.raises(ReplicaRefused) as refused:
            await output(look.address, other, {"a": 1})
        assert refused.value.code == "FORBIDDEN"
    given = dict(headers(replica(id=replica_id)))
    assert (await output(look.address, given, {"a": 1}))["echo"] == {"a": 1}


async def begun_with_secrets(bench: Bench, headers: Headers) -> str:
    """Start a replica with secrets, look whether it has them, and return its id."""
    given = replace(bench.launch, secrets=SECRETS)
    await bench.launcher.start(given)
    look = await until(bench.launcher, given.replica_id, Phase.READY)
    asked = {"environment": ["HF_TOKEN", "APP_KEY"]}
    seen = await output(look.address, dict(headers(replica(id=given.replica_id))), asked)
    assert seen["HF_TOKEN"]["value"] == "hf_the_value"
    assert (seen["APP_KEY"]["content"], seen["APP_KEY"]["mode"]) == ("q7w8e9r0-the-key", "0o400")
    return given.replica_id
