"""What is refused before anything is connected to: URLs as texts, hosts and ports, and the answers of name servers."""

from __future__ import annotations

import logging
import socket

import pytest
from aiohttp.abc import ResolveResult

from tests.doubles.image_servers import ListedResolver, downloader
from web.download.client import REFUSAL, _next, parse
from web.download.errors import InvalidURL, RefusedURL, UpstreamFailed

ODD_HOSTS = ["2130706433", "0x7f000001", "0x7f.1", "017700000001", "0177.0.0.1", "127.1", "127.0.1", "127.0.0.01"]
ODD_HOSTS += ["1.2.3.4.5", "127.0.0.0x1", "4294967296", "0", "127.0.0.256", "127.0.0.1.:80"]


@pytest.mark.parametrize("host", ODD_HOSTS)
async def test_addresses_in_odd_notations_are_refused_even_where_private_ones_are_allowed(host: str) -> None:
    async with downloader(8000, ListedResolver(["8.8.8.8"]), url_hosts=("*",)) as fetcher:
        if host.startswith("127.0.0.1."):  # a last dot is not odd: it is dropped, and the address judged
            assert str(parse(f"http://{host}/")) == "http://127.0.0.1/"
            return
        with pytest.raises((RefusedURL, InvalidURL)):
            await fetcher.fetch(f"http://{host}/")


@pytest.mark.parametrize("url", ["http://user@example.com/", "http://u:p@example.com/", "http://example.com:8080/"])
async def test_users_and_other_ports_are_refused(url: str) -> None:
    async with downloader(8000) as fetcher:
        with pytest.raises(RefusedURL):
            await fetcher.fetch(url)


async def test_only_listed_hosts_are_gone_to() -> None:
    async with downloader(8000, ListedResolver([]), url_hosts=("*.cloudinary.com",)) as fetcher:
        for host in ("example.com", "cloudinary.com", "cloudinary.com.evil.example", "8.8.8.8"):
            with pytest.raises(RefusedURL):
                await fetcher.fetch(f"https://{host}/")
        with pytest.raises(UpstreamFailed):  # no address, but asked for
            await fetcher.fetch("https://RES.cloudinary.com/a.jpg")


NO_URLS = ["", "picture.jpg", "//example.com/", "http://", "http:///a", "http:example.com", "ftp://example.com/"]
NO_URLS += ["data:,x", "file:///etc/passwd", "javascript:alert(1)", "http://exa mple.com/"]
NO_URLS += ["http://example.com/a b", " http://a.b/", "http://example.com\\@evil.example/", "http://a.b/\n"]
NO_URLS += ["http://a.b/\x00", "http://a.b/\u200b", "http://a.b/\t", "http://a.b:99999/", "http://a.b:x/"]
NO_URLS += ["http://a.b:-1/", "http://[::1", "http://[::g]/", "http://a..b/", "http://[fe80::1%25eth0]/"]
NO_URLS += ["http://%31%32%37.0.0.1/", "http://a%00.b/", "http://a,b/", "http://.../", "http://exa\u2100mple.com/"]
NO_URLS += ["http://-a.b/", f"http://{'a' * 64}.b/", "http://a.b/" + "c" * 2048, "http://\ud800/"]


@pytest.mark.parametrize("text", NO_URLS)
def test_what_is_no_url_is_said_to_be_none(text: str) -> None:
    with pytest.raises(InvalidURL):
        parse(text)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("HTTP://Example.COM:80/A?b=c%20d#e", "http://example.com/A?b=c%20d"),
        ("https://example.com./", "https://example.com/"),
        ("https://bücher.example/ü", "https://xn--bcher-kva.example/%C3%BC"),
        ("http://[2606:4700:0::1111]/", "http://[2606:4700::1111]/"),
        ("https://a_b.example/x%2Fy?sig=%2B%3D", "https://a_b.example/x%2Fy?sig=%2B%3D"),
    ],
)
def test_a_url_is_read_as_it_will_be_fetched(text: str, read: str) -> None:
    assert str(parse(text)) == read


async def test_digits_in_disguise_are_an_address_all_the_same() -> None:
    async with downloader(8000, url_private_networks=False) as fetcher:
        with pytest.raises((RefusedURL, InvalidURL)):
            await fetcher.fetch("http://①②⑦.⓪.⓪.①/")


def test_no_redirect_leads_from_https_to_http() -> None:
    assert str(_next(parse("https://example.com/a"), "b?c")) == "https://example.com/b?c"
    with pytest.raises(RefusedURL):
        _next(parse("https://example.com/"), "http://example.com/")


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost", "a.localhost", "10.0.0.1"])
async def test_private_hosts_are_refused_unless_allowed(host: str) -> None:
    async with downloader(8000, url_private_networks=False) as fetcher:
        with pytest.raises(RefusedURL):
            await fetcher.fetch(f"http://{host}:8000/a")


@pytest.mark.parametrize(
    "answers", [["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["2606:4700::1111", "fe80::1%eth0"], ["64:ff9b::7f00:1"]]
)
async def test_one_private_answer_among_public_ones_refuses_a_name(
    answers: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    async with downloader(8000, ListedResolver(answers), url_private_networks=False) as fetcher:
        with caplog.at_level(logging.WARNING), pytest.raises(RefusedURL) as caught:
            await fetcher.fetch("http://rebound.example/")
    assert caught.value.message == REFUSAL
    assert answers[-1] in caplog.text


class NameErrorResolver(ListedResolver):
    """Knows no name, as the system's says it."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


async def test_a_name_inside_is_refused_in_the_words_of_a_name_that_does_not_exist() -> None:
    said = []
    for resolver in (
        ListedResolver(["10.0.0.7"]),
        ListedResolver(["169.254.169.254"]),
        ListedResolver([]),
        NameErrorResolver(),
    ):
        async with downloader(8000, resolver, url_private_networks=False) as fetcher:
            with pytest.raises(RefusedURL) as caught:
                await fetcher.fetch("http://db.corp.example/")
            said.append((caught.value.code, caught.value.message))
    assert set(said) == {("URL_REFUSED", REFUSAL)}


async def test_where_private_networks_are_allowed_a_name_that_does_not_exist_is_said_to_fail() -> None:
    for resolver in (ListedResolver([]), NameErrorResolver()):
        async with downloader(8000, resolver) as fetcher:
            with pytest.raises(UpstreamFailed):
                await fetcher.fetch("http://db.corp.example/")
