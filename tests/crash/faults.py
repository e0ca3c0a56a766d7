"""Faults at single system calls of a run: it is killed there, or the call fails there.

A child is forked from a process that has imported everything, and stops itself; strace follows it from there on, with
all its threads and processes, and does the harm. Only calls that name something below the root are counted, because
strace is told all paths that a first run named (`-P`): so an error from then on does not hit a pipe or a socket. The
names of temporary files hold random words and the process's number; the words are the same in every child, and the
number is known before strace is told the paths.

strace counts for each thread. A call of a second thread that has the number of one in a first thread is reached by
counting the calls of its own path alone. Never with `--seccomp-bpf`, which makes strace 6.1 drop the kill.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import mmap
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.crash.power import Cut, disk_after, lay_down, loose_changes
from tests.crash.trace import WHOLE, Lost, Resize, Write, begun, read

from g3m.core.errors import G3MError, PartialError

OPENS = ("open", "openat", "creat")
WRITES = ("write", "pwrite64", "writev", "pwritev", "pwritev2", "copy_file_range", "sendfile")
SYNCS = ("fsync", "fdatasync")
SIZES = ("ftruncate", "truncate", "fallocate")
NAMES = ("rename", "renameat", "renameat2", "link", "linkat", "mkdir", "mkdirat")
GOES = ("unlink", "unlinkat", "rmdir")
CALLS = (*OPENS, *WRITES, *SYNCS, *SIZES, *NAMES, *GOES)

KILL = "KILL"
ERRORS = {
    **dict.fromkeys(OPENS, ("ENOSPC", "EDQUOT", "EIO", "EACCES", "EMFILE", "EINTR")),
    **dict.fromkeys((*WRITES, *SIZES), ("ENOSPC", "EDQUOT", "EIO", "EINTR")),
    **dict.fromkeys(SYNCS, ("EIO", "ENOSPC", "EDQUOT", "EINTR")),
    **dict.fromkeys(NAMES, ("ENOSPC", "EDQUOT", "EIO", "EACCES")),
    **dict.fromkeys(GOES, ("EIO", "EACCES")),
}
"""What each call may answer."""
ONCE = (KILL, "EINTR", "EDQUOT")
"""Not from then on: at EINTR the interpreter tries again for ever, as it should, and a quota is one more full disk."""

LIMIT_S = 60.0
_REPORT_BYTES = 2**20
_ANY_PROCESS = -1
_PR_SET_PTRACER = 0x59616D61

_LINE = re.compile(r"(\d+) +(\w+)\((.*)")
_PATHS = re.compile(r'<([^<>]*)>|"([^"]*)"')

Work = Callable[[], object]


@dataclass(frozen=True)
class Call:
    """One write-type call of a recorded run; `paths` are all it named, the one that says most at first."""

    thread: int
    name: str
    paths: tuple[str, ...]
    changes: bool
    """Whether it may change the disk: an open without O_CREAT and O_TRUNC only counts."""

    @property
    def mark(self) -> str:
        """The path by which strace can be told this call: of a rename it looks at the old name alone."""
        return self.paths[-1] if self.name == "rename" else self.paths[0]


@dataclass(frozen=True)
class Point:
    """A call to be hit: the `when`th of its name in a thread, among those that name `only`, or anything below the root."""

    name: str
    path: str
    when: int
    only: str = ""


@dataclass(frozen=True)
class Fault:
    """What happens at a point: KILL or the name of an error; `on` is from then on."""

    point: Point
    kind: str
    on: bool = False

    def __str__(self) -> str:
        sign = "+" if self.on else ""
        return f"{self.kind} at {self.point.name} {self.point.when}{sign} of {self.point.path}"


@dataclass(frozen=True)
class Record:
    """What a first run called, and the number of its process."""

    root: str
    process: int
    calls: tuple[Call, ...]

    def paths(self, process: int) -> list[str]:
        """Every path below the root that was named, as another process names it."""
        found = {path for call in self.calls for path in call.paths if path.startswith(self.root)}
        return sorted({_renumbered(path, self.process, process) for path in found})

    def points(self) -> tuple[list[Point], int]:
        """Every call that changes something, once; and how many cannot be reached, since others have their number."""
        all_counts: Counter[tuple[int, str]] = Counter()
        own_counts: Counter[tuple[int, str, str]] = Counter()
        found: dict[tuple[str, int, str], Point] = {}
        lost = 0
        for call in self.calls:
            if not any(path.startswith(self.root) for path in call.paths):
                continue
            path, mark = call.paths[0], call.mark
            all_counts[call.thread, call.name] += 1
            for one in set(call.paths):
                own_counts[call.thread, call.name, one] += 1
            if not call.changes:
                found.setdefault((call.name, all_counts[call.thread, call.name], ""), Point("", "", 0))
                continue
            when, own = all_counts[call.thread, call.name], own_counts[call.thread, call.name, mark]
            for key in ((call.name, when, ""), (call.name, own, mark)):
                if key not in found:
                    found[key] = Point(call.name, path, key[1], key[2])
                    break
            else:
                lost += 1
        return [point for point in found.values() if point.name], lost


def faults_of(points: Sequence[Point], kinds: Sequence[str] = ()) -> Iterator[Fault]:
    """Every harm at every point: a kill, each error once, and each from then on."""
    for point in points:
        for kind in (KILL, *ERRORS[point.name]):
            if not kinds or kind in kinds:
                yield Fault(point, kind)
                if kind not in ONCE:
                    yield Fault(point, kind, on=True)


@dataclass
class Outcome:
    """How a child ended: its wait status, what it said of itself, and whether strace did the harm."""

    process: int
    status: int
    said: dict[str, Any]
    hit: bool
    hung: bool

    @property
    def killed(self) -> bool:
        return os.WIFSIGNALED(self.status) and os.WTERMSIG(self.status) == signal.SIGKILL and not self.hung


def recorded(work: Work, root: Path, log: Path) -> tuple[Record, Outcome]:
    """What an undisturbed child calls."""
    outcome = _followed(work, log, lambda _: ["-y", "-s", "0", "-e", f"trace={','.join(CALLS)}"])
    record = Record(os.fspath(root), outcome.process, tuple(_calls(log, os.fspath(root))))
    return record, outcome


def harmed(work: Work, fault: Fault, record: Record, log: Path) -> Outcome:
    """How a child ends to which a fault happens."""
    harm = "signal=SIGKILL" if fault.kind == KILL else f"error={fault.kind}"
    inject = f"inject={fault.point.name}:{harm}:when={fault.point.when}{'+' if fault.on else ''}"

    def options(process: int) -> list[str]:
        own = [_renumbered(fault.point.only, record.process, process)] if fault.point.only else []
        paths = own or record.paths(process)
        trace = ["-s", "0", "-e", f"trace={fault.point.name}", "-e", inject]
        return [*trace, *(word for path in paths for word in ("-P", path))]

    return _followed(work, log, options)


def harmed_for_good(work: Work, fault: Fault, record: Record, log: Path) -> Outcome:
    """The same for a failed fsync; what it did not sync is then taken from the disk, as the kernel drops it."""
    root = Path(record.root)
    trace = begun(root)
    before = {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    on = "+" if fault.on else ""
    inject = f"inject={fault.point.name}:error={fault.kind}:when={fault.point.when}{on}"
    outcome = _followed(work, log, lambda _: [*WHOLE, "-e", inject])
    changes = read(trace, log).changes
    last = {change.file: number for number, change in enumerate(changes) if isinstance(change, Lost)}
    lost = frozenset(
        number
        for number in loose_changes(changes)
        if isinstance(change := changes[number], (Write, Resize)) and number < last.get(change.file, 0)
    )
    if lost:
        lay_down(disk_after(trace, before, Cut(len(changes), "", lost, zeros=True)), trace.root, root)
    return outcome


def _followed(work: Work, log: Path, options: Callable[[int], list[str]]) -> Outcome:
    with mmap.mmap(-1, _REPORT_BYTES) as report:
        process = os.fork()
        if not process:
            _be_child(work, report)
        os.waitpid(process, os.WUNTRACED)
        command = ["strace", "-f", "-e", "signal=none", "-o", str(log), *options(process), "-p", str(process)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
            assert strace.stderr is not None
            said = strace.stderr.readline()
            while said and "attached" not in said:
                said = strace.stderr.readline()
            assert said, f"strace does not follow: {command}"
            os.kill(process, signal.SIGCONT)
            status, hung = _waited(process)
            try:
                strace.wait(10.0)
            except subprocess.TimeoutExpired:  # a child of the child is still there
                strace.terminate()
        told = bytes(report).rstrip(b"\0")
    hit = "(INJECTED)" in log.read_text(errors="replace")
    return Outcome(process, status, json.loads(told) if told else {}, hit, hung)


def _waited(process: int) -> tuple[int, bool]:
    """The wait status, and whether the process had to be ended because it did not end."""
    end_s = time.monotonic() + LIMIT_S
    while time.monotonic() < end_s:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return status, False
        time.sleep(0.003)
    os.kill(process, signal.SIGKILL)
    return os.waitpid(process, 0)[1], True


def _be_child(work: Work, report: mmap.mmap) -> None:
    """Do the work and say how it ended, in shared memory: that takes no system call that could fail."""
    try:
        with suppress(OSError, AttributeError):  # where only a parent may follow a process
            import ctypes

            ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_ulong(_ANY_PROCESS), 0, 0, 0)
        secrets.token_hex = Words().token_hex
        tempfile._name_sequence = (f"name{number}" for number in itertools.count())  # type: ignore[assignment]
        os.kill(os.getpid(), signal.SIGSTOP)
        said: dict[str, Any] = {}
        try:
            work()
        except BaseException as error:
            said = _told(error)
        content = json.dumps({**(said or {"error": ""}), "modules": sorted(sys.modules)}).encode()
        report[: len(content)] = content
        os._exit(1 if said else 0)
    finally:  # a child must never return into the parent's loop
        os._exit(2)


class Words:
    """In place of random ones: the same in every process, for the same file or task, whichever thread is first."""

    def __init__(self) -> None:
        self._asked: Counter[str] = Counter()

    def token_hex(self, size: int = 8) -> str:
        caller = sys._getframe(1)
        task = getattr(caller.f_locals.get("task"), "id", "")
        asked = f"{caller.f_code.co_name} {caller.f_locals.get('path', '')} {task}"
        asked = _renumbered(asked, os.getpid(), 0)
        self._asked[asked] += 1
        return hashlib.sha256(f"{asked} {self._asked[asked]}".encode()).hexdigest()[: 2 * size]


def _told(error: BaseException) -> dict[str, Any]:
    named = isinstance(error, G3MError)
    message = error.message if isinstance(error, G3MError) else str(error)
    if isinstance(error, PartialError):
        message = "; ".join([message, *error.failed.values()])
    told = {
        "error": type(error).__name__,
        "code": error.exit_code if isinstance(error, G3MError) else 0,
        "message": message[:4000],
    }
    if not named:
        told["trace"] = "".join(traceback.format_exception(error))[-6000:]
    return told


def _calls(log: Path, root: str) -> Iterator[Call]:
    for line in log.read_text(errors="surrogateescape").splitlines():
        if (found := _LINE.match(line)) is None:  # the end of a call, or of a process
            continue
        thread, name, text = int(found.group(1)), found.group(2), found.group(3)
        given = text.split(" <unfinished ...>")[0].rsplit(" = ", 1)[0]
        paths = [one or other for one, other in _PATHS.findall(given)]
        paths = [path for path in paths if path and "..." not in path]
        # What is nearest to the file at first: the last name below the root, which is the final one of a rename.
        inside = [path for path in paths if path.startswith(root)]
        ordered = (*reversed(inside), *(path for path in paths if path not in inside))
        changes = name not in OPENS or "O_CREAT" in given or "O_TRUNC" in given
        if ordered:
            yield Call(thread, name, ordered, changes)


def _renumbered(path: str, old: int, new: int) -> str:
    return re.sub(rf"(?<!\d){old}(?!\d)", str(new), path)
