"""adapters/parts.py, where bytes are used up while they come: what was dropped counts, and is not on the disk."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from g3m.adapters import fsio, parts
from g3m.adapters.hashing import Resumable
from g3m.adapters.parts import Part, claimed, claimed_bytes
from g3m.core.digest import Digest, Engine
from g3m.core.errors import Locked
from g3m.core.journal import records, seal

PLACE = "host:1"
SIZE = 200_000
PIECE = 50_000
END = 70_000
KEPT = 4096
BLOB = random.Random(4).randbytes(SIZE)
SHA = Digest("sha256", hashlib.sha256(BLOB).hexdigest())


def part_in(folder: Path, engine: Engine | None = Resumable) -> Part:
    return Part(folder / "a.part", (SHA,), SIZE, engine)


def put(part: Part, *spans: tuple[int, int]) -> None:
    for number, (start, end) in enumerate(spans):
        part.write(number, start, [BLOB[start:end]], PLACE)
    part.flush()
    part.settle()


@pytest.fixture
def part(tmp_path: Path) -> Iterator[Part]:
    """150 000 bytes have come, the second piece last."""
    part = part_in(tmp_path)
    part.restore()
    part.begin(PLACE, '"v1"', SIZE)
    put(part, (0, PIECE), (2 * PIECE, 3 * PIECE), (PIECE, 2 * PIECE))
    yield part
    part.close()


def left(part: Part, folder: Path) -> Path:
    """What a process that was killed now leaves, in a folder of its own."""
    folder.mkdir()
    for path in (part.path, part.path.with_suffix(".journal")):
        shutil.copy(path, folder)
    return folder


def finished(part: Part) -> bool:
    """Whether the rest makes the digest the right one."""
    put(part, *part.claimed().gaps(0, SIZE))
    return part.front == SIZE and part.wrong((SHA,)) is None


def test_dropped_bytes_leave_the_disk_and_count_all_the_same(part: Part) -> None:
    """The front stays, the claims stay, the first bytes stay readable; what lies between is zeros."""
    blocks = os.stat(part.path).st_blocks
    part.drop(END, KEPT)
    assert list(part.claimed()) == [(0, 3 * PIECE)]
    assert (part.dropped, part.front) == (END, 3 * PIECE)
    assert os.stat(part.path).st_blocks < blocks
    assert part.read(0, END) == BLOB[:KEPT] + bytes(END - KEPT)
    assert part.read(END, 3 * PIECE) == BLOB[END : 3 * PIECE]
    assert finished(part)


def test_a_restored_part_goes_on_behind_what_was_dropped(part: Part, tmp_path: Path) -> None:
    """Claims, front and digest are those that the journal tells; nothing dropped is read or fetched again."""
    part.drop(10_000, KEPT)
    part.drop(END, KEPT)
    again = part_in(left(part, tmp_path / "killed"))
    try:
        assert list(again.restore()) == [(0, 3 * PIECE)]
        assert (again.dropped, again.front) == (END, 3 * PIECE)
        again.drop(END + 5_000, KEPT)
        assert again.read(KEPT, END + 5_000) == bytes(END + 5_000 - KEPT)
        assert finished(again)
    finally:
        again.close()


def test_it_is_restored_again_and_again(part: Part, tmp_path: Path) -> None:
    """The journal that a restored part writes tells of the drop, too."""
    part.drop(END, KEPT)
    folder = left(part, tmp_path / "killed")
    for _ in range(3):
        again = part_in(folder)
        assert list(again.restore()) == [(0, 3 * PIECE)]
        again.close()
    again = part_in(folder)
    try:
        again.restore()
        assert finished(again)
    finally:
        again.close()


def test_a_kill_between_the_record_and_the_hole_loses_nothing(
    part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal says dropped, the bytes are there still: nobody needs them, and the rest is right."""
    seen, punch = [], fsio.punch

    def killed(file: int, start: int, end: int) -> bool:
        seen.append((start, end))
        left(part, tmp_path / "killed")
        return punch(file, start, end)

    monkeypatch.setattr(fsio, "punch", killed)
    part.drop(END, KEPT)
    assert seen == [(KEPT, END)]
    again = part_in(tmp_path / "killed")
    try:
        assert list(again.restore()) == [(0, 3 * PIECE)]
        assert again.dropped == END
        assert finished(again)
    finally:
        again.close()


