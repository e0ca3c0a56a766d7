"""Cuts the power of a run of g3m at moments of its record: `python -m tests.crash.power_driver`.

Reads a job (JSON, as tests/whole/crash_driver.py knows them) from stdin. The job runs once under strace;
for every state that a power cut may leave, the state is laid down and looked at, and the same job runs in a
forked child to its end. Prints what was seen as one JSON document.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
from pathlib import Path
from typing import Any

from tests.crash.power import Cut, lay_down, states
from tests.crash.trace import record
from tests.whole.crash_driver import WORKS, Fuse, in_child, prepare
from tests.whole.disk import check_all_whole, litter, tree

ONCE = "once"


def main() -> None:
    """Do the job on stdin."""
    job: dict[str, Any] = json.load(sys.stdin)
    prepare(job)
    root, work = Path(job["root"]), WORKS[job["work"]]
    if sys.argv[1:] == [ONCE]:
        work(job, root)
        return
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    before: dict[str, bytes] = {}
    if job["begin"]:
        shutil.copytree(job["begin"], root, dirs_exist_ok=True)
        before = {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    command = [sys.executable, "-m", "tests.crash.power_driver", ONCE]
    trace = record(command, root, Path(job["log"]), json.dumps(job), os.environ)
    whole = tree(root)
    chance = random.Random(job["seed"])

    def is_taken(_: Cut) -> bool:
        return chance.random() < job["share"]

    answer: dict[str, Any] = {"changes": len(trace.changes), "tree": whole, "states": []}
    fuse = Fuse(str(root))
    for cut, disk in states(trace, before, is_taken):
        lay_down(disk, trace.root, root)
        answer["states"].append(_seen(cut, job, root, fuse, whole))
    print(json.dumps(answer))


def _seen(cut: Cut, job: dict[str, Any], root: Path, fuse: Fuse, whole: dict[str, str]) -> dict[str, Any]:
    """What lies there after the power came back, and after the same command was given again."""
    seen: dict[str, Any] = {"moment": cut.moment, "kept": cut.kept, "zeros": cut.zeros}
    try:
        seen["tars"] = check_all_whole(root)
        if job.get("expected"):
            seen["read"] = in_child(WORKS["read"], job, root, fuse)
        seen["second"] = in_child(WORKS[job["work"]], job, root, fuse)
        seen["differs"] = sorted(set(tree(root).items()) ^ set(whole.items()))
    except AssertionError as error:
        seen["broken"] = str(error)
    seen["left"] = litter(root) if (root / ".g3m" / "parts").is_dir() else []
    return seen


if __name__ == "__main__":
    main()
