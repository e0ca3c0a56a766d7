"""HTTP(S) over libcurl: documents one at a time, and pools of transfers for downloads.

Both follow redirects by hand (five at most, never from https to http, never from a public host into a
network that is not), choose the proxy anew for every hop and never leave it out in silence; the rest of
what holds for each request stands in curl.py. A pool is driven by the thread that asks it: `poll` lets
libcurl work and says what happened. Nothing is retried here: steps/fetch.py does.
"""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from threading import Lock
from types import TracebackType
from typing import Any

import pycurl

from g3m.adapters.curl import CONNECT_TIMEOUT_S, Head, HttpOptions, make_handle, next_hop, source_error
from g3m.adapters.fence import Fence, barred, is_inside
from g3m.core.errors import Changed, G3MError, Interrupted, Refused, SourceError, Unreachable
from g3m.core.proxies import Ways, label
from g3m.core.resume import Answer
from g3m.core.secrets import host_of, mask

REDIRECT_LIMIT = 5
SUPPRESS_CONNECT_HEADERS = 265
"""CURLOPT_SUPPRESS_CONNECT_HEADERS, for which pycurl has no name yet."""

NO_SOCKET_S = 0.01
DOCUMENT_LIMIT_BYTES = 64 * 2**20
LOGIN_HINT = (
    "write the login into the proxy's address: http://USER:PASSWORD@HOST:PORT",
    "请在代理地址中填写用户名和密码：http://用户名:密码@主机:端口",
)
_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A range of a file over one way: bytes from `start` to before `end` (None: to its end)."""

    url: str
    way: str = ""
    start: int = 0
    end: int | None = None
    etag: str = ""
    place: str = ""
    """Where `url` came from, if a redirect had led to it before."""
    inside: bool = False
    """Whether that place is not public itself: its redirects may lead into its own network."""

    @property
    def headers(self) -> list[str]:
        if not self.start and self.end is None:
            return []
        last = "" if self.end is None else self.end - 1
        condition = [f"If-Range: {self.etag}"] if self.etag else []
        return [f"Range: bytes={self.start}-{last}", *condition]


@dataclass(frozen=True, slots=True)
class Headed:
    """The head of an answer; `url` is where the redirects led."""

    key: int
    answer: Answer
    url: str
    inside: bool = False
    """Whether the redirects began at a place that is not public: see `Request`."""


@dataclass(frozen=True, slots=True)
class Came:
    """Bytes of a body, in the pieces that libcurl handed over."""

    key: int
    pieces: list[bytes]


@dataclass(frozen=True, slots=True)
class Ended:
    """A transfer is over; `error` says why if it broke."""

    key: int
    error: SourceError | None = None


Occurrence = Headed | Came | Ended


class _Transfer:
    """One request of a pool, over all its redirects."""

    def __init__(self, key: int, request: Request) -> None:
        self.key = key
        self.request = request
        self.url = request.url
        self.hops = 0
        self.host = ""
        self.easy: pycurl.Curl | None = None
        self.head = Head(tunnel=False)
        self.told = False
        self.inside = request.inside
        self.barred = ""

    @property
    def fenced(self) -> bool:
        """Whether a public host's redirect led to where it is now: then that must be public as well."""
        return (self.hops > 0 or self.place != self.request.url) and not self.inside

    @property
    def place(self) -> str:
        """Where the redirects began."""
        return self.request.place or self.request.url


