"""Servers that lie: what each does to an honest answer about a file, one table.

A behaviour is a mischief of g3m/lab/mischief.py, or one of those below, of use to these tests only. What goes
wrong with certificates, and what a proxy does to what it carries, is not said by an answer: see test_liars.py.
"""

from __future__ import annotations

import gzip
import io
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any, Literal

from g3m.lab import mischief as lab
from g3m.lab.exchange import Exchange
from g3m.lab.files import serve
from g3m.lab.messages import Body, Delivery, Reply, text_reply

ENDLESS_BYTES = 2**22
"""A hundred times what any file of these tests has stands for a body that never ends."""

ELSEWHERE = "http://elsewhere.invalid"
"""In a redirect: the other host of the test."""

INSIDE = "http://127.0.0.2:9"
"""In a redirect: an address that no public host may lead to."""


@dataclass(frozen=True, slots=True)
class Both:
    """Two kinds in one answer: the second spoils what the first has made."""

    first: Any
    second: Any

    def spoil(self, exchange: Exchange) -> Reply | None:
        once = self.first.spoil(exchange)
        return None if once is None else self.second.spoil(replace(exchange, honest=once)) or once


@dataclass(frozen=True, slots=True)
class Ranges:
    """Another kind, in answers to requests for a range only."""

    kind: Any

    def spoil(self, exchange: Exchange) -> Reply | None:
        return self.kind.spoil(exchange) if "range" in exchange.asked.headers else None


@dataclass(frozen=True, slots=True)
class Headers:
    """Other headers, or some less (None), in an answer about a file."""

    changed: tuple[tuple[str, str | None], ...]

    def spoil(self, exchange: Exchange) -> Reply | None:
        if exchange.resource is None or exchange.honest.status not in (200, 206):
            return None
        reply = exchange.honest
        for name, value in self.changed:
            reply = reply.with_header(name, value)
        return reply


@dataclass(frozen=True, slots=True)
class ManyHeaders:
    """So many headers before the body, of so many bytes each."""

    count: int
    size_bytes: int

    def spoil(self, exchange: Exchange) -> Reply | None:
        more = tuple((f"X-{number}", "x" * self.size_bytes) for number in range(self.count))
        return replace(exchange.honest, headers=exchange.honest.headers + more)


@dataclass(frozen=True, slots=True)
class Sent:
    """The honest answer over the wire in another manner."""

    delivery: Delivery

    def spoil(self, exchange: Exchange) -> Reply | None:
        return exchange.delivered(self.delivery) if exchange.has_body else None


@dataclass(frozen=True, slots=True)
class WeakTag:
    """The validator is called weak."""

    def spoil(self, exchange: Exchange) -> Reply | None:
        if exchange.resource is None:
            return None
        return exchange.honest.with_header("ETag", f"W/{exchange.resource.etag}")


@dataclass(frozen=True, slots=True)
class OtherBytes:
    """The same size, the same validator, and every byte is another."""

    def spoil(self, exchange: Exchange) -> Reply | None:
        if not exchange.has_body or exchange.resource is None:
            return None
        return replace(exchange.honest, body=replace(exchange.honest.body, inverted=True))


@dataclass(frozen=True, slots=True)
class NewVersion:
    """Another version, in the middle of a file too: a condition is not heard, and the range is served."""

    def spoil(self, exchange: Exchange) -> Reply | None:
        return lab.Changed().spoil(replace(exchange, asked=exchange.asked.without_header("if-range")))


@dataclass(frozen=True, slots=True)
class OtherRange:
    """A range beside the one that was asked for, and the truth about it in its head."""

    shift_bytes: int

    def spoil(self, exchange: Exchange) -> Reply | None:
        honest = exchange.honest.body
        if exchange.resource is None or exchange.honest.status != 206:
            return None
        first = (honest.first_byte + self.shift_bytes) % exchange.resource.size_bytes
        headers = {**exchange.asked.headers, "range": f"bytes={first}-{first + honest.size_bytes - 1}"}
        return serve(replace(exchange.asked, headers=headers), exchange.resource)


