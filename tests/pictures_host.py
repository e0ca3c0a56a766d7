"""A host of pictures on this machine for tests: good ones, and by path everything that hosts do to a crowd.

    with pictures_host() as host:
        host.url("good/17.jpg")                  # the bytes of picture(17)
        host.url("hang/3.jpg", name="slow.test") # the same host by another name: give Names host.look_up

The last number of a path chooses the picture. `MOODS` lists what a path may begin with. Every picture is
another file: a drawing of one of twelve sizes with its number in a comment.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import cache
from typing import Any
from urllib.parse import quote, unquote

from g3m.lab.drawings import draw

SIZES = ((96, 64), (64, 96), (120, 120), (160, 90), (200, 150), (150, 200))
SIZES += ((320, 240), (240, 320), (400, 300), (512, 384), (640, 480), (48, 300))
HTML = b"<!doctype html><html><title>Sign in</title><body>Please sign in to go on.</body></html>"
_CLOSE = "Connection: close"


@cache
def _drawing(kind: int) -> bytes:
    width, height = SIZES[kind]
    return draw(77, kind, width=width, height=height).jpeg


def size_of(number: int) -> tuple[int, int]:
    """Width and height of a picture."""
    return SIZES[number % len(SIZES)]


def picture(number: int) -> bytes:
    """The bytes behind `good/NUMBER.jpg`: a whole JPEG, different for each number."""
    whole = _drawing(number % len(SIZES))
    note = f"picture {number}".encode()
    return whole[:2] + b"\xff\xfe" + (len(note) + 2).to_bytes(2, "big") + note + whole[2:]


class Asked:
    """A request as the server read it."""

    def __init__(self, head: bytes, writer: asyncio.StreamWriter, reader: asyncio.StreamReader) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")
        self.method, self.target, _ = first.split(" ", 2)
        pairs = [line.partition(":") for line in lines if line]
        self.headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        self.proxied = self.target.startswith("http://")
        """Asked for as of a proxy: this host is one for its own names."""
        path = "/" + self.target.split("/", 3)[3] if self.proxied else self.target
        self.path = unquote(path.partition("?")[0].lstrip("/"))
        self.mood, _, self.rest = self.path.partition("/")
        self.host = self.headers.get("host", "").rpartition(":")[0] or self.headers.get("host", "")
        numbers = re.findall(r"\d+", self.path)
        self.number = int(numbers[-1]) if numbers else 0
        self.times = 0
        """How often the same was asked, this time included."""
        self._writer, self._reader = writer, reader

    async def answer(
        self, body: bytes = b"", *headers: str, status: str = "200 OK", length: int | None = None
    ) -> None:
        """A whole answer; `length` is announced in place of the true one."""
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers]
        await self.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body)

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def silence(self) -> None:
        """Nothing more, until the other side closes."""
        while await self._reader.read(4096):
            pass

    def reset(self) -> None:
        """Close the connection rudely."""
        self._writer.transport.abort()


class PicturesHost:
    """The server and what it saw; attributes may be set while it runs."""

    def __init__(self, addresses: Sequence[str], tls: ssl.SSLContext | None) -> None:
        self.addresses = tuple(addresses)
        self.tls = tls
        self.port = 0
        self.robots: str | None = None
        """The text of robots.txt; None: 404."""
        self.robots_of: dict[str, str] = {}
        """The same for single hosts, by the name they are asked under."""
        self.robots_status = "200 OK"
        self.retry_after = "1"
        self.slow_s = 0.3
        """How long `slow/` thinks."""
        self.drip_s = 0.05
        """Between two bytes of `drip/`."""
        self.moods: dict[str, Callable[[Asked], Awaitable[None]]] = {}
        """Moods of a test's own, by the first part of the path."""
        self.asked: Counter[str] = Counter()
        """Requests by path."""
        self.asked_at: dict[str, list[float]] = {}
        """When each path was asked for (time.monotonic)."""
        self.asked_of: Counter[str] = Counter()
        """Requests by host name."""
        self.last_headers: dict[str, dict[str, str]] = {}
        """Headers of the last request of each path, names in lower case."""
        self.proxied = 0
        """Requests that came as to a proxy."""
        self.connections = 0
        self.open_connections = 0
        self.at_once = 0
        self.most_at_once = 0
        self.most_by_host: Counter[str] = Counter()
        self._by_host: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    def url(self, path: str, *, name: str = "", at: str = "") -> str:
        """The address of a path, by a name of the test's choice or at one of the loopback addresses."""
        scheme = "https" if self.tls else "http"
        return f"{scheme}://{name or at or self.addresses[0]}:{self.port}/{path}"

    def look_up(self, host: str, port: Any = None, *_: Any, **__: Any) -> list[Any]:
        """In place of socket.getaddrinfo: every name that ends in .test is this host; others do not exist."""
        if not host.endswith(".test"):
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (self.addresses[0], 0))]

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, request after request."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.open_connections += 1
        try:
            with contextlib.suppress(OSError, EOFError, asyncio.CancelledError, asyncio.LimitOverrunError):
                while not writer.is_closing():
                    head = await reader.readuntil(b"\r\n\r\n")
                    await self._serve(Asked(head, writer, reader))
        finally:
            self.open_connections -= 1
            writer.transport.abort()
            with contextlib.suppress(Exception, asyncio.CancelledError):
                await writer.wait_closed()
            self._tasks.discard(task)

    async def _serve(self, asked: Asked) -> None:
        self.asked[asked.path] += 1
        self.asked_at.setdefault(asked.path, []).append(time.monotonic())
        self.asked_of[asked.host] += 1
        self.proxied += asked.proxied
        self.last_headers[asked.path] = asked.headers
        asked.times = self.asked[asked.path]
        self.at_once += 1
        self._by_host[asked.host] += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.most_by_host[asked.host] = max(self.most_by_host[asked.host], self._by_host[asked.host])
        try:
            own = self.moods.get(asked.mood)
            if own is not None:
                await own(asked)
            else:
                await MOODS.get(asked.mood, _missing)(self, asked)
        finally:
            self.at_once -= 1
            self._by_host[asked.host] -= 1

    async def end(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        while self._tasks:
            await asyncio.sleep(0.005)


async def _good(host: PicturesHost, asked: Asked) -> None:
    await asked.answer(picture(asked.number), "Content-Type: image/jpeg")


async def _missing(host: PicturesHost, asked: Asked) -> None:
    await asked.answer(b"not here", status="404 Not Found")


async def _forbidden(host: PicturesHost, asked: Asked) -> None:
    await asked.answer(b"not you", status="403 Forbidden")


async def _hang(host: PicturesHost, asked: Asked) -> None:
    await asked.silence()


async def _refuse(host: PicturesHost, asked: Asked) -> None:
    asked.reset()


async def _drip(host: PicturesHost, asked: Asked) -> None:
    await asked.answer(length=len(picture(asked.number)))
    for byte in picture(asked.number):
        await asked.send(bytes([byte]))
        await asyncio.sleep(host.drip_s)


async def _head(host: PicturesHost, asked: Asked) -> None:
    """A head that never ends, slowly."""
    await asked.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await asked.send(b"X-More: and more\r\n")
        await asyncio.sleep(host.drip_s)


async def _heads(host: PicturesHost, asked: Asked) -> None:
    """A head that never ends, fast."""
    await asked.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await asked.send(b"X-More: " + b"more " * 1000 + b"\r\n")


async def _cut(host: PicturesHost, asked: Asked) -> None:
    """More is announced than comes."""
    whole = picture(asked.number)
    await asked.answer(whole[: len(whole) // 2], _CLOSE, length=len(whole))
    asked._writer.close()


async def _cut_unsaid(host: PicturesHost, asked: Asked) -> None:
    """No length is announced, and the connection ends in the middle."""
    whole = picture(asked.number)
    await asked.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + whole[: len(whole) // 2])
    asked._writer.close()


async def _chunked(host: PicturesHost, asked: Asked) -> None:
    whole = picture(asked.number)
    pieces = [whole[at : at + 1000] for at in range(0, len(whole), 1000)]
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    await asked.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n")


async def _short(host: PicturesHost, asked: Asked) -> None:
    """A JPEG without its end, whole as a transfer."""
    whole = picture(asked.number)
    await asked.answer(whole[: len(whole) // 2], "Content-Type: image/jpeg")


async def _html(host: PicturesHost, asked: Asked) -> None:
    await asked.answer(HTML, "Content-Type: text/html")


async def _empty(host: PicturesHost, asked: Asked) -> None:
    await asked.answer()


async def _redirect(host: PicturesHost, asked: Asked) -> None:
    """`redirect/3/good/1.jpg`: three steps, then the rest."""
    left, _, rest = asked.rest.partition("/")
    target = f"/redirect/{int(left) - 1}/{rest}" if int(left) > 1 else f"/{rest}"
    await asked.answer(b"over there", f"Location: {target}", status="302 Found")


async def _loop(host: PicturesHost, asked: Asked) -> None:
    await asked.answer(b"", f"Location: /{asked.path}", status="302 Found")


async def _downgrade(host: PicturesHost, asked: Asked) -> None:
    """From https to http on the same port."""
    target = f"http://{asked.headers['host']}/{asked.rest}"
    await asked.answer(b"", f"Location: {target}", status="301 Moved Permanently")


async def _away(host: PicturesHost, asked: Asked) -> None:
    """`away/URL`, with the URL percent-encoded (see `away`): a redirect to any place."""
    await asked.answer(b"", f"Location: {asked.rest}", status="307 Temporary Redirect")


async def _throttle(host: PicturesHost, asked: Asked) -> None:
    """The first request of a path is one too many."""
    if asked.times == 1:
        header = (f"Retry-After: {host.retry_after}",) if host.retry_after else ()
        await asked.answer(b"later", *header, status="429 Too Many Requests")
    else:
        await _good(host, asked)


async def _flaky(host: PicturesHost, asked: Asked) -> None:
    """The first request of a path breaks the server."""
    if asked.times == 1:
        await asked.answer(b"oops", status="500 Internal Server Error")
    else:
        await _good(host, asked)


async def _busy(host: PicturesHost, asked: Asked) -> None:
    await asked.answer(b"busy", status="503 Service Unavailable")


async def _noai(host: PicturesHost, asked: Asked) -> None:
    await asked.answer(picture(asked.number), "X-Robots-Tag: noai, noimageai")


async def _big(host: PicturesHost, asked: Asked) -> None:
    """A body that never ends, as fast as it is read."""
    await asked.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    while True:
        await asked.send(b"\xff" * 65536)


async def _huge(host: PicturesHost, asked: Asked) -> None:
    """A body that is announced as a terabyte."""
    await asked.answer(b"\xff" * 1000, length=10**12)
    await asked.silence()


async def _slow(host: PicturesHost, asked: Asked) -> None:
    await asyncio.sleep(host.slow_s)
    await _good(host, asked)


async def _gzip(host: PicturesHost, asked: Asked) -> None:
    """Compressed although nobody wanted that."""
    import gzip

    await asked.answer(gzip.compress(picture(asked.number)), "Content-Encoding: gzip")


async def _robots(host: PicturesHost, asked: Asked) -> None:
    text = host.robots_of.get(asked.host, host.robots)
    if text is None:
        await _missing(host, asked)
    else:
        await asked.answer(text.encode(), "Content-Type: text/plain", status=host.robots_status)


MOODS: dict[str, Callable[[PicturesHost, Asked], Awaitable[None]]] = {
    "good": _good,
    "missing": _missing,
    "forbidden": _forbidden,
    "hang": _hang,
    "refuse": _refuse,
    "drip": _drip,
    "head": _head,
    "heads": _heads,
    "cut": _cut,
    "cut-unsaid": _cut_unsaid,
    "chunked": _chunked,
    "short": _short,
    "html": _html,
    "empty": _empty,
    "redirect": _redirect,
    "loop": _loop,
    "downgrade": _downgrade,
    "away": _away,
    "throttle": _throttle,
    "flaky": _flaky,
    "busy": _busy,
    "noai": _noai,
    "big": _big,
    "huge": _huge,
    "slow": _slow,
    "gzip": _gzip,
    "robots.txt": _robots,
}
"""What a path may begin with; anything else is missing."""


def away(target: str) -> str:
    """The path that redirects to `target`, whatever it is."""
    return "away/" + quote(target, safe="")


@contextlib.contextmanager
def pictures_host(
    addresses: Sequence[str] = ("127.0.0.1",), *, tls: ssl.SSLContext | None = None
) -> Iterator[PicturesHost]:
    """The host, on the same free port of every address (all of 127.x.y.z can be had)."""
    host = PicturesHost(addresses, tls)
    loop = asyncio.new_event_loop()
    sockets = _listen(host.addresses)
    host.port = sockets[0].getsockname()[1]
    options: dict[str, Any] = {"ssl": tls, "limit": 2**16}
    servers = [
        loop.run_until_complete(asyncio.start_server(host.connected, sock=listener, **options))
        for listener in sockets
    ]
    loop.set_exception_handler(lambda *_: None)  # a client that goes away is the subject, not a defect
    thread = threading.Thread(target=loop.run_forever, name="pictures host", daemon=True)
    thread.start()
    try:
        yield host
    finally:
        for server in servers:
            loop.call_soon_threadsafe(server.close)
        asyncio.run_coroutine_threadsafe(host.end(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


def _listen(addresses: Sequence[str]) -> list[socket.socket]:
    """Listeners on one port that is free at all addresses."""
    while True:
        sockets = [socket.create_server((addresses[0], 0), backlog=1024)]
        port = sockets[0].getsockname()[1]
        try:
            sockets += [socket.create_server((address, port), backlog=1024) for address in addresses[1:]]
        except OSError:
            for listener in sockets:
                listener.close()
            continue
        return sockets
