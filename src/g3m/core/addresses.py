"""Which numeric addresses lead into the public Internet, and which into somebody's own network or machine.

A list of URLs comes from strangers: fetching from it must not reach what only this machine can reach. The
tables are the registries of special addresses, said here in full, because `ipaddress.is_global` differs
between versions of Python and calls multicast, NAT64 of loopback and some metadata services global.
Names are not resolved here: that is for adapters/names.py.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

_NEVER = tuple(
    (ip_network(network), why)
    for network, why in (
        ("100.100.100.200/32", "a cloud's metadata service"),
        ("168.63.129.16/32", "a cloud's own service"),
        ("fd00:ec2::/32", "a cloud's metadata service"),
        ("fd20:ce::254/128", "a cloud's metadata service"),
        ("169.254.0.0/16", "link-local, where clouds keep their metadata"),
        ("0.0.0.0/8", "this machine, unspecified"),
        ("192.0.0.0/24", "reserved for protocols"),
        ("192.0.2.0/24", "reserved for examples"),
        ("192.88.99.0/24", "reserved for relays"),
        ("198.18.0.0/15", "reserved for measurements"),
        ("198.51.100.0/24", "reserved for examples"),
        ("203.0.113.0/24", "reserved for examples"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("fe80::/10", "link-local"),
        ("ff00::/8", "multicast"),
        ("2001::/23", "reserved for protocols"),
        ("2001:db8::/32", "reserved for examples"),
        ("3fff::/20", "reserved for examples"),
    )
)
"""What nobody's pictures lie on, and what even a laboratory's own lists must not reach."""

_OWN = tuple(
    (ip_network(network), why)
    for network, why in (
        ("127.0.0.0/8", "this machine"),
        ("::1/128", "this machine"),
        ("10.0.0.0/8", "a private network"),
        ("172.16.0.0/12", "a private network"),
        ("192.168.0.0/16", "a private network"),
        ("100.64.0.0/10", "a provider's private network"),
        ("fc00::/7", "a private network"),
    )
)
STAND_INS = tuple(map(ip_network, ("198.18.0.0/15", "fc00::/18", "fdfe:dcba:9876::/64")))
"""What proxy programs in TUN mode answer names with (fake-ip): where it leads is known to them alone."""

_GLOBAL_UNICAST = ip_network("2000::/3")
_COMPATIBLE = ip_network("::/96")
_NAT64 = ip_network("64:ff9b::/96")
_ISATAP = (0x00005EFE, 0x02005EFE)
_NUMBER = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)", re.IGNORECASE)


@lru_cache(4096)
def refusal(address: str, allow_private: bool = False) -> str:
    """Why nothing is fetched from a numeric address, in words; empty: it is public.

    With `allow_private`, loopback and private networks may be reached too, link-local and metadata never.

    >>> refusal("8.8.8.8"), refusal("::ffff:10.0.0.1"), refusal("10.0.0.1", allow_private=True)
    ('', 'a private network', '')
    """
    try:
        number = ip_address(address)
    except ValueError:
        return "no numeric address"
    if "%" in address:
        return "an address of one network interface"
    while isinstance(number, IPv6Address):
        inner = _inside(number)
        if inner is None:
            break
        number = inner
    for network, why in _NEVER:
        if number in network:
            return why
    for network, why in _OWN:
        if number in network:
            return "" if allow_private else why
    return "" if isinstance(number, IPv4Address) or number in _GLOBAL_UNICAST else "reserved"


def inside(address: str, allow_private: bool = False) -> str:
    """Why no public host may redirect a download to a numeric address, in words; empty: it may.

    Unlike a list, a download is let through to what a proxy program in TUN mode stands in for.

    >>> inside("10.0.0.1"), inside("198.18.0.7"), inside("8.8.8.8")
    ('a private network', '', '')
    """
    return "" if is_stand_in(address) else refusal(address, allow_private)


def is_stand_in(address: str) -> bool:
    """Whether a proxy program in TUN mode stands in for a name with this numeric address.

    >>> is_stand_in("198.18.0.7"), is_stand_in("8.8.8.8")
    (True, False)
    """
    plain = literal(address)
    return bool(plain) and any(ip_address(plain) in network for network in STAND_INS)


def _inside(number: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that packets for this one end at, where it only carries another."""
    if number.ipv4_mapped is not None:
        return number.ipv4_mapped
    if number.sixtofour is not None:
        return number.sixtofour
    # ::1 and :: are no IPv4 addresses in disguise, and have places of their own in the tables.
    if number in _NAT64 or (number in _COMPATIBLE and int(number) > 1):
        return IPv4Address(int(number) & 0xFFFFFFFF)
    if (int(number) >> 32) & 0xFFFFFFFF in _ISATAP:
        return IPv4Address(int(number) & 0xFFFFFFFF)
    return None


def is_numeric(host: str) -> bool:
    """Whether a host is an address or would be read as one by some program: `127.1`, `0x7f.1`, `2130706433`.

    No domain's last part is a number, so nothing else is meant by it.

    >>> is_numeric("0177.0.0.1"), is_numeric("::1"), is_numeric("1.example.com")
    (True, True, False)
    """
    return ":" in host or _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]) is not None


@lru_cache(4096)
def literal(host: str) -> str:
    """The address that a host is, in its one plain spelling; empty where it is none, or spelled otherwise.

    >>> literal("2001:DB8:0::1"), literal("127.0.0.1"), literal("0x7f.1")
    ('2001:db8::1', '127.0.0.1', '')
    """
    try:
        return "" if "%" in host else str(ip_address(host))
    except ValueError:
        return ""
