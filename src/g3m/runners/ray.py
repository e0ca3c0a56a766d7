"""Spreads the tasks that make shards over a Ray cluster; all others run on threads of this machine.

Ray is the engine and nothing more: it never tries a task again and keeps nothing, because receipts say what
is done. This is the only module that imports ray, and only when it is used.
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from threading import Event as Flag
from typing import Any

from g3m.adapters.disk import remove
from g3m.adapters.session import Session
from g3m.core.agenda import Agenda
from g3m.core.errors import G3MError, Interrupted, Unreachable, UsageError
from g3m.core.events import Noted, TaskFinished
from g3m.core.gathering import GatherPlan
from g3m.core.plan import Plan, Task
from g3m.runners.base import Beat, Outcome, RunTask
from g3m.runners.errand import SAME_HINT, Batch, Errand, Order, carry_out, errand_of, order_for
from g3m.runners.local import WAIT_S, lanes
from g3m.steps.pack import read_shard_receipt

SPREAD = ("pack", "adopt")
"""What makes a shard; fetching, arranging and publishing is for the machine that began the run."""

AHEAD = 2
"""Tasks that are handed out for each that can run: who is done finds the next one waiting."""

GATHER_CPUS = 0.5
"""A task that gathers waits for the network half of its time, so two share a core."""

LOSSES = 3
"""How often a task is handed out again because its worker or node was lost."""

PATIENCE_S = 60.0
"""How long tasks may take to stop in good order before they are ended."""

KNOCK_S = 10.0

STORE_BYTES = 80_000_000
"""Little more than the least that Ray accepts: nothing but plans and events goes through its store."""

_INSTALL = (
    "pip install 'g3m[ray]', here and on every node of the cluster",
    "请在本机及集群的每个节点上运行 pip install 'g3m[ray]'",
)
_CLIENT = (
    "run g3m on a node of the cluster with --address auto, or name HOST:PORT of its head",
    "请在集群的某个节点上以 --address auto 运行 g3m，或填写头节点的 主机:端口",
)


def run_ray(agenda: Agenda, run: RunTask, session: Session, beat: Beat, *, plan: Plan) -> Iterator[Outcome]:
    """Run tasks as they become ready, those of SPREAD on the cluster; UsageError if ray is not installed."""
    errand = errand_of(plan, session)
    crew: _Crew | None = None
    with ExitStack() as stack:
        here = stack.enter_context(lanes(run, session))
        try:
            while True:
                for task in () if session.stop.is_set() else agenda.take_ready():
                    if task.kind not in SPREAD or plan.dataset(task.dataset).stream:
                        here.submit(task)
                    else:
                        crew = crew or stack.enter_context(_crew(errand, session))
                        crew.waiting.append(task)
                if not agenda.busy:
                    return
                beat()
                is_afar = crew is not None and crew.busy
                if (report := here.report(0 if is_afar else WAIT_S)) is not None:
                    yield report
                if crew is not None:
                    yield from crew.reports()
        finally:
            if agenda.busy:  # nobody listens any more: the tasks must not go on alone
                session.stop.set()


@contextmanager
def _crew(errand: Errand, session: Session) -> Iterator[_Crew]:
    """A crew of the cluster; at the end nobody works any more."""
    with connected(session.settings.address) as ray:
        crew = _Crew(ray, errand, session)
        try:
            yield crew
        finally:
            if crew.busy:
                session.stop.set()
            while crew.busy:
                deque(crew.reports(), maxlen=0)


class _Crew:
    """The tasks that are with the cluster."""

    def __init__(self, ray: Any, errand: Errand, session: Session) -> None:
        self._ray, self._plan, self._session = ray, errand.plan, session
        self._jobs = errand.settings.jobs
        self._errand = ray.put(errand)
        node = ray.get_runtime_context().get_node_id()
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)
        self._bell = ray.remote(_Bell).options(num_cpus=0, scheduling_strategy=here).remote()
        self._rung = self._bell.rung.remote()
        self._work = ray.remote(_work)
        self._running: dict[Any, Task] = {}
        self._begun: set[Any] = set()
        self._lost: Counter[str] = Counter()
        self._end_s = 0.0
        self._is_begun = False
        self.waiting: deque[Task] = deque()

    @property
    def busy(self) -> bool:
        """Whether the cluster has a task."""
        return bool(self._running)

    def reports(self) -> Iterator[Outcome]:
        """What the cluster has to report, after it was given more tasks, or told to stop."""
        if self._session.stop.is_set():
            yield from self._stop()
        elif self.waiting:
            yield from self._note()
            self._hand_out()
        if not self._running:
            return
        ready, _ = self._ray.wait([*self._running], num_returns=1, timeout=WAIT_S)
        if ready:
            ready, _ = self._ray.wait([*self._running], num_returns=len(self._running), timeout=0)
        for stream in ready:
            yield from self._take(stream)

    def _note(self) -> Iterator[Outcome]:
        """Once: whether the first task can begin."""
        if not self._is_begun:
            self._is_begun = True
            task = self.waiting[0]
            if text := waiting_note(self._ray, self._cpus(task)):
                yield task, Noted(task=task.id, text=text)

    def _hand_out(self) -> None:
        cpus = self._ray.cluster_resources().get("CPU", 0)
        held = sum(map(self._cpus, self._running.values()))
        while self.waiting and (not self._running or held < AHEAD * cpus):
            task = self.waiting.popleft()
            share = self._cpus(task)
            held += share
            options = {"num_cpus": share, "max_retries": 0, "scheduling_strategy": "SPREAD", "name": task.id}
            work = self._work.options(num_returns="streaming", **options)
            order = order_for(task, max(int(cpus / share), 1), self._plan, self._session)
            # In a list, because what stands alone would be waited for.
            self._running[work.remote(self._errand, order, [self._rung])] = task

    def _cpus(self, task: Task) -> float:
        is_gathering = isinstance(self._plan.dataset(task.dataset), GatherPlan)
        return self._jobs * (GATHER_CPUS if is_gathering else 1)

    def _take(self, stream: Any) -> Iterator[Outcome]:
        """The next batch of a task, or its end, whatever that was."""
        task, exceptions = self._running[stream], self._ray.exceptions
        batch: Batch
        is_over = True
        try:
            batch = self._ray.get(next(stream))
            is_over = batch[-1] is None or isinstance(batch[-1], G3MError)
        except StopIteration:
            batch = self._missed(task, "its last report is missing")
        except exceptions.TaskCancelledError:
            batch = [Interrupted("stopped")]
        except exceptions.RayTaskError as error:  # not even a report: the worker cannot do what it is asked
            batch = [G3MError(f"{task.id}: a worker failed: {in_one_line(error)}", hint=SAME_HINT)]
        except exceptions.RayError as error:
            batch = self._missed(task, in_one_line(error))
        self._begun.add(stream)
        if is_over:
            del self._running[stream]
            self._begun.discard(stream)
        for report in batch:
            yield task, report

    def _missed(self, task: Task, why: str) -> Batch:
        """What becomes of a task whose worker was lost: only its receipt says whether it is done."""
        dataset, session = self._plan.dataset(task.dataset), self._session
        if session.shelf is not None:
            session.shelf.pull(dataset.name)
        receipt = read_shard_receipt(dataset, task.shard, session)
        if receipt is not None:
            done = TaskFinished(
                task=task.id,
                kind=task.kind,
                dataset=task.dataset,
                output=f"{dataset.recipe.folder}/{task.shard}",
                size_bytes=receipt.shard.size_bytes,
                samples=receipt.shard.samples,
                rejected=receipt.left_out,
            )
            return [done, None]
        if session.stop.is_set():
            return [Interrupted("stopped")]
        # Whoever still writes there, cut off from Ray, cannot publish it any more.
        for left in session.store.part("").glob(f"{task.dataset}-{task.shard}.*.making"):
            remove(left)
        self._lost[task.id] += 1
        if self._lost[task.id] > LOSSES:
            return [Unreachable(f"{task.id}: its worker was lost: {why}")]
        self.waiting.append(task)
        return [Noted(task=task.id, text=f"its worker was lost ({why}); it is handed out again")]

    def _stop(self) -> Iterator[Outcome]:
        """Tell all workers, once; what does not stop in good order is ended."""
        while self.waiting:
            yield self.waiting.popleft(), Interrupted("stopped before it began")
        if not self._end_s:
            self._end_s = time.monotonic() + PATIENCE_S
            self._bell.ring.remote()
            for stream in self._running.keys() - self._begun:
                self._ray.cancel(stream)
        elif time.monotonic() > self._end_s:
            self._end_s = math.inf
            for stream in self._running:
                self._ray.cancel(stream, force=True)


class _Bell:
    """An actor that rings when the run is to stop."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    async def ring(self) -> None:
        self._rung.set()

    async def rung(self) -> None:
        await self._rung.wait()


