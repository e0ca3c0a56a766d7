"""Looks at long-lived processes from outside, through /proc: memory, descriptors, threads, children, zombies."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
Sample = dict[str, float]
Identity = tuple[int, int]
"""A process's number and when it was started: numbers are used again."""


@dataclass(frozen=True)
class Process:
    """One line of the table of processes."""

    pid: int
    parent: int
    state: str
    threads: int
    started: int
    rss_bytes: int

    @property
    def identity(self) -> Identity:
        return self.pid, self.started


def read_process(pid: int) -> Process | None:
    """What the kernel says of a process; None if there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    return Process(
        pid, int(fields[1]), fields[0], int(fields[17]), int(fields[19]), int(fields[21]) * PAGE_BYTES
    )


def processes() -> list[Process]:
    """All of this machine."""
    found = (read_process(int(path.name)) for path in Path("/proc").glob("[0-9]*"))
    return [one for one in found if one is not None]


def descendants(pid: int, table: Iterable[Process]) -> list[Process]:
    """Children of a process and theirs."""
    known = list(table)
    found: list[Process] = []
    parents = {pid}
    while parents:
        born = [one for one in known if one.parent in parents]
        found += born
        parents = {one.pid for one in born}
    return found


def command_line(pid: int) -> str:
    """The words of a process, or nothing if it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def sample(pid: int, table: Iterable[Process]) -> tuple[Sample, list[Process]] | None:
    """One sample of a process, and its descendants; None if it is gone."""
    own = read_process(pid)
    try:
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return None
    if own is None or own.state == "Z":
        return None
    born = descendants(pid, table)
    dead = sum(one.state == "Z" for one in born)
    values = {
        "rss_bytes": float(own.rss_bytes),
        "descriptors": float(descriptors),
        "threads": float(own.threads),
        "children": float(len(born)),
        "zombies": float(dead),
    }
    return values, born


@dataclass
class Watcher:
    """Samples of processes by name, taken at even intervals on a thread of its own."""

    every_s: float
    series: dict[str, list[Sample]] = field(default_factory=dict)
    seen: set[Identity] = field(default_factory=set)
    """Every child that was ever seen below a watched process."""

    def __post_init__(self) -> None:
        self._watched: dict[str, int] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def watch(self, name: str, pid: int) -> None:
        """Sample a process from now on, in place of an earlier one of that name; that one's series ends."""
        with self._lock:
            number = sum(known.split(" #")[0] == name for known in self.series)
            self._watched = {
                known: own for known, own in self._watched.items() if known.split(" #")[0] != name
            }
            label = f"{name} #{number + 1}" if number else name
            self._watched[label] = pid
            self.series[label] = []

    def take(self) -> None:
        """One sample of each."""
        with self._lock:
            watched = dict(self._watched)
        table = processes()
        for label, pid in watched.items():
            taken = sample(pid, table)
            if taken is None:
                continue
            self.series[label].append(taken[0])
            self.seen |= {one.identity for one in taken[1]}

    def longest(self, name: str) -> list[Sample]:
        """The longest of the series of that name."""
        return max((own for label, own in self.series.items() if label.split(" #")[0] == name), key=len)

    def alive(self) -> list[int]:
        """Children seen earlier that still run, whoever their parent is now."""
        return [pid for pid, started in self.seen if (one := read_process(pid)) and one.started == started]

    def _run(self) -> None:
        while not self._ended.wait(self.every_s):
            self.take()