class Pool:
    """Transfers side by side, for one thread; connections are kept for the next request."""

    def __init__(self, http: Http, multi: pycurl.CurlMulti) -> None:
        self._http = http
        self._multi = multi
        self._transfers: dict[int, _Transfer] = {}
        self._happened: list[Occurrence] = []
        self._bodies: dict[int, list[bytes]] = {}
        self._keys: dict[pycurl.Curl, int] = {}
        self._opened: list[socket.socket] = []

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for key in list(self._transfers):
            self.cancel(key)
        self._http.give_back(self._multi)

    def has_room(self, url: str) -> bool:
        """Whether the host may have one more connection, counting every pool of this session."""
        return self._http.open_connections(host_of(url)) < self._http.connections

    def start(self, key: int, request: Request) -> None:
        """Begin a transfer; what comes of it is told by `poll` under its key."""
        transfer = self._transfers[key] = _Transfer(key, request)
        self._send(transfer)

    def cancel(self, key: int) -> None:
        """Give a transfer up; nothing more is told of it."""
        transfer = self._transfers.pop(key, None)
        if transfer is not None:
            self._take_down(transfer)
            self._bodies.pop(key, None)
            self._happened = [item for item in self._happened if item.key != key]

    def poll(self, timeout_s: float) -> list[Occurrence]:
        """Let libcurl work until something happens, `timeout_s` at most."""
        self._work()
        if not self._happened and timeout_s > 0:
            if any(self._multi.fdset()):
                self._multi.select(timeout_s)
            else:  # nothing to wait for, or a name that is being resolved: select would not wait
                time.sleep(min(timeout_s, NO_SOCKET_S) if self._transfers else timeout_s)
            self._work()
        for key in list(self._bodies):
            self._tell_body(key)
        happened, self._happened = self._happened, []
        return happened

    def _tell_body(self, key: int) -> None:
        """Libcurl hands bodies over in pieces of 16 kB; what came at once is told at once."""
        pieces = self._bodies.pop(key, None)
        if pieces:
            self._happened.append(Came(key, pieces))

    def _work(self) -> None:
        while self._multi.perform()[0] == pycurl.E_CALL_MULTI_PERFORM:
            pass
        _, good, bad = self._multi.info_read()
        for easy in good:
            self._end(easy, None)
        for easy, code, words in bad:
            self._end(easy, (code, words))
        while self._opened:  # libcurl has taken copies of them
            self._opened.pop().close()

    def _send(self, transfer: _Transfer) -> None:
        url, request = transfer.url, transfer.request
        proxy = self._http.proxy_for(request, url)
        head = transfer.head = Head(tunnel=False)
        transfer.host, transfer.barred = host_of(url), ""
        easy = transfer.easy = make_handle(url, proxy, request.headers, self._http.options)
        key = transfer.key

        def take_header(line: bytes) -> None:
            head.take(line)

        def take_body(data: bytes) -> int:
            if transfer.told or self._tell_head(transfer):
                pieces = self._bodies.get(key)
                if pieces is None:
                    self._bodies[key] = [data]
                else:
                    pieces.append(data)
            return len(data)

        # A connection that is used again brings no answer to CONNECT, a new one does: never show it.
        easy.setopt(SUPPRESS_CONNECT_HEADERS, 1)
        easy.setopt(pycurl.HEADERFUNCTION, take_header)
        easy.setopt(pycurl.WRITEFUNCTION, take_body)
        if not proxy:
            easy.setopt(pycurl.OPENSOCKETFUNCTION, partial(self._open_socket, transfer))
            # No check is made where no socket is opened.
            easy.setopt(pycurl.FRESH_CONNECT, transfer.fenced and self._http.fence.may_hold(url))
        self._keys[easy] = key
        self._http.count(transfer.host, 1)
        self._multi.add_handle(easy)

    def _open_socket(
        self, transfer: _Transfer, _purpose: int, address: tuple[Any, ...]
    ) -> socket.socket | int:
        """The socket for an address that a name led to, unless a redirect must not lead there."""
        family, kind, protocol, where = address
        why = self._http.fence.bars(str(where[0]))
        if why and transfer.fenced:
            transfer.barred = why
            return pycurl.SOCKET_BAD
        if why:
            self._http.fence.remember(transfer.url)
        try:
            self._opened.append(socket.socket(family, kind, protocol))
        except OSError:  # no descriptor is left, for example
            return pycurl.SOCKET_BAD
        return self._opened[-1]

    def _tell_head(self, transfer: _Transfer) -> bool:
        """Tell of the head, unless it is a redirect."""
        answer = transfer.head.answer
        if answer.status in _REDIRECTS:
            return False
        transfer.told = True
        self._happened.append(Headed(transfer.key, answer, transfer.url, transfer.inside))
        return True

    def _end(self, easy: pycurl.Curl, failure: tuple[int, str] | None) -> None:
        transfer = self._transfers[self._keys[easy]]
        tunnel = easy.getinfo(pycurl.HTTP_CONNECTCODE)
        reached = easy.getinfo(pycurl.PRIMARY_IP) or ""
        self._take_down(transfer)
        self._tell_body(transfer.key)
        try:
            if tunnel in (401, 407):
                proxy = label(self._http.proxy_for(transfer.request, transfer.url))
                raise Refused(f"the {proxy} refused the login, or wants one (HTTP {tunnel})", hint=LOGIN_HINT)
            if failure is not None and not transfer.head.done:
                if transfer.barred:
                    raise barred(transfer.place, transfer.url, transfer.barred)
                raise source_error(transfer.url, *failure)
            if not transfer.told and not self._tell_head(transfer):
                self._follow(transfer, reached)
                return
            error = source_error(transfer.url, *failure) if failure is not None else None
        except SourceError as broken:
            error = broken
        del self._transfers[transfer.key]
        self._happened.append(Ended(transfer.key, error))

    def _follow(self, transfer: _Transfer, reached: str) -> None:
        """Take the next hop; `reached` is the address that sent the redirect, or that of the proxy."""
        if not transfer.hops and transfer.place == transfer.url:
            proxy = self._http.proxy_for(transfer.request, transfer.url)
            transfer.inside = is_inside(transfer.url, "" if proxy else reached)
        transfer.hops += 1
        if transfer.hops > REDIRECT_LIMIT:
            raise Changed(f"{host_of(transfer.request.url)}: more than {REDIRECT_LIMIT} redirects")
        transfer.url = next_hop(transfer.url, transfer.head.answer)
        # A name is checked where the socket is opened; behind a proxy it is the proxy's to know.
        why = self._http.fence.bars_number(transfer.url) if transfer.fenced else ""
        if why:
            raise barred(transfer.place, transfer.url, why)
        self._send(transfer)

    def _take_down(self, transfer: _Transfer) -> None:
        easy = transfer.easy
        if easy is not None:
            del self._keys[easy]
            self._multi.remove_handle(easy)
            easy.close()
            transfer.easy = None
            self._http.count(transfer.host, -1)


