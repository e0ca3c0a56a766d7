"""The story of every run in two files beside the data, events.jsonl and g3m.log, and reading it back.

Who writes never waits for who reads. A line that cannot be read, of another version or of a stranger's, is
passed over: nothing is decided by these files.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, fields, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from g3m.core import events
from g3m.core.events import (
    SCHEMA,
    Event,
    RoutesMeasured,
    RouteSpeed,
    RowsMeasured,
    RunStarted,
    Sink,
    TaskFailed,
    TaskFinished,
)
from g3m.core.tally import Failures, Rows, Running, Snapshot, fold, rows_of, summed
from g3m.ui.logs import Dated, JsonLines, Thinned, json_line

Tick = TypeVar("Tick", RoutesMeasured, RowsMeasured)
ROLL_BYTES = 20_000_000
TAIL_BYTES = 262_144
BIGGEST = 2**63
GOES_ON = "RunContinues"
"""The first line of a rolled file: not an event but the sum of those in the files before it."""

KINDS = {
    name: kind for name, kind in vars(events).items() if isinstance(kind, type) and issubclass(kind, Event)
}
_BEGINNINGS = tuple(f'"event": "{name}"'.encode() for name in (RunStarted.__name__, GOES_ON))
_BESIDE = ("verify/", "catalog/", "alike/")
"""How the tasks begin of what holds no lease, so that a run may be under way beside it."""


class LogFiles:
    """The two files beside the data that every run writes: events.jsonl and g3m.log.

    They are opened at the first event, so that a run with nothing to do leaves no trace.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: list[RollingFile] = []
        self._sinks: list[Sink] = []

    def __call__(self, event: Event) -> None:
        if not self._sinks and self._folder.is_dir():
            dated = Dated(self._open("g3m.log", lambda: "").write)
            lines = JsonLines(self._open("events.jsonl", lambda: _sum_line(dated.state)).write)
            # A file that begins with this event begins with the sum of those before it.
            self._sinks = [Thinned(lines), dated]
        for sink in self._sinks:
            sink(event)

    def _open(self, name: str, head: Callable[[], str]) -> RollingFile:
        file = RollingFile(self._folder / name, head)
        self._files.append(file)
        return file

    def close(self) -> None:
        for file in self._files:
            file.close()
        self._files, self._sinks = [], []


def _sum_line(state: Snapshot) -> str:
    """The run so far, for who reads only the newer file."""
    names = ("datasets", "tasks", "finished", "total_bytes", "present_bytes", "fetched_bytes")
    body: dict[str, Any] = {name: getattr(state, name) for name in (*names, "samples", "shards")}
    running = {
        name: {"kind": task.kind, "dataset": task.dataset, "done_bytes": task.done_bytes}
        | {"total_bytes": task.total_bytes, "place": task.place, "way": task.way}
        | ({} if task.rows is None else {"rows": asdict(task.rows)})
        for name, task in state.running.items()
    }
    rows = {"rows_planned": state.rows_planned, "rows_finished": asdict(state.rows_finished)}
    more = {"failed": state.failed.count, "running": running, **rows}
    return json_line({"schema": SCHEMA, "event": GOES_ON, **body, **more})


class RollingFile:
    """A file of lines that is begun anew past 20 MB, with one older file kept beside it.

    Whoever reads it finds whole lines; other processes may write to it too. What cannot be written is
    left out: a log must not stop the work, and of a full disk the run itself will speak.
    """

    def __init__(self, path: Path, head: Callable[[], str]) -> None:
        self._path = path
        self._head = head
        self._file: BinaryIO | None = None
        try:
            self._file = self._opened()
        except OSError:
            return

    def write(self, line: str) -> None:
        if self._file is None:
            return
        try:
            state = os.fstat(self._file.fileno())
            if state.st_size > ROLL_BYTES or not state.st_nlink:
                with suppress(OSError):  # then it grows on
                    self._renew(state)
            self._file.write(line.encode("utf-8", "replace"))
        except OSError:
            return

    def _opened(self) -> BinaryIO:
        # Unbuffered: each line is one write, at the end, whoever else writes; none is held back.
        from g3m.adapters import fsio

        return fsio.appending(self._path)

    def _renew(self, ours: os.stat_result) -> None:
        """Go on in a new file; where another process has made it already, in that one."""
        if self._path.exists() and os.path.samestat(ours, self._path.stat()):
            from g3m.adapters import fsio

            fsio.rename(self._path, self._path.with_name(f"{self._path.name}.old"))
        newer, older = self._opened(), self._file
        self._file = newer
        if older is not None:
            older.close()
        if not os.fstat(newer.fileno()).st_size:
            newer.write(self._head().encode("utf-8", "replace"))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None


