"""runners/base.py: a plan comes to its end, once; what fails is told, what is done stays, nobody is mixed up."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from tests.steps.offline import make, zip_of
from tests.whole.sources import my_recipe, tiny_jpeg

from g3m.adapters.disk import STALE_S, Free, Store
from g3m.adapters.parts import Part
from g3m.adapters.session import Session
from g3m.core.agenda import Agenda
from g3m.core.errors import (
    BadArchive,
    G3MError,
    Interrupted,
    Locked,
    Missing,
    NoSpace,
    OtherOptions,
    PartialError,
    Unreachable,
)
from g3m.core.events import Event, RunFinished, RunStarted, TaskFailed, TaskFinished, TasksAdded, TaskStarted
from g3m.core.plan import Plan, Task, asset_id, make_dataset_plan
from g3m.core.recipe import Asset, Expect, Recipe, SampleRule
from g3m.core.retry import Policy
from g3m.lab.mischief import Status
from g3m.lab.world import World
from g3m.runners import base
from g3m.runners.base import drive, missing_bytes, pending, run_task
from g3m.runners.local import run_local
from g3m.runners.run import get_in, make_session
from g3m.steps.find import part_path, whole_path
from g3m.steps.resolve import resolve

MB = 10**6


def asset(name: str, size_bytes: int | None = MB) -> Asset:
    return Asset(name=name, places=(f"https://nowhere.invalid/{name}",), size_bytes=size_bytes)


def recipe(name: str, *assets: Asset, reader: str = "pairs", images: str = "") -> Recipe:
    return Recipe(
        name=name,
        title=name,
        folder=f"{name}/{name}",
        homepage="",
        licence="mine",
        terms="",
        citation="",
        samples=SampleRule(reader=reader, images=images),
        expect=Expect(),
        assets=assets,
    )


def plan_of(*recipes: Recipe, parity: Any = "none") -> Plan:
    return Plan(datasets=tuple(make_dataset_plan(one, one.assets, parity) for one in recipes))


A, B, SHARED = asset("a.zip"), asset("b.zip"), asset("shared.zip")
TWO = plan_of(recipe("one", A, SHARED), recipe("two", B, SHARED))


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return make_session({"root": str(tmp_path / "data")}, {})


@dataclass
class Scripted:
    """A runner that runs nothing: it says of each task what the script says, and done of all others."""

    outcomes: dict[str, list[G3MError | None]]
    ran: list[str] = field(default_factory=list)
    rounds: int = 0
    on_task: Callable[[Task], None] = lambda task: None

    def __call__(self, agenda: Agenda, run: Any, session: Session, beat: Callable[[], None]) -> Iterator[Any]:
        self.rounds += 1
        beat()
        while ready := agenda.take_ready():
            for task in ready:
                self.ran.append(task.id)
                self.on_task(task)
                said = self.outcomes.get(task.id, [])
                outcome = said.pop(0) if said else None
                if outcome is None and task.kind == "pack":
                    yield task, TaskFinished(task=task.id, kind="pack", dataset=task.dataset, samples=5)
                yield task, outcome


def fetch_id(one: Asset) -> str:
    return f"fetch/{asset_id(one)}-{one.name}"


# --- order, second pass, failures -----------------------------------------------------------------------------------


def test_every_task_runs_once_after_its_needs(session: Session) -> None:
    """Assets before arranging, arranging before publishing, a shared asset once; the events tell the sums."""
    runner, events = Scripted({}), list[Event]()
    summary = drive(TWO, session, runner, [events.append])
    assert sorted(runner.ran) == sorted(
        [
            fetch_id(A),
            fetch_id(SHARED),
            fetch_id(B),
            "arrange/one",
            "arrange/two",
            "publish/one",
            "publish/two",
        ]
    )
    for name, own in (("one", A), ("two", B)):
        place = runner.ran.index
        assert place(fetch_id(own)) < place(f"arrange/{name}") < place(f"publish/{name}")
        assert place(fetch_id(SHARED)) < place(f"arrange/{name}")
    assert runner.rounds == 1
    assert events[0] == RunStarted(datasets=("one", "two"), tasks=7, total_bytes=3 * MB)
    last = events[-1]
    assert isinstance(last, RunFinished)
    assert (last.finished, last.failed) == (7, 0)
    assert summary.finished == 7
    assert summary.manifests == {}


def test_a_failed_task_is_tried_once_more_after_the_others(session: Session) -> None:
    """One failure: the others go on, then it is tried again, and all is well."""
    runner, events = Scripted({fetch_id(A): [Unreachable("broken")]}), list[Event]()
    summary = drive(TWO, session, runner, [events.append])
    assert runner.ran.count(fetch_id(A)) == 2
    assert runner.ran.index("publish/two") < len(runner.ran) - 1 - runner.ran[::-1].index(fetch_id(A))
    assert summary.failed == {}
    assert [event for event in events if isinstance(event, TaskFailed)] == [
        TaskFailed(task=fetch_id(A), kind="fetch", dataset="one", code="G3M-E510", reason="broken")
    ]


def test_twice_is_enough(session: Session) -> None:
    """A task that fails in both passes is not tried a third time, and what needs it never runs."""
    runner = Scripted({fetch_id(A): [Unreachable("first"), Unreachable("second"), None]})
    with pytest.raises(Unreachable, match="second"):
        drive(TWO, session, runner)
    assert runner.ran.count(fetch_id(A)) == 2
    assert runner.rounds == 2
    assert "arrange/one" not in runner.ran
    assert "publish/one" not in runner.ran
    assert "publish/two" in runner.ran


def test_where_nothing_went_well_there_is_no_second_pass(session: Session) -> None:
    """With a dead network a second pass at once would only double the waiting."""
    errors: dict[str, list[G3MError | None]] = {
        fetch_id(one): [Unreachable(one.name), None] for one in (A, B, SHARED)
    }
    runner = Scripted(errors)
    with pytest.raises(Unreachable):
        drive(TWO, session, runner)
    assert runner.rounds == 1
    assert len(runner.ran) == 3


def test_what_cannot_get_better_is_not_tried_again(session: Session) -> None:
    """Where every error says that a retry is hopeless, there is no second pass."""
    runner = Scripted({"arrange/one": [BadArchive("torn"), None]})
    with pytest.raises(BadArchive, match="torn"):
        drive(TWO, session, runner)
    assert runner.rounds == 1


def test_several_failures_are_one_error_with_all_reasons(session: Session) -> None:
    """Failures of several kinds: PartialError maps every task to its reason and shows them all."""
    runner = Scripted({fetch_id(A): [Missing("gone")] * 2, "arrange/two": [BadArchive("torn")] * 2})
    events: list[Event] = []
    with pytest.raises(PartialError) as caught:
        drive(TWO, session, runner, [events.append])
    assert caught.value.failed == {fetch_id(A): "gone", "arrange/two": "torn"}
    assert "gone" in caught.value.message
    assert "torn" in caught.value.message
    last = events[-1]
    assert isinstance(last, RunFinished)
    assert last.failed == 2


def test_several_failures_of_one_kind_are_that_kind(session: Session) -> None:
    """If nothing is here and all failed alike, the error is that one, with its exit code and hint."""
    errors: dict[str, list[G3MError | None]] = {fetch_id(one): [Missing(one.name)] for one in (A, B, SHARED)}
    with pytest.raises(Missing):
        drive(TWO, session, Scripted(errors))


def test_an_interruption_ends_the_run(session: Session) -> None:
    """A task that was stopped is no failure: the flag is set, no second pass, Interrupted at the end."""
    runner, events = Scripted({fetch_id(A): [Interrupted("stopped")]}), list[Event]()
    with pytest.raises(Interrupted):
        drive(TWO, session, runner, [events.append])
    assert session.stop.is_set()
    assert runner.rounds == 1
    assert not any(isinstance(event, TaskFailed) for event in events)
    assert isinstance(events[-1], RunFinished)


def test_a_stop_before_the_run_is_an_interruption(session: Session) -> None:
    """Who stops before the first task gets Interrupted and no summary that looks finished."""
    session.stop.set()
    with pytest.raises(Interrupted):
        drive(TWO, session, run_local)


def test_the_events_of_a_task_begin_with_its_start(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """`run_task` says that a task begins, then passes on what the step of its kind says."""
    finished = TaskFinished(task="x", kind="fetch", dataset="one")
    monkeypatch.setitem(base.STEPS, "fetch", lambda task, plan, session: iter([finished]))
    task = TWO.datasets[0].first_tasks()[0]
    assert list(run_task(task, TWO, session)) == [
        TaskStarted(task=task.id, kind="fetch", dataset="one", total_bytes=MB),
        finished,
    ]


# --- real runs ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("world"), samples=6) as world:
        yield world


@pytest.fixture
def opened(world: World, tmp_path: Path) -> Iterator[Callable[..., Session]]:
    """Opens sessions in the world below one root; nothing waits long."""
    world.origin.be_honest()
    world.origin.forget_requests()

    def opened(**options: object) -> Session:
        made = make_session({**world.options, "root": str(tmp_path / "data"), **options}, world.variables)
        return replace(made, policy=Policy(empty_attempts=2, first_wait_s=0.01, longest_wait_s=0.01))

    yield opened
    world.origin.be_honest()


def state(root: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in sorted(root.rglob("*"))}


def test_a_second_run_touches_nothing(world: World, opened: Callable[..., Session]) -> None:
    """The same plan again: no request, no event, no file with another time or size, and little to compute."""
    first = get_in(["all"], opened(), [])
    root = opened().store.root
    before, events = state(root), list[Event]()
    world.origin.forget_requests()
    started_s = time.process_time()
    second = get_in(["all"], opened(), [events.append])
    assert time.process_time() - started_s < 1
    assert second.manifests == first.manifests
    assert len(second.manifests) == 6
    assert events == []
    assert world.origin.requests == []
    assert state(root) == before


def test_what_failed_does_not_keep_the_others_from_being_published(
    world: World, opened: Callable[..., Session]
) -> None:
    """Two sources are gone: the other four datasets stand whole, the error names both, the next run completes."""
    world.origin.mischief("*/train2017.zip", Status(404), times=None)
    world.origin.mischief("*/archive.zip", Status(403), times=None)
    with pytest.raises(PartialError) as caught:
        get_in(["all"], opened(), [])
    assert len(caught.value.failed) == 2
    assert {name.partition("-")[2] for name in caught.value.failed} == {"train2017.zip", "sbucaptions.zip"}
    root = opened().store.root
    assert len(list(root.glob("*/*/manifest.json"))) == 4
    world.origin.be_honest()
    world.origin.forget_requests()
    assert len(get_in(["all"], opened(), []).manifests) == 6
    fetched = {request.path.rpartition("/")[2] for request in world.origin.requests}
    assert "val2017.zip" not in fetched


def test_a_defect_is_an_error_that_names_task_and_place(
    opened: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug in a step ends as an error with task, kind, file and line, and the run ends."""

    def buggy(task: Task, plan: Plan, session: Session) -> Iterator[Event]:
        yield TaskStarted(task=task.id, kind=task.kind, dataset=task.dataset)
        raise ValueError("a bug")

    monkeypatch.setitem(base.STEPS, "pack", buggy)
    with pytest.raises(G3MError) as caught:
        get_in(["coco_valid"], opened(), [])
    assert type(caught.value) is G3MError
    assert caught.value.message.startswith("pack/coco_valid/00000.tar: ValueError: a bug (")
    assert f"{Path(__file__).name}:" in caught.value.message
    assert not (opened().store.work / "lock").exists()


