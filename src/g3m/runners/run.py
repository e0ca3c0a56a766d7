"""plan, get and verify as functions: the Python API, which the command line calls too."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from g3m.adapters.guard import Guard
from g3m.adapters.session import Session, open_session
from g3m.core.errors import NotVerified, StorageError
from g3m.core.events import Event, Noted, RunFinished, RunStarted, Sink, TaskFinished, TaskStarted
from g3m.core.gathering import READER, GatherPlan
from g3m.core.plan import Plan
from g3m.core.receipt import Manifest
from g3m.core.settings import Layer, Settings, from_variables, merge
from g3m.core.treatment import CLASSES, options_for
from g3m.runners.base import Summary
from g3m.runners.choose import runner_for, walking
from g3m.runners.jobs import jobs_of
from g3m.runners.part import drive_shared
from g3m.steps.borrow import borrow
from g3m.steps.check import broken, check, forget, manifests, unreadable
from g3m.steps.examine import Depth, judging
from g3m.steps.ledger import Finding, Ledger
from g3m.steps.ready import FORM
from g3m.steps.resolve import check_treatment, resolve, unprotected
from g3m.steps.rewrite import finish_all

VERIFICATION = "verify/"
"""How the names of its tasks begin."""

NOTED_LIMIT = 100
"""Findings that a run tells one by one; all stand in the report's file."""


@dataclass(slots=True)
class Report:
    """What `verify` found.

    `findings` is what differs from the manifest, and the pictures that no loader can use, unless they were
    known when the dataset was packed. `counts` has, by dataset and problem, how much of everything there
    was; the file at `path` has each. `looked` and `decoded` say of how many samples the picture was.
    """

    manifests: dict[str, Manifest] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    repaired: list[Finding] = field(default_factory=list)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    looked: dict[str, int] = field(default_factory=dict)
    decoded: dict[str, int] = field(default_factory=dict)
    path: str = ""

    @property
    def ok(self) -> bool:
        """Whether everything agrees now."""
        return not self.findings


def make_session(options: dict[str, object], variables: dict[str, str] | None = None) -> Session:
    """A session for keyword options (docs/reference/settings.md) over the process's environment."""
    variables = dict(os.environ) if variables is None else variables
    options = {
        name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in options.items()
    }
    settings: Settings = merge([Layer("argument", options), from_variables(variables)])
    return open_session(settings, variables=variables)


def plan(datasets: Sequence[str], **options: object) -> Plan:
    """The plan for datasets, groups or recipe files: assets, sizes, digests; nothing is written.

    Options are those of docs/reference/settings.md, for example `root="/data"`. Where a hub cannot be
    asked, the dataset's sizes are the recipe's and `estimated` is true. Raises UsageError.
    """
    return resolve(datasets, make_session(options), estimate=True)


def get(
    datasets: Sequence[str], *, on_event: Callable[[Event], None] | None = None, **options: object
) -> Summary:
    """Fetch, verify and pack datasets; continues what an earlier call left.

    `on_event` gets every event of the run, in order, on this thread. Returns the manifests of all
    datasets; raises PartialError with `.failed` if some tasks failed, SourceError, ContentError,
    StorageError or Interrupted.
    """
    session = make_session(options)
    if on_event:
        for note in unprotected(session.recipes.expand(datasets), session.settings):
            on_event(Noted(text=note[0]))
    return get_in(datasets, session, [on_event] if on_event else [])


def get_in(datasets: Sequence[str], session: Session, sinks: Sequence[Sink]) -> Summary:
    """`get` within an open session."""
    # A mistyped name, or a treatment that one of them cannot have, must not leave folders behind.
    check_treatment(session.recipes.expand(datasets), session.settings)
    if session.http.problem is not None and not session.settings.offline:
        raise session.http.problem
    session.store.prepare()

    def note(text: str) -> None:
        for sink in sinks:
            sink(Noted(text=text))

    plan = borrow(resolve(datasets, session), session, note)
    with run_session(plan, session) as own:
        summary = drive_shared(plan, own, runner_for(own, plan), sinks)
    catalog_after(session, sinks)
    return summary


def catalog_after(session: Session, sinks: Sequence[Sink]) -> None:
    """Bring the catalog up to date if the settings say so; the run is done, so its trouble is only told."""
    if not session.settings.catalog or session.shelf is not None:
        return
    from g3m.runners.index import catalog_in

    try:
        made = catalog_in((), session, sinks)
        words = [f"{name}: {reason}" for name, reason in made.failed.items()]
    except StorageError as error:
        words = [error.message]
    for text in words:
        for sink in sinks:
            sink(Noted(task="catalog/", text=f"the catalog: {text}"))


@contextmanager
def run_session(plan: Plan, session: Session) -> Iterator[Session]:
    """The session of a run: with a guard, and where tasks wait for hosts with one more than cores.

    As many again may be at their end, where they wait for the last hosts and for nothing else.
    """
    jobs = jobs_of(session)
    lanes = 2 * (jobs + 1) if any(isinstance(dataset, GatherPlan) for dataset in plan.datasets) else 0
    with Guard(jobs) as guard, session.hosts:
        yield replace(session, guard=guard, lanes=lanes)


