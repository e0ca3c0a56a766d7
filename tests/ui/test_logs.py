"""ui/logs.py: events as lines for programs and people; a log never stops the work and never lies."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import fields, replace
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
    RoutesMeasured,
    RouteSpeed,
    RowsMeasured,
    RunFinished,
    RunStarted,
    TaskFailed,
    TaskFinished,
    TasksAdded,
    TaskStarted,
    to_dict,
)
from g3m.core.tally import fold
from g3m.ui import logs, story
from g3m.ui.logs import Dated, JsonLines, Repeats, Thinned, fact_text, label, stamp, status_text
from g3m.ui.story import Follower, LogFiles, RollingFile

DATE = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d"
FETCH = "fetch/0123456789abcdef-val2017.zip"

RUN: tuple[Event, ...] = (
    RunStarted(datasets=("coco_valid",), tasks=4, total_bytes=1000),
    TaskStarted(task=FETCH, kind="fetch", dataset="coco_valid", total_bytes=1000),
    RouteChosen(task=FETCH, place="host", way="proxy p:1", offset_bytes=200),
    Progressed(task=FETCH, done_bytes=500, total_bytes=1000),
    RoutesMeasured(
        task=FETCH,
        routes=(RouteSpeed(place="host", way="direct", connections=8, rate_bytes_per_s=2.5, done_bytes=300),),
    ),
    Retrying(task=FETCH, place="host", reason="it broke", wait_s=0),
    Retrying(task=FETCH, place="host", reason="host: busy", wait_s=2.5, way="proxy p:1"),
    RouteDropped(task=FETCH, place="host", reason="host: no more", way="proxy p:1"),
    Noted(task=FETCH, text="something"),
    TaskFinished(task=FETCH, kind="fetch", dataset="coco_valid", output="val2017.zip", size_bytes=1000),
    TasksAdded(task="arrange/coco_valid", count=1, rows=10),
    TaskFinished(
        task="pack/coco_valid/00000.tar",
        kind="pack",
        dataset="coco_valid",
        samples=7,
        size_bytes=900,
        rejected={"missing_image": 2},
    ),
    RowsMeasured(task="pack/list/00000.tar", done=9, total=10, good=7, bytes=99, reasons={"http_404": 2}),
    TaskFailed(task="publish/coco_valid", kind="publish", dataset="coco_valid", code="G3M-E600", reason="no"),
    RunFinished(finished=3, failed=1, samples=7, seconds=65.4),
)

EXPECTED = (
    "start coco_valid: 4 tasks, 1.0 kB to fetch",
    "",
    "val2017.zip: from host (proxy p:1) from byte 200",
    "",
    "",
    "val2017.zip: host (direct): it broke; going on",
    "val2017.zip: host (proxy p:1): busy; again in 2.5 s",
    "val2017.zip: host (proxy p:1) is given up: no more",
    "val2017.zip: something",
    "val2017.zip: done, 1.0 kB",
    "",
    "pack/coco_valid/00000.tar: done, 7 samples, 900 B, 2 missing_image",
    "",
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
def test_hostile_names_in_every_kind_of_event(hostile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No field of any event brings a control character into the log, in its own line or in a heartbeat."""
    clock, dated = Clock(monkeypatch), list[str]()
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
        if isinstance(event, RoutesMeasured):
            changed["routes"] = (replace(event.routes[0], place=hostile, way=hostile),)
        sink(type(event)(**changed))
        clock.now_s += 31
    assert len(dated) >= 15
    text = "".join(dated)
    assert not set("\x1b\x07\x9b\u202e\r") & set(text)


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 100.0
        monkeypatch.setattr(logs.time, "monotonic", lambda: self.now_s)


def kinds(dated: list[str]) -> list[str]:
    """Dated lines without their dates."""
    return [line.partition(" ")[2].rstrip("\n") for line in dated]


def route(place: str, rate: float, connections: int = 1) -> RouteSpeed:
    return RouteSpeed(
        place=place, way="direct", connections=connections, rate_bytes_per_s=rate, done_bytes=1000
    )


