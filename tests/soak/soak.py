"""The soak: everything of g3m that lasts, at once, for a long time, while the network fails and processes die.

    python -m tests.soak.soak --seconds 3600 --seed 1 --report soak.json

Rounds of get and gather go on until the time is over, each compared with what came undisturbed, beside a view, a share,
a loader and one long download. At the end nothing may be left over, and what lasted may not have grown (flat.py).
Needs what tests/netlab needs.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.netlab.namespaces import call
from tests.netlab.usable import why_not
from tests.soak.adversary import Adversary, Pace
from tests.soak.drawn import Size
from tests.soak.flat import LEAST_SAMPLES, judge_all
from tests.soak.gathers import Gathers
from tests.soak.gets import Gets
from tests.soak.scene import Scene, open_scene
from tests.soak.steady import Loader, Long, Share, View
from tests.soak.watch import Watcher, command_line

HOUR = Size(
    ready_shards=6,
    sample_bytes=300_000,
    pictures=1000,
    pictures_per_shard=150,
    rows=2000,
    task_rows=250,
    long_samples=220,
)
MINUTE = Size(
    ready_shards=2,
    sample_bytes=100_000,
    pictures=60,
    pictures_per_shard=30,
    rows=100,
    task_rows=25,
    long_samples=20,
)
LASTING = ("view", "share", "loader", "long get")
TICK_S = 0.25
TELL_AGAIN_S = 30.0
GONE_S = 120.0
"""Who was told to end, or lost its parent, is gone by then."""

VISIT_S = 6.0


@dataclass(frozen=True)
class Plan:
    """How long, how much and how fast."""

    size: Size
    seed: int
    seconds: float = 0.0
    rounds: int = 1
    """The soak is over when its time is, each kind of work has so many rounds, and every fault was met."""

    pace: Pace = field(default_factory=Pace)
    sample_s: float = 5.0
    visit_s: float = VISIT_S
    bwlimit: str = "1500K"
    long_bwlimit: str = "50K"
    batch_pause_s: float = 0.05
    patience: int = 8
    judged: bool = True
    """Whether the series are long enough to be judged."""


def short(seed: int) -> Plan:
    """Every kind of work to its end and every kind of fault, once: that the program does not rot."""
    return Plan(
        MINUTE,
        seed,
        pace=Pace((0.2, 0.8), (0.3, 2.0)),
        sample_s=0.5,
        visit_s=0.5,
        long_bwlimit="100K",
        batch_pause_s=0.01,
        patience=3,
        judged=False,
    )


@dataclass
class Outcome:
    """What the soak has to say."""

    counts: dict[str, int]
    failures: list[str]
    series: dict[str, list[dict[str, float]]]
    verdicts: dict[str, list[str]] = field(default_factory=dict)


class Shift:
    """The threads that work until it is over; what breaks in one ends the soak as a failure."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.over = threading.Event()
        self._threads: list[threading.Thread] = []

    def repeat(self, name: str, work: Callable[[int], None], pause_s: float = 0.0) -> None:
        """Do a round after the other on a thread."""

        def run() -> None:
            number = 0
            while not self.over.is_set():
                try:
                    work(number)
                except Exception:
                    self.scene.tally.fail(f"{name}, round {number}: {traceback.format_exc()[-2000:]}")
                    self.over.set()
                number += 1
                self.over.wait(pause_s)

        thread = threading.Thread(target=run, name=name)
        self._threads.append(thread)
        thread.start()

    def end(self) -> None:
        """Let every round come to its end; the long download is told to stop, and told again."""
        self.over.set()
        while any(thread.is_alive() for thread in self._threads):
            self.scene.seats["long"].kill(signal.SIGTERM)
            for thread in self._threads:
                thread.join(TELL_AGAIN_S)


