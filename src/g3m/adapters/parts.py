"""A file that is being downloaded, and the journal that proves which of its bytes can be trusted.

    NAME.part       the bytes so far
    NAME.journal    one line a flush: `crc32-of-the-line JSON`

The order makes a kill or a power cut harmless: bytes are synced before the record that claims them is
written, and the record is synced before more bytes are claimed. On resuming, every claimed piece is
read once: its crc32 proves the disk, and the same read feeds the digest of the whole file. A line that
is torn or wrong ends the journal; what lies behind it in the part is cut off.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from g3m.core.digest import Digest, Hasher, disagreement
from g3m.core.errors import storage_error

FORMAT = 1
FLUSH_BYTES = 8 * 2**20
FLUSH_S = 2.0
_READ_BYTES = 2**20


class Part:
    """One download in progress. Use `restore`, then `write` in order, then `finish`."""

    def __init__(self, path: Path, digests: Sequence[Digest], size_bytes: int | None) -> None:
        self.path = path
        self._journal_path = path.with_suffix(".journal")
        # md5 costs as much as sha256: only where it is pinned, or may come with the answer.
        self._algorithms = {digest.algorithm for digest in digests} or {"md5"}
        self._size_bytes = size_bytes
        self._identity = {
            "format": FORMAT,
            "size_bytes": size_bytes,
            "digests": sorted(str(digest) for digest in digests),
        }
        self._file = -1
        self._journal = -1
        self._reset()

    def _reset(self) -> None:
        self.position = 0
        self.places: dict[str, str] = {}
        """The places that bytes came from, with the validator each showed (empty: none)."""
        self.announced_bytes: int | None = None
        """The size of the whole as a place announced it."""
        self._hasher = Hasher(self._algorithms, size_bytes=self._size_bytes)
        self._piece_start = 0
        self._piece_crc = 0
        self._flushed_s = time.monotonic()

    def restore(self, progress: Callable[[int], None] = lambda _: None) -> int:
        """Open the part, trust what the journal proves, cut off the rest; returns the bytes kept."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            self._journal = os.open(self._journal_path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise storage_error(error, self.path) from error
        lines = self._journal_path.read_bytes().split(b"\n")
        records = [record for record in map(_parse, lines) if record is not None]
        torn = len(records) != len(lines) - 1
        if not records or records[0] != self._identity:
            self.restart()
            return 0
        whole = True
        for record in records[1:]:
            whole = whole and self._restore_record(record, progress)
        if torn or not whole:
            self._rewrite_journal()
        os.ftruncate(self._file, self.position)
        return self.position

    def _restore_record(self, record: dict[str, Any], progress: Callable[[int], None]) -> bool:
        place = str(record.get("place", ""))
        if "etag" in record:
            self.places[place] = str(record["etag"])
            size = record.get("size_bytes")
            self.announced_bytes = size if isinstance(size, int) else None
            return True
        length, crc = record.get("length"), record.get("crc32")
        if record.get("offset") != self.position or not isinstance(length, int) or length <= 0:
            return False
        hasher, actual, offset = self._hasher, 0, self.position
        saved = hasher.copy()
        while offset < self.position + length:
            data = os.pread(self._file, min(_READ_BYTES, self.position + length - offset), offset)
            if not data:
                break
            actual = zlib.crc32(data, actual)
            hasher.update(data)
            offset += len(data)
            progress(offset)
        if offset != self.position + length or actual != crc:
            self._hasher = saved
            return False
        self.position = self._piece_start = offset
        self.places.setdefault(place, "")
        return True

    def _rewrite_journal(self) -> None:
        """Keep one record for the proven prefix, so that a torn line does not hide later ones."""
        places, position = self.places, self.position
        crc = 0
        for offset in range(0, position, _READ_BYTES):
            crc = zlib.crc32(os.pread(self._file, min(_READ_BYTES, position - offset), offset), crc)
        os.ftruncate(self._journal, 0)
        self._append(self._identity)
        for place, etag in places.items():
            self._append({"place": place, "etag": etag, "size_bytes": self.announced_bytes})
        if position:
            last = next(reversed(places), "")
            self._append({"offset": 0, "length": position, "crc32": crc, "place": last})
        os.fdatasync(self._journal)

    def restart(self) -> None:
        """Forget everything: the next byte is the first of the file."""
        try:
            self._reset()
            os.ftruncate(self._journal, 0)
            os.ftruncate(self._file, 0)
            self._append(self._identity)
            os.fdatasync(self._journal)
        except OSError as error:
            raise storage_error(error, self.path) from error

    def begin(self, place: str, etag: str, size_bytes: int | None) -> None:
        """Say where the following bytes come from, with its validator and the size it announced."""
        self.flush(place)
        if self.places.get(place) != etag or self.announced_bytes != size_bytes:
            self.places[place], self.announced_bytes = etag, size_bytes
            self._append({"place": place, "etag": etag, "size_bytes": size_bytes})

    def write(self, data: bytes, place: str) -> None:
        """Append bytes; a record follows every 8 MiB or two seconds."""
        view = memoryview(data)
        try:
            while view:
                written = os.pwrite(self._file, view, self.position)
                taken = view[:written]
                self._hasher.update(taken)
                self._piece_crc = zlib.crc32(taken, self._piece_crc)
                self.position += written
                view = view[written:]
        except OSError as error:
            raise storage_error(error, self.path) from error
        pending = self.position - self._piece_start
        if pending >= FLUSH_BYTES or time.monotonic() - self._flushed_s >= FLUSH_S:
            self.flush(place)

    def flush(self, place: str) -> None:
        """Make every byte so far durable, then claim it."""
        length = self.position - self._piece_start
        try:
            if length:
                os.fdatasync(self._file)
                record = {"offset": self._piece_start, "length": length, "crc32": self._piece_crc}
                self._append({**record, "place": place})
                os.fdatasync(self._journal)
        except OSError as error:
            raise storage_error(error, self.path) from error
        self._piece_start, self._piece_crc = self.position, 0
        self._flushed_s = time.monotonic()

    def _append(self, record: dict[str, Any]) -> None:
        body = json.dumps(record, sort_keys=True).encode()
        os.write(self._journal, b"%08x %s\n" % (zlib.crc32(body), body))

    def digests(self) -> tuple[Digest, ...]:
        """The digests of all bytes so far."""
        return self._hasher.digests()

    def wrong(self, expected: Iterable[Digest]) -> tuple[Digest, Digest] | None:
        """The expected and the actual digest where they differ."""
        return disagreement(expected, self._hasher.digests())

    def finish(self, whole: Path) -> None:
        """Sync and give the file its name; only for bytes that have been verified."""
        try:
            os.fsync(self._file)
            self.close()
            os.replace(self.path, whole)
            folder = os.open(whole.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
            self._journal_path.unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(error, whole) from error

    def close(self) -> None:
        """Close the files; what is claimed stays claimed."""
        for descriptor in (self._file, self._journal):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._journal = -1


def claimed_bytes(path: Path) -> int:
    """How far a journal says its part is, without proof: for `g3m status` and plans."""
    try:
        lines = path.with_suffix(".journal").read_bytes().split(b"\n")
    except OSError:
        return 0
    records = [record for record in map(_parse, lines) if record is not None]
    return max((int(r["offset"]) + int(r["length"]) for r in records if "length" in r), default=0)


def _parse(line: bytes) -> dict[str, Any] | None:
    crc, _, body = line.partition(b" ")
    try:
        if int(crc, 16) != zlib.crc32(body):
            return None
        record = json.loads(body)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
