"""Serve a file as an honest HTTP/1.1 host does: validators, conditions, ranges (RFC 9110)."""

from __future__ import annotations

import base64
import hashlib
import mimetypes
import re
import threading
from email.utils import formatdate
from pathlib import Path

from g3m.lab.messages import Asked, Body, Headers, Reply, Resource, xml_error

HASH_PIECE_BYTES = 1024 * 1024
RANGE = re.compile(
    r"bytes=(?:(?P<first>[0-9]{1,18})-(?P<last>[0-9]{0,18})|-(?P<suffix>[0-9]{1,18}))",
    re.IGNORECASE,
)


class Digests:
    """MD5s of files, remembered until a file's size or time changes; threads may share them."""

    def __init__(self) -> None:
        self._known: dict[tuple[Path, int, int, int | None], tuple[bytes, int]] = {}
        self._lock = threading.Lock()

    def md5_of_parts(self, path: Path, part_bytes: int | None = None) -> tuple[bytes, int]:
        """The file's MD5 and 0; with `part_bytes`, the MD5 of the parts' MD5s and their number."""
        status = path.stat()
        key = (path, status.st_size, status.st_mtime_ns, part_bytes)
        with self._lock:
            if key not in self._known:
                self._known[key] = _md5_of_parts(path, part_bytes)
            return self._known[key]


def _md5_of_parts(path: Path, part_bytes: int | None) -> tuple[bytes, int]:
    if part_bytes is None:
        return digest_of(path, "md5"), 0
    parts = []
    with path.open("rb") as file:
        while part := file.read(part_bytes):
            parts.append(hashlib.md5(part).digest())
    return hashlib.md5(b"".join(parts)).digest(), len(parts)


def digest_of(path: Path, algorithm: str) -> bytes:
    """The digest of a file, read in pieces."""
    digest = hashlib.new(algorithm)
    with path.open("rb") as file:
        while piece := file.read(HASH_PIECE_BYTES):
            digest.update(piece)
    return digest.digest()


def s3_resource(path: Path, digests: Digests, part_bytes: int | None = None) -> Resource:
    """The file as S3 describes it; one uploaded in parts has an ETag that is no MD5 of anything."""
    digest, parts = digests.md5_of_parts(path, part_bytes)
    return _resource(path, f"{digest.hex()}-{parts}" if parts else digest.hex())


def google_resource(path: Path, digests: Digests) -> Resource:
    """The file as Google storage describes it: with its MD5 in base64, too."""
    digest, _ = digests.md5_of_parts(path)
    md5 = base64.b64encode(digest).decode()
    return _resource(path, digest.hex(), (("x-goog-hash", f"md5={md5}"),))


def _resource(path: Path, etag: str, headers: Headers = ()) -> Resource:
    status = path.stat()
    headers = (content_type(path.name), *headers)
    return Resource(path, status.st_size, f'"{etag}"', status.st_mtime, headers)


def content_type(name: str) -> tuple[str, str]:
    """The Content-Type header for a file name; `.tar.gz` is a gzip file, not an encoded tar."""
    kind, encoding = mimetypes.guess_type(name)
    if encoding is not None or kind is None:
        kind = "application/gzip" if encoding == "gzip" else "application/octet-stream"
    return "Content-Type", kind


def serve(asked: Asked, resource: Resource) -> Reply:
    """Answer for a file: 200, 206, 304, 412 or 416. Ranges count for GET only (RFC 9110)."""
    modified = formatdate(resource.modified_s, usegmt=True)
    headers = (
        ("ETag", resource.etag),
        ("Last-Modified", modified),
        ("Accept-Ranges", "bytes"),
        *resource.headers,
    )
    if not _matches(asked.headers.get("if-match", "*"), resource.etag):
        return xml_error(412, "PreconditionFailed", "The If-Match condition does not hold.")
    if "if-none-match" in asked.headers and _matches(asked.headers["if-none-match"], resource.etag):
        return Reply(304, headers, Body.of(b""))
    whole = Body(resource.source, 0, resource.size_bytes, inverted=resource.inverted)
    wanted = RANGE.fullmatch(asked.headers.get("range", ""))
    condition = asked.headers.get("if-range")
    is_stale = condition is not None and condition not in (resource.etag, modified)
    if wanted is None or _is_backwards(wanted) or asked.method != "GET" or is_stale:
        return Reply(200, headers, whole)
    first, last = _bounds(wanted, resource.size_bytes)
    if first > last:
        error = xml_error(416, "InvalidRange", "The requested range is not satisfiable")
        return error.with_header("Content-Range", f"bytes */{resource.size_bytes}")
    content_range = ("Content-Range", f"bytes {first}-{last}/{resource.size_bytes}")
    part = Body(resource.source, first, last - first + 1, inverted=resource.inverted)
    return Reply(206, (*headers, content_range), part)


def _matches(condition: str, etag: str) -> bool:
    """Whether a list of entity tags, or `*`, names this one."""
    return condition.strip() == "*" or etag in [tag.strip() for tag in condition.split(",")]


def _is_backwards(wanted: re.Match[str]) -> bool:
    """Whether it is `a-b` with b < a, which RFC 9110 calls invalid: such a header is ignored."""
    return bool(wanted["last"]) and int(wanted["last"]) < int(wanted["first"])


def _bounds(wanted: re.Match[str], size_bytes: int) -> tuple[int, int]:
    """First and last byte of the range within the file; first > last where nothing of it exists."""
    end = size_bytes - 1
    if wanted["suffix"] is not None:
        return max(0, size_bytes - int(wanted["suffix"])), end
    return int(wanted["first"]), min(int(wanted["last"] or end), end)
