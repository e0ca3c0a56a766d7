"""The server of `g3m share`: reads files out to whoever has the token. It writes nothing.

`http.server` parses requests and keeps connections; what it lacks is here: a bound on the number of
connections, on the size of a head and on the time it may take, an end for who neither sends nor reads,
and the token in the address. Only what the catalogue names is served. What that is, and how a file is
opened, is the caller's choice.
"""

from __future__ import annotations

import contextlib
import hmac
import io
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType
from typing import Any

from g3m.core.errors import UsageError
from g3m.core.secrets import Secret
from g3m.core.serving import Catalogue, Reply, SharedPath, reply

DEFAULT_PORT = 8318
HEAD_LIMIT_BYTES = 16 * 1024
PIECE_BYTES = 4 * 2**20
STOP_S = 1.0
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)
_EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104  # compared with what the user chose
_OTHER_PORT = (
    "choose another with --port (0: any that is free), or another --host",
    "请用 --port（0 表示任意空闲端口）或 --host 另选",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareOptions:
    """Where to listen and how much to bear; `host_connections` is the bound for one address."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    connections: int = 256
    host_connections: int = 96
    idle_s: float = 30.0
    head_s: float = 10.0
    refresh_s: float = 5.0


OpenFile = Callable[[tuple[str, ...]], AbstractContextManager[io.BufferedReader]]
"""Opens a shared file by its place, or raises FileNotFoundError."""


class ShareServer:
    """A context manager: inside the block, the files of the catalogue can be read at `url`."""

    def __init__(
        self, open_file: OpenFile, token: Secret, catalogue: Callable[[], Catalogue], options: ShareOptions
    ) -> None:
        """`catalogue` is asked again every few seconds, from any thread, one at a time."""
        try:
            self._server = _Server(open_file, token, _Kept(catalogue, options.refresh_s), options)
        except (OSError, OverflowError, UnicodeError) as error:
            words = getattr(error, "strerror", None) or str(error)
            raise UsageError(
                f"cannot listen at {options.host} port {options.port}: {words}", hint=_OTHER_PORT
            ) from None
        self._token, self._host = token, options.host
        self._acceptor = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="g3m-share", daemon=True
        )

    def __enter__(self) -> ShareServer:
        self._acceptor.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.stop()
        self._acceptor.join()

    @property
    def port(self) -> int:
        """The port in use, also where 0 was asked for."""
        return self._server.server_port

    @property
    def url(self) -> str:
        """The whole address with the token: to be handed on, and shown nowhere else."""
        host = socket.gethostname() if self._host in _EVERYWHERE else self._host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/{self._token.reveal()}/"

    @property
    def sent_bytes(self) -> int:
        """How much has been sent so far."""
        return self._server.sent_bytes

    @property
    def connections(self) -> int:
        """How many connections are open now."""
        return self._server.connections


class _Kept:
    """The catalogue, made anew at most every `refresh_s` seconds."""

    def __init__(self, make: Callable[[], Catalogue], refresh_s: float) -> None:
        self._make = make
        self._refresh_s = refresh_s
        self._lock = threading.Lock()
        self._until_s = 0.0
        self._found: Catalogue | None = None

    def __call__(self) -> Catalogue:
        with self._lock:
            if self._found is None or time.monotonic() >= self._until_s:
                self._found = self._make()
                self._until_s = time.monotonic() + self._refresh_s
            return self._found


class _Server(ThreadingHTTPServer):
    """Accepts connections up to the bounds, and can end all of them at once."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, open_file: OpenFile, token: Secret, catalogue: Callable[[], Catalogue], options: ShareOptions
    ) -> None:
        self.open_file = open_file
        self.token = token
        self.catalogue = catalogue
        self.options = options
        self.sent_bytes = 0
        self._lock = threading.Lock()
        self._open: dict[socket.socket, str] = {}
        self._hosts: Counter[str] = Counter()
        found = socket.getaddrinfo(
            options.host or None, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        self.address_family = found[0][0]
        super().__init__((str(found[0][4][0]), int(found[0][4][1])), _Handler)

    @property
    def connections(self) -> int:
        with self._lock:
            return len(self._open)

    def server_bind(self) -> None:
        """Bind without HTTPServer's search for the host's full name, which may ask a slow DNS."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "g3m", int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve one connection in a thread of its own, or refuse it where there are too many."""
        host, options = str(client_address[0]), self.options
        with self._lock:
            full = len(self._open) >= options.connections or self._hosts[host] >= options.host_connections
            if not full:
                self._open[request] = host
                self._hosts[host] += 1
        if not full:
            super().process_request(request, client_address)
            return
        with contextlib.suppress(OSError):
            request.setblocking(False)
            request.send(_BUSY)
        super().shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection and forget it."""
        super().shutdown_request(request)
        with self._lock:
            host = self._open.pop(request, None)
            if host is not None:
                self._hosts[host] -= 1
                self._hosts += Counter()  # without those that have none left

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients may leave or fall silent at any time; nothing of it is for the terminal."""

    def count(self, size_bytes: int) -> None:
        with self._lock:
            self.sent_bytes += size_bytes

    def stop(self) -> None:
        """Stop listening, cut every connection, and give their threads a moment to notice."""
        self.shutdown()
        self.server_close()
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):  # its thread or the client may have closed it
                connection.shutdown(socket.SHUT_RDWR)
        until_s = time.monotonic() + STOP_S
        while self.connections and time.monotonic() < until_s:
            time.sleep(0.005)


