"""adapters/parts.py: whatever a kill leaves on the disk, what is claimed is there, and the rest is fetched again."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import json
import os
import random
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from g3m.adapters import parts
from g3m.adapters.parts import Part, claimed, claimed_bytes
from g3m.core.digest import Digest
from g3m.core.errors import G3MError, Interrupted, Locked, NoSpace, NotWritable, StorageError
from g3m.core.spans import Span, Spans

PLACE, ETAG = "host:1", '"v1"'
OTHER = "host:2"
BLOB = random.Random(3).randbytes(4000)
ISLANDS: tuple[Span, ...] = ((0, 1000), (1000, 1700), (2200, 2600), (2600, 3300))
"""What the part in `_grown` claims, each with a record of its own."""

CLAIMED = {
    0: (),
    1: ((0, 1000),),
    2: ((0, 1700),),
    3: ((0, 1700), (2200, 2600)),
    4: ((0, 1700), (2200, 3300)),
}
"""The ranges after so many records."""

SHA = Digest("sha256", hashlib.sha256(BLOB).hexdigest())


def _part(folder: Path, digests: tuple[Digest, ...] = (SHA,), size: int | None = len(BLOB)) -> Part:
    return Part(folder / "a.part", digests, size)


def _put(part: Part, spans: Any, place: str = PLACE, data: bytes = BLOB) -> None:
    """Write ranges, each by a transfer of its own, and wait until they are claimed."""
    for number, (start, end) in enumerate(spans):
        part.write(number, start, [data[start:end]], place)
    part.flush()
    part.settle()


def _grown(folder: Path, digests: tuple[Digest, ...] = (SHA,), size: int | None = len(BLOB)) -> Part:
    """A part of four claimed pieces and 200 bytes that nobody claimed, left without close."""
    part = _part(folder, digests, size)
    part.restore()
    part.begin(PLACE, ETAG, len(BLOB))
    for island in ISLANDS:
        _put(part, [island])
    part.write(7, 3300, [BLOB[3300:3500]], PLACE)
    return part


def _reopened(folder: Path, digests: tuple[Digest, ...] = (SHA,), size: int | None = len(BLOB)) -> Part:
    part = _part(folder, digests, size)
    part.restore()
    return part


def _leave(folder: Path, digests: tuple[Digest, ...] = (SHA,), size: int | None = len(BLOB)) -> None:
    """What a killed process leaves, on the disk."""
    with tempfile.TemporaryDirectory() as name:
        part = _grown(Path(name), digests, size)
        for file in ("a.part", "a.journal"):
            (folder / file).write_bytes(Path(name, file).read_bytes())
        part.close()


@pytest.fixture(scope="module")
def remains(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """The part and the journal that a killed process leaves."""
    folder = tmp_path_factory.mktemp("remains")
    _leave(folder)
    return (folder / "a.part").read_bytes(), (folder / "a.journal").read_bytes()


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """No thread and no descriptor of a part outlives its test."""
    before = _descriptors()
    yield
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("g3m-part")]
    assert _descriptors() <= before


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def _boundaries(journal: bytes) -> list[int]:
    return [0] + [place + 1 for place, byte in enumerate(journal) if byte == 10]


def _go_on(part_bytes: bytes, journal: bytes) -> Spans:
    """Restore what lies there, fetch what is missing, finish; the ranges that were right and stayed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "a.part").write_bytes(part_bytes)
        (folder / "a.journal").write_bytes(journal)
        part = _part(folder)
        try:
            kept = part.restore()
            part.begin(PLACE, ETAG, len(BLOB))
            _fill(part, kept)
            # What was restored once is restored again, whole, in another life.
            stayed = Spans(kept)
            part.close()
            assert claimed_bytes(folder / "a.part") == len(BLOB)
            part = _reopened(folder)
            assert part.claimed().size_bytes == len(BLOB)
            part.settle()
            assert part.lost() == []
            assert part.wrong([SHA]) is None
            assert part.digests()[0] == SHA
            part.finish(folder / "a.whole", len(BLOB))
            assert (folder / "a.whole").read_bytes() == BLOB
            assert sorted(path.name for path in folder.iterdir()) == ["a.whole"]
        finally:
            part.close()
    return stayed


def _fill(part: Part, kept: Spans) -> None:
    """Fetch every gap, and what the disk has lost, until nothing is missing; `kept` is what was right."""
    written = Spans(kept)
    for _ in range(10):
        for start, end in part.lost():
            written.remove(start, end)
            kept.remove(start, end)
        for start, end in written.gaps(0, len(BLOB)):
            part.write(start, start, [BLOB[start:end]], PLACE)
        written.add(0, len(BLOB))
        part.flush()
        part.settle()
        if not part._lost:
            break
    assert part._lost == [], "an endless loss"
    assert all(part.read(start, end) == BLOB[start:end] for start, end in kept)


# What a kill leaves.


