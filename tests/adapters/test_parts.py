"""adapters/parts.py: whatever a kill leaves on the disk, what is restored is a true prefix."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import random
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from g3m.adapters import parts
from g3m.adapters.parts import Part, claimed_bytes
from g3m.core.digest import Digest
from g3m.core.errors import Interrupted, NoSpace, NotWritable, StorageError

PLACE, ETAG = "host:1", '"v1"'
BLOB = random.Random(3).randbytes(4000)
PIECES = (1000, 1700, 2600, 3300)
"""Where the flushes of the part in `_grown` end."""

SHA = Digest("sha256", hashlib.sha256(BLOB).hexdigest())


def _grown(folder: Path, digests: tuple[Digest, ...] = (SHA,), size: int | None = len(BLOB)) -> Part:
    """A part of four flushed pieces and 200 bytes that nobody claimed, left without close."""
    part = Part(folder / "a.part", digests, size)
    part.restore()
    part.begin(PLACE, ETAG, len(BLOB))
    start = 0
    for end in PIECES:
        part.write(BLOB[start:end], PLACE)
        part.flush(PLACE)
        start = end
    part.write(BLOB[start : start + 200], PLACE)
    return part


def _reopened(folder: Path, digests: tuple[Digest, ...] = (SHA,), size: int | None = len(BLOB)) -> Part:
    part = Part(folder / "a.part", digests, size)
    part.restore()
    return part


@pytest.fixture(scope="module")
def remains() -> Iterator[tuple[bytes, bytes]]:
    """The part and the journal that a killed process leaves."""
    with tempfile.TemporaryDirectory() as name:
        part = _grown(Path(name))
        yield (Path(name, "a.part").read_bytes(), Path(name, "a.journal").read_bytes())
        part.close()


def _boundaries(journal: bytes) -> list[int]:
    return [0] + [place + 1 for place, byte in enumerate(journal) if byte == 10]


def _restore_true_prefix(part_bytes: bytes, journal: bytes) -> int:
    """Restore what lies there; assert that it is a true prefix, goes on, and ends right. Returns its length."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "a.part").write_bytes(part_bytes)
        (folder / "a.journal").write_bytes(journal)
        part = _reopened(folder)
        try:
            kept = part.position
            assert (folder / "a.part").read_bytes() == BLOB[:kept]
            assert part.digests()[0].hex == hashlib.sha256(BLOB[:kept]).hexdigest()
            part.close()
            # What was restored once is restored again, whole, in another life.
            part = _reopened(folder)
            assert part.position == kept
            part.begin(PLACE, ETAG, len(BLOB))
            part.write(BLOB[kept:], PLACE)
            part.flush(PLACE)
            assert claimed_bytes(folder / "a.part") == len(BLOB)
            assert part.wrong([SHA]) is None
            part.finish(folder / "a.whole")
            assert (folder / "a.whole").read_bytes() == BLOB
            assert not (folder / "a.journal").exists()
        finally:
            part.close()
    return kept


def test_a_kill_loses_only_what_was_not_flushed(remains: tuple[bytes, bytes]) -> None:
    """The claimed pieces come back, the unclaimed tail is cut off."""
    assert len(remains[0]) == PIECES[-1] + 200
    assert _restore_true_prefix(*remains) == PIECES[-1]


@pytest.mark.parametrize("shift", [-1, 0, 1])
@pytest.mark.parametrize("line", range(9))
def test_a_journal_cut_at_every_record(remains: tuple[bytes, bytes], line: int, shift: int) -> None:
    """Cut at, before and behind every record: all records before the cut are believed, none behind it."""
    part, journal = remains
    places = _boundaries(journal)
    cut = min(max(places[min(line, len(places) - 1)] + shift, 0), len(journal))
    kept = _restore_true_prefix(part, journal[:cut])
    # The last line feed says nothing that the checksum has not said already.
    whole = sum(1 for place in places[4:] if place - 1 <= cut)
    assert kept == (0, *PIECES)[whole]


@pytest.mark.parametrize("shift", [-1, 0, 1])
@pytest.mark.parametrize("end", PIECES)
def test_a_part_cut_at_every_record(remains: tuple[bytes, bytes], end: int, shift: int) -> None:
    """A part that lost bytes keeps the pieces that are whole."""
    part, journal = remains
    kept = _restore_true_prefix(part[: end + shift], journal)
    assert kept == max([0, *(piece for piece in PIECES if piece <= end + shift)])


