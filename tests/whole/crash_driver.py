"""Runs g3m in children that kill themselves at one exact step on the disk: `python -m tests.whole.crash_driver`.

Reads a job (JSON) from stdin. For every number N it forks a child that is ended by SIGKILL right before
its Nth change to the disk below the root (a file opened for writing, a rename, a link, a removal, a new
folder), looks at what lies there, forks another child that runs to the end, and looks again. Prints what
it saw as one JSON document; test_kill.py judges. One process imports g3m once, so that hundreds of
crashes take seconds.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from tests.whole.disk import check_all_whole, litter, tree

CHANGES = ("os.rename", "os.remove", "os.link", "os.mkdir", "os.rmdir", "os.truncate")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


@dataclass
class Fuse:
    """Counts changes below a folder and ends the process before one of them; 0 never does."""

    root: str
    limit: int = 0
    count: int = 0

    def see(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._changes_the_disk(event, arguments):
            return
        self.count += 1
        if self.count == self.limit:
            os.kill(os.getpid(), signal.SIGKILL)

    def _changes_the_disk(self, event: str, arguments: tuple[Any, ...]) -> bool:
        if event == "open":
            path, _, flags = arguments
            writes = isinstance(flags, int) and bool(flags & WRITING)
        else:
            path, writes = (arguments or ("",))[0], event in CHANGES
        return writes and isinstance(path, (str, os.PathLike)) and os.fspath(path).startswith(self.root)


def get(job: dict[str, Any], root: Path) -> None:
    """Fetch and pack; a child's whole work."""
    from g3m.core.retry import Policy
    from g3m.runners.run import get_in, make_session

    session = make_session({**job["options"], "root": str(root)}, job["variables"])
    session = replace(session, policy=Policy(first_wait_s=0.01, longest_wait_s=0.05))
    get_in(job["datasets"], session, [])


def repair(job: dict[str, Any], root: Path) -> None:
    """Verify and repair; raises if something still differs."""
    from g3m.runners.run import make_session, verify_in

    session = make_session({**job["options"], "root": str(root)}, job["variables"])
    report = verify_in([], session, [], deep=False, repair=True)
    if not report.ok:
        raise RuntimeError(str(report.findings))


def pack(job: dict[str, Any], root: Path) -> None:
    """Pack ready shards anew into the root."""
    from g3m.runners.pack import pack

    pack(job["source"], root, **job["options"])


def drop(job: dict[str, Any], root: Path) -> None:
    """Drop samples, and write their shards anew."""
    from g3m.runners.drop import Wish, drop_in
    from g3m.runners.run import make_session

    session = make_session({**job["options"], "root": str(root)}, job["variables"])
    drop_in((), Wish(keys=(Path(job["source"]),), rewrite=True), session, [])


def read(job: dict[str, Any], root: Path) -> None:
    """Read every sample as a trainer does: it is whole, or the folder is refused."""
    import g3m
    from g3m.core.errors import NotVerified

    expected = json.loads(Path(job["expected"]).read_text())
    for folder, samples in expected.items():
        try:
            with g3m.dataset(root / folder) as data:
                found = {one.key: [zlib.crc32(one.image), one.text] for one in data}
        except NotVerified:
            continue
        record = (root / folder / "dropped.jsonl").exists()
        wanted = {key: facts for key, facts in samples.items() if key not in job["dropped"] or not record}
        if found != wanted:
            raise RuntimeError(f"{folder}: {found.keys() ^ wanted.keys()}")


def gather(job: dict[str, Any], root: Path) -> None:
    """Gather a list of URLs into the root; with a second round, ask again for what failed."""
    import g3m.steps.gather
    from g3m.core.gathering import Columns, gathering_for
    from g3m.core.manners import CrowdLimits
    from g3m.runners.gather import gather_in, plan_in
    from g3m.runners.run import make_session

    session = make_session({**job["options"], "allow_private": True})
    wish = gathering_for(Columns(caption=""), session.settings, job["task_rows"])
    plan, session = plan_in([job["source"]], root, wish, session)
    g3m.steps.gather.CrowdLimits = partial(CrowdLimits, retries=0)  # type: ignore[misc]  # no waiting
    moment = datetime(2026, 1, 1, tzinfo=timezone.utc)
    gather_in(plan, replace(session, now=lambda: moment), [], retry_failed=job["retry_failed"])


