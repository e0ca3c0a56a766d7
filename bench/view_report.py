"""The tables of bench/view.py."""

from __future__ import annotations

import sys
from typing import Any

from machine import middle
from view_data import KINDS

Found = dict[str, Any]


def report(found: Found) -> None:
    """The tables of all sizes."""
    sizes: dict[str, Found] = found["sizes"]
    print("\n### The catalog\n")
    print("| samples | by | wall s | CPU s | rows/s | MB | peak MB |\n|--:|---|--:|--:|--:|--:|--:|")
    for size, one in sizes.items():
        made = one["build"]
        cells = [f"{made['wall_s']:.1f}", f"{made['cpu_s']:.1f}", f"{made['rows_per_s']:,.0f}"]
        cells += [f"{made[name]:.0f}" for name in ("size_mb", "peak_mb")]
        print(f"| {int(size):,} | {made['how']} | {' | '.join(cells)} |")
    print("\n### From the command to the first page, and first answers, ms: median (least)\n")
    names = list(next(iter(sizes.values()))["start"]["g3m view"])
    print(f"| samples | what | {' | '.join(names)} |\n|--:|---|{'--:|' * len(names)}")
    for size, one in sizes.items():
        for what in ("g3m view", "g3m view, files not in memory", "datasette"):
            times = one["start"].get(what, {})
            cells = [_ms(times[name]) if name in times else "" for name in names]
            if times:
                print(f"| {int(size):,} | {what} | {' | '.join(cells)} |")
    for size, one in sizes.items():
        _report_search(int(size), one["search"])
    drawn = found.get("pictures")
    if drawn:
        print(f"\n### Pictures: {drawn['count']} of 640 x 480, mean {drawn['mean_kb']:.0f} kB\n")
        print("| what | workers | pictures/s | of Pillow's loop |\n|---|--:|--:|--:|")
        limit = drawn["per_s"]["Pillow, one process"]
        for name, rate in drawn["per_s"].items():
            what, _, jobs = name.partition(", ")
            print(f"| {what} | {jobs} | {rate:.0f} | {rate / limit:.2f} |")
    if "fiftyone" in found:
        print(f"\nFiftyOne: {found['fiftyone']}")
    sys.stdout.flush()


def _ms(several: list[float]) -> str:
    return f"{middle(several) * 1000:.0f} ({min(several) * 1000:.0f})"


def _report_search(size: int, found: Found) -> None:
    print(f"\n### Search in {size:,} captions, ms\n")
    print("| what | queries | p50 | p99 | worst | over 1 s | p50, page = 1 | p99, page = 1 |")
    print("|---|" + "--:|" * 7)
    page = [seconds for _, seconds in found["taken"]["g3m, page /search"]]
    for name, several in found["taken"].items():
        seconds = [one for _, one in several]
        cells = [str(len(seconds)), *(f"{quantile(seconds, share) * 1000:.1f}" for share in (0.5, 0.99, 1.0))]
        ratios = [f"{quantile(seconds, share) / quantile(page, share):.2f}" for share in (0.5, 0.99)]
        print(f"| {name} | {' | '.join([*cells, str(sum(one > 1 for one in seconds)), *ratios])} |")
    names = [name for name in found["taken"] if name != "g3m.search"]
    print(f"\n| median (worst) of | {' | '.join(names)} |\n|---|{'--:|' * len(names)}")
    for kind, meaning in KINDS.items():
        cells = []
        for name in names:
            own = [seconds * 1000 for one, seconds in found["taken"][name] if one == kind]
            cells.append(f"{middle(own):.1f} ({max(own):.1f})" if own else "")
        print(f"| {meaning} | {' | '.join(cells)} |")
    for name, count in found["differ"].items():
        print(f"\n{name}: another number of rows for {count} queries")


def quantile(values: list[float], share: float) -> float:
    """The smallest value that so large a share of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