def test_other_options_are_refused_where_the_dataset_stands(opened: Callable[..., Session]) -> None:
    """A finished dataset is not remade with another parity; not even a receipt changes."""
    get_in(["coco_valid"], opened(), [])
    before = state(opened().store.root)
    with pytest.raises(OtherOptions, match=r"made with parity 'none'.*asked for is parity 'nxtp'"):
        get_in(["coco_valid"], opened(parity="nxtp"), [])
    assert state(opened().store.root) == before


def test_other_options_are_refused_where_it_was_begun(opened: Callable[..., Session]) -> None:
    """Shards of an unfinished run with another parity are not mixed with new ones."""
    get_in(["coco_valid"], opened(), [])
    (opened().store.root / "coco" / "coco_valid" / "manifest.json").unlink()
    before = state(opened().store.root)
    with pytest.raises(OtherOptions, match="unfinished run"):
        get_in(["coco_valid"], opened(parity="nxtp"), [])
    assert state(opened().store.root) == before
    assert get_in(["coco_valid"], opened(), []).manifests


def test_one_dataset_with_other_options_does_not_stop_another(opened: Callable[..., Session]) -> None:
    """Parity belongs to a dataset: another one below the same root is made with its own."""
    get_in(["coco_valid"], opened(), [])
    assert get_in(["coco"], opened(parity="nxtp"), []).manifests["coco"].parity == "nxtp"


