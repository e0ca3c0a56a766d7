"""`g3m status` and `g3m status --watch`: a run seen from another shell, by its files alone."""

from __future__ import annotations

import io
import itertools
import json
import os
import re
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ui.conftest import ESCAPE, LIMIT_S, Desk, wait_for

from g3m.adapters.disk import Lease
from g3m.core.events import (
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
from g3m.core.tally import Snapshot, fold
from g3m.lab.mischief import Trickle
from g3m.ui import follow, story
from g3m.ui.logs import fact_text, json_line, status_text
from g3m.ui.story import KINDS, Follower, LogFiles, last_routes, read_line, start_of_run
from g3m.ui.terminal import lines

DATE = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d"
BAR = re.compile("[█░]{24}")
ONE, TWO = "fetch/x-one.zip", "fetch/x-two.zip"


def speed(place: str, rate: float, done: int = 0, connections: int = 1) -> RouteSpeed:
    return RouteSpeed(
        place=place, way="direct", connections=connections, rate_bytes_per_s=rate, done_bytes=done
    )


RUN: tuple[Event, ...] = (
    RunStarted(datasets=("toy", "toy2"), tasks=4, total_bytes=3000, present_bytes=100),
    TaskStarted(task=ONE, kind="fetch", dataset="toy", total_bytes=1000),
    Progressed(task=ONE, done_bytes=200, total_bytes=1000),
    TaskStarted(task=TWO, kind="fetch", dataset="toy", total_bytes=2000),
    Progressed(task=TWO, done_bytes=0, total_bytes=2000),
    RouteChosen(task=ONE, place="s3", way="direct"),
    RouteChosen(task=TWO, place="hub", way="proxy 127.0.0.1:7890"),
    RoutesMeasured(task=ONE, routes=(speed("s3", 50.5, 300, 8), speed("hub", 10.0, 20))),
    Progressed(task=ONE, done_bytes=600, total_bytes=1000),
    Retrying(task=TWO, place="hub", reason="reset", wait_s=1.5),
    RouteDropped(task=TWO, place="hub", reason="no such file", way="proxy 127.0.0.1:7890"),
    RoutesMeasured(task=TWO, routes=(speed("s3", 100.0, 700, 4),)),
    Noted(task=TWO, text='a note with "event": "RunStarted" in it'),
    TaskFailed(task="adopt/toy/1", kind="adopt", dataset="toy", code="G3M-E500", reason="no"),
    TasksAdded(task="arrange/toy", count=3, rows=30),
    TaskStarted(task="pack/toy/1.tar", kind="pack", dataset="toy"),
    RowsMeasured(task="pack/toy/1.tar", done=5, total=10, good=3, bytes=99, reasons={"http_404": 2}),
    TaskFinished(task=ONE, kind="fetch", dataset="toy", output="one.zip", size_bytes=1000),
    TaskFinished(
        task="pack/toy/0.tar", kind="pack", dataset="toy", size_bytes=5, samples=7, rejected={"no_caption": 2}
    ),
)
END = RunFinished(finished=5, failed=1, samples=7, seconds=65.5)


def timeless(state: Snapshot) -> tuple[object, ...]:
    """What a follower must know as the run knows it."""
    rows = sorted((name, task.kind, task.done_bytes, task.routes) for name, task in state.running.items())
    counts = (state.tasks, state.finished, state.failed.count, state.samples, state.shards)
    sums = (state.done_bytes, state.total_bytes, state.rows)
    return (*counts, state.datasets, *sums, rows, state.routes, state.over)


def folded(*events: Event) -> Snapshot:
    state = Snapshot()
    for event in events:
        state = fold(state, event, 0.0)
    return state


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """The folder of work in progress."""
    folder = tmp_path / ".g3m"
    folder.mkdir()
    return folder


def write(work: Path, *events: Event) -> None:
    """Append events as a run does, without thinning."""
    with open(work / "events.jsonl", "a", encoding="utf-8") as file:
        file.writelines(json_line(to_dict(event)) for event in events)


# --- reading events back --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", [*RUN, END], ids=lambda event: type(event).__name__)
def test_every_event_is_read_back(event: Event) -> None:
    """What a line of events.jsonl says is the very event that was written, with its time."""
    read = read_line(json_line(to_dict(event)).encode())
    assert read is not None
    assert read[0] == event
    assert type(read[0]) is type(event)


def test_every_kind_of_event_is_among_them() -> None:
    """A new kind of event must be read back too."""
    assert {type(event).__name__ for event in (*RUN, END)} == set(KINDS) - {"Event"}


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    """A field that is new is passed over, and so is an event that is new."""
    body = {**to_dict(RUN[8]), "colour": "blue"}
    assert read_line(json_line(body).encode()) is not None
    assert read_line(json_line({**body, "event": "Sang"}).encode()) is None


SUM = {
    "event": "RunContinues",
    "datasets": ["a"],
    **dict.fromkeys(("tasks", "finished", "failed", "total_bytes", "present_bytes", "fetched_bytes"), 5),
    "samples": 1,
    "shards": 1,
    "running": {ONE: {"kind": "fetch", "dataset": "a", "done_bytes": 1, "total_bytes": 2}},
}
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
fields_of_events = sorted({name for event in (*RUN, END) for name in to_dict(event)})


@given(
    st.sampled_from([*(to_dict(event) for event in (*RUN, END)), SUM]),
    st.dictionaries(st.sampled_from([*fields_of_events, "running", "time"]), values, max_size=4),
)
def test_a_strangers_line_breaks_nothing(body: dict[str, object], spoiled: dict[str, object]) -> None:
    """Whatever stands in a line, it is passed over, or is an event that every view can show."""
    line = json.dumps({"time": "2026-11-22T18:28:29+00:00", **body, **spoiled}).encode()
    read = read_line(line)
    if read is not None:
        what, at_s = read
        state = what if isinstance(what, Snapshot) else fold(folded(*RUN[:4]), what, at_s)
        assert status_text(state)
        assert lines(replace(state, over=False), 80)
        assert isinstance(what, Snapshot) or isinstance(fact_text(what), str)


@pytest.mark.parametrize(
    "line", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'"x"', b'{"time": 5}', b"\0" * 500]
)
def test_what_is_no_line(line: bytes) -> None:
    """Half a line, other JSON, or what a crash leaves of a file."""
    assert read_line(line) is None