def soak(plan: Plan, folder: Path) -> Outcome:
    """Play it all in an empty folder."""
    with open_scene(folder, plan.size, plan.seed) as scene, Watcher(plan.sample_s) as watcher:
        adversary = Adversary(scene, plan.pace, plan.seed)
        gets = Gets(scene, scene.seats["get"], adversary, folder / "live", bwlimit=plan.bwlimit)
        gathers = Gathers(scene, scene.seats["gather"], adversary)
        reference = gets.refer()
        gathers.refer()
        long = Long(scene, scene.seats["long"], adversary, watcher, plan.long_bwlimit)
        view = View(scene, adversary, watcher, gets.live)
        share = Share(scene, watcher)
        loader = Loader(scene, scene.seats["loader"], watcher, plan.batch_pause_s)
        gets.peer = share.start(reference)
        view.start()
        loader.start(reference)
        adversary.expose(loader.seat, "network")
        gets.patience = gathers.patience = plan.patience
        with _shift(scene) as shift, adversary:
            shift.repeat("get", gets.round)
            shift.repeat("gather", gathers.round)
            shift.repeat("view", view.round, plan.visit_s)
            shift.repeat("long get", long.round)
            _wait(plan, shift, adversary, loader)
        adversary.expose(loader.seat)
        for lasting in (view, share, loader):
            lasting.stop()
        long.finish()
        _look_for_leftovers(scene, watcher)
        return _outcome(plan, scene, watcher)


@contextmanager
def _shift(scene: Scene) -> Iterator[Shift]:
    shift = Shift(scene)
    try:
        yield shift
    finally:
        shift.end()


def _wait(plan: Plan, shift: Shift, adversary: Adversary, loader: Loader) -> None:
    """Until the time is over and everything has happened; for ever, if it does not."""
    end_s = time.monotonic() + plan.seconds
    while not shift.over.wait(TICK_S):
        rounds = shift.scene.tally.among("rounds")
        done = all(rounds.get(name, 0) >= plan.rounds for name in ("get", "gather", "view"))
        if time.monotonic() >= end_s and done and not adversary.missing and loader.epochs >= plan.rounds:
            return
        if not adversary.is_at_work:
            return


def _look_for_leftovers(scene: Scene, watcher: Watcher) -> None:
    """Nothing stands in the folder for temporary files, nothing new at home, nobody is left running."""
    for name in ("tmp", "home"):
        left = sorted(path.relative_to(scene.folder).as_posix() for path in (scene.folder / name).rglob("*"))
        if left:
            scene.tally.fail(f"left over in {name}: {left[:20]}")
    end_s = time.monotonic() + GONE_S
    while (alive := _alive(scene, watcher)) and time.monotonic() < end_s:
        time.sleep(TICK_S)
    for pid in alive:
        scene.tally.fail(f"still running: {pid}: {command_line(pid)}")


def _alive(scene: Scene, watcher: Watcher) -> list[int]:
    """Who was seen below a watched process, and everybody on the machines behind the wall."""
    names = [seat.client.namespace.name for seat in scene.seats.values()]
    pids = [int(pid) for name in names for pid in call("ip", "netns", "pids", name).split()]
    return [*watcher.alive(), *pids]


def _outcome(plan: Plan, scene: Scene, watcher: Watcher) -> Outcome:
    tally = scene.tally
    made = Outcome(dict(sorted(tally.counts.items())), tally.failures, watcher.series)
    for name in LASTING if plan.judged else ():
        series = watcher.longest(name)
        if len(series) < LEAST_SAMPLES:
            tally.fail(f"{name} never lasted: {len(series)} samples")
            continue
        verdicts = judge_all(series)
        made.verdicts[name] = [str(verdict) for verdict in verdicts]
        for verdict in verdicts:
            if not verdict.flat:
                tally.fail(f"{name}: {verdict}")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Soak, and say how it went."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--short", action="store_true", help="small, and over when all was met once")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path, help="where the counts and series go, as JSON")
    options = parser.parse_args(arguments)
    if reason := why_not():
        print(f"the soak {reason}")
        return 2
    folder = Path(tempfile.mkdtemp(prefix="g3m-soak-"))
    plan = short(options.seed) if options.short else Plan(HOUR, options.seed, options.seconds)
    outcome = soak(plan, folder)
    if options.report:
        document: dict[str, Any] = {
            "seed": options.seed,
            "seconds": options.seconds,
            "counts": outcome.counts,
            "failures": outcome.failures,
            "verdicts": outcome.verdicts,
            "series": outcome.series,
        }
        options.report.write_text(json.dumps(document, indent=1), encoding="utf-8")
    for name, number in outcome.counts.items():
        print(f"{number:>14,}  {name}")
    for name, verdicts in outcome.verdicts.items():
        print(name, *verdicts, sep="\n  ")
    if outcome.failures:
        print(f"kept: {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder)
    return 1 if outcome.failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
