"""A bucket on loopback for tests: a real S3 server (moto), and a relay before it that can spoil requests."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from tests.whole.test_real_servers import free_port, stop, wait_for_port

BUCKET = "bucket"


@dataclass(frozen=True)
class Request:
    """A request as the relay sees it; `name` is the object's, without the bucket."""

    method: str
    name: str
    headers: dict[str, str]
    body: bytes


Spoil = Callable[[Request], "str | int | None"]
"""What is done with a request: None passes it on; `reset` ends the connection in the middle of the body;
`lost` passes it on and ends the connection instead of the answer; a number is the answer's status."""


@dataclass
class Relay:
    """Passes requests on to a server, unless `spoil` says otherwise; remembers all it saw."""

    target: str
    spoil: Spoil = lambda request: None
    answered: Callable[[Request], object] = lambda request: None
    """Called when the server has answered, before the client knows."""
    seen: list[Request] = field(default_factory=list)
    drop_conditions: bool = False
    error_code: str = "SlowDown"
    url: str = ""

    def count(self, method: str, end: str = "") -> int:
        """How many requests of a method went to names with that end."""
        return sum(1 for request in self.seen if request.method == method and request.name.endswith(end))


@contextlib.contextmanager
def relay_to(target: str) -> Iterator[Relay]:
    """A relay on a port of its own."""
    relay = Relay(target)
    connections: set[socket.socket] = set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60

        def log_message(self, *words: object) -> None:
            """Say nothing."""

        def setup(self) -> None:
            super().setup()
            connections.add(self.connection)

        def finish(self) -> None:
            connections.discard(self.connection)
            super().finish()

        def _pass(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            name = unquote(urlsplit(self.path).path).removeprefix(f"/{BUCKET}/")
            head = {key.lower(): value for key, value in self.headers.items()}
            early = relay.spoil(Request(self.command, name, head, b"")) if length > 100_000 else None
            body = self.rfile.read(length // 2 if early == "reset" else length)
            request = Request(self.command, name, head, body)
            relay.seen.append(request)
            wish = early or relay.spoil(request)
            if wish == "reset":
                self._end()
            elif isinstance(wish, int):
                text = f"<Error><Code>{relay.error_code}</Code></Error>".encode()
                self._answer(wish, {}, b"" if self.command == "HEAD" else text)
            else:
                status, headers, answer = self._forward(request)
                relay.answered(request)
                if wish == "lost":
                    self._end()
                else:
                    self._answer(status, headers, answer)

        def _end(self) -> None:
            """End the connection with a reset."""
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True

        def _forward(self, request: Request) -> tuple[int, dict[str, str], bytes]:
            headers = dict(request.headers)
            if relay.drop_conditions:
                headers = {key: value for key, value in headers.items() if not key.startswith("if-")}
            host = urlsplit(relay.target).netloc
            connection = http.client.HTTPConnection(host, timeout=60)
            try:
                connection.request(request.method, self.path, request.body or None, headers)
                answer = connection.getresponse()
                kept = (*KEPT, "content-length") if request.method == "HEAD" else KEPT
                found = {key: value for key, value in answer.getheaders() if key.lower() in kept}
                return answer.status, found, answer.read()
            finally:
                connection.close()

        def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response_only(status)
            for key, value in headers.items():
                self.send_header(key, value)
            if self.command != "HEAD" or "content-length" not in {key.lower() for key in headers}:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _pass  # noqa: N815

    class Server(ThreadingHTTPServer):
        daemon_threads = False

        def handle_error(self, *words: object) -> None:
            """A client that went away is what these tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    relay.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield relay
    finally:
        server.shutdown()
        thread.join()
        for connection in list(connections):  # clients keep them for another request
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        server.server_close()


KEPT = ("etag", "last-modified", "content-type", "content-range", "x-amz-version-id")


def without_variables(patched: pytest.MonkeyPatch) -> None:
    """No variable of the machine about proxies or buckets plays a part."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy") or name.startswith("AWS_")]:
        patched.delenv(name)


@contextlib.contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """The address of a moto server with an empty bucket."""
    port = free_port()
    with open(folder / "moto.log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log
        )
    try:
        wait_for_port(process, port, limit_s=60)
        url = f"http://127.0.0.1:{port}"
        make_bucket(url, BUCKET)
        yield url
    finally:
        stop(process)


def make_bucket(url: str, name: str) -> None:
    """Make a bucket that is everybody's to read."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    connection.request("PUT", f"/{name}", headers={"x-amz-acl": "public-read"})
    assert connection.getresponse().status == 200
    connection.close()


def keys(url: str, home: Path) -> dict[str, str]:
    """The variables of a user of that server."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "AKIANOBODY",
        "AWS_SECRET_ACCESS_KEY": "nothing-to-hide",
        "AWS_REGION": "us-east-1",
        "HOME": str(home),
    }
