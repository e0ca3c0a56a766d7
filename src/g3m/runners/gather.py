"""gather as a function: pictures behind lists of URLs become a dataset."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from g3m.adapters.disk import Store
from g3m.adapters.session import Session
from g3m.core.buckets import is_bucket
from g3m.core.errors import NoSpace, NotWritable, OtherOptions, SettingsError
from g3m.core.events import Event, Noted, Sink
from g3m.core.gathering import TASK_ROWS, Columns, Gathering, GatherPlan, gathering_for
from g3m.core.plan import Plan
from g3m.runners.base import Summary
from g3m.runners.choose import runner_for
from g3m.runners.part import drive_shared
from g3m.runners.run import catalog_after, make_session, run_session
from g3m.steps.gathered import kept_plan, plan_of_lists
from g3m.steps.publish import published
from g3m.steps.ready import OTHER_FOLDER_HINT
from g3m.steps.retry import is_refused, plan_again
from g3m.steps.shelf import shelved

_RETRY_HINT = (
    "leave --part out; if it is stopped, parts can go on with it without --retry-failed",
    "请去掉 --part；若中途停止，各部分可在不带 --retry-failed 的情况下继续",
)
_ROOM_HINT = (
    "make room, or name a folder on another disk with --to; then run the same command again",
    "请清理空间，或用 --to 指定其他磁盘上的目录，然后重新运行同一命令",
)


def gather(  # noqa: PLR0913  # keywords for users: each column is named by itself
    lists: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    to: str | os.PathLike[str],
    *,
    url: str = "url",
    caption: str = "caption",
    sha256: str = "",
    keep: Sequence[str] = (),
    task_rows: int = TASK_ROWS,
    retry_failed: bool = False,
    on_event: Callable[[Event], None] | None = None,
    **options: object,
) -> Summary:
    """Gather the pictures behind lists of URLs into a folder; continues what an earlier call left.

    `lists` are files or folders of parquet, csv, tsv, json, jsonl or txt, or addresses of them; `url`,
    `caption` (empty: there is none), `sha256` and `keep` name their columns. With `retry_failed` the rows of
    a finished dataset that may still succeed are asked for again; no list need be named then. Options are
    those of docs/reference/settings.md, for example `image_size=512`. Returns what `get` returns and raises
    what it raises.
    """
    session = make_session(options)
    texts = [lists] if isinstance(lists, (str, os.PathLike)) else list(lists)
    columns = Columns(url=url, caption=caption, sha256=sha256, keep=tuple(keep))
    wish = gathering_for(columns, session.settings, task_rows)
    plan, session = plan_in([os.fspath(text) for text in texts], os.fspath(to), wish, session)
    return gather_in(plan, session, [on_event] if on_event else [], retry_failed=retry_failed)


def plan_in(
    lists: Sequence[str], to: str | Path, gathering: Gathering, session: Session
) -> tuple[Plan, Session]:
    """The plan, and the session in which it is carried out: its root is the folder of the new shards.

    Without lists it is the plan of what was gathered there before, whatever is wished for now.
    """
    if is_bucket(str(to)):
        session = shelved(str(to), session)
    else:
        session = replace(session, store=Store(Path(to).expanduser()))
    if lists:
        return plan_of_lists(lists, gathering, session), session
    if session.shelf is not None:
        session.shelf.pull("")
    plan, root = kept_plan(session.store.root)
    return plan, session if session.shelf is not None else replace(session, store=Store(root))


def gather_in(plan: Plan, session: Session, sinks: Sequence[Sink], *, retry_failed: bool = False) -> Summary:
    """Carry out a plan of `plan_in`, or one of `g3m get` with lists of URLs.

    With `retry_failed`, rows of its finished datasets that may still succeed are asked for again; what is not
    finished is finished first, and an interrupted retry is.
    """
    if session.http.problem is not None and not session.settings.offline:
        raise session.http.problem
    try:
        if retry_failed and session.settings.part:
            raise SettingsError("part: a retry is planned by one process", hint=_RETRY_HINT)
        with run_session(plan, session) as own:
            if retry_failed:
                _plan_retries(plan, own, sinks)
            summary = drive_shared(plan, own, runner_for(own, plan), sinks)
        catalog_after(session, sinks)
    except (NoSpace, NotWritable, OtherOptions) as error:
        if session.store.root == Path(session.settings.root):
            raise
        # Their own hints speak of --root.
        hint = OTHER_FOLDER_HINT if isinstance(error, OtherOptions) else _ROOM_HINT
        raise type(error)(error.message, hint=hint) from None
    return summary


def _plan_retries(plan: Plan, session: Session, sinks: Sequence[Sink]) -> None:
    """Plan a retry of each dataset that stands whole, or would if less were left out of it."""
    for dataset in plan.datasets:
        if not isinstance(dataset, GatherPlan):
            continue
        if session.shelf is not None:
            session.shelf.pull(dataset.name)
        if published(dataset, session) is None and not is_refused(dataset, session):
            continue
        with session.store.lease():
            rows = plan_again(dataset, session)
        for sink in sinks:
            sink(Noted(text=f"{dataset.name}: {rows} rows may still succeed"))