def test_a_kill_loses_only_what_was_not_flushed(remains: tuple[bytes, bytes]) -> None:
    """The claimed pieces come back, wherever they lie; the unclaimed tail does not."""
    assert len(remains[0]) == 3500
    assert tuple(_go_on(*remains)) == CLAIMED[4]


def test_restoring_reads_nothing_but_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """18 GB are not read before the first byte is asked for: they are proved while others come."""
    _leave(tmp_path)
    monkeypatch.setattr(parts.Part, "_begin_thread", lambda self: None)
    monkeypatch.setattr(parts.os, "pread", lambda *_: pytest.fail("read"))
    part = _part(tmp_path)
    assert tuple(part.restore()) == CLAIMED[4]
    part.close()


@pytest.mark.parametrize("shift", [-1, 0, 1])
@pytest.mark.parametrize("line", range(9))
def test_a_journal_cut_at_every_record(remains: tuple[bytes, bytes], line: int, shift: int) -> None:
    """Cut at, before and behind every record: all records before the cut are believed, none behind it."""
    part, journal = remains
    places = _boundaries(journal)
    cut = min(max(places[min(line, len(places) - 1)] + shift, 0), len(journal))
    kept = _go_on(part, journal[:cut])
    records = [json.loads(text.partition(b" ")[2]) for text in journal.splitlines()]
    # The last line feed says nothing that the checksum has not said already.
    whole = sum("offset" in record and places[number + 1] - 1 <= cut for number, record in enumerate(records))
    assert tuple(kept) == CLAIMED[whole]


@pytest.mark.parametrize("shift", [-1, 0, 1])
@pytest.mark.parametrize("end", [end for _, end in ISLANDS])
def test_a_part_cut_at_every_record(remains: tuple[bytes, bytes], end: int, shift: int) -> None:
    """A part that lost bytes keeps the pieces that are whole."""
    part, journal = remains
    kept = _go_on(part[: end + shift], journal)
    assert tuple(kept) == CLAIMED[sum(stop <= end + shift for _, stop in ISLANDS)]


@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
@settings(max_examples=60, deadline=None)
def test_a_flipped_bit_in_the_journal(remains: tuple[bytes, bytes], place: int, bit: int) -> None:
    """Whatever bit of the journal is wrong, what is restored is true, and all that stands before it."""
    part, journal = remains
    spoiled = bytearray(journal)
    spoiled[place % len(journal)] ^= 1 << bit
    assert tuple(_go_on(part, bytes(spoiled))) in CLAIMED.values()


@given(place=st.integers(0, 3299), bit=st.integers(0, 7))
@settings(max_examples=40, deadline=None)
def test_a_flipped_bit_in_the_part(remains: tuple[bytes, bytes], place: int, bit: int) -> None:
    """The piece with the wrong bit is lost and told; every other one stays."""
    part, journal = remains
    spoiled = bytearray(part)
    spoiled[place] ^= 1 << bit
    right = Spans(span for span in ISLANDS if not span[0] <= place < span[1])
    assert _go_on(bytes(spoiled), journal) == right


@given(part_cut=st.integers(0, 4000), journal_cut=st.integers(0, 2000), tail=st.binary(max_size=60))
@settings(max_examples=60, deadline=None)
def test_any_remains(remains: tuple[bytes, bytes], part_cut: int, journal_cut: int, tail: bytes) -> None:
    """Both files cut anywhere, the journal with rubbish behind: what is claimed is true, or nothing is."""
    part, journal = remains
    kept = _go_on(part[:part_cut], journal[:journal_cut] + tail)
    assert all(end <= part_cut for _, end in kept)


@given(order=st.permutations(range(7)), count=st.integers(0, 7))
@settings(max_examples=40, deadline=None)
def test_lines_in_another_order(remains: tuple[bytes, bytes], order: list[int], count: int) -> None:
    """Records that are each right but out of order claim no wrong byte."""
    part, journal = remains
    lines = journal.splitlines(keepends=True)
    _go_on(part, b"".join(lines[number] for number in order[:count]))


