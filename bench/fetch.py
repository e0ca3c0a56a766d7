"""Fetching one file beside aria2, curl, wget, hf and aws, from fast, slow and hostile sources.

    python bench/fetch.py [--quick | --full] [--case a128 bx ...] [--times N] [--timeline S] [--folder DIR]

    a   one origin with a rate per connection        e   no limit, plain and TLS: time, processor, memory
    b   several uneven, dead and crawling sources    f   kill -9 twice, then finish (bench/kills.py)
    c   a mirror with wrong bytes                    g   many files (bench/many.py)
    d   resets and silence

Contestants take turns, so that a busy machine slows all alike; those that a line of their own limits (one
connection) may overlap. Every file is hashed afterwards, outside the measured time. `--quick` (the default)
takes about twelve minutes, `--full` adds the slow peers and more turns. `--timeline 0.25` prints what each
source gave g3m in every quarter of a second.

Peers: aria2, curl, wget, nginx and openssl from the system, hf and aws from bench/peers.txt:

    python -m venv .cache/bench && .cache/bench/bin/pip install -r bench/peers.txt
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cases import LONG, Case, Entry, Folders, all_cases
from contestants import Job, Took, available, leave_on_signal, run, versions
from files import File, make_lie, make_shard, sha256_of
from link import BUCKET_S, Source, serving
from machine import describe, empty, middle
from web import nginx

MB = 1_000_000


@dataclass(slots=True)
class Outcome:
    """One run of one contestant."""

    took: Took
    right: bool
    sent_bytes: int
    link_cpu_s: float
    places: dict[str, dict[str, Any]] = field(default_factory=dict)
    named: bool = False
    words: str = ""


@dataclass(slots=True)
class Bench:
    """Where a run of this program works, and what was asked for."""

    folder: Path
    times: int
    patient: bool = False
    """Whether long cases have as many turns as the others."""
    row_s: float = 0
    only: Sequence[str] = ()
    files: dict[int, tuple[File, Folders]] = field(default_factory=dict)
    details: list[dict[str, object]] = field(default_factory=list)

    def file(self, case: Case) -> tuple[File, Folders]:
        """The file of a case, drawn when first wanted; one size at a time lies on the disk."""
        if case.mebibytes not in self.files:
            for _, folders in self.files.values():
                shutil.rmtree(folders.true)
            self.files.clear()
            true, lie = self.folder / "true", self.folder / "lie"
            made = make_shard(true / f"{case.mebibytes:05d}.tar", case.mebibytes)
            self.files[case.mebibytes] = made, Folders(str(true), str(lie))
        file, folders = self.files[case.mebibytes]
        if case.liar:
            make_lie(file, Path(folders.lie))
        return file, folders


def run_case(case: Case, bench: Bench) -> dict[str, list[Outcome]]:
    """All turns of a case; first those that need the machine for themselves."""
    file, folders = bench.file(case)
    wanted = [entry for entry in case.entries if _wanted(entry, bench.only)]
    found: dict[str, list[Outcome]] = {entry.name: [] for entry in wanted}
    times = 1 if case.key in LONG and not bench.patient else bench.times
    for number in range(times):
        for entry in wanted:
            if entry.alone and number < (entry.times or times):
                found[entry.name].append(run_entry(entry, case, (file, folders), bench))
    patient = [entry for entry in wanted if not entry.alone]
    if patient:
        with ThreadPoolExecutor(len(patient)) as pool:
            waiting = {
                entry.name: pool.submit(run_entry, entry, case, (file, folders), bench) for entry in patient
            }
            for name, outcome in waiting.items():
                found[name].append(outcome.result())
    return found


def _wanted(entry: Entry, only: Sequence[str]) -> bool:
    first = entry.name.split()[0].rstrip(",")
    return available(entry.name) and (not only or entry.name in only or first in only)


def run_entry(entry: Entry, case: Case, what: tuple[File, Folders], bench: Bench) -> Outcome:
    """One turn of one contestant, with sources of its own."""
    file, folders = what
    work = bench.folder / f"work-{entry.name.replace(' ', '_').replace('/', '_')}"
    empty(work)
    if entry.alone:
        os.sync()
    with _sources(case, folders, bench.folder) as (sources, certificate, link):
        job = Job(file, sources, work, case.per_server, certificate)
        call = entry.call(job)
        took = run(call, work, entry.limit_s)
    counts = link.counts if link else {"places": {}, "cpu_s": 0.0}
    sent = sum(place["sent_bytes"] for place in counts["places"].values())
    outcome = Outcome(took, sha256_of(call.out) == file.sha256, sent, counts["cpu_s"], counts["places"])
    said = (work / "said").read_text(errors="replace")
    if case.liar and entry.name.startswith("g3m"):
        host = next(source.host for source in sources if source.name == case.liar)
        outcome.named = any(host in line for line in said.splitlines() if '"RouteDropped"' in line)
    outcome.words = " ".join((work / "errors").read_text(errors="replace").split())[-160:]
    line = {"case": case.key, "what": entry.name, **asdict(outcome), "said": said[-4000:]}
    bench.details.append(line)
    shutil.rmtree(work)
    if bench.row_s and entry.name.startswith("g3m"):
        print(f"\n{case.key}: {entry.name}")
        print_timeline(outcome, bench.row_s)
    return outcome


@contextmanager
def _sources(case: Case, folders: Folders, folder: Path) -> Iterator[tuple[list[Source], str, object]]:
    if case.web:
        with nginx(Path(folders.true), folder / "nginx") as web:
            yield [web.plain if case.web == "plain" else web.tls], web.certificate * (case.web == "tls"), None
    else:
        with serving(case.sources(folders), folder) as link:
            yield link.sources, "", link


def print_timeline(outcome: Outcome, row_s: float) -> None:
    """MB/s of each source since the start, in rows of `row_s`, and its connections at work.

    Rows that look like the one before are left out.
    """
    names = [name for name, place in outcome.places.items() if place["buckets"]]
    start_s, end_s = outcome.took.started_s, outcome.took.started_s + outcome.took.wall_s
    print("\n    s     " + "".join(f"{name:>14}" for name in names) + "           sum")
    shown: list[tuple[int, int]] = []
    rows = int(outcome.took.wall_s / row_s) + 1
    for number in range(rows):
        row = [_cell(outcome.places[name]["buckets"], start_s + number * row_s, row_s) for name in names]
        if number not in (0, rows - 1) and _alike(row, shown):
            continue
        shown = row
        cells = "".join(f"{sent / row_s / MB:9.1f} ({busy:2d})" for sent, busy in row)
        total = sum(sent for sent, _ in row)
        print(f"    {number * row_s:6.2f}{cells}{total / row_s / MB:14.1f}")
    for name, place in outcome.places.items():
        told = ("connections", "requests", "refused", "resets", "silences", "most_at_once", "sent_bytes")
        print(f"    {name}: " + ", ".join(f"{place[key]} {key}" for key in told))
    first = min((p["first_request_s"] for p in outcome.places.values() if p["requests"]), default=end_s)
    last_s = max((place["last_byte_s"] for place in outcome.places.values()), default=start_s)
    print(f"    first request at {first - start_s:.2f} s, last byte {last_s - start_s:.2f} s, end", end=" ")
    print(f"{end_s - start_s:.2f} s")


def _cell(buckets: dict[str, tuple[int, int]], at_s: float, row_s: float) -> tuple[int, int]:
    """Bytes and connections of the time from `at_s`."""
    first = round(at_s / BUCKET_S)
    found = [buckets.get(str(first + number), (0, 0)) for number in range(round(row_s / BUCKET_S))]
    return sum(sent for sent, _ in found), max(busy for _, busy in found)


def _alike(row: Sequence[tuple[int, int]], shown: Sequence[tuple[int, int]]) -> bool:
    return len(row) == len(shown) and all(
        abs(now - then) <= max(now, then) * 0.15 and busy == before
        for (now, busy), (then, before) in zip(row, shown, strict=True)
    )


def report(case: Case, found: dict[str, list[Outcome]], size_bytes: int) -> list[str]:
    """Print one table; returns the sentences about where g3m was not the fastest."""
    print(f"\n## {case.key}: {case.title}\n")
    if case.line_bytes_per_s:
        least = size_bytes / case.line_bytes_per_s
        print(f"The sources give {case.line_bytes_per_s / MB:.1f} MB/s together: {least:.1f} s at least.\n")
    head = "| what | wall s: min, median, max | MB/s | of the line | times g3m | sent / size "
    print(f"{head}| CPU s/GB | peak MB | end |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|---|")
    own = [each.took.wall_s for each in found.get("g3m", []) if each.right]
    for name, several in found.items():
        print(_row(case, name, several, size_bytes, middle(own) if own else 0))
    return _faster(case, found)


def _row(case: Case, name: str, several: Sequence[Outcome], size_bytes: int, own_s: float) -> str:
    walls = [each.took.wall_s for each in several]
    wall_s = middle(walls)
    right = sum(each.right for each in several)
    speed = size_bytes / wall_s if right else 0
    share = f"{speed / case.line_bytes_per_s:.2f}" if case.line_bytes_per_s and right else "-"
    ratio = f"{wall_s / own_s:.2f}" if own_s and right else "-"
    sent = middle([each.sent_bytes for each in several]) / size_bytes
    cpu = middle([each.took.cpu_s for each in several]) / (size_bytes / 1e9)
    peak = max(each.took.peak_bytes for each in several) / MB
    spread = f"{min(walls):.2f}, {wall_s:.2f}, {max(walls):.2f}" if len(walls) > 1 else f"{wall_s:.2f}"
    cells = [name, spread, f"{speed / MB:.1f}", share, ratio, f"{sent:.2f}" if sent else "-"]
    return "| " + " | ".join([*cells, f"{cpu:.2f}", f"{peak:.0f}", _end(case, several)]) + " |"


def _end(case: Case, several: Sequence[Outcome]) -> str:
    """How its runs ended, in words."""
    bad = [each for each in several if not each.right]
    if not bad:
        if not case.liar:
            return "right"
        return "right, liar named" if all(each.named for each in several) else "right"
    late = sum(each.took.code is None for each in bad)
    codes = sorted({each.took.code for each in bad if each.took.code is not None})
    words = [f"{late} stopped at the limit"] * bool(late)
    words += [f"exit {', '.join(map(str, codes))}"] * bool(codes)
    return f"{len(bad)} of {len(several)} wrong or none: {'; '.join(words)}"


def _faster(case: Case, found: dict[str, list[Outcome]]) -> list[str]:
    if "g3m" not in found:
        return []
    own = middle([each.took.wall_s for each in found["g3m"]])
    lines = []
    for name, several in found.items():
        wall_s = middle([each.took.wall_s for each in several])
        if not name.startswith("g3m") and all(each.right for each in several) and wall_s < own:
            lines.append(
                f"- {case.key}: {name} took {wall_s:.2f} s, g3m {own:.2f} s ({own / wall_s:.2f} times)"
            )
    if not all(each.right for each in found["g3m"]):
        lines.append(f"- {case.key}: g3m did not deliver the right file every time")
    return lines


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="the small form (default)")
    parser.add_argument("--full", action="store_true", help="all peers, more turns")
    parser.add_argument("--case", nargs="*", default=[], help="only these: a, b, a128, bx, e, f, g, ...")
    parser.add_argument(
        "--only", nargs="*", default=[], help="only these contestants: g3m, aria2c, curl, ..."
    )
    parser.add_argument("--times", type=int, default=0)
    parser.add_argument("--timeline", type=float, default=0, metavar="SECONDS", help="the length of a row")
    parser.add_argument(
        "--folder", type=Path, default=None, help="where to work (default: a temporary folder)"
    )
    parser.add_argument(
        "--details", type=Path, default=None, help="write every run's figures here, as JSON lines"
    )
    return parser.parse_args()


def main() -> None:
    leave_on_signal()
    options = arguments()
    times = options.times or (3 if options.full else 2)
    print("\n".join(versions()))
    print(f"{describe(options.folder or Path(tempfile.gettempdir()))}, load {os.getloadavg()[0]:.1f}")
    slower: list[str] = []
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="g3m-bench-") as temporary:
        patient = bool(options.times or options.full)
        bench = Bench(Path(temporary), times, patient, options.timeline, options.only)
        for case in sorted(all_cases(full=options.full), key=lambda case: case.mebibytes):
            if not options.case or any(case.key.startswith(key) for key in options.case):
                slower += report(case, run_case(case, bench), bench.file(case)[0].size_bytes)
                sys.stdout.flush()
        if options.details:
            lines = [json.dumps(line, default=str) for line in bench.details]
            options.details.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n## Where g3m is not the fastest\n")
    print("\n".join(slower) if slower else "Nowhere in this run.")
    for letter, program in (("f", "kills.py"), ("g", "many.py")):
        if not options.case or letter in options.case:
            sys.stdout.flush()
            flags = (["--full"] if options.full else []) + (
                ["--folder", str(options.folder)] if options.folder else []
            )
            subprocess.run([sys.executable, str(Path(__file__).with_name(program)), *flags], check=False)
    print(f"\nload at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