@pytest.mark.parametrize("value", [-1, 2**63, 10**400, float("inf"), float("nan"), True, "5", None, [5]])
@pytest.mark.parametrize("name", ["done_bytes", "seconds"])
def test_numbers_that_are_none(name: str, value: object) -> None:
    """What no run can have counted is no event: a view would stumble over it."""
    event = RUN[2] if name == "done_bytes" else END
    body = {"time": "2026-11-22T18:28:29+00:00", **to_dict(event)}
    assert read_line(json.dumps(body).encode()) is not None
    assert read_line(json.dumps({**body, name: value}).encode()) is None


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    """A file of anything has no start of a run and no events, and reading it raises nothing."""
    assert read_line(data) is None
    assert start_of_run(data) is None


# --- following ------------------------------------------------------------------------------------------------------


def test_a_follower_sees_what_the_run_sees(work: Path) -> None:
    """After each event, and from whichever event on one follows, the state is the run's own."""
    with closing(Follower(work / "events.jsonl")) as early:
        assert early.read() == []
        seen: list[Event] = []
        for number, event in enumerate((*RUN, END), 1):
            write(work, event)
            seen += early.read()
            with closing(Follower(work / "events.jsonl")) as late:
                late.read()
                if number > 1:  # whether a start is that of a `verify` is known with the next event
                    assert (
                        timeless(late.state)
                        == timeless(early.state)
                        == timeless(folded(*(*RUN, END)[:number]))
                    )
        assert seen == [*RUN, END]
    assert early.state.over


def test_only_the_last_run_is_told(work: Path) -> None:
    """Earlier runs in the same file, finished or killed, do not count."""
    write(work, *RUN, END, *RUN[:9])
    write(
        work,
        RunStarted(datasets=("b",), tasks=9, total_bytes=50),
        TaskStarted(task="p", kind="pack", dataset="b"),
    )
    with closing(Follower(work / "events.jsonl")) as follower:
        assert len(follower.read()) == 2
        assert (follower.state.tasks, follower.state.finished, follower.state.over) == (9, 0, False)


