"""Which ports of this machine are listened on, by whom, and which of them are proxies.

Who listens is read from /proc (Linux; elsewhere nothing is known). What listens is found by speaking to
it: a SOCKS5 greeting, then a CONNECT to this machine itself, which sends nothing abroad. Only loopback is
spoken to, and only the ports that are asked for: this is no scanner.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

PROXY_PORTS = (7890, 7897, 7891, 1080, 10808, 10809, 2080, 8118, 3128, 8888)
ANSWER_TIMEOUT_S = 1.5
"""A proxy on this machine answers at once; a server that waits for other words is left alone."""

_PEOPLE = 1000
"""User numbers below belong to the system's own services."""

_PROC = Path("/proc")
_LISTENING = "0A"
_CONNECT = b"CONNECT 127.0.0.1:443 HTTP/1.1\r\nHost: 127.0.0.1:443\r\n\r\n"
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")
_PROXY_ANSWERS = (200, 403, 407, 500, 502, 503, 504)
"""What proxies say to a CONNECT that leads nowhere; web servers say 400, 404, 405 or 501."""


@dataclass(frozen=True, slots=True)
class Socket:
    """A listening TCP socket: its address, its port, the user it belongs to."""

    address: str
    port: int
    uid: int
    inode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A proxy on this machine: what it speaks (`http`, `socks5`), and whose it is."""

    port: int
    speaks: tuple[str, ...]
    wants_login: bool = False
    owner: str = ""
    """`yours`, `system`, `other`, or empty where the system does not tell."""

    uid: int | None = None

    @property
    def url(self) -> str:
        """Its address as a proxy: HTTP where it can, because every program understands that."""
        scheme = "http" if "http" in self.speaks else "socks5h"
        return f"{scheme}://127.0.0.1:{self.port}"

    @property
    def is_trusted(self) -> bool:
        """Whether no other person of this machine stands behind it."""
        return self.owner != "other"


def listening(proc: Path = _PROC) -> tuple[Socket, ...]:
    """Every listening TCP socket of this network namespace; none where /proc does not tell."""
    found: list[Socket] = []
    for name in ("tcp", "tcp6"):
        with suppress(OSError, UnicodeDecodeError):
            found += _sockets((proc / "net" / name).read_text(encoding="ascii"))
    return tuple(found)


def _sockets(text: str) -> Iterator[Socket]:
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 9 and fields[3] == _LISTENING:
            address, _, port = fields[1].partition(":")
            yield Socket(str(_address(address)), int(port, 16), int(fields[7]), int(fields[9]))


def _address(digits: str) -> IPv4Address | IPv6Address:
    # The kernel prints 32-bit words in the machine's own byte order.
    words = (bytes.fromhex(digits[at : at + 8]) for at in range(0, len(digits), 8))
    packed = b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)
    found = ip_address(packed)
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found


def sockets_at(port: int, sockets: Iterable[Socket], host: str = "127.0.0.1") -> tuple[Socket, ...]:
    """The sockets that answer at a host and port: one for that address hides one for every address."""
    here = [item for item in sockets if item.port == port]
    exact = [item for item in here if item.address == host]
    return tuple(exact or (item for item in here if ip_address(item.address).is_unspecified))


def owner_of(uid: int | None) -> str:
    """Whose a socket is: `yours`, `system` or `other`; empty if that is not known."""
    if uid is None:
        return ""
    if uid == os.getuid():
        return "yours"
    return "system" if uid < _PEOPLE else "other"


def ports_beside(port: int, sockets: Iterable[Socket], proc: Path = _PROC) -> tuple[int, ...]:
    """The other ports that the same process listens on; none if the system does not let us look."""
    sockets = tuple(sockets)
    inodes = {item.inode for item in sockets_at(port, sockets)}
    for folder in proc.glob("[0-9]*/fd"):
        held = _held(folder)
        if inodes & held:
            return tuple(
                dict.fromkeys(item.port for item in sockets if item.inode in held and item.port != port)
            )
    return ()


def _held(folder: Path) -> set[int]:
    """The sockets that a process holds open."""
    found: set[int] = set()
    with suppress(OSError):
        for entry in folder.iterdir():
            with suppress(OSError):
                name = os.readlink(entry)
                if name.startswith("socket:["):
                    found.add(int(name[8:-1]))
    return found


def find_listeners(ports: Iterable[int], proc: Path = _PROC) -> tuple[Listener, ...]:
    """The proxies that listen on loopback at these ports, in their order."""
    sockets = listening(proc)
    found = (look_at(port, sockets) for port in dict.fromkeys(ports))
    return tuple(item for item in found if item is not None)


def look_at(port: int, sockets: Iterable[Socket]) -> Listener | None:
    """The proxy at a port, or None if nothing listens there or it is no proxy."""
    sockets = tuple(sockets)
    here = sockets_at(port, sockets)
    if sockets and not here:
        return None
    greeting = _ask(port, b"\x05\x01\x00", 2)
    socks = greeting[:1] == b"\x05" and greeting[1:] in (b"\x00", b"\x02", b"\xff")
    status = _STATUS.match(_ask(port, _CONNECT, 12))
    code = int(status[1]) if status else 0
    speaks = (("http",) if code in _PROXY_ANSWERS else ()) + (("socks5",) if socks else ())
    if not speaks:
        return None
    uid = here[0].uid if here else None
    wants_login = code == 407 or (socks and greeting[1:] != b"\x00")
    return Listener(port=port, speaks=speaks, wants_login=wants_login, owner=owner_of(uid), uid=uid)


def _ask(port: int, words: bytes, size_bytes: int) -> bytes:
    """The first bytes of an answer: as many as came before the end or the timeout."""
    answer = bytearray()
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), ANSWER_TIMEOUT_S) as connection:
        connection.sendall(words)
        while len(answer) < size_bytes:
            data = connection.recv(size_bytes - len(answer))
            if not data:
                break
            answer += data
    return bytes(answer)
