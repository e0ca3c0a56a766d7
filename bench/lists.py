"""How long planning takes for lists of many rows, and how much memory: `python bench/lists.py FOLDER`.

Lists are made in FOLDER and deleted again, one after the other. Each is laid out in a process of its own, and
once more, as a second start does. `--rows 100000000` is the whole; a list of text takes some 15 GB then.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

CHUNK_ROWS = 100_000
WORDS = (
    "a wooden chair in the living room beside",
    "an old lamp",
    "seen from the door",
    "of the house",
    "at noon",
)


def captions(start: int, count: int) -> Iterator[str]:
    """Some words each; one of twenty has a comma and quotes, one of a thousand a brace."""
    for number in range(start, start + count):
        first = number % 3
        words = " ".join(WORDS[first : first + 2])
        more = ' {"x"}' if not number % 1000 else ', "old"' if not number % 20 else ""
        yield f"{words} {number % 9973}{more}"


def url(number: int) -> str:
    return f"https://host{number % 9973}.example.com/images/{number:010d}.jpg"


def parquet(path: Path, rows: int) -> None:
    import pyarrow
    import pyarrow.parquet

    schema = pyarrow.schema([("url", pyarrow.string()), ("caption", pyarrow.string())])
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        for start, count in chunks(rows):
            urls = [url(number) for number in range(start, start + count)]
            values = [pyarrow.array(urls), pyarrow.array(list(captions(start, count)))]
            writer.write_table(pyarrow.table(values, schema=schema))


def peak_kb() -> int:
    """The most memory that this process has had; that of getrusage would begin with its parent's."""
    found = re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())
    assert found
    return int(found[1])


def chunks(rows: int) -> Iterator[tuple[int, int]]:
    for start in range(0, rows, CHUNK_ROWS):
        yield start, min(CHUNK_ROWS, rows - start)


def text(
    line: Callable[[str, str], str], head: str = "", between: str = "", end: str = ""
) -> Callable[[Path, int], None]:
    def write(path: Path, rows: int) -> None:
        with open(path, "w", encoding="utf-8") as file:
            file.write(head)
            for start, count in chunks(rows):
                lines = (
                    line(url(start + place), words) for place, words in enumerate(captions(start, count))
                )
                file.write((between if start else "") + between.join(lines))
            file.write(end)

    return write


def quoted(words: str) -> str:
    return '"' + words.replace('"', '""') + '"' if "," in words or '"' in words else words


def record(address: str, words: str) -> str:
    escaped = words.replace('"', '\\"')
    return f'{{"url": "{address}", "caption": "{escaped}"}}'


MAKERS: dict[str, Callable[[Path, int], None]] = {
    "parquet": parquet,
    "csv": text(lambda address, words: f"{address},{quoted(words)}\n", head="url,caption\n"),
    "tsv": text(lambda address, words: f"{address}\t{words}\n", head="url\tcaption\n"),
    "txt": text(lambda address, _: f"{address}\n"),
    "jsonl": text(lambda address, words: f"{record(address, words)}\n"),
    "json": text(record, head="[", between=", ", end="]"),
}


def lay_out_once(path: Path, root: Path) -> dict[str, float]:
    """Lay a list out, or find that it is; what it took."""
    from g3m.core.gathering import Columns, Gathering, gather_plan
    from g3m.core.plan import Plan, Task
    from g3m.core.recipe import Expect, Recipe, SampleRule
    from g3m.core.treatment import AS_IT_IS
    from g3m.runners.run import make_session
    from g3m.steps.arrangement import pack_tasks, read_arrangement
    from g3m.steps.layout import batch_of, lay_out, read_batch
    from g3m.steps.lists import find_lists

    session = make_session({"root": str(root)}, {})
    before_kb = peak_kb()
    begun_s, begun_cpu_s = time.perf_counter(), time.process_time()
    sources, _ = find_lists([str(path)], session)
    recipe = Recipe(
        name="rows", title="", folder="rows", homepage="", licence="", terms="", citation="",
        samples=SampleRule(reader="urls"), expect=Expect(), assets=(),
    )  # fmt: skip
    columns = Columns(caption="" if path.suffix == ".txt" else "caption")
    dataset = gather_plan(recipe, sources, Gathering(columns=columns), AS_IT_IS)
    task = Task(id="arrange/rows", kind="arrange", dataset="rows")
    for _ in lay_out(task, Plan(datasets=(dataset,)), session):
        pass
    planned_s, cpu_s = time.perf_counter() - begun_s, time.process_time() - begun_cpu_s
    most_kb = peak_kb()
    begun_s = time.perf_counter()
    found = read_arrangement(dataset, session)
    arrangement_s = time.perf_counter() - begun_s
    assert found is not None
    last = pack_tasks(dataset, found)[-1]
    begun_s = time.perf_counter()
    count = sum(1 for _ in read_batch(dataset, batch_of(last, dataset, session), session))
    assert count == last.samples
    return {
        "rows": found.samples,
        "planned_s": planned_s,
        "cpu_s": cpu_s,
        "before_mb": before_kb / 1000,
        "peak_mb": most_kb / 1000,
        "arrangement_s": arrangement_s,
        "batch_s": time.perf_counter() - begun_s,
        "read_peak_mb": peak_kb() / 1000,
    }


def child(path: Path, root: Path) -> dict[str, float]:
    command = [sys.executable, __file__, str(root), "--plan", str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--forms", default=",".join(MAKERS))
    parser.add_argument("--plan", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plan:
        print(json.dumps(lay_out_once(options.plan, options.folder)))
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    print("| form | rows | GB | planning s (CPU) | MB/s | peak MB (before) | restart s | a batch s (MB) |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for form in options.forms.split(","):
        path, root = options.folder / f"list.{form}", options.folder / "root"
        try:
            MAKERS[form](path, options.rows)
            size_bytes = path.stat().st_size
            first, second = child(path, root), child(path, root)
        finally:
            path.unlink(missing_ok=True)
            shutil.rmtree(root, ignore_errors=True)
        assert first["rows"] == second["rows"] == options.rows
        cells = (
            form,
            f"{options.rows:,}",
            f"{size_bytes / 1e9:.2f}",
            f"{first['planned_s']:.2f} ({first['cpu_s']:.2f})",
            f"{size_bytes / 1e6 / first['planned_s']:.0f}",
            f"{first['peak_mb']:.0f} ({first['before_mb']:.0f})",
            f"{second['planned_s']:.3f}",
            f"{first['batch_s']:.3f} ({first['read_peak_mb']:.0f})",
        )
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
