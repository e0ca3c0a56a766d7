"""drive: run a plan to its end, wherever its tasks run.

Receipts decide what is left; a runner only runs what it is given. Events go to the sinks in order, from
one thread. Failed tasks are tried once more at the end, after the others. Running a finished plan again
does nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from g3m.adapters.disk import Lease, is_being_made, read_document, remove
from g3m.adapters.parts import claimed_bytes
from g3m.adapters.session import Session
from g3m.core.agenda import Agenda
from g3m.core.errors import (
    Advice,
    G3MError,
    Interrupted,
    Locked,
    NoSpace,
    OtherOptions,
    PartialError,
    Unreachable,
)
from g3m.core.events import (
    Event,
    RunFinished,
    RunStarted,
    Sink,
    TaskFailed,
    TaskFinished,
    TasksAdded,
    TaskStarted,
)
from g3m.core.gathering import GatherPlan
from g3m.core.plan import DatasetPlan, Plan, Task
from g3m.core.receipt import Manifest, shard_receipt
from g3m.core.recipe import Asset
from g3m.core.reshard import ReshardPlan
from g3m.steps.adopt import adopt
from g3m.steps.again import again_shards
from g3m.steps.arrange import arrange
from g3m.steps.arrangement import pack_tasks, read_arrangement
from g3m.steps.fetch import fetch
from g3m.steps.find import part_path, present
from g3m.steps.gather import gather
from g3m.steps.gathered import keep_plan
from g3m.steps.layout import lay_out
from g3m.steps.pack import pack, read_shard_receipt
from g3m.steps.publish import publish, published, read_manifest, used_up
from g3m.steps.reshard import repack
from g3m.steps.rewrite import finish_all
from g3m.steps.stream import stream
from g3m.steps.streamed import bytes_here
from g3m.steps.survey import survey

RunTask = Callable[[Task], Iterator[Event]]
Outcome = tuple[Task, Event | G3MError | None]
"""What a runner reports: an event of a task, the error that ended it, or None when it is done."""

Beat = Callable[[], None]
"""To be called every few seconds, also while nothing happens: it shows that the run is alive."""

Runner = Callable[[Agenda, RunTask, Session, Beat], Iterator[Outcome]]

STEPS = {"fetch": fetch, "arrange": arrange, "pack": pack, "adopt": adopt, "publish": publish}
RESHARD_STEPS = {**STEPS, "arrange": survey, "pack": repack}
GATHER_STEPS = {**STEPS, "arrange": lay_out, "pack": gather}
INODES_SPARE = 1000
ROUNDS = 2

SILENT_TASKS = 3
"""So many tasks in a row that nobody answered, and no other is begun: the network is dead."""


@dataclass(slots=True)
class Run:
    """What one run of `drive` works on."""

    plan: Plan
    session: Session
    agenda: Agenda
    summary: Summary
    sinks: Sequence[Sink]
    is_part: bool = False
    """Whether other processes do the rest: then somebody else knows which packs come when."""
    silent: int = 0
    begun: set[str] = field(default_factory=set)

    @property
    def is_dead(self) -> bool:
        """Whether the network is."""
        return self.silent >= SILENT_TASKS

    def emit(self, event: Event) -> None:
        for sink in self.sinks:
            sink(event)


@dataclass(slots=True)
class Summary:
    """The end of a run: manifests of the datasets that stand whole, and what failed."""

    manifests: dict[str, Manifest] = field(default_factory=dict)
    failed: dict[str, G3MError] = field(default_factory=dict)
    finished: int = 0
    samples: int = 0


def drive(plan: Plan, session: Session, runner: Runner, sinks: Sequence[Sink] = ()) -> Summary:
    """Do what is left of a plan; raises the one error, PartialError or Interrupted if not all is done."""
    if session.shelf is None:
        finish_all([session.store.root / dataset.recipe.folder for dataset in plan.datasets], session)
    for dataset in plan.datasets:
        if session.shelf is not None:
            session.shelf.pull(dataset.name)
        check_identity(dataset, session)
    run = Run(plan, session, Agenda(()), Summary(manifests=all_published(plan, session)), sinks)
    whole = run.summary.manifests
    if len(whole) < len(plan.datasets):
        session.store.prepare()
        with session.store.lease() as lease:
            keep_plans(plan, session)
            sweep(plan, whole, session)
            check_space(plan, session)
            _work(run, runner, lease)
        run.summary.manifests = all_published(plan, session)
    elif _leftovers(plan, whole, session):
        # What looks left over may belong to a run that is at work on other datasets.
        with contextlib.suppress(Locked), session.store.lease():
            sweep(plan, whole, session)
    if session.stop.is_set():
        raise Interrupted("stopped; everything verified so far is kept")
    raise_failures(run.summary)
    return run.summary


def keep_plans(plan: Plan, session: Session) -> None:
    """Record what is to be gathered: whoever continues it need not name the lists."""
    for dataset in plan.datasets:
        if isinstance(dataset, GatherPlan):
            keep_plan(dataset, session)


def all_published(plan: Plan, session: Session) -> dict[str, Manifest]:
    """The manifests of the datasets that stand whole; each shard of them is looked at, so ask once."""
    found = {dataset.name: published(dataset, session) for dataset in plan.datasets}
    return {name: body for name, body in found.items() if body is not None}


def _work(run: Run, runner: Runner, lease: Lease) -> None:
    started_s = run.session.monotonic()
    begin(run, [task for dataset in run.plan.datasets for task in pending(dataset, run.session)])
    work(run, runner, lease.beat)
    end(run, started_s)


def begin(run: Run, tasks: Sequence[Task]) -> None:
    """Put tasks on the agenda and say that a run begins."""
    count, plan = run.agenda.add(tasks), run.plan
    assets = [plan.assets[task.asset] for task in run.agenda.waiting if task.kind == "fetch"]
    run.emit(
        RunStarted(
            datasets=tuple(dataset.name for dataset in plan.datasets),
            tasks=count,
            total_bytes=sum(asset.size_bytes or 0 for asset in assets),
        )
    )


def work(run: Run, runner: Runner, beat: Beat) -> None:
    """Run what is on the agenda; what failed is tried once more at the end."""
    session = run.session
    for number in range(ROUNDS):
        run.silent = 0
        for task, outcome in runner(run.agenda, lambda task: _run_unless_dead(task, run), session, beat):
            _take(task, outcome, run)
        # Where nothing at all went well, a second pass at once would only double the waiting.
        hopeful = run.summary.finished and any(
            e.advice is not Advice.NEVER for e in run.summary.failed.values()
        )
        if number + 1 == ROUNDS or not hopeful or session.stop.is_set() or not run.agenda.retry_failed():
            break


def _run_unless_dead(task: Task, run: Run) -> Iterator[Event]:
    """`run_task`; but where several in a row found the network dead, none that needs it is begun."""
    if run.is_dead and task.kind == "pack":
        raise Unreachable(f"{task.id}: not begun, because nobody answers")
    yield from run_task(task, run.plan, run.session)


def end(run: Run, started_s: float) -> None:
    """Say how a run ended."""
    run.emit(
        RunFinished(
            finished=run.summary.finished,
            failed=len(run.summary.failed),
            samples=run.summary.samples,
            seconds=round(run.session.monotonic() - started_s, 2),
        )
    )


def run_task(task: Task, plan: Plan, session: Session) -> Iterator[Event]:
    """The whole life of one task as events; this is what a runner runs, wherever it is."""
    yield TaskStarted(task=task.id, kind=task.kind, dataset=task.dataset, total_bytes=task.size_bytes)
    dataset, steps = plan.dataset(task.dataset), STEPS
    if isinstance(dataset, ReshardPlan):
        steps = RESHARD_STEPS
    elif isinstance(dataset, GatherPlan):
        steps = GATHER_STEPS
    step = stream if task.streamed else steps[task.kind]
    yield from step(task, plan, session)


def pending(dataset: DatasetPlan, session: Session) -> tuple[Task, ...]:
    """The tasks of a dataset that are not done; assets are fetched only if something needs them.

    `pack` tasks are added once `arrange` is done, see `_after_arranging`.
    """
    if published(dataset, session) is not None:
        return ()
    tasks = dataset.first_tasks()
    packs = missing_packs(dataset, session)
    again = {shard.name for shard in again_shards(dataset.name, dataset.identity, session)}
    if packs and all(task.shard in again for task in packs):  # the lists may be gone: nobody asks for them
        return (*(replace(task, needs=()) for task in packs), dataset.publish_task(packs))
    shards = [task for task in tasks if task.kind == "adopt"]
    if not shards:
        return tasks if packs != () else (dataset.publish_task(()),)
    left = [task for task in shards if read_shard_receipt(dataset, task.shard, session) is None]
    wanted = {task.asset for task in left}
    fetches = [task for task in tasks if task.kind == "fetch" and task.asset in wanted]
    return (*fetches, *left, dataset.publish_task(left))


def missing_packs(dataset: DatasetPlan, session: Session) -> tuple[Task, ...] | None:
    """The `pack` tasks without a receipt, or None if the dataset is not arranged yet."""
    arranged = read_arrangement(dataset, session)
    if arranged is None:
        return None
    tasks = pack_tasks(dataset, arranged)
    return tuple(task for task in tasks if read_shard_receipt(dataset, task.shard, session) is None)


def _take(
    task: Task,
    outcome: Event | G3MError | None,
    run: Run,
) -> None:
    """Fold one report of the runner into the agenda and the summary."""
    if outcome is None:
        run.agenda.finish(task.id)
        run.summary.finished += 1
        run.summary.failed.pop(task.id, None)
        if task.kind == "arrange" and not run.is_part:
            _after_arranging(task, run)
        run.silent = 0 if task.kind == "pack" else run.silent
    elif isinstance(outcome, Event):
        if isinstance(outcome, TaskStarted):
            run.begun.add(task.id)
        if isinstance(outcome, TaskFinished) and task.kind in ("pack", "adopt"):
            run.summary.samples += outcome.samples
        run.emit(outcome)
    else:
        run.agenda.fail(task)
        if isinstance(outcome, Interrupted):
            run.session.stop.set()
            return
        if run.is_dead and isinstance(outcome, Unreachable) and task.id not in run.begun:
            return  # thousands may not have been begun: those that were say enough
        run.summary.failed[task.id] = outcome
        run.silent += task.kind == "pack" and isinstance(outcome, Unreachable)
        run.emit(
            TaskFailed(
                task=task.id, kind=task.kind, dataset=task.dataset, code=outcome.code, reason=outcome.message
            )
        )


def _after_arranging(task: Task, run: Run) -> None:
    dataset = run.plan.dataset(task.dataset)
    packs = missing_packs(dataset, run.session) or ()
    run.agenda.add(packs)
    run.agenda.extend_needs(f"publish/{dataset.name}", (pack.id for pack in packs))
    rows = sum(pack.samples for pack in packs) if isinstance(dataset, GatherPlan) else 0
    run.emit(TasksAdded(task=task.id, count=len(packs), rows=rows))


def check_identity(dataset: DatasetPlan, session: Session) -> None:
    """Refuse to mix: what is published, or was begun, with other options is never changed."""
    found = read_manifest(dataset, session)
    folder = session.store.root / dataset.recipe.folder
    if found is not None and found.identity != dataset.identity:
        raise OtherOptions(
            f"{folder} holds {found.dataset} made with {_options(found)} from other assets or options; "
            f"asked for is {_options(dataset)}"
        )
    for path in sorted(session.store.receipt(dataset.name, "x").parent.glob("*.tar.json")):
        receipt = shard_receipt(read_document(path) or "")
        if receipt is not None and receipt.identity != dataset.identity:
            raise OtherOptions(f"{folder} holds shards of an unfinished run with other options")


def _options(made: Manifest | DatasetPlan) -> str:
    """What decides the bytes of a dataset, beside its assets, in words."""
    treatment = made.treatment.words()
    return f"parity {made.parity!r}" + (f" and {treatment}" if treatment else "")


def missing_bytes(plan: Plan, session: Session) -> int:
    """How many bytes the disk lacks for what is left of a plan: all shards, and all that stands beside them.

    Archives go when their shards are published, but a fast network can bring all before that.
    """
    lasting = passing = 0
    for dataset in plan.datasets:
        if published(dataset, session) is None:
            final, peak = dataset.shard_bytes or 0, dataset.peak_bytes or 0
            shards = _shard_bytes_here(dataset, session)
            assets = sum(fetched_bytes(asset, session) for asset in dataset.assets)
            if dataset.recipe.samples.reader == "shards":
                shards += assets
            elif not session.settings.source:  # a copy of the user's own is read where it lies
                passing += max(peak - final - assets, 0)
            lasting += max(final - shards, 0)
    return max(lasting + passing - session.store.free().size_bytes, 0)


def check_space(plan: Plan, session: Session) -> None:
    """NoSpace before the first byte if what is left cannot fit; says how much is missing."""
    short = missing_bytes(plan, session)
    free = session.store.free()
    if short:
        raise NoSpace(f"{session.store.root}: {free.size_bytes} bytes are free, {short} more are needed")
    files = sum(
        2 * (dataset.files or 0) + (dataset.shard_bytes or 0) // 400_000_000 + 20 for dataset in plan.datasets
    )
    if free.inodes is not None and free.inodes < files + INODES_SPARE:
        raise NoSpace(
            f"{session.store.root}: about {files} files will be made, {free.inodes} inodes are free"
        )


def _shard_bytes_here(dataset: DatasetPlan, session: Session) -> int:
    folder = session.store.root / dataset.recipe.folder
    return sum(path.stat().st_size for path in folder.glob("*.tar")) + bytes_here(dataset, session)


def fetched_bytes(asset: Asset, session: Session) -> int:
    """How much of an asset is here."""
    receipt = present(session, asset)
    return receipt.size_bytes if receipt else claimed_bytes(part_path(session, asset))


def sweep(plan: Plan, whole: Mapping[str, Manifest], session: Session) -> None:
    """Remove what a killed run left half made."""
    for path in _leftovers(plan, whole, session):
        remove(path)


def _leftovers(plan: Plan, whole: Mapping[str, Manifest], session: Session) -> list[Path]:
    """What a killed run left half made, or made and could not clear; journaled parts are no leftovers."""
    work = session.store.work
    found = session.store.half_made()
    found += (path for path in work.glob("parts/*.journal") if not path.with_suffix(".part").exists())
    waiting = [dataset for dataset in plan.datasets if dataset.name not in whole]
    for dataset in plan.datasets:
        found += (session.store.root / dataset.recipe.folder).glob(".*.tmp")
    found = [path for path in found if not is_being_made(path)]
    for dataset in plan.datasets:
        if dataset.name in whole:
            found += used_up(dataset, waiting, session)
    return found


def raise_failures(summary: Summary) -> None:
    """The one error if nothing else came of the run, else PartialError with what is done and what is not."""
    if not summary.failed:
        return
    errors = list(summary.failed.values())
    alike = len({type(error) for error in errors}) == 1
    if alike and not summary.manifests:
        raise errors[0]
    reasons = {name: error.message for name, error in summary.failed.items()}
    lines = [f"{len(reasons)} tasks failed:", *(f"  {name}: {reason}" for name, reason in reasons.items())]
    if summary.manifests:
        lines.append(f"these datasets are whole: {', '.join(summary.manifests)}")
    raise PartialError("\n".join(lines), failed=reasons, hint=errors[0].hint if alike else None)
