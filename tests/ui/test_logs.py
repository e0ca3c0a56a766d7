"""ui/logs.py: events as lines for programs and people; a log never stops the work and never lies."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core import events as events_module
from g3m.core.events import (
    SCHEMA,
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
    TasksAdded,
    TaskStarted,
    to_dict,
)
from g3m.core.tally import fold
from g3m.ui import logs
from g3m.ui.logs import Dated, JsonLines, LogFiles, fact_text, label, stamp, status_text

DATE = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d"
FETCH = "fetch/0123456789abcdef-val2017.zip"

RUN: tuple[Event, ...] = (
    RunStarted(datasets=("coco_valid",), tasks=4, total_bytes=1000),
    TaskStarted(task=FETCH, kind="fetch", dataset="coco_valid", total_bytes=1000),
    RouteChosen(task=FETCH, place="host", way="proxy p:1", offset_bytes=200),
    Progressed(task=FETCH, done_bytes=500, total_bytes=1000),
    Retrying(task=FETCH, place="host", reason="it broke", wait_s=0),
    Retrying(task=FETCH, place="host", reason="busy", wait_s=2.5),
    RouteDropped(task=FETCH, place="host", reason="no more"),
    Noted(task=FETCH, text="something"),
    TaskFinished(task=FETCH, kind="fetch", dataset="coco_valid", output="val2017.zip", size_bytes=1000),
    TasksAdded(task="arrange/coco_valid", count=1),
    TaskFinished(
        task="pack/coco_valid/00000.tar",
        kind="pack",
        dataset="coco_valid",
        samples=7,
        size_bytes=900,
        rejected={"missing_image": 2},
    ),
    TaskFailed(task="publish/coco_valid", kind="publish", dataset="coco_valid", code="G3M-E600", reason="no"),
    RunFinished(finished=3, failed=1, samples=7, seconds=65.4),
)

EXPECTED = (
    "start coco_valid: 4 tasks, 1.0 kB to fetch",
    "",
    "val2017.zip: from host (proxy p:1) from byte 200",
    "",
    "val2017.zip: it broke; going on",
    "val2017.zip: busy; again in 2.5 s",
    "val2017.zip: host is given up: no more",
    "val2017.zip: something",
    "val2017.zip: done, 1.0 kB",
    "",
    "pack/coco_valid/00000.tar: done, 7 samples, 900 B, 2 missing_image",
    "publish/coco_valid: FAILED G3M-E600 no",
    "end: 3 tasks done, 1 failed, 7 samples, 1 min 5 s",
)


@pytest.mark.parametrize(
    ("event", "text"), list(zip(RUN, EXPECTED, strict=True)), ids=lambda v: type(v).__name__
)
def test_a_line_for_each_fact(event: Event, text: str) -> None:
    """Facts have a line, ticks have none; names are those of assets, without their ids."""
    assert fact_text(event) == text


def test_every_kind_of_event_is_among_them() -> None:
    """A new kind of event must get a line, or be decided to have none."""
    kinds = {
        kind for kind in vars(events_module).values() if isinstance(kind, type) and issubclass(kind, Event)
    } - {Event}
    assert {type(event) for event in RUN} == kinds


@pytest.mark.parametrize("event", RUN, ids=lambda event: type(event).__name__)
def test_json_lines_have_schema_name_time_and_every_field(event: Event) -> None:
    """One line of ASCII an event: schema, name, time with offset, and every field under its own name."""
    written: list[str] = []
    JsonLines(written.append)(event)
    (line,) = written
    assert line.endswith("\n")
    assert line.isascii()
    assert line.count("\n") == 1
    body = json.loads(line)
    assert body.pop("schema") == SCHEMA == 1
    assert body.pop("event") == type(event).__name__
    assert re.fullmatch(DATE, body.pop("time"))
    assert set(body) == {one.name for one in fields(event)}
    assert body == json.loads(
        json.dumps({k: v for k, v in to_dict(event).items() if k not in ("schema", "event")})
    )


@given(st.text(), st.text())
def test_no_text_breaks_a_line(text: str, task: str) -> None:
    """Whatever a stranger's text is, JSON stays one line that says it exactly, and a dated line obeys nothing."""
    written: list[str] = []
    JsonLines(written.append)(Noted(task=task, text=text))
    assert json.loads(written[0])["text"] == text
    assert written[0].count("\n") == 1
    dated: list[str] = []
    Dated(dated.append)(Noted(task=task, text=text))
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "".join(dated))


