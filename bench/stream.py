"""`g3m get --stream` over a line of 20 MB/s, beside the download alone and `g3m get` without it.

    python bench/stream.py [--case zip gzip many] [--rate 20] [--turns 1] [--only NAME ...] [--kill N]
                           [--share 1] [--folder DIR [--keep]]

One loopback server (bench/line.py) gives the rate to all connections together and counts what it sent.

zip     7,200 JPEGs (about 1 GB) stored in a zip of COCO's form, in another order than the shards want
gzip    1,700 JPEGs (about 500 MB) in a tar.gz of Open Images' form: they make one shard
many    30,000 JPEGs of a twentieth of that size in the same form: about 11 shards

    curl                       the files of the recipe, nothing checked or synced: the download alone
    g3m, fetch step alone      the same files fetched, verified and synced by g3m, and not packed
    g3m                        `g3m get`: the archive is fetched whole, then packed, then deleted
    g3m --stream               packed while it comes in

Wall time runs from the start of the program to its end. The disk is looked at every 50 ms: the blocks of all
files below the root, and of the archive alone, which is what streaming is to keep small. `shards` are the
published ones. Memory is the sum over the program's processes.

`--kill N` kills `g3m get --stream` (kill -9) N times at moments drawn evenly over the time of a download,
lets it finish, compares the shards with those of `g3m get`, and tells the bytes that the server sent beyond
the size of the files. `--share` takes a part of each case's pictures, for a try.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import link
from contestants import BENCH, Call, Process, Took, leave_on_signal, versions
from files import sha256_of
from link import Source, serving
from machine import describe, empty, middle

MB = 1_000_000
LOOK_S = 0.05
LIMIT_S = 900
PYTHON = sys.executable
CURL, STEP, WHOLE, STREAM = "curl", "g3m, fetch step alone", "g3m", "g3m --stream"
TIME_GOAL, DISK_GOAL = 1.1, 1.15
SMALLER = """
import sys
from pathlib import Path
import pack_sources
drawn = pack_sources.pictures
pack_sources.pictures = lambda width, height: drawn(width // 5, height // 5)
pack_sources.TRACE_POINTS //= 20
pack_sources.make_tar_gz(Path(sys.argv[1]), int(sys.argv[2]))
"""


@dataclass(frozen=True, slots=True)
class Case:
    """One archive: how it is drawn, and where it then lies below the folder."""

    name: str
    images: int
    program: tuple[str, ...]
    place: str
    archive: str
    captions: str

    def sizes(self, folder: Path) -> tuple[int, int]:
        """Bytes of the archive and of the captions."""
        served = folder / self.place
        return (served / self.archive).stat().st_size, (served / self.captions).stat().st_size


_SOURCES = str(BENCH / "pack_sources.py")
_OPEN = ("gzip", "validation.tar.gz", "narratives.jsonl")
CASES = {
    "zip": Case("zip", 7200, (_SOURCES, "zip-shuffled"), "shuffled", "val2017.zip", "captions.json"),
    "gzip": Case("gzip", 1700, (_SOURCES, "gzip"), *_OPEN),
    "many": Case("many", 30_000, ("-c", SMALLER), *_OPEN),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run: what it took, the most that lay on the disk, and the shards it left."""

    took: Took
    disk_bytes: int
    archive_bytes: int
    shard_bytes: int
    shards: int
    sent_bytes: int
    digest: str
    said: str


class Disk:
    """Looks at a folder until it is told to stop; remembers the most that was there."""

    def __init__(self, root: Path, archive: str) -> None:
        self._root, self._archive = root, archive
        self.most_bytes = self.most_archive_bytes = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look for the last time."""
        self._done.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._done.wait(LOOK_S):
            self._look()
        self._look()

    def _look(self) -> None:
        total = archive = 0
        folders = [str(self._root)]
        while folders:
            try:
                with os.scandir(folders.pop()) as found:
                    for entry in found:
                        blocks = entry.stat(follow_symlinks=False).st_blocks * 512
                        total += blocks
                        if entry.name.removesuffix(".part").removesuffix(".whole").endswith(self._archive):
                            archive += blocks
                        if entry.is_dir(follow_symlinks=False):
                            folders.append(entry.path)
            except OSError:  # gone meanwhile
                continue
        self.most_bytes = max(self.most_bytes, total)
        self.most_archive_bytes = max(self.most_archive_bytes, archive)


def draw(case: Case, folder: Path, share: float) -> Case:
    """The archive, unless it lies there from another run; the case as it was drawn."""
    own = folder / case.name
    if not (own / case.place / "bench.toml").exists():
        own.mkdir(parents=True, exist_ok=True)
        images = str(max(1, int(case.images * share)))
        # In a process of its own: a child's peak memory counts what its parent held before.
        subprocess.run([PYTHON, *case.program, str(own), images], check=True, cwd=BENCH)
    return case


def command(name: str, case: Case, served: Path, source: Source, work: Path) -> Call:
    """How a contestant is called; its root is `work/root`."""
    root, text = work / "root", (served / "bench.toml").read_text(encoding="utf-8")
    recipe = work / "bench.toml"
    recipe.write_text(text.replace("https://example.invalid/", source.url("")), encoding="utf-8")
    if name == CURL:
        wanted = [word for file in (case.captions, case.archive) for word in ("-O", source.url(file))]
        return Call(["curl", "-q", "-sS", "--fail", "--output-dir", str(root), *wanted], root / case.archive)
    if name == STEP:
        out = work / "step.out"
        return Call([PYTHON, str(BENCH / "step.py"), str(recipe), str(root), str(out)], out)
    flags = ["--stream"] if name == STREAM else []
    return Call([PYTHON, "-m", "g3m", "get", str(recipe), "--root", str(root), "-y", "--json", *flags], root)


def attempt(name: str, case: Case, folder: Path, rate: float, kills: Sequence[float] = ()) -> Outcome:
    """One run with an empty root and a server of its own; killed before, after so many seconds each."""
    served, work = folder / case.name / case.place, folder / "work"
    empty(work)
    empty(work / "root")
    os.sync()
    with serving([Source("line", str(served), rate_bytes_per_s=rate * MB)], folder) as origin:
        call = command(name, case, served, origin.sources[0], work)
        disk = Disk(work / "root", case.archive)
        for life_s in kills:
            Process(call, work).wait(life_s, signal.SIGKILL)
        took = Process(call, work).wait(LIMIT_S)
        disk.stop()
    shards = sorted((work / "root").glob("bench/**/*.tar"))
    size_bytes = sum(path.stat().st_blocks * 512 for path in shards)
    digest = hashlib.sha256("".join(map(sha256_of, shards)).encode()).hexdigest()
    said = (work / "said").read_text(errors="replace") + (work / "errors").read_text(errors="replace")
    most = (disk.most_bytes, disk.most_archive_bytes)
    return Outcome(took, *most, size_bytes, len(shards), origin.sent_bytes, digest, said)


def compare(case: Case, folder: Path, options: argparse.Namespace) -> None:
    """Run all contestants in turns, and print their table."""
    names = [n for n in (CURL, STEP, WHOLE, STREAM) if n == CURL or not options.only or n in options.only]
    found: dict[str, list[Outcome]] = {name: [] for name in names}
    for _ in range(options.turns):
        for name in names:
            outcome = attempt(name, case, folder, options.rate)
            found[name].append(outcome)
            if outcome.took.code != 0:
                print(f"{name}: exit {outcome.took.code}\n{outcome.said[-3000:]}", file=sys.stderr)
    shards = max((each for several in found.values() for each in several), key=lambda each: each.shards)
    archive, captions = case.sizes(folder / case.name)
    print(f"\n## {case.name}: {archive / MB:.0f} MB and {captions / MB:.0f} MB of captions", end=", ")
    print(f"{shards.shards} shards of {shards.shard_bytes / MB:.0f} MB in all\n")
    print("| what | turns | wall s | times the download | peak disk MB | peak disk / shards ", end="")
    print("| archive's peak MB | peak memory MB | CPU s | sent / size | end |")
    print("|---|" + "--:|" * 9 + "---|")
    alone_s = middle([each.took.wall_s for each in found[CURL]])
    for name, several in found.items():
        print(_row(name, several, alone_s, (shards.shard_bytes, archive + captions)), flush=True)
    _judge(case, found, alone_s, shards.shard_bytes)


def _row(name: str, several: Sequence[Outcome], alone_s: float, sizes: tuple[int, int]) -> str:
    shard_bytes, asked_bytes = sizes
    wall_s = middle([each.took.wall_s for each in several])
    disk = max(each.disk_bytes for each in several)
    cells = [name, str(len(several)), f"{wall_s:.1f}", f"{wall_s / alone_s:.3f}", f"{disk / MB:.0f}"]
    cells += [f"{disk / shard_bytes:.3f}" if shard_bytes and name in (WHOLE, STREAM) else "-"]
    cells += [f"{max(each.archive_bytes for each in several) / MB:.0f}"]
    cells += [f"{max(each.took.peak_bytes for each in several) / MB:.0f}"]
    cells += [f"{middle([each.took.cpu_s for each in several]):.1f}"]
    cells += [f"{middle([each.sent_bytes for each in several]) / asked_bytes:.3f}"]
    return "| " + " | ".join([*cells, _end(several)]) + " |"


def _end(several: Iterable[Outcome]) -> str:
    codes = {each.took.code for each in several}
    fell_back = any("cannot be streamed" in each.said for each in several)
    words = "well" if codes == {0} else f"exit {', '.join(map(str, codes))}"
    return words + ", not streamed" * fell_back


def _judge(case: Case, found: dict[str, list[Outcome]], alone_s: float, shard_bytes: int) -> None:
    """Say whether the shards are the same, and where the goals are."""
    packed = [each for name in (WHOLE, STREAM) for each in found.get(name, []) if each.took.code == 0]
    if {WHOLE, STREAM} <= found.keys():
        same = len({each.digest for each in packed}) == 1 and bool(packed)
        print(f"\nThe shards of g3m and g3m --stream are {'the same' if same else 'NOT THE SAME'}.")
    if STREAM not in found or not shard_bytes:
        return
    times = middle([each.took.wall_s for each in found[STREAM]]) / alone_s
    disk = max(each.disk_bytes for each in found[STREAM]) / shard_bytes
    for what, value, goal in (("time", times, TIME_GOAL), ("peak disk", disk, DISK_GOAL)):
        word = "reached" if value <= goal else "not reached"
        print(f"{case.name}, --stream, {what}: {value:.3f}, the goal of {goal} is {word}.")


def kill(case: Case, folder: Path, options: argparse.Namespace) -> None:
    """Kill a stream several times, let it finish, and print what it cost."""
    archive, captions = case.sizes(folder / case.name)
    asked_bytes = archive + captions
    whole_s = asked_bytes / (options.rate * MB)
    numbers = random.Random(f"{case.name}/{options.seed}")
    moments = sorted(numbers.uniform(0, whole_s) for _ in range(options.kill))
    lives = [end - start for start, end in zip([0.0, *moments], moments, strict=False)]
    measure = attempt(WHOLE, case, folder, 0)  # no limit: only its shards count
    outcome = attempt(STREAM, case, folder, options.rate, lives)
    extra = outcome.sent_bytes - asked_bytes
    print(f"\n## {case.name}: kill -9 {options.kill} times, after {', '.join(f'{s:.1f}' for s in lives)} s\n")
    print("| what | extra bytes MB | extra / size | for each kill | peak disk / shards | shards | end |")
    print("|---|" + "--:|" * 4 + "---|---|")
    same = outcome.digest == measure.digest and outcome.shards > 0
    cells = [STREAM, f"{extra / MB:.1f}", f"{extra / asked_bytes:.4f}"]
    cells += [f"{extra / asked_bytes / options.kill:.4f}"]
    cells += [f"{outcome.disk_bytes / max(measure.shard_bytes, 1):.3f}"]
    cells += ["the same" if same else "NOT THE SAME", _end([outcome])]
    print("| " + " | ".join(cells) + " |", flush=True)
    if outcome.took.code != 0:
        print(outcome.said[-3000:], file=sys.stderr)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--rate", type=float, default=20, help="MB/s of the line (default: 20; 0: no limit)")
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=[], help="some contestants, beside curl")
    parser.add_argument("--kill", type=int, default=0, metavar="N", help="instead: kill N times")
    parser.add_argument("--seed", type=int, default=1, help="of the moments of the kills")
    parser.add_argument("--share", type=float, default=1.0, help="of the pictures of each case")
    parser.add_argument("--folder", type=Path, default=None, help="where to work (default: temporary files)")
    parser.add_argument("--keep", action="store_true", help="keep the archives in --folder for another run")
    return parser.parse_args()


def main() -> None:
    leave_on_signal()
    link.SERVER = BENCH / "line.py"  # the same protocol, with one rate for all connections
    options = arguments()
    told = [line for line in versions() if line.lower().startswith(("g3m", "curl"))]
    print(f"{', '.join(told)}, {time.strftime('%Y-%m-%d')}")
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="g3m-bench-") as temporary:
        folder = options.folder if options.keep else Path(temporary)
        print(f"{describe(folder)}, load {os.getloadavg()[0]:.1f}; a line of {options.rate:g} MB/s")
        for name in options.case:
            case = draw(CASES[name], folder, options.share)
            (kill if options.kill else compare)(case, folder, options)
            if not options.keep:
                shutil.rmtree(folder / name)
        shutil.rmtree(folder / "work", ignore_errors=True)
        print(f"\nload at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
