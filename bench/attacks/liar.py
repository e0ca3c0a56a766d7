"""A server whose every answer is a generator: of the bytes that it sends and the seconds that it waits.

Behaviours spoil the answer to GET alone; HEAD is honest, as where somebody between the two spoils the way.
Every answer ends its connection. The lies are in `lies`.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

PIECE_BYTES = 64 * 1024
_RANGE = re.compile(r"bytes=(\d+)-(\d*)$")


@dataclass(frozen=True, slots=True)
class Thing:
    """What lies behind an address."""

    data: bytes
    kind: str = "application/octet-stream"

    @property
    def etag(self) -> str:
        return f'"{hashlib.sha256(self.data).hexdigest()}"'


@dataclass(frozen=True, slots=True)
class Asked:
    """One request; `count` says how many GETs of the same path came before it."""

    method: str
    path: str
    headers: dict[str, str]
    count: int


Behaviour = Callable[[Asked, Thing], Iterator["bytes | float"]]


@dataclass(slots=True)
class Liar:
    """Serves `things` by the last part of a path, as `behave` says; what it has none for is 404."""

    things: dict[str, Thing]
    behave: Behaviour
    special: dict[str, Behaviour] = field(default_factory=dict)
    """Other behaviours for some names."""
    asked: list[Asked] = field(default_factory=list)
    sent_bytes: int = 0
    closing: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _listeners: list[socket.socket] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    def listen(self, host: str = "127.0.0.1", port: int = 0, secret: ssl.SSLContext | None = None) -> int:
        """Take connections at one more address; returns the port."""
        listener = socket.create_server((host, port), backlog=128)
        listener.settimeout(0.1)
        self._listeners.append(listener)
        thread = threading.Thread(target=self._accept, args=(listener, secret), daemon=True)
        self._threads.append(thread)
        thread.start()
        return int(listener.getsockname()[1])

    def close(self) -> None:
        """Stop at the next piece of every answer."""
        self.closing.set()
        for thread in self._threads:
            thread.join(5)
        for listener in self._listeners:
            listener.close()

    def gets(self, name: str) -> int:
        """How often the thing of that name was asked for."""
        return sum(_name(asked.path) == name for asked in self.asked)

    def _accept(self, listener: socket.socket, secret: ssl.SSLContext | None) -> None:
        while not self.closing.is_set():
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                threading.Thread(target=self._serve, args=(connection, secret), daemon=True).start()

    def _serve(self, connection: socket.socket, secret: ssl.SSLContext | None) -> None:
        connection.settimeout(30)
        with contextlib.suppress(OSError):
            if secret:
                connection = secret.wrap_socket(connection, server_side=True)
            head = b""
            while b"\r\n\r\n" not in head:
                more = connection.recv(65536)
                if not more:
                    break
                head += more
            if b"\r\n\r\n" in head:
                self._answer(connection, head.decode("latin-1"))
            if isinstance(connection, ssl.SSLSocket):
                connection = connection.unwrap()
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1)
        connection.close()

    def _answer(self, connection: socket.socket, head: str) -> None:
        first, *lines = head.split("\r\n")
        method, path = first.split(" ")[:2]
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (s.partition(":") for s in lines)
        }
        name = _name(path)
        with self._lock:
            count = sum(each.path == path and each.method == "GET" for each in self.asked)
            asked = Asked(method, path, headers, count)
            self.asked.append(asked)
        behave = self.special.get(name, self.behave)
        thing = self.things.get(name)
        if thing is None and name not in self.special:
            connection.sendall(answer(404, b"Content-Length: 0\r\n"))
            return
        thing = thing or Thing(b"")
        for step in (honest if method == "HEAD" else behave)(asked, thing):
            if isinstance(step, bytes):
                connection.sendall(step)
                self.sent_bytes += len(step)
            elif self.closing.wait(step):
                return
            if self.closing.is_set():
                return


def _name(path: str) -> str:
    return path.partition("?")[0].rpartition("/")[2]


def answer(status: int, headers: bytes, thing: Thing | None = None) -> bytes:
    """The head of an answer, in bytes."""
    head = b"HTTP/1.1 %d Status\r\nConnection: close\r\n" % status
    if thing:
        etag, size = thing.etag.encode(), len(thing.data)
        head += b"Content-Type: %s\r\nETag: %s\r\n" % (thing.kind.encode(), etag)
        # What the hub's client wants to see.
        head += b"X-Repo-Commit: %s\r\nX-Linked-Size: %d\r\nX-Linked-ETag: %s\r\n" % (b"0" * 40, size, etag)
    return head + headers + b"\r\n"


def pieces(data: bytes) -> Iterator[bytes]:
    """A body in pieces."""
    for first in range(0, len(data), PIECE_BYTES):
        yield data[first : first + PIECE_BYTES]


def span(asked: Asked, thing: Thing) -> tuple[int, int] | None:
    """The range that is asked for, as a first byte and one behind the last; None for the whole."""
    found = _RANGE.match(asked.headers.get("range", ""))
    if not found:
        return None
    return int(found[1]), min(int(found[2] or len(thing.data)) + bool(found[2]), len(thing.data))


def part(thing: Thing, wanted: tuple[int, int], data: bytes | None = None) -> Iterator[bytes]:
    """An answer 206, with other bytes than the true ones if `data` is given."""
    first, end = wanted
    if first >= len(thing.data):
        yield answer(416, b"Content-Range: bytes */%d\r\nContent-Length: 0\r\n" % len(thing.data), thing)
        return
    place = b"Content-Range: bytes %d-%d/%d\r\n" % (first, end - 1, len(thing.data))
    yield answer(206, place + b"Content-Length: %d\r\n" % (end - first), thing)
    yield from pieces((thing.data if data is None else data)[first:end])


def whole(thing: Thing, length: int | None = None) -> bytes:
    """The head of an answer 200 with a length, true or not."""
    size = len(thing.data) if length is None else length
    return answer(200, b"Accept-Ranges: bytes\r\nContent-Length: %d\r\n" % size, thing)


def honest(asked: Asked, thing: Thing) -> Iterator[bytes | float]:
    """Ranges, If-Range, HEAD: all as it should be."""
    wanted = span(asked, thing)
    if wanted and asked.headers.get("if-range", thing.etag) == thing.etag:
        yield from part(thing, wanted)
        return
    yield whole(thing)
    if asked.method != "HEAD":
        yield from pieces(thing.data)


def wait_until(holds: Callable[[], bool], limit_s: float) -> bool:
    """Wait for a condition; False if it did not come."""
    end_s = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > end_s:
            return False
        time.sleep(0.05)
    return True