class Follower:
    """The state of the last run in an events.jsonl, read on as the file grows and over its rolling."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._rest = b""
        self._begun: tuple[RunStarted, float] | None = None
        self._read_s = 0.0
        self.state = Snapshot()

    def read(self) -> list[Event]:
        """The events since the last call, from the beginning of the last run on; they are folded already."""
        if self._file is None:
            data = self._from_the_beginning()
        else:
            data = self._rest + self._file.read()
            while self._is_rolled():
                data += self._file.read()  # what came between the read and the look at the name
                data += b"\n" + self._opened()
        *lines, self._rest = data.split(b"\n")
        return [event for line in lines for event in self._take(line)]

    def now(self) -> Snapshot:
        """The state at this moment: without news the speed falls. The writer's clock need not be ours."""
        return replace(self.state, now_s=self.state.now_s + time.monotonic() - self._read_s)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None

    def _from_the_beginning(self) -> bytes:
        data = self._opened()
        begin = start_of_run(data)
        if begin is not None or self._file is None:
            return data[begin:]
        with suppress(OSError), open(self._path.with_name(f"{self._path.name}.old"), "rb") as file:
            if not os.path.samestat(os.fstat(file.fileno()), os.fstat(self._file.fileno())):
                older = file.read()
                begin = start_of_run(older)
                return data if begin is None else older[begin:] + data
        return data

    def _opened(self) -> bytes:
        self.close()
        with suppress(OSError):
            self._file = open(self._path, "rb")  # noqa: SIM115  # closed in close()
        return self._file.read() if self._file is not None else b""

    def _is_rolled(self) -> bool:
        if self._file is None:
            return False
        try:
            found = self._path.stat()
            same = os.path.samestat(found, os.fstat(self._file.fileno()))
            return not same or found.st_size < self._file.tell()
        except OSError:
            return False  # renamed, and the new one not made yet

    def _knows(self, total: Snapshot) -> bool:
        """Whether nothing was missed: then what is known of speeds and routes is more than the sum has."""
        ours = (self.state.finished, self.state.tasks, set(self.state.running))
        return ours == (total.finished, total.tasks, set(total.running))

    def _take(self, line: bytes) -> Iterator[Event]:
        told = read_line(line)
        if told is None:
            return
        what, at_s = told
        self._read_s = time.monotonic()
        if isinstance(what, Snapshot):
            if not self._knows(what):
                self.state, self._begun = replace(what, started_s=at_s, now_s=at_s), None
        elif isinstance(what, RunStarted):
            self._begun = (what, at_s) if what.tasks else None
        else:
            begun, self._begun = self._begun, None
            # A `verify` and the catalog begin with the same event; they may run beside what is followed.
            if not what.task.startswith(_BESIDE):
                for event, event_s in (*filter(None, (begun,)), (what, at_s)):
                    self.state = fold(self.state, event, event_s)
                    yield event


def start_of_run(data: bytes) -> int | None:
    """Where the last line lies from which on a run can be told, or None."""
    end = len(data)
    # A name within a text has a backslash before its quotes, so that this finds events only.
    while (at := max(data.rfind(name, 0, end) for name in _BEGINNINGS)) >= 0:
        begin, second = data.rfind(b"\n", 0, at) + 1, data.find(b"\n", at) + 1
        following = data[second : data.find(b"\n", second)] if second else b""
        beside = any(b'"task": "%s' % name.encode() in following for name in _BESIDE)
        if not beside and b'"tasks": 0,' not in data[begin:second]:
            return begin
        end = begin
    return None


