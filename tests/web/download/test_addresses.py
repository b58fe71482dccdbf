"""Tables of what is public, checked against the standard library's own and against the rules written down."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.download.addresses import embedded, name_refusal, own_addresses, refusal

PUBLIC = ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450:4001::1", "::ffff:8.8.8.8"]

PRIVATE = ["10.1.2.3", "100.64.0.1", "127.0.0.1", "127.255.255.254", "172.16.0.1", "172.31.255.255", "192.168.1.1"]
PRIVATE += ["::1", "fc00::1", "fd12:3456::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "::10.0.0.1"]
PRIVATE += ["64:ff9b::7f00:1", "64:ff9b::10.0.0.1", "64:ff9b:1::10.0.0.1", "2002:7f00:1::", "2002:c0a8:101::1"]

NEVER = ["0.0.0.0", "0.1.2.3", "169.254.169.254", "169.254.170.2", "168.63.129.16", "100.100.100.200", "192.0.0.192"]
NEVER += ["192.0.2.1", "192.88.99.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255"]
NEVER += ["240.0.0.1", "255.255.255.255", "::", "ff02::1", "fe80::1", "fe80::1%eth0", "2606:4700::1%2", "fec0::1"]
NEVER += ["5f00::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1", "3fff::1", "100::1", "4000::1"]
NEVER += ["fd00:ec2::254", "fd20:ce::254", "::ffff:169.254.169.254", "::169.254.169.254", "::ffff:0:127.0.0.1"]
NEVER += ["64:ff9b::a9fe:a9fe", "64:ff9b:1::a9fe:a9fe", "2002:a9fe:a9fe::1", "::ffff:0.0.0.0", "64:ff9b::a83f:8110"]


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_pass(text: str) -> None:
    assert refusal(ip_address(text)) is None


@pytest.mark.parametrize("text", PRIVATE)
def test_private_addresses_pass_only_where_private_networks_are_allowed(text: str) -> None:
    assert refusal(ip_address(text)) is not None
    assert refusal(ip_address(text), private=True) is None


@pytest.mark.parametrize("text", NEVER)
def test_metadata_multicast_and_addresses_of_nobody_never_pass(text: str) -> None:
    assert refusal(ip_address(text)) is not None
    assert refusal(ip_address(text), private=True) is not None


@pytest.mark.parametrize("text", ["8.8.8.8", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"])
def test_a_public_address_of_this_host_is_refused_however_it_is_written(text: str) -> None:
    assert refusal(ip_address(text), own={IPv4Address("8.8.8.8")}) == "this host's own"
    assert refusal(ip_address(text), own={IPv4Address("8.8.8.8")}, private=True) is None


def test_this_host_knows_its_own_addresses() -> None:
    assert IPv4Address("127.0.0.1") in own_addresses()


@given(st.ip_addresses(v=4))
def test_what_the_standard_library_calls_not_global_is_refused(address: IPv4Address) -> None:
    if not address.is_global:
        assert refusal(address) is not None


@given(st.ip_addresses(v=6))
def test_what_it_calls_not_global_in_ipv6_is_refused_unless_a_public_ipv4_address_is_inside(
    address: IPv6Address,
) -> None:
    inside = embedded(address)
    if inside is not None:
        assert refusal(address, private=True) is not None or refusal(inside, private=True) is None
    elif not address.is_global:
        assert refusal(address) is not None


@given(st.ip_addresses(v=4), st.sampled_from(["::ffff:{}", "::{}", "64:ff9b::{}"]))
def test_an_ipv4_address_inside_is_judged_like_the_address_itself(address: IPv4Address, form: str) -> None:
    if int(address) > 1:  # :: and ::1 mean themselves
        assert refusal(IPv6Address(form.format(address))) == refusal(address)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST",
        "localhost.",
        "a.localhost",
        "printer.local",
        "metadata.google.internal",
        "internal",
        "api.default.svc",
        "api.default.svc.cluster.local",
        "api.default.svc.cluster.local.",
        "nas.home.arpa",
    ],
)
def test_names_of_private_networks_are_refused_unless_allowed(host: str) -> None:
    assert name_refusal(host) is not None
    assert name_refusal(host, private=True) is None


@pytest.mark.parametrize("host", ["example.com", "local.example.com", "notlocalhost", "mylocal", "svc.example.org"])
def test_names_that_only_look_alike_are_not_refused(host: str) -> None:
    assert name_refusal(host) is None
