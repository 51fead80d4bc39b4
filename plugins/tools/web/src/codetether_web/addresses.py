"""Which network addresses may be asked on behalf of a model: the public ones, whatever they are wrapped in."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

Ip = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# Counted as global by some version of `ipaddress`, and no place for a web page.
_CLOSED = tuple(
    map(
        ipaddress.ip_network,
        (
            "192.0.0.0/24",  # protocol assignments; 192.0.0.192 is Oracle's metadata service
            "192.88.99.0/24",  # 6to4 relays
            "168.63.129.16/32",  # Azure's host agent, on a public address
            "64:ff9b:1::/48",  # NAT64 with a local meaning
            "3fff::/20",  # documentation
            "5f00::/16",  # segment routing
            "fec0::/10",  # site-local, long deprecated
        ),
    )
)


def refusal(address: str) -> str:
    """Why `address` (as text, IPv4 or IPv6) may not be asked, in one word or two; empty when it is public."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unreadable"
    return next((why for inner in _inside(ip) if (why := _why(inner))), "")


def _inside(ip: Ip) -> Iterator[Ip]:
    """The addresses that a packet to `ip` may reach in the end."""
    if isinstance(ip, ipaddress.IPv4Address):
        yield ip
    elif ip.ipv4_mapped is not None:
        yield ip.ipv4_mapped
    elif ip in _NAT64:
        yield ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    elif ip.sixtofour is not None:
        yield ip.sixtofour
    elif ip.teredo is not None:
        yield from ip.teredo
    else:
        yield ip


def _why(ip: Ip) -> str:
    if ip.is_loopback:
        return "loopback"
    if ip.is_link_local:
        return "link-local"
    if ip.is_multicast:
        return "multicast"
    if any(ip.version == network.version and ip in network for network in _CLOSED):
        return "special-purpose"
    if ip.is_unspecified or ip.is_reserved or not ip.is_global:
        return "private or reserved"
    return ""
