"""URL to bytes: the only downloader, and the only code that connects to an address that a client chose.

Addresses are checked inside the resolver of the connection, so that a name cannot resolve to one address for the check
and to another for the connection.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, ip_address
from typing import Final
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from web.download import addresses
from web.download.errors import FileTooLarge, InvalidURL, RefusedURL, UpstreamFailed, UpstreamTimeout
from web.download.settings import DownloadSettings

logger = logging.getLogger(__name__)

MAX_BYTES: Final = 16 * 1024 * 1024
"""Bytes of the largest file."""

MAX_LENGTH: Final = 2048
"""Characters of the longest accepted URL."""

MAX_REDIRECTS: Final = 3

REFUSAL: Final = "Images are not downloaded from this URL: its host does not exist, or is not one to download from."
"""The message of every refusal: different messages would reveal the layout of this network."""

REDIRECTS: Final = {301, 302, 303, 307, 308}
HEADERS: Final = {"User-Agent": "atelier", "Accept": "image/*, */*;q=0.1", "Accept-Encoding": "identity"}

HOST_NAME: Final = re.compile(
    r"(?=.{1,253}\Z)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\Z"
)
IPV4_LIKE: Final = re.compile(r"(.*\.)?(\d+|0x[0-9a-f]*)\Z")
"""Host names that a browser reads as an IPv4 address: the last label is a number."""


def parse(text: str) -> URL:
    """Return the URL that will be fetched, without fragment and trailing dot of the host. Raises InvalidURL."""
    if len(text) > MAX_LENGTH:
        raise InvalidURL(f"A URL may have {MAX_LENGTH:,} characters at most.")
    if not text.isprintable() or " " in text or "\\" in text:
        raise InvalidURL("A URL has no spaces, backslashes or control characters.")
    try:
        url = _read_twice(text)
    except ValueError:
        url = None
    if url is None:
        raise InvalidURL("This is no URL of the form https://host/path.")
    return url


def _read_twice(text: str) -> URL | None:
    """Return None if a second parser reads another scheme, user, host or port: the check might cover the wrong one."""
    url, second = URL(text).with_fragment(None), urlsplit(text)
    host, port = second.hostname, second.port
    if url.scheme not in {"http", "https"} or not host or not url.raw_host:
        return None
    reparsed = URL.build(scheme=second.scheme, host=host, port=port)
    if (url.scheme, url.raw_host, url.port) != (reparsed.scheme, reparsed.raw_host, reparsed.port):
        return None
    if (url.user, url.password) != (second.username or None, second.password or None):
        return None
    if ":" in url.raw_host:
        return url if "%" not in url.raw_host else None
    name = url.raw_host.lower().removesuffix(".")
    return url.with_host(name) if HOST_NAME.match(name) else None


class _CheckedResolver(AbstractResolver):
    """Returns the answers of another resolver if all their addresses are allowed."""

    def __init__(self, inner: AbstractResolver, private: bool) -> None:
        self._inner = inner
        self._private = private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        answers = await self._answers(host, port, family)
        own = addresses.own_addresses()
        for answer in answers:
            cause = addresses.refusal(ip_address(answer["host"]), own=own, private=self._private)
            if cause is not None:
                raise _refused(host, f"{answer['host']}: {cause}")
        return answers

    async def _answers(self, host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
        """Resolve the name. If private addresses are refused, an unknown name gets the same refusal.

        Otherwise clients could distinguish names of this network from names that do not exist.
        """
        try:
            if answers := await self._inner.resolve(host, port, family):
                return answers
            cause = "no address"
        except OSError as error:
            if self._private:
                raise
            cause = f"no address: {error.strerror or error}"
        if self._private:
            raise OSError(cause)
        raise _refused(host, cause)

    async def close(self) -> None:
        await self._inner.close()


class _SystemResolver(AbstractResolver):
    """The operating system's resolver in its own threads: slow names must not block the default thread pool."""

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="download-dns")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        answers = await asyncio.get_running_loop().run_in_executor(
            self._threads, socket.getaddrinfo, host, port, family, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG
        )
        return [
            ResolveResult(
                hostname=host, host=str(address[0]), port=port, family=kind, proto=protocol, flags=socket.AI_NUMERICHOST
            )
            for kind, _, protocol, _, address in answers
        ]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


