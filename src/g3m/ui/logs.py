"""Events as lines: JSON for programs, dated sentences for log files and pipes.

Ticks become heartbeats, and what a route says again and again is counted, so that a log of days can be read.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from g3m.core.events import (
    Event,
    Noted,
    Progressed,
    Retrying,
    RouteChosen,
    RouteDropped,
    RoutesMeasured,
    RowsMeasured,
    RunFinished,
    RunStarted,
    Sink,
    TaskFailed,
    TaskFinished,
    TaskStarted,
    to_dict,
)
from g3m.core.tally import Rows, Snapshot, fold
from g3m.ui.figures import count_text, duration_text, size_text
from g3m.ui.words import printable

TICKS = (Progressed, RoutesMeasured, RowsMeasured)
TICK_S = 1.0
HEARTBEAT_S = 30.0
REPEAT_S = 60.0
ROUTES_NAMED = 6
REASONS_SHOWN = 4


def stamp() -> str:
    """The local time with its offset, to the second."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


class JsonLines:
    """A sink that writes every event as one JSON object a line."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write

    def __call__(self, event: Event) -> None:
        self._write(json_line(to_dict(event)))


def json_line(body: Mapping[str, Any]) -> str:
    """One object as a line, with the time."""
    return json.dumps({"time": stamp(), **body}, ensure_ascii=True) + "\n"


class Thinned:
    """A sink that passes on every fact, and of each kind of tick of a task at most one a second."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._passed_s: dict[tuple[type[Event], str], float] = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, TICKS):
            key, now_s = (type(event), event.task), time.monotonic()
            if now_s - self._passed_s.get(key, -math.inf) < TICK_S:
                return
            self._passed_s[key] = now_s
        elif isinstance(event, (TaskStarted, TaskFinished, TaskFailed)):
            for kind in TICKS:
                self._passed_s.pop((kind, event.task), None)
        self._sink(event)


@dataclass(slots=True)
class _Said:
    """When a route said something, and how often since."""

    text: str
    said_s: float
    times: int = 0


class Repeats:
    """Facts as lines, those of a route that it repeats within a minute only counted."""

    def __init__(self) -> None:
        self._said: dict[tuple[object, ...], _Said] = {}

    def text(self, event: Event, now_s: float) -> str:
        """The line for a fact, or nothing if it was said a moment ago."""
        text, key = fact_text(event), _route_key(event)
        if key is None:
            return text
        before = self._said.get(key)
        if before is None or now_s - before.said_s >= REPEAT_S:
            self._said[key] = _Said(_route_text(event), now_s)
            return text
        if isinstance(event, RouteChosen):
            before.said_s = now_s  # a route in use is no news
        else:
            before.times += 1
        return ""

    def counted(self, now_s: float) -> list[str]:
        """What was repeated since the last time this was asked, with how often; what is old is forgotten."""
        again = [said for said in self._said.values() if said.times]
        texts = [f"{said.text} ({said.times} times)" for said in again]
        for said in again:
            said.said_s, said.times = now_s, 0
        self._said = {key: said for key, said in self._said.items() if now_s - said.said_s < REPEAT_S}
        return texts


def _route_key(event: Event) -> tuple[object, ...] | None:
    """What makes two facts of a route the same: numbers in the reason do not, nor which file it was."""
    if isinstance(event, RouteChosen):
        return RouteChosen, event.task, event.place, event.way, event.offset_bytes
    if isinstance(event, (Retrying, RouteDropped)):
        return type(event), event.place, event.way, re.sub(r"\d+", "0", event.reason)
    return None


def _route_text(event: Event) -> str:
    if isinstance(event, RouteDropped):
        return f"{event.place} ({event.way}) is given up: {_reason(event)}"
    if isinstance(event, Retrying):
        return f"{event.place} ({event.way}): {_reason(event)}"
    return ""


