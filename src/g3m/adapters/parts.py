"""A file that is being downloaded from many sides, and the journal that proves which bytes are there.

    NAME.part       the bytes so far, each where it belongs
    NAME.journal    one line a record, see core/journal.py

The order makes a kill or a power cut harmless: bytes are synced before the record that claims them is
written, and the record is synced after. A line that is torn or wrong ends the journal. One thread of the
part's own does both, and follows the claimed bytes from the beginning of the file with the digest of the
whole: it reads them back from the disk, so that the digest is that of the file and not of the network.
What an earlier run has claimed is compared with its crc32 on this way; bytes that are not as claimed are
`lost` and fetched again, while everything else goes on.

A run writes its own name into the journal when it begins. Whoever finds the journal longer or shorter
than he left it knows that another run is at work on the same file, and gives way.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Condition, Thread

from g3m.adapters import fsio
from g3m.core.digest import Digest, Engine, Hasher, disagreement
from g3m.core.errors import G3MError, Locked, StorageError, storage_error
from g3m.core.journal import FORMAT, Claim, Drop, Record, Segment, drop_of, records, remaining, seal
from g3m.core.spans import Span, Spans

try:  # several times as fast, where it has wheels
    from isal.isal_zlib import crc32
except ImportError:
    from zlib import crc32

FLUSH_S = 1.0
LEAST_FLUSH_S = 0.05
MOST_FLUSH_S = 0.25
FLUSH_FRACTION = 256
LEAST_FLUSH_BYTES = 2**19
MOST_FLUSH_BYTES = 8 * 2**20
UNSYNCED_LIMIT_BYTES = 256 * 2**20
"""More than this waits for a slow disk, instead of filling the memory of the machine."""

_READ_BYTES = 2**20
PIECES_LIMIT = 1024
"""So many pieces the system takes in one call (IOV_MAX)."""


@dataclass(slots=True)
class Difference:
    """Where suspected bytes turned out to be others: how many bytes, and the first one."""

    size_bytes: int = 0
    first: int = -1


class Part:
    """One download in progress: `restore`, then `write` anywhere, `settle`, and `finish`."""

    def __init__(
        self,
        path: Path,
        digests: Sequence[Digest],
        size_bytes: int | None,
        engine: Engine | None = None,
    ) -> None:
        """`engine` makes digests that can say their state; without one nothing can be dropped."""
        self.path = path
        self._engine = engine
        self._journal_path = path.with_suffix(".journal")
        # md5 costs as much as sha256: only where it is pinned, or may come with the answer.
        self._algorithms = {digest.algorithm for digest in digests} or {"md5"}
        self._size_bytes = size_bytes
        whole = size_bytes or 0
        self._flush_bytes = min(max(whole // FLUSH_FRACTION, LEAST_FLUSH_BYTES), MOST_FLUSH_BYTES)
        self._identity: Record = {
            "format": FORMAT,
            "size_bytes": size_bytes,
            "digests": sorted(str(digest) for digest in digests),
        }
        self._run: Record = {"run": secrets.token_hex(8)}
        self._file = -1
        self._journal = -1
        self._journal_bytes = 0
        self._turn = Condition()
        self._thread: Thread | None = None
        self._stopping = False
        self._busy = self._syncing = False
        self._failure: G3MError | None = None
        self._reset()

    def _reset(self) -> None:
        self.places: dict[str, str] = {}
        """The places that bytes came from, with the validator each showed (empty: none)."""
        self.announced_bytes: int | None = None
        """The size of the whole as a place announced it."""
        self.announced_digests: tuple[str, ...] = ()
        """Digests that a place sent along, as text."""
        self.difference = Difference()
        self._suspect = Spans()
        self._claims: dict[int, Claim] = {}
        self._lost: list[Span] = []
        self._open: dict[int, Segment] = {}
        self._open_bytes = 0
        self._waiting: list[Segment] = []
        self._waiting_bytes = 0
        self._flushed_s = time.monotonic()
        self._sync_s = 0.0
        self._hasher = self._new_hasher()
        self._hashed = 0
        self._drop_record: Drop | None = None

    def _new_hasher(self) -> Hasher:
        if self._engine is None:
            return Hasher(self._algorithms, size_bytes=self._size_bytes)
        return Hasher(self._algorithms, size_bytes=self._size_bytes, engine=self._engine)

    # What is there

    def restore(self) -> Spans:
        """Open the part and believe its journal; returns what it claims. Nothing is read but the journal."""
        with self._mapped(), self._turn:
            fsio.make_folder(self.path.parent)
            self._file = fsio.open_file(self.path, fsio.KEPT)
            self._reset()
            found = _records(self._journal_path)
            if next(found, None) == self._identity:
                self._believe(found)
            if self._claims or self.places or self._drop_record:
                self._write_journal()
                self._begin_thread()
            else:
                fsio.discard(self._journal_path)
                self._open_anew()
        return self.claimed()

    def _open_anew(self) -> None:
        """An empty file of our own: who still writes to the former one does not write to this."""
        os.close(self._file)
        self._file = -1
        fsio.discard(self.path)
        self._file = fsio.open_file(self.path, fsio.NEW)

    def _believe(self, found: Iterator[Record]) -> None:
        known = list(found)
        for record in remaining(known, self._claims, os.fstat(self._file).st_size):
            self.places[record["place"]] = record["etag"]
            self.announced_bytes = record["size_bytes"]
            self.announced_digests = tuple(record["digests"])
        for claim in self._claims.values():
            self.places.setdefault(claim.place, "")
        drops = [drop for drop in map(drop_of, known) if drop is not None]
        if drops:
            self._believe_drop(drops[-1])

    def _believe_drop(self, drop: Drop) -> None:
        """Go on where the digest was when bytes were dropped; without its state nothing is worth keeping."""
        try:
            if self._engine is None:
                raise ValueError("its state cannot be used here")
            self._hasher.resume(drop.states, drop.front, self._engine)
        except (ValueError, KeyError, OSError, AttributeError):
            self._reset()
            return
        self._hashed, self._drop_record = drop.front, drop
        for offset in [o for o, claim in self._claims.items() if o + claim.length <= drop.end]:
            del self._claims[offset]

    def claimed(self) -> Spans:
        """The ranges that are durable, as far as this run knows."""
        with self._turn:
            spans = Spans((offset, offset + claim.length) for offset, claim in self._claims.items())
            if self.dropped:
                spans.add(0, self.dropped)
            return spans

    @property
    def dropped(self) -> int:
        """How many bytes at the front are used up: claimed, and on the disk no more."""
        return self._drop_record.end if self._drop_record else 0

    @property
    def front(self) -> int:
        """How far the file is whole from its beginning on, and in the digest."""
        return self._hashed

    def wait_front(self, end: int, wait_s: float) -> bool:
        """Whether the front has come to `end`; waits so long for it."""
        with self._turn:
            if self._hashed < end:
                self._turn.wait(wait_s)
            return self._hashed >= end

    def drop(self, end: int, kept: int) -> None:
        """Give bytes below `end` back to the disk, but for the first `kept`; they count as claimed.

        `end` must not lie behind the front. First the journal says so, with the state of the digest, then
        they are freed: a kill in between leaves bytes that nobody needs.
        """
        with self._mapped(), self._turn:
            self._check_alone()
            before = max(self.dropped, kept)
            if self._journal < 0:
                self._write_journal()
            drop = Drop(end, kept, self._hashed, self._hasher.states())
            self._append(drop.record)
            fsio.sync_data(self._journal)
            self._drop_record = drop
            for offset in [o for o, claim in self._claims.items() if o + claim.length <= end]:
                del self._claims[offset]
        fsio.punch(self._file, before, end)

    def bytes_of_places(self) -> dict[str, int]:
        """How many of the claimed bytes came from each place."""
        with self._turn:
            sums: dict[str, int] = {}
            for claim in self._claims.values():
                sums[claim.place] = sums.get(claim.place, 0) + claim.length
            return sums

    def spans_of(self, place: str) -> list[Span]:
        """The claimed ranges that came from a place."""
        with self._turn:
            return [(o, o + claim.length) for o, claim in self._claims.items() if claim.place == place]

    def lost(self) -> list[Span]:
        """Ranges that were claimed and are not on the disk as claimed; each is told once."""
        if not self._lost:
            return []
        with self._turn:
            lost, self._lost = self._lost, []
        return lost

    # Writing

    def begin(self, place: str, etag: str, size_bytes: int | None, digests: Sequence[Digest] = ()) -> None:
        """Say what a place announced of the whole before its bytes are written."""
        told = tuple(map(str, digests))
        if (self.places.get(place), self.announced_bytes, self.announced_digests) != (etag, size_bytes, told):
            with self._mapped(), self._turn:
                self.places[place], self.announced_bytes, self.announced_digests = etag, size_bytes, told
                if self._journal >= 0:
                    self._append(self._place_record(place, etag))

    def write(self, transfer: int, offset: int, pieces: Sequence[bytes], place: str) -> None:
        """Put bytes where they belong; a record follows when enough have come, or a second has passed."""
        self._raise_failure()
        if self._suspect:
            self._compare(offset, b"".join(pieces))
        self._write(offset, pieces)
        segment = self._open.get(transfer)
        if segment is None or segment.offset + segment.length != offset:
            if segment is not None:
                self._waiting.append(segment)
            segment = self._open[transfer] = Segment(offset, place)
        for piece in pieces:
            segment.crc32 = crc32(piece, segment.crc32)
            segment.length += len(piece)
            self._open_bytes += len(piece)
        if self._is_due() and not self._syncing:
            self.flush()
        elif self._open_bytes + self._waiting_bytes > UNSYNCED_LIMIT_BYTES:
            self.flush()
            self._until(lambda: not self._waiting, lambda: None)

    def tend(self) -> None:
        """Flush what has waited long enough although nothing more comes: somebody waits for the front."""
        if self._open and not self._syncing and time.monotonic() - self._flushed_s >= MOST_FLUSH_S:
            self.flush()

    def _is_due(self) -> bool:
        """Whether to flush: by size and time, but a quick disk is not kept busy with syncing."""
        since_s = time.monotonic() - self._flushed_s
        enough = self._open_bytes >= self._flush_bytes or since_s >= FLUSH_S
        return enough and since_s >= min(max(LEAST_FLUSH_S, 3 * self._sync_s), MOST_FLUSH_S)

    def _write(self, offset: int, pieces: Sequence[bytes]) -> None:
        try:
            for first in range(0, len(pieces), PIECES_LIMIT):
                some = pieces[first : first + PIECES_LIMIT]
                wanted, written = sum(map(len, some)), fsio.write_pieces_at(self._file, some, offset)
                if written < wanted:
                    fsio.write_all_at(self._file, b"".join(some)[written:], offset + written)
                offset += wanted
        except OSError as error:
            raise storage_error(error, self.path) from error

    def flush(self) -> None:
        """Ask for everything so far to be made durable and claimed; does not wait for it."""
        self._raise_failure()
        if not self._open and not self._waiting:
            return
        with self._mapped(), self._turn:
            if self._journal < 0:
                self._write_journal()
            self._waiting += self._open.values()
            self._waiting_bytes += self._open_bytes
            self._open, self._open_bytes = {}, 0
            self._flushed_s = time.monotonic()
            self._begin_thread()
            self._turn.notify_all()

    def settle(self, alive: Callable[[], None] = lambda: None) -> None:
        """Wait until all that was written is claimed and the digest has followed; calls `alive` meanwhile."""
        if self._thread is None and self._journal < 0:
            self._settle_small()
            return
        self.flush()
        self._begin_thread()
        self._until(lambda: not self._waiting and not self._hashable(), alive)

    def _settle_small(self) -> None:
        """A file that was complete before its first flush needs no journal and no thread."""
        with self._mapped():
            segments = [*self._waiting, *self._open.values()]
            self._claims |= {s.offset: Claim(s.length, s.crc32, s.place, True) for s in segments}
            self._waiting, self._open, self._open_bytes = [], {}, 0
            while self._hashable():
                self._follow()

    def _until(self, done: Callable[[], bool], alive: Callable[[], None]) -> None:
        while True:
            with self._turn:
                if self._failure is not None or (done() and not self._busy):
                    break
                self._turn.notify_all()
                self._turn.wait(0.1)
            alive()
        self._raise_failure()

    # The part's own thread: syncing, claiming, following with the digest

    def _begin_thread(self) -> None:
        if self._thread is None:
            self._thread = Thread(target=self._run_thread, name=f"g3m-part-{self.path.name[:8]}", daemon=True)
            self._thread.start()

    def _run_thread(self) -> None:
        while True:
            with self._turn:
                self._busy = False
                self._turn.notify_all()
                while not (self._stopping or self._waiting or self._hashable()):
                    self._turn.wait()
                if self._stopping or self._failure is not None:
                    return
                self._busy = True
                segments = list(self._waiting)
            try:
                with self._mapped():
                    if segments:
                        self._claim(segments)
                    else:
                        self._follow()
            except Exception as error:  # noqa: BLE001  # whoever waits for this thread must hear of its end
                failure = error if isinstance(error, G3MError) else StorageError(f"{self.path}: {error!r}")
                with self._turn:
                    self._failure = failure

    def _claim(self, segments: list[Segment]) -> None:
        """Make bytes durable, then claim them; the writer goes on meanwhile."""
        began_s, self._syncing = time.monotonic(), True
        fsio.sync_data(self._file)
        self._sync_s, self._syncing = time.monotonic() - began_s, False
        with self._turn:
            self._check_alone()
            self._append(*(segment.record for segment in segments))
            fsio.sync_data(self._journal)
            for s in segments:
                self._claims[s.offset] = Claim(s.length, s.crc32, s.place, True)
            del self._waiting[: len(segments)]
            self._waiting_bytes = sum(segment.length for segment in self._waiting)

    def _hashable(self) -> bool:
        return self._hashed in self._claims

    def _follow(self) -> None:
        """Read the next claimed range back, for the digest of the whole; the writer is not kept waiting."""
        claim, offset, check = self._claims[self._hashed], self._hashed, 0
        hasher, end = self._hasher.copy(), self._hashed + claim.length
        while offset < end:
            data = os.pread(self._file, min(_READ_BYTES, end - offset), offset)
            if not data:
                break
            check = check if claim.proved else crc32(data, check)
            hasher.update(data)
            offset += len(data)
        with self._turn:
            if offset < end or (not claim.proved and check != claim.crc32):
                del self._claims[self._hashed]
                self._lost.append((self._hashed, end))
                if self._journal >= 0:
                    self._append({"lost": self._hashed})
            else:
                claim.proved = True
                self._hasher, self._hashed = hasher, end

    # The end of the file, right or wrong

    def digests(self) -> tuple[Digest, ...]:
        """The digests of all bytes so far; after `settle`, of the file."""
        with self._turn:
            return self._hasher.digests()

    def wrong(self, expected: Sequence[Digest]) -> tuple[Digest, Digest] | None:
        """The expected and the actual digest where they differ; to be asked after `settle`."""
        with self._turn:
            return disagreement(expected, self._hasher.digests())

    def suspect(self, place: str) -> list[Span]:
        """Claim the bytes of a place no longer; they stay to be compared with those that come instead."""
        with self._mapped(), self._turn:
            spans = self._drop(place)
            self._suspect, self.difference = Spans(spans), Difference()
            if self._journal >= 0:
                self._append({"forget": place})
                fsio.sync_data(self._journal)
            self._hasher, self._hashed = self._new_hasher(), 0
        return spans

    def _drop(self, place: str) -> list[Span]:
        offsets = [offset for offset, claim in self._claims.items() if claim.place == place]
        return [(offset, offset + self._claims.pop(offset).length) for offset in offsets]

    def _compare(self, offset: int, data: bytes) -> None:
        """Count how many of the suspected bytes are others than these, which come in their place."""
        for start, end in list(self._suspect.within(offset, offset + len(data))):
            new, old = data[start - offset : end - offset], os.pread(self._file, end - start, start)
            if new != old:
                mixed = (int.from_bytes(new, "big") ^ int.from_bytes(old, "big")).to_bytes(len(new), "big")
                first = start + len(mixed) - len(mixed.lstrip(b"\0"))
                known = self.difference
                first = first if known.first < 0 else min(first, known.first)
                self.difference = Difference(known.size_bytes + len(mixed) - mixed.count(0), first)
            self._suspect.remove(start, end)

    def read(self, start: int, end: int) -> bytes:
        """Bytes as they lie on the disk."""
        with self._mapped():
            return os.pread(self._file, end - start, start)

    def restart(self) -> None:
        """Forget everything."""
        self._stop_thread()
        with self._mapped(), self._turn:
            self._reset()
            fsio.truncate(self._file, 0)
            if self._journal >= 0:
                os.close(self._journal)
                self._journal = -1
            fsio.discard(self._journal_path)

    def finish(self, whole: Path, size_bytes: int) -> None:
        """Sync and give the file its name; only for bytes that have been verified."""
        with self._mapped(), self._turn:
            self._check_alone()
            size = os.fstat(self._file).st_size
            if size < size_bytes:
                raise Locked(f"{self.path}: another run has cut this file")
            if size > size_bytes:
                fsio.truncate(self._file, size_bytes)
            fsio.sync(self._file)
        self.close()
        with self._mapped():
            fsio.rename(self.path, whole)
            fsio.sync_folder(whole.parent)
            fsio.discard(self._journal_path)

    def close(self) -> None:
        """Stop the thread, claim what it has not yet, close the files."""
        self._stop_thread()
        try:
            if self._file >= 0 and self._failure is None and (self._waiting or self._open):
                with suppress(StorageError), self._mapped():
                    self._waiting += self._open.values()
                    self._open = {}
                    if self._journal < 0:
                        self._write_journal()
                    self._claim(list(self._waiting))
        finally:
            for descriptor in (self._file, self._journal):
                if descriptor >= 0:
                    os.close(descriptor)
            self._file = self._journal = -1

    def _stop_thread(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            with self._turn:
                self._stopping = True
                self._turn.notify_all()
            thread.join()
            self._stopping = self._busy = self._syncing = False

    # The journal

    def _write_journal(self) -> None:
        """A journal of what is known now, put in place of the old one whole."""
        if self._claims:
            fsio.sync_data(self._file)
        places = [self._place_record(place, etag) for place, etag in self.places.items()]
        claims = [
            Segment(offset, claim.place, claim.length, claim.crc32).record
            for offset, claim in sorted(self._claims.items())
        ]
        drops = [self._drop_record.record] if self._drop_record else []
        lines = [seal(record) for record in (self._identity, *places, *drops, *claims, self._run)]
        temporary = self._journal_path.with_suffix(".journal.tmp")
        journal, text = fsio.open_file(temporary, fsio.OVER), b"".join(lines)
        try:
            fsio.write_all(journal, text)
            fsio.sync(journal)
            fsio.rename(temporary, self._journal_path)
            fsio.sync_folder(self.path.parent)
        except OSError:
            os.close(journal)
            raise
        if self._journal >= 0:
            os.close(self._journal)
        self._journal, self._journal_bytes = journal, len(text)

    def _place_record(self, place: str, etag: str) -> Record:
        announced = {"size_bytes": self.announced_bytes, "digests": list(self.announced_digests)}
        return {"place": place, "etag": etag, **announced}

    def _append(self, *records: Record) -> None:
        text = b"".join(map(seal, records))
        fsio.write_all(self._journal, text)
        self._journal_bytes += len(text)

    def _check_alone(self) -> None:
        """Locked if somebody else has written to the journal, or has put other files in their places."""
        mine = os.fstat(self._file)
        try:
            there = os.stat(self.path)
        except FileNotFoundError:
            there = None
        if there is None or (there.st_dev, there.st_ino) != (mine.st_dev, mine.st_ino):
            raise Locked(f"{self.path}: another run writes this file too")
        if self._journal < 0:
            return
        own = os.fstat(self._journal)
        if own.st_nlink != 1 or own.st_size != self._journal_bytes:
            raise Locked(f"{self.path}: another run writes this file too")

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise storage_error(error, self.path) from error


def claimed(path: Path) -> list[Span]:
    """The ranges that lie on the disk as the journal beside a part claims, without proof: for sharing."""
    return list(_told(path)[0])


def _told(path: Path) -> tuple[Spans, int]:
    """The claimed ranges that are still there, and how many bytes are used up before them."""
    claims: dict[int, Claim] = {}
    dropped = 0
    try:
        found = _records(path.with_suffix(".journal"))
        if next(found, {}).get("format") == FORMAT:
            known = list(found)
            list(remaining(known, claims, path.stat().st_size))
            dropped = max((drop.end for drop in map(drop_of, known) if drop is not None), default=0)
    except OSError:
        return Spans(), 0
    spans = Spans((offset, offset + claim.length) for offset, claim in claims.items())
    spans.remove(0, dropped)
    return spans, dropped


def claimed_bytes(path: Path) -> int:
    """How many bytes the journal beside a part claims, without proof."""
    spans, dropped = _told(path)
    return spans.size_bytes + dropped


def _records(journal: Path) -> Iterator[Record]:
    """The records of a journal; none if there is no such file."""
    try:
        file = open(journal, "rb")  # noqa: SIM115  # closed below, when the last record was taken
    except FileNotFoundError:
        return
    with file:
        yield from records(file)