def test_leftovers_of_a_killed_run_are_swept_and_parts_are_kept(opened: Callable[..., Session]) -> None:
    """Half-made shards and temporary documents go; what a journal proves stays; also below a finished root."""
    session = opened()
    session.store.prepare()
    parts = session.store.part("")
    doomed = [parts / name for name in ("coco-00000.tar.1-ab.making", "table.tmp", ".x.json.1.ab.tmp")]
    kept = [parts / name for name in ("0-a.zip.part", "0-a.zip.journal", "0-a.zip.whole", "x.spool")]
    for path in (*doomed, *kept):
        path.write_bytes(b"x")
    get_in(["coco_valid"], session, [])
    assert not any(path.exists() for path in doomed)
    assert all(path.exists() for path in kept)
    doomed[0].write_bytes(b"x")
    get_in(["coco_valid"], opened(), [])
    assert not doomed[0].exists()


def test_temporary_files_of_a_killed_run_beside_the_data_are_swept_too(
    opened: Callable[..., Session],
) -> None:
    """A kill while a list or a companion is written leaves nothing for good."""
    session = opened()
    session.store.prepare()
    left = [
        session.store.plan("coco_valid.4194305.tmp"),
        session.store.root / "coco" / "coco_valid" / ".sizes.json.4194305.abcd1234.tmp",
        session.store.receipt("coco_valid", "x").with_name(".00000.tar.json.4194305.abcd1234.tmp"),
    ]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    get_in(["coco_valid"], session, [])
    assert [path for path in left if path.exists()] == []