class Dated:
    """A sink that writes a dated line for each fact, and one every half minute while work goes on."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._repeats = Repeats()
        self._beat_s = time.monotonic()
        self.state = Snapshot()

    def __call__(self, event: Event) -> None:
        now_s = time.monotonic()
        self.state = fold(self.state, event, now_s)
        text = self._repeats.text(event, now_s)
        if isinstance(event, RunFinished):
            self._lines(self._repeats.counted(now_s))
        if text:
            self._lines([text])
        if isinstance(event, (RunStarted, RunFinished)):
            self._beat_s = now_s
        elif now_s - self._beat_s >= HEARTBEAT_S:
            self._beat_s = now_s
            self._lines([status_text(self.state), *self._repeats.counted(now_s)])

    def _lines(self, texts: list[str]) -> None:
        for text in texts:
            self._write(f"{stamp()} {printable(text.replace(chr(10), ';'))}\n")


def status_text(state: Snapshot) -> str:
    """One line about a run under way."""
    parts = [f"{state.finished}/{state.tasks} tasks"]
    if state.failed.count:
        parts.append(f"{state.failed.count} failed")
    if state.total_bytes:
        parts.append(f"{size_text(state.done_bytes)} of {size_text(state.total_bytes)}")
    if state.rate_bytes_per_s:
        parts.append(f"{size_text(state.rate_bytes_per_s)}/s")
        parts.append(f"eta {duration_text(state.remaining_s)}")
    if state.rows.total:
        parts += [*row_figures(state), reasons_text(state.rows)]
    if state.samples:
        parts.append(f"{count_text(state.samples)} samples")
    sources = _sources(state)
    if sources:
        parts.append(f"from {', '.join(sources)}")
    return "  ".join(filter(None, parts))


def row_figures(state: Snapshot) -> list[str]:
    """How far the rows of lists are, what share of them became samples, and how long the others take."""
    rows, rate = state.rows, state.rows_per_s
    parts = [rows_text(rows)]
    if rate:
        parts.append(f"{count_text(round(rate))} rows/s")
        parts.append(f"{duration_text(state.rows_remaining_s)} left" if state.rows_remaining_s else "")
    return [part for part in parts if part]


def rows_text(rows: Rows) -> str:
    """How many rows are done, and which share of those became samples."""
    good = f"  {rows.good_share:.1%} good" if rows.done else ""
    return f"{count_text(rows.done)} of {count_text(rows.total)} rows{good}"


def reasons_text(rows: Rows, most: int = REASONS_SHOWN) -> str:
    """Why rows became no samples: the biggest reasons with their counts."""
    more = len(rows.reasons) - most
    named = [f"{reason} {count_text(count)}" for reason, count in rows.biggest(most)]
    return ", ".join([*named, f"and {more} more"] if more > 0 else named)


def _sources(state: Snapshot) -> list[str]:
    """Where bytes come from, with the speeds that were measured, the fastest first."""
    named = [
        f"{route.place} ({route.way}) {size_text(route.rate_bytes_per_s)}/s"
        for route in state.routes
        if route.connections or route.rate_bytes_per_s
    ]
    unmeasured = [task for task in state.running.values() if task.place and not task.routes]
    named += dict.fromkeys(f"{task.place} ({task.way})" for task in unmeasured)
    more = len(named) - ROUTES_NAMED
    return [*named[:ROUTES_NAMED], f"and {more} more"] if more > 0 else named


def label(task: str) -> str:
    """A task's name for people: that of an asset without its id."""
    kind, _, rest = task.partition("/")
    return rest.partition("-")[2] if kind == "fetch" else task


def fact_text(event: Event) -> str:
    """One line for a fact, or nothing for an event that only views need."""
    task = label(event.task)
    if isinstance(event, RunStarted):
        return (
            f"start {' '.join(event.datasets)}: {event.tasks} tasks, {size_text(event.total_bytes)} to fetch"
        )
    if isinstance(event, RouteChosen):
        begin = f" from byte {event.offset_bytes}" if event.offset_bytes else ""
        return f"{task}: from {event.place} ({event.way}){begin}"
    if isinstance(event, RouteDropped):
        return f"{task}: {_route_text(event)}"
    if isinstance(event, Retrying):
        when = f"again in {event.wait_s:g} s" if event.wait_s else "going on"
        return f"{task}: {_route_text(event)}; {when}"
    if isinstance(event, Noted):
        return f"{task}: {event.text}" if task else event.text
    if isinstance(event, TaskFinished):
        return _finished_text(event)
    if isinstance(event, TaskFailed):
        return f"{task}: FAILED {event.code} {event.reason}"
    if isinstance(event, RunFinished):
        seconds = duration_text(event.seconds)
        return f"end: {event.finished} tasks done, {event.failed} failed, {event.samples} samples, {seconds}"
    return ""


def _reason(event: Retrying | RouteDropped) -> str:
    return event.reason.removeprefix(f"{event.place}: ")


def _finished_text(event: TaskFinished) -> str:
    parts = [f"{label(event.task)}: done"]
    if event.samples:
        parts.append(f"{event.samples} samples")
    if event.size_bytes:
        parts.append(size_text(event.size_bytes))
    parts += [f"{count} {reason}" for reason, count in event.rejected.items()]
    return ", ".join(parts)