def test_the_record_is_on_the_disk_before_the_hole(part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut must not find holes that no journal explains."""
    order = []
    real = os.fdatasync

    def noted(file: int) -> None:
        real(file)
        order.append("synced" if os.readlink(f"/proc/self/fd/{file}").endswith(".journal") else "other")

    monkeypatch.setattr(os, "fdatasync", noted)
    monkeypatch.setattr(fsio, "punch", lambda *_: order.append("punched"))
    part.drop(END, KEPT)
    assert order == ["synced", "punched"]


def test_what_came_behind_the_front_is_proved_after_a_restart(part: Part, tmp_path: Path) -> None:
    """A piece that lies beyond the front and was damaged meanwhile is lost, and fetched again."""
    put(part, (170_000, 180_000))
    part.drop(END, KEPT)
    folder = left(part, tmp_path / "killed")
    with open(folder / "a.part", "rb+") as file:
        file.seek(175_000)
        file.write(b"!!")
    again = part_in(folder)
    try:
        again.restore()
        put(again, *again.claimed().gaps(0, SIZE))
        assert again.lost() == [(170_000, 180_000)]
        put(again, (170_000, 180_000))
        assert finished(again)
    finally:
        again.close()


def respelled(folder: Path, spoil: str) -> None:
    """Change the state in the journal's record of the drop, sealed anew."""
    path = folder / "a.journal"
    lines = []
    for record in records(path.read_bytes().splitlines(keepends=True)):
        if "dropped" in record and spoil == "damaged":
            record["states"]["sha256"] = "ff" * 112
        elif "dropped" in record and spoil == "missing":
            record["states"] = {}
        lines.append(seal(record))
    path.write_bytes(b"".join(lines))


@pytest.mark.parametrize("spoil", ["no engine", "damaged", "missing"])
def test_without_the_state_of_the_digest_it_begins_anew(spoil: str, part: Part, tmp_path: Path) -> None:
    """Nobody could say then whether the file is right: nothing is claimed, and the file is empty."""
    part.drop(END, KEPT)
    folder = left(part, tmp_path / "killed")
    respelled(folder, spoil)
    again = part_in(folder, None if spoil == "no engine" else Resumable)
    try:
        assert list(again.restore()) == []
        assert (again.dropped, again.front, again.path.stat().st_size) == (0, 0, 0)
        assert finished(again)
    finally:
        again.close()


def test_nothing_dropped_is_shared(part: Part) -> None:
    """Others are offered what can be read, whole; but all of it counts as come."""
    part.drop(END, KEPT)
    assert claimed(part.path) == [(END, 3 * PIECE)]
    assert all(part.read(start, end) == BLOB[start:end] for start, end in claimed(part.path))
    assert claimed_bytes(part.path) == 3 * PIECE


def test_restarting_forgets_the_drop(part: Part, tmp_path: Path) -> None:
    """After `restart` the first byte is wanted again, in this run and in the next."""
    part.drop(END, KEPT)
    part.restart()
    assert (part.dropped, part.front, list(part.claimed())) == (0, 0, [])
    assert finished(part)


def test_another_run_at_the_same_file_is_noticed_before_anything_is_dropped(
    part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that another run relies on are not freed under it."""
    with open(part.path.with_suffix(".journal"), "ab") as file:
        file.write(seal({"run": "other"}))
    monkeypatch.setattr(fsio, "punch", lambda *_: pytest.fail("punched"))
    with pytest.raises(Locked):
        part.drop(END, KEPT)


def test_tending_flushes_what_waits(part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    """The front moves on although nothing more comes; but a disk is not asked to sync at every turn."""
    monkeypatch.setattr(parts, "FLUSH_S", 600.0)
    monkeypatch.setattr(parts, "MOST_FLUSH_S", 600.0)
    part.write(9, 3 * PIECE, [BLOB[3 * PIECE : 3 * PIECE + 100]], PLACE)
    part.tend()
    assert not part.wait_front(3 * PIECE + 100, 0.02)
    monkeypatch.setattr(parts, "MOST_FLUSH_S", 0.0)
    for _ in range(500):  # an earlier sync may be under way
        part.tend()
        if part.wait_front(3 * PIECE + 100, 0.02):
            return
    pytest.fail("nothing was flushed")


def test_waiting_for_the_front_ends_in_time(part: Part) -> None:
    """What is here is here at once, and what never comes is a no."""
    assert part.wait_front(3 * PIECE, 0.0)
    assert not part.wait_front(3 * PIECE + 1, 0.01)
