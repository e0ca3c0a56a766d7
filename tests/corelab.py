"""Proxy cores on loopback: the real mihomo and sing-box in front of nodes of our own, and a scripted one.

Every node is a small SOCKS5 or HTTP proxy in this process, slow if it shall be, with or without a login; what
they lead to is a server of ours with TLS. All ports are free ones, nothing leaves loopback.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any

from tests.netlab.cores import HAS_MIHOMO, mihomo_program, sing_box_program

SECRET = "CANARY-secret-8c1d"
USER, PASSWORD = "CANARYuser", "CANARYpassword"
CANARY = "CANARY"
REAL_CORES = ("mihomo", "sing-box") if HAS_MIHOMO else ("sing-box",)
GROUP, AUTO = "节点选择 🚀", "Auto/a b"
FAST, LOGIN, SLOW, DEAD = "socks 香港 01", "http/JP 🇯🇵", "slow?x=1#%", "dead"
FILE_BYTES = 6_000_000
SLOW_BYTES_PER_S = 600_000
LIMIT_S = 15


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(true: Callable[[], Any], what: str) -> Any:
    """The first true answer."""
    end_s = time.monotonic() + LIMIT_S
    while time.monotonic() < end_s:
        answer = true()
        if answer:
            return answer
        time.sleep(0.01)
    raise AssertionError(f"waited in vain for {what}")


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        """A client that goes away is no failure."""


class _Unix(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: object) -> None:
        """A client that goes away is no failure."""


@contextlib.contextmanager
def _serving(server: Any) -> Iterator[Any]:
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


# What the nodes lead to.


class _Origin(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        name = self.path.partition("?")[0]
        if name == "/generate_204":
            self._answer(204, {}, b"")
        elif name == "/page":
            self._answer(200, {"Content-Type": "text/html; charset=utf-8"}, b"<html>blocked</html>")
        elif name == "/missing":
            self._answer(404, {}, b"no")
        elif name == "/moved":
            self._answer(302, {"Location": "/file"}, b"")
        elif name == "/round":
            self._answer(302, {"Location": "/round"}, b"")
        elif name == "/down":
            self._answer(302, {"Location": "http://127.0.0.1:9/file"}, b"")
        elif name == "/silent":
            time.sleep(1)
        elif name == "/stall":
            self._answer(206, {"Content-Range": f"bytes 0-999/{FILE_BYTES}"}, b"x" * 200, size=1000)
            self.wfile.flush()
            time.sleep(1)
        else:
            self._file()

    do_HEAD = do_GET  # noqa: N815  # the name is http.server's

    def _file(self) -> None:
        wanted = self.headers.get("Range", "")
        last = min(int(wanted.rpartition("-")[2] or FILE_BYTES), FILE_BYTES - 1)
        head = {"Content-Range": f"bytes 0-{last}/{FILE_BYTES}", "Content-Type": "application/zip"}
        self._answer(206, head, b"x" * (last + 1))

    def _answer(self, status: int, head: Mapping[str, str], body: bytes, size: int | None = None) -> None:
        self.send_response(status)
        for name, value in head.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if size is None else size))
        self.end_headers()
        if self.command != "HEAD":
            for at in range(0, len(body), 65536):
                self.wfile.write(body[at : at + 65536])

    def log_message(self, *_: object) -> None:
        """Nothing to stderr."""


@dataclass(frozen=True)
class Authority:
    """A certificate for 127.0.0.1 that vouches for itself."""

    pem: Path
    key: Path


def make_authority(folder: Path) -> Authority:
    """A certificate made with openssl."""
    made = Authority(folder / "lab.pem", folder / "lab.key")
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        ["openssl", "req", "-x509", *kind, *names, "-keyout", made.key, "-out", made.pem],
        check=True,
        capture_output=True,
        timeout=20,
    )
    return made


@contextlib.contextmanager
def origin(authority: Authority | None) -> Iterator[int]:
    """A file server on a free port, with TLS if there is an authority; yields the port."""
    server = _Server(("127.0.0.1", 0), _Origin)
    if authority is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority.pem, authority.key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    with _serving(server):
        yield server.server_address[1]


# Nodes.


@dataclass
class Relay:
    """A proxy that speaks SOCKS5, HTTP's CONNECT or both; `served` counts what it carried."""

    speaks: tuple[str, ...] = ("socks5", "http")
    login: bool = False
    rate_bytes_per_s: int = 0
    port: int = 0
    served: int = 0
    _open: set[socket.socket] = field(default_factory=set)
    _threads: list[threading.Thread] = field(default_factory=list)

    @contextlib.contextmanager
    def running(self) -> Iterator[Relay]:
        listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = listener.getsockname()[1]
        self._begin(self._accept, listener)
        try:
            yield self
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            for connection in list(self._open):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            for thread in list(self._threads):
                thread.join(LIMIT_S)

    def _begin(self, work: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                self._begin(self._serve, connection)

    def _serve(self, client: socket.socket) -> None:
        self._open.add(client)
        with client, contextlib.suppress(OSError, ValueError):
            client.settimeout(LIMIT_S)
            first = client.recv(1, socket.MSG_PEEK)
            reach = self._socks if first == b"\x05" else self._http
            target = reach(client)
            if target is not None:
                self.served += 1
                self._open.add(target)
                with target:
                    self._begin(self._pump, client, target, 0)
                    self._pump(target, client, self.rate_bytes_per_s)
                self._open.discard(target)
        self._open.discard(client)

    def _socks(self, client: socket.socket) -> socket.socket | None:
        methods = _read(client, _read(client, 2)[1])
        if "socks5" not in self.speaks:
            return None
        wanted = 2 if self.login else 0
        if wanted not in methods:
            client.sendall(b"\x05\xff")
            return None
        client.sendall(bytes([5, wanted]))
        if self.login:
            user = _read(client, _read(client, 2)[1])
            password = _read(client, _read(client, 1)[0])
            right = (user, password) == (USER.encode(), PASSWORD.encode())
            client.sendall(b"\x01\x00" if right else b"\x01\x01")
            if not right:
                return None
        kind = _read(client, 4)[3]
        host = (
            socket.inet_ntoa(_read(client, 4)) if kind == 1 else _read(client, _read(client, 1)[0]).decode()
        )
        port = int.from_bytes(_read(client, 2), "big")
        target = socket.create_connection((host, port), LIMIT_S)
        client.sendall(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
        return target

    def _http(self, client: socket.socket) -> socket.socket | None:
        head = b""
        while b"\r\n\r\n" not in head:
            data = client.recv(65536)
            if not data:
                return None
            head += data
        if "http" not in self.speaks:
            return None
        basic = base64.b64encode(f"{USER}:{PASSWORD}".encode())
        if self.login and b"Basic " + basic not in head:
            client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return None
        host, _, port = head.split()[1].decode().rpartition(":")
        try:
            target = socket.create_connection((host, int(port)), LIMIT_S)
        except OSError:
            client.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
            return None
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        return target

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket, rate_bytes_per_s: int) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(16384 if rate_bytes_per_s else 262144):
                sink.sendall(data)
                if rate_bytes_per_s:
                    time.sleep(len(data) / rate_bytes_per_s)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def _read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise ValueError("the client went away")
        data += more
    return data


# Real cores.


@dataclass
class Lab:
    """A real core in front of four nodes, and what they lead to."""

    kind: str
    controller: str
    port: int
    url: str
    direct_url: str
    certificates: Path
    folder: Path
    log: Path
    relays: dict[str, Relay]

    @property
    def variables(self) -> dict[str, str]:
        """The environment in which g3m finds it and trusts the file server."""
        return {
            "SSL_CERT_FILE": str(self.certificates),
            "G3M_CLASH_SECRET": SECRET,
            "CLASH_API": self.controller,
        }


@contextlib.contextmanager
def core_lab(
    kind: str, folder: Path, authority: Authority, *, controller_port: int = 0, **changes: Any
) -> Iterator[Lab]:
    """Start a core (`mihomo` or `sing-box`) with its nodes; `changes` go into its configuration."""
    with contextlib.ExitStack() as stack:
        port, direct = stack.enter_context(origin(authority)), stack.enter_context(origin(authority))
        relays = {
            FAST: Relay(speaks=("socks5",)),
            LOGIN: Relay(speaks=("http",), login=True),
            SLOW: Relay(speaks=("socks5",), rate_bytes_per_s=SLOW_BYTES_PER_S),
        }
        for relay in relays.values():
            stack.enter_context(relay.running())
        lab = Lab(
            kind=kind,
            controller=f"127.0.0.1:{controller_port or free_port()}",
            port=free_port(),
            url=f"https://127.0.0.1:{port}/file",
            direct_url=f"https://127.0.0.1:{direct}/file",
            certificates=authority.pem,
            folder=folder,
            log=folder / "core.log",
            relays=relays,
        )
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "config.json"
        make = _mihomo if kind == "mihomo" else _sing_box
        words_of = json.dumps(
            {**make(lab, direct), **changes}, ensure_ascii=False
        )  # YAML knows no surrogates
        config.write_text(words_of, encoding="utf-8")
        program = mihomo_program() if kind == "mihomo" else sing_box_program()
        words = ["-d", folder, "-f", config] if kind == "mihomo" else ["run", "-D", folder, "-c", config]
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "SSL_CERT_FILE": str(authority.pem)}
        log = stack.enter_context(open(lab.log, "wb"))
        process = stack.enter_context(
            subprocess.Popen(
                [program, *words], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        )
        stack.callback(process.kill)
        for place in (int(lab.controller.rpartition(":")[2]), lab.port):
            wait_until(lambda place=place: answers(place) or process.poll(), f"{kind} at {place}")
        assert process.poll() is None, lab.log.read_text(encoding="utf-8")
        yield lab


def _mihomo(lab: Lab, direct: int) -> dict[str, Any]:
    def node(name: str, kind: str, **more: Any) -> dict[str, Any]:
        port = lab.relays[name].port if name in lab.relays else free_port()
        return {"name": name, "type": kind, "server": "127.0.0.1", "port": port, **more}

    nodes = [FAST, LOGIN, SLOW, DEAD]
    test = {"url": lab.url.replace("/file", "/generate_204"), "interval": 300, "lazy": True}
    return {
        "mixed-port": lab.port,
        "allow-lan": False,
        "bind-address": "127.0.0.1",
        "mode": "rule",
        "log-level": "info",
        "ipv6": False,
        "external-controller": lab.controller,
        "external-controller-unix": str(lab.folder / "mihomo.sock"),
        "secret": SECRET,
        "profile": {"store-selected": False},
        "dns": {"enable": False},
        "geo-auto-update": False,
        "proxies": [
            node(FAST, "socks5"),
            node(LOGIN, "http", username=USER, password=PASSWORD),
            node(SLOW, "socks5"),
            node(DEAD, "socks5"),
        ],
        "proxy-groups": [
            {"name": GROUP, "type": "select", "proxies": [*nodes, AUTO, "DIRECT", "REJECT"]},
            {"name": AUTO, "type": "url-test", "proxies": [FAST, LOGIN], **test},
        ],
        "rules": [f"DST-PORT,{direct},DIRECT", f"MATCH,{GROUP}"],
    }


def _sing_box(lab: Lab, direct: int) -> dict[str, Any]:
    def node(name: str, kind: str, **more: Any) -> dict[str, Any]:
        port = lab.relays[name].port if name in lab.relays else free_port()
        return {"tag": name, "type": kind, "server": "127.0.0.1", "server_port": port, **more}

    members = [FAST, LOGIN, SLOW, DEAD, AUTO, "direct"]
    return {
        "log": {"level": "info"},
        "inbounds": [{"type": "mixed", "tag": "in", "listen": "127.0.0.1", "listen_port": lab.port}],
        "outbounds": [
            {"type": "selector", "tag": GROUP, "outbounds": members, "default": FAST},
            {"type": "urltest", "tag": AUTO, "outbounds": [FAST, LOGIN], "url": lab.url, "interval": "5m"},
            node(FAST, "socks"),
            node(LOGIN, "http", username=USER, password=PASSWORD),
            node(SLOW, "socks"),
            node(DEAD, "socks"),
            {"type": "direct", "tag": "direct"},
        ],
        "route": {"rules": [{"port": [direct], "outbound": "direct"}], "final": GROUP},
        "experimental": {"clash_api": {"external_controller": lab.controller, "secret": SECRET}},
    }


# A scripted core.


@dataclass
class Request:
    """What was asked of the scripted core."""

    method: str
    path: str
    authorization: str
    body: bytes


@dataclass
class FakeCore:
    """Answers what `script` says by method and path (without query); by default as a core without a secret."""

    script: dict[str, Any] = field(default_factory=dict)
    secret: str = ""
    requests: list[Request] = field(default_factory=list)
    port: int = 0

    @property
    def controller(self) -> str:
        return f"127.0.0.1:{self.port}"

    def asked(self, method: str) -> list[str]:
        return [request.path for request in self.requests if request.method == method]

    def answer(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        self.requests.append(request)
        if self.secret and request.authorization != f"Bearer {self.secret}":
            return 401, {}, b'{"message":"Unauthorized"}'
        said = self.script.get(
            f"{request.method} {request.path.partition('?')[0]}", (404, {"message": "Resource not found"})
        )
        if callable(said):
            said = said(request)
        status, body, *head = said if isinstance(said, tuple) else (200, said)
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return status, head[0] if head else {}, data

    @contextlib.contextmanager
    def running(self, path: Path | None = None) -> Iterator[FakeCore]:
        handler = type("Handler", (_Scripted,), {"core": self})
        server = _Server(("127.0.0.1", 0), handler) if path is None else _Unix(str(path), handler)
        with _serving(server):
            self.port = server.server_address[1] if path is None else 0
            yield self


class _Scripted(BaseHTTPRequestHandler):
    core: FakeCore

    def _serve(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        request = Request(
            self.command, self.path, self.headers.get("Authorization", ""), self.rfile.read(size)
        )
        status, head, body = self.core.answer(request)
        self.send_response(status)
        for name, value in head.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_PATCH = do_POST = do_DELETE = _serve  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Nothing to stderr."""
