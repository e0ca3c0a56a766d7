"""core/addresses.py: what is not public is refused, in whatever disguise, and nothing else."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.addresses import STAND_INS, inside, is_numeric, literal, refusal

PUBLIC = (
    "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255",
    "128.0.0.0", "169.253.255.255", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.167.255.255", "223.255.255.255",
    "2001:4860:4860::8888", "2606:4700::1111", "2a00:1450:4001::1", "2620:4f:8000::1",
    "64:ff9b::808:808", "::ffff:8.8.8.8", "::8.8.8.8", "2002:808:808::1", "64:ff9b::128.128.8.8", "::128.128.8.8", "3000::1",
)  # fmt: skip
OWN = (
    "127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1",
    "100.127.255.255", "::1", "fd00::1", "fc00::1", "fdff::1",
)  # fmt: skip
NEVER = (
    "169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192", "192.0.0.8", "0.0.0.0", "0.1.2.3",
    "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.51.100.1", "203.0.113.9", "224.0.0.1", "239.255.255.250", "240.0.0.1",
    "255.255.255.255", "::", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fe80::1", "fec0::1", "ff02::1", "ff0e::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:20::1", "2001:db8::1", "3fff::1", "5f00::1", "100::1",
    "64:ff9b:1::1", "::ffff:0:8.8.8.8", "4000::1", "1fff::1", "::1:808:808", "64:ff9b::1:808:808",
)  # fmt: skip
BROKEN = (
    "", "localhost", "127.1", "0x7f.0.0.1", "0177.0.0.1", "2130706433", "1.2.3.4.5", "fe80::1%eth0",
    "2606:4700::1111%1", "127.0.0.1 ", "１.1.1.1", "[::1]", "1.1.1.1:80",
)  # fmt: skip

SPECIAL = (
    ("100.100.100.200/32", "a cloud's metadata service"),
    ("168.63.129.16/32", "a cloud's own service"),
    ("fd00:ec2::/32", "a cloud's metadata service"),
    ("fd20:ce::254/128", "a cloud's metadata service"),
    ("169.254.0.0/16", "link-local, where clouds keep their metadata"),
    ("0.0.0.0/8", "this machine, unspecified"),
    ("127.0.0.0/8", "this machine"),
    ("10.0.0.0/8", "a private network"),
    ("172.16.0.0/12", "a private network"),
    ("192.168.0.0/16", "a private network"),
    ("100.64.0.0/10", "a provider's private network"),
    ("192.0.0.0/24", "reserved for protocols"),
    ("192.0.2.0/24", "reserved for examples"),
    ("198.51.100.0/24", "reserved for examples"),
    ("203.0.113.0/24", "reserved for examples"),
    ("192.88.99.0/24", "reserved for relays"),
    ("198.18.0.0/15", "reserved for measurements"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),
    ("fc00::/7", "a private network"),
    ("fe80::/10", "link-local"),
    ("ff00::/8", "multicast"),
    ("2001::/23", "reserved for protocols"),
    ("2001:db8::/32", "reserved for examples"),
    ("3fff::/20", "reserved for examples"),
)
"""The registries of special addresses, and what clouds added to them; a smaller network stands before its larger one."""


def named(number: int, version: int) -> str | None:
    """What the registries say of a number, None if it is no address of that version."""
    if not 0 <= number < 2 ** (32 if version == 4 else 128):
        return None
    address = IPv4Address(number) if version == 4 else IPv6Address(number)
    plain = "" if version == 4 or number >> 125 == 1 else "reserved"
    return next((why for network, why in SPECIAL if address in ip_network(network)), plain)


def disguises(inner: str) -> list[str]:
    """The IPv6 addresses whose packets end at an IPv4 address."""
    number = int(IPv4Address(inner))
    return [
        str(IPv6Address(value))
        for value in (
            (0xFFFF << 32) | number,
            number,
            (0x64FF9B << 96) | number,
            (0x2002 << 112) | (number << 80) | 1,
            (0x20014860 << 96) | (0x00005EFE << 32) | number,
            (0x20014860 << 96) | (0x02005EFE << 32) | number,
        )
    ]


@pytest.mark.parametrize("address", PUBLIC)
def test_public(address: str) -> None:
    """What lies in the public Internet is fetched from, up to the edge of every special network."""
    assert refusal(address) == ""
    assert refusal(address, allow_private=True) == ""


@pytest.mark.parametrize(("network", "why"), SPECIAL)
def test_special_networks_to_the_last_address(network: str, why: str) -> None:
    """A special network is refused from its first address to its last, and not one address more."""
    special = ip_network(network)
    kind = type(special.network_address)
    first, last = int(special.network_address), int(special.broadcast_address)
    for number in (first - 1, first, last, last + 1):
        wanted = named(number, special.version)
        if wanted is not None:
            assert refusal(str(kind(number))) == wanted
            assert refusal(str(kind(number)), allow_private=True) in ("", wanted)
    assert refusal(str(kind(first))) == refusal(str(kind(last))) == why


@pytest.mark.parametrize("address", OWN)
def test_own(address: str) -> None:
    """Loopback and private networks are refused, unless a laboratory allows its own."""
    assert refusal(address)
    assert refusal(address, allow_private=True) == ""


@pytest.mark.parametrize("address", NEVER)
def test_never(address: str) -> None:
    """Metadata, link-local, multicast and reserved addresses are refused even where private ones are allowed."""
    assert refusal(address)
    assert refusal(address, allow_private=True)


@pytest.mark.parametrize(
    ("address", "words"),
    [("fe80::1", "link-local"), ("ff02::1", "multicast"), ("::ffff:169.254.169.254", "metadata"), ("fec0::1", "reserved")],
)  # fmt: skip
def test_words(address: str, words: str) -> None:
    """The words say what kind of address it is."""
    assert words in refusal(address)


@pytest.mark.parametrize("address", BROKEN)
def test_no_address(address: str) -> None:
    """What is no plain numeric address, or has a zone, is refused like one that is not public."""
    assert refusal(address)
    assert refusal(address, allow_private=True)


@pytest.mark.parametrize(
    "inner", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "192.168.0.1", "168.63.129.16", "224.0.0.1"]
)
def test_disguised(inner: str) -> None:
    """An IPv4 address that is refused is refused inside of every IPv6 address that carries it."""
    assert [address for address in disguises(inner) if not refusal(address)] == []


def test_disguised_public() -> None:
    """A public IPv4 address may come in disguise: networks without IPv4 answer with NAT64 addresses."""
    assert [refusal(address) for address in disguises("8.8.8.8")] == [""] * 6


def test_disguised_metadata_allowed_private() -> None:
    """The disguises of metadata stay refused where private addresses are allowed."""
    assert all(refusal(address, allow_private=True) for address in disguises("169.254.169.254"))


@given(st.ip_addresses(v=4))
def test_no_more_than_python_v4(address: IPv4Address) -> None:
    """Every IPv4 address that Python knows as not global, or as multicast, is refused here too."""
    if not address.is_global or address.is_multicast or address.is_reserved or address.is_unspecified:
        assert refusal(str(address))


@given(st.one_of(st.ip_addresses(v=6), st.integers(0, 2**128 - 1).map(IPv6Address)))
def test_only_global_unicast(address: IPv6Address) -> None:
    """An IPv6 address that passes is global unicast, or carries an IPv4 address that passes."""
    if refusal(str(address)) == "":
        low = str(IPv4Address(int(address) & 0xFFFFFFFF))
        assert int(address) >> 125 == 1 or refusal(low) == ""
        assert not address.is_multicast
        assert not address.is_loopback


@given(st.ip_addresses())
def test_private_allows_more_only(address: IPv4Address | IPv6Address) -> None:
    """Allowing private addresses refuses nothing that was public, and the check never raises."""
    if refusal(str(address)) == "":
        assert refusal(str(address), allow_private=True) == ""


@pytest.mark.parametrize(
    "host",
    ["1.2.3.4", "127.1", "0x7f.1", "0X7F000001", "2130706433", "0177.0.0.1", "0", "0x", "1.2.3.4.", "08.1", "a.1", "::1", "::ffff:1.2.3.4"],
)  # fmt: skip
def test_numeric(host: str) -> None:
    """Whatever some program reads as a number is known as one."""
    assert is_numeric(host)


@pytest.mark.parametrize(
    "host", ["example.com", "1.example", "0x7f.example", "x1", "a.1b", "xn--1", "localhost", "0x7g", "1-2"]
)
def test_not_numeric(host: str) -> None:
    """A name whose last part is no number is a name."""
    assert not is_numeric(host)


@pytest.mark.parametrize(
    ("host", "plain"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("2001:DB8::0:1", "2001:db8::1"),
        ("::1%lo", ""),
        ("127.1", ""),
        ("0177.0.0.1", ""),
        ("01.2.3.4", ""),
        ("host", ""),
    ],
)
def test_literal(host: str, plain: str) -> None:
    """A plain address has one spelling; an unusual one is none."""
    assert literal(host) == plain
    assert not plain or ip_address(plain)


def test_what_carries_an_address_carries_all_of_it() -> None:
    """To the last bit of it, and only where the mark before it is the whole mark."""
    for address in (
        "64:ff9b::6464:64c9",
        "::6464:64c9",
        "2001:4860::5efe:6464:64c9",
        "2001:4860::200:5efe:6464:64c9",
    ):
        assert refusal(address) == "a provider's private network"
    assert refusal("::2") == refusal("0.0.0.2") == "this machine, unspecified"
    for public in (
        "2001:4860::5eff:a00:1",
        "2001:4860::5efc:a00:1",
        "2001:4860::201:5efe:a00:1",
        "2001:4860::1:5efe:a00:1",
    ):
        assert refusal(public) == ""


@pytest.mark.parametrize("network", ["198.18.0.0/15", "fc00::/18", "fdfe:dcba:9876::/64"])
def test_stand_ins_to_the_last_address(network: str) -> None:
    """A download may be sent to what a proxy program answers names with, and to no other private address."""
    stand_ins = ip_network(network)
    kind = type(stand_ins.network_address)
    first, last = int(stand_ins.network_address), int(stand_ins.broadcast_address)
    for number in (first, last):
        assert inside(str(kind(number))) == ""
        assert refusal(str(kind(number)))
    for number in (first - 1, last + 1):
        assert inside(str(kind(number))) == refusal(str(kind(number)))
    assert [str(one) for one in STAND_INS] == ["198.18.0.0/15", "fc00::/18", "fdfe:dcba:9876::/64"]


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "::1",
        "fd00::1",
        "::ffff:198.18.0.1",
        "169.254.169.254",
        "198.18.0",
        "fc00::1%lo",
    ],
)
def test_what_is_no_stand_in(address: str) -> None:
    """Everything else is judged like an address of a list: disguised, incomplete, or of one interface."""
    assert inside(address) == refusal(address) != ""
    assert inside(address, allow_private=True) == refusal(address, allow_private=True)
