"""Image servers, a downloader that may call them, and a resolver with given answers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from web.download.client import Downloader
from web.download.settings import DownloadSettings

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def server(port: int = 0, /, **handlers: Handler) -> AsyncIterator[int]:
    """Serve each handler at the path of its name, on any port where it is 0; yields the port."""
    app = web.Application()
    for name, handler in handlers.items():
        app.router.add_get(f"/{name}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def raw_server(answer: bytes) -> AsyncIterator[int]:
    """Serve: read a request's head, answer with these bytes, and close; yields the port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


@asynccontextmanager
async def downloader(port: int, resolver: AbstractResolver | None = None, **more: Any) -> AsyncIterator[Downloader]:
    """A downloader that may call the port, also at private addresses."""
    times = {key: more.pop(key) for key in ("connect_seconds", "total_seconds", "parallel") if key in more}
    settings = DownloadSettings(**{"url_ports": (port,), "url_private_networks": True, **more})
    fetcher = Downloader(settings, resolver=resolver, **times)
    try:
        yield fetcher
    finally:
        await fetcher.close()


class ListedResolver(AbstractResolver):
    """Answers each query with the next list, and further queries with the last one."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=0,
            )
            for address in found
        ]

    async def close(self) -> None: ...


async def picture(_: web.Request) -> web.Response:
    return web.Response(body=b"picture")


def redirect(to: str, status: int = 302) -> Handler:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": to})

    return handler
