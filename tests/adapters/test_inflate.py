"""adapters/inflate.py: gzip is undone completely or not at all, with isal and with zlib alike."""

from __future__ import annotations

import errno
import gzip
import importlib
import os
import random
import resource
import sys
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.realdata import REAL

from g3m.adapters import inflate as adapter
from g3m.adapters.inflate import RATIO_FLOOR_BYTES, Inflation
from g3m.core.errors import BadArchive, G3MError, NoSpace, NotWritable, StorageError

ODD_TARS = REAL / "odd_tars" / "testdata"
REAL_FILES = {path.name: path for path in sorted(ODD_TARS.glob("*.tgz"))}
"""Files of other programs, on machines that have the collection; elsewhere one made here stands in."""

LIMIT_BYTES = 2**30

PLAIN = random.Random(3).randbytes(4000) + b"captions " * 3000
PACKED = gzip.compress(PLAIN, mtime=0)


@pytest.fixture(params=["isal", "zlib"], autouse=True)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run each test with the fast engine and as if it were not installed."""
    if request.param == "zlib":
        monkeypatch.setitem(sys.modules, "isal.igzip", None)
    else:
        importlib.import_module("isal.igzip")  # that it is there is part of the test
    return str(request.param)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that Hypothesis may use again and again."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def inflate(
    source: Path, target: Path, *, limit_bytes: int, progress: Callable[[int], None] | None = None
) -> int:
    """A whole file at once."""
    with Inflation(source, target, limit_bytes=limit_bytes, progress=progress) as inflation:
        return inflation.finish()


def undone(folder: Path, packed: bytes, limit_bytes: int = LIMIT_BYTES) -> bytes:
    """The unpacked bytes; whatever happens, nothing of the target is left for the next time."""
    source, target = folder / "a.gz", folder / "a"
    source.write_bytes(packed)
    size_bytes = inflate(source, target, limit_bytes=limit_bytes)
    content = target.read_bytes()
    target.unlink()
    assert size_bytes == len(content)
    return content


members = st.lists(
    st.tuples(st.binary(max_size=300), st.integers(1, 3000), st.integers(0, 9)),
    min_size=1,
    max_size=4,
)


@given(content=members, zeros=st.integers(0, 700))
def test_gzip_is_undone(folder: Path, content: list[tuple[bytes, int, int]], zeros: int) -> None:
    """One or more members of any level, with zeros behind them, give all their bytes."""
    packed = b"".join(gzip.compress(data * count, level) for data, count, level in content)
    expected = b"".join(data * count for data, count, _ in content)
    assert undone(folder, packed + bytes(zeros)) == expected


@pytest.mark.parametrize("name", [*REAL_FILES, "generated"])
def test_files_of_other_programs_are_undone(tmp_path: Path, name: str) -> None:
    """A tar.gz that was found, and one whose header has a name, give what gzip makes of them."""
    if name == "generated":
        with gzip.GzipFile(tmp_path / "generated.gz", "wb") as file:
            file.write(PLAIN)
    packed = REAL_FILES.get(name, tmp_path / "generated.gz").read_bytes()
    assert undone(tmp_path, packed) == gzip.decompress(packed)


def test_every_cut_is_an_error(tmp_path: Path) -> None:
    """A gzip cut at any of 300 places is an error, and so is a second member that is cut."""
    for place in random.Random(1).sample(range(len(PACKED)), 300):
        for packed in (PACKED[:place], PACKED + PACKED[: place or 1]):
            with pytest.raises(BadArchive, match=r"a\.gz: "):
                undone(tmp_path, packed)
            assert not (tmp_path / "a").exists()


def test_every_flip_is_an_error_or_harmless(tmp_path: Path) -> None:
    """A flipped bit is an error, unless it is in the header's time, flags or system."""
    bits = random.Random(2).sample(range(len(PACKED) * 8), 300)
    for bit in [*bits, *range(12 * 8), *range(len(PACKED) * 8 - 64, len(PACKED) * 8)]:
        flipped = bytearray(PACKED)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            assert undone(tmp_path, bytes(flipped)) == PLAIN
            assert 3 <= bit // 8 < 10
        except BadArchive:
            assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"<html>",
        bytes(600),
        PACKED + b"junk",
        PACKED + bytes(20) + b"j",
        PACKED + b"\x1f",
        PACKED + PLAIN,
        zlib.compress(PLAIN),
    ],
    ids=["empty", "html", "zeros", "junk", "junk behind zeros", "one byte", "plain bytes", "zlib"],
)
def test_what_is_not_gzip_to_the_end_is_an_error(tmp_path: Path, packed: bytes) -> None:
    """Other content, in the place of gzip or behind it, is an error and leaves no file."""
    with pytest.raises(BadArchive, match=r"a\.gz: "):
        undone(tmp_path, packed)
    assert not (tmp_path / "a").exists()


