"""adapters/output.py: a whole file with its digest or none, and a disk that begins early."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.adapters import fsio, output
from g3m.adapters.fsio import make_room
from g3m.adapters.output import Output, start_writing_back
from g3m.core.errors import NoSpace, StorageError

PIECE = b"0123456789abcdef" * 2**16
"""A mebibyte."""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that Hypothesis may use again and again."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def followers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "g3m-output"]


@given(st.lists(st.tuples(st.binary(max_size=9), st.integers(0, 100_000)), max_size=6))
def test_what_is_written_is_there_with_its_digest(folder: Path, pieces: list[tuple[bytes, int]]) -> None:
    """Pieces of any size, below and above what needs a thread, end in the file and in the digest."""
    path, whole = folder / "a", b"".join(data * times for data, times in pieces)
    file = Output(path, digest=True)
    for data, times in pieces:
        file.write(data * times)
    assert file.close() == hashlib.sha256(whole).hexdigest()
    assert file.position == len(whole)
    assert path.read_bytes() == whole
    path.unlink()
    assert followers() == []


def test_a_digest_is_made_only_where_it_is_asked_for(tmp_path: Path) -> None:
    """Without `digest` there is none, and the bytes are the same."""
    file = Output(tmp_path / "a")
    file.write(PIECE)
    assert file.close() == ""
    assert (tmp_path / "a").read_bytes() == PIECE


def test_the_disk_begins_before_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every 8 MiB the system is told to write back what has come since, and nothing that is not there yet."""
    ranges: list[tuple[int, int]] = []

    def noting(number: int, start: int, size_bytes: int) -> None:
        assert os.fstat(number).st_size >= start + size_bytes
        ranges.append((start, size_bytes))

    monkeypatch.setattr(output, "start_writing_back", noting)
    file = Output(tmp_path / "a")
    for _ in range(20):
        file.write(PIECE)
    file.close()
    assert ranges == [(0, 2**23), (2**23, 2**23)]


def test_the_hints_work_on_this_system(tmp_path: Path) -> None:
    """The system's calls are found and take the range; on a file that is closed that is still no error."""
    with open(tmp_path / "a", "wb", buffering=0) as file:
        assert make_room(file.fileno(), 0, 2**22)
        assert os.fstat(file.fileno()).st_size == 0
        assert os.fstat(file.fileno()).st_blocks * 512 >= 2**22
        file.write(PIECE)
        start_writing_back(file.fileno(), 0, len(PIECE))
        number = file.fileno()
    start_writing_back(number, 0, len(PIECE))
    assert not make_room(-1, 0, 2**22)


def test_a_system_without_the_hints_writes_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the C library lacks the calls, nothing is missing but the early start."""
    calls = (fsio._fallocate, output._sync_file_range)
    for call in calls:
        call.cache_clear()
    try:
        monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())
        assert not make_room(0, 0, 1)
        file = Output(tmp_path / "a")
        for _ in range(9):
            file.write(PIECE)
        file.close()
    finally:
        for call in calls:
            call.cache_clear()
    assert (tmp_path / "a").stat().st_size == 9 * len(PIECE)


@pytest.mark.parametrize("mebibytes", [1, 15, 16, 17, 40])
def test_room_that_is_not_needed_is_given_back(tmp_path: Path, mebibytes: int) -> None:
    """For a file that is large blocks are asked for ahead; a finished one has none beyond its end."""
    file = Output(tmp_path / "a")
    for number in range(1, mebibytes + 1):
        file.write(PIECE)
        assert (tmp_path / "a").stat().st_blocks * 512 >= number * len(PIECE)
    file.write(b"x")
    state = (tmp_path / "a").stat()
    assert state.st_size == mebibytes * len(PIECE) + 1
    ahead_bytes = (mebibytes // 16 + 1) * 2**24
    assert (state.st_blocks * 512 >= ahead_bytes) == (mebibytes >= 16)
    file.close()
    state = (tmp_path / "a").stat()
    assert state.st_size == mebibytes * len(PIECE) + 1
    assert state.st_blocks * 512 < state.st_size + 2**16


def test_without_room_it_is_written_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that cannot reserve is asked once for each file."""
    asked: list[int] = []
    monkeypatch.setattr(fsio, "make_room", lambda *_: asked.append(1))
    file = Output(tmp_path / "a", digest=True)
    for _ in range(40):
        file.write(PIECE)
    assert file.close() == hashlib.sha256(PIECE * 40).hexdigest()
    assert asked == [1]


