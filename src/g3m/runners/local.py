"""Runs tasks on threads of this machine: a few lanes for the network, the rest for disk and cores.

Threads suffice: libcurl, digests, checksums and file reads all release the interpreter's lock. The
caller's thread alone keeps the agenda and sees the events.
"""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from g3m.adapters.allocator import use_one_arena
from g3m.adapters.session import Session
from g3m.core.agenda import Agenda
from g3m.core.errors import G3MError, Interrupted
from g3m.core.events import Event
from g3m.core.plan import Task
from g3m.runners.base import Beat, Outcome, RunTask
from g3m.runners.jobs import jobs_of

WAIT_S = 0.2
DOWNLOADS = 4
"""Files at a time: where one has too little left for all connections, the next begins."""


class Lanes:
    """The threads of this machine that run tasks, and what they report."""

    def __init__(
        self, run: RunTask, session: Session, network: ThreadPoolExecutor, work: ThreadPoolExecutor
    ) -> None:
        self._run, self._session = run, session
        self._network, self._work = network, work
        self._reports: queue.SimpleQueue[Outcome] = queue.SimpleQueue()

    def submit(self, task: Task) -> None:
        """Run a task as soon as a thread of its lane is free."""
        lane = self._network if task.kind == "fetch" else self._work
        lane.submit(self._run_one, task)

    def report(self, timeout_s: float = 0.0) -> Outcome | None:
        """The next report of any task, or None if there is none in time."""
        try:
            return self._reports.get(timeout=timeout_s) if timeout_s else self._reports.get_nowait()
        except queue.Empty:
            return None

    def _run_one(self, task: Task) -> None:
        for outcome in outcomes(task, self._run, self._session):
            self._reports.put((task, outcome))


@contextlib.contextmanager
def lanes(run: RunTask, session: Session) -> Iterator[Lanes]:
    """Threads for tasks; they end, with what they are at, when the context does."""
    use_one_arena()
    with (
        ThreadPoolExecutor(DOWNLOADS, "g3m-network") as network,
        ThreadPoolExecutor(session.lanes or jobs_of(session), "g3m-work") as work,
    ):
        yield Lanes(run, session, network, work)


def run_local(agenda: Agenda, run: RunTask, session: Session, beat: Beat) -> Iterator[Outcome]:
    """Run tasks as they become ready, until none runs and none is ready."""
    with lanes(run, session) as here:
        try:
            while True:
                if not session.stop.is_set():
                    for task in agenda.take_ready():
                        here.submit(task)
                if not agenda.busy:
                    return
                beat()
                if (report := here.report(WAIT_S)) is not None:
                    yield report
        finally:
            if agenda.busy:  # nobody listens any more: the tasks must not go on alone
                session.stop.set()


def outcomes(task: Task, run: RunTask, session: Session) -> Iterator[Event | G3MError | None]:
    """Run one task: its events, then its error or None; nothing may escape, or the run would hang."""
    try:
        if session.stop.is_set():
            raise Interrupted("stopped before it began")
        yield from run(task)
        yield None
    except G3MError as error:
        yield error
    except Exception as error:  # noqa: BLE001  # a defect of ours must end as a report, not as silence
        yield _defect(task, error)


def _defect(task: Task, error: Exception) -> G3MError:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "?"
    return G3MError(f"{task.id}: {type(error).__name__}: {error} ({where})")