class Response:
    """An answer whose body is still to come."""

    def __init__(self, url: str, answer: Answer, chunks: Iterator[bytes]) -> None:
        self.url = url
        self.answer = answer
        self._chunks = chunks

    def chunks(self) -> Iterator[bytes]:
        """The body as it comes; raises SourceError if it breaks."""
        yield from self._chunks

    def read(self, limit_bytes: int = DOCUMENT_LIMIT_BYTES) -> bytes:
        """A small body whole; Changed if it is larger than the limit."""
        parts, size = [], 0
        for chunk in self.chunks():
            parts.append(chunk)
            size += len(chunk)
            if size > limit_bytes:
                raise Changed(f"{mask(self.url)}: the answer has more than {limit_bytes} bytes")
        return b"".join(parts)


class Http:
    """Opens documents and pools; safe to use from several threads."""

    def __init__(
        self,
        options: HttpOptions,
        ways: Ways | None = None,
        connections: int = 16,
        problem: G3MError | None = None,
    ) -> None:
        """`connections` is how many one host may have; `problem` is raised instead of any request."""
        self.options = options
        self.ways = ways or Ways()
        self.connections = connections
        self.problem = problem
        self._lock = Lock()
        self._open: Counter[str] = Counter()
        self._idle: list[pycurl.CurlMulti] = []
        self.fence = Fence(options.allow_private)

    def pool(self) -> Pool:
        """A pool, with connections that an earlier one left open."""
        if self.problem is not None:
            raise self.problem
        with self._lock:
            multi = self._idle.pop() if self._idle else None
        if multi is None:
            multi = pycurl.CurlMulti()
            multi.setopt(pycurl.M_MAXCONNECTS, 64)
        return Pool(self, multi)

    def proxy_for(self, request: Request, url: str) -> str:
        """The proxy for one hop of a request.

        Where the place itself is excepted from all proxies, the direct way was nobody's choice: a hop that
        leads away from it takes the best way of its own.
        """
        way = request.way
        if not way and self.ways.of(request.place or request.url) == ("",):
            way = self.ways.of(url)[0]
        return self.ways.through(way, url)

    def give_back(self, multi: pycurl.CurlMulti) -> None:
        """Keep a pool's connections for the next one."""
        with self._lock:
            self._idle.append(multi)

    def count(self, host: str, change: int) -> None:
        """One connection to a host more or fewer."""
        with self._lock:
            self._open[host] += change
            if not self._open[host]:
                del self._open[host]

    def open_connections(self, host: str) -> int:
        """How many requests to a host are under way."""
        with self._lock:
            return self._open[host]

    @contextmanager
    def open(self, url: str, *, way: str | None = None) -> Iterator[Response]:
        """Send a GET for a document over `way` (by default the best one) and follow redirects."""
        way = self.ways.of(url)[0] if way is None else way
        with self.pool() as pool:
            pool.start(0, Request(url=url, way=way))
            occurrences = self._wait(pool, url)
            for item in occurrences:
                if isinstance(item, Headed):
                    yield Response(item.url, item.answer, _body(occurrences))
                    return
                if isinstance(item, Ended):
                    raise item.error or Unreachable(f"{mask(url)}: no answer")

    def _wait(self, pool: Pool, url: str) -> Iterator[Occurrence]:
        """What happens to the only transfer of a pool, to its end; Unreachable if it falls silent."""
        active_s, patience_s = time.monotonic(), self.options.stall_timeout_s + CONNECT_TIMEOUT_S
        while True:
            for item in pool.poll(0.2):
                active_s, patience_s = time.monotonic(), self.options.stall_timeout_s
                yield item
                if isinstance(item, Ended):
                    return
            if self.options.stopping():
                raise Interrupted("stopped during a download")
            if time.monotonic() - active_s > patience_s:
                raise Unreachable(f"{mask(url)}: no byte for {patience_s:g} s, connection closed")


def _body(occurrences: Iterator[Occurrence]) -> Iterator[bytes]:
    for item in occurrences:
        if isinstance(item, Came):
            yield from item.pieces
        elif isinstance(item, Ended) and item.error is not None:
            raise item.error