def test_a_heartbeat_every_half_minute_and_not_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ticks are silent until half a minute has passed; then one line says how far it is, facts or not between."""
    clock, dated = Clock(monkeypatch), list[str]()
    sink = Dated(dated.append)
    for event in (*RUN[:2], Progressed(task=FETCH, done_bytes=200), replace(RUN[2], offset_bytes=0)):
        sink(event)
    dated.clear()
    for step in range(1, 601):  # ten minutes of ticks, one a second
        clock.now_s += 1
        sink(Progressed(task=FETCH, done_bytes=200 + step, total_bytes=1000))
    assert len(dated) == 20
    beat = rf"{DATE} 0/4 tasks  230 B of 1\.0 kB  1 B/s  eta 12 min 50 s  from host \(proxy p:1\)\n"
    assert re.fullmatch(beat, dated[0])
    sink(Noted(task=FETCH, text="a fact"))
    clock.now_s += 29
    sink(Progressed(task=FETCH, done_bytes=900))
    assert len(dated) == 21
    for _ in range(4):  # facts put no heartbeat off
        clock.now_s += 10
        sink(Noted(task=FETCH, text="a fact"))
    assert sum("tasks" in line for line in dated) == 22


def test_a_heartbeat_names_the_speed_of_each_route(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each route once with its speed over all downloads, the fastest first, six at most; idle ones are left out."""
    clock, dated = Clock(monkeypatch), list[str]()
    sink = Dated(dated.append)
    sink(RUN[0])
    for task in ("fetch/x-a.zip", "fetch/x-b.zip"):
        sink(TaskStarted(task=task, kind="fetch", dataset="d"))
        sink(RouteChosen(task=task, place="s3"))
    sink(
        RoutesMeasured(task="fetch/x-a.zip", routes=(route("s3", 1e6), route("hub", 3e6), route("no", 0, 0)))
    )
    sink(RoutesMeasured(task="fetch/x-b.zip", routes=(route("s3", 4e6), route("slow", 0))))
    clock.now_s += 31
    sink(Progressed(task="fetch/x-b.zip", done_bytes=1))
    assert kinds(dated)[-1].endswith(
        "  from s3 (direct) 5.0 MB/s, hub (direct) 3.0 MB/s, slow (direct) 0 B/s"
    )
    sink(RoutesMeasured(task="fetch/x-a.zip", routes=tuple(route(f"m{n}", 1e7 * n) for n in range(1, 9))))
    clock.now_s += 31
    sink(Progressed(task="fetch/x-b.zip", done_bytes=2))
    assert "from m8 (direct) 80.0 MB/s, m7 " in dated[-1]
    assert kinds(dated)[-1].endswith("m3 (direct) 30.0 MB/s, and 4 more")


def test_failures_are_counted_in_a_heartbeat() -> None:
    """Who reads only heartbeats learns that tasks have failed."""
    state = fold(fold(logs.Snapshot(), RUN[0], 0.0), RUN[13], 1.0)
    assert status_text(state).startswith("0/4 tasks  1 failed")


# --- what is said again and again -----------------------------------------------------------------------------------


def resting(number: int, place: str = "s3", task: str = FETCH) -> Retrying:
    return Retrying(task=task, place=place, reason=f"{place}: ended after {number} bytes", wait_s=number / 7)


def test_a_route_that_rests_again_and_again_fills_no_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten minutes of one route failing twice a second: said once, then counted at each heartbeat."""
    clock, dated = Clock(monkeypatch), list[str]()
    sink = Dated(dated.append)
    sink(RUN[0])
    for number in range(1200):
        sink(resting(number, task=f"fetch/x-{number % 7}.zip"))
        clock.now_s += 0.5
    texts = kinds(dated)
    assert texts[1] == "0.zip: s3 (direct): ended after 0 bytes; going on"
    counted = [text for text in texts[2:] if text.startswith("s3 (direct): ended after 0 bytes (")]
    assert len(counted) == 19
    assert sum(int(re.search(r"\((\d+) times\)", text)[1]) for text in counted) == 19 * 60  # type: ignore[index]
    assert len(texts) == 2 + 2 * 19
    sink(RunFinished(finished=0, failed=0, samples=0, seconds=600))
    assert kinds(dated)[-2].endswith("(59 times)")
    assert kinds(dated)[-1].startswith("end: ")


def test_what_differs_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another reason, another place, another way, another kind of news, or the same a minute later."""
    clock = Clock(monkeypatch)
    repeats = Repeats()
    first = resting(1)
    different = [
        first,
        replace(first, reason="s3: reset"),
        replace(first, way="proxy p:1"),
        resting(1, "hub"),
        RouteDropped(task=FETCH, place="s3", reason=first.reason),
    ]
    assert all(repeats.text(event, clock.now_s) for event in different)
    assert not any(repeats.text(event, clock.now_s + 59) for event in different)
    assert all(repeats.text(event, clock.now_s + 61) for event in different)
    for event in RUN:
        if not isinstance(event, (Retrying, RouteDropped, RouteChosen)):
            assert repeats.text(event, 1.0) == repeats.text(event, 1.0) == fact_text(event)