@pytest.mark.parametrize("seed", range(40))
def test_a_kill_at_any_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Several transfers write in any order, with flushes in between: after any step a kill does no harm."""
    dice = random.Random(seed)
    bounds = [0, *sorted(dice.sample(range(1, len(BLOB)), dice.randrange(6))), len(BLOB)]
    left = {number: [start, end] for number, (start, end) in enumerate(itertools.pairwise(bounds))}
    snapshots: list[tuple[bytes, bytes]] = []
    if dice.random() < 0.5:
        monkeypatch.setattr(parts, "FLUSH_S", 0.0)
        monkeypatch.setattr(parts, "LEAST_FLUSH_S", 0.0)
    part = _reopened(tmp_path)
    part.begin(PLACE, ETAG, len(BLOB))
    journal = tmp_path / "a.journal"
    try:
        while left:
            if dice.random() < 0.2:
                dice.choice([part.flush, part.settle])()
            number = dice.choice(sorted(left))
            start, end = left[number]
            stop = min(end, start + dice.randrange(1, 900))
            middle = (start + stop) // 2
            part.write(number, start, [BLOB[start:middle], BLOB[middle:stop]], (PLACE, OTHER)[number % 2])
            left[number][0] = stop
            if stop == end:
                del left[number]
            if dice.random() < 0.3:
                # The journal first: the part may only be newer than what claims it.
                known = journal.read_bytes() if journal.exists() else b""
                snapshots.append(((tmp_path / "a.part").read_bytes(), known))
        part.settle()
        assert part.wrong([SHA]) is None
        assert part.claimed() == Spans([(0, len(BLOB))])
        assert sum(part.bytes_of_places().values()) == len(BLOB)
        assert Spans([*part.spans_of(PLACE), *part.spans_of(OTHER)]) == part.claimed()
    finally:
        part.close()
    for part_bytes, journal_bytes in snapshots[:6]:
        for start, end in _go_on(part_bytes, journal_bytes):
            assert part_bytes[start:end] == BLOB[start:end]
        _go_on(part_bytes, journal_bytes[: dice.randrange(len(journal_bytes) + 1)])


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_every_reckoning_of_what_is_claimed_agrees(data: st.DataObject) -> None:
    """`claimed` and `claimed_bytes`, which plans and status use, say what the next run will restore."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        part = _reopened(folder)
        try:
            free = Spans([(0, len(BLOB))])
            for number in range(data.draw(st.integers(0, 6))):
                start = data.draw(st.integers(0, len(BLOB) - 1))
                spans = list(free.within(start, min(start + data.draw(st.integers(1, 1500)), len(BLOB))))
                for begin, end in spans:
                    part.write(number, begin, [BLOB[begin:end]], data.draw(st.sampled_from([PLACE, OTHER])))
                    free.remove(begin, end)
                part.flush()
                part.settle()
                if data.draw(st.integers(0, 3)) == 0:
                    for begin, end in part.suspect(data.draw(st.sampled_from([PLACE, OTHER]))):
                        free.add(begin, end)
            told, known = claimed(folder / "a.part"), list(part.claimed())
            assert told == known
        finally:
            part.close()
        part = _part(folder)
        try:
            assert list(part.restore()) == told
            assert claimed_bytes(folder / "a.part") == sum(end - start for start, end in told)
        finally:
            part.close()


def test_a_torn_line_does_not_hide_later_ones(tmp_path: Path) -> None:
    """After a torn line the journal goes on readable: the next kill loses nothing again."""
    _leave(tmp_path)
    journal = tmp_path / "a.journal"
    journal.write_bytes(journal.read_bytes()[:-5])
    part = _reopened(tmp_path)
    assert tuple(part.claimed()) == CLAIMED[3]
    _put(part, [(2600, 3900)])
    part.close()
    part = _reopened(tmp_path)
    assert list(part.claimed()) == [(0, 1700), (2200, 3900)]
    assert part.places == {PLACE: ETAG}
    assert part.announced_bytes == len(BLOB)
    part.close()


@pytest.mark.parametrize(
    ("digests", "size"),
    [
        ((SHA,), len(BLOB) + 1),
        ((SHA,), None),
        ((), len(BLOB)),
        ((Digest("sha256", "0" * 64),), len(BLOB)),
        ((SHA, Digest("md5", "0" * 32)), len(BLOB)),
    ],
)
def test_the_journal_of_another_file_restarts(
    tmp_path: Path, digests: tuple[Digest, ...], size: int | None
) -> None:
    """Another size or digest is another file: its bytes are forgotten on the disk, too."""
    _leave(tmp_path)
    part = _reopened(tmp_path, digests, size)
    assert not part.claimed()
    assert part.places == {}
    assert (tmp_path / "a.part").stat().st_size == 0
    assert claimed_bytes(tmp_path / "a.part") == 0
    part.close()


def test_a_part_without_a_journal_restarts(tmp_path: Path) -> None:
    """Bytes that nobody claimed prove nothing, as many as there may be."""
    (tmp_path / "a.part").write_bytes(BLOB)
    part = _reopened(tmp_path)
    assert not part.claimed()
    part.close()