def last_routes(path: Path) -> tuple[RouteSpeed, ...]:
    """What each route carried at the last tick of the downloads under way."""
    return summed(route for tick in _last_ticks(path, RoutesMeasured) for route in tick.routes)


def last_rows(path: Path) -> dict[str, Rows]:
    """How far the tasks under way are with their rows, by dataset."""
    rows: dict[str, Rows] = {}
    for tick in _last_ticks(path, RowsMeasured):
        dataset = tick.task.split("/")[1] if "/" in tick.task else ""
        rows[dataset] = rows.get(dataset, Rows()).plus(rows_of(tick))
    return rows


def _last_ticks(path: Path, kind: type[Tick]) -> Iterable[Tick]:
    """The last tick of each task under way, found in the end of the file."""
    try:
        from g3m.adapters.plain import open_plain

        with open_plain(path) as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            lines = file.read().splitlines()
    except OSError:
        return ()
    ticks: dict[str, Tick] = {}
    for told in filter(None, map(read_line, lines)):
        if isinstance(told[0], kind):
            ticks[told[0].task] = told[0]
        elif isinstance(told[0], (TaskFinished, TaskFailed)):
            ticks.pop(told[0].task, None)
        elif isinstance(told[0], RunStarted):
            ticks.clear()
    return ticks.values()


def read_line(line: bytes) -> tuple[Event | Snapshot, float] | None:
    """The event of a line, or the sum that begins a rolled file, and its time; None if it is neither."""
    try:
        body = json.loads(line)
        at_s = datetime.fromisoformat(body["time"]).timestamp()
        if body["event"] == GOES_ON:
            return _sum(body), at_s
        return _made(KINDS[body["event"]], body), at_s
    except (ValueError, KeyError, TypeError, AttributeError, OSError, OverflowError, RecursionError):
        return None


def _made(kind: Callable[..., Any], body: Mapping[str, Any]) -> Any:
    readers = _readers(kind)
    return kind(**{name: readers[name](value) for name, value in body.items() if name in readers})


@cache
def _readers(kind: Callable[..., Any]) -> dict[str, Callable[[Any], Any]]:
    types = {one.name: str(one.type) for one in fields(kind)}  # type: ignore[arg-type]  # all are dataclasses
    return {name: _READERS[type_] for name, type_ in types.items() if type_ in _READERS}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _number(value: Any) -> float:
    # Also NaN, which is in no range, is refused.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < BIGGEST:
        raise TypeError(value)
    return value


def _count(value: Any) -> int:
    return int(_number(value))


def _counts(value: Any) -> dict[str, int]:
    return {_text(name): _count(count) for name, count in value.items()}


_READERS: dict[str, Callable[[Any], Any]] = {
    "str": _text,
    "int": _count,
    "float": _number,
    "tuple[str, ...]": lambda value: tuple(map(_text, value)),
    "dict[str, int]": _counts,
    "Mapping[str, int]": _counts,
    "Rows | None": lambda value: _made(Rows, value),
    "tuple[RouteSpeed, ...]": lambda value: tuple(_made(RouteSpeed, one) for one in value),
}


def _sum(body: Mapping[str, Any]) -> Snapshot:
    names = ("tasks", "finished", "total_bytes", "present_bytes", "fetched_bytes", "samples", "shards")
    counts: dict[str, Any] = {name: _count(body[name]) for name in names}
    return Snapshot(
        datasets=tuple(map(_text, body["datasets"])),
        failed=Failures(_count(body["failed"])),
        running={_text(name): _made(Running, task) for name, task in body["running"].items()},
        rows_planned=_count(body.get("rows_planned", 0)),
        rows_finished=_made(Rows, body.get("rows_finished", {})),
        **counts,
    )