class _TooMuch(Exception):
    """A head that is larger than any honest client's."""


class _Receiver(io.RawIOBase):
    """Bytes of a socket; a head has a size and a time to come in, and an idle connection ends."""

    def __init__(self, connection: socket.socket, options: ShareOptions) -> None:
        super().__init__()
        self._connection = connection
        self._options = options
        self.begin()
        connection.settimeout(options.idle_s)

    def begin(self) -> None:
        """What follows is a new head."""
        self._left_bytes = HEAD_LIMIT_BYTES
        self._until_s: float | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._left_bytes <= 0:
            raise _TooMuch
        idle_s = self._options.idle_s
        wait_s = idle_s if self._until_s is None else self._until_s - time.monotonic()
        if wait_s <= 0:
            raise TimeoutError
        self._connection.settimeout(wait_s)
        received = self._connection.recv_into(buffer)
        self._connection.settimeout(idle_s)
        if self._until_s is None:
            self._until_s = time.monotonic() + self._options.head_s
        self._left_bytes -= received
        return received


class _Handler(BaseHTTPRequestHandler):
    """One connection; `http.server` calls `do_METHOD` for each request on it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        """Read through the receiver instead of the plain socket."""
        super().setup()
        self.rfile.close()
        self._receiver = _Receiver(self.connection, self.server.options)
        self.rfile = io.BufferedReader(self._receiver, 4096)

    def handle_one_request(self) -> None:
        """One request; a head that is too large gets an answer, one that is too slow gets none."""
        self._receiver.begin()
        try:
            super().handle_one_request()
        except _TooMuch:
            self.requestline = self.command = ""
            self.send_error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def do_GET(self) -> None:
        """Answer one request; `do_HEAD` is the same, and other methods are refused by `http.server`."""
        if self.request_version == "HTTP/0.9":
            return
        if self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # a body that nobody reads must not pass for a request
        inside = self._behind_token()
        if inside is None:
            self._say(HTTPStatus.NOT_FOUND)
            return
        try:
            catalogue = self.server.catalogue()
        except Exception:  # noqa: BLE001  # whatever it is, others are served on
            self._say(HTTPStatus.INTERNAL_SERVER_ERROR)
            return
        shared = catalogue.paths.get(inside)
        if inside == "":
            self._send(HTTPStatus.OK, catalogue.listing, ("Content-Type", "application/json"))
        elif shared is None:
            self._say(HTTPStatus.NOT_FOUND)
        else:
            self._serve(shared)

    do_HEAD = do_GET  # noqa: N815  # the names are http.server's

    def version_string(self) -> str:
        """The Server header; the usual one tells Python's version."""
        return "g3m"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Keep quiet: the address of every request holds the token."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What `http.server` finds wrong with a request; its own page would repeat the request."""
        del message, explain
        self.close_connection, self.request_version = True, "HTTP/1.1"
        self._say(HTTPStatus(code))

    def _behind_token(self) -> str | None:
        """The path behind the token, or None if the token is not the right one."""
        first, slash, inside = self.path.partition("?")[0].removeprefix("/").partition("/")
        right = hmac.compare_digest(first.encode("latin-1"), self.server.token.reveal().encode("latin-1"))
        return inside if right and slash else None

    def _say(self, status: HTTPStatus, *headers: tuple[str, str]) -> None:
        body = f"{status.value} {status.phrase}\n".encode()
        self._send(status, body, ("Content-Type", "text/plain; charset=utf-8"), *headers)

    def _send(self, status: HTTPStatus, body: bytes, *headers: tuple[str, str]) -> None:
        self._head(status, len(body), *headers)
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: HTTPStatus, length: int, *headers: tuple[str, str]) -> None:
        # The address is a secret: nobody on the way is to keep it or to hand it on.
        careful = (("Cache-Control", "no-store"), ("Referrer-Policy", "no-referrer"))
        self.send_response(status)
        for name, value in (*headers, *careful, ("X-Content-Type-Options", "nosniff")):
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def _serve(self, shared: SharedPath) -> None:
        try:
            with self.server.open_file(shared.parts) as file:
                there = shared.ranges is not None or os.fstat(file.fileno()).st_size == shared.size_bytes
                if there:
                    self._pour(file, reply(shared, self.headers.get("Range"), self.headers.get("If-Range")))
        except FileNotFoundError:
            there = False
        if not there:
            self._say(HTTPStatus.NOT_FOUND)

    def _pour(self, file: io.BufferedReader, answer: Reply) -> None:
        """Send a file's bytes; who takes none for `idle_s`, and a file cut meanwhile, end the connection."""
        status = HTTPStatus(answer.status)
        if status >= 400:
            self._say(status, *answer.headers)
            return
        binary = ("Content-Type", "application/octet-stream")
        self._head(status, answer.end - answer.start, binary, *answer.headers)
        position = answer.start
        while position < answer.end and self.command != "HEAD":
            sent = self.connection.sendfile(file, position, min(PIECE_BYTES, answer.end - position))
            self.server.count(sent)
            position += sent
            if not sent:
                self.close_connection = True
                return