def bring(job: dict[str, Any], root: Path) -> None:
    """Take in archives that were fetched by hand; raises if one is not there then."""
    from g3m.runners.run import make_session
    from g3m.steps.bring import Brought
    from g3m.steps.bring import bring as bring_in
    from g3m.steps.resolve import resolve

    session = make_session({**job["options"], "root": str(root)}, job["variables"])
    session.store.prepare()
    result = Brought()
    for _ in bring_in(Path(job["source"]), resolve(job["datasets"], session).datasets, session, result):
        pass
    taken = {path.read_bytes() for path in (root / ".g3m" / "parts").glob("*.whole")}
    if result.missing or taken != {path.read_bytes() for path in Path(job["source"]).iterdir()}:
        raise RuntimeError(f"{result.passed}")


def index(job: dict[str, Any], root: Path) -> None:
    """Write the index of foreign tars beside them."""
    from g3m.runners.index import index as index_in

    index_in(root)


def holding(root: Path, words: list[str]) -> list[str]:
    """Every file below the root, that of work in progress included, that holds one of some words."""
    files = [path for path in root.rglob("*") if path.is_file()] if words else []
    data = {path: path.read_bytes() for path in files}
    return sorted(str(path) for path in files if any(word.encode() in data[path] for word in words))


def in_child(
    work: Callable[[dict[str, Any], Path], None], job: dict[str, Any], root: Path, fuse: Fuse
) -> int:
    """The wait status of a child that does the work; it also leaves its count of changes behind."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    try:
        fuse.count = 0
        work(job, root)
        Path(job["count_file"]).write_text(str(fuse.count))
        os._exit(0)
    except BaseException as error:  # a child must never return into the parent's loop
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)


WORKS: dict[str, Callable[[dict[str, Any], Path], None]] = {
    "get": get,
    "repair": repair,
    "pack": pack,
    "gather": gather,
    "drop": drop,
    "bring": bring,
    "index": index,
    "read": read,
}


def prepare(job: dict[str, Any]) -> None:
    """Import what the works need, and make little data have many moments."""
    import g3m.adapters.parts
    import g3m.core.samples
    import g3m.runners.gather
    import g3m.runners.pack
    import g3m.runners.run

    g3m.core.samples.SHARD_SAMPLES = job["shard_samples"]
    # A journal from the first bytes on, however small the file.
    g3m.adapters.parts.LEAST_FLUSH_BYTES = g3m.adapters.parts.MOST_FLUSH_BYTES = job["flush_bytes"]
    g3m.adapters.parts.FLUSH_S = g3m.adapters.parts.LEAST_FLUSH_S = 0.0


def main() -> None:
    """Do the job on stdin."""
    job: dict[str, Any] = json.load(sys.stdin)
    prepare(job)  # before the forks
    # A kill takes nothing from the system's memory, and syncing takes longest.
    for name in ("fsync", "fdatasync"):
        setattr(os, name, lambda descriptor: None)
    root, begin = Path(job["root"]), Path(job["begin"]) if job["begin"] else None
    work = WORKS[job["work"]]
    fuse = Fuse(str(root))
    sys.addaudithook(fuse.see)

    def fresh() -> None:
        shutil.rmtree(root, ignore_errors=True)
        if begin is not None:
            shutil.copytree(begin, root)

    fresh()
    answer: dict[str, Any] = {"first": in_child(work, job, root, fuse), "tree": tree(root), "crashes": []}
    answer["steps"] = int(Path(job["count_file"]).read_text())
    for number in range(1 + job["offset"], answer["steps"] + 1, job["stride"]):
        fresh()
        fuse.limit = number
        status = in_child(work, job, root, fuse)
        fuse.limit = 0
        seen: dict[str, Any] = {"step": number, "killed": os.WIFSIGNALED(status)}
        try:
            seen["tars"] = check_all_whole(root)
            if job.get("expected"):
                seen["read"] = in_child(WORKS["read"], job, root, fuse)
            seen["second"] = in_child(work, job, root, fuse)
            seen["words"] = holding(root, job.get("words", []))
            seen["same"] = tree(root) == answer["tree"]
            seen["differs"] = sorted(set(tree(root).items()) ^ set(answer["tree"].items()))
        except AssertionError as error:
            seen["broken"] = str(error)
        seen["left"] = litter(root)
        answer["crashes"].append(seen)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
