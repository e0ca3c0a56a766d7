"""plan, get and verify as functions: the Python API, which the command line calls too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from g3m.adapters.session import Session, open_session
from g3m.core.errors import NotVerified
from g3m.core.events import Event, Noted, RunStarted, Sink, TaskFinished, TaskStarted
from g3m.core.plan import Plan
from g3m.core.receipt import Manifest
from g3m.core.settings import Layer, Settings, from_variables, merge
from g3m.runners.base import Summary, drive
from g3m.runners.local import run_local
from g3m.steps.borrow import borrow
from g3m.steps.check import Finding, broken, check, forget, manifests, unreadable
from g3m.steps.resolve import resolve


@dataclass(slots=True)
class Report:
    """What `verify` found: every dataset it looked at, and every difference."""

    manifests: dict[str, Manifest] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    repaired: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether everything agrees now."""
        return not self.findings


def make_session(options: dict[str, object], variables: dict[str, str] | None = None) -> Session:
    """A session for keyword options (docs/reference/settings.md) over the process's environment."""
    import os

    variables = dict(os.environ) if variables is None else variables
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
    return get_in(datasets, session, [on_event] if on_event else [])


def get_in(datasets: Sequence[str], session: Session, sinks: Sequence[Sink]) -> Summary:
    """`get` within an open session."""
    session.recipes.expand(datasets)  # a mistyped name must not leave folders behind
    if session.http.problem is not None and not session.settings.offline:
        raise session.http.problem
    session.store.prepare()

    def note(text: str) -> None:
        for sink in sinks:
            sink(Noted(text=text))

    return drive(borrow(resolve(datasets, session), session, note), session, run_local, sinks)


def verify(
    datasets: Sequence[str] = (),
    *,
    deep: bool = False,
    repair: bool = False,
    on_event: Callable[[Event], None] | None = None,
    **options: object,
) -> Report:
    """Hash the shards of datasets (all below the root by default) and compare them with the manifests.

    `deep` also reads every shard's structure and decodes every image; `repair` makes broken shards
    again, fetching only what they need. The report's `ok` says whether all agrees at the end.
    """
    session = make_session(options)
    return verify_in(datasets, session, [on_event] if on_event else [], deep=deep, repair=repair)


def verify_in(
    datasets: Sequence[str], session: Session, sinks: Sequence[Sink], *, deep: bool, repair: bool
) -> Report:
    """`verify` within an open session."""
    report = _verify_once(datasets, session, sinks, deep)
    shards = broken(report.findings)
    if not repair or not shards:
        return report
    for name in sorted({dataset for dataset, _ in shards}):
        _repair(name, shards, report.manifests.get(name), session, sinks)
    again = _verify_once(datasets, session, sinks, deep)
    again.repaired = [finding for finding in report.findings if finding not in again.findings]
    return again


def _repair(
    name: str, shards: set[tuple[str, str]], body: Manifest | None, session: Session, sinks: Sequence[Sink]
) -> None:
    """Make the broken shards of one dataset again, with the options that it was made with."""
    forget({(dataset, shard) for dataset, shard in shards if dataset == name}, session)
    if name not in session.recipes.names:
        raise NotVerified(
            f"{name}: its recipe is not among the known ones",
            hint=(
                "run `g3m get` with the recipe's file: it makes the broken shards again",
                "请用该配方文件运行 `g3m get`：会重做损坏的分片",
            ),
        )
    parity = body.parity if body else session.settings.parity
    get_in([name], replace(session, settings=replace(session.settings, parity=parity)), sinks)


def _verify_once(datasets: Sequence[str], session: Session, sinks: Sequence[Sink], deep: bool) -> Report:
    found = manifests(session, tuple(datasets))
    report = Report(manifests={body.dataset: body for body in found.values()})

    def emit(event: Event) -> None:
        for sink in sinks:
            sink(event)

    if not datasets:
        report.findings += unreadable(session)
    emit(RunStarted(datasets=tuple(report.manifests), tasks=len(found), total_bytes=0))
    for folder, body in found.items():
        task, before = f"verify/{body.dataset}", len(report.findings)
        emit(TaskStarted(task=task, kind="verify", dataset=body.dataset, total_bytes=body.size_bytes))
        for event in check(folder, body, session, deep=deep, findings=report.findings):
            emit(event)
        for finding in report.findings[before:]:
            emit(Noted(task=task, text=f"{finding.shard}: {finding.problem} {finding.detail}".strip()))
        emit(
            TaskFinished(
                task=task,
                kind="verify",
                dataset=body.dataset,
                size_bytes=body.size_bytes,
                samples=body.samples,
            )
        )
    return report
