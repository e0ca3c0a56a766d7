"""Looking at the data: `g3m view` and its catalog, beside datasette over the same file, and Pillow.

    python bench/view.py [--sizes 10000 300000 3650000] [--times 4] [--pictures 1000] [--photos DIR]
                         [--limit 20] [--peer PYTHON | --alone] [--fiftyone PYTHON]
                         [--folder DIR [--kept]] [--json FILE]

catalog     10,000 samples or fewer by `g3m index`, out of tars of small pictures; more by
            bench/catalog_data.py, which draws rows and writes them as the step does; what drawing takes is
            measured apart and not in the rate. Its datasets stand there, too: their shards are one tar under
            many names, so that every page has what it shows
start       from the command to the last byte of `/`; then the first answer of other pages; again with catalog
            and indexes put out of the system's memory
search      320 queries of eight kinds, the same for all sizes, 60 rows each: by `Catalog.browse` in one
            process, by the page /search (HTML, hits marked, total counted up to 10,000), by the function
            `g3m.search`, which opens all anew each time; by datasette's search of a table (JSON; all hits
            counted) and by SQL at its JSON endpoint, written as well as one can. Each query goes to all of
            them in turn. Who has taken --limit seconds for its queries gets no more
pictures    thumbnails of 256 pixels of JPEGs of 640 x 480 in tars, none drawn before, over six connections;
            `g3m index --pictures`, less what a run without work takes; Pillow's draft and thumbnail in a loop
            in one process

datasette's limit of a query is raised from 1 to 10 s, and suggested facets are off. --kept uses what an
earlier run made in --folder. The peer: python -m venv .cache/bench-view && .cache/bench-view/bin/pip install
-r bench/view_peers.txt. FiftyOne takes 1 GB and wants a MongoDB, so it is only tried with --fiftyone.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path
from typing import Any

from machine import Run, describe, empty, middle
from view_data import PHOTO, SMALL, crops, drawing_s, forget, large_root, measured, queries, write_tars
from view_programs import SQL, Site, Started, datasette, fiftyone, g3m_view, pillow, thumbnails
from view_report import report

import g3m
from g3m.adapters.catalog import FILE, open_catalog
from g3m.adapters.catalog_file import FORMAT
from g3m.core.browse import Span, View
from g3m.core.query import parse

REAL_LIMIT = 10_000
PAGES = {
    "browse": "/browse",
    "search": "/search?q=red",
    "stats": "/stats",
    "sample": "/sample/{dataset}/77",
}
WORDS = Span(12, 20)
VERSIONS = """
import sys
from importlib.metadata import version
print(*(f"{name} {version(name)}" for name in sys.argv[1:]), sep=", ")
"""
Found = dict[str, Any]
Ask = Callable[[str, str], int]
"""Asks a query of a kind; gives how many rows came, -1 for none that it can answer."""


def build(folder: Path, samples: int, tar: Path, options: argparse.Namespace) -> tuple[Path, Found]:
    """A root with a catalog of so many samples, and what making that took."""
    root = folder / f"root-{samples}"
    kept = root / "made.json"
    if options.kept and kept.exists():
        made: Found = json.loads(kept.read_text(encoding="utf-8"))
        if made["format"] == FORMAT:
            return root, made
    if samples <= REAL_LIMIT:
        counts = [samples // 2, samples - samples // 2]
        empty(root)
        write_tars(root / "cc3m", crops(samples, SMALL, options.photos), counts)
        took, how, drawn_s = _indexed(root), "g3m index", 0.0
    else:
        took, how = large_root(root, samples, tar), "catalog_data"
        drawn_s = drawing_s(samples)
    size_bytes = (root / ".g3m" / FILE).stat().st_size
    made = {
        "format": FORMAT,
        "how": how,
        "wall_s": took.wall_s,
        "rows_per_s": samples / (took.wall_s - drawn_s),
        "cpu_s": took.cpu_s,
        "size_mb": size_bytes / 1e6,
        "peak_mb": took.peak_bytes / 1e6,
    }
    kept.write_text(json.dumps(made), encoding="utf-8")
    return root, made


def _indexed(root: Path, *flags: str) -> Run:
    return measured(root, "g3m", "index", "--root", str(root), "-q", *flags)


def starts(root: Path, times: int, *, cold: bool) -> dict[str, list[float]]:
    """Seconds to the first `/`, and those of the first answers of the other pages of the same server."""
    found: dict[str, list[float]] = {}
    dataset = next(path.parent.name for path in sorted(root.glob("*/index.bin")))
    for _ in range(times):
        if cold:
            forget(root)
        with g3m_view(root) as started:
            found.setdefault("ready", []).append(started.seconds)
            found.setdefault("home", []).append(_checked(started).home.seconds)
            for name, path in PAGES.items():
                answer = started.site.ask(path.format(dataset=dataset))
                assert answer.status == 200, (name, answer.status)
                found.setdefault(name, []).append(answer.seconds)
            found.setdefault("home again", []).append(started.site.ask("/").seconds)
    return found


def _checked(started: Started) -> Started:
    assert started.home.status == 200, started.home.status
    return started


def peer_starts(root: Path, times: int, peer: str) -> list[float]:
    """The same of datasette."""
    taken = []
    for _ in range(times):
        with datasette(peer, root) as started:
            taken.append(_checked(started).seconds)
    return taken


def search(root: Path, options: argparse.Namespace) -> Found:
    """Seconds of every query, by contestant and kind, and which contestants gave other numbers of rows."""
    with ExitStack() as stack:
        asked = _own(stack, root)
        if not options.alone:
            asked |= _peer(stack.enter_context(datasette(options.peer, root)).site)
        for ask in asked.values():  # everything is loaded once
            ask("frequent", "red")
        taken: dict[str, list[tuple[str, float]]] = {name: [] for name in asked}
        differ: dict[str, int] = {}
        for kind, text in queries():
            rows: dict[str, int] = {}
            for name, ask in asked.items():
                if sum(seconds for _, seconds in taken[name]) > options.limit:
                    continue
                begun_s = time.perf_counter()
                rows[name] = ask(kind, text)
                if rows[name] >= 0:
                    taken[name].append((kind, time.perf_counter() - begun_s))
            for name, count in rows.items():
                if count >= 0 and count != next(iter(rows.values())):
                    differ[name] = differ.get(name, 0) + 1
    return {"taken": taken, "differ": differ}


def _own(stack: ExitStack, root: Path) -> dict[str, Ask]:
    catalog = stack.enter_context(open_catalog(root / ".g3m" / FILE))
    site = stack.enter_context(g3m_view(root)).site

    def by_catalog(kind: str, text: str) -> int:
        return len(catalog.browse(View(query=text, words=WORDS if kind == "filter" else None)).rows)

    def by_page(kind: str, text: str) -> int:
        more = {"words": str(WORDS)} if kind == "filter" else {}
        answer = site.ask("/search", q=text, **more)
        assert answer.status == 200, (text, answer.status)
        return answer.body.count(b"<img ")

    def by_function(kind: str, text: str) -> int:
        return -1 if kind == "filter" else len(g3m.search(text, limit=60, root=str(root)))

    return {"g3m, Catalog.browse": by_catalog, "g3m, page /search": by_page, "g3m.search": by_function}


def _peer(site: Site) -> dict[str, Ask]:
    def by_table(kind: str, text: str) -> int:
        if kind == "filter":  # the table that it searches has no such column
            return -1
        match = parse(text).match
        return _rows(site, "/g3m/caption.json", _search=match, _searchmode="raw", _size=60)

    def by_sql(kind: str, text: str) -> int:
        more = f" and s.words between {WORDS.low} and {WORDS.high}" if kind == "filter" else ""
        return _rows(site, "/g3m.json", sql=SQL.format(more=more), q=parse(text).match)

    return {"datasette, table search": by_table, "datasette, SQL": by_sql}


def _rows(site: Site, path: str, **parameters: object) -> int:
    answer = site.ask(path, **parameters)
    # What took longer than its limit counts with the time that was waited.
    return len(json.loads(answer.body)["rows"]) if answer.status == 200 else 0


def pictures(folder: Path, options: argparse.Namespace) -> Found:
    """Pictures a second: thumbnails with one worker and with two, Pillow, and glimpses."""
    root, count = folder / "pictures", options.pictures
    empty(root)
    write_tars(root / "photos", crops(count, PHOTO, options.photos), [count])
    tar = root / "photos" / "00000.tar"
    found: Found = {"count": count, "mean_kb": tar.stat().st_size / count / 1000}
    paths = [f"/picture/photos/{number}?side=256" for number in range(count)]
    turns: dict[str, list[float]] = {}
    for _ in range(min(options.times, 3)):
        turns.setdefault("Pillow, one process", []).append(pillow(tar, count))
        for jobs in (1, 2):
            with g3m_view(root, jobs) as started:
                first_s = thumbnails(started.site, paths[:60])
                rest_s = thumbnails(started.site, paths[60:])
            turns.setdefault(f"first 60 after the start, {jobs}", []).append(60 / first_s)
            turns.setdefault(f"thumbnails, {jobs}", []).append((count - 60) / rest_s)
    for jobs in (1, 2):
        turns[f"g3m index --pictures, {jobs}"] = [count / _glimpses_s(root, jobs)]
    return {**found, "per_s": {name: middle(several) for name, several in turns.items()}}


def _glimpses_s(root: Path, jobs: int) -> float:
    """Seconds that looking at every picture takes, without those of a run that has nothing to do."""
    (root / ".g3m" / FILE).unlink(missing_ok=True)
    _indexed(root)
    idle_s = _indexed(root).wall_s
    return _indexed(root, "--pictures", "--jobs", str(jobs)).wall_s - idle_s


def measure(folder: Path, options: argparse.Namespace) -> Found:
    """Everything, size by size."""
    found: Found = {"machine": describe(folder), "sizes": {}}
    small, _ = build(folder, min(REAL_LIMIT, *options.sizes), Path(), options)
    tar = small / "cc3m" / "00000.tar"
    for samples in sorted(options.sizes):
        root, made = build(folder, samples, tar, options)
        told(f"{samples:,}: catalog made")
        start = {"g3m view": starts(root, options.times, cold=False)}
        start["g3m view, files not in memory"] = starts(root, options.times, cold=True)
        if not options.alone:
            start["datasette"] = {"ready": peer_starts(root, options.times, options.peer)}
        told(f"{samples:,}: started")
        found["sizes"][str(samples)] = {"build": made, "start": start, "search": search(root, options)}
        told(f"{samples:,}: searched")
    if options.pictures:
        found["pictures"] = pictures(folder, options)
    if options.fiftyone:
        found["fiftyone"] = fiftyone(options.fiftyone, folder)
    return found


def told(words: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {words}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", type=int, default=[10_000, 300_000, 3_650_000])
    parser.add_argument("--times", type=int, default=4)
    parser.add_argument("--pictures", type=int, default=1000, help="for thumbnails and glimpses; 0: none")
    parser.add_argument("--limit", type=float, default=20.0, help="seconds for the queries of each")
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--kept", action="store_true")
    parser.add_argument("--peer", default=".cache/bench-view/bin/python")
    parser.add_argument("--fiftyone", default="", help="an interpreter that has fiftyone 1.22")
    parser.add_argument("--alone", action="store_true", help="without datasette")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        print(f"g3m {g3m.__version__}, {_versions(sys.executable, 'pillow', 'starlette', 'uvicorn')}")
        if not options.alone:
            print(f"peers: {_versions(options.peer, 'datasette', 'uvicorn')}")
        print(f"{describe(folder)}, load {os.getloadavg()[0]:.1f}", flush=True)
        found = measure(folder, options)
        report(found)
        if options.json:
            options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


def _versions(python: str, *names: str) -> str:
    if python == sys.executable:
        return ", ".join(f"{name} {metadata.version(name)}" for name in names)
    done = subprocess.run([python, "-c", VERSIONS, *names], capture_output=True, text=True, check=False)
    return done.stdout.strip() or done.stderr.strip()[-200:]


if __name__ == "__main__":
    main()
