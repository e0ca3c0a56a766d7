"""What goes wrong on a bad network, one frozen value per kind, each spoiling one honest answer.

    origin.mischief("*/val2017.zip", Cut(after_bytes=1000), times=2)

A kind of mischief is a method that makes a spoiled `Reply` out of an honest one, or None where it
has no hold on it: a cut behind the end or in the answer to HEAD, a lie about a range when none was
asked for. `times` counts spoiled answers only, so that a test knows what it gets.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from g3m.lab.exchange import Exchange, Mischief
from g3m.lab.files import serve
from g3m.lab.messages import Asked, Delivery, Reply, redirect, text_reply, xml_error

PORTAL_PAGE = """<!DOCTYPE html>
<html><head><title>Network login</title></head>
<body><h1>Welcome</h1><p>Please log in to use this network.</p></body></html>
"""


@dataclass(frozen=True, slots=True)
class Cut:
    """Close the connection in good order after so many bytes of the body."""

    after_bytes: int

    def spoil(self, exchange: Exchange) -> Reply | None:
        if not exchange.has_body_behind(self.after_bytes):
            return None
        return exchange.delivered(Delivery(hang_up_after_bytes=self.after_bytes))


@dataclass(frozen=True, slots=True)
class Reset:
    """Reset the connection (RST) once so many bytes of the body have arrived."""

    after_bytes: int

    def spoil(self, exchange: Exchange) -> Reply | None:
        if not exchange.has_body_behind(self.after_bytes):
            return None
        return exchange.delivered(Delivery(hang_up_after_bytes=self.after_bytes, reset=True))


@dataclass(frozen=True, slots=True)
class Stall:
    """Send so many bytes, then nothing for a while, then the rest."""

    after_bytes: int
    for_s: float

    def spoil(self, exchange: Exchange) -> Reply | None:
        if not exchange.has_body_behind(self.after_bytes):
            return None
        return exchange.delivered(Delivery(stall_after_bytes=self.after_bytes, stall_s=self.for_s))


@dataclass(frozen=True, slots=True)
class Silence:
    """Take the request, say nothing, hang up after a while (0: at once, as a stale connection)."""

    for_s: float = 0.0

    def spoil(self, exchange: Exchange) -> Reply | None:
        return exchange.delivered(Delivery(silent_s=self.for_s))


@dataclass(frozen=True, slots=True)
class Trickle:
    """Send slowly, evenly."""

    bytes_per_s: float

    def spoil(self, exchange: Exchange) -> Reply | None:
        if not exchange.has_body:
            return None
        return exchange.delivered(Delivery(bytes_per_s=self.bytes_per_s))


@dataclass(frozen=True, slots=True)
class Flip:
    """Send one wrong byte: the one at that offset of the file, whatever range it is sent in."""

    offset: int

    def spoil(self, exchange: Exchange) -> Reply | None:
        body = exchange.honest.body
        if not (exchange.has_body and 0 <= self.offset - body.first_byte < body.size_bytes):
            return None
        return replace(exchange.honest, body=replace(body, flipped=(self.offset,)))


@dataclass(frozen=True, slots=True)
class IgnoreRange:
    """Answer 200 with the whole file where a range was asked for."""

    def spoil(self, exchange: Exchange) -> Reply | None:
        if exchange.resource is None or exchange.honest.status != 206:
            return None
        return serve(exchange.asked.without_header("range"), exchange.resource)


@dataclass(frozen=True, slots=True)
class WrongRange:
    """Say in Content-Range that the bytes lie `shift_bytes` further on than they do."""

    shift_bytes: int

    def spoil(self, exchange: Exchange) -> Reply | None:
        honest = exchange.honest
        if exchange.resource is None or honest.status != 206:
            return None
        first = honest.body.first_byte + self.shift_bytes
        last = first + honest.body.size_bytes - 1
        lie = f"bytes {first}-{last}/{exchange.resource.size_bytes}"
        return honest.with_header("Content-Range", lie)


@dataclass(frozen=True, slots=True)
class Status:
    """Answer with a status of your choice; `retry_after` goes out as it is, seconds or a date."""

    code: int
    retry_after: str | int | None = None
    body: str | None = None

    def spoil(self, exchange: Exchange) -> Reply | None:
        message = f"This is a drawn {self.code}."
        reply = xml_error(self.code, "SlowDown" if self.code == 503 else "Error", message)
        if self.body is not None:
            reply = text_reply(self.code, self.body, "text/plain; charset=utf-8")
        if self.retry_after is not None:
            reply = reply.with_header("Retry-After", str(self.retry_after))
        return reply


@dataclass(frozen=True, slots=True)
class Page:
    """Answer 200 with an HTML page, as a captive portal does."""

    html: str = PORTAL_PAGE

    def spoil(self, exchange: Exchange) -> Reply | None:
        return text_reply(200, self.html, "text/html; charset=utf-8")


@dataclass(frozen=True, slots=True)
class Gzip:
    """Compress the file on the way, unasked, as a meddling proxy does: no length, no ranges."""

    def spoil(self, exchange: Exchange) -> Reply | None:
        if exchange.resource is None or exchange.honest.status not in (200, 206):
            return None
        whole = serve(exchange.asked.without_header("range"), exchange.resource)
        packed = whole.with_header("Content-Encoding", "gzip").with_header("Accept-Ranges", None)
        packed = packed.with_header("ETag", f"W/{exchange.resource.etag}")
        body = replace(whole.body, gzipped=True)
        return replace(packed, body=body, delivery=Delivery(chunked=True))


@dataclass(frozen=True, slots=True)
class Encoding:
    """Claim a Content-Encoding that the bytes do not have."""

    name: str

    def spoil(self, exchange: Exchange) -> Reply | None:
        if exchange.resource is None or exchange.honest.status not in (200, 206):
            return None
        return exchange.honest.with_header("Content-Encoding", self.name)


@dataclass(frozen=True, slots=True)
class Changed:
    """Serve another version of the file: same length, other ETag, other date, every byte different.

    The version is consistent in itself: an If-Range with the old ETag gets the new file whole.
    """

    def spoil(self, exchange: Exchange) -> Reply | None:
        old = exchange.resource
        if old is None:
            return None
        new = replace(
            old,
            etag=f'"{hashlib.md5(old.etag.encode()).hexdigest()}"',
            modified_s=old.modified_s + 86_400,
            headers=tuple(pair for pair in old.headers if pair[0] != "x-goog-hash"),
            inverted=True,
        )
        return serve(exchange.asked, new)


@dataclass(frozen=True, slots=True)
class Shorter:
    """Announce fewer bytes than are sent, and close the connection behind them."""

    by_bytes: int

    def spoil(self, exchange: Exchange) -> Reply | None:
        if not exchange.has_body:
            return None
        lie = min(self.by_bytes, exchange.honest.body.size_bytes)
        return exchange.delivered(Delivery(length_lie_bytes=-lie))


@dataclass(frozen=True, slots=True)
class Longer:
    """Announce more bytes than are sent, and close the connection behind them."""

    by_bytes: int

    def spoil(self, exchange: Exchange) -> Reply | None:
        if not exchange.has_body:
            return None
        return exchange.delivered(Delivery(length_lie_bytes=self.by_bytes))


@dataclass(frozen=True, slots=True)
class NoLength:
    """Send the body in chunks and do not say how long it is."""

    def spoil(self, exchange: Exchange) -> Reply | None:
        if not exchange.has_body:
            return None
        return exchange.delivered(Delivery(chunked=True))


@dataclass(frozen=True, slots=True)
class RedirectTo:
    """Answer 302; a bare `scheme://host` keeps the path and query that were asked for."""

    url: str

    def spoil(self, exchange: Exchange) -> Reply | None:
        return redirect(302, _location(self.url, exchange.asked))


@dataclass(frozen=True, slots=True)
class Redirect308:
    """Answer 308, as hf-mirror sends strangers to the hub; a bare host keeps the path."""

    url: str

    def spoil(self, exchange: Exchange) -> Reply | None:
        return redirect(308, _location(self.url, exchange.asked))


@dataclass(frozen=True, slots=True)
class RedirectLoop:
    """Answer 302 to the very URL that was asked for."""

    def spoil(self, exchange: Exchange) -> Reply | None:
        return redirect(302, exchange.asked.target)


def _location(url: str, asked: Asked) -> str:
    return url + asked.target if urlsplit(url).path == "" else url


# fmt: off
KINDS: tuple[type[Mischief], ...] = (
    Cut, Reset, Stall, Silence, Trickle, Flip, IgnoreRange, WrongRange, Status, Page, Gzip,
    Encoding, Changed, Shorter, Longer, NoLength, RedirectTo, Redirect308, RedirectLoop,
)
# fmt: on
"""Every kind: here mypy checks that each keeps the protocol, and the tests that each is tested."""
