"""Gathering pictures from a list of URLs beside img2dataset, on loopback.

    python bench/gather.py [--pictures 5000] [--case keep resize keep-tls resize-tls faults]
                           [--times 3] [--photos DIR] [--peer PYTHON | --alone] [--folder DIR]

    keep          the bytes as they come; img2dataset once with --disable_all_reencoding (it looks at nothing
                  then) and once with --skip_reencode (it decodes all)
    resize        the shorter side made 512 pixels where it is more, JPEG of quality 95
    keep-tls, resize-tls   the same over TLS, with the usual bundle of authorities
    faults        5 % missing, 2 % that never answer, 1 % cut, 1 % pages, 3 % redirects, and a host that lets
                  ten a second through, in a list repeated --rounds times; beside the list without them. Good
                  rows are spread over forty hosts; hosts that never answer are many, one for four rows on an
                  average: a few have many rows, most have one or two, far apart

The list is a Parquet file. Both programs are started as their users start them, and start-up is counted.
With --tune img2dataset is run once before the turns with several numbers of processes and threads, and the
fastest is taken. Pictures are crops of photographs (--photos) or of drawn scenes: about 0.6 million pixels, a
sixth of them progressive. Memory is the largest sum over all processes of a run, pages that they share
counted once (PSS).

The peer: python -m venv .cache/bench-gather && .cache/bench-gather/bin/pip install -r bench/gather_peers.txt
"""

from __future__ import annotations

import argparse
import io
import json
import random
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from gather_programs import SIDE, Took, g3m, img2dataset, run
from gather_web import Hosts, hosts
from machine import describe, middle
from PIL import Image
from resize import collages, numbers, photographs, psnr_db, ssim

TUNING = ((1, 64), (2, 16), (2, 64), (2, 128))
COMPARED = 120
ROWS_TO_A_SILENT_HOST = 200
VERSIONS = """
from importlib.metadata import version
print(*(f"{n} {version(n)}" for n in ("img2dataset", "opencv-python-headless", "albumentations")))
"""


@dataclass(slots=True)
class Row:
    """What was measured of one contestant, and what it made of the rows."""

    runs: list[Took] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    out_bytes: int = 0
    psnr_db: list[float] = field(default_factory=list)
    ssim: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Arena:
    """Where contestants meet: so many rows, so many turns."""

    rows: int
    times: int
    work: Path
    bundle: Path


def draw(folder: Path, count: int, photos: Path | None) -> None:
    """Distinct pictures of the sizes that lists have; they stay in the folder for the next time."""
    folder.mkdir(parents=True, exist_ok=True)
    if len(list(folder.glob("*.jpg"))) == count:
        return
    chosen = random.Random(1)
    canvases = [Image.open(io.BytesIO(data)).convert("RGB") for data in collages(photographs(photos), 24)]
    for number in range(count):
        short = chosen.randint(256, 512) if chosen.random() < 0.39 else chosen.randint(513, 1000)
        long = int(short * chosen.choice((1, 1.25, 1.33, 1.5)))
        size = (long, short) if chosen.random() < 0.7 else (short, min(long, 1320))
        canvas = chosen.choice(canvases)
        left = chosen.randint(0, canvas.width - size[0])
        top = chosen.randint(0, canvas.height - size[1])
        part = canvas.crop((left, top, left + size[0], top + size[1]))
        part.save(folder / f"{number:06d}.jpg", quality=90, progressive=number % 6 == 0)


def write_list(path: Path, urls: list[str]) -> None:
    captions = [f"picture number {number} of a list" for number in range(len(urls))]
    pq.write_table(pa.table({"url": urls, "caption": captions}), path)


def good_urls(base: str, count: int, rounds: int = 1) -> list[str]:
    """Each picture once a round; the query makes the rows of a list differ."""
    return [f"{base}/good/{n:06d}.jpg?round={r}" for r in range(rounds) for n in range(count)]


def spread_urls(found: Hosts, count: int, rounds: int) -> list[str]:
    """The same over many hosts, as lists are."""
    urls = good_urls("", count, rounds)
    return [f"{found.good[number % len(found.good)]}{url}" for number, url in enumerate(urls)]


