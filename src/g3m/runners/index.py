"""index and catalog as functions: what `g3m.dataset` needs to read tars, and what search and pages need."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from g3m.adapters.session import Session
from g3m.core.errors import ContentError, NoSpace, NotWritable, StorageError, UsageError
from g3m.core.events import Event, RunFinished, RunStarted, Sink, TaskFinished
from g3m.runners.run import make_session
from g3m.steps.catalog import TASK, Catalogued
from g3m.steps.catalog import catalog as catalog_step
from g3m.steps.holdings import folders_below
from g3m.steps.index import Folder, Indexed, differences, find_folder
from g3m.steps.index import index as index_step
from g3m.steps.publish import INDEX

_TO_HINT = (
    "write the index elsewhere: `g3m index PATH --to FILE`; g3m.dataset opens that file, too",
    "请用 `g3m index PATH --to FILE` 把索引写到别处；g3m.dataset 也能打开该文件",
)


def index(
    path: str | os.PathLike[str],
    *,
    to: str | os.PathLike[str] = "",
    force: bool = False,
    on_event: Callable[[Event], None] | None = None,
    **options: object,
) -> Indexed:
    """Write the index of a folder of WebDataset tars beside them, or into the file `to`.

    `path` may also be the name of a dataset below `root`. An index that is up to date is left as it is,
    unless `force`; a stopped call is continued by the next. Raises BadArchive for tars that no index can
    describe, NotVerified if a published dataset is not as its manifest says, UsageError or StorageError.
    """
    session = make_session(options)
    folder = find_folder(os.fspath(path), os.fspath(to), session)
    return index_in(folder, session, [on_event] if on_event else [], force=force)


def index_in(folder: Folder, session: Session, sinks: Sequence[Sink], *, force: bool = False) -> Indexed:
    """Index a folder that `find_folder` has found."""

    def emit(event: Event) -> None:
        for sink in sinks:
            sink(event)

    started_s = session.monotonic()
    steps = index_step(folder, session, force=force)
    begun = False
    try:
        while True:
            event = next(steps)
            if not begun:  # where nothing is read, no run is told of
                emit(RunStarted(datasets=(folder.root.name,), tasks=len(folder.shards), total_bytes=0))
                begun = True
            emit(event)
    except StopIteration as stop:
        made: Indexed = stop.value
    except (NoSpace, NotWritable) as error:
        # Their own hints speak of --root.
        raise type(error)(error.message, hint=_TO_HINT) from None
    finally:
        steps.close()
    if begun:
        seconds = round(session.monotonic() - started_s, 2)
        emit(RunFinished(finished=made.shards, failed=0, samples=made.samples, seconds=seconds))
    return made


def catalog(
    *datasets: str,
    pictures: bool = False,
    force: bool = False,
    on_event: Callable[[Event], None] | None = None,
    **options: object,
) -> Catalogued:
    """Bring the catalog of the samples below `root` up to date: of the datasets named, or of all.

    Shards that are known are not read again. With `pictures` every picture is decoded, too, which takes long;
    a stopped call is continued by the next. `force` reads again what is known. What cannot be read is in
    `failed` and left out.
    """
    session = make_session(options)
    return catalog_in(datasets, session, [on_event] if on_event else [], pictures=pictures, force=force)


def catalog_in(
    datasets: Sequence[str],
    session: Session,
    sinks: Sequence[Sink],
    *,
    pictures: bool = False,
    force: bool = False,
) -> Catalogued:
    """`catalog` within an open session; makes the index of a dataset, too, where it lacks."""

    def emit(event: Event) -> None:
        for sink in sinks:
            sink(event)

    below, unread = folders_below(session), dict[str, str]()
    for name in datasets or below:
        if name in below and not (below[name][0] / INDEX).exists():
            try:
                index_in(find_folder(str(below[name][0]), "", session), session, sinks)
            except (ContentError, StorageError, UsageError) as error:
                unread[name] = error.message
    started_s, finished, begun = session.monotonic(), 0, False
    steps = catalog_step(datasets, session, pictures=pictures, force=force)
    try:
        while True:
            event = next(steps)
            if not begun:
                emit(RunStarted(datasets=tuple(datasets or below), tasks=0, total_bytes=0))
                begun = True
            emit(event)
            finished += isinstance(event, TaskFinished)
    except StopIteration as stop:
        made: Catalogued = replace(stop.value, failed={**stop.value.failed, **unread})
    finally:
        steps.close()
    if begun:
        seconds = round(session.monotonic() - started_s, 2)
        failed = len(made.failed)
        emit(RunFinished(task=TASK, finished=finished, failed=failed, samples=made.samples, seconds=seconds))
    return made


def below_root(paths: Sequence[str], session: Session) -> tuple[str, ...]:
    """Those of some names and paths that the catalog of the root has, under its names; without any, all."""
    below = folders_below(session)
    if not paths:
        return tuple(below)
    places = {folder.resolve(): name for name, (folder, _) in below.items()}
    found = (path if path in below else places.get(Path(path).expanduser().resolve(), "") for path in paths)
    return tuple(dict.fromkeys(filter(None, found)))


def places(paths: Sequence[str], session: Session) -> tuple[str, ...]:
    """The same with the folder in place of a name that only the catalog knows; without any, all folders."""
    below = folders_below(session)
    if not paths:
        return tuple(str(folder) for folder, _ in below.values())
    foreign = {name: str(folder) for name, (folder, body) in below.items() if body is None}
    return tuple(path if Path(path).expanduser().exists() else foreign.get(path, path) for path in paths)


def fits(folder: Folder) -> bool:
    """Whether a folder has the index of its shards, by names, sizes and times."""
    return not differences(folder)
