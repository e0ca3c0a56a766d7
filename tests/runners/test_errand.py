"""runners/errand.py: what travels to a worker and what does not, and what a worker does with it."""

from __future__ import annotations

import pickle
import signal
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from g3m.adapters.session import Session
from g3m.core.agenda import Agenda
from g3m.core.errors import SettingsError, UsageError
from g3m.core.events import Event, Noted, Progressed, TaskFinished
from g3m.core.gathering import GatherPlan
from g3m.core.plan import DatasetPlan, Plan, Task
from g3m.core.settings import Layer, merge
from g3m.runners import errand as module
from g3m.runners.choose import runner_for
from g3m.runners.errand import Order, batches, carry_out, errand_of
from g3m.runners.local import run_local
from g3m.runners.ray import connected, load_ray, run_ray
from g3m.runners.run import make_session

TASK = Task(id="pack/d/00000.tar", kind="pack", dataset="d", shard="00000.tar")
SECRET = "s3cret-word"


def session_of(root: Path, **options: object) -> Session:
    session = make_session({"root": str(root), **options}, {"HF_TOKEN": f"hf_{SECRET}"})
    session.store.prepare()
    return session


def heard(_stop: object) -> nullcontext[None]:
    return nullcontext()


def seen_in_a_worker(monkeypatch: pytest.MonkeyPatch, session: Session, width: int) -> Session:
    """The session with which a worker runs a task."""
    seen: list[Session] = []

    def run(task: Task, plan: Plan, own: Session) -> Iterator[Event]:
        seen.append(own)
        yield Noted(task=task.id, text="here")

    monkeypatch.setattr(module, "run_task", run)
    errand = pickle.loads(pickle.dumps(errand_of(Plan(datasets=()), session)))
    reports = [report for batch in carry_out(errand, Order(TASK, width), heard) for report in batch]
    assert reports == [Noted(task=TASK.id, text="here"), None]
    return seen[0]


def test_no_secret_travels(tmp_path: Path) -> None:
    """Neither tokens nor logins of proxies, peers or mirrors are in what goes through Ray."""
    mirror = {"prefix": "https://example.org/", "places": [f"https://me:{SECRET}@mirror.example/"]}
    options = {
        "proxy": [f"http://me:{SECRET}@127.0.0.1:1", "http://127.0.0.1:2"],
        "peer": [f"http://127.0.0.1:3/#{SECRET}"],
        "mirrors": [mirror],
    }
    session = session_of(tmp_path, **options)
    errand = errand_of(Plan(datasets=()), session)
    assert SECRET.encode() not in pickle.dumps(errand)
    assert errand.settings.proxy == ("http://127.0.0.1:2",)
    assert session.settings.proxy[0].startswith("http://me:"), "what stays here is as it was"


@pytest.mark.parametrize("option", ["proxy", "peer"])
def test_a_secret_on_the_command_line_is_refused(tmp_path: Path, option: str) -> None:
    """Ray keeps the command line of a run where everybody on the cluster can read it."""
    session = session_of(tmp_path)
    given = Layer("command line", {option: [f"http://me:{SECRET}@127.0.0.1:1"]})
    session = replace(session, settings=merge([given]))
    with pytest.raises(SettingsError) as caught:
        errand_of(Plan(datasets=()), session)
    assert SECRET not in str(caught.value)


def test_a_proxy_that_workers_need_and_cannot_get(tmp_path: Path) -> None:
    """Gathering over a proxy with a login would go around it in silence: it is refused."""
    gathered = object.__new__(GatherPlan)
    session = session_of(tmp_path, proxy=[f"http://me:{SECRET}@127.0.0.1:1"])
    with pytest.raises(SettingsError, match="login"):
        errand_of(Plan(datasets=(gathered,)), session)


def test_a_worker_takes_its_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It knows of how many it is one, has the bandwidth divided, one core, and a guard of its own."""
    own = seen_in_a_worker(monkeypatch, session_of(tmp_path, bwlimit="8M"), 4)
    assert own.width == 4
    assert own.pace.rate_bytes_per_s == 2 * 1024**2
    assert own.settings.jobs == 1
    assert own.guard is not None
    assert own.store.root == tmp_path


def test_a_session_serves_all_tasks_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known of hosts is kept from task to task, and not from run to run."""
    session = session_of(tmp_path)
    errand = errand_of(Plan(datasets=()), session)
    first = module._open(errand)
    assert module._open(pickle.loads(pickle.dumps(errand))).hosts is first.hosts
    assert module._open(errand_of(Plan(datasets=()), session)).hosts is not first.hosts