def test_room_of_a_disk_that_has_too_little_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a disk may give all that it has left, and say no: other files need it."""
    monkeypatch.setattr(fsio, "make_room", lambda *given: make_room(*given) and False)
    file = Output(tmp_path / "a")
    for _ in range(17):
        file.write(PIECE)
    assert (tmp_path / "a").stat().st_blocks * 512 < 2**24 + 2 * 2**20
    file.close()
    assert (tmp_path / "a").stat().st_size == 17 * len(PIECE)


class Stalled:
    """A digest that waits until it is told to go on, and may fail then."""

    def __init__(self, failure: BaseException | None = None) -> None:
        self.go_on = threading.Event()
        self.failure = failure

    def update(self, _: bytes) -> None:
        assert self.go_on.wait(20)
        if self.failure:
            raise self.failure

    def hexdigest(self) -> str:
        return "done"


def test_the_writer_waits_for_a_slow_follower(tmp_path: Path) -> None:
    """No more than a few pieces are kept in memory, however slow the digest is."""
    file, digest = Output(tmp_path / "a"), Stalled()
    file._digest = digest  # type: ignore[assignment]

    def write() -> None:
        for _ in range(40):
            file.write(PIECE)

    writer = threading.Thread(target=write)
    writer.start()
    while file._follower is None or not file._follower._waiting.full():
        assert writer.is_alive()
    assert (tmp_path / "a").stat().st_size <= 11 * len(PIECE)
    digest.go_on.set()
    writer.join()
    assert file.close() == "done"
    assert (tmp_path / "a").stat().st_size == 40 * len(PIECE)


def test_a_failure_beside_the_writing_is_raised(tmp_path: Path) -> None:
    """A follower that fails neither blocks the writer nor lets the file pass for whole."""
    file, digest = Output(tmp_path / "a"), Stalled(MemoryError())
    file._digest = digest  # type: ignore[assignment]
    digest.go_on.set()
    for _ in range(30):
        file.write(PIECE)
    with pytest.raises(MemoryError):
        file.close()
    assert list(tmp_path.iterdir()) == []
    assert followers() == []


@pytest.mark.parametrize("pieces", [0, 1, 20])
def test_giving_up_leaves_nothing(tmp_path: Path, pieces: int) -> None:
    """Neither the file, nor a thread, nor a descriptor is left; a second time is no error."""
    before = len(os.listdir("/proc/self/fd"))
    file = Output(tmp_path / "a", digest=True)
    for _ in range(pieces):
        file.write(PIECE)
    file.abort()
    file.abort()
    assert list(tmp_path.iterdir()) == []
    assert followers() == []
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("call", ["write", "fsync"])
@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOSPC, NoSpace), (errno.EDQUOT, NoSpace), (errno.EIO, StorageError)]
)
def test_a_failing_disk_leaves_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    number: int,
    kind: type[Exception],
) -> None:
    """An error of the system, early or late, is of our kind, and takes file and thread along."""
    file = Output(tmp_path / "a", digest=True)
    for _ in range(3):
        file.write(PIECE)

    def failing(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, failing)
    last: Callable[[], object] = file.close if call == "fsync" else lambda: file.write(PIECE)
    with pytest.raises(kind, match=os.strerror(number)):
        last()
    assert list(tmp_path.iterdir()) == []
    assert followers() == []


def test_an_existing_file_is_left_alone(tmp_path: Path) -> None:
    """What is there already, also a link to nowhere, is neither followed, changed nor removed."""
    (tmp_path / "a").write_bytes(b"mine")
    (tmp_path / "b").symlink_to(tmp_path / "c")
    for name in ("a", "b"):
        with pytest.raises(StorageError, match="File exists"):
            Output(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == b"mine"
    assert not (tmp_path / "c").exists()


def test_small_files_need_no_thread(tmp_path: Path) -> None:
    """A file that is one small piece is followed by whoever writes it."""
    file = Output(tmp_path / "a", digest=True)
    file.write(b"x" * 1000)
    assert followers() == []
    assert file.close() == hashlib.sha256(b"x" * 1000).hexdigest()
