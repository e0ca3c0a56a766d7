"""adapters/cache.py: bounded, shared by processes, and never a byte that was not put in."""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from g3m.adapters.cache import BlockCache
from g3m.core.blocks import PAGE_BYTES, head_bytes

SIZE = 1000
ROOM = SIZE + head_bytes(SIZE)
"""What a block of the tests takes on the disk."""


def name(mark: object) -> str:
    return hashlib.sha256(str(mark).encode()).hexdigest()


def block(mark: object, size: int = SIZE) -> bytes:
    return random.Random(str(mark)).randbytes(size)


def whole(cache: BlockCache, mark: object, size: int = SIZE) -> bytes | None:
    return cache.get(name(mark), size, 0, size)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def used(cache: BlockCache, mark: object, ago_s: float) -> None:
    """Pretend that a block was used last some time ago."""
    (path,) = cache.folder.rglob(name(mark))
    then_s = time.time() - ago_s
    os.utime(path, (then_s, then_s))


def test_what_was_put_in_comes_out(tmp_path: Path) -> None:
    """A block comes back whole and in parts, from a second cache on the same folder, too."""
    data = block(1, 3 * PAGE_BYTES + 5)
    BlockCache(tmp_path / "c", 10**9).put(name(1), data)
    cache = BlockCache(tmp_path / "c", 10**9)
    for start, end in ((0, len(data)), (0, 1), (len(data) - 1, len(data)), (PAGE_BYTES - 1, PAGE_BYTES + 1)):
        assert cache.get(name(1), len(data), start, end) == data[start:end]
    assert cache.get(name(2), len(data), 0, 1) is None
    assert cache.size_bytes() == len(data) + head_bytes(len(data))
    assert [path.stat().st_mode & 0o777 for path in files(tmp_path)] == [0o600]


def test_nothing_is_kept_without_room(tmp_path: Path) -> None:
    """A limit of 0 writes nothing, and a block larger than the limit is not kept."""
    none, little = BlockCache(tmp_path / "none", 0), BlockCache(tmp_path / "little", ROOM - 1)
    for cache in (none, little):
        cache.put(name(1), block(1))
        assert whole(cache, 1) is None
        assert files(tmp_path) == []


def test_those_unused_for_longest_go_first(tmp_path: Path) -> None:
    """The limit holds after every block; what was read lately stays, what was not goes."""
    cache = BlockCache(tmp_path, 3 * ROOM)
    for number in range(3):
        cache.put(name(number), block(number))
        used(cache, number, 1000 - number)
    assert whole(cache, 0) == block(0)  # read now: no longer the oldest
    cache.put(name(3), block(3))
    assert cache.size_bytes() == 3 * ROOM
    assert [whole(cache, number) is not None for number in range(4)] == [True, False, True, True]
    for number in range(4, 40):
        cache.put(name(number), block(number))
        assert cache.size_bytes() <= 3 * ROOM
        assert whole(cache, number) == block(number)


def test_many_folders_share_the_limit(tmp_path: Path) -> None:
    """A large limit is split among folders, and all of them together stay below it; a smaller limit on the same
    folder bounds what the larger one left, whose blocks count though they lie elsewhere."""
    size = 2**20
    large = BlockCache(tmp_path, 2**27)
    data = block(0, size)
    for number in range(300):
        large.put(name(number), data)
    kept = large.size_bytes()
    assert 2**26 < kept <= 2**27
    assert len(list(tmp_path.iterdir())) == 4
    small = BlockCache(tmp_path, 2**24)
    small.put(name("last"), data)
    assert 2**23 < small.size_bytes() <= 2**24
    assert small.size_bytes() == sum(path.stat().st_size for path in files(tmp_path))
    assert whole(small, "last", size) == data


def test_an_emptied_folder_is_filled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever empties the folder, even under a writer's hands, costs what was in it and nothing else."""
    cache = BlockCache(tmp_path / "c", 10 * ROOM)
    replace = os.replace

    def emptied(*paths: str) -> None:
        shutil.rmtree(tmp_path / "c")
        replace(*paths)

    monkeypatch.setattr(os, "replace", emptied)
    cache.put(name(1), block(1))
    monkeypatch.undo()
    assert whole(cache, 1) is None
    cache.put(name(2), block(2))
    assert whole(cache, 2) == block(2)


@pytest.mark.parametrize("spoil", ["flipped", "head", "cut", "longer", "empty", "another", "link", "folder"])
def test_a_damaged_block_is_absent(tmp_path: Path, spoil: str) -> None:
    """Whatever happened to the file, its bytes are not believed; it is removed, and can be put in again."""
    cache = BlockCache(tmp_path / "c", 10**6)
    cache.put(name(1), block(1))
    (path,) = files(tmp_path)
    content = bytearray(path.read_bytes())
    if spoil == "flipped":
        content[-1] ^= 1
    elif spoil == "head":
        content[50] ^= 1
    elif spoil == "cut":
        del content[-1]
    elif spoil == "longer":
        content += b"x"
    elif spoil == "empty":
        content.clear()
    elif spoil == "another":
        cache.put(name(2), block(2))
        content = bytearray(next(other for other in files(tmp_path) if other != path).read_bytes())
    path.unlink()
    if spoil == "folder":
        path.mkdir()
    elif spoil == "link":
        (tmp_path / "real").write_bytes(content)
        path.symlink_to(tmp_path / "real")
    else:
        path.write_bytes(content)
    assert whole(cache, 1) is None
    if spoil == "folder":
        path.rmdir()
    assert spoil == "link" or not path.exists()
    cache.put(name(1), block(1))
    assert whole(cache, 1) == block(1)
    assert spoil != "link" or (tmp_path / "real").read_bytes() == content


