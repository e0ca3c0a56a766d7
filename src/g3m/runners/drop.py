"""drop as a function: samples are taken out of datasets, and on demand out of their shards, too."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Union

from g3m.adapters.session import Session
from g3m.core.errors import SettingsError
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
    """What became of the entries, and by dataset what was written anew."""

    dropped: Dropped
    rewritten: dict[str, Rewritten] = field(default_factory=dict)


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
    the shards that hold them anew, `dry_run` only looks. Raises UsageError, NotVerified or StorageError.
    """
    wish = Wish(keys=_paths(keys), urls=_paths(urls), reason=reason, rewrite=rewrite, dry_run=dry_run)
    texts = [names] if isinstance(names, str) else list(names)
    return drop_in(texts, wish, make_session(options), [on_event] if on_event else [])


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
    return DropReport(dropped=found, rewritten=_rewrite(here, session, sinks))


def _finish(here: Sequence[Place], session: Session) -> None:
    for place in here:
        finish_all([place.folder], replace(session, store=place.store(session)))


def _rewrite(here: Sequence[Place], session: Session, sinks: Sequence[Sink]) -> dict[str, Rewritten]:
    """Write anew what still holds dropped samples, one dataset after the other."""
    started_s, done = session.monotonic(), dict[str, Rewritten]()
    wanted = [place for place in here if place.has_record]

    def emit(event: Event) -> None:
        for sink in sinks:
            sink(event)

    if wanted:
        emit(RunStarted(datasets=tuple(place.name for place in wanted), tasks=len(wanted), total_bytes=0))
    for place in wanted:
        own = replace(session, store=place.store(session))
        own.store.prepare()
        with own.store.lease() as lease, closing(rewrite_step(place, own)) as steps:
            try:
                while True:
                    emit(next(steps))
                    lease.beat()
            except StopIteration as stop:
                done[place.name] = stop.value
    if wanted:
        samples = sum(one.samples for one in done.values())
        seconds = round(session.monotonic() - started_s, 2)
        emit(RunFinished(finished=len(done), failed=0, samples=samples, seconds=seconds))
    return done


def _paths(given: File | Sequence[File]) -> tuple[Path, ...]:
    return tuple(Path(one) for one in ([given] if isinstance(given, (str, os.PathLike)) else given))