def test_half_a_line_waits_for_its_end(work: Path) -> None:
    """A line is taken when it is whole; what cannot be read between good lines is passed over."""
    write(work, *RUN[:2])
    with closing(Follower(work / "events.jsonl")) as follower:
        follower.read()
        line = json_line(to_dict(RUN[2]))
        for piece in ("garbage\n{}\n", line[:30], line[30:]):
            assert follower.state.done_bytes == 100
            with open(work / "events.jsonl", "a", encoding="utf-8") as file:
                file.write(piece)
            follower.read()
        assert follower.state.done_bytes == 300


VERIFY: tuple[Event, ...] = (
    RunStarted(datasets=("done",), tasks=1, total_bytes=0),
    TaskStarted(task="verify/done", kind="verify", dataset="done", total_bytes=77),
    Progressed(task="verify/done", done_bytes=70),
    Noted(task="verify/done", text="hm"),
    TaskFinished(task="verify/done", kind="verify", dataset="done", size_bytes=77, samples=3),
    RunFinished(task="verify/", finished=1, failed=0, samples=3, seconds=1.0),
)
NOTHING = RunStarted(datasets=(), tasks=0, total_bytes=0)


@pytest.mark.parametrize("at", [2, 9, 17])
@pytest.mark.parametrize("live", [True, False])
def test_a_verify_beside_the_run_changes_nothing(work: Path, at: int, live: bool) -> None:
    """`g3m verify` writes to the same file; who follows the run, or comes later, sees the run."""
    with closing(Follower(work / "events.jsonl")) as follower:
        write(work, *RUN[:at])
        if live:
            follower.read()
        for event in (*VERIFY, NOTHING):
            write(work, event)
            if live:
                follower.read()
        write(work, *RUN[at:])
        follower.read()
        assert timeless(follower.state) == timeless(folded(*RUN))