def test_a_dead_place_of_thousands_of_files_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of many files gives the same place up for the same reason: one line, and a number."""
    clock, dated = Clock(monkeypatch), list[str]()
    sink = Dated(dated.append)
    sink(RUN[0])
    for number in range(1000):
        sink(RouteDropped(task=f"fetch/x-{number}.zip", place="dead", reason="no address"))
    clock.now_s += 31
    sink(Noted(text="on it goes"))
    texts = kinds(dated)
    assert texts[1] == "0.zip: dead (direct) is given up: no address"
    assert texts[-1] == "dead (direct) is given up: no address (999 times)"
    assert len(texts) == 5


def test_a_route_in_use_is_named_once_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often ranges of a file are given to a route, the log says once that the file comes over it."""
    clock, dated = Clock(monkeypatch), list[str]()
    sink = Dated(dated.append)
    for _ in range(600):
        for place in ("s3", "hub"):
            sink(RouteChosen(task=FETCH, place=place))
        clock.now_s += 1
    sink(RouteChosen(task="fetch/x-b.zip", place="s3"))
    texts = [text for text in kinds(dated) if "tasks" not in text]
    assert texts == [
        "val2017.zip: from s3 (direct)",
        "val2017.zip: from hub (direct)",
        "b.zip: from s3 (direct)",
    ]


def test_what_was_said_is_not_kept_for_days(monkeypatch: pytest.MonkeyPatch) -> None:
    """Facts of a minute ago are forgotten: memory does not grow with the number of files and hosts."""
    clock, dated = Clock(monkeypatch), list[str]()
    sink = Dated(dated.append)
    for number in range(5000):
        sink(RouteChosen(task=f"fetch/x-{number}.zip", place="s3"))
        clock.now_s += 1
    assert len(sink._repeats._said) < 100


def test_the_status_line_of_a_run_without_bytes() -> None:
    """Where nothing is fetched the line speaks of tasks and samples alone."""
    state = fold(fold(logs.Snapshot(), RUN[0], 0.0), RUN[11], 1.0)
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


