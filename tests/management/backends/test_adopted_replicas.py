"""What an earlier version of the control plane started is adopted: folder, lock and proof are as they were."""

from __future__ import annotations

from pathlib import Path

from management.backends.launcher import Phase
from management.gateway.replica_client import ReplicaClient
from tests.doubles.launchers import process_launcher, until


async def test_a_replica_of_an_earlier_version_serves_on_and_is_ended_in_peace(short_home: Path, earlier: str) -> None:
    launcher = process_launcher(short_home)
    assert await launcher.list_running() == [earlier]
    look = await until(launcher, earlier, Phase.READY)
    client = ReplicaClient(look.address)
    (result,) = await client.infer([{"input_data": {}, "parameters": {}}], "id")
    await client.close()
    assert result["output_data"] == {"version": "0.1"}
    assert await launcher.log(earlier, 5) == ["the older part of its log", "it was started by an earlier version"]
    assert (await launcher.usage([earlier]))[earlier].memory_bytes > 0
    await launcher.stop(earlier, 5.0)
    assert (await launcher.observe(earlier)).phase is Phase.EXITED
    assert await launcher.list_running() == []
    await launcher.remove_files(earlier)
    assert (await launcher.observe(earlier)).phase is Phase.ABSENT