@pytest.mark.parametrize("number", [1, 3])
def test_a_journal_of_another_format_restarts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Records of another format are not guessed at, and not counted."""
    with monkeypatch.context() as patch:
        patch.setattr(parts, "FORMAT", number)
        _leave(tmp_path)
    assert claimed(tmp_path / "a.part") == []
    part = _reopened(tmp_path)
    assert not part.claimed()
    part.close()


@pytest.mark.parametrize(
    "record",
    [
        {"offset": 3300, "length": 10**18, "crc32": 0, "place": PLACE},
        {"offset": 3300, "length": -5, "crc32": 0, "place": PLACE},
        {"offset": -5, "length": 10, "crc32": 0, "place": PLACE},
        {"offset": 3300, "length": 0, "crc32": 0, "place": PLACE},
        {"offset": 3300, "length": "9", "crc32": 0, "place": PLACE},
        {"offset": 0, "length": 10, "crc32": zlib.crc32(BLOB[:10]), "place": PLACE},
        {"offset": 1600, "length": 200, "crc32": zlib.crc32(BLOB[1600:1800]), "place": PLACE},
        {"offset": None, "length": None},
        {"lost": 17},
        {"lost": [0]},
        {"lost": None},
        {"forget": ["x"]},
        {"forget": "nobody"},
        {"etag": 5, "digests": 7},
        {"offset": 3300, "length": 9, "crc32": "x", "place": PLACE},
        {"offset": 3300, "length": 9, "crc32": None, "place": PLACE},
        {},
    ],
    ids=str,
)
def test_a_record_that_is_sealed_and_wrong(tmp_path: Path, record: dict[str, Any]) -> None:
    """A record with a proper checksum and nonsense inside claims nothing, and stops nobody."""
    _leave(tmp_path)
    body = json.dumps(record).encode()
    with open(tmp_path / "a.journal", "ab") as journal:
        journal.write(b"%08x %s\n" % (zlib.crc32(body), body))
    assert tuple(claimed(tmp_path / "a.part")) == CLAIMED[4]
    part = _part(tmp_path)
    try:
        assert tuple(part.restore()) == CLAIMED[4]
        _fill(part, part.claimed())
    finally:
        part.close()


def test_places_and_their_validators_survive(tmp_path: Path) -> None:
    """Who sent bytes, with which validator, announced size and digests, is known in the next life."""
    md5 = Digest("md5", "0" * 32)
    part = _reopened(tmp_path, (), None)
    part.begin("a:1", '"x"', 10, [md5])
    part.write(1, 0, [b"12345"], "a:1")
    part.flush()
    part.begin("b:2", "", 10, [md5])
    part.write(2, 5, [b"678"], "b:2")
    part.flush()
    part.settle()
    part.close()
    part = _reopened(tmp_path, (), None)
    assert part.places == {"a:1": '"x"', "b:2": ""}
    assert part.announced_bytes == 10
    assert part.announced_digests == (str(md5),)
    assert list(part.claimed()) == [(0, 8)]
    assert part.bytes_of_places() == {"a:1": 5, "b:2": 3}
    assert part.spans_of("b:2") == [(5, 8)]
    part.close()


# The order of writes.


class Witness:
    """Watches every call on the disk: a record may be written only when its bytes are synced."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.path = folder / "a.part"
        self.synced = b""
        self.records = 0
        self.calls: list[str] = []
        for name in ("fdatasync", "fsync", "write", "pwrite", "pwritev"):
            patch.setattr(parts.os, name, self._spied(name, getattr(os, name)))

    def _name(self, descriptor: int) -> str:
        return os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}").removesuffix(" (deleted)"))

    def _spied(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def spy(descriptor: int, *rest: Any) -> Any:
            file = self._name(descriptor)
            self.calls.append(f"{name} {file}")
            before = self.path.read_bytes() if file == "a.part" else b""
            if name == "write":
                self._check(bytes(rest[0]))
            result = real(descriptor, *rest)
            if name in ("fdatasync", "fsync") and file == "a.part":
                self.synced = before
            return result

        return spy

    def _check(self, lines: bytes) -> None:
        for line in lines.splitlines():
            record = json.loads(line.partition(b" ")[2])
            if "offset" in record:
                self.records += 1
                start, end = record["offset"], record["offset"] + record["length"]
                assert zlib.crc32(self.synced[start:end]) == record["crc32"], "claimed before it was synced"


def test_the_order_of_writes_survives_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes are synced before the record that claims them is written, and that is synced before it counts."""
    part = _reopened(tmp_path)
    part.begin(PLACE, ETAG, len(BLOB))
    _put(part, [(0, 10)])
    witness = Witness(tmp_path, monkeypatch)
    _put(part, [(10, 20)])
    assert witness.calls == ["pwritev a.part", "fdatasync a.part", "write a.journal", "fdatasync a.journal"]
    part.flush()
    part.settle()
    assert len(witness.calls) == 4
    part.close()


@pytest.mark.parametrize("seed", range(6))
def test_no_record_comes_before_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Whatever is written by whom, suspected, lost or written again: each record finds its bytes synced."""
    dice = random.Random(seed)
    monkeypatch.setattr(parts, "FLUSH_S", 0.0)
    monkeypatch.setattr(parts, "LEAST_FLUSH_S", 0.0)
    if dice.random() < 0.5:
        _leave(tmp_path)
        rotten = bytearray((tmp_path / "a.part").read_bytes())
        rotten[1200] ^= 4
        (tmp_path / "a.part").write_bytes(rotten)
    part = _part(tmp_path)
    try:
        written = part.restore()
        # What an earlier run has claimed is believed until it is read; the records of this one are watched.
        witness = Witness(tmp_path, monkeypatch)
        for number in range(40):
            for lost in part.lost():
                written.remove(*lost)
            gaps = list(written.gaps(0, len(BLOB)))
            if not gaps:
                break
            start, end = dice.choice(gaps)
            end = min(end, start + dice.randrange(1, 400))
            part.write(number, start, [BLOB[start:end]], dice.choice([PLACE, OTHER]))
            written.add(start, end)
        _fill(part, written)
        for start, end in part.suspect(OTHER):
            written.remove(start, end)
        _fill(part, written)
        assert part.wrong([SHA]) is None
        assert witness.records
    finally:
        part.close()


def test_a_small_file_that_is_suspected_keeps_the_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that was complete before its first flush is synced, too, before a journal claims any of it."""
    witness = Witness(tmp_path, monkeypatch)
    part = _reopened(tmp_path)
    part.write(1, 0, [BLOB[:3000]], PLACE)
    part.write(2, 3000, [bytes(1000)], OTHER)
    part.settle()
    assert part.wrong([SHA]) is not None
    assert not (tmp_path / "a.journal").exists()
    part.suspect(OTHER)
    part.write(3, 3000, [BLOB[3000:]], PLACE)
    part.flush()
    part.settle()
    assert part.wrong([SHA]) is None
    assert witness.records == 2
    part.close()


def test_bytes_are_claimed_by_amount_and_by_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record follows every few megabytes, and every second on a slow link, without anybody's asking."""
    monkeypatch.setattr(parts, "LEAST_FLUSH_S", 0.0)
    monkeypatch.setattr(parts, "FLUSH_S", 1000.0)
    part = _reopened(tmp_path)
    part._flush_bytes = 100
    part.write(0, 0, [b"x" * 99], PLACE)
    assert claimed_bytes(part.path) == 0
    part.write(0, 99, [b"x"], PLACE)
    _until(lambda: claimed_bytes(part.path) == 100)
    monkeypatch.setattr(parts, "FLUSH_S", 0.0)
    _until(lambda: not part._busy)
    part._sync_s = 0.0
    part.write(0, 100, [b"x"], PLACE)
    _until(lambda: claimed_bytes(part.path) == 101)
    part.close()


def test_a_slow_disk_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written and not synced does not grow without end."""
    monkeypatch.setattr(parts, "UNSYNCED_LIMIT_BYTES", 1000)
    part = _reopened(tmp_path)
    for start in range(0, 4000, 400):
        part.write(0, start, [BLOB[start : start + 400]], PLACE)
        assert part._open_bytes + part._waiting_bytes <= 1400
    assert claimed_bytes(part.path) >= 2000
    part.close()


def _until(done: Callable[[], bool]) -> None:
    waiting = threading.Event()
    for _ in range(2000):
        if done():
            return
        waiting.wait(0.005)
    pytest.fail("it did not come")


# Wrong bytes.


@given(
    wrong=st.sets(st.integers(0, len(BLOB) - 1), min_size=1, max_size=30),
    cuts=st.sets(st.integers(1, len(BLOB) - 1), max_size=6),
    sizes=st.lists(st.integers(1, 1500), min_size=1, max_size=5),
    backwards=st.booleans(),
    journal=st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_a_suspects_wrong_bytes_are_counted(
    wrong: set[int], cuts: set[int], sizes: list[int], backwards: bool, journal: bool
) -> None:
    """However the right bytes come: exactly the differing ones are counted, and the first is known."""
    bounds = [0, *sorted(cuts), len(BLOB)]
    spans = list(itertools.pairwise(bounds))
    theirs = Spans(spans[::2])
    data = bytearray(BLOB)
    for offset in wrong:
        data[offset] ^= 255 if theirs.covers(offset, offset + 1) else 0
    lied = sorted(offset for offset in wrong if theirs.covers(offset, offset + 1))
    with tempfile.TemporaryDirectory() as name:
        part = _reopened(Path(name))
        try:
            for number, (start, end) in enumerate(spans):
                part.write(number, start, [bytes(data[start:end])], (PLACE, OTHER)[number % 2])
            if journal:
                part.flush()
            part.settle()
            assert (part.wrong([SHA]) is not None) == bool(lied)
            given_up = part.suspect(PLACE)
            assert Spans(given_up) == theirs
            assert part.spans_of(PLACE) == []
            assert claimed_bytes(part.path) == (len(BLOB) - theirs.size_bytes if journal else 0)
            number = len(spans)
            for start, end in sorted(given_up, reverse=backwards):
                while start < end:
                    number += 1
                    stop = min(end, start + sizes[number % len(sizes)])
                    middle = (start + stop) // 2
                    part.write(number, start, [BLOB[start:middle], BLOB[middle:stop]], OTHER)
                    start = stop
            part.flush()
            part.settle()
            assert part.wrong([SHA]) is None
            assert part.difference.size_bytes == len(lied)
            assert part.difference.first == (lied[0] if lied else -1)
            assert part.bytes_of_places() == {OTHER: len(BLOB)}
        finally:
            part.close()


def test_a_suspects_bytes_are_not_believed_after_a_kill(tmp_path: Path) -> None:
    """A run that dies while the bytes come anew leaves the suspected ones unclaimed."""
    part = _reopened(tmp_path)
    _put(part, [(0, 2000)], OTHER)
    _put(part, [(2000, 4000)], PLACE, bytes(4000))
    part.suspect(PLACE)
    part.write(9, 2000, [BLOB[2000:2500]], OTHER)
    remains = (tmp_path / "a.part").read_bytes(), (tmp_path / "a.journal").read_bytes()
    part.close()
    assert tuple(_go_on(*remains)) == ((0, 2000),)


def test_what_is_lost_is_told_once_and_recorded(tmp_path: Path) -> None:
    """A wrong piece in the middle: told, no longer claimed, and not found wrong again by the next run."""
    _leave(tmp_path)
    rotten = bytearray((tmp_path / "a.part").read_bytes())
    rotten[1500] ^= 8
    (tmp_path / "a.part").write_bytes(rotten)
    part = _reopened(tmp_path)
    part.settle()
    assert part.lost() == [(1000, 1700)]
    assert part.lost() == []
    assert list(part.claimed()) == [(0, 1000), (2200, 3300)]
    part.close()
    assert claimed(tmp_path / "a.part") == [(0, 1000), (2200, 3300)]
    part = _reopened(tmp_path)
    part.settle()
    assert part.lost() == []
    part.close()


def test_restart_forgets_everything(tmp_path: Path) -> None:
    """After a restart nothing of the old bytes is left in memory, part or journal."""
    part = _grown(tmp_path)
    part.restart()
    assert (list(part.claimed()), part.places, part.announced_bytes) == ([], {}, None)
    assert (tmp_path / "a.part").stat().st_size == 0
    assert not (tmp_path / "a.journal").exists()
    part.begin(OTHER, "", len(BLOB))
    _put(part, [(0, len(BLOB))], OTHER)
    assert part.wrong([SHA]) is None
    part.close()
    part = _reopened(tmp_path)
    assert part.claimed() == Spans([(0, len(BLOB))])
    assert part.places == {OTHER: ""}
    part.close()


# Two runs.


def test_whoever_was_first_gives_way(tmp_path: Path) -> None:
    """A second run takes the journal over; the first notices before it claims another byte."""
    first = _grown(tmp_path)
    second = _reopened(tmp_path)
    with pytest.raises(Locked):
        first.flush()
        first.settle()
    with pytest.raises(Locked):
        first.finish(tmp_path / "a.whole", len(BLOB))
    first.close()
    assert tuple(second.claimed()) == CLAIMED[4]
    _fill(second, second.claimed())
    second.finish(tmp_path / "a.whole", len(BLOB))
    assert (tmp_path / "a.whole").read_bytes() == BLOB


@pytest.mark.parametrize("flushed", [False, True])
def test_two_runs_that_begin_together(tmp_path: Path, flushed: bool) -> None:
    """Without a journal to find, too, only one of them publishes, and what he has verified."""
    first = _reopened(tmp_path)
    first.write(1, 0, [bytes(4000)], PLACE)
    second = _reopened(tmp_path)
    second.write(1, 0, [BLOB], PLACE)
    if flushed:
        second.flush()
    second.settle()
    first.write(1, 0, [bytes(4000)], PLACE)
    with pytest.raises(Locked):
        first.settle()
        first.finish(tmp_path / "a.whole", len(BLOB))
    assert second.wrong([SHA]) is None
    second.finish(tmp_path / "a.whole", len(BLOB))
    first.write(1, 0, [bytes(4000)], PLACE)
    with contextlib.suppress(Locked):
        first.flush()
        first.settle()
    first.close()
    assert (tmp_path / "a.whole").read_bytes() == BLOB


def test_the_first_is_through_before_the_second(tmp_path: Path) -> None:
    """A file that was published meanwhile is not touched, and the one who is late is told."""
    second = _reopened(tmp_path)
    second.write(1, 0, [BLOB], PLACE)
    first = _reopened(tmp_path)
    _put(first, [(0, 4000)])
    first.finish(tmp_path / "a.whole", len(BLOB))
    with pytest.raises(Locked):
        second.settle()
        second.finish(tmp_path / "a.whole", len(BLOB))
    second.close()
    assert (tmp_path / "a.whole").read_bytes() == BLOB


# A disk that fails.


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_keeps_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """NoSpace in the middle of a write; what had been written before it is claimed and comes back."""
    part = _reopened(tmp_path)
    part.write(0, 0, [BLOB[:2500]], PLACE)

    def full(*_: Any) -> int:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(parts.os, "pwritev", full)
        with pytest.raises(NoSpace, match=r"a\.part") as caught:
            part.write(0, 2500, [BLOB[2500:]], PLACE)
    assert caught.value.exit_code == 6
    part.close()
    part = _reopened(tmp_path)
    assert list(part.claimed()) == [(0, 2500)]
    part.settle()
    assert part.lost() == []
    part.close()


@pytest.mark.parametrize("taken", [1, 7, 1000])
def test_a_system_that_takes_little_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: int
) -> None:
    """Short writes are no errors: every byte arrives, of the part and of the journal."""
    real_many, real_one, real_line = os.pwritev, os.pwrite, os.write
    monkeypatch.setattr(parts.os, "pwritev", lambda f, p, at: real_many(f, [b"".join(p)[:taken]], at))
    monkeypatch.setattr(parts.os, "pwrite", lambda f, data, at: real_one(f, bytes(data)[:taken], at))
    monkeypatch.setattr(parts.os, "write", lambda f, data: real_line(f, bytes(data)[:taken]))
    part = _reopened(tmp_path)
    part.write(0, 0, [BLOB[:5], BLOB[5:1000]], PLACE)
    _put(part, [(1000, 4000)])
    assert part.wrong([SHA]) is None
    part.close()
    assert claimed(tmp_path / "a.part") == [(0, 4000)]


def test_more_pieces_than_the_system_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of small pieces go to the disk in turns."""
    part = _reopened(tmp_path)
    part.write(0, 0, [BLOB[place : place + 1] for place in range(len(BLOB))], PLACE)
    part.settle()
    assert part.wrong([SHA]) is None
    part.close()


@pytest.mark.parametrize("journaled", [False, True])
@pytest.mark.parametrize("name", ["fdatasync", "write", "fsync", "replace", "open"])
def test_a_disk_that_fails_while_claiming(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, journaled: bool
) -> None:
    """A record that could not be written claims nothing, the earlier ones stay, and the error is told at once."""
    part = _grown(tmp_path) if journaled else _reopened(tmp_path)
    if not journaled:
        part.write(7, 3300, [BLOB[3300:3500]], PLACE)

    def fails(*_: Any, **__: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(parts.os, name, fails)
        with (
            contextlib.nullcontext()
            if journaled and name in ("fsync", "replace", "open")
            else pytest.raises(NoSpace)
        ):
            part.flush()
            part.settle()
        with contextlib.suppress(NoSpace):
            part.flush()
        part.close()
    told = claimed(tmp_path / "a.part")
    part = _reopened(tmp_path)
    assert list(part.claimed()) == told
    assert not journaled or part.claimed().covers(2200, 3300)
    _fill(part, part.claimed())
    part.finish(tmp_path / "a.whole", len(BLOB))
    assert (tmp_path / "a.whole").read_bytes() == BLOB


@pytest.mark.parametrize(
    "call", ["pwritev", "pwrite", "write", "fdatasync", "fsync", "replace", "open", "pread", "ftruncate"]
)
@pytest.mark.parametrize("after", range(4))
def test_a_disk_that_fails_at_any_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, after: int
) -> None:
    """Whichever call fails, from whichever time on: a storage error, nothing left open, nothing wrong claimed."""
    _leave(tmp_path)
    real, count = getattr(os, call), [0]

    def fails(*arguments: Any, **more: Any) -> Any:
        count[0] += 1
        if count[0] > after:
            raise OSError(errno.EIO, "Input/output error")
        return real(*arguments, **more)

    before = _descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(parts.os, call, fails)
        part = _part(tmp_path)
        try:
            _fill(part, part.restore())
            part.finish(tmp_path / "a.whole", len(BLOB))
        except G3MError as error:
            assert isinstance(error, StorageError)
        finally:
            with contextlib.suppress(StorageError):
                part.close()
    assert _descriptors() == before
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("g3m-part")]
    if (tmp_path / "a.whole").exists():
        assert (tmp_path / "a.whole").read_bytes() == BLOB
    else:
        part = _part(tmp_path)
        try:
            _fill(part, part.restore())
            part.finish(tmp_path / "a.whole", len(BLOB))
        finally:
            part.close()
        assert (tmp_path / "a.whole").read_bytes() == BLOB


