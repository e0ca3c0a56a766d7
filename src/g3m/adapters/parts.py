"""A file that is being downloaded, and the journal that proves which of its bytes can be trusted.

    NAME.part       the bytes so far
    NAME.journal    one line a flush: `crc32-of-the-line JSON`

The order makes a kill or a power cut harmless: bytes are synced before the record that claims them is
written, and the record is synced before more bytes are claimed. On resuming, every claimed piece is
read once: its crc32 proves the disk, and the same read feeds the digest of the whole file. A line that
is torn or wrong ends the journal; what lies behind it in the part is cut off.

A run writes its own name into the journal when it begins. Whoever finds the journal longer or shorter
than he left it knows that another run is at work on the same file, and gives way.
"""

from __future__ import annotations

import json
import os
import secrets
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from g3m.core.digest import Digest, Hasher, disagreement
from g3m.core.errors import Locked, storage_error

FORMAT = 1
FLUSH_BYTES = 8 * 2**20
FLUSH_S = 2.0
_READ_BYTES = 2**20

Record = dict[str, Any]


class Part:
    """One download in progress. Use `restore`, then `write` in order, then `finish`."""

    def __init__(self, path: Path, digests: Sequence[Digest], size_bytes: int | None) -> None:
        self.path = path
        self._journal_path = path.with_suffix(".journal")
        # md5 costs as much as sha256: only where it is pinned, or may come with the answer.
        self._algorithms = {digest.algorithm for digest in digests} or {"md5"}
        self._size_bytes = size_bytes
        self._identity: Record = {
            "format": FORMAT,
            "size_bytes": size_bytes,
            "digests": sorted(str(digest) for digest in digests),
        }
        self._run: Record = {"run": secrets.token_hex(8)}
        self._file = -1
        self._journal = -1
        self._journal_bytes = 0
        self._reset()

    def _reset(self) -> None:
        self.position = 0
        self.places: dict[str, str] = {}
        """The places that bytes came from, with the validator each showed (empty: none)."""
        self.announced_bytes: int | None = None
        """The size of the whole as a place announced it."""
        self.announced_digests: tuple[str, ...] = ()
        """Digests that a place sent along, as text."""
        self._hasher = Hasher(self._algorithms, size_bytes=self._size_bytes)
        self._pieces: list[Record] = []
        self._piece_start = 0
        self._piece_crc = 0
        self._flushed_s = time.monotonic()

    def restore(self, progress: Callable[[int], None] = lambda _: None) -> int:
        """Open the part, trust what the journal proves, cut off the rest; returns the bytes kept."""
        with self._mapped():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            self._reset()
            records = _records(self._journal_path)
            if next(records, None) == self._identity:
                for record in records:
                    if not self._believe(record, progress):
                        break
            os.ftruncate(self._file, self.position)
            self._write_journal()
        return self.position

    def _believe(self, record: Record, progress: Callable[[int], None]) -> bool:
        """Take one record over if it is true; False ends the journal."""
        if "run" in record:
            return True
        place = str(record.get("place", ""))
        if "etag" in record:
            size = record.get("size_bytes")
            self.places[place] = str(record["etag"])
            self.announced_bytes = size if isinstance(size, int) else None
            self.announced_digests = tuple(str(digest) for digest in record.get("digests", ()))
            return True
        length = record.get("length")
        if record.get("offset") != self.position or not isinstance(length, int) or length <= 0:
            return False
        hasher, crc, offset = self._hasher.copy(), 0, self.position
        while offset < self.position + length:
            data = os.pread(self._file, min(_READ_BYTES, self.position + length - offset), offset)
            if not data:
                return False
            crc = zlib.crc32(data, crc)
            hasher.update(data)
            offset += len(data)
            progress(offset)
        if crc != record.get("crc32"):
            return False
        self._hasher, self.position, self._piece_start = hasher, offset, offset
        self._pieces.append(record)
        self.places.setdefault(place, "")
        return True

    def _write_journal(self) -> None:
        """A journal of what is known now, put in place of the old one whole."""
        places = [self._place_record(place, etag) for place, etag in self.places.items()]
        lines = [_line(record) for record in (self._identity, *places, *self._pieces, self._run)]
        temporary = self._journal_path.with_suffix(".journal.tmp")
        journal = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_APPEND, 0o644
        )
        try:
            written = _write_all(journal, b"".join(lines))
            os.fsync(journal)
            os.replace(temporary, self._journal_path)
            _sync_folder(self.path.parent)
        except OSError:
            os.close(journal)
            raise
        if self._journal >= 0:
            os.close(self._journal)
        self._journal, self._journal_bytes = journal, written

    def _place_record(self, place: str, etag: str) -> Record:
        announced = {"size_bytes": self.announced_bytes, "digests": list(self.announced_digests)}
        return {"place": place, "etag": etag, **announced}

    def restart(self) -> None:
        """Forget everything: the next byte is the first of the file."""
        with self._mapped():
            self._reset()
            self._write_journal()
            os.ftruncate(self._file, 0)

    def begin(self, place: str, etag: str, size_bytes: int | None, digests: Sequence[Digest] = ()) -> None:
        """Say where the following bytes come from, with what the place announced of the whole."""
        self.flush(place)
        told = tuple(map(str, digests))
        if (self.places.get(place), self.announced_bytes, self.announced_digests) != (etag, size_bytes, told):
            self.places[place], self.announced_bytes, self.announced_digests = etag, size_bytes, told
            with self._mapped():
                self._append(self._place_record(place, etag))

    def write(self, data: bytes, place: str) -> None:
        """Append bytes; a record follows every 8 MiB or two seconds."""
        view = memoryview(data)
        with self._mapped():
            while view:
                written = os.pwrite(self._file, view, self.position)
                taken = view[:written]
                self._hasher.update(taken)
                self._piece_crc = zlib.crc32(taken, self._piece_crc)
                self.position += written
                view = view[written:]
        pending = self.position - self._piece_start
        if pending >= FLUSH_BYTES or time.monotonic() - self._flushed_s >= FLUSH_S:
            self.flush(place)

    def flush(self, place: str) -> None:
        """Make every byte so far durable, then claim it."""
        length = self.position - self._piece_start
        if length:
            piece = {"offset": self._piece_start, "length": length, "crc32": self._piece_crc, "place": place}
            with self._mapped():
                self._check_alone()
                os.fdatasync(self._file)
                self._append(piece)
                os.fdatasync(self._journal)
            self._pieces.append(piece)
        self._piece_start, self._piece_crc = self.position, 0
        self._flushed_s = time.monotonic()

    def _append(self, record: Record) -> None:
        self._journal_bytes += _write_all(self._journal, _line(record))

    def _check_alone(self) -> None:
        """Locked if somebody else has written to the journal, or has put another in its place."""
        own = os.fstat(self._journal)
        if own.st_nlink != 1 or own.st_size != self._journal_bytes:
            raise Locked(f"{self.path}: another run writes this file too")

    def digests(self) -> tuple[Digest, ...]:
        """The digests of all bytes so far."""
        return self._hasher.digests()

    def wrong(self, expected: Sequence[Digest]) -> tuple[Digest, Digest] | None:
        """The expected and the actual digest where they differ."""
        return disagreement(expected, self._hasher.digests())

    def finish(self, whole: Path) -> None:
        """Sync and give the file its name; only for bytes that have been verified."""
        with self._mapped():
            self._check_alone()
            os.fsync(self._file)
            self.close()
            os.replace(self.path, whole)
            _sync_folder(whole.parent)
            self._journal_path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the files; what is claimed stays claimed."""
        for descriptor in (self._file, self._journal):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._journal = -1

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise storage_error(error, self.path) from error


def claimed_bytes(path: Path) -> int:
    """How far a journal says its part is, without proof: for `g3m status` and plans."""
    try:
        records = [record for record in _records(path.with_suffix(".journal")) if "length" in record]
    except OSError:
        return 0
    return max((int(record["offset"]) + int(record["length"]) for record in records), default=0)


def _records(journal: Path) -> Iterator[Record]:
    """The records up to the first line that is torn or wrong."""
    try:
        lines = journal.read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    for line in lines:
        crc, _, body = line.partition(b" ")
        try:
            record = json.loads(body) if int(crc, 16) == zlib.crc32(body) else None
        except (ValueError, RecursionError):
            return
        if not isinstance(record, dict):
            return
        yield record


def _line(record: Record) -> bytes:
    body = json.dumps(record, sort_keys=True).encode()
    return b"%08x %s\n" % (zlib.crc32(body), body)


def _write_all(descriptor: int, data: bytes) -> int:
    """Write it all, however little the system takes at once; returns its length."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    return len(data)


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
