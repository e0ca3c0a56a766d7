"""Servers of a few lines on loopback: whatever a function says over a socket, and a proxy of both kinds."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

PATIENCE_S = 60.0
"""How long a side may say nothing: the machine may stall for seconds."""


class Wire:
    """A server of a few lines: every connection is given to a function in a thread, and closed after it."""

    def __init__(self, handle: Callable[[socket.socket], None]) -> None:
        self._handle = handle
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.02)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.connections = 0

    def __enter__(self) -> Wire:
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._acceptor.join(5)
        self._listener.close()
        for connection in self._sockets:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            connection.settimeout(PATIENCE_S)
            self.connections += 1
            self._sockets.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self._handle(connection)


def read_head(connection: socket.socket) -> bytes:
    """Read a request up to its empty line."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            break
        data += piece
    return data


def _exactly(connection: socket.socket, size: int) -> bytes:
    """So many bytes; a client that leaves before ends the connection."""
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise ConnectionError("the client has left")
        data += piece
    return data


def _pump(one: socket.socket, other: socket.socket) -> None:
    """Carry bytes both ways until a side ends."""
    while True:
        for ready in select.select([one, other], [], [], PATIENCE_S)[0] or [None]:
            data = ready.recv(65536) if ready is not None else b""
            if not data:
                return
            (other if ready is one else one).sendall(data)


@dataclass
class Proxy:
    """An HTTP proxy and a SOCKS5 server in one: `names` is its DNS, `asked` what it was asked to reach.

    What it knows are ports of this machine, at `address`.
    """

    names: dict[str, int]
    asked: list[str] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)
    address: str = "127.0.0.1"

    def _reach(self, host: str) -> socket.socket:
        return socket.create_connection((self.address, self.names[host]), timeout=PATIENCE_S)

    def carry(self, client: socket.socket, upstream: socket.socket) -> None:
        """Pass on what comes; a proxy that meddles does it here."""
        _pump(client, upstream)

    def http(self, connection: socket.socket) -> None:
        head = read_head(connection)
        if not head:
            return
        self.heads.append(head)
        line, _, rest = head.partition(b"\r\n")
        method, target, _ = line.decode().split()
        self.asked.append(f"{method} {target}")
        if method == "CONNECT":
            host = target.partition(":")[0]
            if host not in self.names:
                connection.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
                return
            with self._reach(host) as upstream:
                connection.sendall(b"HTTP/1.1 200 Connection established\r\nX-Proxy: yes\r\n\r\n")
                self.carry(connection, upstream)
            return
        parts = urlsplit(target)
        if parts.hostname not in self.names:
            connection.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return
        with self._reach(parts.hostname) as upstream:
            path = parts.path + (f"?{parts.query}" if parts.query else "")
            lines = [line for line in rest.split(b"\r\n") if not line.lower().startswith(b"proxy-")]
            # One request a connection: the next may be for another host.
            start = f"{method} {path} HTTP/1.1\r\nConnection: close\r\n".encode()
            upstream.sendall(start + b"\r\n".join(lines))
            self.carry(connection, upstream)

    def socks(self, connection: socket.socket) -> None:
        _, count = _exactly(connection, 2)
        _exactly(connection, count)
        connection.sendall(b"\x05\x00")
        _, _, _, kind = _exactly(connection, 4)
        if kind == 3:
            host = _exactly(connection, _exactly(connection, 1)[0]).decode()
        elif kind == 4:
            host = socket.inet_ntop(socket.AF_INET6, _exactly(connection, 16))
        else:
            host = socket.inet_ntoa(_exactly(connection, 4))
        (port,) = struct.unpack("!H", _exactly(connection, 2))
        self.asked.append(f"{'name' if kind == 3 else 'address'} {host}:{port}")
        if host not in self.names:
            connection.sendall(b"\x05\x04\x00\x01\x00\x00\x00\x00\x00\x00")
            return
        with self._reach(host) as upstream:
            connection.sendall(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00")
            self.carry(connection, upstream)
