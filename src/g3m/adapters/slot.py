"""A libcurl handle that is used again and again, for one small GET at a time, and what each has brought.

Nothing is decided here but what no answer may do: hold more bytes than allowed, lead to an address that was
not checked, or be read although its head says that it must not be used.
"""

from __future__ import annotations

import socket
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import pycurl

from g3m.adapters.curl import HttpOptions, make_handle
from g3m.core.manners import CrowdLimits
from g3m.core.optout import opted_out

SUPPRESS_CONNECT_HEADERS = 265
"""CURLOPT_SUPPRESS_CONNECT_HEADERS, for which pycurl has no name yet."""

PAGE_BYTES = 64 * 1024
"""So much of a page of words is read, to keep its connection; then it is closed."""

GROWTH = 8
"""A body that nobody asked to be compressed may grow so much: small answers must not become gigabytes."""

_LEAST_GROWN_BYTES = 2**20

_GOOD = (200, 203)
_KEPT = frozenset({"content-encoding", "content-length", "content-type", "last-modified"}) | frozenset(
    {"location", "retry-after", "tdm-reservation", "x-robots-tag"}
)


@dataclass(frozen=True, slots=True)
class Ask:
    """A request: over `way` (empty: direct), where it goes to `address`, which was checked."""

    url: str
    address: str
    port: int
    way: str
    seconds: float
    limit_bytes: int
    picture: bool = True
    """Whether opt-outs in the head count; they do not for robots.txt."""


_NOTHING = Ask("", "", 0, "", 0.0, 0)


