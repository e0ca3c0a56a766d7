"""A task away from the machine that began the run: what travels with it, and what is done where it arrives.

What travels can be read by all who reach the cluster: no token and no login goes that way. A worker opens a
session of its own, with the variables of its own machine. How things travel is not for here.
"""

from __future__ import annotations

import math
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event as Flag

import g3m
from g3m.adapters.disk import Store, write_document
from g3m.adapters.guard import Guard
from g3m.adapters.pace import Pace
from g3m.adapters.session import Session, open_session
from g3m.core.errors import G3MError, SettingsError, UsageError
from g3m.core.events import Event, Progressed, RoutesMeasured, RowsMeasured, TaskFinished
from g3m.core.gathering import GatherPlan
from g3m.core.limits import Timetable
from g3m.core.plan import Plan, Task
from g3m.core.settings import Settings
from g3m.runners.base import run_task
from g3m.runners.local import outcomes
from g3m.steps.portion import carried_path, rows_of
from g3m.steps.shelf import shelved

Report = Event | G3MError | None
Batch = list[Report]
"""Events of one task, in order; an error or None is its end."""

Listening = Callable[[Flag], AbstractContextManager[None]]
"""A context in which the flag is set as soon as the run is to stop."""

BATCH_S = 0.5
TICKS = (Progressed, RoutesMeasured, RowsMeasured)

_SAY_ELSEWHERE = (
    "Ray keeps the command line where others can read it: use your config file, or HTTPS_PROXY on every node",
    "Ray 会保存命令行且他人可读：请写入你自己的配置文件，或在每个节点上设置 HTTPS_PROXY",
)
_LOGIN = (
    "set HTTPS_PROXY in the environment of every node instead: no login is sent through Ray",
    "请改为在每个节点的环境中设置 HTTPS_PROXY：登录信息不会经由 Ray 传送",
)
_SHARED = (
    "every node must see that folder under the same path: put it on a shared file system",
    "每个节点都必须能以相同路径访问该目录：请把它放在共享文件系统上",
)
SAME_HINT = (
    "install the same g3m, and the same Python, on every node of the cluster",
    "请在集群的每个节点上安装相同版本的 g3m 和 Python",
)


@dataclass(frozen=True, slots=True)
class Errand:
    """What a worker must know beside its task."""

    plan: Plan
    settings: Settings
    root: str
    bucket: str
    """The address of the bucket that stands in for a shared disk, or an empty text."""
    run: str
    version: str


def errand_of(plan: Plan, session: Session) -> Errand:
    """What travels; SettingsError where the run needs a secret that must not."""
    settings = session.settings
    refuse_secrets(settings)
    if _has_login(settings) and any(isinstance(dataset, GatherPlan) for dataset in plan.datasets):
        raise SettingsError("proxy: has a login, which the workers would need", hint=_LOGIN)
    # Mirrors and peers may have logins in their addresses; only tasks that stay here fetch from them.
    plain = tuple(proxy for proxy in settings.proxy if "@" not in proxy)
    settings = replace(settings, proxy=plain, peer=(), mirrors=(), jobs=settings.jobs or 1)
    root = str(session.store.root.absolute())
    bucket = "" if session.shelf is None else session.shelf.address
    return Errand(plan, settings, root, bucket, secrets.token_hex(8), g3m.__version__)


def refuse_secrets(settings: Settings) -> None:
    """SettingsError if the command line, which Ray keeps, may hold a secret."""
    for name in ("peer", *(["proxy"] if _has_login(settings) else [])):
        if getattr(settings, name) and settings.origins.get(name) == "command line":
            raise SettingsError(f"{name}: may hold a secret, and a run on Ray shows it", hint=_SAY_ELSEWHERE)


def _has_login(settings: Settings) -> bool:
    return any("@" in proxy for proxy in settings.proxy)


@dataclass(frozen=True, slots=True)
class Order:
    """One task of an errand; `width`: of how many that may run at a time it is one."""

    task: Task
    width: int
    rows: bytes = b""
    """What it works on, where the machines share no disk."""


def order_for(task: Task, width: int, plan: Plan, session: Session) -> Order:
    """A task with all that goes with it."""
    needs_rows = session.shelf is not None and isinstance(plan.dataset(task.dataset), GatherPlan)
    return Order(task, width, rows_of(task, plan, session) if needs_rows else b"")


def carry_out(errand: Errand, order: Order, listening: Listening) -> Iterator[Batch]:
    """In a worker: do one task."""
    task, width = order.task, order.width
    if (other := other_version(errand.version)) is not None:
        yield [other]
        return
    session = _open(errand)
    if errand.bucket:
        session.store.prepare()
        write_document(carried_path(task, session), order.rows)
    elif not session.store.work.is_dir():
        yield [not_there(errand.root)]
        return
    rates = Timetable.parse(errand.settings.bwlimit).entries
    shares = Timetable(tuple((begin, rate and rate / width) for begin, rate in rates))
    with listening(session.stop):
        own = replace(session, width=width, pace=Pace(shares, time.monotonic))
        yield from batches(outcomes(task, lambda task: run_task(task, errand.plan, own), own))


def other_version(version: str) -> UsageError | None:
    """In a worker: what to say if the run began with another g3m than the one here."""
    if version == g3m.__version__:
        return None
    words = f"g3m {g3m.__version__} on {socket.gethostname()}, {version} where the run began"
    return UsageError(words, hint=SAME_HINT)


def not_there(path: str) -> UsageError:
    """In a worker: what to say if a folder of the run is missing."""
    return UsageError(f"{path} is not there on {socket.gethostname()}", hint=_SHARED)


_SESSIONS: dict[str, Session] = {}
"""In a worker: the session of the run. Its guard, and what it knows of hosts, serve task after task."""


def _open(errand: Errand) -> Session:
    """The session of a run; it is open as long as this process lives, or works for no other run."""
    if errand.run not in _SESSIONS:
        while _SESSIONS:
            _, old = _SESSIONS.popitem()
            old.hosts.close()
            if old.guard is not None:
                old.guard.close()
        session, root = open_session(errand.settings), Path(errand.root)
        session = (
            shelved(errand.bucket, session, root) if errand.bucket else replace(session, store=Store(root))
        )
        _SESSIONS[errand.run] = replace(session, guard=Guard(errand.settings.jobs))
    return _SESSIONS[errand.run]


def batches(reports: Iterator[Report]) -> Iterator[Batch]:
    """Reports twice a second; of ticks of one kind that follow one another only the last.

    That a task has finished comes with its end: if a worker were lost between them, it would be told twice.
    """
    batch: Batch = []
    sent_s = -math.inf
    for report in reports:
        if batch and isinstance(report, TICKS) and type(report) is type(batch[-1]):
            batch[-1] = report
        else:
            batch.append(report)
        if time.monotonic() - sent_s >= BATCH_S and not isinstance(report, TaskFinished):
            yield batch
            batch, sent_s = [], time.monotonic()
    if batch:
        yield batch