def _work(errand: Errand, order: Order, rung: Sequence[Any]) -> Iterator[Batch]:
    """What runs in a worker."""
    yield from carry_out(errand, order, partial(_listening, rung[0]))


@contextmanager
def _listening(rung: Any, stop: Flag) -> Iterator[None]:
    """Set `stop` as soon as the bell rings."""
    ray, is_done = load_ray(), Flag()

    def listen() -> None:
        while not is_done.is_set():
            if ray.wait([rung], timeout=1)[0]:
                with suppress(
                    ray.exceptions.RayError
                ):  # without its bell the run is over, too: Ray sees to that
                    ray.get(rung)
                    stop.set()
                return

    threading.Thread(target=listen, name="g3m-bell", daemon=True).start()
    try:
        yield
    finally:
        is_done.set()


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Ray, connected to a cluster or to one of its own on this machine; what begins here ends here."""
    ray = load_ray()
    if ray.is_initialized():
        yield ray
        return
    address = address or os.environ.get("RAY_ADDRESS", "") or "local"
    if address.startswith("ray://"):
        raise UsageError(f"{address}: a client of Ray cannot get reports of tasks at work", hint=_CLIENT)
    options: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": "error"}
    if address == "local":
        options |= {"include_dashboard": False, "object_store_memory": STORE_BYTES}
        options |= {"_node_ip_address": "127.0.0.1"}
    _knock(address)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(**options)
    except (OSError, RuntimeError, ValueError) as error:
        ray.shutdown()
        raise Unreachable(f"{address}: no Ray cluster can be reached: {in_one_line(error)}") from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray's own would not let the run stop in good order
    try:
        yield ray
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Unreachable if nobody listens at a HOST:PORT: Ray itself would try for a minute before it says so."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_S).close()
        except (OSError, OverflowError) as error:
            raise Unreachable(f"{address}: no Ray cluster can be reached: {error}") from error


def waiting_note(ray: Any, cores: float) -> str:
    """What to say if no node of the cluster has as many cores as a task needs; or an empty text."""
    most = max((node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]), default=0)
    if most >= cores:
        return ""
    return f"no node of the cluster has {cores:g} cores for a task, the most is {most:g}: waiting for one"


def load_ray() -> Any:
    """The package, told to send nothing anywhere; UsageError with the command that installs it."""
    # Under `uv run` Ray would copy the working folder, with all that lies there, to every node.
    for name in ("RAY_USAGE_STATS_ENABLED", "RAY_ENABLE_UV_RUN_RUNTIME_ENV"):
        os.environ.setdefault(name, "0")
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError as error:
        raise UsageError(f"ray cannot be imported: {error}", hint=_INSTALL) from error
    return ray


def in_one_line(error: Exception) -> str:
    """What Ray says, in one line."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
