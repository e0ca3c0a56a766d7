"""What a request for a shared file gets: the whole, a range, or a refusal. No sockets, no files.

file     Range asked for                                  answer
whole    none, several, not understood, or If-Range of    200, the whole
         another validator
whole    within the file                                  206
whole    beyond its end                                   416
part     within what is here                              206
part     any byte of it is not here                       416
part     none (see above)                                 404: there is no whole file yet
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from g3m.core.peers import Range, holds

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedPath:
    """A file that is shared: its place below the root, its size and digest, the ranges if it is not whole."""

    parts: tuple[str, ...]
    size_bytes: int
    digest: str
    ranges: tuple[Range, ...] | None = None

    @property
    def etag(self) -> str:
        """A part has another validator than the file that will come of it: its bytes are not proved yet."""
        return f'"{self.digest}"' if self.ranges is None else f'"{self.digest};part"'


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What is shared at one moment: the list as it is sent, and every file by its path behind the token."""

    listing: bytes
    paths: Mapping[str, SharedPath]


@dataclass(frozen=True, slots=True)
class Reply:
    """Status, headers, and the bytes of the file that are its body."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    start: int = 0
    end: int = 0


def reply(shared: SharedPath, wanted: str | None, condition: str | None) -> Reply:
    """The reply to a GET with these Range and If-Range headers (None: absent); see the table above."""
    size_bytes = shared.size_bytes
    span = _span(wanted or "", size_bytes) if condition in (None, shared.etag) else None
    if span is None and shared.ranges is not None:
        return Reply(404)
    tagged = (("Accept-Ranges", "bytes"), ("ETag", shared.etag))
    if span is None:
        return Reply(200, tagged, 0, size_bytes)
    start, end = span
    if start >= end or not holds(shared.ranges, start, end):
        unsatisfied = ("Content-Range", f"bytes */{size_bytes}")
        return Reply(416, (unsatisfied,))
    where = ("Content-Range", f"bytes {start}-{end - 1}/{size_bytes}")
    return Reply(206, (*tagged, where), start, end)


def _span(wanted: str, size_bytes: int) -> Range | None:
    """The range that a Range header asks for, or None if it is not one that is understood."""
    found = _RANGE.fullmatch(wanted.strip())
    first, last = found.groups() if found else ("", "")
    if not first and not last:
        return None
    if not first:
        return max(size_bytes - int(last), 0), size_bytes
    if last and int(last) < int(first):
        return None
    return int(first), min(int(last) + 1, size_bytes) if last else size_bytes