def test_foreign_files_are_left_alone(tmp_path: Path) -> None:
    """What was not made here is neither counted nor removed, wherever it lies below the folder."""
    (tmp_path / "000").mkdir()
    (tmp_path / "zzz").mkdir()
    mine = [tmp_path / "000" / "picture.jpg", tmp_path / "zzz" / name(7), tmp_path / name(8)]
    for path in mine:
        path.write_bytes(b"x" * 5000)
        os.utime(path, (1, 1))
    cache = BlockCache(tmp_path, 2 * ROOM)
    for number in range(10):
        cache.put(name(number), block(number))
    assert cache.size_bytes() == 2 * ROOM
    assert all(path.read_bytes() == b"x" * 5000 for path in mine)


def test_what_a_killed_writer_left_goes(tmp_path: Path) -> None:
    """A half written file counts while it may still grow, and is removed when its writer must be gone."""
    cache = BlockCache(tmp_path, 3 * ROOM)
    cache.put(name(1), block(1))
    left = next(tmp_path.iterdir()) / f"{name(2)}.4711-0badcafe.part"
    left.write_bytes(b"x" * 50)
    assert cache.size_bytes() == ROOM + 50
    os.utime(left, (time.time() - 1000,) * 2)
    for number in range(10, 20):
        cache.put(name(number), block(number))
    assert left.exists(), "it was taken from under its writer's hands"
    assert cache.size_bytes() == 2 * ROOM + 50
    os.utime(left, (time.time() - 4000,) * 2)
    cache.put(name(3), block(3))
    assert not left.exists()
    assert cache.size_bytes() == 3 * ROOM


def test_a_full_disk_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where a block cannot be written, nothing is raised, one line says why, and what is there can still be read."""
    cache = BlockCache(tmp_path, 10**6)
    cache.put(name(1), block(1))

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with caplog.at_level(logging.WARNING):
        for number in range(2, 5):
            cache.put(name(number), block(number))
    monkeypatch.undo()
    assert [record.message for record in caplog.records] == [
        f"{tmp_path}: No space left on device; reading goes on without keeping more blocks there"
    ]
    assert not cache.usable
    cache.put(name(5), block(5))
    assert whole(cache, 5) is None
    assert whole(cache, 1) == block(1)
    assert len(files(tmp_path)) == 1


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file in the place of the folder costs the cache, not the reading."""
    (tmp_path / "c").write_bytes(b"")
    cache = BlockCache(tmp_path / "c", 10**6)
    cache.put(name(1), block(1))
    assert whole(cache, 1) is None
    assert len(caplog.records) == 1
    assert not cache.usable


def _work(folder: str, limit: int, seed: int) -> None:
    """A process that reads and writes blocks of a small folder as fast as it can; fails at a wrong byte."""
    cache, random_ = BlockCache(Path(folder), limit), random.Random(seed)
    for _ in range(300):
        mark = random_.randrange(30)
        found = whole(cache, mark)
        assert found in (None, block(mark))
        if found is None:
            cache.put(name(mark), block(mark))
    assert cache.usable


def test_processes_share_a_folder(tmp_path: Path) -> None:
    """Four processes that evict one another's blocks read right bytes only, and leave the folder within its bound."""
    limit = 10 * ROOM
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_work, args=(str(tmp_path), limit, seed)) for seed in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
    assert [process.exitcode for process in processes] == [0] * 4
    cache = BlockCache(tmp_path, limit)
    assert 0 < cache.size_bytes() <= limit + 4 * ROOM
    cache.put(name("one more"), block("one more"))
    assert cache.size_bytes() <= limit


def test_threads_share_a_cache(tmp_path: Path) -> None:
    """Threads of one process, with one cache among them, read right bytes only."""
    cache, wrong = BlockCache(tmp_path, 8 * ROOM), []

    def work(seed: int) -> None:
        random_ = random.Random(seed)
        for _ in range(200):
            mark = random_.randrange(20)
            found = whole(cache, mark)
            if found is None:
                cache.put(name(mark), block(mark))
            elif found != block(mark):
                wrong.append(mark)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert wrong == []
    assert cache.usable
    assert cache.size_bytes() <= 14 * ROOM


def test_a_kill_leaves_right_blocks_only(tmp_path: Path) -> None:
    """A writer that is killed at any moment leaves blocks that are whole or absent, and no trace that stays."""
    script = """
        import sys, pathlib
        from tests.adapters.test_cache import block, name
        from g3m.adapters.cache import BlockCache
        cache = BlockCache(pathlib.Path(sys.argv[1]), 10**9)
        blocks = [(name(n), block(n, 300_000)) for n in range(40)]
        print("ready", flush=True)
        while True:
            for one in blocks:
                cache.put(*one)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == b"ready\n"
        end_s = time.monotonic() + 20
        while len(files(tmp_path)) < 10:
            assert time.monotonic() < end_s
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=10)
    cache, found = BlockCache(tmp_path, 10**9), 0
    for number in range(40):
        data = whole(cache, number, 300_000)
        assert data in (None, block(number, 300_000))
        found += data is not None
    assert found >= 9
    for path in files(tmp_path):
        os.utime(path, (time.time() - 4000,) * 2)
    cache.size_bytes()
    assert [path for path in files(tmp_path) if path.suffix == ".part"] == []
