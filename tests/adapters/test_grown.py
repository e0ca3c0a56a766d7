"""adapters/grown.py: a grown shard that is filled in is the shard that would have been written."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.adapters.grown import GrownShard, Moved
from g3m.adapters.shards import ShardWriter
from g3m.core.errors import NoSpace, StorageError
from g3m.core.shard import Entry, ShardSummary

Sample = tuple[bytes, bytes, bytes]
samples = st.lists(st.tuples(*(st.binary(max_size=1600),) * 3), max_size=6)
THREE: list[Sample] = [(bytes([n]) * (700 * n), b"{}" * n, b"text") for n in range(1, 4)]


def parts(sample: Sample) -> list[tuple[str, bytes]]:
    return list(zip(("jpg", "json", "txt"), sample, strict=True))


def written(path: Path, content: list[Sample]) -> tuple[list[Entry], ShardSummary]:
    """What ShardWriter makes of the samples."""
    with ShardWriter(path) as writer:
        return [writer.add(str(n), parts(sample)) for n, sample in enumerate(content)], writer.close()


def grow(path: Path, entries: list[Entry], content: list[Sample], rest: bytes = b"") -> None:
    """The pictures alone, each at its place; `rest` lies behind them."""
    with path.open("wb") as file:
        for entry, (picture, _, _) in zip(entries, content, strict=True):
            file.seek(entry.fields[0].offset)
            file.write(picture)
        file.write(rest)


def filled(path: Path, content: list[Sample]) -> tuple[list[Entry], ShardSummary]:
    with GrownShard(path) as shard:
        return [shard.add(str(n), parts(sample)) for n, sample in enumerate(content)], shard.close()


@given(content=samples, rest=st.sampled_from([b"", b"left" * 20_000]))
def test_it_gives_byte_for_byte_what_the_writer_gives(content: list[Sample], rest: bytes) -> None:
    """The same file, entries and summary, also where something longer lies behind the last picture."""
    with tempfile.TemporaryDirectory() as folder:
        one, two = Path(folder, "one.tar"), Path(folder, "two.tar")
        entries, summary = written(one, content)
        grow(two, entries, content, rest)
        found, told = filled(two, content)
        assert two.read_bytes() == one.read_bytes()
        assert found == entries
        assert (told.samples, told.size_bytes, told.sha256) == (
            summary.samples,
            summary.size_bytes,
            summary.sha256,
        )
        assert told.name == two.name


def test_it_can_be_filled_in_twice(tmp_path: Path) -> None:
    """After a kill it begins with the first sample again, and nothing differs."""
    entries, _ = written(tmp_path / "one", THREE)
    grow(tmp_path / "two", entries, THREE)
    with GrownShard(tmp_path / "two") as shard:
        shard.add("0", parts(THREE[0]))
        shard.add("1", parts(THREE[1]))
    filled(tmp_path / "two", THREE)
    filled(tmp_path / "two", THREE)
    assert (tmp_path / "two").read_bytes() == (tmp_path / "one").read_bytes()


@pytest.mark.parametrize("left_out", [0, 1])
def test_a_sample_left_out_moves_the_rest_and_harms_no_picture(left_out: int, tmp_path: Path) -> None:
    """`Moved` comes before anything is written over a picture: all lie where they lay."""
    content: list[Sample] = [(os.urandom(900), b"{}" * 400, b"text") for _ in range(5)]
    entries, _ = written(tmp_path / "one", content)
    grow(tmp_path / "two", entries, content)
    with pytest.raises(Moved), GrownShard(tmp_path / "two") as shard:
        for number, sample in enumerate(content):
            if number != left_out:
                shard.add(str(number), parts(sample))
    data = (tmp_path / "two").read_bytes()
    for entry, (picture, _, _) in zip(entries, content, strict=True):
        offset = entry.fields[0].offset
        assert data[offset : offset + len(picture)] == picture


def test_a_changed_picture_is_moved(tmp_path: Path) -> None:
    """Other bytes of the same length are not taken for those that lie there."""
    entries, _ = written(tmp_path / "one", THREE)
    grow(tmp_path / "two", entries, THREE)
    before = (tmp_path / "two").read_bytes()
    with pytest.raises(Moved), GrownShard(tmp_path / "two") as shard:
        shard.add("0", parts((b"\7" * 700, b"{}", b"text")))
    assert (tmp_path / "two").read_bytes() == before


def test_a_picture_may_be_a_view(tmp_path: Path) -> None:
    """Packing hands on views of what it has read."""
    entries, _ = written(tmp_path / "one", THREE)
    grow(tmp_path / "two", entries, THREE)
    with GrownShard(tmp_path / "two") as shard:
        for number, sample in enumerate(THREE):
            shard.add(str(number), [(name, memoryview(data)) for name, data in parts(sample)])
        shard.close()
    assert (tmp_path / "two").read_bytes() == (tmp_path / "one").read_bytes()


def test_short_writes_are_taken_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that takes 100 bytes at a time gets them all, each where it belongs."""
    entries, _ = written(tmp_path / "one", THREE)
    grow(tmp_path / "two", entries, THREE)
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: real(file, data[:100], at))
    filled(tmp_path / "two", THREE)
    assert (tmp_path / "two").read_bytes() == (tmp_path / "one").read_bytes()


def refusing(code: int) -> Callable[..., int]:
    def refuse(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    return refuse


@pytest.mark.parametrize("call", ["pwrite", "ftruncate", "fsync"])
def test_a_full_disk_is_named_and_the_file_is_closed(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NoSpace from writing, cutting or syncing; the pictures stay, because they are all there is of them."""
    entries, _ = written(tmp_path / "one", THREE)
    grow(tmp_path / "two", entries, THREE)
    before = len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patch:
        patch.setattr(os, call, refusing(errno.ENOSPC))
        with pytest.raises(NoSpace):
            filled(tmp_path / "two", THREE)
    assert len(os.listdir("/proc/self/fd")) == before
    filled(tmp_path / "two", THREE)
    assert (tmp_path / "two").read_bytes() == (tmp_path / "one").read_bytes()


def test_a_disk_that_cannot_be_read_is_no_moved_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An input error is a StorageError: copying would meet it again."""
    entries, _ = written(tmp_path / "one", THREE)
    grow(tmp_path / "two", entries, THREE)
    monkeypatch.setattr(os, "pread", refusing(errno.EIO))
    with pytest.raises(StorageError):
        filled(tmp_path / "two", THREE)


def test_a_shard_that_is_not_there_is_a_storage_error(tmp_path: Path) -> None:
    """It is never made anew: it would be empty."""
    with pytest.raises(StorageError):
        GrownShard(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []
