"""Packing a downloaded archive: g3m beside a plain copy, what people write, and the old recipe.

    python bench/pack.py [--case zip gzip] [--times 5] [--slow-times 1] [--cold] [--only NAME ...]
                         [--folder DIR [--keep]]

zip: 5,000 JPEGs (about 700 MB) stored in a zip of COCO's form, in another order than the shards want.

    cp                     the zip copied and synced: what the disk alone takes
    g3m                    `g3m get` where the archive is fetched and verified already, as after a download:
                           start of the program, listing, captions, packing with every crc checked, sha256
                           of the shards, syncs, publishing. --keep-assets, as no other deletes the archive
    g3m, archive deleted   the same without --keep-assets
    g3m, archive in order  the same from a zip whose members lie as the shards want them: what order costs
    g3m --from             the archive is a copy of the user's, so it is hashed first
    g3m, nothing synced    no row to compare with: what the syncs of `g3m` cost
    zipfile + tarfile      a loop over the standard library, shards synced
    zipfile + ShardWriter  webdataset's writer, which syncs nothing
    unzip + ShardWriter    the same from unzipped files
    the old recipe         unzip; a script that decodes each picture into a tensor and copies its file; tar.
                           torch is not installed: Pillow and numpy do what its transforms do

gzip: 5,000 JPEGs (about 1.4 GB) in a tar.gz of Open Images' form, narratives with traces in another order.

    gzip, pigz, igzip      to /dev/null; isal: igzip's library in Python, read and thrown away
    rapidgzip              the same, if it is installed, with as many threads
    g3m                    as above, tar.gz fetched and verified already
    tarfile stream         the standard library, samples in the archive's own order: another partition
    the old recipe         tar xzf; a script that copies; tar

All but `tarfile stream` write shards of one partition. They take turns, so that a busy machine slows all
alike; those that take long have `--slow-times` turns. Before each turn the folder is emptied and the disk
is idle. The archive is in the system's memory, as it is after a download, unless `--cold` empties that
first (root).
"""

from __future__ import annotations

import argparse
import compileall
import importlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import metadata, util
from pathlib import Path

import pack_programs as programs
from machine import Run, describe, empty, middle, run
from pack_sources import ORDERS

HERE = Path(__file__).parent
PYTHON = sys.executable
G3M = (PYTHON, "-m", "g3m")


@dataclass(frozen=True, slots=True)
class Contestant:
    """A command that finds an empty folder `out`, or with `fetched` one with the assets that g3m fetched."""

    command: tuple[str, ...]
    fetched: Path | None = None
    slow: bool = False


@dataclass(slots=True)
class Case:
    """One archive, what is tried on it, and the contestant whose time is the measure."""

    name: str
    archive: Path
    floor: str
    contestants: dict[str, Contestant] = field(default_factory=dict)

    def add(self, name: str, *command: object, fetched: Path | None = None, slow: bool = False) -> None:
        self.contestants[name] = Contestant(tuple(map(str, command)), fetched, slow)


def zip_case(folder: Path) -> Case:
    """The contestants for a zip."""
    shuffled, in_order = (folder / order for order in ORDERS)
    archive, out = shuffled / "val2017.zip", folder / "out"
    case = Case("zip", archive, "cp")
    copy = f"cp {archive} {out}/copy"
    case.add("cp, not synced", "sh", "-c", copy)
    case.add("cp", "sh", "-c", f"{copy} && sync {out}/copy")
    case.add("g3m", *_get(shuffled, out), "--keep-assets", fetched=shuffled)
    case.add("g3m, archive deleted", *_get(shuffled, out), fetched=shuffled)
    case.add("g3m, archive in order", *_get(in_order, out), "--keep-assets", fetched=in_order)
    case.add("g3m --from", *_get(shuffled, out), "--from", shuffled)
    without = (PYTHON, "-c", programs.WITHOUT_SYNC, *_get(shuffled, out)[len(G3M) :], "--keep-assets")
    case.add("g3m, nothing synced", *without, fetched=shuffled)
    case.add("zipfile + tarfile", PYTHON, "-c", programs.ZIPFILE_TARFILE, shuffled, out)
    unzip = 'unzip -q "$1/val2017.zip" -d "$0" && "$2" -c "$3" "$1" "$0"'
    if util.find_spec("webdataset"):
        case.add("zipfile + ShardWriter", PYTHON, "-c", programs.ZIPFILE_WEBDATASET, shuffled, out)
        if shutil.which("unzip"):
            last = (out, shuffled, PYTHON, programs.UNZIP_WEBDATASET)
            case.add("unzip + ShardWriter", "sh", "-c", unzip, *last, slow=True)
    if shutil.which("unzip"):
        last = (out, shuffled, PYTHON, programs.SEED_COCO)
        case.add("the old recipe", "sh", "-c", f"{unzip} && {programs.TAR_EACH_FOLDER}", *last, slow=True)
    return case


def gzip_case(folder: Path) -> Case:
    """The contestants for a tar.gz."""
    place, out = folder / "gzip", folder / "out"
    archive = place / "validation.tar.gz"
    case = Case("gzip", archive, "igzip" if shutil.which("igzip") else "isal")
    case.add("cp", "sh", "-c", f"cp {archive} {out}/copy && sync {out}/copy")
    for program in ("gzip", "pigz", "igzip"):
        if shutil.which(program):
            case.add(program, "sh", "-c", f"{program} -dc {archive} > /dev/null")
    case.add("isal", PYTHON, "-c", programs.READ_ISAL, archive)
    if util.find_spec("rapidgzip"):
        for threads in (1, 2):
            case.add(f"rapidgzip, {threads}", PYTHON, "-c", programs.READ_RAPIDGZIP, archive, threads)
    case.add("g3m", *_get(place, out), "--keep-assets", fetched=place)
    exact = ("--parity", "nxtp", "--keep-assets")
    case.add("g3m --parity nxtp", *_get(place, out), *exact, fetched=place)
    case.add("tarfile stream", PYTHON, "-c", programs.TARFILE_STREAM, place, out, slow=True)
    steps = f'tar xzf "$1/validation.tar.gz" -C "$0" && "$2" -c "$3" "$1" "$0" && {programs.TAR_EACH_FOLDER}'
    case.add("the old recipe", "sh", "-c", steps, out, place, PYTHON, programs.SEED_OPEN_IMAGES, slow=True)
    return case


def _get(place: Path, out: Path) -> tuple[str, ...]:
    return (*G3M, "get", str(place / "bench.toml"), "--root", str(out), "-q", "-y")


CASES: dict[str, tuple[Callable[[Path], Case], int]] = {"zip": (zip_case, 5000), "gzip": (gzip_case, 5000)}


def turn(contestant: Contestant, folder: Path, archive: Path, cold: bool) -> Run:
    """One run after the folder is empty and the disk idle."""
    out = folder / "out"
    empty(out)
    if contestant.fetched:
        # A link, because a copy would have just driven other memory out; a copy where it is to be deleted.
        how = "link" if "--keep-assets" in contestant.command else "place"
        run([PYTHON, str(HERE / "pack_sources.py"), how, str(contestant.fetched), str(out)])
    os.sync()
    if cold:
        Path("/proc/sys/vm/drop_caches").write_text("3\n", encoding="ascii")
    else:
        _read(archive)
    return run(contestant.command, watch=out)


def _read(path: Path) -> None:
    """Bring a file into the system's memory."""
    with open(path, "rb", buffering=0) as file:
        while file.read(2**22):
            pass


def compare(case: Case, folder: Path, options: argparse.Namespace) -> dict[str, list[Run]]:
    """The runs of all contestants, turn by turn."""
    chosen = {
        name: each
        for name, each in case.contestants.items()
        if not options.only or name in options.only or name == case.floor
    }
    runs: dict[str, list[Run]] = {name: [] for name in chosen}
    for number in range(max(options.times, options.slow_times)):
        for name, contestant in chosen.items():
            if number < (options.slow_times if contestant.slow else options.times):
                runs[name].append(turn(contestant, folder, case.archive, options.cold))
    empty(folder / "out")
    return {name: several for name, several in runs.items() if several}


def report(case: Case, images: int, runs: dict[str, list[Run]], options: argparse.Namespace) -> None:
    """One table, with the median of the turns."""
    size = case.archive.stat().st_size
    caches = "caches dropped before each turn" if options.cold else "archive in memory"
    print(f"\n### {case.name}: {images} JPEGs, {size / 1e6:.0f} MB, {caches}\n")
    print(
        f"| what | turns | wall s | times {case.floor} | wall, least to most | CPU s | read MB | written MB "
        "| peak disk MB | peak files | peak MB |"
    )
    print("|---|" + "--:|" * 10)
    floor = middle([each.wall_s for each in runs[case.floor]])
    for name, several in runs.items():
        walls = [each.wall_s for each in several]
        wall = middle(walls)
        columns = [
            name,
            f"{len(several)}",
            f"{wall:.2f}",
            f"{wall / floor:.2f}",
            f"{min(walls):.2f} to {max(walls):.2f}",
            f"{middle([each.cpu_s for each in several]):.2f}",
            _megabytes([each.read_bytes for each in several]),
            _megabytes([each.written_bytes for each in several]),
            _megabytes([each.disk_bytes for each in several]),
            f"{max(each.files for each in several)}",
            _megabytes([each.peak_bytes for each in several]),
        ]
        print(f"| {' | '.join(columns)} |", flush=True)


def _megabytes(values: Sequence[int]) -> str:
    return "?" if min(values) < 0 else f"{max(values) / 1e6:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--images", type=int, default=0, help="instead of 5000")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--slow-times", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=[], help="some contestants, beside the measure")
    parser.add_argument("--cold", action="store_true", help="empty the system's caches before each turn")
    parser.add_argument("--folder", type=Path, default=None, help="where to work (default: temporary files)")
    parser.add_argument("--keep", action="store_true", help="keep the archives in --folder for another run")
    options = parser.parse_args()
    # As an installation leaves it: the program's modules are compiled before anybody runs it.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    for place in (importlib.import_module("g3m").__path__[0], HERE):
        compileall.compile_dir(place, quiet=2)
    packages = ("g3m", "webdataset", "isal", "pillow", "numpy", "rapidgzip")
    found = [f"{name} {metadata.version(name)}" for name in packages if util.find_spec(_module(name))]
    print(", ".join(found))
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="g3m-bench-") as temporary:
        folder = options.folder if options.keep else Path(temporary)
        print(f"{describe(folder)}, load {os.getloadavg()[0]:.1f}", flush=True)
        for name in options.case:
            make, images = CASES[name]
            images = options.images or images
            case = make(folder)
            if not case.archive.exists():
                # In a process of its own: a child's peak memory counts what its parent held before.
                run([PYTHON, str(HERE / "pack_sources.py"), name, str(folder), str(images)])
            report(case, images, compare(case, folder, options), options)


def _module(package: str) -> str:
    return {"pillow": "PIL"}.get(package, package)


if __name__ == "__main__":
    main()