@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
@settings(max_examples=80, deadline=None)
def test_a_flipped_bit_in_the_journal(remains: tuple[bytes, bytes], place: int, bit: int) -> None:
    """Whatever bit of the journal is wrong, what is restored is true."""
    part, journal = remains
    spoiled = bytearray(journal)
    spoiled[place % len(journal)] ^= 1 << bit
    assert _restore_true_prefix(part, bytes(spoiled)) in (0, *PIECES)


@given(place=st.integers(0, PIECES[-1] - 1), bit=st.integers(0, 7))
@settings(max_examples=40, deadline=None)
def test_a_flipped_bit_in_the_part(remains: tuple[bytes, bytes], place: int, bit: int) -> None:
    """The piece with the wrong bit, and all behind it, are cut off; those before it stay."""
    part, journal = remains
    spoiled = bytearray(part)
    spoiled[place] ^= 1 << bit
    expected = max([0, *(piece for piece in PIECES if piece <= place)])
    assert _restore_true_prefix(bytes(spoiled), journal) == expected


@given(part_cut=st.integers(0, 4000), journal_cut=st.integers(0, 2000), tail=st.binary(max_size=60))
@settings(max_examples=60, deadline=None)
def test_any_remains(remains: tuple[bytes, bytes], part_cut: int, journal_cut: int, tail: bytes) -> None:
    """Both files cut anywhere, the journal with rubbish behind: a true prefix or nothing."""
    part, journal = remains
    kept = _restore_true_prefix(part[:part_cut], journal[:journal_cut] + tail)
    assert kept <= part_cut


@given(order=st.permutations(range(6)), count=st.integers(0, 6))
@settings(max_examples=40, deadline=None)
def test_lines_in_another_order(remains: tuple[bytes, bytes], order: list[int], count: int) -> None:
    """Records that are each right but out of order prove no more than their true beginning."""
    part, journal = remains
    lines = journal.splitlines(keepends=True)
    _restore_true_prefix(part, b"".join(lines[number] for number in order[:count]))


def test_a_torn_line_does_not_hide_later_ones(tmp_path: Path) -> None:
    """After a torn line the journal goes on readable: the next kill loses nothing again."""
    part = _grown(tmp_path)
    part.close()
    journal = tmp_path / "a.journal"
    journal.write_bytes(journal.read_bytes()[:-5])
    part = _reopened(tmp_path)
    assert part.position == PIECES[2]
    part.write(BLOB[PIECES[2] : 3900], PLACE)
    part.flush(PLACE)
    part.close()
    part = _reopened(tmp_path)
    assert part.position == 3900
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
    _grown(tmp_path).close()
    part = _reopened(tmp_path, digests, size)
    assert part.position == 0
    assert part.places == {}
    assert (tmp_path / "a.part").stat().st_size == 0
    assert claimed_bytes(tmp_path / "a.part") == 0
    part.close()


def test_a_part_without_a_journal_restarts(tmp_path: Path) -> None:
    """Bytes that nobody claimed prove nothing, as many as there may be."""
    (tmp_path / "a.part").write_bytes(BLOB)
    part = _reopened(tmp_path)
    assert part.position == 0
    part.close()


