"""Many files: small ones near and far, and 600 of 480 MB until the time is over.

    python bench/many.py [--quick | --full] [--case small far big] [--only g3m ...] [--folder DIR]

small   2,000 shards of 20 kB from nginx on loopback (10,000 with --full)
far     a tenth of them over a link of 100 ms
big     600 shards of 480 MB, as many as come in 20 s (300 s with --full): memory over time. The files are
        holes on the server and zeros on the wire; the check of the free disk is switched off, because 288 GB
        need not be there for this; g3m is stopped by SIGINT.

For g3m the recipe, plan, journals, receipts and the stream of events are measured too. It verifies, syncs,
adopts and receipts every file; aria2 verifies in the row that says so; curl verifies nothing; neither syncs.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from contestants import Call, Process, Took, available, environment, leave_on_signal, versions
from files import File, make_small_shards, make_sparse_shards, sha256_of, write_recipe
from link import Source, serving
from machine import describe, empty
from web import nginx

MB = 1_000_000
SMALL_PICTURE_BYTES = 17_000
FAR_S = 0.1
AT_ONCE = 16
UNCHECKED = (
    "import g3m.runners.base as b\nb.check_space = lambda *given: None\n"
    "from g3m.ui.cli import main\nimport sys\nsys.argv[0] = 'g3m'\nmain()"
)


@dataclass(frozen=True, slots=True)
class Job:
    """Files at one source, and an empty folder to work in."""

    files: Sequence[File]
    source: Source
    folder: Path

    @property
    def urls(self) -> list[str]:
        return [self.source.url(file.name) for file in self.files]

    @property
    def root(self) -> Path:
        return self.folder / "root"


@dataclass(slots=True)
class Sizes:
    """What g3m keeps about its files, at most over the run, in bytes."""

    recipe: int = 0
    plan: int = 0
    events: int = 0
    journal: int = 0
    receipts: int = 0
    folder: Path = field(default_factory=Path)

    def watch(self, ended: threading.Event) -> None:
        """Look at the journals of the parts now and then."""
        while not ended.wait(0.5):
            self.journal = max(self.journal, _total(self.folder / ".g3m", "*.journal"))

    def lines(self) -> str:
        told = ("recipe", "plan", "events", "journal", "receipts")
        return ", ".join(f"{name} {getattr(self, name) / 1e6:.2f} MB" for name in told)


def _total(folder: Path, pattern: str) -> int:
    total = 0
    with contextlib.suppress(OSError):
        for path in folder.rglob(pattern):
            with contextlib.suppress(OSError):
                total += path.stat().st_size
    return total


def g3m(job: Job, *, checked: bool = True) -> Call:
    recipe = write_recipe(job.folder / "bench.toml", job.files, [[url] for url in job.urls])
    start = ["-m", "g3m"] if checked else ["-c", UNCHECKED]
    command = [sys.executable, *start, "get", str(recipe), "--root", str(job.root), "-y", "--json"]
    return Call(command, job.root / "bench")


def aria2(job: Job, *, checked: bool = False) -> Call:
    out = job.folder / "out"
    blocks = [
        f"{url}\n  dir={out}\n  out={file.name}\n" + f"  checksum=sha-256={file.sha256}\n" * checked
        for file, url in zip(job.files, job.urls, strict=True)
    ]
    (job.folder / "list").write_text("".join(blocks), encoding="utf-8")
    command = ["aria2c", "--no-conf", "--quiet", f"-j{AT_ONCE}", f"-x{AT_ONCE}", "--file-allocation=none"]
    return Call([*command, "--max-tries=0", "--timeout=10", "-i", str(job.folder / "list")], out)


def curl(job: Job) -> Call:
    out = job.folder / "out"
    out.mkdir()
    blocks = [
        f'url = "{url}"\noutput = "{out / file.name}"\n'
        for file, url in zip(job.files, job.urls, strict=True)
    ]
    (job.folder / "list").write_text("".join(blocks), encoding="utf-8")
    command = ["curl", "-q", "-sS", "--fail", "--parallel", "--parallel-max", str(AT_ONCE)]
    return Call([*command, "-K", str(job.folder / "list")], out)


CONTESTANTS: dict[str, Callable[[Job], Call]] = {
    "g3m": g3m,
    "aria2c -i -j16": aria2,
    "aria2c -i -j16, checksums": lambda job: aria2(job, checked=True),
    "curl --parallel-max 16": curl,
}


def one(name: str, job: Job, limit_s: float) -> tuple[Took, int, Sizes]:
    """Run one contestant; how many files are right afterwards, and what g3m kept."""
    call = CONTESTANTS[name](job)
    os.sync()
    sizes, ended = Sizes(folder=job.root), threading.Event()
    watch = threading.Thread(target=sizes.watch, args=(ended,))
    watch.start()
    took = Process(call, job.folder).wait(limit_s)
    ended.set()
    watch.join()
    right = sum(sha256_of(call.out / file.name) == file.sha256 for file in job.files)
    if name == "g3m":
        measure(job, sizes)
    return took, right, sizes


def measure(job: Job, sizes: Sizes) -> None:
    """Sizes that are known after the run."""
    recipe = job.folder / "bench.toml"
    command = [sys.executable, "-m", "g3m", "plan", str(recipe), "--root", str(job.root), "--json"]
    told = subprocess.run(command, capture_output=True, env=environment(), check=False)
    sizes.recipe, sizes.plan = recipe.stat().st_size, len(told.stdout)
    sizes.events, sizes.receipts = (job.folder / "said").stat().st_size, _total(job.root / ".g3m", "*.json")


def small(title: str, files: Sequence[File], source: Source, folder: Path, only: Sequence[str]) -> None:
    """One table of small files."""
    total = sum(file.size_bytes for file in files)
    print(f"\n## g: {title}, {total / MB:.0f} MB\n")
    print("| what | wall s | files/s | CPU s | peak MB | right |\n|---|--:|--:|--:|--:|--:|", flush=True)
    kept = ""
    for name in CONTESTANTS:
        if not available(name) or (only and name.split()[0] not in only):
            continue
        empty(folder / "work")
        took, right, sizes = one(name, Job(files, source, folder / "work"), 900)
        cells = [name, f"{took.wall_s:.2f}", f"{len(files) / took.wall_s:.0f}", f"{took.cpu_s:.2f}"]
        cells += [f"{took.peak_bytes / MB:.0f}", f"{right} of {len(files)}"]
        print("| " + " | ".join(cells) + " |", flush=True)
        if name == "g3m":
            kept = f"\ng3m keeps: {sizes.lines()}.\nMemory over time: {series(took)}."
            if right < len(files):
                kept += "\n<!-- " + (folder / "work" / "errors").read_text(errors="replace")[-600:] + " -->"
    shutil.rmtree(folder / "work")
    print(kept)


def series(took: Took) -> str:
    """Resident memory at tenths of the run."""
    points = [took.memory[min(len(took.memory) - 1, len(took.memory) * n // 10)] for n in range(1, 11)]
    return ", ".join(f"{moment:.0f} s {size / MB:.0f} MB" for moment, size in points) if took.memory else "-"


def big(folder: Path, seconds: float) -> None:
    """600 large files, for a time."""
    files = make_sparse_shards(folder / "holes", 600, 457)
    print(
        f"\n## g: 600 files of {files[0].size_bytes / MB:.0f} MB, stopped after {seconds:.0f} s\n", flush=True
    )
    with nginx(folder / "holes", folder / "nginx") as web:
        empty(folder / "work")
        job = Job(files, web.plain, folder / "work")
        call = g3m(job, checked=False)
        sizes, ended = Sizes(folder=job.root), threading.Event()
        watch = threading.Thread(target=sizes.watch, args=(ended,))
        watch.start()
        took = Process(call, job.folder).wait(seconds, signal.SIGINT)
        ended.set()
        watch.join()
        measure(job, sizes)
    done = [file for file in files if (call.out / file.name).exists()]
    wrong = sum(sha256_of(call.out / file.name) != file.sha256 for file in done)
    speed = sum(file.size_bytes for file in done) / MB / took.wall_s
    print(
        f"{len(done)} files whole, {wrong} of them wrong, at least {speed:.0f} MB/s; {took.cpu_s:.1f} CPU s;"
    )
    print(f"ended {took.wall_s - seconds:.1f} s after the signal. Peak {took.peak_bytes / MB:.0f} MB.")
    print(f"g3m keeps: {sizes.lines()}.\nMemory over time: {series(took)}.")
    errors = (job.folder / "errors").read_text(errors="replace")[-400:]
    if not done:
        print(f"<!-- {errors} -->")
    shutil.rmtree(folder / "work")
    shutil.rmtree(folder / "holes")


def main() -> None:
    leave_on_signal()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--case", nargs="*", default=["small", "far", "big"])
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--count", type=int, default=0, help="how many small files")
    parser.add_argument("--seconds", type=float, default=0, help="for big")
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    count = options.count or (10_000 if options.full else 2_000)
    print("\n".join(versions()))
    print(f"{describe(options.folder or Path(tempfile.gettempdir()))}, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="g3m-bench-") as temporary:
        folder = Path(temporary)
        files = make_small_shards(folder / "small", count, SMALL_PICTURE_BYTES)
        if "small" in options.case:
            with nginx(folder / "small", folder / "nginx") as web:
                small(f"{len(files)} small files, loopback", files, web.plain, folder, options.only)
        if "far" in options.case:
            few = files[: len(files) // 10]
            with serving([Source("far", str(folder / "small"), round_trip_s=FAR_S)], folder) as link:
                small(f"{len(few)} small files, 100 ms away", few, link.sources[0], folder, options.only)
        shutil.rmtree(folder / "small")
        if "big" in options.case:
            big(folder, options.seconds or (300 if options.full else 20))


if __name__ == "__main__":
    main()
