"""Guarded work on pictures: it runs in processes of its own, and whatever it does there, this one goes on.

Here: a few worker processes (adapters/worker.py), started when they are needed, given one picture at a time,
and replaced when they die, hang or take too much. What is done with a picture there is not for here.

A worker inherits nothing: no descriptors, no variables (a decoder that can be taken over must find no token),
no share in the terminal's Ctrl-C. It ends when its stdin does, so also when this process is killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, final

from g3m.core.errors import G3MError
from g3m.core.frames import OUT_OF_MEMORY, SIZES, frame_head
from g3m.core.structure import Verdict, in_order, look

DATA_LIMIT_BYTES = 2**29
HEAD_LIMIT_BYTES = 2**16
PIPE_BYTES = 2**20
START_S = 60.0
"""Importing from a slow shared disk takes its time."""

START_TRIES = 3
"""So often a worker is started that is killed at once: the system may be short of memory for a moment."""

FAREWELL_S = 2.0

Cause = Literal["time", "memory", "crash", "error"]

_PASSED_ON = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""numpy comes with simplejpeg, and would start a thread for each core."""

_BEGIN = (
    "import json, sys; paths, limits = json.loads(sys.argv[1]); sys.path[:0] = paths; "
    "from g3m.adapters.worker import main; main(*limits)"
)
_CLOSED = "the guard is closed"
_INSTALL_AGAIN = (
    "install g3m again (`pip install --force-reinstall g3m`): its decoders do not start",
    "请重新安装 g3m（`pip install --force-reinstall g3m`）：解码组件无法启动",
)
_KILLED = (
    "something on this machine kills it, mostly for want of memory: free some, or use fewer --jobs",
    "它被系统终止，多半是内存不足：请释放内存，或减小 --jobs",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one picture may take. The largest that counts as one, 64 million pixels, needs a third of it.

    Time is the processor's, so that a busy machine changes no verdict; the wall clock is for what waits.
    """

    memory_bytes: int = 2 * 2**30
    cpu_s: float = 10.0
    wall_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What an operation gave: a few values, and bytes."""

    body: dict[str, Any]
    data: bytes = b""


class GuardFailure(Exception):
    """An operation gave nothing; `finding` is the class that this makes of the picture."""

    def __init__(self, cause: Cause, detail: str, finding: str = "broken") -> None:
        super().__init__(detail)
        self.cause: Cause = cause
        self.finding = finding


class _KilledAtOnce(Exception):
    """A worker was killed before it could say that it is ready."""


@final
class Guard:
    """Up to so many workers for any number of threads; a context manager that ends them all."""

    def __init__(
        self, workers: int, limits: Limits | None = None, *, command: Sequence[str] | None = None
    ) -> None:
        self._limits = limits or Limits()
        self._command = list(command or worker_command(self._limits))
        self._places = workers
        self._idle: list[_Worker] = []
        self._busy: set[_Worker] = set()
        self._closed = False
        self._changed = threading.Condition()

    def __enter__(self) -> Guard:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all workers, also those at work, whose callers get a GuardFailure; may be called twice."""
        with self._changed:
            self._closed = True
            idle, self._idle = self._idle, []
            for worker in self._busy:
                worker.kill()  # no more than that: another thread reads from it
            self._changed.notify_all()
        for worker in idle:
            worker.end()

    def judge(self, data: bytes) -> Verdict:
        """Decode a picture and say what was found; what the worker does not survive is broken."""
        seen = look(data)
        if seen.kind is None:
            return Verdict(seen.classes)
        try:
            body = self.call("judge", data, {}).body
            return Verdict(tuple(body["classes"]), body["detail"])
        except GuardFailure as failure:
            return Verdict(in_order({*seen.classes, failure.finding}), f"{failure.cause}: {failure}")

    def call(self, operation: str, data: bytes, options: dict[str, Any]) -> Answer:
        """Run an operation in an idle worker, waiting for one; blocks. Raises GuardFailure.

        A worker that has served others before may fail for their sake: a new one is asked before the picture
        is blamed. G3MError where no worker can be started at all.
        """
        if len(data) > DATA_LIMIT_BYTES:
            raise GuardFailure("memory", f"{len(data)} bytes are too many")
        worker = self._take()
        try:
            return worker.ask(operation, data, options, self._limits.wall_s)
        except GuardFailure as failure:
            if failure.cause in ("time", "error") or worker.is_new or self._closed:
                raise
        finally:
            self._give(worker)
        worker = self._take(new=True)
        try:
            return worker.ask(operation, data, options, self._limits.wall_s)
        finally:
            self._give(worker)

    def _take(self, *, new: bool = False) -> _Worker:
        with self._changed:
            while not self._idle and not self._places and not self._closed:
                self._changed.wait()
            if self._closed:
                raise GuardFailure("crash", _CLOSED)
            worker = self._idle.pop() if self._idle else None
            if worker is None:
                self._places -= 1
            elif not new:
                self._busy.add(worker)
                return worker
        if worker is not None:
            worker.end(at_once=True)
        return self._start()

    def _start(self) -> _Worker:
        """A new worker in a place that is taken already; outside of the lock, because it takes a while."""
        try:
            worker = self._started()
        except BaseException:
            with self._changed:
                self._places += 1
                self._changed.notify()
            raise
        with self._changed:
            if not self._closed:
                self._busy.add(worker)
                return worker
        worker.end(at_once=True)
        raise GuardFailure("crash", _CLOSED)

    def _started(self) -> _Worker:
        tries = 0
        while True:
            try:
                return _Worker(self._command)
            except _KilledAtOnce as killed:
                tries += 1
                if tries == START_TRIES:
                    raise G3MError(str(killed), hint=_KILLED) from None

    def _give(self, worker: _Worker) -> None:
        """Back among the idle; one that did not answer is ended, and another may be started in its place."""
        with self._changed:
            self._busy.discard(worker)
            if worker.is_fit and not self._closed:
                self._idle.append(worker)
                self._changed.notify()
                return
        worker.end(at_once=True)
        with self._changed:
            self._places += 1
            self._changed.notify()


def worker_command(limits: Limits, begin: str = _BEGIN) -> list[str]:
    """Python without the user's site, folder and variables, with the places where this one finds modules."""
    paths = [str(Path(__file__).parents[2]), *(path for path in sys.path if path)]
    numbers = (limits.memory_bytes, limits.cpu_s, limits.wall_s + FAREWELL_S)
    return [sys.executable, "-I", "-S", "-c", begin, json.dumps([paths, numbers])]


class _Worker:
    """One process; used by one thread at a time."""

    def __init__(self, command: Sequence[str]) -> None:
        variables = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        try:
            self._process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                cwd="/",
                env={**variables, **_ONE_THREAD},
                start_new_session=True,
            )
        except OSError as error:
            raise G3MError(f"{command[0]}: cannot be started: {error.strerror or error}") from error
        self._requests = self._process.stdin.fileno()  # type: ignore[union-attr]  # it is a pipe
        self._answers = self._process.stdout.fileno()  # type: ignore[union-attr]  # as above
        self._asked = 0
        self.is_fit = False
        """Whether it waits for a request."""
        try:
            self._await_hello()
        except BaseException:
            self.end(at_once=True)
            raise

    @property
    def is_new(self) -> bool:
        """Whether it has had no more than one request."""
        return self._asked < 2

    def ask(self, operation: str, data: bytes, options: dict[str, Any], wall_s: float) -> Answer:
        """Send a request and wait for its answer; GuardFailure if there is none in time."""
        self._asked += 1
        self.is_fit = False  # until all of the answer is read: else it would come to the next picture
        end_s = time.monotonic() + wall_s
        self._send(frame_head([operation, options], len(data)), end_s)
        self._send(data, end_s)
        answer = self._answer(end_s)
        self.is_fit = True
        if answer.body.get("failed") == "":
            raise G3MError(f"{operation}: {answer.body.get('detail')}")
        if "failed" in answer.body:
            raise GuardFailure("error", str(answer.body.get("detail")), str(answer.body["failed"]))
        return answer

    def kill(self) -> None:
        """End the process; whoever waits for it learns that."""
        self._process.kill()

    def end(self, *, at_once: bool = False) -> None:
        """End the process and give back what it held; may be called twice."""
        process = self._process
        if at_once:
            process.kill()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]  # as above
        try:
            process.wait(FAREWELL_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _await_hello(self) -> None:
        os.set_blocking(self._requests, False)
        with contextlib.suppress(OSError, AttributeError):  # a picture in one piece: fewer changes of process
            fcntl.fcntl(self._requests, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        try:
            hello = self._answer(time.monotonic() + START_S).body
            problem = "" if hello.get("ready") else str(hello.get("detail"))
        except GuardFailure as failure:
            problem = str(failure)
        if problem:
            words = f"the process that decodes pictures does not start: {problem}"
            if self._process.returncode == -signal.SIGKILL:
                raise _KilledAtOnce(words)
            raise G3MError(words, hint=_INSTALL_AGAIN)
        self.is_fit = True

    def _send(self, data: bytes, end_s: float) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._requests, view) :]
            except BlockingIOError:
                self._await(self._requests, select.POLLOUT, end_s)
            except OSError:
                raise self._fate() from None

    def _answer(self, end_s: float) -> Answer:
        head_bytes, data_bytes = SIZES.unpack(self._receive(SIZES.size, end_s))
        if head_bytes > HEAD_LIMIT_BYTES or data_bytes > DATA_LIMIT_BYTES:
            raise GuardFailure("crash", "an answer that cannot be read")
        head, data = self._receive(head_bytes, end_s), self._receive(data_bytes, end_s)
        try:
            body = json.loads(head)
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            raise GuardFailure("crash", "an answer that cannot be read")
        return Answer(body, data)

    def _receive(self, size_bytes: int, end_s: float) -> bytes:
        chunks, missing = [], size_bytes
        while missing:
            self._await(self._answers, select.POLLIN, end_s)
            try:
                chunk = os.read(self._answers, min(missing, PIPE_BYTES))
            except OSError:
                chunk = b""
            if not chunk:
                raise self._fate()
            chunks.append(chunk)
            missing -= len(chunk)
        return b"".join(chunks)

    def _await(self, descriptor: int, what: int, end_s: float) -> None:
        poll = select.poll()
        poll.register(descriptor, what)
        while (left_s := end_s - time.monotonic()) > 0:
            if poll.poll(left_s * 1000):
                return
        raise GuardFailure("time", "it waited too long")

    def _fate(self) -> GuardFailure:
        """Why the process ended, once it has closed its side."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(FAREWELL_S)
        code = self._process.returncode
        if code == OUT_OF_MEMORY:
            return GuardFailure("memory", "it takes too much memory")
        if code in (-signal.SIGXCPU, -signal.SIGALRM):
            return GuardFailure("time", "it takes too long")
        if code is not None and code < 0:
            with contextlib.suppress(ValueError):
                return GuardFailure("crash", f"the decoder ended by {signal.Signals(-code).name}")
        return GuardFailure("crash", f"the decoder ended with code {code}")
