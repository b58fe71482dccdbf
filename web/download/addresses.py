"""Which addresses and host names a download may connect to.

Tables replace ``ipaddress.is_global``, which differs between Python versions and knows neither the metadata servers of
clouds nor the IPv4 address inside an IPv6 one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

import psutil

Address = IPv4Address | IPv6Address

NEVER: Final = {
    ip_network(block): why
    for block, why in {
        "0.0.0.0/8": "unspecified",
        "100.100.100.200/32": "a cloud's metadata server",
        "168.63.129.16/32": "a cloud's wire server",
        "169.254.0.0/16": "link-local, where clouds keep their metadata",
        "192.0.0.0/24": "IETF protocol assignments",
        "192.0.2.0/24": "documentation",
        "192.88.99.0/24": "obsolete 6to4 relays",
        "198.18.0.0/15": "benchmarks",
        "198.51.100.0/24": "documentation",
        "203.0.113.0/24": "documentation",
        "224.0.0.0/4": "multicast",
        "240.0.0.0/4": "reserved, and broadcast",
        "::/128": "unspecified",
        "100::/64": "discarded",
        "2001::/23": "IETF protocol assignments, Teredo among them",
        "2001:db8::/32": "documentation",
        "3ffe::/16": "obsolete 6bone",
        "3fff::/20": "documentation",
        "5f00::/16": "segment routing",
        "fd00:ec2::/32": "a cloud's metadata server",
        "fd20:ce::/32": "a cloud's metadata server",
        "fe80::/10": "link-local",
        "fec0::/10": "obsolete site-local",
        "ff00::/8": "multicast",
    }.items()
}
"""Networks that are refused even if private networks are allowed: no image server has such an address."""

PRIVATE: Final = {
    ip_network(block): why
    for block, why in {
        "10.0.0.0/8": "private",
        "100.64.0.0/10": "carrier NAT",
        "127.0.0.0/8": "loopback",
        "172.16.0.0/12": "private",
        "192.168.0.0/16": "private",
        "::1/128": "loopback",
        "64:ff9b:1::/48": "local translation to IPv4",
        "fc00::/7": "private",
    }.items()
}
"""Networks that are refused unless private networks are allowed."""

LOOPBACK: Final = IPv6Address("::1")
GLOBAL_IPV6: Final = IPv6Network("2000::/3")
"""All IPv6 addresses assigned to the public so far; the rest of IPv6 is refused."""

IPV4_IN_LAST_BITS: Final = [
    IPv6Network(block) for block in ("::/96", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48")
]

PRIVATE_NAMES: Final = ("localhost", "localdomain", "local", "internal", "intranet", "lan", "home.arpa", "svc")
"""Domains that are refused, with all names under them, unless private networks are allowed.

``.svc.cluster.local`` is under ``local``."""


def refusal(address: Address, *, own: Collection[Address] = (), private: bool = False) -> str | None:
    """Return why downloads from the address are refused, as text for the log; None if they are allowed.

    ``own`` are this host's addresses; ``private`` allows them and private networks.
    """
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return "of one link only"
    cause = _listed(NEVER, address)
    if cause is None and not private:
        cause = "this host's own" if address in own else _listed(PRIVATE, address)
    if cause is not None or isinstance(address, IPv4Address):
        return cause
    inside = embedded(address)
    if inside is not None:
        return refusal(inside, own=own, private=private)
    return None if address in GLOBAL_IPV6 or _listed(PRIVATE, address) else "not assigned to the public"


def embedded(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that a translator or the operating system would extract from this one, or None."""
    if address == LOOPBACK:
        return None
    if address.sixtofour is not None:
        return address.sixtofour
    if any(address in block for block in IPV4_IN_LAST_BITS):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return None


def _listed(table: Mapping[IPv4Network | IPv6Network, str], address: Address) -> str | None:
    return next((why for block, why in table.items() if address in block), None)


def name_refusal(host: str, *, private: bool = False) -> str | None:
    """Return why a host name is refused whatever it resolves to; None if its addresses decide."""
    name = host.lower().removesuffix(".")
    if not private and any(name == ending or name.endswith("." + ending) for ending in PRIVATE_NAMES):
        return "a name of private networks"
    return None


def own_addresses() -> frozenset[Address]:
    """Return this host's current addresses on every interface; they change with networks and containers."""
    own = set()
    for interface in psutil.net_if_addrs().values():
        for entry in interface:
            if entry.family != psutil.AF_LINK:
                own.add(ip_address(entry.address.partition("%")[0]))
    return frozenset(own)