@dataclass(slots=True)
class Turns:
    """Two servers behind one name: every second answer is of another version, true to itself."""

    answers: int = 0

    def spoil(self, exchange: Exchange) -> Reply | None:
        self.answers += 1
        return lab.Changed().spoil(exchange) if self.answers % 2 else exchange.honest


@dataclass(frozen=True, slots=True)
class Parts:
    """A range as one of several parts, with their own heads in the body."""

    def spoil(self, exchange: Exchange) -> Reply | None:
        if exchange.resource is None or exchange.honest.status != 206:
            return None
        with exchange.honest.body.open() as file:
            piece = exchange.honest.body.read(file, exchange.honest.body.size_bytes)
        head = f"--x\r\nContent-Type: a/b\r\nContent-Range: {exchange.honest.header('Content-Range')}\r\n\r\n"
        reply = exchange.honest.with_header("Content-Type", "multipart/byteranges; boundary=x")
        return replace(
            reply.with_header("Content-Range", None), body=Body.of(head.encode() + piece + b"\r\n--x--\r\n")
        )


@dataclass(frozen=True, slots=True)
class Behind:
    """416 for any range, whatever the file holds."""

    def spoil(self, exchange: Exchange) -> Reply | None:
        if exchange.resource is None or "range" not in exchange.asked.headers:
            return None
        reply = text_reply(416, "nothing there", "text/plain")
        return reply.with_header("Content-Range", f"bytes */{exchange.resource.size_bytes}")


@dataclass(frozen=True, slots=True)
class Bomb:
    """A few kilobytes of gzip that grow to many megabytes, under the file's name."""

    def spoil(self, exchange: Exchange) -> Reply | None:
        if exchange.resource is None:
            return None
        packed = io.BytesIO()
        with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as file:
            file.write(bytes(2**24))
        headers = (("Content-Encoding", "gzip"), ("ETag", exchange.resource.etag))
        return Reply(200, headers, Body.of(packed.getvalue()))


@dataclass(frozen=True, slots=True)
class Endless:
    """Zeros for ever, and no word of a length."""

    def spoil(self, exchange: Exchange) -> Reply | None:
        if exchange.resource is None:
            return None
        headers = (("ETag", exchange.resource.etag), ("Content-Type", "application/octet-stream"))
        return Reply(200, headers, Body.of(bytes(ENDLESS_BYTES)), Delivery(unsaid=True))


@dataclass(frozen=True, slots=True)
class NotFoundAs200:
    """A short text that says 404, with the status of success."""

    def spoil(self, exchange: Exchange) -> Reply | None:
        return text_reply(200, "404 Not Found", "text/plain")


def _date(seconds: int) -> str:
    return format_datetime(datetime.now(timezone.utc) + timedelta(seconds=seconds), usegmt=True)


Believed = Literal["", "new", "cut", "any"]


@dataclass(frozen=True, slots=True)
class Liar:
    """One behaviour, and what may become of a file.

    `mends`: one place suffices for a file with a digest (`pinned`), or for any file (`always`). `believed`
    is what a file without a digest may have become: another version, whole; a beginning; or any bytes.
    """

    kind: Any
    mends: Literal["", "pinned", "always"] = ""
    believed: Believed = ""
    times: int | None = None
    method: str | None = None
    impatient: bool = False
    crawls: bool = False
    """It is so slow that whoever has no other place, or may not mix them, has to stop it."""


def _cut(**how: Any) -> Sent:
    return Sent(Delivery(hang_up_after_bytes=700, **how))


