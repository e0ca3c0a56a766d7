"""Loading for training: g3m beside other loaders and beside the limits, on processors alone.

    python bench/load.py [--minutes 11] [--times 3] [--images 5000] [--quick] [--cold] [--only NAME ...]

5,000 JPEGs of about 160 kB (COCO's where they are found) in two shards that g3m packed, in the system's
memory. Each measurement is a process of its own; they take turns, first those with two workers, as long as
`--minutes` last, and the medians count. OMP_NUM_THREADS is 1. Batches of 64.

raw        bytes and caption of every sample in the consumer's hands, one epoch
fast       CLIP's 224 pixels, normalised float32, by g3m's fast decoder in every loader
uint8      the same without normalising, g3m only
near       g3m's default: libjpeg-turbo decodes all pixels, g3m only
exact      the same by Pillow, all pixels, as torchvision does it; what most peers' documentation does
own        the peer's own decoder, where it has one: DALI, SPDL (needs the system's FFmpeg)

samples/s  from the first batch in hand on; `with start` from the call on, imports not counted
limit      tarfile alone, or the decoder alone on pictures in memory, with as many threads or processes

A training program has torch and the decoder imported before it makes a loader, so the clock does not count
that. CPU is all processor time from the call to the end, samples that were made ahead in vain included.
Bytes read are those asked of the system: litdata and DALI map their files, which is not counted, and pipes
between processes are. The largest process counts as memory.

The peers live in environments below .cache/bench-load, made at the first call; what has a format of its own
is converted there once. Also: the first batch of 3.65 million samples, bytes read by a rank of 1, 4 and 16,
and what block shuffling reads.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from load_more import bytes_read, first_batch, shuffling
from load_report import Measured, report_goals, report_paths
from machine import describe, run

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent / ".cache" / "bench-load"
TORCH = "torch==2.13.0"
ENVIRONMENTS = {"peers": "load_peers.txt", "streaming": "load_streaming.txt"}
CONVERTED = ("litdata", "streaming", "energon", "dali")
PROBLEM_CHARACTERS = 160

SAME = ("raw", "fast", "exact")
LOADERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "tarfile alone": ("limits", ("raw",)),
    "decoder alone, threads": ("limits", ("fast", "uint8", "near", "exact")),
    "decoder alone, processes": ("limits_processes", ("fast", "exact")),
    "g3m": ("g3m_loader", ("raw", "fast", "uint8", "near", "exact")),
    "g3m, processes": ("g3m_processes", ("raw", "fast", "uint8", "exact")),
    "NXTP's, re-created": ("nxtp", SAME),
    "webdataset": ("webdataset", SAME),
    "datasets, streaming": ("huggingface", SAME),
    "litdata": ("litdata", SAME),
    "mosaicml-streaming": ("streaming", SAME),
    "megatron-energon": ("energon", SAME),
    "SPDL": ("spdl", (*SAME, "own")),
    "DALI": ("dali", ("raw", "own")),
}
TITLES = {
    "raw": "raw: bytes and caption of every sample",
    "fast": "fast: 224 pixels, float32, g3m's decoder in every loader; {options.samples} samples",
    "uint8": "uint8: 224 pixels, levels, g3m's decoder; {options.samples} samples",
    "near": "near: 224 pixels, float32, g3m's default, g3m alone; {options.samples} samples",
    "exact": "exact: 224 pixels, float32, by Pillow as torchvision does it; {options.exact_samples} samples",
    "own": "own: 224 pixels by the peer's own decoder; {options.exact_samples} samples",
}
PATHS = tuple(TITLES)


@dataclass(slots=True)
class Bench:
    """Where things are, and until when rows may begin."""

    data: Path
    options: argparse.Namespace
    ends_s: float
    rows: dict[tuple[str, str, int], Measured] = field(default_factory=dict)


def python_of(loader: str) -> str:
    name = "streaming" if loader == "streaming" else "peers"
    return str(CACHE / name / "bin" / "python")


def environments() -> None:
    """Make what is not there; what cannot be installed leaves its rows out, with the reason."""
    for name, pins in ENVIRONMENTS.items():
        place, done = CACHE / name, CACHE / name / "installed"
        if done.exists() and done.read_text(encoding="utf-8") == (HERE / pins).read_text(encoding="utf-8"):
            continue
        print(f"installing {pins} in {place}", file=sys.stderr)
        shutil.rmtree(place, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        pip = [str(place / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install"]
        # Alone and first: else a package that asks for any torch brings gigabytes of CUDA.
        subprocess.run([*pip, TORCH], check=True)
        subprocess.run([*pip, "--requirement", str(HERE / pins), "--editable", str(HERE.parent)], check=True)
        shutil.copy(HERE / pins, done)


def prepare(bench: Bench) -> dict[str, float]:
    """The shards and the peers' forms of them, if they are not there; seconds that each conversion took."""
    times = bench.data / "conversions.json"
    if times.exists():
        found: dict[str, float] = json.loads(times.read_text(encoding="utf-8"))
        return found
    shutil.rmtree(bench.data, ignore_errors=True)
    bench.data.mkdir(parents=True)
    make = [python_of(""), str(HERE / "load_data.py"), str(bench.data)]
    run([*make, str(bench.options.images)])
    run([*make, "--millions"])
    found = {}
    for loader in CONVERTED:
        try:
            found[loader] = run(command(bench, loader, "convert", 1), env=environment()).wall_s
        except RuntimeError as error:
            print(f"{loader}: cannot convert: {last_line(error)}", file=sys.stderr)
    times.write_text(json.dumps(found), encoding="utf-8")
    return found


