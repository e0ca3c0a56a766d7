"""The values that pass through the local internet: what was asked, what is answered, the record.

Nothing here touches a socket. An answer is decided as a value (`Reply`), may be spoiled as a value
(see `mischief`), and only then does `server` turn it into bytes.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Literal
from urllib.parse import quote
from xml.sax.saxutils import escape

INVERTED = bytes(255 - value for value in range(256))

ListenerName = Literal["site", "storage"]
Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Request:
    """One line of the origin's record: who asked what with which headers, and what went back.

    `path` is decoded, `query` raw, header names are in lower case. `status` is 0 where the
    connection was closed without an answer. `sent_bytes` counts body bytes handed to the socket,
    without chunk framing. `mischief` names the kind that spoiled the answer, if one did.
    """

    listener: ListenerName
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    status: int
    sent_bytes: int
    mischief: str | None


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came in: path decoded, query raw, header names in lower case."""

    listener: ListenerName
    method: str
    path: str
    query: str
    headers: Mapping[str, str]

    @property
    def target(self) -> str:
        """Path and query as they stand in a URL."""
        return quote(self.path) + (f"?{self.query}" if self.query else "")

    def without_header(self, name: str) -> Asked:
        """The same request as if that header had not been sent."""
        headers = {other: value for other, value in self.headers.items() if other != name}
        return replace(self, headers=headers)


@dataclass(frozen=True, slots=True)
class Resource:
    """A file (or bytes in memory) with what HTTP says about it; `etag` has its quotes.

    `inverted` serves other bytes of the same length: every bit is wrong.
    """

    source: Path | bytes
    size_bytes: int
    etag: str
    modified_s: float
    headers: Headers = ()
    inverted: bool = False


@dataclass(frozen=True, slots=True)
class Body:
    """Bytes to send: `size_bytes` of a file or of bytes in memory, from `first_byte` on.

    `flipped` are offsets in the whole source at which the byte goes out wrong. `gzipped` compresses
    on the way, so that nobody knows the length beforehand.
    """

    source: Path | bytes
    first_byte: int
    size_bytes: int
    inverted: bool = False
    flipped: tuple[int, ...] = ()
    gzipped: bool = False

    @classmethod
    def of(cls, content: bytes) -> Body:
        """All of some bytes in memory."""
        return cls(content, 0, len(content))

    def open(self) -> BinaryIO:
        """The source, standing at the first byte to send; the caller closes it."""
        if isinstance(self.source, bytes):
            file: BinaryIO = io.BytesIO(self.source)
        else:
            file = self.source.open("rb")
        file.seek(self.first_byte)
        return file

    def read(self, file: BinaryIO, size_bytes: int) -> bytes:
        """The next bytes of the open source as they are to be sent."""
        start = file.tell()
        piece = file.read(size_bytes)
        if self.inverted:
            piece = piece.translate(INVERTED)
        for offset in self.flipped:
            place = offset - start
            if 0 <= place < len(piece):
                piece = piece[:place] + piece[place : place + 1].translate(INVERTED) + piece[place + 1 :]
        return piece


@dataclass(frozen=True, slots=True)
class Delivery:
    """How an answer goes over the wire; the default is honestly.

    `hang_up_after_bytes` closes the connection after so much of the body, with RST if `reset`;
    `stall_after_bytes` is silent for `stall_s` there and then goes on; `length_lie_bytes` is added
    to the true Content-Length; `unsaid` says no length, so that the body ends with the connection;
    `behind` is sent after the answer, where the next one is expected; `silent_s` answers nothing at all
    and closes after that time.
    """

    hang_up_after_bytes: int | None = None
    reset: bool = False
    stall_after_bytes: int | None = None
    stall_s: float = 0.0
    bytes_per_s: float | None = None
    chunked: bool = False
    length_lie_bytes: int = 0
    unsaid: bool = False
    behind: bytes = b""
    silent_s: float | None = None


HONESTLY = Delivery()


@dataclass(frozen=True, slots=True)
class Reply:
    """A decided answer; Content-Length and Transfer-Encoding are added by the server."""

    status: int
    headers: Headers
    body: Body
    delivery: Delivery = HONESTLY
    mischief: str | None = None

    def header(self, name: str) -> str | None:
        """The value of a header, by its name in any case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def with_header(self, name: str, value: str | None) -> Reply:
        """The same answer with that header replaced, or without it if `value` is None."""
        kept = tuple(pair for pair in self.headers if pair[0].lower() != name.lower())
        return replace(self, headers=kept if value is None else (*kept, (name, value)))


def text_reply(status: int, text: str, content_type: str, headers: Headers = ()) -> Reply:
    """A short answer with a body in memory."""
    return Reply(status, (("Content-Type", content_type), *headers), Body.of(text.encode()))


def json_reply(status: int, document: object, headers: Headers = ()) -> Reply:
    """An answer of the JSON APIs."""
    return text_reply(status, json.dumps(document), "application/json; charset=utf-8", headers)


def xml_error(status: int, code: str, message: str) -> Reply:
    """An error as S3 and Google storage word it."""
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error>"
    )
    return text_reply(status, text, "application/xml")


def redirect(status: int, location: str, headers: Headers = ()) -> Reply:
    """A redirect with the short text that servers add for people."""
    text = f"Redirecting to {location}\n"
    return text_reply(status, text, "text/plain; charset=utf-8", (("Location", location), *headers))
