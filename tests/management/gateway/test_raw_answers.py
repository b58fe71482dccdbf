"""What a replica sends that no caller may be sent is a failure of the model."""

from __future__ import annotations

import asyncio

import pytest

from management.gateway.call import Call
from management.gateway.replica_client import ReplicaClient
from management.gateway.replica_errors import ReplicaFailed


async def ask(answer: bytes) -> tuple[int, bytes]:
    """Return status and body of an answer as it is written to the connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    client = ReplicaClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    try:
        got = await client.open(Call("GET", "/x", "/x", []))
        try:
            return got.status, b"".join([piece async for piece in got.pieces(5)])
        finally:
            got.close()
    finally:
        await client.close_when_idle()  # hangs where the failed call still counts
        server.close()


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade", id="another protocol"),
        pytest.param(b"000 Odd\r\nContent-Length: 2", id="no status"),
        pytest.param(b"600 Odd\r\nContent-Length: 2", id="a status of no class"),
        pytest.param(b"200 OK\r\nX-A: a\x01b\r\nContent-Length: 2", id="a control character"),
    ],
)
async def test_what_no_caller_may_be_sent_is_a_failure(head: bytes) -> None:
    with pytest.raises(ReplicaFailed):
        await ask(b"HTTP/1.1 " + head + b"\r\n\r\nhi")


async def test_an_early_hint_comes_before_the_answer() -> None:
    hint, answer = b"HTTP/1.1 103 Early\r\nLink: </x>\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    assert await ask(hint + answer) == (200, b"hi")
