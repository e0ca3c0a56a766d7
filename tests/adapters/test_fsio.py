"""adapters/fsio.py: every change of the disk, whole however little the system takes at once, or an error."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from g3m.adapters import fsio
from g3m.adapters.fsio import can_punch, punch

SIZE = 2**18
BLOCK = 4096


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    """A synced file of ones."""
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    os.write(descriptor, b"\1" * SIZE)
    os.fsync(descriptor)
    yield descriptor
    os.close(descriptor)


def test_a_hole_frees_blocks_keeps_the_size_and_reads_zeros(file: int) -> None:
    """Only what lies between the offsets is gone, also where they are no multiples of a block."""
    before = os.fstat(file)
    start, end = 10 * BLOCK + 7, 40 * BLOCK + 9
    assert punch(file, start, end)
    after = os.fstat(file)
    assert after.st_size == SIZE
    assert before.st_blocks - after.st_blocks >= 28 * BLOCK // 512
    assert os.pread(file, SIZE, 0) == b"\1" * start + bytes(end - start) + b"\1" * (SIZE - end)


@pytest.mark.parametrize(("start", "end"), [(5, 5), (9, 5)])
def test_an_empty_hole_is_no_hole(start: int, end: int, file: int) -> None:
    """Nothing between two offsets: nothing is touched, and that is no failure."""
    assert punch(file, start, end)
    assert os.pread(file, SIZE, 0) == b"\1" * SIZE


def test_a_hole_at_the_end_does_not_make_the_file_longer(file: int) -> None:
    """Punching beyond the end leaves the size as it was."""
    punch(file, SIZE - BLOCK, SIZE + 10 * BLOCK)
    assert os.fstat(file).st_size == SIZE


def test_a_closed_file_cannot_be_punched(tmp_path: Path) -> None:
    """What the system refuses is False, not an exception."""
    descriptor = os.open(tmp_path / "readable", os.O_RDONLY | os.O_CREAT)
    assert not punch(descriptor, 0, BLOCK)
    os.close(descriptor)


def test_the_trial_leaves_nothing_behind(tmp_path: Path) -> None:
    """The file that it is tried on is gone afterwards, whatever the answer."""
    assert can_punch(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_trial_is_a_no_in_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    """Nothing is made and nothing raised."""
    assert not can_punch(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


class Refusing:
    """A C library whose fallocate always fails, as on a file system without holes."""

    class fallocate:  # the C function's name
        argtypes = ()

        def __new__(cls, *_: int) -> int:  # type: ignore[misc]
            return -1


class Pretending:
    """One that says yes and frees nothing."""

    class fallocate:  # the C function's name
        argtypes = ()

        def __new__(cls, *_: int) -> int:  # type: ignore[misc]
            return 0


@pytest.mark.parametrize("library", [Refusing, Pretending, object])
def test_the_trial_is_a_no_where_nothing_is_freed(
    library: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refusal, a yes without a freed block, and a library without fallocate: no, and no file left."""
    monkeypatch.setattr(fsio.ctypes, "CDLL", lambda *_, **__: library())
    monkeypatch.setattr(fsio, "_fallocate", fsio._fallocate.__wrapped__)
    assert not can_punch(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_trial_is_a_no_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where not even the trial's bytes can be written the answer is no, and no file is left."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(fsio.os, "write", full)
    assert not can_punch(tmp_path)
    assert list(tmp_path.iterdir()) == []