def test_every_dated_line_has_its_date() -> None:
    """A reason with line breaks in it does not put undated lines, or lines of a stranger's, into the log."""
    dated: list[str] = []
    reason = f"a.zip: no place delivered it\n  host: gone\n{stamp()} end: all is well"
    Dated(dated.append)(TaskFailed(task="x", kind="fetch", dataset="x", code="G3M-E520", reason=reason))
    lines = "".join(dated).splitlines()
    assert all(re.match(rf"{DATE} x: |  ", line) for line in lines), lines


@pytest.mark.parametrize("hostile", ["\x1b]0;owned\x07", "\x9b2J", "\u202eexe.jpg", "\r overwritten"])
def test_hostile_names_in_every_kind_of_event(hostile: str) -> None:
    """No field of any event brings a control character into the log."""
    dated: list[str] = []
    sink = Dated(dated.append)
    for event in RUN:
        changed = {
            one.name: (hostile + value if isinstance(value, str) else value)
            for one in fields(event)
            if (value := getattr(event, one.name)) is not None
        }
        if isinstance(event, TaskFinished):
            changed["rejected"] = {hostile: 1}
        if isinstance(event, RunStarted):
            changed["datasets"] = (hostile,)
        sink(type(event)(**changed))
    assert len(dated) >= 9
    text = "".join(dated)
    assert not set("\x1b\x07\x9b\u202e\r") & set(text)


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 100.0
        monkeypatch.setattr(logs.time, "monotonic", lambda: self.now_s)


