"""May these bytes be appended? The rule that goes wrong most often, as one pure function.

    part on disk        answer                                   decision
    none                200                                      write from 0
    n bytes             206 from n, size as planned              append
    n bytes             200 (range ignored)                      write from 0
    n bytes             200 with another validator (If-Range)    write from 0
    n bytes             206 of another version, 416              Replaced
    any                 another size                             Changed
    any                 206 from elsewhere, a page, an encoding  Changed
    any                 401 403 · 404 410 · 429 503              Refused · Missing · Throttled
    any                 408 5xx · another status                 Unreachable · Changed

The tests walk this table row by row.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

from g3m.core.digest import Digest
from g3m.core.errors import (
    Changed,
    Missing,
    Refused,
    Replaced,
    SourceError,
    Throttled,
    Truncated,
    Unreachable,
)

RETRY_AFTER_LIMIT_S = 300.0
_DIGITS_LIMIT = 18
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
_SIGN_IN = (
    "sign in (HF_TOKEN; KAGGLE_API_TOKEN or kaggle.json) and accept the terms on the dataset's page",
    "请登录（HF_TOKEN；KAGGLE_API_TOKEN 或 kaggle.json），并在数据集页面同意条款",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What was asked of a place: the asset, where the part ends, what is known of the whole."""

    label: str
    offset_bytes: int = 0
    size_bytes: int | None = None
    etag: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The head of a response: status and headers with lower-case names."""

    status: int
    headers: Mapping[str, str]

    @property
    def length_bytes(self) -> int | None:
        text = self.headers.get("content-length", "")
        if not text.isdecimal():
            return None
        # Python refuses to read thousands of digits; a number that long is wrong in any case.
        return int(text[:_DIGITS_LIMIT])

    @property
    def etag(self) -> str:
        """The validator if it is a strong one; a weak ETag promises nothing about bytes."""
        etag = self.headers.get("etag", "")
        return "" if etag.startswith("W/") else etag

    @property
    def content_range(self) -> tuple[int, int, int | None] | None:
        """First byte, last byte and the whole size of a 206, or None."""
        found = _CONTENT_RANGE.fullmatch(self.headers.get("content-range", "").strip())
        if not found:
            return None
        first, last, size = found.groups()
        return int(first), int(last), None if size == "*" else int(size)

    @property
    def digests(self) -> tuple[Digest, ...]:
        """The md5 that Google storage sends in x-goog-hash, if any."""
        for part in self.headers.get("x-goog-hash", "").split(","):
            name, _, value = part.strip().partition("=")
            if name == "md5":
                try:
                    return (Digest.parse(f"md5:{base64.b64decode(value, validate=True).hex()}"),)
                except ValueError:
                    return ()
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Go:
    """Accept the body: write it from `offset_bytes`; the whole has `size_bytes` if that is known."""

    offset_bytes: int
    size_bytes: int | None


def decide(wanted: Wanted, answer: Answer, *, now: datetime | None = None) -> Go:
    """Accept an answer or raise the error that says why not (see the table above)."""
    if answer.status not in (200, 206):
        raise refusal(wanted, answer, now=now)
    encoding = answer.headers.get("content-encoding", "identity").lower()
    if encoding not in ("", "identity"):
        raise Changed(f"{wanted.label}: sent with the encoding {encoding!r} that was not asked for")
    if answer.status == 206 and wanted.etag and answer.etag and answer.etag != wanted.etag:
        raise Replaced(f"{wanted.label}: the file on the server changed since the download began")
    whole = Go(offset_bytes=0, size_bytes=answer.length_bytes)
    go = _partial(wanted, answer) if answer.status == 206 else whole
    if wanted.size_bytes is not None and go.size_bytes not in (None, wanted.size_bytes):
        kind = " (a web page, perhaps a login page)" if is_page(answer) else ""
        raise Changed(
            f"{wanted.label}: the server's file has {go.size_bytes} bytes, "
            f"planned are {wanted.size_bytes}{kind}"
        )
    if is_page(answer) and not wanted.label.endswith((".html", ".htm")):
        raise Changed(f"{wanted.label}: a web page came instead of the file (a login or block page?)")
    return go


def _partial(wanted: Wanted, answer: Answer) -> Go:
    found = answer.content_range
    if found is None:
        raise Changed(f"{wanted.label}: a partial answer without a usable Content-Range")
    first, last, size_bytes = found
    end = wanted.size_bytes if size_bytes is None else size_bytes
    if first != wanted.offset_bytes or last < first or (end is not None and last >= end):
        raise Changed(f"{wanted.label}: asked for bytes from {wanted.offset_bytes}, got {first}-{last}")
    return Go(offset_bytes=first, size_bytes=size_bytes)


def is_page(answer: Answer) -> bool:
    """Whether a web page came: of a login, a block, or an error."""
    return answer.headers.get("content-type", "").lower().startswith("text/html")


def refusal(wanted: Wanted, answer: Answer, *, now: datetime | None = None) -> SourceError:
    """The error for a status that is no success."""
    status = answer.status
    if status in (401, 403):
        return Refused(f"{wanted.label}: the server refused (HTTP {status})", hint=_SIGN_IN)
    if status in (404, 410):
        return Missing(f"{wanted.label}: not found (HTTP {status})")
    if status in (429, 503):
        wait_s = retry_after_s(answer.headers.get("retry-after", ""), now=now)
        return Throttled(f"{wanted.label}: the server is busy (HTTP {status})", after_s=wait_s)
    if status == 416:
        return Replaced(f"{wanted.label}: the server has no byte {wanted.offset_bytes} (HTTP 416)")
    if status == 408 or 500 <= status <= 599:
        return Unreachable(f"{wanted.label}: the server failed (HTTP {status})")
    return Changed(f"{wanted.label}: unexpected answer (HTTP {status})")


def retry_after_s(text: str, *, now: datetime | None = None) -> float:
    """Seconds to wait by a Retry-After header (seconds or a date), from 0 to five minutes."""
    text = text.strip()
    if text.isdecimal():
        return min(float(text), RETRY_AFTER_LIMIT_S)
    try:
        date = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError, OverflowError):
        return 0.0
    if now is None:
        return 0.0
    if date.tzinfo is None:
        date = date.replace(tzinfo=timezone.utc)
    return min(max((date - now).total_seconds(), 0.0), RETRY_AFTER_LIMIT_S)


def check_end(wanted: Wanted, received_to_bytes: int, size_bytes: int | None) -> None:
    """After the last byte: Truncated or Changed unless the file ends where it should."""
    if size_bytes is None or received_to_bytes == size_bytes:
        return
    if received_to_bytes < size_bytes:
        raise Truncated(f"{wanted.label}: ended at byte {received_to_bytes} of {size_bytes}")
    raise Changed(f"{wanted.label}: sent more than the {size_bytes} bytes that were announced")
