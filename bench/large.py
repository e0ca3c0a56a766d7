"""A zip of train2017's size: memory over time, kills, and directories of millions of members.

    python bench/large.py [--images 118287] [--kills 0.05 0.3 0.6 0.95] [--listed 118287 2500000]
                          [--folder DIR]

The zip holds JPEGs of about 140 kB, stored, in another order than the shards want; it is there and verified,
as after a download. If the disk has no room for it and its shards, a tenth of the images is taken, and the
program says so.

list      how long it takes to list a directory of many members, and the memory for it, beside zipfile
run       `g3m get` from start to end, its memory looked at five times a second
kill      the same, killed (kill -9) at a part of the first run's time, then run again to the end: how many
          shards were whole, what was half made, and how many bytes more than in the first run both runs
          wrote. The shards must be the same
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from machine import describe, empty, run

HERE = Path(__file__).parent
PYTHON = sys.executable
IMAGE_BYTES = 141_000
SPARE_BYTES = 8 * 10**9
LOOK_S = 0.2
LIST = """
import json, resource, sys, time
from pathlib import Path
start_s, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
if sys.argv[2] == "zipfile":
    import zipfile
    with zipfile.ZipFile(sys.argv[1]) as archive:
        count = len(archive.infolist())
else:
    from g3m.adapters.zip import list_zip
    start_s = time.perf_counter()
    count = sum(1 for _ in list_zip(Path(sys.argv[1])))
taken_s = time.perf_counter() - start_s
print(json.dumps([count, taken_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before]))
"""


@dataclass(slots=True)
class Watched:
    """A run that was watched: its time, what it wrote, and its memory at each look."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    written_bytes: int = 0
    memory: list[tuple[float, int]] = field(default_factory=list)


def watch(root: Path, recipe: Path, kill_after_s: float | None = None) -> Watched:
    """Run `g3m get`; with `kill_after_s` only until then."""
    found = Watched()
    started_s = time.perf_counter()
    command = [PYTHON, "-m", "g3m", "get", str(recipe), "--root", str(root), "-q", "-y"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    killed = False
    while not os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG):
        passed_s = time.perf_counter() - started_s
        if not killed and kill_after_s is not None and passed_s >= kill_after_s:
            process.send_signal(signal.SIGKILL)
            killed = True
        found.memory.append((passed_s, _memory(process.pid)))
        time.sleep(LOOK_S if kill_after_s is None else 0.01)
    found.wall_s = time.perf_counter() - started_s
    lines = Path(f"/proc/{process.pid}/io").read_text(encoding="ascii").splitlines()
    found.written_bytes = int(dict(line.split(": ") for line in lines)["wchar"])
    errors = process.stderr.read().decode() if process.stderr else ""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    found.cpu_s = usage.ru_utime + usage.ru_stime
    if process.stderr:
        process.stderr.close()
    if process.returncode not in ((0,) if kill_after_s is None else (0, -signal.SIGKILL)):
        raise RuntimeError(f"exit {process.returncode}\n{errors}")
    return found


