"""adapters/local.py: parts of files by position, for threads, forks and many shards, and what may be wrong with them."""

from __future__ import annotations

import errno
import os
import pickle
import resource
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from g3m.adapters import local
from g3m.adapters.local import LocalReader
from g3m.core.errors import NotVerified, StorageError

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(4):
        (tmp_path / f"{number}.tar").write_bytes(bytes([number]) + CONTENT)
    return tmp_path


@pytest.fixture
def reader(folder: Path) -> Iterator[LocalReader]:
    made = LocalReader(folder)
    yield made
    made.close()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_the_bytes_of_a_place(reader: LocalReader) -> None:
    """From any offset exactly as many bytes as asked for, also none, also up to the last one."""
    for shard, offset, size in (
        ("2.tar", 0, 5),
        ("0.tar", 1000, 3000),
        ("3.tar", 10_240, 1),
        ("1.tar", 7, 0),
    ):
        number = int(shard[0])
        assert reader.read(shard, offset, size) == (bytes([number]) + CONTENT)[offset : offset + size]


def test_a_shard_is_opened_once_and_closed(reader: LocalReader) -> None:
    """Each shard takes one descriptor however often it is read; closing gives all back, and reading goes on."""
    before = descriptors()
    for _ in range(5):
        for number in range(4):
            reader.read(f"{number}.tar", number, 100)
    assert descriptors() == before + 4
    reader.close()
    assert descriptors() == before
    assert reader.read("1.tar", 0, 1) == b"\x01"


def test_nobody_leaves_descriptors_behind(folder: Path) -> None:
    """A reader that is forgotten without closing gives its descriptors back, and warns of nothing."""
    before = descriptors()
    LocalReader(folder).read("1.tar", 0, 1)
    assert descriptors() == before