def test_bombs_stop_early(tmp_path: Path) -> None:
    """More than 1000 times the source is an error; a small file may grow by any ratio."""
    small = gzip.compress(bytes(RATIO_FLOOR_BYTES))
    assert len(undone(tmp_path, small)) == RATIO_FLOOR_BYTES
    bomb = gzip.compress(bytes(4 * RATIO_FLOOR_BYTES))
    with pytest.raises(BadArchive, match="unpacks to more than"):
        undone(tmp_path, bomb)


def test_the_limit_holds_to_the_byte(tmp_path: Path) -> None:
    """`limit_bytes` is the largest size that is allowed."""
    assert undone(tmp_path, PACKED, len(PLAIN)) == PLAIN
    with pytest.raises(BadArchive, match=f"more than {len(PLAIN) - 1} bytes"):
        undone(tmp_path, PACKED, len(PLAIN) - 1)


def test_a_full_disk_says_nothing_against_the_archive(tmp_path: Path) -> None:
    """What would not fit is no bomb: an archive that is called bad may be thrown away."""
    (tmp_path / "a.gz").write_bytes(PACKED)
    with Inflation(tmp_path / "a.gz", tmp_path / "a", room_bytes=len(PLAIN)) as inflation:
        assert inflation.finish() == len(PLAIN)
    with (
        pytest.raises(NoSpace, match=f"more than the {len(PLAIN) - 1} bytes that are free"),
        Inflation(tmp_path / "a.gz", tmp_path / "b", room_bytes=len(PLAIN) - 1) as inflation,
    ):
        inflation.finish()
    assert not (tmp_path / "b").exists()


def test_progress_counts_bytes_of_the_source(tmp_path: Path) -> None:
    """Progress rises to the size of the source, and what it raises ends the work."""
    source = tmp_path / "a.gz"
    source.write_bytes(gzip.compress(random.Random(4).randbytes(3 * 2**20)))
    seen: list[int] = []
    inflate(source, tmp_path / "a", limit_bytes=LIMIT_BYTES, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == source.stat().st_size

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        inflate(source, tmp_path / "b", limit_bytes=LIMIT_BYTES, progress=stop)
    assert not (tmp_path / "b").exists()


def test_a_full_disk_is_no_space(tmp_path: Path) -> None:
    """A write that the system refuses for size is NoSpace, and the partial file is removed."""
    (tmp_path / "a.gz").write_bytes(gzip.compress(random.Random(5).randbytes(3 * 2**20)))
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20 + 5, allowed[1]))
    try:
        with pytest.raises(NoSpace, match=str(tmp_path / "a")):
            inflate(tmp_path / "a.gz", tmp_path / "a", limit_bytes=LIMIT_BYTES)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("call", "number", "kind"),
    [
        ("write", errno.ENOSPC, NoSpace),
        ("write", errno.EIO, StorageError),
        ("fsync", errno.EDQUOT, NoSpace),
    ],
)
def test_a_failing_disk_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, kind: type[G3MError]
) -> None:
    """Errors of write and fsync become errors of the tree that name the target."""
    (tmp_path / "a.gz").write_bytes(PACKED)

    def failing(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, failing)
    with pytest.raises(kind, match=f"{tmp_path / 'a'}: {os.strerror(number)}"):
        inflate(tmp_path / "a.gz", tmp_path / "a", limit_bytes=LIMIT_BYTES)
    assert not (tmp_path / "a").exists()


def test_short_writes_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that takes fewer bytes than it is given changes nothing."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:1000]))
    assert undone(tmp_path, PACKED) == PLAIN


def test_an_existing_target_is_left_alone(tmp_path: Path) -> None:
    """A target that is there already, or a link in its place, is an error and stays as it was."""
    (tmp_path / "a.gz").write_bytes(PACKED)
    (tmp_path / "a").write_bytes(b"mine")
    (tmp_path / "b").symlink_to(tmp_path / "c")
    for name in ("a", "b"):
        with pytest.raises(StorageError, match="File exists"):
            inflate(tmp_path / "a.gz", tmp_path / name, limit_bytes=LIMIT_BYTES)
    assert (tmp_path / "a").read_bytes() == b"mine"
    assert not (tmp_path / "c").exists()