def test_a_failure_of_the_thread_is_told_to_the_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails in the background stops the download at its next byte, not at its end."""
    part = _grown(tmp_path)

    def fails(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(parts.os, "fdatasync", fails)
        part.flush()
        _until(lambda: part._failure is not None)
        with pytest.raises(NoSpace):
            part.write(1, 3500, [b"x"], PLACE)
        with pytest.raises(NoSpace):
            part.settle()
    part.close()


def test_a_full_disk_on_resuming_keeps_what_was_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A torn journal is repaired without ever being without its records."""
    _leave(tmp_path)
    journal = tmp_path / "a.journal"
    journal.write_bytes(journal.read_bytes()[:-1])

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    part = _part(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(parts.os, "write", full)
        with pytest.raises(NoSpace):
            part.restore()
    part.close()
    part = _reopened(tmp_path)
    assert tuple(part.claimed()) == CLAIMED[4]
    part.close()


def test_a_part_that_cannot_be_read_is_a_storage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails on reading is named, not thrown raw at the user."""
    _leave(tmp_path)

    def broken(*_: Any) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    part = _part(tmp_path)
    monkeypatch.setattr(parts.os, "pread", broken)
    try:
        with pytest.raises(StorageError):
            part.restore()
            part.settle()
    finally:
        part.close()


def test_a_folder_that_is_a_file_is_a_storage_error(tmp_path: Path) -> None:
    """A path that cannot be is named before any byte is asked for."""
    (tmp_path / "file").write_text("")
    part = Part(tmp_path / "file" / "a.part", (SHA,), len(BLOB))
    with pytest.raises(StorageError):
        part.restore()
    part.close()


def test_a_folder_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No permission is NotWritable."""

    def closed(*_: Any, **__: Any) -> int:
        raise OSError(errno.EACCES, "Permission denied")

    part = _part(tmp_path)
    monkeypatch.setattr(parts.os, "open", closed)
    with pytest.raises(NotWritable):
        part.restore()
    part.close()


# Stops, ends, digests.


def test_a_stop_while_proving_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while 18 GB are read again leaves what was claimed as it was."""
    _leave(tmp_path)
    before = (tmp_path / "a.part").read_bytes()
    reading, real = threading.Event(), os.pread

    def slow(*arguments: Any) -> bytes:
        reading.wait(0.3)
        return real(*arguments)

    def stop() -> None:
        reading.set()
        raise Interrupted("stopped")

    monkeypatch.setattr(parts.os, "pread", slow)
    part = _reopened(tmp_path)
    with pytest.raises(Interrupted):
        part.settle(stop)
    part.close()
    assert (tmp_path / "a.part").read_bytes() == before
    assert tuple(claimed(tmp_path / "a.part")) == CLAIMED[4]


def test_close_twice_and_claims_without_a_journal(tmp_path: Path) -> None:
    """Closing is harmless, also of what was never opened, and a part that is not there claims nothing."""
    part = _grown(tmp_path)
    part.close()
    part.close()
    _part(tmp_path).close()
    assert claimed_bytes(tmp_path / "none.part") == 0
    assert claimed(tmp_path / "none.part") == []


def test_closing_claims_what_was_written(tmp_path: Path) -> None:
    """A run that ends in good order loses no byte, flushed or not, with a journal or without."""
    part = _grown(tmp_path)
    part.close()
    assert claimed(tmp_path / "a.part") == [(0, 1700), (2200, 3500)]
    folder = tmp_path / "small"
    part = _reopened(folder)
    part.write(0, 100, [BLOB[100:200]], PLACE)
    part.close()
    assert claimed(folder / "a.part") == [(100, 200)]


def test_closing_over_a_full_disk_hides_no_other_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the last bytes cannot be claimed they are not claimed: closing itself does not fail."""
    part = _reopened(tmp_path)
    part.write(0, 0, [BLOB], PLACE)

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(parts.os, "fdatasync", full)
        part.close()
    assert claimed(tmp_path / "a.part") == []


@pytest.mark.parametrize("journaled", [False, True])
def test_finish_is_durable_and_replaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, journaled: bool
) -> None:
    """The final name appears by rename after a sync, over an older file if need be; nothing else stays."""
    (tmp_path / "a.whole").write_text("old")
    part = _reopened(tmp_path)
    part.write(0, 0, [BLOB], PLACE)
    if journaled:
        part.flush()
    part.settle()
    calls: list[str] = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)

        def spy(*arguments: Any, real: Any = real, name: str = name) -> Any:
            calls.append(name)
            return real(*arguments)

        monkeypatch.setattr(parts.os, name, spy)
    part.finish(tmp_path / "a.whole", len(BLOB))
    assert calls == ["fsync", "replace", "fsync"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.whole"]
    assert (tmp_path / "a.whole").read_bytes() == BLOB


def test_bytes_behind_the_end_are_cut_off(tmp_path: Path) -> None:
    """What a longer former version left behind the end of the file does not get into it."""
    part = _reopened(tmp_path, (), None)
    part.write(0, 0, [BLOB], PLACE)
    part.write(1, 5000, [b"rest"], PLACE)
    part.settle()
    assert part.digests()[0] == SHA
    part.finish(tmp_path / "a.whole", len(BLOB))
    assert (tmp_path / "a.whole").read_bytes() == BLOB


def test_git_and_md5_digests_are_measured_through_a_resume(tmp_path: Path) -> None:
    """Every algorithm that is pinned, or may come with an answer, goes on over a kill, in whatever order."""
    git = Digest("git-sha1", hashlib.sha1(b"blob 4000\0" + BLOB).hexdigest())
    _leave(tmp_path, (git,))
    part = _reopened(tmp_path, (git,))
    _put(part, reversed(list(part.claimed().gaps(0, len(BLOB)))))
    assert git in part.digests()
    assert part.wrong([git, SHA]) is None
    part.close()
    unpinned = _reopened(tmp_path, (), None)
    unpinned.write(0, 2000, [BLOB[2000:]], PLACE)
    unpinned.write(1, 0, [BLOB[:2000]], PLACE)
    unpinned.settle()
    assert Digest("md5", hashlib.md5(BLOB).hexdigest()) in unpinned.digests()
    assert unpinned.wrong([Digest("md5", "0" * 32)]) is not None
    unpinned.close()
