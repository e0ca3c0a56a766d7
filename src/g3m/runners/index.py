"""index as a function: what `g3m.dataset` needs to read a folder of tars, whoever made them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from g3m.adapters.session import Session
from g3m.core.errors import NoSpace, NotWritable
from g3m.core.events import Event, RunFinished, RunStarted, Sink
from g3m.runners.run import make_session
from g3m.steps.index import Folder, Indexed, find_folder
from g3m.steps.index import index as index_step

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
