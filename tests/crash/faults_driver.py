"""Harms a run of g3m at single system calls of its record: `python -m tests.crash.faults_driver`.

Reads a job (JSON, as tests/whole/crash_driver.py knows them) from stdin; `kinds` are the faults to be tried and
`calls` the calls, all if empty, and `limit` how many of them (0: all). A first child is recorded. Then for every
fault a child is harmed, what lies there is looked at, and the same job runs in another child to its end. Prints what
was seen as one JSON document.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.crash import toy
from tests.crash.faults import KILL, SYNCS, Fault, Outcome, faults_of, harmed, harmed_for_good, recorded
from tests.whole.crash_driver import WORKS, Fuse, in_child, prepare
from tests.whole.disk import check_all_whole, litter, tree

Work = Callable[[dict[str, Any], Path], None]


def toy_work(job: dict[str, Any], root: Path) -> None:
    """The toy, with the bug that is asked for; in the threads that are asked for, one after the other."""
    for shards in job.get("threads", ()):
        with ThreadPoolExecutor(1) as pool:
            pool.submit(toy.run, root, job["bug"], shards).result()
    toy.run(root, job["bug"])


def drop(job: dict[str, Any], root: Path) -> None:
    """Drop samples, and write their shards anew; raises if a dataset's cannot be."""
    from g3m.runners.drop import Wish, drop_in
    from g3m.runners.run import make_session

    session = make_session({**job["options"], "root": str(root)}, job["variables"])
    report = drop_in((), Wish(keys=(Path(job["source"]),), rewrite=True), session, [])
    for error in report.failed.values():
        raise error


def again(job: dict[str, Any], root: Path) -> None:
    """The work in a child that nothing happens to: it needs no fsync, which takes longest."""
    for name in SYNCS:
        setattr(os, name, lambda descriptor: None)
    ALL_WORKS[job["work"]](job, root)


ALL_WORKS: dict[str, Work] = {**WORKS, "toy": toy_work, "drop": drop}


def main() -> None:
    """Do the job on stdin."""
    job: dict[str, Any] = json.load(sys.stdin)
    prepare(job)
    root, log, work = Path(job["root"]), Path(job["log"]), ALL_WORKS[job["work"]]

    def do() -> None:
        work(job, root)

    fresh(job, root)
    record, first = recorded(do, root, log)
    assert first.status == 0, first
    for name in first.said["modules"]:  # so that no other child has to
        with suppress(ImportError):
            import_module(name)
    points, shadowed = record.points()
    whole = tree(root)
    wanted = [point for point in points if not job["calls"] or point.name in job["calls"]]
    faults = list(faults_of(wanted, job["kinds"]))
    answer: dict[str, Any] = {"points": len(points), "shadowed": shadowed, "faults": len(faults), "seen": []}
    begun_s = time.monotonic()
    for fault in sample(faults, job["limit"]):
        fresh(job, root)
        if fault.kind == "EIO" and fault.point.name in SYNCS and not fault.point.only:
            outcome = harmed_for_good(do, fault, record, log)
        else:
            outcome = harmed(do, fault, record, log)
        answer["seen"].append(_seen(fault, outcome, job, root, whole))
    answer["seconds"] = time.monotonic() - begun_s
    print(json.dumps(answer))


def sample(faults: Sequence[Fault], limit: int) -> list[Fault]:
    """So many faults, the same in every run, half of them kills; all of them if the limit is 0."""
    chance = random.Random(limit)
    kills = [fault for fault in faults if fault.kind == KILL]
    errors = [fault for fault in faults if fault.kind != KILL]
    if not limit:
        return [*kills, *errors]
    half = limit // 2 if kills and errors else limit
    return [one for group in (kills, errors) for one in chance.sample(group, min(len(group), half))]


def fresh(job: dict[str, Any], root: Path) -> None:
    """The root as it was before the run."""
    shutil.rmtree(root, ignore_errors=True)
    if job["begin"]:
        shutil.copytree(job["begin"], root)
    else:
        root.mkdir()


def _seen(
    fault: Fault, outcome: Outcome, job: dict[str, Any], root: Path, whole: dict[str, str]
) -> dict[str, Any]:
    """What lies there after a fault, and after the same command was given again."""
    fuse = Fuse(str(root))
    hit = outcome.killed if fault.kind == KILL else outcome.hit
    said = {name: value for name, value in outcome.said.items() if name != "modules"}
    seen: dict[str, Any] = {"fault": str(fault), "kind": fault.kind, "hit": hit, "said": said}
    seen["ended"] = not outcome.hung and (outcome.killed or bool(said))
    seen["after"] = _differences(root, whole) if outcome.status == 0 else []
    try:
        seen["tars"] = look(job, root)
        there = tree(root)  # where nothing lay before, a final name is given once
        seen["partial"] = [
            one for one in there if not job["begin"] and there[one] != whole.get(one, there[one])
        ]
        if job.get("expected"):
            seen["read"] = in_child(WORKS["read"], job, root, fuse)
        seen["second"] = in_child(again, job, root, fuse)
        seen["differs"] = _differences(root, whole)
        look(job, root)
    except AssertionError as error:
        seen["broken"] = str(error)
    seen["left"] = litter(root) if (root / ".g3m" / "parts").is_dir() else []
    return seen


def look(job: dict[str, Any], root: Path) -> int:
    """AssertionError if something under a final name is not whole."""
    if job["work"] != "toy":
        return check_all_whole(root)
    for path in root.glob("*.shard"):
        assert path.read_bytes() == toy.content(int(path.stem)), f"{path}: half"
    return 0


def _differences(root: Path, whole: dict[str, str]) -> list[str]:
    return sorted({name for name, _ in set(tree(root).items()) ^ set(whole.items())})


if __name__ == "__main__":
    main()