def bad_urls(found: Hosts, count: int, rounds: int) -> list[str]:
    """The same list with the faults that the head of this file names, spread evenly."""
    urls, chosen = spread_urls(found, count, rounds), random.Random(2)
    for number, url in enumerate(urls):
        host, _, name = url.replace("/good/", " ").partition(" ")
        place = number * 37 % 100
        if place < 5:
            urls[number] = f"{host}/gone/{name}"
        elif place < 7:
            silent = found.silent[int(len(found.silent) * chosen.random() ** 2)]
            urls[number] = f"{silent}/hang/{name}"
        elif place < 8:
            urls[number] = f"{chosen.choice(found.cut)}/cut/{name.partition('?')[0]}"
        elif place < 9:
            urls[number] = f"{host}/page/{name}"
        elif place < 12:
            urls[number] = f"{host}/moved/{name}"
        elif place < 13 and number % 10 == 3:
            urls[number] = f"{found.strict}/good/{name}"
    return urls


def outcomes(out: Path) -> Counter[str]:
    """What the programs say of their rows, from the statistics beside the shards."""
    found: Counter[str] = Counter()
    for path in sorted(out.rglob("*_stats.json")):
        body = json.loads(path.read_text(encoding="utf-8"))
        for words, count in body["status_dict"].items():
            found[_short(words)] += count
    return found


def _short(words: str) -> str:
    """img2dataset's messages hold addresses and numbers of bytes: only their kind counts."""
    for sign in ("timed out", "IncompleteRead", "HTTP Error 404", "HTTP Error 429", "cannot be decoded"):
        if sign in words:
            return sign
    return words[:40]


def stored(out: Path) -> Iterator[tuple[str, bytes]]:
    """Every picture of the shards, by its URL's last part."""
    for path in sorted(out.rglob("*.tar")):
        names: dict[str, bytes] = {}
        with tarfile.open(path) as archive:
            for member in archive:
                content = archive.extractfile(member)
                assert content is not None
                key, _, extension = member.name.partition(".")
                if extension == "json":
                    url = json.load(content)["url"]
                    yield url.rpartition("/")[2].partition("?")[0], names[key]
                elif extension in ("jpg", "jpeg", "png", "webp"):
                    names[key] = content.read()


def compare(row: Row, out: Path, served: Path) -> None:
    """PSNR and SSIM of the resized pictures against full decoding and Lanczos."""
    for name, data in stored(out):
        if len(row.ssim) >= COMPARED:
            return
        with Image.open(served / name) as image:
            whole = image.convert("RGB")
        if min(whole.size) <= SIDE:
            continue
        made = numbers(data)
        wanted = whole.resize((made.shape[1], made.shape[0]), Image.Resampling.LANCZOS)
        reference = numbers(_lossless(wanted))
        row.psnr_db.append(psnr_db(made, reference))
        row.ssim.append(ssim(made, reference))


def _lossless(image: Image.Image) -> bytes:
    target = io.BytesIO()
    image.save(target, "PNG", compress_level=0)
    return target.getvalue()


def tune(case: str, listed: Path, work: Path, options: argparse.Namespace, bundle: Path) -> tuple[int, int]:
    """The numbers of processes and threads with which img2dataset is fastest here."""
    took = {}
    for numbers_ in TUNING:
        out = work / "out"
        took[numbers_] = run(img2dataset(case, listed, out, options, numbers_), out, bundle).wall_s
    words = ", ".join(f"{p} x {t}: {s:.1f} s" for (p, t), s in took.items())
    best = min(took, key=took.__getitem__)
    print(f"\nimg2dataset, {case}, processes x threads: {words}; taken: {best[0]} x {best[1]}", flush=True)
    return best


def contest(
    title: str, commands: dict[str, list[str]], arena: Arena, served: Path | None = None
) -> dict[str, Row]:
    """All contestants, turn by turn, and their table."""
    found: dict[str, Row] = {}
    out = arena.work / "out"
    for turn in range(arena.times):
        for name, command in commands.items():
            row = found.setdefault(name, Row())
            row.runs.append(run(command, out, arena.bundle))
            if turn == 0:
                row.outcomes = outcomes(out)
                row.out_bytes = sum(path.stat().st_size for path in out.rglob("*.tar"))
                if served is not None:
                    compare(row, out, served)
    report(title, arena.rows, found)
    return found