def _memory(pid: int) -> int:
    """Memory of a process that is its own, without files it maps."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("RssAnon"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def place(source: Path, root: Path) -> None:
    """An empty root with the verified archive in it."""
    empty(root)
    run([PYTHON, str(HERE / "pack_sources.py"), "link", str(source), str(root)])
    os.sync()


def sums(root: Path) -> str:
    """The digests of the shards."""
    return (root / "bench" / "SHA256SUMS").read_text(encoding="ascii")


def half_made(root: Path) -> tuple[int, list[int]]:
    """How many shards are whole, and the sizes of those that are not."""
    whole = len(list(root.glob(".g3m/receipts/bench/*.tar.json")))
    return whole, [path.stat().st_size for path in root.glob(".g3m/parts/*.making")]


def show_run(first: Watched, root: Path) -> None:
    """Time and memory of the whole run."""
    shards = sorted((root / "bench").glob("*.tar"))
    size = sum(path.stat().st_size for path in shards)
    speed = size / 1e6 / first.wall_s
    print(f"\n{len(shards)} shards, {size / 1e9:.1f} GB, in {first.wall_s:.1f} s: {speed:.0f} MB/s")
    print(f"{first.cpu_s:.1f} s of processor time")
    print("\n| part of the time | " + " | ".join(f"{tenth} %" for tenth in range(5, 101, 10)) + " | most |")
    print("|---|" + "--:|" * 11)
    looks = [size for _, size in first.memory]
    at = [looks[min(len(looks) * tenth // 100, len(looks) - 1)] for tenth in range(5, 101, 10)]
    print(
        f"| memory MB | {' | '.join(f'{size / 1e6:.0f}' for size in at)} | {max(looks) / 1e6:.0f} |",
        flush=True,
    )


def show_kills(source: Path, root: Path, first: Watched, parts: Sequence[float]) -> None:
    """One row for each kill."""
    expected = sums(root)
    print("\n| killed after s | shards whole | half made | MB of them | then s | MB again | same shards |")
    print("|--:|--:|--:|--:|--:|--:|---|")
    for part in parts:
        place(source, root)
        killed = watch(root, source / "bench.toml", part * first.wall_s)
        whole, making = half_made(root)
        again = watch(root, source / "bench.toml")
        more = killed.written_bytes + again.written_bytes - first.written_bytes
        same = "yes" if sums(root) == expected else "NO"
        print(
            f"| {killed.wall_s:.1f} | {whole} | {len(making)} | {sum(making) / 1e6:.0f} | {again.wall_s:.1f} "
            f"| {more / 1e6:.0f} | {same} |",
            flush=True,
        )


def make_directory(path: Path, count: int) -> None:
    """A zip of which there is only the directory; where the members would be is a hole."""
    name_bytes, size = 29, 100
    extent = 30 + name_bytes + size
    with open(path, "wb") as file:
        start = file.seek(count * extent)
        for number in range(count):
            offset = number * extent
            extra = b"" if offset < 0xFFFFFFFF else struct.pack("<2HQ", 1, 8, offset)
            name = b"images/%05d/%012d.jpg" % (number // 1000, number)
            name = name[-name_bytes:].rjust(name_bytes, b"x")
            head = (b"PK\1\2", 20, 3, 20, *bytes(5), number, size, size, name_bytes, len(extra), *bytes(3))
            file.write(
                struct.pack("<4s4B4HL2L5H2L", *head, 0o100644 << 16, min(offset, 0xFFFFFFFF)) + name + extra
            )
        end = file.tell()
        file.write(struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, end - start, start))
        file.write(struct.pack("<4sLQL", b"PK\6\7", 0, end, 1))
        file.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, *[0xFFFF] * 2, *[0xFFFFFFFF] * 2, 0))


def show_lists(folder: Path, counts: Sequence[int]) -> None:
    """One row for each directory and reader."""
    print("\n| members | directory MB | reader | s | memory MB |\n|--:|--:|---|--:|--:|")
    for count in counts:
        path = folder / "many.zip"
        make_directory(path, count)
        size = path.stat().st_size - count * 159
        for reader in ("g3m", "zipfile"):
            text = subprocess.run(
                [PYTHON, "-c", LIST, str(path), reader], check=True, capture_output=True, text=True
            ).stdout
            listed, taken_s, kilobytes = json.loads(text)
            if listed != count:
                raise RuntimeError(f"{reader}: {listed} members")
            print(
                f"| {count} | {size / 1e6:.0f} | {reader} | {taken_s:.2f} | {kilobytes / 1e3:.0f} |",
                flush=True,
            )
        path.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=118_287)
    parser.add_argument("--kills", type=float, nargs="*", default=[0.05, 0.3, 0.6, 0.95])
    parser.add_argument("--listed", type=int, nargs="*", default=[118_287, 2_500_000])
    parser.add_argument("--folder", type=Path, default=None, help="where to work (default: temporary files)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="g3m-bench-") as temporary:
        folder = Path(temporary)
        images = options.images
        if shutil.disk_usage(folder).free < 2 * images * IMAGE_BYTES + SPARE_BYTES:
            images //= 10
            print(f"the disk has no room for {options.images} images twice: a tenth of them")
        print(describe(folder), flush=True)
        if options.listed:
            show_lists(folder, options.listed)
        if images:
            source, root = folder / "shuffled", folder / "root"
            run([PYTHON, str(HERE / "pack_sources.py"), "zip-shuffled", str(folder), str(images)])
            size = (source / "val2017.zip").stat().st_size
            print(
                f"\n{images} images, a zip of {size / 1e9:.1f} GB, load {os.getloadavg()[0]:.1f}", flush=True
            )
            place(source, root)
            first = watch(root, source / "bench.toml")
            show_run(first, root)
            show_kills(source, root, first, options.kills)


if __name__ == "__main__":
    main()
