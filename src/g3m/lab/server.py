"""One listening socket of the local internet: HTTP/1.1, keep-alive, bad deliveries on demand.

`http.server` parses requests and keeps connections; what is sent, and how badly, is said by a
`Reply`.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import sys
import termios
import threading
import time
import zlib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from g3m.lab.messages import Asked, Body, Delivery, ListenerName, Reply, Request
from g3m.lab.record import Line, Record

HOST = "127.0.0.1"
PIECE_BYTES = 64 * 1024
TRICKLES_PER_S = 20
POLL_S = 0.02
DRAIN_S = 1.0
JOIN_S = 5.0
LINGER_NOT_AT_ALL = struct.pack("ii", 1, 0)  # close() then sends RST instead of FIN
BODILESS_STATUSES = (204, 304)


class Listener(ThreadingHTTPServer):
    """A server on 127.0.0.1 whose `stop` leaves no thread, no socket and no client waiting."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(
        self, name: ListenerName, answer: Callable[[Asked], Reply], record: Record, port: int = 0
    ) -> None:
        self.name: ListenerName = name
        self.answer = answer
        self.record = record
        self.closing = threading.Event()
        self._connections: set[socket.socket] = set()
        self._workers: set[threading.Thread] = set()
        self._lock = threading.Lock()
        super().__init__((HOST, port), _Handler)
        self._acceptor = threading.Thread(
            target=self.serve_forever, args=(POLL_S,), name=f"g3m-lab-{name}", daemon=True
        )

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"http://{HOST}:{self.server_address[1]}"

    def start(self) -> None:
        """Accept connections from now on."""
        self._acceptor.start()

    def stop(self) -> None:
        """Close the listening socket and every connection, and wait for every thread."""
        self.closing.set()
        self.shutdown()
        self._acceptor.join(JOIN_S)
        self.server_close()
        with self._lock:
            connections, workers = list(self._connections), list(self._workers)
        for connection in connections:
            with contextlib.suppress(OSError):  # its thread or the client may have closed it
                connection.shutdown(socket.SHUT_RDWR)  # wakes a thread that reads or writes
        for worker in workers:
            worker.join(JOIN_S)

    def server_bind(self) -> None:
        """Bind without HTTPServer's search for the host's full name, which may ask a slow DNS."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve one connection in a thread of its own, and remember both."""
        worker = threading.Thread(
            target=self.process_request_thread,
            args=(request, client_address),
            name=f"g3m-lab-{self.name}-connection",
            daemon=True,
        )
        with self._lock:
            self._connections.add(request)
            self._workers = {one for one in self._workers if one.is_alive()} | {worker}
            worker.start()

    def shutdown_request(self, request: Any) -> None:
        """Close a connection: in good order, or (if it is not to linger) without the FIN."""
        if request.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == LINGER_NOT_AT_ALL:
            self.close_request(request)
        else:
            super().shutdown_request(request)
        with self._lock:
            self._connections.discard(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients may leave at any time; anything else is a fault of the lab, to be seen."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """One connection; `http.server` calls `do_METHOD` for each request on it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or small answers wait 40 ms for the client's delayed ACK
    server: Listener

    def do_GET(self) -> None:  # the name is http.server's
        """Answer one request of any method; the record must see them all."""
        url = urlsplit(self.path)
        headers: dict[str, str] = {}
        for name, value in self.headers.items():
            known = headers.get(name.lower())
            headers[name.lower()] = value if known is None else f"{known}, {value}"
        asked = Asked(self.server.name, self.command, unquote(url.path), url.query, headers)
        has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        if has_body or self.request_version == "HTTP/1.0":
            self.close_connection = True  # a body that nobody reads must not pass for a request
        self._deliver(asked, self.server.answer(asked))

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_CONNECT = do_GET

    def version_string(self) -> str:
        """The Server header; the usual one tells Python's version."""
        return "g3m-lab"

    def log_message(self, format: str, *args: Any) -> None:  # the name is http.server's
        """Keep quiet: the record knows more."""

    def _deliver(self, asked: Asked, reply: Reply) -> None:
        """Write the request down, then send the answer as its delivery says."""
        delivery = reply.delivery
        status = 0 if delivery.silent_s is not None else reply.status
        request = Request(
            listener=asked.listener,
            method=asked.method,
            path=asked.path,
            query=asked.query,
            headers=asked.headers,
            status=status,
            sent_bytes=0,
            mischief=reply.mischief,
        )
        line = self.server.record.begin(request)
        if delivery.silent_s is not None:
            self._wait(delivery.silent_s)
            self.close_connection = True
            return
        is_chunked = delivery.chunked and self.request_version != "HTTP/1.0"
        self.close_connection |= delivery.unsaid
        self._send_head(reply, is_chunked)
        if asked.method != "HEAD" and reply.status not in BODILESS_STATUSES:
            self._send_body(reply.body, delivery, _Pen(self, line, is_chunked))
        self.wfile.write(delivery.behind)
        if delivery.length_lie_bytes:
            self.close_connection = True

    def _send_head(self, reply: Reply, is_chunked: bool) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers:
            self.send_header(name, value)
        if is_chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif not (reply.delivery.chunked or reply.delivery.unsaid) and reply.status not in BODILESS_STATUSES:
            length = reply.body.size_bytes + reply.delivery.length_lie_bytes
            self.send_header("Content-Length", str(length))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def _send_body(self, body: Body, delivery: Delivery, pen: _Pen) -> None:
        packer = zlib.compressobj(wbits=31) if body.gzipped else None
        started_s = time.monotonic()
        sent = 0
        with body.open() as file:
            while sent < body.size_bytes:
                if sent == delivery.stall_after_bytes:
                    self._wait(delivery.stall_s)
                if sent == delivery.hang_up_after_bytes:
                    self._hang_up(reset=delivery.reset)
                    return
                piece = body.read(file, _stride(delivery, sent, body.size_bytes))
                if not piece:  # the file shrank under our hands
                    self._hang_up(reset=False)
                    return
                pen.write(packer.compress(piece) if packer else piece)
                sent += len(piece)
                if delivery.bytes_per_s is not None:
                    self._wait(started_s + sent / delivery.bytes_per_s - time.monotonic())
        pen.finish(packer.flush() if packer else b"")

    def _wait(self, seconds: float) -> None:
        """Do nothing for a while, unless the origin closes meanwhile."""
        if self.server.closing.wait(max(0.0, seconds)):
            raise ConnectionAbortedError("the origin is closing")

    def _hang_up(self, *, reset: bool) -> None:
        """Close the connection behind what was sent, which the client still gets in both cases."""
        self.close_connection = True
        if reset:
            _drain(self.connection)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT_AT_ALL)