def into_memory(data: Path) -> None:
    """Read all shards, so that they lie in the system's memory."""
    for path in data.rglob("*"):
        if path.is_file() and "millions" not in path.parts:
            with path.open("rb", buffering=0) as file:
                while file.read(2**22):
                    pass


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "HF_HUB_OFFLINE": "1"}


def command(bench: Bench, loader: str, path: str, workers: int, *more: object) -> list[str]:
    begin = [python_of(loader), str(HERE / "load_run.py"), loader, path, "--folder", str(bench.data)]
    return [*begin, "--result", str(CACHE / "result.json"), "--workers", str(workers), *map(str, more)]


def once(bench: Bench, loader: str, path: str, workers: int, *more: object) -> dict[str, float]:
    """One measurement, in a process of its own; RuntimeError with its last words if it fails."""
    if bench.options.cold:
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("1\n", encoding="ascii")
    result = CACHE / "result.json"
    result.unlink(missing_ok=True)
    ran = run(command(bench, loader, path, workers, *more), env=environment())
    found: dict[str, float] = json.loads(result.read_text(encoding="utf-8"))
    return {**found, "wall_s": ran.wall_s, "peak_bytes": ran.peak_bytes}


def last_line(error: RuntimeError) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1][:PROBLEM_CHARACTERS] if lines else "no word"


def turns(bench: Bench) -> Iterator[tuple[str, str, int]]:
    """Every row once with two workers, then with one, then more turns in the same order."""
    options = bench.options
    for _ in range(options.times):
        for workers in options.workers:
            for path in options.paths:
                for name, (_, paths) in LOADERS.items():
                    if path in paths and (not options.only or name in options.only):
                        yield name, path, workers


def measure(bench: Bench) -> None:
    """Fill the rows, turn by turn, as long as there is time."""
    samples = {"raw": 1 << 40, "exact": bench.options.exact_samples, "own": bench.options.exact_samples}
    for key in turns(bench):
        name, path, workers = key
        row = bench.rows.setdefault(key, Measured())
        if row.problem or time.monotonic() > bench.ends_s:
            continue
        chosen = samples.get(path, bench.options.samples)
        try:
            row.runs.append(once(bench, LOADERS[name][0], path, workers, "--samples", chosen))
        except RuntimeError as error:
            row.problem = last_line(error)


def versions() -> str:
    """What is in the environments, and torch."""
    found = []
    for name, pins in ENVIRONMENTS.items():
        lines = (HERE / pins).read_text(encoding="utf-8").splitlines()
        names = [line.partition("==")[0] for line in lines if line and not line.startswith("#")]
        code = "import sys, importlib.metadata as m\nfor n in sys.argv[1:]: print(n, m.version(n))"
        ran = subprocess.run(
            [str(CACHE / name / "bin" / "python"), "-c", code, "g3m", *names],
            capture_output=True,
            text=True,
            check=True,
        )
        found.append(f"{name}: {', '.join(ran.stdout.splitlines())}")
    return "\n".join(found)


def head(bench: Bench, conversions: dict[str, float]) -> None:
    """The machine, the data, the versions."""
    facts = json.loads((bench.data / "facts.json").read_text(encoding="utf-8"))
    kind = "page cache emptied before each" if bench.options.cold else "shards in memory"
    print(f"{describe(CACHE)}, load {os.getloadavg()[0]:.1f}")
    print(versions())
    sizes = f"{facts['images']} JPEGs, {facts['bytes'] / 1e6:.0f} MB in {facts['shards']} shards"
    print(f"{sizes}, {facts['photos']} photos of which each copy has its own comment; {kind}")
    taken = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in conversions.items())
    print(f"converted or indexed once, not in the times below: {taken}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=11, help="no measurement begins later")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--images", type=int, default=5000, help="in the shards, when they are made")
    parser.add_argument("--samples", type=int, default=2048, help="of the fast rows")
    parser.add_argument("--exact-samples", type=int, default=512, help="of the exact and own rows")
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 1])
    parser.add_argument("--paths", nargs="+", choices=PATHS, default=list(PATHS))
    parser.add_argument("--only", nargs="*", default=[], help="some loaders, by their names in the table")
    parser.add_argument("--quick", action="store_true", help="one turn, two workers, few samples")
    parser.add_argument("--cold", action="store_true", help="empty the page cache before each (root)")
    options = parser.parse_args()
    if options.quick:
        options.times, options.workers, options.samples, options.exact_samples = 1, [2], 384, 192
    CACHE.mkdir(parents=True, exist_ok=True)
    environments()
    bench = Bench(CACHE / "data", options, 0.0)
    conversions = prepare(bench)
    began_s = time.monotonic()
    if not options.cold:
        into_memory(bench.data)
    head(bench, conversions)

    def more(loader: str, path: str, workers: int, *words: object) -> dict[str, float]:
        return once(bench, loader, path, workers, *words)

    first_batch(more, 1 if options.quick else 3)
    bytes_read(more, bench.data)
    shuffling(more, bench.data, options.cold)
    bench.ends_s = began_s + 60 * options.minutes
    measure(bench)
    for path, title in TITLES.items():
        if path in options.paths:
            report_paths(bench.rows, path, title.format(options=options))
    report_goals(bench.rows)


if __name__ == "__main__":
    main()