@dataclass(slots=True)
class Reply:
    """What came: `code` and `words` are libcurl's, `stopped` is our own reason to read no further."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    code: int = 0
    words: str = ""
    stopped: str = ""
    detail: str = ""
    connected: bool = False
    silent: bool = False
    """Whether no byte came in the time there was."""
    size_bytes: int = 0
    seconds: float = 0.0


class Keeper(Protocol):
    """What a slot asks of those who share its memory and its rules."""

    def refuse(self, address: str) -> str: ...

    def may_hold(self, slot: Slot, size_bytes: int) -> bool: ...

    def keep(self, opened: socket.socket) -> socket.socket: ...


class Slot:
    """A handle that is used again and again, and what its present request has brought."""

    def __init__(self, keeper: Keeper, options: HttpOptions, limits: CrowdLimits) -> None:
        self._keeper = keeper
        self.ask = _NOTHING
        self.owner: Any = None
        self.began_s = 0.0
        self.lines: list[bytes] = []
        self.reply = Reply()
        self.pieces: list[bytes] = []
        self.size = 0
        self.headed = False
        self._address = self._way = ""
        easy = self.easy = make_handle("", "", [], options)
        easy.setopt(SUPPRESS_CONNECT_HEADERS, 1)
        easy.setopt(pycurl.CONNECTTIMEOUT_MS, int(limits.connect_s * 1000))
        easy.setopt(pycurl.LOW_SPEED_LIMIT, limits.idle_bytes_per_s)
        easy.setopt(pycurl.LOW_SPEED_TIME, max(round(limits.idle_s), 1))
        easy.setopt(pycurl.DNS_CACHE_TIMEOUT, 0)
        easy.setopt(pycurl.HEADERFUNCTION, self._take_header)
        easy.setopt(pycurl.WRITEFUNCTION, self._take_body)
        easy.setopt(pycurl.OPENSOCKETFUNCTION, self._open_socket)

    def load(self, ask: Ask) -> None:
        """Make the handle ready for a request."""
        self.ask, self.reply = ask, Reply()
        self.lines.clear()
        self.pieces, self.size, self.headed = [], 0, False
        easy = self.easy
        easy.setopt(pycurl.URL, ask.url)
        easy.setopt(pycurl.TIMEOUT_MS, max(int(ask.seconds * 1000), 1))
        if ask.way != self._way:
            easy.setopt(pycurl.PROXY, ask.way)
            self._way = ask.way
        # Whatever the host's name leads to a moment later: it is connected to the address that was checked.
        place = f"[{ask.address}]" if ":" in ask.address else ask.address
        target = f"::{place}:{ask.port}" if ask.address and not ask.way else ""
        if target != self._address:
            easy.setopt(pycurl.CONNECT_TO, [target] if target else [])
            self._address = target

    def forget(self) -> None:
        """Hold nothing of the last request: a slot may wait for long until it is used again."""
        self.ask, self.reply, self.owner, self.pieces = _NOTHING, Reply(), None, []

    def _take_header(self, line: bytes) -> None:
        if line.startswith(b"HTTP/"):
            self.lines.clear()  # a 100 may come before the real head
        self.lines.append(line)

    def read_head(self) -> None:
        """Understand the lines of the head that came."""
        self.headed = True
        headers: dict[str, str] = {}
        for line in self.lines[1:]:
            name, _, value = line.decode("latin-1").partition(":")
            name = name.strip().lower()
            if name in _KEPT:
                known = headers.get(name)
                headers[name] = value.strip() if known is None else f"{known}\n{value.strip()}"
        words = self.lines[0].split(None, 2) if self.lines else []
        complete = bool(self.lines) and self.lines[-1] in (b"\r\n", b"\n")
        if complete and len(words) > 1 and len(words[1]) == 3 and words[1].isdigit():
            self.reply.status = int(words[1])
        self.reply.headers = headers

    def _take_body(self, data: bytes) -> int:
        ask, reply = self.ask, self.reply
        if not self.headed:
            self.read_head()
            if not self._may_come(ask, reply):
                return -1
        size = self.size + len(data)
        if reply.status not in _GOOD:
            self.size = size
            return len(data) if size <= PAGE_BYTES else -1
        if size > ask.limit_bytes:
            reply.stopped, reply.detail = "too_big", f"more than {ask.limit_bytes} bytes"
            return -1
        if not self._keeper.may_hold(self, len(data)):
            return pycurl.WRITEFUNC_PAUSE
        self.size = size
        self.pieces.append(data)
        return len(data)

    def _may_come(self, ask: Ask, reply: Reply) -> bool:
        """Whether the body of a good answer may be read, by its head."""
        if reply.status not in _GOOD or not ask.picture:
            return True
        directive = opted_out(reply.headers)
        if directive:
            reply.stopped, reply.detail = "opt_out", directive
        length = reply.headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > ask.limit_bytes:
            reply.stopped, reply.detail = "too_big", f"{length[:20]} bytes are announced"
        return not reply.stopped

    def _open_socket(self, _purpose: int, address: tuple[Any, ...]) -> socket.socket | int:
        """The last check: what libcurl is about to connect to. A proxy's own address may be anywhere."""
        family, kind, protocol, where = address
        if not self._way:
            why = self._keeper.refuse(str(where[0]))
            if why:
                self.reply.stopped, self.reply.detail = "private_address", why
                return pycurl.SOCKET_BAD
        try:
            return self._keeper.keep(socket.socket(family, kind, protocol))
        except OSError:  # no descriptor is left, for example
            return pycurl.SOCKET_BAD

    def finish(self, code: int, words: str) -> Reply:
        """The whole reply, when libcurl has done with it."""
        if not self.headed:
            self.read_head()
        reply = self.reply
        reply.code, reply.words, reply.size_bytes = code, words, self.size
        reply.seconds = time.monotonic() - self.began_s
        reply.silent = code == pycurl.E_OPERATION_TIMEDOUT and not self.lines
        if code:
            reply.connected = self.easy.getinfo(pycurl.PRETRANSFER_TIME) > 0
        if reply.status in _GOOD:
            reply.body = self.pieces[0] if len(self.pieces) == 1 else b"".join(self.pieces)
            if self.ask.picture and not reply.stopped:
                if not code and opted_out(reply.headers):  # a head without a body
                    reply.stopped, reply.detail = "opt_out", opted_out(reply.headers)
                _uncode(reply, self.ask.limit_bytes)
        return reply


def _uncode(reply: Reply, limit_bytes: int) -> None:
    """Undo a gzip that nobody asked for, within the limit."""
    if reply.headers.get("content-encoding", "").lower() not in ("gzip", "x-gzip", "deflate"):
        return
    limit_bytes = min(limit_bytes, max(GROWTH * len(reply.body), _LEAST_GROWN_BYTES))
    try:
        whole = zlib.decompressobj(47).decompress(reply.body, limit_bytes + 1)
    except zlib.error:
        return  # then it is no picture, and whoever looks at it says so
    if len(whole) > limit_bytes:
        reply.stopped, reply.detail, whole = "too_big", f"more than {limit_bytes} bytes", b""
    reply.body = whole
