"""The tables of bench/load.py, and what they say about each goal."""

from __future__ import annotations

from dataclasses import dataclass, field

from machine import middle

Key = tuple[str, str, int]
"""Loader, path, workers."""

OWN = ("g3m", "g3m, processes")
LIMITS = ("tarfile alone", "decoder alone, threads", "decoder alone, processes")
AS_THEY_COME = ("exact", "own")
"""The paths that peers' documentation leads to; `fast` lends them g3m's decoder."""

RAW_GOAL, FAST_GOAL, EXACT_GOAL, LIMIT_GOAL = 4.0, 2.5, 1.0, 0.85


@dataclass(slots=True)
class Measured:
    """The runs of one row, or why there are none."""

    runs: list[dict[str, float]] = field(default_factory=list)
    problem: str = ""

    def rates(self) -> list[float]:
        """Samples a second after the first batch; from the call on where the first batch is all there is."""
        found = []
        for one in self.runs:
            rest = one["samples"] - one["first_samples"]
            steady = rest > one["samples"] / 2
            found.append(
                rest / one["rest_s"] if steady else one["samples"] / (one["first_s"] + one["rest_s"])
            )
        return found

    @property
    def rate(self) -> float:
        """Their median; 0 if there are none."""
        return middle(self.rates()) if self.runs else 0.0

    def column(self, name: str) -> float:
        return middle([one[name] for one in self.runs])


Rows = dict[Key, Measured]


def best_peer(rows: Rows, paths: tuple[str, ...], workers: int) -> tuple[str, float]:
    """The fastest loader that is neither g3m nor a limit, over these paths."""
    found = [
        (f"{name}, {path}", row.rate)
        for (name, path, count), row in rows.items()
        if path in paths and count == workers and name not in (*OWN, *LIMITS)
    ]
    return max(found, key=lambda one: one[1], default=("no peer", 0.0))


def limit(rows: Rows, path: str, workers: int) -> float:
    """What the decoder or tarfile alone reach, by threads or by processes."""
    return max(rows[name, path, workers].rate if (name, path, workers) in rows else 0 for name in LIMITS)


def _ratio(one: float, other: float) -> str:
    return f"{one / other:.2f}" if one and other else "-"


def report_paths(rows: Rows, path: str, title: str) -> None:
    """One table: loaders by workers, with ratios to the best peer and to the limit of as many workers."""
    print(f"\n### {title}\n")
    print(
        "| loader | workers | turns | samples/s | least to most | of the best peer | of the limit "
        "| with start | first batch s | wall s | CPU ms a sample | peak MB | read MB |"
    )
    print("|---|" + "--:|" * 12)
    for (name, row_path, workers), row in sorted(rows.items(), key=lambda item: (-item[0][2], -item[1].rate)):
        if row_path != path:
            continue
        if not row.runs:
            print(f"| {name} | {workers} | 0 | {row.problem or 'no time was left'} |" + " |" * 9)
            continue
        rates = row.rates()
        peer = best_peer(rows, (path,), workers)[1] if name not in LIMITS else 0
        columns = [
            f"{row.rate:.0f}",
            f"{min(rates):.0f} to {max(rates):.0f}",
            _ratio(row.rate, peer),
            _ratio(row.rate, limit(rows, path, workers)),
            f"{middle([one['samples'] / (one['first_s'] + one['rest_s']) for one in row.runs]):.0f}",
            f"{row.column('first_s'):.2f}",
            f"{row.column('wall_s'):.1f}",
            f"{middle([1000 * one['cpu_s'] / one['samples'] for one in row.runs]):.2f}",
            f"{row.column('peak_bytes') / 1e6:.0f}",
            f"{row.column('read_bytes') / 1e6:.0f}",
        ]
        print(f"| {name} | {workers} | {len(rates)} | {' | '.join(columns)} |", flush=True)


def report_goals(rows: Rows) -> None:
    """Each goal with what was measured, and every row in which a peer was faster."""
    print("\n### Goals\n")
    for workers in sorted({key[2] for key in rows}, reverse=True):

        def own(path: str, name: str = "g3m", workers: int = workers) -> float:
            row = rows.get((name, path, workers))
            return row.rate if row else 0.0

        print(f"With {workers} worker{'s' if workers > 1 else ''}:")
        _goal("raw against webdataset", own("raw"), ("webdataset", own("raw", "webdataset")), RAW_GOAL)
        came = best_peer(rows, AS_THEY_COME, workers)
        _goal("fast against the best peer as it comes", own("fast"), came, FAST_GOAL)
        _goal("uint8 against the best peer as it comes", own("uint8"), came, FAST_GOAL)
        _goal("near against the best peer as it comes", own("near"), came, FAST_GOAL)
        lent = best_peer(rows, ("fast",), workers)
        _goal("fast against the best peer with g3m's decoder", own("fast"), lent, EXACT_GOAL)
        _goal("exact against the best peer", own("exact"), best_peer(rows, ("exact",), workers), EXACT_GOAL)
        for path in ("fast", "uint8", "near", "exact"):
            alone = ("the decoder alone", limit(rows, path, workers))
            _goal(f"{path} against the limit", own(path), alone, LIMIT_GOAL)
        for path in ("raw", "fast", "exact"):
            name, rate = best_peer(rows, (path,), workers)
            if own(path) and rate > own(path):
                print(f"- {path}: not the fastest, {name} has {rate:.0f} a second, g3m {own(path):.0f}")
        print()


def _goal(what: str, rate: float, against: tuple[str, float], goal: float) -> None:
    name, other = against
    if rate and other:
        word = "reached" if rate >= goal * other else "not reached"
        print(f"- {what} ({name}): {rate:.0f} / {other:.0f} = {rate / other:.2f}, goal {goal}: {word}")