def test_closing_under_a_read_pulls_nothing_away(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one thread reads, another closes: the read ends with its own bytes, not those of another file."""
    reader = LocalReader(folder)
    inside, go_on = threading.Event(), threading.Event()
    real = os.pread

    def slow(number: int, size: int, offset: int) -> bytes:
        inside.set()
        assert go_on.wait(timeout=30)
        return real(number, size, offset)

    found: list[bytes] = []
    monkeypatch.setattr(local.os, "pread", slow)
    thread = threading.Thread(target=lambda: found.append(reader.read("2.tar", 0, 2)))
    thread.start()
    assert inside.wait(timeout=30)
    reader.close()
    with open(folder / "0.tar", "rb"):  # takes the lowest number that is free
        go_on.set()
        thread.join(timeout=30)
    assert found == [b"\x02\x00"]


def test_threads_that_begin_together_keep_one_descriptor(folder: Path) -> None:
    """Eight threads that ask for the same shard at once leave one descriptor behind."""
    before = descriptors()
    reader = LocalReader(folder)
    gate = threading.Barrier(8)
    found: list[bytes] = []

    def read() -> None:
        gate.wait(timeout=30)
        found.append(reader.read("1.tar", 0, 3))

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert found == [b"\x01\x00\x01"] * 8
    assert descriptors() == before + 1
    reader.close()


def test_many_shards_need_few_descriptors(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond half of what the process may have open, a shard is opened for each read and closed again."""
    limit = 2 * (len(local._held) + 2)
    monkeypatch.setattr(local.resource, "getrlimit", lambda _: (limit, 4096))
    before = descriptors()
    reader = LocalReader(folder)
    for number in (0, 1, 2, 3, 2, 3):
        assert reader.read(f"{number}.tar", 0, 1) == bytes([number])
    assert descriptors() == before + 2
    reader.close()
    assert descriptors() == before


def test_no_limit_is_a_limit_nobody_reaches(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where descriptors are not limited, shards stay open."""
    monkeypatch.setattr(local.resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, -1))
    before = descriptors()
    reader = LocalReader(folder)
    reader.read("0.tar", 0, 1)
    assert descriptors() == before + 1
    reader.close()


def test_when_others_took_all_descriptors(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a shard cannot be opened for want of descriptors, the others are closed; if that is no help, it is said."""
    reader = LocalReader(folder)
    reader.read("0.tar", 0, 1)
    real, refused = os.open, [OSError(errno.EMFILE, "Too many open files")]

    def full(*args: object) -> int:
        if refused:
            raise refused.pop()
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(local.os, "open", full)
    assert reader.read("1.tar", 0, 1) == b"\x01"
    refused += [OSError(errno.EMFILE, "Too many open files")] * 9
    with pytest.raises(StorageError, match=r"2\.tar: cannot be opened: Too many open files"):
        reader.read("2.tar", 0, 1)
    reader.close()


FORK = """
    import os, sys
    from pathlib import Path
    from g3m.adapters.local import LocalReader
    reader = LocalReader(Path(sys.argv[1]))
    right = [reader.read("3.tar", 0, 1) == b"\\x03"]
    child = os.fork()
    right += [reader.read("3.tar", 0, 2) == b"\\x03\\x00", reader.read("1.tar", 0, 1) == b"\\x01"]
    if child == 0:
        reader.close()
        os._exit(0 if all(right) else 1)
    right += [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0]
    right += [reader.read("3.tar", 1, 1) == b"\\x00"]
    print(right)
"""


def test_in_a_forked_process(folder: Path) -> None:
    """A child reads through what its parent opened, closes it, and the parent reads on; the end is silent."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(FORK), str(folder)],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    assert (done.stdout, done.stderr) == ("[True, True, True, True, True]\n", "")


def test_nothing_is_said_at_the_end(folder: Path) -> None:
    """A reader that lives until the interpreter ends, and longer than its module's names, says nothing."""
    script = f"""
        import sys
        from pathlib import Path
        from g3m.adapters import local
        reader = local.LocalReader(Path({str(folder)!r}))
        reader.read("1.tar", 0, 1)
        kept = reader._files["1.tar"]
        local._held = local.os = None
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    assert done.stderr == ""


def test_in_a_process_that_got_it_pickled(folder: Path) -> None:
    """Folder and sizes travel; descriptors do not."""
    reader = LocalReader(folder, {"1.tar": 9})
    reader.read("0.tar", 0, 1)
    before = descriptors()
    again = pickle.loads(pickle.dumps(reader))
    assert descriptors() == before
    assert again.read("0.tar", 0, 1) == b"\x00"
    with pytest.raises(NotVerified, match="not 9"):
        again.read("1.tar", 0, 1)
    again.close()
    reader.close()


def test_what_a_shard_may_be_instead(folder: Path, reader: LocalReader) -> None:
    """Missing, cut, a folder, a pipe without a writer: an error that names the file, at once, nothing left open."""
    (folder / "folder.tar").mkdir()
    os.mkfifo(folder / "pipe.tar")
    before = descriptors()
    with pytest.raises(NotVerified, match=r"5\.tar: the shard is not there"):
        reader.read("5.tar", 0, 1)
    for name in ("folder.tar", "pipe.tar"):
        with pytest.raises(StorageError, match=f"{name}: cannot be opened: not a file"):
            reader.read(name, 0, 1)
    assert descriptors() == before
    with pytest.raises(NotVerified, match=r"1\.tar: is cut: it has 10241 bytes, wanted are 10200 to 10242"):
        reader.read("1.tar", 10_200, 42)


def test_a_wrong_size_takes_no_memory(reader: LocalReader) -> None:
    """What an index asks for beyond the end is refused before memory is taken for it."""
    with pytest.raises(NotVerified, match="is cut"):
        reader.read("1.tar", 0, 2**60)


def test_another_size_than_written_down(folder: Path) -> None:
    """A shard that is not the one of the index is refused when it is opened, though the bytes would be there."""
    reader = LocalReader(folder, {"1.tar": 10_240, "2.tar": 10_241})
    assert reader.read("2.tar", 0, 1) == b"\x02"
    assert reader.read("0.tar", 0, 1) == b"\x00"
    before = descriptors()
    with pytest.raises(NotVerified, match=r"1\.tar: has changed .* it has 10241 bytes, not 10240"):
        reader.read("1.tar", 0, 1)
    assert descriptors() == before
    reader.close()


def test_a_shard_that_shrinks_while_it_is_open(folder: Path, reader: LocalReader) -> None:
    """A file cut under an open descriptor gives an error and never fewer bytes."""
    reader.read("1.tar", 0, 1)
    os.truncate(folder / "1.tar", 100)
    with pytest.raises(NotVerified, match=r"1\.tar: was cut while it was read"):
        reader.read("1.tar", 90, 20)


def test_reads_that_come_in_pieces(reader: LocalReader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system gives fewer bytes than asked for, the rest is asked for."""
    real = os.pread
    monkeypatch.setattr(local.os, "pread", lambda number, size, offset: real(number, min(size, 7), offset))
    assert reader.read("1.tar", 1, 1000) == CONTENT[:1000]


def test_a_disk_that_fails(reader: LocalReader, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the system says is passed on with the file's name, and the next read opens the file anew."""
    reader.read("1.tar", 0, 1)
    before = descriptors()
    with monkeypatch.context() as patch:

        def fail(*_: object) -> bytes:
            raise OSError(errno.ESTALE, "Stale file handle")

        patch.setattr(local.os, "pread", fail)
        with pytest.raises(StorageError, match=r"1\.tar: Stale file handle"):
            reader.read("1.tar", 0, 1)
    assert descriptors() == before - 1
    assert reader.read("1.tar", 0, 1) == b"\x01"


def test_documents(folder: Path, reader: LocalReader) -> None:
    """A small file as a whole; None where there is none; an error where it cannot be read."""
    (folder / "manifest.json").write_bytes(b"{}")
    assert reader.document("manifest.json") == b"{}"
    assert reader.document("index.bin") is None
    assert LocalReader(folder / "1.tar").document("index.bin") is None
    (folder / "index.bin").mkdir()
    with pytest.raises(StorageError, match=r"index\.bin: Is a directory"):
        reader.document("index.bin")
