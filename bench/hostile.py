"""Serves files from sources that are slow, far, flaky or silent; counts what leaves them.

    python bench/hostile.py SPEC.json    prints the sources' addresses, serves until stdin ends, prints counts

bench/link.py starts it. A source is a loopback address of its own with, if wanted: a rate per connection, a
round trip, a reset after exponentially distributed bytes, silence after such bytes, a limit of requests at
work (503 above it). Two more kinds: `black_hole` accepts and never answers, `dead` refuses.

Why not nginx's limit_rate: it counts by the request and lets a second's worth of each through at once, so a
client that asks for 1 MiB at a time is not limited at all (eight requests of 1 MiB at 2 MiB/s took 0.07 s
and not 4 s). Here the rate belongs to the connection, as on a real line, and is kept in steps of 20 ms.
One thread, epoll and sendfile; the processor time that it took is among the counts. A round trip is time
until the first byte, twice for a connection's first request; slow start, loss and queues are not imitated.
"""

from __future__ import annotations

import heapq
import json
import os
import random
import re
import resource
import select
import socket
import stat
import struct
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from link import BUCKET_S, Source

STEP_S = 0.02
BURST_S = 0.25
"""How much time a connection may catch up when this process or the client was not scheduled."""

CHUNK_BYTES = 2**20
HEAD_LIMIT_BYTES = 16_384
_RANGE = re.compile(rb"bytes=(\d*)-(\d*)\s*$")


@dataclass(slots=True)
class Counts:
    """What a source did; `buckets` says for each twentieth of a second of the system's clock how many bytes
    of bodies left, and over how many connections at once."""

    connections: int = 0
    requests: int = 0
    refused: int = 0
    resets: int = 0
    silences: int = 0
    sent_bytes: int = 0
    most_at_once: int = 0
    first_request_s: float = 0
    last_byte_s: float = 0
    buckets: dict[int, list[int]] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class _Connection:
    sock: socket.socket
    place: _Place
    file: int = -1
    inbox: bytes = b""
    head: bytes = b""
    offset: int = 0
    end: int = 0
    busy: bool = False
    counted: bool = False
    waiting: bool = False
    answered: int = 0
    ready_s: float = 0.0
    ticket: int = 0
    reset_left: float = float("inf")
    silence_left: float = float("inf")


@dataclass(slots=True, eq=False)
class _Place:
    source: Source
    listener: socket.socket
    numbers: random.Random
    counts: Counts = field(default_factory=Counts)
    at_work: int = 0


class Server:
    """All sources in one thread."""

    def __init__(self, sources: list[Source], seed: int) -> None:
        self._poll = select.epoll()
        self._due: list[tuple[float, int, int, _Connection]] = []
        self._connections: dict[int, _Connection] = {}
        self._places: dict[int, _Place] = {}
        self._serial = 0
        for number, source in enumerate(sources):
            self._open(source, random.Random(f"{seed}/{source.name}"), number)

    def _open(self, source: Source, numbers: random.Random, number: int) -> None:
        source.host = f"127.0.0.{11 + number}"
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((source.host, 0))
        source.port = listener.getsockname()[1]
        if source.kind != "dead":  # bound and not listening: the system refuses
            listener.listen(256)
            self._poll.register(listener, select.EPOLLIN)
        listener.setblocking(False)
        self._places[listener.fileno()] = _Place(source, listener, numbers)

    def run(self) -> None:
        """Serve until stdin ends."""
        self._poll.register(0, select.EPOLLIN)
        while True:
            now_s = time.monotonic()
            while self._due and self._due[0][0] <= now_s:
                _, _, ticket, connection = heapq.heappop(self._due)
                if connection.ticket == ticket:
                    self._step(connection, time.monotonic())
            timeout_s = max(0.0, self._due[0][0] - time.monotonic()) if self._due else -1
            for descriptor, events in self._poll.poll(timeout_s):
                if descriptor == 0:
                    if not os.read(0, 4096):
                        return
                elif descriptor in self._places:
                    self._accept(self._places[descriptor])
                elif descriptor in self._connections:
                    self._happened(self._connections[descriptor], events)

    def counts(self) -> dict[str, Any]:
        """What every source did, and what it cost."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        places = {place.source.name: asdict(place.counts) for place in self._places.values()}
        return {"places": places, "cpu_s": used.ru_utime + used.ru_stime}

    def _accept(self, place: _Place) -> None:
        try:
            sock, _ = place.listener.accept()
        except OSError:
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = _Connection(sock, place)
        source = place.source
        if source.reset_mean_bytes:
            connection.reset_left = place.numbers.expovariate(1 / source.reset_mean_bytes)
        if source.silence_mean_bytes:
            connection.silence_left = place.numbers.expovariate(1 / source.silence_mean_bytes)
        place.counts.connections += 1
        self._connections[sock.fileno()] = connection
        self._poll.register(sock, select.EPOLLIN | select.EPOLLRDHUP)

    def _happened(self, connection: _Connection, events: int) -> None:
        if events & select.EPOLLIN:
            try:
                data = connection.sock.recv(65536)
            except BlockingIOError:
                data = b"?"
            except OSError:
                data = b""
            if not data:
                self._close(connection)
                return
            if connection.place.source.kind == "serve":
                connection.inbox += data
                self._next_request(connection)
        elif events & (select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR):
            self._close(connection)
            return
        if events & select.EPOLLOUT and connection.waiting:
            connection.waiting = False
            self._poll.modify(connection.sock, select.EPOLLIN | select.EPOLLRDHUP)
            self._step(connection, time.monotonic())

    def _next_request(self, connection: _Connection) -> None:
        if connection.busy:
            return
        raw, end, rest = connection.inbox.partition(b"\r\n\r\n")
        if not end:
            if len(raw) > HEAD_LIMIT_BYTES:
                self._close(connection)
            return
        connection.inbox = rest
        place, source = connection.place, connection.place.source
        place.counts.requests += 1
        place.counts.first_request_s = place.counts.first_request_s or time.monotonic()
        connection.busy = True
        if source.limit and place.at_work >= source.limit:
            place.counts.refused += 1
            connection.head, connection.offset, connection.end = _answer(503), 0, 0
        else:
            place.at_work += 1
            place.counts.most_at_once = max(place.counts.most_at_once, place.at_work)
            connection.counted = True
            connection.file, size_bytes, name = _open_file(source.folder, raw)
            connection.head, connection.offset, connection.end = answer(raw, size_bytes, name)
        trips = 1 if connection.answered else 2
        connection.answered += 1
        connection.ready_s = time.monotonic() + trips * source.round_trip_s
        self._later(connection)

    def _later(self, connection: _Connection) -> None:
        self._serial += 1
        connection.ticket = self._serial
        heapq.heappush(self._due, (connection.ready_s, self._serial, self._serial, connection))

    def _step(self, connection: _Connection, now_s: float) -> None:
        """Send what is due now; then come back later, wait for room, or look for the next request."""
        place, rate = connection.place, connection.place.source.rate_bytes_per_s
        try:
            if connection.head:
                sent = connection.sock.send(connection.head)
                connection.head = connection.head[sent:]
            left = connection.end - connection.offset
            if left and not connection.head:
                wish = min(left, max(4096, int(rate * STEP_S)) if rate else CHUNK_BYTES)
                wish = int(min(wish, connection.reset_left + 1, connection.silence_left + 1))
                sent = os.sendfile(connection.sock.fileno(), connection.file, connection.offset, wish)
                self._sent(connection, sent, now_s)
        except BlockingIOError:
            self._wait_for_room(connection)
            return
        except OSError:
            self._close(connection)
            return
        if connection.reset_left <= 0:
            place.counts.resets += 1
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._close(connection)
        elif connection.silence_left <= 0:
            place.counts.silences += 1
            connection.ticket = 0  # nothing more will come, and nobody is told
        elif connection.head or connection.offset < connection.end:
            self._later(connection)
        else:
            self._finish(connection)

    def _sent(self, connection: _Connection, sent: int, now_s: float) -> None:
        counts, rate = connection.place.counts, connection.place.source.rate_bytes_per_s
        connection.offset += sent
        connection.reset_left -= sent
        connection.silence_left -= sent
        counts.sent_bytes += sent
        counts.last_byte_s = now_s
        bucket = int(now_s / BUCKET_S)
        known = counts.buckets.setdefault(bucket, [0, 0])
        known[0], known[1] = known[0] + sent, max(known[1], connection.place.at_work)
        if rate:
            connection.ready_s = max(connection.ready_s, now_s - BURST_S) + sent / rate

    def _finish(self, connection: _Connection) -> None:
        connection.busy = False
        self._leave(connection)
        self._next_request(connection)

    def _leave(self, connection: _Connection) -> None:
        if connection.file >= 0:
            os.close(connection.file)
            connection.file = -1
        if connection.counted:
            connection.place.at_work -= 1
            connection.counted = False

    def _wait_for_room(self, connection: _Connection) -> None:
        connection.waiting = True
        self._poll.modify(connection.sock, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLOUT)

    def _close(self, connection: _Connection) -> None:
        connection.ticket = 0
        self._leave(connection)
        if self._connections.pop(connection.sock.fileno(), None) is not None:
            self._poll.unregister(connection.sock)
        connection.sock.close()


def _open_file(folder: str, raw: bytes) -> tuple[int, int, bytes]:
    """The file that a request asks for: descriptor (-1 if there is none), size, name."""
    name = raw.partition(b"\r\n")[0].partition(b" HTTP/")[0].partition(b"?")[0].rpartition(b"/")[2]
    try:
        descriptor = os.open(os.path.join(os.fsencode(folder), name), os.O_RDONLY)
    except OSError:
        return -1, 0, b""
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        return -1, 0, b""
    return descriptor, found.st_size, name


def answer(raw: bytes, size_bytes: int, name: bytes) -> tuple[bytes, int, int]:
    """The head of the answer, and which bytes of the file follow it."""
    lines = raw.split(b"\r\n")
    method, etag = lines[0].partition(b" ")[0], b'"%s"' % name.hex().encode()
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])
    }
    if not name or method not in (b"GET", b"HEAD"):
        return _answer(404), 0, 0
    start, end, status = 0, size_bytes, 200
    found = _RANGE.match(headers.get(b"range", b""))
    if found and headers.get(b"if-range", etag) == etag:
        first, last = found.groups()
        if first:
            start, end = int(first), min(end, int(last) + 1 if last else end)
        else:
            start = max(0, end - int(last or 0))
        if start >= size_bytes or end <= start:
            return _answer(416, b"Content-Range: bytes */%d\r\n" % size_bytes), 0, 0
        status = 206
    extra = b"Content-Range: bytes %d-%d/%d\r\n" % (start, end - 1, size_bytes) if status == 206 else b""
    # What the hub's and the bucket's own clients want to see beside the bytes.
    extra += b"ETag: %s\r\nLast-Modified: Sat, 01 Aug 2026 00:00:00 GMT\r\n" % etag
    extra += b"Accept-Ranges: bytes\r\nX-Repo-Commit: %s\r\n" % (b"0" * 40)
    head = _answer(status, extra, end - start)
    return head, start, start if method == b"HEAD" else end


def _answer(status: int, extra: bytes = b"", length: int = 0) -> bytes:
    words = {200: b"OK", 206: b"Partial Content", 404: b"Not Found", 416: b"Range Not Satisfiable"}
    reason = words.get(status, b"Service Unavailable")
    head = b"HTTP/1.1 %d %s\r\nContent-Type: application/octet-stream\r\n" % (status, reason)
    return head + extra + b"Content-Length: %d\r\n\r\n" % length


def main(kind: type[Server] = Server) -> None:
    """Serve what the file on the command line says, until told to stop; the counts are printed then."""
    spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    sources = [Source(**item) for item in spec["sources"]]
    server = kind(sources, spec["seed"])
    told = {source.name: {"host": source.host, "port": source.port} for source in sources}
    print(json.dumps(told), flush=True)
    server.run()
    print(json.dumps(server.counts()), flush=True)


if __name__ == "__main__":
    main()