def test_a_journal_of_a_newer_format_restarts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of another format are not guessed at."""
    with monkeypatch.context() as patch:
        patch.setattr(parts, "FORMAT", 2)
        _grown(tmp_path).close()
    part = _reopened(tmp_path)
    assert part.position == 0
    part.close()


@pytest.mark.parametrize(
    "record",
    [
        {"offset": PIECES[-1], "length": 10**18, "crc32": 0, "place": PLACE},
        {"offset": PIECES[-1], "length": -5, "crc32": 0, "place": PLACE},
        {"offset": PIECES[-1], "length": 0, "crc32": 0, "place": PLACE},
        {"offset": PIECES[-1], "length": "9", "crc32": 0, "place": PLACE},
        {"offset": 0, "length": 10, "crc32": zlib.crc32(BLOB[:10]), "place": PLACE},
        {"offset": None, "length": None},
        {},
    ],
)
def test_a_record_that_is_sealed_and_wrong(tmp_path: Path, record: dict[str, Any]) -> None:
    """A record with a proper checksum and nonsense inside claims nothing."""
    _grown(tmp_path).close()
    body = json.dumps(record).encode()
    with open(tmp_path / "a.journal", "ab") as journal:
        journal.write(b"%08x %s\n" % (zlib.crc32(body), body))
    part = _reopened(tmp_path)
    assert part.position == PIECES[-1]
    part.close()


def test_places_and_their_validators_survive(tmp_path: Path) -> None:
    """Who sent bytes, with which validator and announced size, is known in the next life."""
    part = _reopened(tmp_path, (), None)
    part.begin("a:1", '"x"', 10)
    part.write(b"12345", "a:1")
    part.begin("b:2", "", 10)
    part.write(b"678", "b:2")
    part.flush("b:2")
    part.close()
    part = _reopened(tmp_path, (), None)
    assert part.places == {"a:1": '"x"', "b:2": ""}
    assert part.announced_bytes == 10
    assert part.position == 8
    part.close()


def test_the_order_of_writes_survives_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes are synced before the record that claims them is written, and that before anything else."""
    part = _reopened(tmp_path)
    calls: list[str] = []
    names = {part._file: "part", part._journal: "journal"}
    for name in ("pwrite", "write", "fdatasync"):
        real = getattr(os, name)

        def spy(descriptor: int, *rest: Any, real: Any = real, name: str = name) -> Any:
            calls.append(f"{name} {names[descriptor]}")
            return real(descriptor, *rest)

        monkeypatch.setattr(parts.os, name, spy)
    part.write(b"x" * 10, PLACE)
    part.flush(PLACE)
    assert calls == ["pwrite part", "fdatasync part", "write journal", "fdatasync journal"]
    part.flush(PLACE)
    assert len(calls) == 4
    part.close()