class Downloader:
    """Fetches files; bound to one event loop and closed before the loop ends."""

    def __init__(
        self,
        settings: DownloadSettings,
        *,
        connect_seconds: float = 5.0,
        total_seconds: float = 15.0,
        parallel: int = 16,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._settings = settings
        self._connect_seconds = connect_seconds
        self._total_seconds = total_seconds
        self._parallel = parallel
        self._slots = asyncio.Semaphore(parallel)
        self._resolver = resolver
        self._open: tuple[aiohttp.ClientSession, AbstractResolver] | None = None

    async def fetch(self, url: str) -> bytes:
        """Return the body behind the URL, at most ``MAX_BYTES``. The time limit includes waiting for a free slot.

        Raises DownloadError.
        """
        target = parse(url)
        try:
            async with asyncio.timeout(self._total_seconds), self._slots:
                return await self._follow(target)
        except TimeoutError:
            logger.info("download of %r: too slow", str(target))
            raise UpstreamTimeout("The server behind the URL was too slow.") from None
        except (aiohttp.ClientError, OSError) as error:
            logger.info("download of %r: %r", str(target), error)
            raise UpstreamFailed("The server behind the URL could not be reached, or broke off.") from None

    async def close(self) -> None:
        """Close the session and the resolver; running downloads fail. A second call does nothing."""
        if self._open is not None:
            (session, resolver), self._open = self._open, None
            await session.close()
            await resolver.close()  # aiohttp closes only a resolver that it created itself

    def _client(self) -> aiohttp.ClientSession:
        if self._open is None:
            inner = self._resolver or _SystemResolver(self._parallel)
            resolver = _CheckedResolver(inner, self._settings.url_private_networks)
            self._open = self._new_session(resolver), resolver
        return self._open[0]

    def _new_session(self, resolver: AbstractResolver) -> aiohttp.ClientSession:
        # No DNS cache and no connection reuse: every request is resolved and checked.
        connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False, force_close=True, limit=0)
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, connect=self._connect_seconds),
            headers=HEADERS,
            trust_env=False,
            auto_decompress=False,
        )

    async def _follow(self, url: URL) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            self._check(url)
            async with self._client().get(url, allow_redirects=False) as response:
                if response.status not in REDIRECTS:
                    return await _body(response)
                url = _next(url, response.headers.get("Location"))
        raise UpstreamFailed("The URL redirects too often.")

    def _check(self, url: URL) -> None:
        """Raise RefusedURL for what is wrong before resolution; aiohttp resolves no literal addresses."""
        private, host = self._settings.url_private_networks, url.raw_host or ""
        if url.user is not None or url.password is not None:
            raise _refused(host, "a user name or password")
        if url.port not in {80, 443, *self._settings.url_ports}:
            raise _refused(host, f"port {url.port}")
        if not any(fnmatchcase(host, pattern.lower()) for pattern in self._settings.url_hosts):
            raise _refused(host, "not among the hosts allowed")
        cause = _literal_refusal(host, private) or addresses.name_refusal(host, private=private)
        if cause is not None:
            raise _refused(host, cause)


def _literal_refusal(host: str, private: bool) -> str | None:
    if ":" not in host and not IPV4_LIKE.match(host):
        return None
    try:
        address = ip_address(host) if ":" in host else IPv4Address(host)
    except ValueError:
        return "an IPv4 address in an odd notation"
    return addresses.refusal(address, own=addresses.own_addresses(), private=private)


def _next(url: URL, location: str | None) -> URL:
    if not location:
        raise UpstreamFailed("The URL redirects nowhere.")
    try:
        target = parse(urljoin(str(url), location))
    except (InvalidURL, ValueError):
        # The client's URL was well-formed, but its redirect target is not.
        raise _refused(url.raw_host or "", f"redirect to {location!r}") from None
    if url.scheme == "https" and target.scheme != "https":
        raise _refused(target.raw_host or "", "redirect from https to http")
    return target


async def _body(response: aiohttp.ClientResponse) -> bytes:
    if response.status != 200:
        raise UpstreamFailed(f"The server behind the URL answered {response.status}.")
    if response.headers.get("Content-Encoding", "identity").strip().lower() not in {"", "identity"}:
        raise UpstreamFailed("The server behind the URL sent a compressed answer, which was not asked for.")
    _check_bytes(response.content_length or 0)
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        _check_bytes(len(body))
    return bytes(body)


def _check_bytes(count: int) -> None:
    if count > MAX_BYTES:
        raise FileTooLarge(f"An image may have {MAX_BYTES:,} bytes at most.")


def _refused(host: str, cause: str) -> RefusedURL:
    logger.warning("download from %r refused: %r", host, cause)
    return RefusedURL(REFUSAL)