def test_places_that_cannot_be_used_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing source, and a folder that may not be written, are told apart."""
    with pytest.raises(StorageError, match=r"none\.gz: cannot be read"):
        inflate(tmp_path / "none.gz", tmp_path / "a", limit_bytes=LIMIT_BYTES)
    assert not (tmp_path / "a").exists()
    (tmp_path / "a.gz").write_bytes(PACKED)

    def refusing(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refusing)  # root may write anywhere
    with pytest.raises(NotWritable):
        inflate(tmp_path / "a.gz", tmp_path / "a", limit_bytes=LIMIT_BYTES)


def inflaters() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name in ("g3m-inflate", "g3m-output")]


@given(data=st.binary(max_size=200), times=st.integers(0, 40_000), wanted=st.lists(st.integers(0, 2**22)))
def test_no_more_is_unpacked_than_somebody_wants(
    folder: Path, data: bytes, times: int, wanted: list[int]
) -> None:
    """What is reached for is there at once, to be read from the file; what is beyond the end is said."""
    plain = data * times
    (folder / "a.gz").write_bytes(gzip.compress(plain, 1))
    with Inflation(folder / "a.gz", folder / "a", limit_bytes=LIMIT_BYTES) as inflation:
        for position in wanted:
            there = inflation.reach(position)
            assert there >= min(position, len(plain))
            assert (folder / "a").read_bytes() == plain[:there]
        assert inflation.finish() == len(plain)
    assert (folder / "a").read_bytes() == plain
    (folder / "a").unlink()
    assert inflaters() == []


def test_unpacking_runs_ahead_only_a_little(tmp_path: Path) -> None:
    """Nobody wants more: the thread waits with a few pieces, and ends with the block."""
    (tmp_path / "a.gz").write_bytes(gzip.compress(random.Random(6).randbytes(40 * 2**20), 1))
    with Inflation(tmp_path / "a.gz", tmp_path / "a", limit_bytes=LIMIT_BYTES) as inflation:
        inflation.reach(1)
        while not inflation._chunks.full():
            assert inflation._thread.is_alive()
        assert (tmp_path / "a").stat().st_size <= 2**20
        assert inflaters() != []
    assert inflaters() == []
    assert not (tmp_path / "a").exists()


def test_a_block_that_ends_early_ends_the_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody wants any more is not unpacked: here it would never end."""

    def endless(*_: object) -> Iterator[tuple[bytes, int]]:
        while True:
            yield b"x" * 1000, 1

    monkeypatch.setattr(adapter, "_unpacked", lambda *_: (piece for piece in endless()))
    with Inflation(tmp_path / "a.gz", tmp_path / "a", limit_bytes=LIMIT_BYTES) as inflation:
        inflation.reach(10**6)
    assert inflaters() == []
    assert list(tmp_path.iterdir()) == []


def test_a_block_that_raises_behind_the_end_leaves_nothing(tmp_path: Path) -> None:
    """Who raises after `finish` does not want the file either."""
    (tmp_path / "a.gz").write_bytes(PACKED)

    def fail() -> None:
        with Inflation(tmp_path / "a.gz", tmp_path / "a", limit_bytes=LIMIT_BYTES) as inflation:
            inflation.finish()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("mib", [0, 1, 30])
def test_a_block_that_ends_early_leaves_nothing(tmp_path: Path, mib: int) -> None:
    """Without `finish`, and when the block raises, neither file nor thread nor descriptor is left."""
    (tmp_path / "a.gz").write_bytes(gzip.compress(random.Random(6).randbytes(mib * 2**20), 1))
    before = len(os.listdir("/proc/self/fd"))

    def fail(reached: int) -> None:
        with Inflation(tmp_path / "a.gz", tmp_path / "a", limit_bytes=LIMIT_BYTES) as inflation:
            inflation.reach(reached)
            raise KeyError

    for reached in (0, 1, 2**21, 2**26):
        with pytest.raises(KeyError):
            fail(reached)
        with Inflation(tmp_path / "a.gz", tmp_path / "a", limit_bytes=LIMIT_BYTES) as inflation:
            inflation.reach(reached)
        assert not (tmp_path / "a").exists()
    assert inflaters() == []
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_file_is_synced_before_it_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`finish` returns after an fsync of the whole file, not before."""
    (tmp_path / "a.gz").write_bytes(PACKED)
    synced: list[int] = []
    fsync = os.fsync

    def noting(number: int) -> None:
        synced.append(os.fstat(number).st_size)
        fsync(number)

    monkeypatch.setattr(os, "fsync", noting)
    with Inflation(tmp_path / "a.gz", tmp_path / "a", limit_bytes=LIMIT_BYTES) as inflation:
        inflation.reach(len(PLAIN))
        assert synced == []
        inflation.finish()
        assert synced == [len(PLAIN)]
