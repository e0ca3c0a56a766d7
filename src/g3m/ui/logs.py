"""Events as lines: JSON for programs, dated sentences for log files and pipes."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TextIO

from g3m.core.events import (
    Event,
    Noted,
    Progressed,
    Retrying,
    RouteChosen,
    RouteDropped,
    RunFinished,
    RunStarted,
    TaskFailed,
    TaskFinished,
    to_dict,
)
from g3m.core.tally import Snapshot, fold
from g3m.ui.figures import count_text, duration_text, size_text
from g3m.ui.words import printable

HEARTBEAT_S = 30.0
ROLL_BYTES = 20_000_000


def stamp() -> str:
    """The local time with its offset, to the second."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


class JsonLines:
    """A sink that writes every event as one JSON object a line."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write

    def __call__(self, event: Event) -> None:
        self._write(json.dumps({"time": stamp(), **to_dict(event)}, ensure_ascii=True) + "\n")


class Dated:
    """A sink that writes a dated line for each fact, and one every half minute while work goes on."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._state = Snapshot()
        self._beat_s = time.monotonic()

    def __call__(self, event: Event) -> None:
        now_s = time.monotonic()
        self._state = fold(self._state, event, now_s)
        if isinstance(event, Progressed):
            if now_s - self._beat_s >= HEARTBEAT_S:
                self._line(status_text(self._state))
            return
        text = fact_text(event)
        if text:
            self._line(text)

    def _line(self, text: str) -> None:
        self._beat_s = time.monotonic()
        self._write(f"{stamp()} {printable(text.replace(chr(10), ';'))}\n")


def status_text(state: Snapshot) -> str:
    """One line about a run under way."""
    parts = [f"{state.finished}/{state.tasks} tasks"]
    if state.total_bytes:
        parts.append(f"{size_text(state.done_bytes)} of {size_text(state.total_bytes)}")
    if state.rate_bytes_per_s:
        parts.append(f"{size_text(state.rate_bytes_per_s)}/s")
        parts.append(f"eta {duration_text(state.remaining_s)}")
    if state.samples:
        parts.append(f"{count_text(state.samples)} samples")
    running = [task.place for task in state.running.values() if task.place]
    return "  ".join(parts + [f"from {place}" for place in running])


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
        return f"{task}: {event.place} is given up: {event.reason}"
    if isinstance(event, Retrying):
        when = f"again in {event.wait_s:g} s" if event.wait_s else "going on"
        return f"{task}: {event.reason}; {when}"
    if isinstance(event, Noted):
        return f"{task}: {event.text}"
    if isinstance(event, TaskFinished):
        return _finished_text(event)
    if isinstance(event, TaskFailed):
        return f"{task}: FAILED {event.code} {event.reason}"
    if isinstance(event, RunFinished):
        seconds = duration_text(event.seconds)
        return f"end: {event.finished} tasks done, {event.failed} failed, {event.samples} samples, {seconds}"
    return ""


def _finished_text(event: TaskFinished) -> str:
    parts = [f"{label(event.task)}: done"]
    if event.samples:
        parts.append(f"{event.samples} samples")
    if event.size_bytes:
        parts.append(size_text(event.size_bytes))
    parts += [f"{count} {reason}" for reason, count in event.rejected.items()]
    return ", ".join(parts)


class LogFiles:
    """The two files beside the data that every run writes: events.jsonl and g3m.log.

    They are opened at the first event, so that a run with nothing to do leaves no trace, and begun anew
    when they have grown past 20 MB, keeping one older file.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: list[TextIO] = []
        self._sinks: list[Callable[[Event], None]] = []

    def __call__(self, event: Event) -> None:
        if not self._sinks and self._folder.is_dir():
            self._sinks = [JsonLines(self._open("events.jsonl")), Dated(self._open("g3m.log"))]
        for sink in self._sinks:
            sink(event)

    def _open(self, name: str) -> Callable[[str], object]:
        path = self._folder / name
        try:
            if path.exists() and path.stat().st_size > ROLL_BYTES:
                os.replace(path, path.with_name(f"{name}.old"))
            file = open(path, "a", encoding="utf-8", errors="replace", buffering=1)  # noqa: SIM115  # closed in close()
        except OSError:
            return lambda _: None  # a log that cannot be written must not stop the work
        self._files.append(file)

        def write(line: str) -> None:
            try:
                file.write(line)
            except OSError:
                return  # the disk is full: the run itself will say so

        return write

    def close(self) -> None:
        for file in self._files:
            try:
                file.close()
            except OSError:
                continue
        self._files, self._sinks = [], []