# --- the lease ------------------------------------------------------------------------------------------------------


def test_the_lease_is_held_while_tasks_run_and_given_back(session: Session) -> None:
    """During every task the lock names this process; after success and failure alike it is gone."""
    lock, holders = session.store.work / "lock", list[dict[str, Any]]()

    def look(_: Task) -> None:
        holders.append(json.loads(lock.read_text(encoding="utf-8")))

    drive(TWO, session, Scripted({}, on_task=look))
    assert {(holder["pid"], holder["host"]) for holder in holders} == {(os.getpid(), socket.gethostname())}
    assert not lock.exists()
    with pytest.raises(Missing):
        drive(TWO, session, Scripted({fetch_id(A): [Missing("gone")] * 2}))
    assert not lock.exists()


def write_lock(session: Session, pid: int, host: str = "") -> Path:
    session.store.prepare()
    lock = session.store.work / "lock"
    body = {"host": host or socket.gethostname(), "pid": pid, "token": "another"}
    lock.write_text(json.dumps(body), encoding="utf-8")
    return lock


@pytest.mark.parametrize("host", ["", "another-host"])
def test_a_root_in_use_is_refused(session: Session, host: str) -> None:
    """A living process here, or a heartbeat from elsewhere: Locked names it, and its lock stays."""
    lock = write_lock(session, os.getpid() if not host else 4_000_000, host)
    runner = Scripted({})
    with pytest.raises(Locked, match=f"held by process \\d+ on {host or socket.gethostname()}"):
        drive(TWO, session, runner)
    assert runner.ran == []
    assert "another" in lock.read_text(encoding="utf-8")


def test_a_dead_process_holds_nothing(session: Session) -> None:
    """The lock of a process that has ended is taken over."""
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    lock = write_lock(session, gone.pid)
    drive(TWO, session, Scripted({}))
    assert not lock.exists()