def verify(
    datasets: Sequence[str] = (),
    *,
    structure: bool = False,
    deep: bool = False,
    repair: bool = False,
    on_event: Callable[[Event], None] | None = None,
    **options: object,
) -> Report:
    """Hash the shards of datasets (all below the root by default) and compare them with the manifests.

    `structure` also reads every shard strictly and looks at every picture's header and end, and every
    caption; `deep` also decodes every picture. `repair` makes broken shards again, fetching only what they
    need. The report's `ok` says whether all agrees at the end.
    """
    session = make_session(options)
    sinks = [on_event] if on_event else []
    return verify_in(datasets, session, sinks, structure=structure, deep=deep, repair=repair)


def verify_in(
    datasets: Sequence[str],
    session: Session,
    sinks: Sequence[Sink],
    *,
    deep: bool,
    repair: bool,
    structure: bool = False,
) -> Report:
    """`verify` within an open session."""
    depth: Depth = "deep" if deep else "structure" if structure else "digests"
    if not repair:
        return _verify_once(datasets, session, sinks, depth)
    finish_all(list(manifests(session, tuple(datasets))), session)
    # Nothing that can be made again is found by decoding, which is what takes long.
    report = _verify_once(datasets, session, sinks, "structure" if deep else depth)
    shards = broken(report.findings)
    if not shards and not deep:
        return report
    for name in sorted({dataset for dataset, _ in shards}):
        _repair(name, shards, report.manifests.get(name), session, sinks)
    again = _verify_once(datasets, session, sinks, depth)
    left = broken(again.findings)
    again.repaired = [
        finding
        for finding in report.findings
        if (finding.dataset, finding.shard) in shards and (finding.dataset, finding.shard) not in left
    ]
    return again


PACKED_HINT = (
    "run the same `g3m pack` line again: it makes the broken shards again",
    "请再次运行同一条 `g3m pack` 命令：会重做损坏的分片",
)
GATHERED_HINT = (
    "run the same `g3m gather` line again: it asks for the rows of the broken shards once more",
    "请再次运行同一条 `g3m gather` 命令：会重新获取损坏分片的各行",
)


def _repair(
    name: str, shards: set[tuple[str, str]], body: Manifest | None, session: Session, sinks: Sequence[Sink]
) -> None:
    """Make the broken shards of one dataset again, with the options that it was made with."""
    forget({(dataset, shard) for dataset, shard in shards if dataset == name}, session)
    if body is not None and body.form.startswith(FORM):
        raise NotVerified(f"{name}: made by g3m pack", hint=PACKED_HINT)
    if body is not None and body.form == READER and name not in session.recipes.names:
        raise NotVerified(f"{name}: made by g3m gather", hint=GATHERED_HINT)
    if name not in session.recipes.names:
        raise NotVerified(
            f"{name}: its recipe is not among the known ones",
            hint=(
                "run `g3m get` with the recipe's file: it makes the broken shards again",
                "请用该配方文件运行 `g3m get`：会重做损坏的分片",
            ),
        )
    settings = session.settings
    if body:
        settings = replace(settings, parity=body.parity, **options_for(body.treatment))
    get_in([name], replace(session, settings=settings), sinks)


def _verify_once(datasets: Sequence[str], session: Session, sinks: Sequence[Sink], depth: Depth) -> Report:
    found, started_s = manifests(session, tuple(datasets)), session.monotonic()
    named = {body.dataset: body for body in found.values()}

    def emit(event: Event) -> None:
        for sink in sinks:
            sink(event)

    ledger = Ledger(session.store.work)
    is_whole = False
    try:
        if not datasets:
            ledger.add(unreadable(session))
        emit(RunStarted(datasets=tuple(named), tasks=len(found), total_bytes=0))
        with judging(depth, jobs_of(session)) as judge, walking(depth, session) as walk:
            own = None if depth == "digests" else judge
            for folder, body in found.items():
                events = check(folder, body, session, judge=own, ledger=ledger, walk=walk)
                for event in _verify_one(body, events, ledger):
                    emit(event)
        is_whole = True
    finally:
        ledger.close(whole=is_whole)
    seconds = round(session.monotonic() - started_s, 2)
    samples = sum(body.samples for body in named.values())
    # Told apart by its task from the end of a run that is at work beside it.
    emit(RunFinished(task=VERIFICATION, finished=len(found), failed=0, samples=samples, seconds=seconds))
    return Report(
        manifests=named,
        findings=ledger.differences,
        counts=ledger.counts,
        looked=ledger.looked,
        decoded=ledger.decoded if depth == "deep" else {},
        path=str(ledger.path or ""),
    )


def _verify_one(body: Manifest, events: Iterator[Event], ledger: Ledger) -> Iterator[Event]:
    task, before = f"{VERIFICATION}{body.dataset}", len(ledger.differences)
    yield TaskStarted(task=task, kind="verify", dataset=body.dataset, total_bytes=body.size_bytes)
    yield from events
    for finding in ledger.differences[before : before + NOTED_LIMIT]:
        words = f"{finding.shard}: {finding.problem} {finding.key} {finding.detail}"
        yield Noted(task=task, text=" ".join(words.split()))
    counts = ledger.counts.get(body.dataset, {})
    classes = [f"{name} {counts[name]}" for name in CLASSES if name in counts]
    if classes:
        yield Noted(task=task, text=f"pictures and captions: {', '.join(classes)}")
    yield TaskFinished(
        task=task, kind="verify", dataset=body.dataset, size_bytes=body.size_bytes, samples=body.samples
    )
