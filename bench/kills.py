"""kill -9 twice at random moments, then finish: how many bytes did the server send for one file?

    python bench/kills.py [--quick | --full] [--only g3m ...] [--repetitions N] [--at-once N] [--folder DIR]

The file has 256 MiB. g3m, aria2 and aws get 16 connections of 2 MB/s; curl, wget and hf, which use one, get
one of 32 MB/s. A transfer takes about 8.4 s; the two moments are drawn evenly over that time, counted over
both lives of the process, start-up included. What has left the server counts, also what a dead process never
read. Each repetition has a server and a folder of its own; some run at once, which a slow line allows.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from contestants import (
    Call,
    Job,
    Process,
    aria2,
    available,
    aws,
    curl,
    g3m,
    hf,
    leave_on_signal,
    versions,
    wget,
)
from files import File, make_shard, sha256_of
from link import Source, serving
from machine import describe, empty

MB = 1_000_000
MEBIBYTES = 256
LINE_BYTES_PER_S = 32 * MB
START_S = 0.3
LIMIT_S = 90
LIMIT_RATIO = 1.03


@dataclass(frozen=True, slots=True)
class Entry:
    """A contestant, how many connections it uses, and how often it is tried: quick, full."""

    name: str
    call: Callable[[Job], Call]
    connections: int
    quick: int
    full: int


ENTRIES = (
    Entry("g3m", g3m, 16, 6, 100),
    Entry("aria2c -c", aria2, 16, 1, 12),
    Entry("aria2c -c --auto-save-interval=1", lambda job: aria2(job, "--auto-save-interval=1"), 16, 1, 12),
    Entry("curl -C -", lambda job: curl(job, "-C", "-"), 1, 1, 12),
    Entry("wget -c", lambda job: wget(job, "-c"), 1, 1, 12),
    Entry("hf download", hf, 1, 1, 12),
    Entry("aws s3 cp", aws, 16, 1, 12),
)


@dataclass(frozen=True, slots=True)
class End:
    """One repetition: bytes sent by byte of the file, kills that met a living process, if it is right."""

    ratio: float
    kills: int
    right: bool
    wall_s: float
    words: str


def repeat_once(entry: Entry, file: File, folder: Path, seed: int) -> End:
    """Start, kill, start, kill, start, finish."""
    work = folder / f"{seed}-{entry.connections}-{entry.name.split()[0]}-{time.monotonic_ns()}"
    empty(work)
    numbers = random.Random(f"{entry.name}/{seed}")
    whole_s = START_S + file.size_bytes / LINE_BYTES_PER_S
    moments = sorted(numbers.uniform(0, whole_s) for _ in range(2))
    source = Source("A", str(file.path.parent), rate_bytes_per_s=LINE_BYTES_PER_S / entry.connections)
    started_s, kills = time.monotonic(), 0
    with serving([source], work, seed) as link:
        call = entry.call(Job(file, link.sources, work))
        for life_s in (moments[0], moments[1] - moments[0]):
            took = Process(call, work).wait(life_s, signal.SIGKILL)
            kills += took.code is None
        took = Process(call, work).wait(LIMIT_S)
    right = sha256_of(call.out) == file.sha256
    wall_s = time.monotonic() - started_s
    errors = (work / "errors").read_text(errors="replace") if not right else ""
    said = (work / "said").read_text(errors="replace")[-300:] if not right else ""
    shutil.rmtree(work)
    words = f"exit {took.code} {' '.join((errors + said).split())[-300:]}" if not right else ""
    return End(link.sent_bytes / file.size_bytes, kills, right, wall_s, words)


def print_row(entry: Entry, ends: list[End]) -> None:
    ratios = sorted(end.ratio for end in ends)
    wrong = sum(not end.right for end in ends)
    cells = [entry.name, str(len(ends)), str(sum(end.kills for end in ends)), f"{min(ratios):.3f}"]
    cells += [f"{statistics.median(ratios):.3f}", f"{statistics.mean(ratios):.3f}", f"{max(ratios):.3f}"]
    cells += [str(sum(ratio > LIMIT_RATIO for ratio in ratios))]
    words = "right every time" if not wrong else f"{wrong} wrong or none"
    print("| " + " | ".join([*cells, words]) + " |", flush=True)
    for end in ends:
        if not end.right:
            print(f"<!-- {end.words} -->")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--repetitions", type=int, default=0, help="for each contestant")
    parser.add_argument("--at-once", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None)
    return parser.parse_args()


def main() -> None:
    leave_on_signal()
    options = arguments()
    print("\n".join(versions()))
    print(f"{describe(options.folder or Path(tempfile.gettempdir()))}, load {os.getloadavg()[0]:.1f}")
    print(f"\n## f: kill -9 twice, then finish; {MEBIBYTES} MiB, {LINE_BYTES_PER_S / MB:.0f} MB/s")
    print("\nBytes that the server sent / size of the file.\n")
    print(
        f"| what | repetitions | kills that hit | min | median | mean | max | above {LIMIT_RATIO} | digest |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|--:|---|")
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="g3m-bench-") as temporary:
        folder = Path(temporary)
        file = make_shard(folder / "true" / "file.tar", MEBIBYTES)
        with ThreadPoolExecutor(options.at_once) as pool:
            for entry in ENTRIES:
                if not available(entry.name) or (options.only and entry.name.split()[0] not in options.only):
                    continue
                count = options.repetitions or (entry.full if options.full else entry.quick)
                waiting = [pool.submit(repeat_once, entry, file, folder, seed) for seed in range(count)]
                print_row(entry, [each.result() for each in waiting])


if __name__ == "__main__":
    main()