def test_a_late_follower_of_a_long_run_begins_with_the_sum(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After many rolls the start of the run is gone from both files; counts and downloads under way are known."""
    monkeypatch.setattr(story, "ROLL_BYTES", 3000)
    seconds = itertools.count()
    monkeypatch.setattr(story.time, "monotonic", lambda: float(next(seconds)))
    with closing(LogFiles(work)) as files:
        for event in RUN:
            files(event)
        for number in range(200):
            files(Noted(text=f"note {number}"))
            with closing(Follower(work / "events.jsonl")) as follower:
                follower.read()
                expected = folded(*RUN)
                assert follower.state.done_bytes == expected.done_bytes
                assert (follower.state.tasks, follower.state.finished) == (expected.tasks, expected.finished)
                assert follower.state.failed.count == 1
                assert set(follower.state.running) == {TWO, "pack/toy/1.tar"}
                assert follower.state.rows == expected.rows
        files(Progressed(task=TWO, done_bytes=1500))
        with closing(Follower(work / "events.jsonl")) as follower:
            follower.read()
            assert follower.state.running[TWO].done_bytes == 1500
            assert follower.state.rate_bytes_per_s == 0.0  # what was there when one came is no speed


def test_a_roll_does_not_disturb_who_follows(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sum at the beginning of a new file takes no speeds and routes from one who has seen everything."""
    seconds = itertools.count()
    monkeypatch.setattr(story.time, "monotonic", lambda: float(next(seconds)))
    with closing(LogFiles(work)) as files, closing(Follower(work / "events.jsonl")) as follower:
        for event in RUN:
            files(event)
        follower.read()
        before = follower.state
        monkeypatch.setattr(story, "ROLL_BYTES", 1)
        files(Noted(text="in the new file"))
        assert [type(event) for event in follower.read()] == [Noted]
        assert (work / "events.jsonl").read_text(encoding="utf-8").count("RunContinues") == 1
        assert follower.state.routes == before.routes != ()
        assert follower.state.marks == before.marks != ()


def test_a_roll_at_the_worst_moments(work: Path) -> None:
    """The file is gone for a moment, comes back, and rolls twice between two looks."""
    path, older = work / "events.jsonl", work / "events.jsonl.old"
    with closing(Follower(path)) as follower:
        write(work, *RUN[:3])
        assert len(follower.read()) == 3
        write(work, RUN[3])
        path.rename(older)
        assert len(follower.read()) == 1
        assert follower.read() == []
        write(work, RUN[4])
        assert len(follower.read()) == 1
        write(work, RUN[5])
        path.rename(older)
        write(work, RUN[6])
        path.rename(older)
        write(work, RUN[7])
        texts = follower.read()
        assert texts[0] == RUN[5]
        assert texts[-1] == RUN[7]


def test_a_line_between_the_read_and_the_roll(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written after the last read of the older file, and just before it rolls, is not lost."""
    path = work / "events.jsonl"
    with closing(Follower(path)) as follower:
        write(work, *RUN[:3])
        follower.read()
        looked = follower._is_rolled

        def written_first() -> bool:
            if not path.with_name("events.jsonl.old").exists():
                write(work, RUN[3])
                path.rename(path.with_name("events.jsonl.old"))
                write(work, RUN[4])
            return looked()

        monkeypatch.setattr(follower, "_is_rolled", written_first)
        assert follower.read() == [RUN[3], RUN[4]]


def test_the_start_of_the_run_in_the_older_file(work: Path) -> None:
    """A run that has rolled once is told from its beginning in the older file."""
    write(work, *RUN[:6])
    (work / "events.jsonl").rename(work / "events.jsonl.old")
    write(work, *RUN[6:])
    with closing(Follower(work / "events.jsonl")) as follower:
        assert len(follower.read()) == len(RUN)
        assert timeless(follower.state) == timeless(folded(*RUN))


def test_the_speed_falls_without_news(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the clock of the machine that runs is hours off: time passes from the last event on."""
    now_s = 500.0
    monkeypatch.setattr(story.time, "monotonic", lambda: now_s)
    with closing(Follower(work / "events.jsonl")) as follower:
        ticks = (Progressed(task=ONE, done_bytes=200 + 50 * number) for number in range(1, 9))
        lines = [
            json.dumps({"time": f"2031-01-01T00:00:{second:02}+08:00", **to_dict(event)}) + "\n"
            for second, event in enumerate((*RUN[:3], RUN[5], *ticks))
        ]
        (work / "events.jsonl").write_text("".join(lines), encoding="utf-8")
        follower.read()
        rates = []
        for step_s in (0.0, 3.0, 27.0):
            now_s += step_s
            rates += [follower.now().rate_bytes_per_s]
        assert rates[0] == pytest.approx(400 / 9, rel=0.2)
        assert rates[0] > rates[1] > rates[2] == 0.0


# --- the last tick --------------------------------------------------------------------------------------------------


def test_the_speeds_of_the_last_tick(work: Path) -> None:
    """Each download's last tick, added up by route; what has ended has no speed, nor has an earlier run."""
    assert last_routes(work / "events.jsonl") == ()
    write(work, *RUN[:12])
    assert [(r.place, r.rate_bytes_per_s, r.connections) for r in last_routes(work / "events.jsonl")] == [
        ("s3", 150.5, 12),
        ("hub", 10.0, 1),
    ]
    write(work, *RUN[12:])
    assert [(r.place, r.rate_bytes_per_s) for r in last_routes(work / "events.jsonl")] == [("s3", 100.0)]
    write(work, RUN[0])
    assert last_routes(work / "events.jsonl") == ()


def test_only_the_end_of_the_file_is_read_for_the_last_tick(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of 20 MB is not read for one line; half a line at the beginning of what is read does no harm."""
    monkeypatch.setattr(story, "TAIL_BYTES", len(json_line(to_dict(RUN[11]))) + 50)
    write(work, *RUN[:12])
    assert [(r.place, r.rate_bytes_per_s) for r in last_routes(work / "events.jsonl")] == [("s3", 100.0)]


# --- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture
def drawn(desk: Desk) -> Callable[..., None]:
    """A run that is drawn: this process holds the lease and writes its events."""
    work = desk.root / ".g3m"
    work.mkdir(parents=True)
    holder = {"host": socket.gethostname(), "pid": os.getpid(), "token": "x"}
    (work / "lock").write_text(json.dumps(holder), encoding="utf-8")
    return lambda *events: write(work, *events)


def _plainly(text: str) -> str:
    text = text.replace(str(os.getpid()), "PID").replace(socket.gethostname(), "HOST")
    return re.sub(DATE, "TIME", text)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_status_shows_the_speed_of_each_route(
    desk: Desk, drawn: Callable[..., None], snapshot: Callable[[str, str], None], lang: str
) -> None:
    """While a run is at work: who, and what each route carries."""
    drawn(*RUN[:12])
    (desk.root / ".g3m" / "parts").mkdir()
    (desk.root / ".g3m" / "parts" / "x-one.zip.part").write_bytes(b"x" * 600)
    ran = desk.run("status", "--lang", lang)
    assert (ran.code, ran.err) == (0, "")
    snapshot(f"status-at-work-{lang}", _plainly(ran.out))


def test_status_as_json_has_the_routes(desk: Desk, drawn: Callable[..., None]) -> None:
    """For programs: the same figures, and none when no run is at work."""
    drawn(*RUN[:12])
    (first, _) = desk.run("status", "--json").documents[0]["routes"]
    assert first == {
        "place": "s3",
        "way": "direct",
        "connections": 12,
        "rate_bytes_per_s": 150.5,
        "done_bytes": 1000,
    }
    (desk.root / ".g3m" / "lock").unlink()
    assert desk.run("status", "--json").documents[0]["routes"] == []


@pytest.mark.parametrize(
    ("lang", "words"), [("en", "No run is at work on g3m-data."), ("zh", "g3m-data 上没有正在运行的任务。")]
)
def test_watching_where_nothing_runs(desk: Desk, lang: str, words: str) -> None:
    """Nobody at work: that is said at once, on a terminal too, and nothing is made."""
    before = desk.files()
    ran = desk.run("status", "--watch", "--lang", lang)
    assert (ran.code, ran.out, ran.err) == (0, f"{words}\n", "")
    assert words in desk.on_terminal("status", "--watch", "--lang", lang).err
    assert desk.files() == before


def test_the_end_in_chinese(desk: Desk, drawn: Callable[..., None]) -> None:
    """What a person acts on is said in the language of choice; the lines are those of the log."""
    drawn(*RUN[:9])
    with desk.start("status", "--watch", "--lang", "zh") as process:
        assert process.stdout is not None
        assert "0/4 tasks" in process.stdout.readline()
        drawn(*RUN[9:], END)
        out, err = process.communicate(timeout=10)
    assert out == "任务已结束：7 项中完成 2 项，失败 1 项，共 7 个样本。\n"
    assert "Ctrl-C 只结束查看" in err


def test_watching_in_a_pipe(desk: Desk, drawn: Callable[..., None]) -> None:
    """A dated line at once, and at the end of the run its sum; exit 0; nothing of it is an escape code."""
    drawn(*RUN[:9])
    with desk.start("status", "--watch") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.readline()
        drawn(*RUN[9:], END)
        out, err = process.communicate(timeout=10)
    assert re.match(rf"{DATE} 0/4 tasks  700 B of 3\.0 kB  .*from s3 \(direct\) 50 B/s, hub", first)
    assert out == "The run ended: 2 of 7 tasks done, 1 failed, 7 samples.\n"
    assert process.returncode == 0
    assert f"Watching process {os.getpid()} on {socket.gethostname()}; Ctrl-C ends the watching" in err
    assert ESCAPE not in first + out + err


def test_a_line_every_ten_seconds(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """However often the file is looked at: the first line at once, then one every ten seconds."""
    now_s = 50.0
    monkeypatch.setattr(follow.time, "monotonic", lambda: now_s)
    with closing(Follower(work / "events.jsonl")) as follower:
        show = follow._Lines(follower)
        for step in range(121):
            now_s = 50.0 + step * 0.5
            show([])
    assert capsys.readouterr().out.count("0/0 tasks\n") == 7


def test_watching_on_a_terminal(desk: Desk, drawn: Callable[..., None]) -> None:
    """The picture of the run's own terminal, until Ctrl-C: exit 0, the run is left alone, and no file is touched."""
    drawn(*RUN[:12])
    before = desk.files()
    ran = desk.on_terminal("status", "--watch", keys=[("s3 (direct)", "\x03")])
    assert ran.code == 0
    assert BAR.search(ran.err)
    assert "fetch    one.zip                        600 B of 1.0 kB" in ran.err
    assert re.search(r"    s3 \(direct\) +4 connections +100 B/s +700 B", ran.err)
    assert "Traceback" not in ran.err
    assert ran.err.count("\x1b[?25l") == ran.err.count("\x1b[?25h") == 1
    assert desk.files() == before


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_news_is_told_above_the_picture(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the run tells on its own terminal is told here too, from now on, and nothing twice in a minute."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "stdout", Terminal())
    write(work, *RUN[:11])
    with closing(Follower(work / "events.jsonl")) as follower:
        follower.read()
        with follow._view(follower) as show:
            shown = sys.stdout.rich_proxied_file if hasattr(sys.stdout, "rich_proxied_file") else sys.stdout
            write(work, *RUN[11:], RUN[10], replace(RUN[10], place="other"))
            show(follower.read())
            write(work, RUN[10])
            show(follower.read())
    text = shown.getvalue()  # type: ignore[attr-defined]
    assert text.count("two.zip: hub (proxy 127.0.0.1:7890) is given up: no such file") == 1
    assert text.count("two.zip: other (proxy 127.0.0.1:7890) is given up: no such file") == 1
    assert "adopt/toy/1: FAILED G3M-E500 no" in text
    assert "one.zip: done" not in text


def test_files_are_looked_at_twice_a_second(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two looks the watcher sleeps, and it ends with the run's last event though the lease is still held."""
    (work / "lock").write_text(json.dumps({"host": "elsewhere", "pid": 1, "token": "ab"}), encoding="utf-8")
    write(work, *RUN)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            write(work, END)

    monkeypatch.setattr(follow.time, "sleep", sleep)
    shown: list[Event] = []
    with closing(Follower(work / "events.jsonl")) as follower:
        follow._until_it_ends(follower, Lease(work / "lock"), shown.extend)
    assert slept == 3 * [follow.POLL_S]
    assert follow.POLL_S == 0.5
    assert shown == [*RUN, END]


@pytest.mark.parametrize("stale", [True, False])
def test_a_run_that_died_is_recognised(desk: Desk, drawn: Callable[..., None], stale: bool) -> None:
    """No last event, and nobody holds the lease: that is said, and what to do; exit 0."""
    drawn(*RUN[:9])
    lock = desk.root / ".g3m" / "lock"
    with desk.start("status", "--watch") as process:
        assert process.stdout is not None
        process.stdout.readline()
        if stale:
            os.utime(lock, (1, 1))
        else:
            lock.unlink()
        out, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    assert out.startswith(f"Process {os.getpid()} on {socket.gethostname()} ended without a word")


def test_json_and_watch_do_not_go_together(desk: Desk) -> None:
    """Programs read the events themselves; the message says where they are."""
    ran = desk.run("status", "--watch", "--json")
    assert ran.code == 2
    assert "events.jsonl" in ran.err


def test_watching_a_real_run_to_its_end_and_over_its_death(desk: Desk) -> None:
    """The real thing: one shell fetches, another watches; the fetch is killed, continued, and ends."""
    size = desk.world.sources.coco.valid.stat().st_size
    desk.world.origin.mischief("*/val2017.zip", Trickle(size / 60), times=None)
    parts = lambda: [p for p in desk.root.glob(".g3m/parts/*.part") if p.stat().st_size]  # noqa: E731
    with desk.start("get", "coco_valid", "--yes") as getting:
        wait_for(parts, "bytes")
        with desk.start("status", "--watch") as watching:
            assert watching.stdout is not None
            assert "from 127.0.0.1:" in watching.stdout.readline()
            getting.send_signal(signal.SIGKILL)
            getting.communicate()
            out, err = watching.communicate(timeout=LIMIT_S)
    assert watching.returncode == 0
    assert out.startswith(
        f"Process {getting.pid} on {socket.gethostname()} ended without a word, as after a kill."
    )
    assert "Traceback" not in err
    desk.world.origin.be_honest()
    desk.world.origin.mischief("*/val2017.zip", Trickle(size / 8), times=None)
    with desk.start("get", "coco_valid", "--yes") as getting:
        wait_for(lambda: desk.run("status", "--json").documents[0]["routes"], "routes")
        ran = desk.on_terminal("status", "--watch")
        getting.communicate()
    assert (ran.code, getting.returncode) == (0, 0)
    assert re.search(r"    127\.0\.0\.1:\d+ \(direct\) +\d+ connections?", ran.err)
    assert "The run ended: 5 of 5 tasks done, 0 failed, 8 samples." in ran.err