LIARS: dict[str, Liar] = {
    "cut, with a length": Liar(lab.Cut(700), mends="always"),
    "cut, chunked": Liar(_cut(chunked=True), mends="pinned"),
    "cut, without a length": Liar(_cut(unsaid=True), mends="pinned", believed="cut"),
    "reset in the middle": Liar(lab.Reset(700), mends="always"),
    "chunked, whole": Liar(lab.NoLength(), mends="always"),
    "no length, whole": Liar(Sent(Delivery(unsaid=True)), mends="always"),
    "a length that is too short": Liar(lab.Shorter(100), believed="cut"),
    "a length that is too long": Liar(lab.Longer(100)),
    "ranges ignored": Liar(lab.IgnoreRange(), mends="always"),
    "206 that says it is from elsewhere": Liar(lab.WrongRange(-100)),
    "206 from elsewhere": Liar(OtherRange(-100)),
    "206 with other bytes": Liar(Ranges(OtherBytes()), believed="any"),
    "206 in parts": Liar(Parts()),
    "206 without Content-Range": Liar(Ranges(Headers((("Content-Range", None),)))),
    "416 for any range": Liar(Behind()),
    "a new version, true to itself": Liar(lab.Changed(), believed="new"),
    "a new version in the middle, once": Liar(Ranges(NewVersion()), believed="new", times=1),
    "a new version, conditions not heard": Liar(Ranges(NewVersion()), believed="new"),
    "two versions in turns, cut": Liar(Both(Turns(), lab.Cut(2000)), believed="new"),
    "a weak validator, and cuts": Liar(Both(WeakTag(), lab.Cut(700)), mends="pinned"),
    "no validator, and cuts": Liar(Both(Headers((("ETag", None), ("Last-Modified", None))), lab.Cut(700)), mends="pinned"),
    "a date for a validator, and cuts": Liar(Both(Headers((("ETag", None),)), lab.Cut(700)), mends="pinned"),
    "gzip, unasked": Liar(lab.Gzip()),
    "a gzip bomb": Liar(Bomb()),
    "br": Liar(lab.Encoding("br")),
    "zstd": Liar(lab.Encoding("zstd")),
    "a chain of encodings": Liar(lab.Encoding("gzip, br, gzip, zstd")),
    "a body without end": Liar(Endless(), believed="any"),
    "a byte a second": Liar(lab.Trickle(1.0), crawls=True),
    "silence after the head": Liar(lab.Stall(0, 2.0), impatient=True),
    "silence in the middle": Liar(lab.Stall(700, 2.0), mends="always", impatient=True),
    "no answer": Liar(lab.Silence(2.0), impatient=True),
    "headers for ever": Liar(ManyHeaders(6_000, 500)),
    "ten thousand headers": Liar(ManyHeaders(10_000, 1)),
    "a redirect in a circle": Liar(lab.RedirectLoop()),
    "a redirect to another host": Liar(lab.RedirectTo(ELSEWHERE), mends="always"),
    "a lasting redirect to another host": Liar(lab.Redirect308(ELSEWHERE), mends="always"),
    "a redirect into a private network": Liar(lab.RedirectTo(INSIDE)),
    "a redirect to a file": Liar(lab.RedirectTo("file:///etc/passwd")),
    "429 with seconds": Liar(lab.Status(429, retry_after=2)),
    "429 with a date, twice": Liar(lab.Status(429, retry_after=_date(3)), mends="always", times=2),
    "429 with an absurd time": Liar(lab.Status(429, retry_after=10**30), mends="always", times=1),
    "429 with words": Liar(lab.Status(429, retry_after="soon, -1"), mends="always", times=1),
    "503, then good": Liar(lab.Status(503), mends="always", times=2),
    "500": Liar(lab.Status(500)),
    "403": Liar(lab.Status(403)),
    "204": Liar(lab.Status(204)),
    "404 as 200": Liar(NotFoundAs200(), believed="any"),
    "a login page": Liar(lab.Page()),
    "a login page for ranges": Liar(Ranges(lab.Page())),
    "the same size, other bytes": Liar(OtherBytes(), believed="any"),
    "one other byte": Liar(lab.Flip(17_000), believed="any"),
    "an answer that nobody asked for": Liar(
        Sent(Delivery(behind=b"HTTP/1.1 200 OK\r\nContent-Length: 24000\r\n\r\n" + bytes(24_000))), believed="any"
    ),
    "HEAD says something else": Liar(lab.Status(404), mends="always", method="HEAD"),
}  # fmt: skip
"""Each is kept up for ever, unless it says how often."""
