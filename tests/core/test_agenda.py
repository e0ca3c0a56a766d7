"""core/agenda.py: no task before its needs, none lost, none twice, and always an end."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.agenda import Agenda
from g3m.core.plan import Task


def task(name: str, *needs: str) -> Task:
    return Task(id=name, kind="fetch", dataset="toy", needs=needs)


@st.composite
def graphs(draw: st.DrawFn) -> list[Task]:
    """Tasks in random order whose needs form no circle."""
    count = draw(st.integers(0, 9))
    tasks = [
        task(
            f"t{n}",
            *draw(st.lists(st.sampled_from([f"t{m}" for m in range(n)]), unique=True, max_size=3))
            if n
            else (),
        )
        for n in range(count)
    ]
    return draw(st.permutations(tasks))


@dataclass
class Run:
    """A runner that finishes and fails tasks in an order that Hypothesis chooses, and keeps a diary."""

    agenda: Agenda
    data: st.DataObject
    may_fail: bool
    running: list[str] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    tasks: dict[str, Task] = field(default_factory=dict)

    def round(self) -> None:
        while True:
            for ready in self.agenda.take_ready():
                assert set(ready.needs) <= set(self.done)
                assert ready.id not in self.running
                assert ready.id not in self.done
                self.running.append(ready.id)
                self.started.append(ready.id)
                self.tasks[ready.id] = ready
            assert self.agenda.busy is bool(self.running)
            if not self.running:
                return
            name = self.running.pop(self.data.draw(st.integers(0, len(self.running) - 1)))
            if self.may_fail and self.data.draw(st.booleans()):
                self.agenda.fail(self.tasks[name])
            else:
                self.agenda.finish(name)
                self.done.append(name)


@given(graphs(), st.data(), st.integers(1, 3))
def test_any_order_of_fates_keeps_the_order_of_needs(
    tasks: list[Task], data: st.DataObject, rounds: int
) -> None:
    """Random graphs, random finishing and failing, several passes: needs first, nothing lost, nothing done twice."""
    run = Run(Agenda(tasks), data, may_fail=True)
    for _ in range(rounds):
        run.round()
        waiting = {waiting.id for waiting in run.agenda.waiting}
        failed = set(run.agenda.failed)
        assert len(run.done) == len(set(run.done))
        assert set(run.done) | failed | waiting == {each.id for each in tasks}
        assert len(run.done) + len(failed) + len(waiting) == len(tasks)
        assert all(set(each.needs) & (failed | waiting) for each in run.agenda.waiting)
        assert run.agenda.retry_failed() == len(failed)
        assert run.agenda.failed == {}
    run.may_fail = False
    run.round()
    assert sorted(run.done) == sorted(each.id for each in tasks)
    assert run.agenda.waiting == ()
    assert not run.agenda.busy


@given(graphs(), st.data())
def test_without_failures_each_task_starts_once(tasks: list[Task], data: st.DataObject) -> None:
    """A run in which nothing fails starts every task exactly once."""
    run = Run(Agenda(tasks), data, may_fail=False)
    run.round()
    assert sorted(run.started) == sorted(each.id for each in tasks)


@given(graphs(), st.data())
def test_adding_again_changes_nothing(tasks: list[Task], data: st.DataObject) -> None:
    """Known tasks, whatever became of them, are not taken a second time."""
    run = Run(Agenda(tasks), data, may_fail=True)
    assert run.agenda.add(tasks) == 0
    run.round()
    assert run.agenda.add(tasks) == 0
    run.round()
    assert len(run.started) == len(set(run.started))


def test_ready_tasks_come_in_the_order_of_the_plan() -> None:
    """Of several ready tasks the one that the plan names first starts first."""
    agenda = Agenda([task("b"), task("c", "b"), task("a")])
    assert [ready.id for ready in agenda.take_ready()] == ["b", "a"]
    assert agenda.take_ready() == []
    agenda.finish("a")
    assert agenda.take_ready() == []
    agenda.finish("b")
    assert [ready.id for ready in agenda.take_ready()] == ["c"]


def test_one_failure_stops_only_what_needs_it() -> None:
    """Tasks behind a failed one wait, the others go on, and a second pass picks both up."""
    agenda = Agenda([task("a"), task("b", "a"), task("c"), task("d", "c")])
    first, _ = agenda.take_ready()
    agenda.fail(first)
    agenda.finish("c")
    assert [ready.id for ready in agenda.take_ready()] == ["d"]
    agenda.finish("d")
    assert not agenda.busy
    assert [waiting.id for waiting in agenda.waiting] == ["b"]
    assert set(agenda.failed) == {"a"}
    assert agenda.retry_failed() == 1
    assert [ready.id for ready in agenda.take_ready()] == ["a"]
    agenda.finish("a")
    assert [ready.id for ready in agenda.take_ready()] == ["b"]


def test_tasks_may_be_added_while_others_run() -> None:
    """What arranging finds out joins the plan, and publishing waits for it."""
    agenda = Agenda([task("arrange"), task("publish", "arrange")])
    agenda.take_ready()
    assert agenda.add([task("pack/0"), task("pack/1"), task("arrange"), task("pack/0")]) == 2
    agenda.extend_needs("publish", ["pack/0", "pack/1"])
    agenda.finish("arrange")
    assert [ready.id for ready in agenda.take_ready()] == ["pack/0", "pack/1"]
    agenda.finish("pack/0")
    assert agenda.take_ready() == []
    assert agenda.waiting[0].needs == ("arrange", "pack/0", "pack/1")
    agenda.finish("pack/1")
    assert [ready.id for ready in agenda.take_ready()] == ["publish"]


def test_only_a_waiting_task_can_need_more() -> None:
    """A task that runs already cannot be given needs: that would be a mistake of the runner's, and is said."""
    agenda = Agenda([task("a")])
    agenda.take_ready()
    with pytest.raises(KeyError):
        agenda.extend_needs("a", ["b"])


def test_a_need_that_nobody_brings_keeps_a_task_waiting() -> None:
    """An unknown need is not taken for done."""
    agenda = Agenda([task("a", "ghost")])
    assert agenda.take_ready() == []
    assert not agenda.busy
    assert [waiting.id for waiting in agenda.waiting] == ["a"]
