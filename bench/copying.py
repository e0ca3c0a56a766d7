"""How bytes get from a zip's stored members into shards: through the program, or by the kernel alone.

    python bench/copying.py [--images 5000] [--times 5] [--folder DIR]

read + write       pread of the member, large writes of everything
copy_file_range    the kernel copies the picture; headers are written beside it
sendfile           the same with the older call
mmap + write       the archive mapped, writes from the mapping

Each with nothing checked, with every crc32 checked, and with the shard's sha256 as well, for which the
kernel's ways have to read the picture into the program, too. Members are taken in the shards' order, then
in the archive's. One thread, warm cache, one file, synced at the end; the digest is on a thread of its own.
"""

from __future__ import annotations

import argparse
import hashlib
import mmap
import os
import queue
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from isal import isal_zlib
from machine import describe, empty, middle, run

from g3m.adapters.members import MemberReader
from g3m.adapters.zip import list_zip
from g3m.core.members import Member
from g3m.core.shard import padding, ustar_header

WRITE_BYTES = 2**20
Copy = Callable[["Job"], None]


class Job:
    """One run: an archive, its members in some order, a new file, and what is checked."""

    def __init__(self, archive: Path, members: list[tuple[Member, int]], target: Path, check: str) -> None:
        self.source = os.open(archive, os.O_RDONLY)
        self.target = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        self.members = members
        self.crc, self.sha = check != "nothing", check == "crc32 and sha256"
        self.digest = hashlib.sha256()
        self.waiting: queue.Queue[list[bytes | memoryview] | None] = queue.Queue(8)
        self.thread = threading.Thread(target=self._hash)
        self.thread.start()

    def _hash(self) -> None:
        while (pieces := self.waiting.get()) is not None:
            for piece in pieces:
                self.digest.update(piece)

    def check(self, member: Member, data: bytes | memoryview) -> None:
        if self.crc and isal_zlib.crc32(data) != member.crc32:
            raise RuntimeError(member.name)

    def follow(self, pieces: list[bytes | memoryview]) -> None:
        if self.sha:
            self.waiting.put(pieces)

    def end(self) -> None:
        self.waiting.put(None)
        self.thread.join()
        os.fsync(self.target)
        os.close(self.target)
        os.close(self.source)


def read_write(job: Job) -> None:
    """What g3m does."""
    pieces: list[bytes | memoryview] = []
    size = 0
    for member, offset in job.members:
        data = os.pread(job.source, member.size_bytes, offset)
        job.check(member, data)
        pieces += (ustar_header(member.name, member.size_bytes), data, padding(member.size_bytes))
        size += member.size_bytes
        if size >= WRITE_BYTES:
            _write(job, pieces)
            size = 0
    _write(job, pieces)


def _write(job: Job, pieces: list[bytes | memoryview]) -> None:
    whole = b"".join(pieces)
    pieces.clear()
    if os.write(job.target, whole) != len(whole):
        raise RuntimeError("short write")
    job.follow([whole])


def mapped(job: Job) -> None:
    """From a mapping: page faults take the place of reading."""
    pieces: list[bytes | memoryview] = []
    with mmap.mmap(job.source, 0, prot=mmap.PROT_READ) as whole, memoryview(whole) as view:
        size = 0
        for member, offset in job.members:
            data = view[offset : offset + member.size_bytes]
            job.check(member, data)
            pieces += (ustar_header(member.name, member.size_bytes), data, padding(member.size_bytes))
            size += member.size_bytes
            if size >= WRITE_BYTES:
                _write(job, pieces)
                size = 0
        _write(job, pieces)
        del data


def by_kernel(call: str) -> Copy:
    """The kernel copies what is stored; only a check reads it."""

    def copy(job: Job) -> None:
        position = 0
        for member, offset in job.members:
            between = ustar_header(member.name, member.size_bytes)
            if job.crc:
                data = os.pread(job.source, member.size_bytes, offset)
                job.check(member, data)
                job.follow([between, data, padding(member.size_bytes)])
            position += os.pwrite(job.target, between, position)
            os.lseek(job.target, position, os.SEEK_SET)
            done = 0
            while done < member.size_bytes:
                left = member.size_bytes - done
                if call == "sendfile":
                    done += os.sendfile(job.target, job.source, offset + done, left)
                else:
                    done += os.copy_file_range(job.source, job.target, left, offset + done)
            position += done
            position += os.pwrite(job.target, padding(member.size_bytes), position)

    return copy


WAYS: dict[str, Copy] = {
    "read + write": read_write,
    "copy_file_range": by_kernel("copy_file_range"),
    "sendfile": by_kernel("sendfile"),
    "mmap + write": mapped,
}
CHECKS = ("nothing", "crc32", "crc32 and sha256")


def orders(archive: Path) -> Iterator[tuple[str, list[tuple[Member, int]]]]:
    """The members with the place of their bytes, as the shards want them and as they lie."""
    with MemberReader(archive) as reader:
        lie = [(item, reader.data_offset(item)) for item in list_zip(archive) if isinstance(item, Member)]
    yield "shards", sorted(lie, key=lambda item: item[0].name)
    yield "archive", lie


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="g3m-bench-") as temporary:
        folder = Path(temporary)
        here = Path(__file__).parent
        run([sys.executable, str(here / "pack_sources.py"), "zip", str(folder), str(options.images)])
        archive = folder / "shuffled" / "val2017.zip"
        print(f"{options.images} members, {archive.stat().st_size / 1e6:.0f} MB, median of {options.times}")
        print(describe(folder))
        print("\n| way | order | checked | wall s | of it fsync | CPU s |\n|---|---|---|--:|--:|--:|")
        cases = [(order, check, way) for order in orders(archive) for check in CHECKS for way in WAYS]
        found: dict[tuple[str, str, str], list[tuple[float, float, float]]] = {}
        for _ in range(options.times):
            for (order, members), check, way in cases:
                empty(folder / "out")
                os.sync()
                key = (way, order, check)
                found.setdefault(key, []).append(timed(way, Job(archive, members, folder / "out/a", check)))
        for (way, order, check), runs in found.items():
            wall, sync, cpu = (middle([each[place] for each in runs]) for place in range(3))
            print(f"| {way} | {order} | {check} | {wall:.2f} | {sync:.2f} | {cpu:.2f} |")


def timed(way: str, job: Job) -> tuple[float, float, float]:
    """Seconds of wall, of the sync at the end, and of processor time."""
    started_s, cpu_s = time.perf_counter(), time.process_time()
    WAYS[way](job)
    copied_s = time.perf_counter()
    job.end()
    end_s = time.perf_counter()
    return end_s - started_s, end_s - copied_s, time.process_time() - cpu_s


if __name__ == "__main__":
    main()