def one_report(errand: Any) -> Any:
    [[report]] = carry_out(errand, Order(TASK, 1), heard)
    return report


def test_another_version_is_refused(tmp_path: Path) -> None:
    """A worker with another g3m might make other bytes: the task fails with what to do."""
    errand = errand_of(Plan(datasets=()), session_of(tmp_path))
    report = one_report(replace(errand, version="0.0.0"))
    assert isinstance(report, UsageError)
    assert "0.0.0" in report.message


def test_a_root_that_is_not_shared(tmp_path: Path) -> None:
    """A node without the root says so, and does not begin one of its own."""
    errand = errand_of(Plan(datasets=()), session_of(tmp_path / "here"))
    report = one_report(replace(errand, root=str(tmp_path / "there")))
    assert isinstance(report, UsageError)
    assert "there" in report.message
    assert not (tmp_path / "there").exists()


def test_ticks_are_merged_and_facts_are_not() -> None:
    """Of ticks that follow one another the last is sent; every fact arrives, in order, and so does the end."""
    ticks = [Progressed(task="t", done_bytes=number) for number in range(1000)]
    facts = [Noted(task="t", text=str(number)) for number in range(3)]
    sent = list(batches(iter([facts[0], *ticks, facts[1], *ticks, facts[2], None])))
    flat = [report for batch in sent for report in batch]
    assert [report for report in flat if not isinstance(report, Progressed)] == [*facts, None]
    assert flat[flat.index(facts[1]) - 1] == ticks[-1]
    assert len(flat) < 1000


def test_a_task_has_finished_when_it_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last fact and its end travel together, however much time passes between any two reports."""
    monkeypatch.setattr(module, "BATCH_S", 0.0)
    noted = Noted(task="t", text="on the way")
    finished = TaskFinished(task="t", kind="pack", dataset="d", output="d/00000.tar", size_bytes=1)
    assert list(batches(iter([noted, finished, None]))) == [[noted], [finished, None]]


def test_without_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is not installed, the error names the command that installs it; nothing hangs."""
    monkeypatch.setitem(sys.modules, "ray", None)
    session = session_of(tmp_path, runner="ray")
    plan = Plan(datasets=(object.__new__(_Named),))
    agenda = Agenda([TASK])
    with pytest.raises(UsageError) as caught:
        list(run_ray(agenda, lambda task: iter(()), session, lambda: None, plan=plan))
    assert "g3m[ray]" in caught.value.hint[0]
    assert "g3m[ray]" in caught.value.hint[1]


class _Named(DatasetPlan):
    name = "d"
    stream = False


def test_a_client_of_ray_is_refused() -> None:
    """`ray://` cannot do what is needed: the hint says what can."""
    with pytest.raises(UsageError, match="client"), connected("ray://127.0.0.1:10001"):
        pass


def test_the_runner_is_chosen_by_the_settings(tmp_path: Path) -> None:
    """Threads of this machine unless Ray is asked for; then the plan is bound."""
    plan = Plan(datasets=())
    assert runner_for(session_of(tmp_path), plan) is run_local
    chosen = runner_for(session_of(tmp_path, runner="ray"), plan)
    assert isinstance(chosen, partial)
    assert chosen.func is run_ray
    assert chosen.keywords == {"plan": plan}


def test_ray_tells_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Usage statistics are off, and no folder is copied, unless the user says otherwise."""
    import os

    for name in ("RAY_USAGE_STATS_ENABLED", "RAY_ENABLE_UV_RUN_RUNTIME_ENV"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    load_ray()
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] == "0"


def test_a_stop_before_the_beginning(tmp_path: Path) -> None:
    """A run that was stopped starts no cluster."""
    session = session_of(tmp_path, runner="ray")
    session.stop.set()
    before = signal.getsignal(signal.SIGTERM)
    assert (
        list(run_ray(Agenda([TASK]), lambda task: iter(()), session, lambda: None, plan=Plan(datasets=())))
        == []
    )
    assert signal.getsignal(signal.SIGTERM) is before