def test_a_silent_host_holds_nothing(session: Session) -> None:
    """A lock of another host without a heartbeat for two minutes is taken over."""
    lock = write_lock(session, 1, "another-host")
    old_s = time.time() - STALE_S - 1
    os.utime(lock, (old_s, old_s))
    drive(TWO, session, Scripted({}))
    assert not lock.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}'])
def test_an_unreadable_lock_does_not_lock_for_ever(session: Session, text: str) -> None:
    """A torn lock counts as none, at the latest when it is old."""
    lock = write_lock(session, 1)
    lock.write_text(text, encoding="utf-8")
    old_s = time.time() - STALE_S - 1
    os.utime(lock, (old_s, old_s))
    drive(TWO, session, Scripted({}))


# --- the disk -------------------------------------------------------------------------------------------------------


def free_of(monkeypatch: pytest.MonkeyPatch, size_bytes: int, inodes: int | None = None) -> None:
    monkeypatch.setattr(Store, "free", lambda _: Free(size_bytes, inodes))


BIG = plan_of(recipe("big", asset("big.zip", 100 * MB), images="big.zip"))


@pytest.mark.parametrize(
    ("plan", "needed"),
    [
        (BIG, 200 * MB),
        (plan_of(recipe("t", asset("t.tar.gz", 100 * MB), images="t.tar.gz")), 300 * MB),
        (plan_of(recipe("s", asset("s.tar", 100 * MB), reader="shards")), 100 * MB),
        (
            plan_of(
                recipe("x", asset("x.zip", 100 * MB), images="x.zip"),
                recipe("y", asset("y.zip", 60 * MB), images="y.zip"),
            ),
            # Shards of both last, and a fast network may bring both archives before they go.
            320 * MB,
        ),
        (plan_of(recipe("u", asset("u.zip", None))), 0),
    ],
    ids=["archive", "tar.gz", "ready shards", "two", "unknown"],
)
def test_what_a_plan_needs_on_the_disk(
    session: Session, monkeypatch: pytest.MonkeyPatch, plan: Plan, needed: int
) -> None:
    """Archives stand beside shards, a tar.gz is inflated, ready shards need themselves; one byte less is too little."""
    free_of(monkeypatch, needed)
    assert missing_bytes(plan, session) == 0
    drive(plan, session, Scripted({}))
    if needed:
        free_of(monkeypatch, needed - 1)
        assert missing_bytes(plan, session) == 1
        runner = Scripted({})
        with pytest.raises(NoSpace, match=f"{needed - 1} bytes are free, 1 more are needed"):
            drive(plan, session, runner)
        assert runner.ran == []


