"""pack as a function: ready shards, whoever made them, become shards of other sizes or pictures."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from g3m.adapters.disk import Store
from g3m.adapters.guard import Guard
from g3m.adapters.session import Session
from g3m.core.errors import NoSpace, NotWritable, OtherOptions, SettingsError
from g3m.core.events import Event, Sink
from g3m.core.plan import Plan
from g3m.core.reshard import parse_size
from g3m.runners.base import Summary, drive
from g3m.runners.choose import runner_for
from g3m.runners.jobs import jobs_of
from g3m.runners.run import catalog_after, make_session
from g3m.steps.ready import OTHER_FOLDER_HINT, Cut, find_source, reshard_plan

_ROOM_HINT = (
    "make room, or name a folder on another disk with --to; then run the same command again",
    "请清理空间，或用 --to 指定其他磁盘上的目录，然后重新运行同一命令",
)
_SAMPLES_HINT = ("give a whole number from 1 up", "请给出不小于 1 的整数")


def pack(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    to: str | os.PathLike[str],
    *,
    shard_size: int = 0,
    max_shard_bytes: int | str = "",
    on_event: Callable[[Event], None] | None = None,
    **options: object,
) -> Summary:
    """Pack ready shards anew into a folder; continues what an earlier call left, never changes the source.

    `source` is the name of a dataset below `root`, or folders and files of WebDataset tars. A shard ends at
    `shard_size` samples or before `max_shard_bytes` (`"8G"`), whichever comes first; without both the source
    decides. Options are those of docs/reference/settings.md, for example `image_size=512`. Returns what `get`
    returns and raises what it raises.
    """
    session = make_session(options)
    texts = [source] if isinstance(source, (str, os.PathLike)) else list(source)
    cut = cut_at(shard_size, str(max_shard_bytes))
    plan, session = plan_in([os.fspath(text) for text in texts], Path(to), cut, session)
    return pack_in(plan, session, [on_event] if on_event else [])


def cut_at(samples: int, size: str) -> Cut:
    """Where shards end, from what a user gave; SettingsError if that is no number or no size."""
    if samples < 0 or isinstance(samples, bool):
        raise SettingsError(f"shard-size: {samples!r} is no number of samples", hint=_SAMPLES_HINT)
    return Cut(samples, parse_size("" if size == "0" else size))


def plan_in(source: Sequence[str], to: Path, cut: Cut, session: Session) -> tuple[Plan, Session]:
    """The plan, and the session in which it is carried out: its root is the folder of the new shards."""
    plan = reshard_plan(find_source(source, session), to, cut, session)
    return plan, replace(session, store=Store(to))


def pack_in(plan: Plan, session: Session, sinks: Sequence[Sink]) -> Summary:
    """Carry out a plan of `plan_in`."""
    try:
        with Guard(jobs_of(session)) as guard:
            summary = drive(plan, replace(session, guard=guard), runner_for(session, plan), sinks)
        catalog_after(session, sinks)
    except (NoSpace, NotWritable, OtherOptions) as error:
        # Their own hints speak of --root.
        hint = OTHER_FOLDER_HINT if isinstance(error, OtherOptions) else _ROOM_HINT
        raise type(error)(error.message, hint=hint) from None
    return summary