def test_a_heartbeat_every_half_minute_and_not_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ticks are silent until half a minute has passed without a line; then one line says how far it is."""
    clock, dated = Clock(monkeypatch), list[str]()
    sink = Dated(dated.append)
    for event in RUN[:3]:
        sink(event)
    dated.clear()
    for step in range(1, 601):  # ten minutes of ticks, one a second
        clock.now_s += 1
        sink(Progressed(task=FETCH, done_bytes=200 + step, total_bytes=1000))
    assert len(dated) == 20
    assert re.fullmatch(rf"{DATE} 0/4 tasks  230 B of 1\.0 kB  1 B/s  eta 12 min 50 s  from host\n", dated[0])
    sink(Noted(task=FETCH, text="a fact"))
    dated.clear()
    clock.now_s += 29
    sink(Progressed(task=FETCH, done_bytes=900))
    assert dated == []


def test_the_status_line_of_a_run_without_bytes() -> None:
    """Where nothing is fetched the line speaks of tasks and samples alone."""
    state = fold(fold(logs.Snapshot(), RUN[0], 0.0), RUN[10], 1.0)
    assert status_text(state).startswith("1/4 tasks")
    assert status_text(state).endswith("7 samples")


@pytest.mark.parametrize(
    ("task", "text"),
    [
        (FETCH, "val2017.zip"),
        ("fetch/0123456789abcdef-a-b.zip", "a-b.zip"),
        ("pack/coco/00001.tar", "pack/coco/00001.tar"),
        ("", ""),
    ],
)
def test_labels(task: str, text: str) -> None:
    """A fetch is called by its file, anything else by its own name."""
    assert label(task) == text


# --- the files ------------------------------------------------------------------------------------------------------


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """The folder of work in progress."""
    folder = tmp_path / ".g3m"
    folder.mkdir()
    return folder


def tell(folder: Path, *events: Event) -> None:
    with closing(LogFiles(folder)) as files:
        for event in events:
            files(event)


def test_two_files_that_grow(work: Path) -> None:
    """Every run appends: JSON lines to one file, dated lines to the other."""
    tell(work, *RUN)
    tell(work, *RUN)
    lines = (work / "events.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["event"] for line in lines] == 2 * [type(event).__name__ for event in RUN]
    text = (work / "g3m.log").read_text(encoding="utf-8")
    assert [line.partition(" ")[2] for line in text.splitlines()] == 2 * [line for line in EXPECTED if line]


def test_lines_are_there_at_once(work: Path) -> None:
    """Who looks while the run is at work sees every line, whole."""
    files = LogFiles(work)
    files(RUN[0])
    assert (work / "g3m.log").read_text(encoding="utf-8").endswith("to fetch\n")
    assert json.loads((work / "events.jsonl").read_text(encoding="utf-8"))["event"] == "RunStarted"
    files.close()


def test_without_events_and_without_a_root_there_are_no_files(tmp_path: Path, work: Path) -> None:
    """A run with nothing to do leaves no trace, and no folder is made for the sake of a log."""
    tell(work)
    assert list(work.iterdir()) == []
    tell(tmp_path / "absent", *RUN)
    assert not (tmp_path / "absent").exists()


def test_rolling(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file past its limit is kept as the older one, and a new one begins; a third goes."""
    monkeypatch.setattr(logs, "ROLL_BYTES", 100)
    for text in ("first", "second", "third"):
        tell(work, Noted(text=text * 30))
    for name in ("g3m.log", "events.jsonl"):
        assert "third" in (work / name).read_text(encoding="utf-8")
        assert "second" not in (work / name).read_text(encoding="utf-8")
        assert "second" in (work / f"{name}.old").read_text(encoding="utf-8")
    assert len(list(work.iterdir())) == 4


def test_no_rolling_at_the_limit(work: Path) -> None:
    """Twenty million bytes are still one file; one more begins a new one."""
    assert logs.ROLL_BYTES == 20_000_000
    for size, count in ((20_000_000, 1), (20_000_001, 2)):
        with open(work / "g3m.log", "wb") as file:
            file.truncate(size)
        tell(work, Noted(text="x"))
        assert len(list(work.glob("g3m.log*"))) == count


@pytest.mark.parametrize("name", ["g3m.log", "events.jsonl"])
def test_a_log_that_cannot_be_opened_does_not_stop_the_run(work: Path, name: str) -> None:
    """A folder in the place of a log: the other log is written, and nothing is raised."""
    (work / name).mkdir()
    tell(work, *RUN)
    other = {"g3m.log": "events.jsonl", "events.jsonl": "g3m.log"}[name]
    assert (work / other).stat().st_size


@pytest.mark.parametrize("name", ["g3m.log", "events.jsonl"])
def test_a_full_disk_does_not_stop_the_run(work: Path, name: str) -> None:
    """Writes that fail are passed over, at every line and at the end."""
    (work / name).symlink_to("/dev/full")
    tell(work, *RUN)
    other = {"g3m.log": "events.jsonl", "events.jsonl": "g3m.log"}[name]
    assert len((work / other).read_text(encoding="utf-8").splitlines()) >= 10


def test_text_that_is_no_unicode_does_not_stop_the_run(work: Path) -> None:
    """A name with half a character in it, as some file systems hold, is logged somehow, and nothing is raised."""
    tell(work, Noted(text="half \ud800 a character"))
    assert "half" in (work / "g3m.log").read_text(encoding="utf-8")


def test_closing_twice_and_going_on(work: Path) -> None:
    """After closing, an event opens the files anew."""
    files = LogFiles(work)
    write: Callable[[Event], Any] = files
    files.close()
    write(RUN[0])
    files.close()
    files.close()
    assert (work / "g3m.log").read_text(encoding="utf-8").count("\n") == 1
