"""part: one of several processes that gather the same lists into one root, as in an array of jobs.

    arrange    once, by whoever holds the lease of the root; the others wait for it
    pack       every N-th task, under a lease of this part
    publish    by the part that finds every receipt there

Nothing depends on the processes knowing of one another: what is done has a receipt. A part that was killed is
repeated and goes on, also on another machine.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from g3m.adapters.disk import STALE_S, Lease
from g3m.adapters.session import Session
from g3m.core.agenda import Agenda
from g3m.core.errors import Interrupted, Locked, SettingsError
from g3m.core.events import Sink
from g3m.core.gathering import GatherPlan, parse_part
from g3m.core.plan import Plan, Task
from g3m.runners.base import (
    Beat,
    Run,
    Runner,
    Summary,
    all_published,
    begin,
    check_identity,
    check_space,
    drive,
    end,
    keep_plans,
    missing_packs,
    pending,
    raise_failures,
    sweep,
    work,
)
from g3m.steps.arrangement import read_arrangement

PART = "part"
"""What the lease of a root says while parts of a run take turns with it."""

_WAIT_S = 0.2
_PATIENCE_S = STALE_S + 15.0
_WHOLE_HINT = (
    "leave --part out: only lists of URLs are gathered in parts",
    "请去掉 --part：只有 URL 列表可以分部分收集",
)


def drive_shared(plan: Plan, session: Session, runner: Runner, sinks: Sequence[Sink] = ()) -> Summary:
    """`drive`, or the part of it that `--part` names."""
    part = parse_part(session.settings.part)
    return drive_part(plan, session, runner, sinks, part) if part else drive(plan, session, runner, sinks)


def drive_part(
    plan: Plan, session: Session, runner: Runner, sinks: Sequence[Sink], part: tuple[int, int]
) -> Summary:
    """Do one part of a plan; it has manifests once all parts are done. Raises what `drive` raises."""
    for dataset in plan.datasets:
        if not isinstance(dataset, GatherPlan):
            raise SettingsError(f"part: {dataset.name} is no list of URLs", hint=_WHOLE_HINT)
        if session.shelf is not None:
            session.shelf.pull(dataset.name)
        check_identity(dataset, session)
    run = Run(plan, session, Agenda(()), Summary(manifests=all_published(plan, session)), sinks, is_part=True)
    if len(run.summary.manifests) < len(plan.datasets):
        session.store.prepare()
        with _held(session.store.part_lease(*part), session, _is_elsewhere) as own:
            _work(run, runner, own, part)
        run.summary.manifests = all_published(plan, session)
    if session.stop.is_set():
        raise Interrupted("stopped; everything verified so far is kept")
    raise_failures(run.summary)
    return run.summary


def _work(run: Run, runner: Runner, own: Lease, part: tuple[int, int]) -> None:
    session, plan, started_s = run.session, run.plan, run.session.monotonic()
    with _root(session, own) as beat:
        _refuse_other_cuts(session, part)
        if [lease.path for lease in session.store.part_leases()] == [own.path]:
            sweep(plan, run.summary.manifests, session)
        keep_plans(plan, session)
        check_space(plan, session)
        begin(run, _first_tasks(run))
        work(run, runner, beat)
    run.agenda.add(_own_packs(run, part))
    work(run, runner, own.beat)
    _publish(run, runner, own)
    end(run, started_s)


def _refuse_other_cuts(session: Session, part: tuple[int, int]) -> None:
    """Locked if a process is at work that shares the tasks out among another number of parts."""
    for lease in session.store.part_leases():
        if not lease.path.name.endswith(f"-of-{part[1]}"):
            lease.refuse()


def _first_tasks(run: Run) -> list[Task]:
    """What must be done once before any part can begin."""
    waiting = [dataset for dataset in run.plan.datasets if dataset.name not in run.summary.manifests]
    missing = (dataset for dataset in waiting if read_arrangement(dataset, run.session) is None)
    return [
        task
        for dataset in missing
        for task in pending(dataset, run.session)
        if task.kind in ("fetch", "arrange")
    ]


def _own_packs(run: Run, part: tuple[int, int]) -> list[Task]:
    """The tasks of this part that are not done, of every list that was arranged."""
    number, count = part
    own = []
    for dataset in run.plan.datasets:
        found = read_arrangement(dataset, run.session)
        names = {shard.name for shard in found.shards[number::count]} if found else set()
        missing = missing_packs(dataset, run.session) or ()
        own += [replace(task, needs=()) for task in missing if task.shard in names]
    return own


def _publish(run: Run, runner: Runner, own: Lease) -> None:
    """Publish every dataset of which all parts are done."""
    session = run.session
    ready = []
    for dataset in run.plan.datasets:
        if session.shelf is not None:
            session.shelf.pull(dataset.name)
        if missing_packs(dataset, session) == ():
            ready.append(dataset)
    if not ready or session.stop.is_set():
        return
    with _root(session, own) as beat:  # another part may have been as fast
        done = all_published(run.plan, session)
        run.agenda.add(dataset.publish_task(()) for dataset in ready if dataset.name not in done)
        work(run, runner, beat)


@contextmanager
def _root(session: Session, own: Lease) -> Iterator[Beat]:
    """Hold the lease of the root, after the other parts; Locked if a run that is no part holds it."""
    lease = session.store.root_lease(PART)
    with _held(lease, session, lambda holder: holder.get("for") == PART, own):

        def beat() -> None:
            own.beat()
            lease.beat()

        yield beat


def _is_elsewhere(holder: dict[str, object]) -> bool:
    """Whether a lease may be what a killed process on another machine left: then it is waited for."""
    return holder.get("host") != socket.gethostname()


@contextmanager
def _held(
    lease: Lease, session: Session, may_wait: Callable[[dict[str, object]], bool], own: Lease | None = None
) -> Iterator[Lease]:
    """Hold a lease as soon as it is free; Locked at once if its holder is none that may be waited for."""
    started_s = session.monotonic()
    while True:
        holder = lease.holder()
        if holder is not None and not may_wait(holder):
            lease.refuse()
        try:
            lease.take()
            break
        except Locked:
            if own is None and session.monotonic() - started_s > _PATIENCE_S:
                raise
        if own is not None:
            own.beat()
        session.wait(_WAIT_S)
    try:
        yield lease
    finally:
        lease.release()
