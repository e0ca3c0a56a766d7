"""portion: the rows of one task, wherever they come from.

the list             a range of it, as steps/layout.py has planned it
a retry              rows of the list that failed before (steps/again.py)
.g3m/plan/NAME.SHARD.rows.jsonl
                     either of them, carried to a machine that has neither list nor plan
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from g3m.adapters.session import Session
from g3m.core.gathering import GatherPlan, Row
from g3m.core.plan import Plan, Task
from g3m.steps.again import again_shards, line_of, row_of, rows_again, settled_rows
from g3m.steps.layout import batch_of, read_batch


@dataclass(frozen=True, slots=True)
class Portion:
    """The rows of a task; `again` counts the reasons of before, if they are tried once more.

    `settled` has the reasons of rows that are not to be asked for, because a later retry has them.
    """

    rows: Iterator[Row]
    again: Mapping[str, int] = field(default_factory=dict)
    settled: Mapping[int, str] = field(default_factory=dict)


def plan_of(task: Task, plan: Plan) -> GatherPlan:
    """The plan of the task's dataset."""
    dataset = plan.dataset(task.dataset)
    if not isinstance(dataset, GatherPlan):
        raise TypeError(f"{task.dataset} is not gathered")
    return dataset


def portion(task: Task, dataset: GatherPlan, session: Session) -> Portion:
    """What a task has to do; ContentError or BadArchive if the rows are not those that were planned."""
    carried = carried_path(task, session)
    if carried.is_file():
        lines = _lines(carried)
        again, settled = json.loads(next(lines))
        return Portion(map(row_of, lines), again, dict(settled))
    settled = settled_rows(task.shard, dataset, session)
    for shard in again_shards(dataset.name, dataset.identity, session):
        if shard.name == task.shard:
            return Portion(rows_again(shard, session), shard.reasons, settled)
    return Portion(read_batch(dataset, batch_of(task, dataset, session), session), {}, settled)


def rows_of(task: Task, plan: Plan, session: Session) -> bytes:
    """The rows of a task as a file that another machine reads in place of list and plan."""
    todo = portion(task, plan_of(task, plan), session)
    rows = list(todo.rows)
    settled = [[row.number, todo.settled[row.number]] for row in rows if row.number in todo.settled]
    return b"".join((json.dumps([dict(todo.again), settled]).encode(), b"\n", *map(line_of, rows)))


def carried_path(task: Task, session: Session) -> Path:
    """Where the rows of a task lie that were carried here."""
    return session.store.plan(f"{task.dataset}.{task.shard}.rows.jsonl")


def _lines(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        yield from file