def test_what_is_here_already_is_not_needed_again(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes of a journaled part need not come again, once; a user's own copy needs room for the shards alone."""
    session.store.prepare()
    (one,) = BIG.assets.values()
    part = Part(part_path(session, one), one.digests, one.size_bytes)
    part.restore()
    part.begin("host", "", one.size_bytes)
    part.write(0, 0, [bytes(30 * MB)], "host")
    part.flush()
    part.close()
    free_of(monkeypatch, 0)
    own = replace(session, settings=replace(session.settings, source=("/nas",)))
    # 70 of the archive are to come, then 100 of shards beside it.
    assert (missing_bytes(BIG, session), missing_bytes(BIG, own)) == (170 * MB, 100 * MB)


def test_too_few_inodes(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk full of small files is refused before the first byte; where inodes are not counted, nothing is asked."""
    free_of(monkeypatch, 10**15, 1000)
    with pytest.raises(NoSpace, match="1000 inodes are free"):
        drive(BIG, session, Scripted({}))
    free_of(monkeypatch, 10**15, None)
    drive(BIG, session, Scripted({}))


# --- what is left ---------------------------------------------------------------------------------------------------


def test_pending_follows_the_receipts(opened: Callable[..., Session]) -> None:
    """Nothing of a whole dataset; publishing alone where shards are there; a fetch only for what lost its shard."""
    session = opened()
    (shards, coco) = resolve(["cc3m", "coco_valid"], session).datasets
    assert [task.kind for task in pending(shards, session)] == ["fetch", "fetch", "adopt", "adopt", "publish"]
    get_in(["cc3m", "coco_valid"], session, [])
    assert pending(shards, session) == pending(coco, session) == ()
    for dataset in (shards, coco):
        (session.store.root / dataset.recipe.folder / "manifest.json").unlink()
        assert [task.kind for task in pending(dataset, session)] == ["publish"]
    (session.store.root / "cc3m" / "cc3m" / "cc3m-train-0001.tar").unlink()
    tasks = pending(shards, session)
    assert [task.kind for task in tasks] == ["fetch", "adopt", "publish"]
    assert tasks[1].shard == "cc3m-train-0001.tar"
    (session.store.root / "coco" / "coco_valid" / "00000.tar").unlink()
    assert [task.kind for task in pending(coco, session)] == ["fetch", "fetch", "arrange", "publish"]


def test_a_lost_shard_is_made_again_and_no_other(world: World, opened: Callable[..., Session]) -> None:
    """One of two ready shards is gone: it alone is fetched, and the other's file is not touched."""
    get_in(["cc3m"], opened(), [])
    folder = opened().store.root / "cc3m" / "cc3m"
    lost, other = folder / "cc3m-train-0001.tar", folder / "cc3m-train-0000.tar"
    content, before = lost.read_bytes(), other.stat().st_mtime_ns
    lost.unlink()
    world.origin.forget_requests()
    get_in(["cc3m"], opened(), [])
    assert lost.read_bytes() == content
    assert other.stat().st_mtime_ns == before
    assert {r.path.rpartition("/")[2] for r in world.origin.requests} == {"cc3m-train-0001.tar"}


def test_arranging_adds_the_shards(tmp_path: Path) -> None:
    """The number of shards is known when captions have been read: an event says so, and publishing waits for all."""
    files = [
        (f"{n}.{kind}", tiny_jpeg(n) if kind == "jpg" else b"text")
        for n in range(3)
        for kind in ("jpg", "txt")
    ]
    archive = zip_of(tmp_path / "source" / "mine.zip", files)
    file = my_recipe(tmp_path / "mine.toml", [(archive, [])], {"reader": "pairs", "images": archive.name})
    made = make(file, archive)
    assert [event for event in made.events if isinstance(event, TasksAdded)] == [
        TasksAdded(task="arrange/mine", count=1)
    ]
    kinds = [event.kind for event in made.events if isinstance(event, TaskFinished)]
    assert kinds == ["fetch", "arrange", "pack", "publish"]


def test_assets_go_after_publishing_unless_they_are_kept(opened: Callable[..., Session]) -> None:
    """Archives and spools are deleted once their shards are published; --keep-assets keeps the archives."""
    get_in(["openimages_v7_valid"], opened(), [])
    assert list(opened().store.part("").iterdir()) == []
    kept = opened(root=str(opened().store.root.parent / "kept"), keep_assets=True)
    get_in(["openimages_v7_valid"], kept, [])
    for one in resolve(["openimages_v7_valid"], kept).assets.values():
        assert whole_path(kept, one).is_file()


def test_a_finished_dataset_is_finished_while_another_run_is_at_work(opened: Callable[..., Session]) -> None:
    """What another run is making is neither swept nor a reason to refuse a plan with nothing to do."""
    session = opened()
    get_in(["coco_valid"], session, [])
    making = session.store.part("other-00000.tar.1-ab.making")
    making.write_bytes(b"x")
    with session.store.lease():
        assert get_in(["coco_valid"], opened(), []).finished == 0
    assert making.exists()


def test_archives_that_were_kept_on_purpose_stay(opened: Callable[..., Session]) -> None:
    """A later run without --keep-assets does not delete what an earlier one was told to keep."""
    session = opened(keep_assets=True)
    get_in(["coco_valid"], session, [])
    kept = sorted(session.store.part("").glob("*.whole"))
    assert len(kept) == 2
    get_in(["coco_valid"], opened(), [])
    assert sorted(session.store.part("").glob("*.whole")) == kept