class _Pen:
    """Writes body bytes, in chunks if need be, and counts them before they leave.

    Counting first means that a client that has all bytes finds them all in the record.
    """

    def __init__(self, handler: _Handler, line: Line, is_chunked: bool) -> None:
        self._handler = handler
        self._line = line
        self._is_chunked = is_chunked

    def write(self, piece: bytes) -> None:
        """Send some bytes of the body."""
        if not piece:
            return
        record = self._handler.server.record
        record.count(self._line, len(piece))
        try:
            framed = b"%x\r\n%b\r\n" % (len(piece), piece) if self._is_chunked else piece
            self._handler.wfile.write(framed)
        except OSError:
            record.count(self._line, -len(piece))
            raise

    def finish(self, piece: bytes) -> None:
        """Send the last bytes, and say that they were the last."""
        self.write(piece)
        if self._is_chunked:
            self._handler.wfile.write(b"0\r\n\r\n")


def _stride(delivery: Delivery, sent: int, size_bytes: int) -> int:
    """How many bytes to send next, so that every point where something happens is met exactly."""
    points = (delivery.stall_after_bytes, delivery.hang_up_after_bytes, size_bytes)
    next_point = min(point for point in points if point is not None and point > sent)
    most = PIECE_BYTES
    if delivery.bytes_per_s is not None:
        most = min(most, max(1, int(delivery.bytes_per_s / TRICKLES_PER_S)))
    return min(most, next_point - sent)


def _drain(connection: socket.socket) -> None:
    """Wait until the other side has everything: a reset throws away what is still on its way."""
    deadline_s = time.monotonic() + DRAIN_S
    while time.monotonic() < deadline_s:
        waiting = fcntl.ioctl(connection, termios.TIOCOUTQ, struct.pack("i", 0))
        if struct.unpack("i", waiting)[0] == 0:
            return
        time.sleep(0.002)