def test_ticks_are_thinned_and_facts_are_not(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each kind of tick of each task one a second goes to the file; every fact does, and each task's first tick."""
    clock = Clock(monkeypatch)
    files = LogFiles(work)
    files(RUN[0])
    for task in ("fetch/x-a", "fetch/x-b"):
        files(TaskStarted(task=task, kind="fetch", dataset="d"))
    for step in range(100):  # ten seconds, ten ticks a second
        for task in ("fetch/x-a", "fetch/x-b"):
            files(Progressed(task=task, done_bytes=step))
            files(RoutesMeasured(task=task, routes=(route("s3", step),)))
            files(RouteChosen(task=task, place="s3"))
        clock.now_s += 0.1
    files.close()
    lines = [json.loads(line) for line in (work / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    counts = Counter((line["event"], line["task"]) for line in lines)
    for task in ("fetch/x-a", "fetch/x-b"):
        assert 9 <= counts["Progressed", task] <= 11
        assert 9 <= counts["RoutesMeasured", task] <= 11
        assert counts["RouteChosen", task] == 100


def test_a_task_that_begins_again_ticks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first tick of a task says where it begins: it is passed on, also in a second pass; nothing is kept of the first."""
    Clock(monkeypatch)
    passed: list[Event] = []
    sink = Thinned(passed.append)
    for _ in range(3):
        for event in (RUN[1], RUN[3], RUN[3], RUN[4], RUN[9]):
            sink(event)
    assert passed == 3 * [RUN[1], RUN[3], RUN[4], RUN[9]]
    assert sink._passed_s == {}


def sizes(work: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in work.iterdir()}


def test_rolling_while_the_run_goes_on(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the limit the next line begins a new file, one older is kept, no line is lost between the two."""
    monkeypatch.setattr(story, "ROLL_BYTES", 3000)
    files, numbers = LogFiles(work), list[int]()
    for number in range(200):
        files(Noted(text=f"note {number}"))
        assert max(sizes(work).values()) < 3300
        texts = [
            path.read_text(encoding="utf-8")
            for path in (work / "events.jsonl.old", work / "events.jsonl")
            if path.exists()
        ]
        noted = [json.loads(line) for text in texts for line in text.splitlines()]
        numbers = [int(line["text"].split()[1]) for line in noted if line["event"] == "Noted"]
        assert numbers == list(range(number + 1))[-len(numbers) :]
        assert len(numbers) >= min(number + 1, 20)
    files.close()
    assert sorted(sizes(work)) == ["events.jsonl", "events.jsonl.old", "g3m.log", "g3m.log.old"]
    assert len(numbers) < 100


def test_a_rolled_file_begins_with_the_sum(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads only the newer file learns how far the run was: counts, bytes, and what runs."""
    monkeypatch.setattr(story, "ROLL_BYTES", 4000)
    files = LogFiles(work)
    for event in (*RUN[:11], RUN[13]):
        files(event)
    files(TaskStarted(task="fetch/x-b.zip", kind="fetch", dataset="coco", total_bytes=77))
    files(Progressed(task="fetch/x-b.zip", done_bytes=33))
    number = 0
    while not (work / "events.jsonl.old").exists():
        files(Noted(text=f"note {number}"))
        number += 1
    files.close()
    first, *others = (work / "events.jsonl").read_text(encoding="utf-8").splitlines()
    body = json.loads(first)
    assert re.fullmatch(DATE, body.pop("time"))
    assert body == {
        "schema": 1,
        "event": "RunContinues",
        "datasets": ["coco_valid"],
        "tasks": 5,
        "finished": 1,
        "failed": 1,
        "total_bytes": 1000,
        "present_bytes": 0,
        "fetched_bytes": 1000,
        "samples": 0,
        "shards": 0,
        "running": {
            "fetch/x-b.zip": {
                "kind": "fetch",
                "dataset": "coco",
                "done_bytes": 33,
                "total_bytes": 77,
                "place": "",
                "way": "",
            }
        },
        "rows_planned": 10,
        "rows_finished": {"done": 0, "total": 0, "good": 0, "size_bytes": 0, "reasons": {}},
    }
    assert [json.loads(line)["event"] for line in others] == ["Noted"]
    assert json.loads(others[0])["text"] == f"note {number - 1}"


def test_rolling_between_runs(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that an earlier run left too large is kept as the older one; a third goes."""
    monkeypatch.setattr(story, "ROLL_BYTES", 100)
    for text in ("first", "second", "third"):
        tell(work, Noted(text=text * 30))
    for name in ("g3m.log", "events.jsonl"):
        assert "third" in (work / name).read_text(encoding="utf-8")
        assert "second" not in (work / name).read_text(encoding="utf-8")
        assert "second" in (work / f"{name}.old").read_text(encoding="utf-8")
    assert len(list(work.iterdir())) == 4


def test_no_rolling_at_the_limit(work: Path) -> None:
    """Twenty million bytes are still one file; one more begins a new one."""
    assert story.ROLL_BYTES == 20_000_000
    for size, count in ((20_000_000, 1), (20_000_001, 2)):
        with open(work / "g3m.log", "wb") as file:
            file.truncate(size)
        tell(work, Noted(text="x"))
        assert len(list(work.glob("g3m.log*"))) == count


def test_two_processes_roll_one_file(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs write to one file, as `verify` beside `get` does: no line is torn, and who comes late rolls nothing."""
    monkeypatch.setattr(story, "ROLL_BYTES", 1000)
    path = work / "events.jsonl"
    one, two = RollingFile(path, lambda: ""), RollingFile(path, lambda: "")
    kept: list[str] = []
    for number in range(300):
        (one if number % 3 else two).write(f"line {number:04}\n")
        older = path.with_name("events.jsonl.old")
        kept = older.read_text(encoding="utf-8").splitlines() if older.exists() else []
        kept += path.read_text(encoding="utf-8").splitlines()
        assert f"line {number:04}" in kept
        assert all(re.fullmatch(r"line \d{4}", line) for line in kept)
        assert len(kept) >= min(number + 1, 95)
    one.close()
    two.close()


def test_a_reader_follows_over_every_roll(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads while files roll, often or seldom, sees every line once and in order, or, far behind, the sum."""
    monkeypatch.setattr(story, "ROLL_BYTES", 3000)
    for every in (1, 7, 20):
        files, reader, seen = LogFiles(work), Follower(work / "events.jsonl"), list[str]()
        files(RUN[0])
        for number in range(300):
            files(Noted(text=f"{number}"))
            if number % every == 0:
                seen += [event.text for event in reader.read() if isinstance(event, Noted)]
        seen += [event.text for event in reader.read() if isinstance(event, Noted)]
        assert seen == [str(number) for number in range(300)]
        assert reader.state.tasks == 4
        reader.close()
        files.close()


def test_a_log_that_was_deleted_is_begun_again(work: Path) -> None:
    """Both files may be deleted at any time: the next line makes a new one."""
    files = LogFiles(work)
    files(RUN[0])
    for path in list(work.iterdir()):
        path.unlink()
    files(Noted(text="on it goes"))
    files.close()
    assert "on it goes" in (work / "g3m.log").read_text(encoding="utf-8")
    first, second = (work / "events.jsonl").read_text(encoding="utf-8").splitlines()
    assert (json.loads(first)["event"], json.loads(second)["text"]) == ("RunContinues", "on it goes")


def test_a_file_that_cannot_be_rolled_goes_on(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where renaming is refused, lines go on into the old file, and nothing is raised."""
    monkeypatch.setattr(story, "ROLL_BYTES", 100)
    (work / "g3m.log.old").mkdir()
    tell(work, *(Noted(text=f"note {number}") for number in range(20)))
    assert (work / "g3m.log").read_text(encoding="utf-8").count("note") == 20


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