def report(title: str, rows: int, found: dict[str, Row]) -> None:
    print(f"\n### {title}\n")
    print("| what | wall s | rows/s | CPU ms a row | peak MB | shards MB | PSNR dB | SSIM | exit |")
    print("|---|" + "--:|" * 8)
    for name, row in found.items():
        wall_s, cpu_s = middle([r.wall_s for r in row.runs]), middle([r.cpu_s for r in row.runs])
        peak = middle([r.peak_bytes for r in row.runs]) / 1e6
        quality = ["", ""]
        if row.ssim:
            quality = [f"{middle(row.psnr_db):.1f}", f"{middle(row.ssim):.4f}"]
        cells = [f"{wall_s:.2f}", f"{rows / wall_s:.0f}", f"{1000 * cpu_s / rows:.2f}", f"{peak:.0f}"]
        cells += [f"{row.out_bytes / 1e6:.0f}", *quality, str(row.runs[0].code)]
        print(f"| {name} | {' | '.join(cells)} |")
    for name, row in found.items():
        print(f"\n{name}: {', '.join(f'{count} {words}' for words, count in row.outcomes.most_common(12))}")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    cases = ("keep", "resize", "keep-tls", "resize-tls", "faults")
    parser.add_argument("--case", nargs="+", default=cases, choices=cases)
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--tls-pictures", type=int, default=1000, help="img2dataset takes 35 ms for each")
    parser.add_argument("--rows", type=int, default=1250, help="rows in a shard")
    parser.add_argument("--rounds", type=int, default=16)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--tune", action="store_true")
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--peer", default=".cache/bench-gather/bin/python")
    parser.add_argument("--alone", action="store_true", help="without img2dataset")
    options = parser.parse_args()
    options.peer = str(Path(options.peer).absolute())
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        served = folder / "served"
        draw(served, options.pictures, options.photos)
        sizes = [path.stat().st_size for path in served.glob("*.jpg")]
        print(describe(folder))
        if not options.alone:
            told = subprocess.run([options.peer, "-c", VERSIONS], capture_output=True, text=True, check=False)
            print(f"peers: {told.stdout.strip() or told.stderr.strip()[-200:]}")
        print(f"{len(sizes)} pictures, mean {sum(sizes) / len(sizes) / 1000:.0f} kB")
        silent = max(options.pictures * options.rounds // ROWS_TO_A_SILENT_HOST, 1)
        with hosts(served, folder / "web", silent) as found:
            for case in options.case:
                if case == "faults":
                    faults(found, folder, options)
                else:
                    plain(case, found, folder, options)


def plain(case: str, found: Hosts, folder: Path, options: argparse.Namespace) -> None:
    """A list without faults."""
    tls = case.endswith("-tls")
    count = min(options.tls_pictures, options.pictures) if tls else options.pictures
    listed, work = folder / "list.parquet", folder / "work"
    write_list(listed, good_urls(found.tls if tls else found.plain, count))
    kind = case.partition("-")[0]
    best = tune(kind, listed, work, options, found.bundle) if options.tune and not options.alone else (2, 16)
    commands = {"g3m": g3m(kind, listed, work / "out", options)}
    words = f"img2dataset {best[0]} x {best[1]}"
    if not options.alone:
        commands[words] = img2dataset(kind, listed, work / "out", options, best)
        if kind == "keep":
            commands[f"{words}, all decoded"] = img2dataset("checked", listed, work / "out", options, best)
    served = folder / "served" if kind == "resize" else None
    contest(f"{case}: {count} pictures", commands, Arena(count, options.times, work, found.bundle), served)


def faults(found: Hosts, folder: Path, options: argparse.Namespace) -> None:
    """The same list with and without faults."""
    clean, bad, work = folder / "clean.parquet", folder / "bad.parquet", folder / "work"
    urls = bad_urls(found, options.pictures, options.rounds)
    write_list(clean, spread_urls(found, options.pictures, options.rounds))
    write_list(bad, urls)
    commands = {}
    for name, listed in (("without faults", clean), ("with faults", bad)):
        commands[f"g3m, {name}"] = g3m("keep", listed, work / "out", options)
        if not options.alone:
            words = f"img2dataset 2 x 64, {name}"
            commands[words] = img2dataset("keep", listed, work / "out", options, (2, 64))
    arena = Arena(len(urls), options.times, work, found.bundle)
    rows = contest(f"faults: {len(urls)} rows", commands, arena)
    for name in ("g3m",) if options.alone else ("g3m", "img2dataset 2 x 64"):
        before, after = rows[f"{name}, without faults"], rows[f"{name}, with faults"]
        rate = middle([r.wall_s for r in before.runs]) / middle([r.wall_s for r in after.runs])
        accounted = sum(after.outcomes.values())
        print(
            f"\n{name}: {rate:.2f} of the rate without faults; {accounted} of {len(urls)} rows accounted for"
        )


if __name__ == "__main__":
    main()
