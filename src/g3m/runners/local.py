"""Runs tasks on threads of this machine: a few lanes for the network, the rest for disk and cores.

Threads suffice: libcurl, digests, checksums and file reads all release the interpreter's lock. The
caller's thread alone keeps the agenda and sees the events.
"""

from __future__ import annotations

import os
import queue
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from g3m.adapters.allocator import use_one_arena
from g3m.adapters.session import Session
from g3m.core.agenda import Agenda
from g3m.core.errors import G3MError, Interrupted
from g3m.core.plan import Task
from g3m.runners.base import Beat, Outcome, RunTask

WAIT_S = 0.2
DOWNLOADS = 4
"""Files at a time: where one has too little left for all connections, the next begins."""
CORES_LIMIT = 4


def jobs_of(session: Session) -> int:
    """How many shards are packed, or pictures decoded, at the same time."""
    return session.settings.jobs or min(os.cpu_count() or 1, CORES_LIMIT)


def run_local(agenda: Agenda, run: RunTask, session: Session, beat: Beat) -> Iterator[Outcome]:
    """Run tasks as they become ready, until none runs and none is ready."""
    use_one_arena()
    reports: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
    jobs = jobs_of(session)
    with (
        ThreadPoolExecutor(DOWNLOADS, "g3m-network") as network,
        ThreadPoolExecutor(jobs, "g3m-work") as work,
    ):
        try:
            while True:
                if not session.stop.is_set():
                    for task in agenda.take_ready():
                        lane = network if task.kind == "fetch" else work
                        lane.submit(_run_one, task, run, session, reports)
                if not agenda.busy:
                    return
                beat()
                try:
                    yield reports.get(timeout=WAIT_S)
                except queue.Empty:
                    continue
        finally:
            if agenda.busy:  # nobody listens any more: the tasks must not go on alone
                session.stop.set()


def _run_one(task: Task, run: RunTask, session: Session, reports: queue.SimpleQueue[Outcome]) -> None:
    """Run one task and report its events and its end; nothing may escape, or the run would hang."""
    try:
        if session.stop.is_set():
            raise Interrupted("stopped before it began")
        for event in run(task):
            reports.put((task, event))
        reports.put((task, None))
    except G3MError as error:
        reports.put((task, error))
    except Exception as error:  # noqa: BLE001  # a defect of ours must end as a report, not as silence
        reports.put((task, _defect(task, error)))


def _defect(task: Task, error: Exception) -> G3MError:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "?"
    return G3MError(f"{task.id}: {type(error).__name__}: {error} ({where})")