def test_bytes_are_claimed_by_amount_and_by_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record follows every few megabytes, and every few seconds on a slow link."""
    monkeypatch.setattr(parts, "FLUSH_BYTES", 100)
    part = _reopened(tmp_path)
    part.write(b"x" * 99, PLACE)
    assert claimed_bytes(part.path) == 0
    part.write(b"x", PLACE)
    assert claimed_bytes(part.path) == 100
    monkeypatch.setattr(parts, "FLUSH_S", 0.0)
    part.write(b"x", PLACE)
    assert claimed_bytes(part.path) == 101
    part.close()


def test_restart_forgets_everything(tmp_path: Path) -> None:
    """After a restart nothing of the old bytes is left in memory, part or journal."""
    part = _grown(tmp_path)
    part.restart()
    assert (part.position, part.places, part.announced_bytes) == (0, {}, None)
    part.write(BLOB, PLACE)
    part.flush(PLACE)
    assert part.wrong([SHA]) is None
    part.close()
    part = _reopened(tmp_path)
    assert part.position == len(BLOB)
    part.close()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_keeps_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """NoSpace in the middle of a write; the bytes before it are claimed and come back."""
    part = _reopened(tmp_path)
    real = os.pwrite

    def full(descriptor: int, data: bytes, offset: int) -> int:
        if offset >= 2500:
            raise OSError(code, os.strerror(code))
        return real(descriptor, bytes(data)[: 2500 - offset], offset)

    with monkeypatch.context() as patch:
        patch.setattr(parts.os, "pwrite", full)
        with pytest.raises(NoSpace, match=r"a\.part") as caught:
            part.write(BLOB, PLACE)
        part.flush(PLACE)
    assert caught.value.exit_code == 6
    part.close()
    part = _reopened(tmp_path)
    assert part.position == 2500
    part.close()


@pytest.mark.parametrize("name", ["fdatasync", "write"])
def test_a_disk_that_fails_while_claiming(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A record that could not be written claims nothing, and the earlier ones stay."""
    part = _grown(tmp_path)

    def fails(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(parts.os, name, fails)
        with pytest.raises(NoSpace):
            part.flush(PLACE)
    part.close()
    part = _reopened(tmp_path)
    assert part.position == PIECES[-1]
    part.close()


def test_a_record_that_was_half_written_claims_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that takes half of a line and says so without an error spoils no later line."""
    part = _grown(tmp_path)
    real = os.write
    with monkeypatch.context() as patch:
        patch.setattr(
            parts.os, "write", lambda descriptor, data: real(descriptor, data[: len(data) // 2 + 1])
        )
        with contextlib.suppress(StorageError):
            part.flush(PLACE)
    part.write(BLOB[part.position :], PLACE)
    part.flush(PLACE)
    part.close()
    _restore_true_prefix((tmp_path / "a.part").read_bytes(), (tmp_path / "a.journal").read_bytes())


def test_a_full_disk_on_resuming_keeps_what_was_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A torn journal is repaired without ever being without its records."""
    _grown(tmp_path).close()
    journal = tmp_path / "a.journal"
    journal.write_bytes(journal.read_bytes()[:-1])

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    part = Part(tmp_path / "a.part", (SHA,), len(BLOB))
    with monkeypatch.context() as patch:
        patch.setattr(parts.os, "write", full)
        with pytest.raises((NoSpace, OSError)) as caught:
            part.restore()
    part.close()
    part = _reopened(tmp_path)
    kept = part.position
    part.close()
    assert kept == PIECES[3]
    assert isinstance(caught.value, NoSpace)


def test_a_part_that_cannot_be_read_is_a_storage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails on reading is named, not thrown raw at the user."""
    _grown(tmp_path).close()

    def broken(*_: Any) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    part = Part(tmp_path / "a.part", (SHA,), len(BLOB))
    monkeypatch.setattr(parts.os, "pread", broken)
    try:
        with pytest.raises(StorageError):
            part.restore()
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

    part = Part(tmp_path / "a.part", (SHA,), len(BLOB))
    monkeypatch.setattr(parts.os, "open", closed)
    with pytest.raises(NotWritable):
        part.restore()
    part.close()


def test_a_stop_while_restoring_loses_nothing(tmp_path: Path) -> None:
    """Ctrl-C while 18 GB are read again leaves part and journal as they were."""
    _grown(tmp_path).close()
    before = (tmp_path / "a.part").read_bytes(), (tmp_path / "a.journal").read_bytes()

    def stop(done: int) -> None:
        if done >= PIECES[1]:
            raise Interrupted("stopped")

    part = Part(tmp_path / "a.part", (SHA,), len(BLOB))
    with pytest.raises(Interrupted):
        part.restore(stop)
    part.close()
    assert ((tmp_path / "a.part").read_bytes(), (tmp_path / "a.journal").read_bytes()) == before


def test_progress_is_told_while_restoring(tmp_path: Path) -> None:
    """Reading the old bytes is shown."""
    _grown(tmp_path).close()
    told: list[int] = []
    part = Part(tmp_path / "a.part", (SHA,), len(BLOB))
    part.restore(told.append)
    part.close()
    assert told == list(PIECES)


def test_close_twice_and_claims_without_a_journal(tmp_path: Path) -> None:
    """Closing is harmless, and a part that is not there claims nothing."""
    part = _grown(tmp_path)
    part.close()
    part.close()
    assert claimed_bytes(tmp_path / "none.part") == 0


def test_finish_is_durable_and_replaces(tmp_path: Path) -> None:
    """The final name appears by rename, over an older file if need be; part and journal are gone."""
    (tmp_path / "a.whole").write_text("old")
    part = _reopened(tmp_path)
    part.write(BLOB, PLACE)
    part.flush(PLACE)
    part.finish(tmp_path / "a.whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.whole"]
    assert (tmp_path / "a.whole").read_bytes() == BLOB


def test_git_and_md5_digests_are_measured_through_a_resume(tmp_path: Path) -> None:
    """Every algorithm that is pinned, or may come with an answer, goes on over a kill."""
    git = Digest("git-sha1", hashlib.sha1(b"blob 4000\0" + BLOB).hexdigest())
    _grown(tmp_path, (git,)).close()
    part = _reopened(tmp_path, (git,))
    part.write(BLOB[part.position :], PLACE)
    assert git in part.digests()
    assert part.wrong([git, SHA]) is None
    part.close()
    unpinned = _reopened(tmp_path, (), None)
    unpinned.write(BLOB, PLACE)
    assert Digest("md5", hashlib.md5(BLOB).hexdigest()) in unpinned.digests()
    unpinned.close()
