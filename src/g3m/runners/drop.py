"""drop as a function: samples are taken out of datasets, and on demand out of their shards, too."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Union

from g3m.adapters.session import Session
from g3m.core.errors import G3MError, Interrupted, SettingsError
from g3m.core.events import Event, RunFinished, RunStarted, Sink
from g3m.runners.run import make_session
from g3m.steps.drop import Dropped, Place, drop_found, places, read_lists, search
from g3m.steps.rewrite import Rewritten, finish_all
from g3m.steps.rewrite import rewrite as rewrite_step

File = Union[str, "os.PathLike[str]"]

_NOTHING_HINT = (
    "give --keys FILE or --urls FILE; --rewrite alone is for what was dropped before",
    "请给出 --keys 文件 或 --urls 文件；单独使用 --rewrite 会重写之前已移除样本的分片",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a user wants dropped: lists of keys and of addresses, why, and whether shards are written anew."""

    keys: tuple[Path, ...] = ()
    urls: tuple[Path, ...] = ()
    reason: str = ""
    rewrite: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DropReport:
    """What became of the entries, and by dataset what was written anew, and why another could not be."""

    dropped: Dropped
    rewritten: dict[str, Rewritten] = field(default_factory=dict)
    failed: dict[str, G3MError] = field(default_factory=dict)


def drop(  # noqa: PLR0913  # keywords for users
    names: str | Sequence[str] = (),
    *,
    keys: File | Sequence[File] = (),
    urls: File | Sequence[File] = (),
    reason: str = "",
    rewrite: bool = False,
    dry_run: bool = False,
    on_event: Callable[[Event], None] | None = None,
    **options: object,
) -> DropReport:
    """Drop the samples that files of keys or of web addresses name, from datasets below `root` (all).

    They are recorded in `dropped.jsonl` beside the shards and seen by nobody from then on; `rewrite` writes
    the shards that hold them anew, `dry_run` only looks. Raises UsageError, NotVerified or StorageError; if
    the shards of one dataset cannot be written anew, after all others are.
    """
    wish = Wish(keys=_paths(keys), urls=_paths(urls), reason=reason, rewrite=rewrite, dry_run=dry_run)
    texts = [names] if isinstance(names, str) else list(names)
    report = drop_in(texts, wish, make_session(options), [on_event] if on_event else [])
    for error in report.failed.values():
        raise error
    return report


def drop_in(names: Sequence[str], wish: Wish, session: Session, sinks: Sequence[Sink]) -> DropReport:
    """`drop` within an open session."""
    if not (wish.keys or wish.urls or wish.rewrite):
        raise SettingsError("drop: no list is given", hint=_NOTHING_HINT)
    here = places(names, session)
    if wish.rewrite and not wish.dry_run:  # what was begun ends first: until then an index may not fit
        _finish(here, session)
    found = search(read_lists(wish.keys, wish.urls, here), here, wish.reason, session)
    if wish.dry_run:
        return DropReport(dropped=found)
    drop_found(found, session)
    if not wish.rewrite:
        return DropReport(dropped=found)
    report = DropReport(dropped=found)
    _rewrite([place for place in here if place.has_record], report, session, sinks)
    return report


def _finish(here: Sequence[Place], session: Session) -> None:
    for place in here:
        finish_all([place.folder], replace(session, store=place.store(session)))


def _rewrite(here: Sequence[Place], report: DropReport, session: Session, sinks: Sequence[Sink]) -> None:
    """Write anew what still holds dropped samples; what fails for one dataset does not stop the others."""
    started_s = session.monotonic()

    def emit(event: Event) -> None:
        for sink in sinks:
            sink(event)

    if not here:
        return
    emit(RunStarted(datasets=tuple(place.name for place in here), tasks=len(here), total_bytes=0))
    try:
        for place in here:
            try:
                report.rewritten[place.name] = _rewrite_one(place, session, emit)
            except Interrupted:
                raise
            except G3MError as error:
                report.failed[place.name] = error
    finally:
        samples = sum(one.samples for one in report.rewritten.values())
        seconds = round(session.monotonic() - started_s, 2)
        done, failed = len(report.rewritten), len(here) - len(report.rewritten)
        emit(RunFinished(finished=done, failed=failed, samples=samples, seconds=seconds))


def _rewrite_one(place: Place, session: Session, emit: Sink) -> Rewritten:
    own = replace(session, store=place.store(session))
    own.store.prepare()
    with own.store.lease() as lease, closing(rewrite_step(place, own, lease.beat)) as steps:
        while True:
            try:
                emit(next(steps))
            except StopIteration as stop:
                done: Rewritten = stop.value
                return done


def _paths(given: File | Sequence[File]) -> tuple[Path, ...]:
    return tuple(Path(one) for one in ([given] if isinstance(given, (str, os.PathLike)) else given))
