"""ui/terminal.py: bars on a terminal, dated lines elsewhere, and never an escape code into a pipe."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import textwrap
from dataclasses import replace

import pytest
import rich.cells
import rich.console
from hypothesis import given
from hypothesis import strategies as st
from tests.ui.conftest import ESCAPE, LIMIT_S, Desk

from g3m.core.events import (
    Event,
    Noted,
    Progressed,
    RouteChosen,
    RoutesMeasured,
    RouteSpeed,
    RunFinished,
    RunStarted,
    TaskStarted,
)
from g3m.core.tally import Running, Snapshot, fold
from g3m.lab.mischief import Status, Trickle
from g3m.ui import terminal
from g3m.ui.terminal import cells, cut, lines, padded, progress

BAR = re.compile("[█░]{24}")
COLOUR = r"\x1b\[[\d;]*m"


def speed(place: str, rate: float, done: int = 0, *, connections: int = 8, way: str = "direct") -> RouteSpeed:
    return RouteSpeed(place=place, way=way, connections=connections, rate_bytes_per_s=rate, done_bytes=done)


def state_of(*events: Event) -> Snapshot:
    state = Snapshot()
    for second, event in enumerate(events):
        state = fold(state, event, float(second))
    return state


BEGUN = (
    RunStarted(datasets=("coco_valid",), tasks=3, total_bytes=2_000_000),
    TaskStarted(task="fetch/x-val2017.zip", kind="fetch", dataset="coco_valid", total_bytes=2_000_000),
    Progressed(task="fetch/x-val2017.zip", done_bytes=0, total_bytes=2_000_000),
    RouteChosen(task="fetch/x-val2017.zip", place="s3.amazonaws.com", way="proxy 127.0.0.1:7890"),
    Progressed(task="fetch/x-val2017.zip", done_bytes=500_000, total_bytes=2_000_000),
)


def test_a_bar_and_a_line_for_each_task() -> None:
    """Share, bytes, speed and time left in the first line; then each task with its place and way."""
    first, second = lines(state_of(*BEGUN), 200)
    assert first == "██████░░░░░░░░░░░░░░░░░░  25%  0/3 tasks  500.0 kB of 2.0 MB  250.0 kB/s  6 s left"
    assert (
        second
        == "  fetch    val2017.zip                    500.0 kB of 2.0 MB  from s3.amazonaws.com (proxy 127.0.0.1:7890)"
    )


def measured(*routes: RouteSpeed) -> Snapshot:
    """A download with these routes."""
    return state_of(*BEGUN, RoutesMeasured(task="fetch/x-val2017.zip", routes=routes))


def test_a_line_for_each_route() -> None:
    """Below a download: who brings how much over how many connections, the fastest first, in columns."""
    routes = (
        speed("hub.example.org", 1.3e6, 99_000_000, connections=1, way="proxy 127.0.0.1:7890"),
        speed("s3.amazonaws.com", 2.1e6, 812_400_000),
        speed("rested.example.org", 0.0, 5000, connections=0),
        speed("never.used", 0.0, 0, connections=0),
        speed("just.begun", 0.0, 0),
    )
    assert lines(measured(*routes), 120)[1:] == [
        "  fetch    val2017.zip                    500.0 kB of 2.0 MB",
        "    s3.amazonaws.com (direct)                8 connections     2.1 MB/s   812.4 MB",
        "    hub.example.org (proxy 127.0.0.1:7890)    1 connection     1.3 MB/s    99.0 MB",
        "    rested.example.org (direct)              0 connections        0 B/s     5.0 kB",
        "    just.begun (direct)                      8 connections        0 B/s        0 B",
    ]


def test_many_routes_are_summed_up() -> None:
    """At most four routes a download, then how many more; where nothing is measured the place is named."""
    shown = lines(measured(*(speed(f"m{number}", 1e6 * number) for number in range(1, 7))), 100)
    assert [line.split()[0] for line in shown[2:6]] == ["m6", "m5", "m4", "m3"]
    assert shown[6] == "    and 2 more"
    assert "from s3.amazonaws.com" not in "".join(shown)
    assert "from s3.amazonaws.com" in "".join(lines(measured(speed("idle", 0.0, connections=0)), 100))


def test_a_low_window_shows_fewer_routes() -> None:
    """Every download keeps its line, before any route has one; with room there are all."""
    routes = tuple(speed(f"m{number}", 1e6 * number) for number in range(1, 7))
    running = {
        f"fetch/x-{number}.zip": Running(
            kind="fetch", dataset="d", total_bytes=9, place="p", way="w", routes=routes
        )
        for number in range(4)
    }
    state = replace(state_of(*BEGUN), running=running)
    assert len(lines(state, 100, 50)) == 1 + 4 * 6
    for height in (24, 12, 6):
        shown = lines(state, 100, height)
        assert len(shown) < height
        assert sum(line.startswith("  fetch") for line in shown) == 4
    assert sum("connections" in line for line in lines(state, 100, 24)) == 8
    assert sum("connections" in line for line in lines(state, 100, 14)) == 4
    assert sum("connections" in line for line in lines(state, 100, 12)) == 0
    assert sum("from p (w)" in line for line in lines(state, 100, 12)) == 4


def test_downloads_stand_before_other_tasks() -> None:
    """Where not all tasks can be shown, those with routes are."""
    running = {
        f"pack/d/{number}.tar": Running(kind="pack", dataset="d", total_bytes=9) for number in range(8)
    }
    running["fetch/x-late.zip"] = Running(kind="fetch", dataset="d", routes=(speed("s3", 1.0),))
    shown = lines(replace(state_of(*BEGUN), running=running), 100)
    assert shown[1].startswith("  fetch    late.zip")
    assert shown[2].startswith("    s3 (direct)")
    assert shown[-1] == "  and 3 more"


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_wide_characters_keep_the_columns(width: int) -> None:
    """A name in Chinese takes two columns a character: figures stand below one another, and nothing wraps."""
    shown = lines(measured(speed("镜像.例子.中国", 2e6, 500), speed("s3.amazonaws.com", 1e6, 400)), width)
    assert all(rich.cells.cell_len(line) <= width for line in shown)
    if width >= 80:
        ends = {rich.cells.cell_len(line.partition("connections")[0]) for line in shown[2:]}
        assert len(ends) == 1
    assert lines(state_of(TaskStarted(task="fetch/x-" + "数据" * 9, kind="fetch", dataset="d")), 30)[1] == (
        "  fetch    " + "数据" * 4 + "数…"
    )


@given(st.text(st.sampled_from("ab数é한！\u0301"), max_size=40), st.integers(1, 60))
def test_cutting_and_padding(text: str, width: int) -> None:
    """What fits stays as it is; what does not ends in an ellipsis; what is padded is as wide as was asked for."""
    assert cells(text) == rich.cells.cell_len(text)
    short = cut(text, width)
    assert cells(short) <= width
    assert (short == text) is (cells(text) <= width)
    assert short == text or (
        short.endswith("…") and text.startswith(short[:-1]) and cells(short) >= width - 1
    )
    assert cells(padded(short, width)) == width


def test_packing_counts_samples() -> None:
    """A shard being packed is measured in samples, not in bytes."""
    task = "pack/coco/00000.tar"
    state = state_of(
        RunStarted(datasets=("coco",), tasks=1, total_bytes=0),
        TaskStarted(task=task, kind="pack", dataset="coco"),
        Progressed(task=task, done_bytes=64, total_bytes=2998),
    )
    first, second = lines(state, 100)
    assert not BAR.search(first)
    assert second.strip().endswith("64 of 2998 samples")


@given(st.integers(0, 40), st.integers(0, 9), st.integers(1, 200), st.integers(1, 60), st.text(max_size=300))
def test_the_picture_fits_the_window(tasks: int, routes: int, width: int, height: int, place: str) -> None:
    """However many tasks and routes, whatever they are called: no line too long, not too many, none that obeys."""
    speeds = tuple(speed(f"{number}{place}", 10.0 * number) for number in range(routes))
    running = {
        f"fetch/x-{number}{place}": Running(
            kind="fetch", dataset=place, total_bytes=number, place=place, way=place, routes=speeds
        )
        for number in range(tasks)
    }
    shown = lines(replace(state_of(*BEGUN), running=running), width, height)
    assert 1 <= len(shown) <= max(1, height - 1)
    assert all(cells(line) <= width for line in shown)
    assert all(rich.cells.cell_len(line) <= width for line in shown if line.isascii())
    assert not any(re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", line) for line in shown)
    if tasks > 6 and width > 20 and height > 40:
        assert shown[-1] == f"  and {tasks - 6} more"


@given(place=st.text(st.sampled_from("ab\n\r\x0b\x0c\x85\u2028\t"), max_size=20))
def test_a_line_is_a_line(place: str) -> None:
    """A place with line breaks in its name does not make the picture taller."""
    running = {"x": Running(kind="fetch", dataset="d", place=place, way="direct")}
    for line in lines(replace(state_of(*BEGUN), running=running), 100):
        assert "\n" not in line


def test_nothing_is_left_when_it_is_over() -> None:
    """At the end the picture is empty: what remains is on stdout."""
    end = RunFinished(finished=3, failed=0, samples=5, seconds=1.0)
    assert lines(state_of(*BEGUN, end), 100) == []


@given(done=st.integers(0, 5_000_000))
def test_the_bar_never_overflows(done: int) -> None:
    """More bytes than announced is a full bar and no longer one."""
    tick = Progressed(task="fetch/x-val2017.zip", done_bytes=done)
    first = lines(state_of(*BEGUN[:4], tick), 200)[0]
    assert BAR.match(first)
    share = int(first[25:].split("%")[0])
    assert share == pytest.approx(min(100, done / 20_000), abs=1)
    assert first.count("█") == int(min(1, done / 2_000_000) * 24)


def test_a_pipe_gets_dated_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """Not a terminal: facts with their dates on stderr, nothing on stdout, no escape code."""
    with progress(quiet=False) as show:
        for event in BEGUN:
            show(event)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 2
    assert all(re.match(r"\d{4}-\d\d-\d\dT", line) for line in shown.err.splitlines())
    assert ESCAPE not in shown.err


def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Under -q the sink swallows everything."""
    with progress(quiet=True) as show:
        for event in BEGUN:
            show(event)
    assert capsys.readouterr() == ("", "")


# --- with real terminals --------------------------------------------------------------------------------------------


@pytest.fixture
def slow(desk: Desk) -> Desk:
    """A world where one file takes long enough for a few pictures of the bar."""
    rate = desk.world.sources.coco.valid.stat().st_size / 1.5
    desk.world.origin.mischief("*/val2017.zip", Trickle(rate), times=None)
    return desk


def test_bars_on_a_terminal_and_a_clean_pipe(slow: Desk) -> None:
    """Bars are drawn on the terminal, and the result in the pipe has no escape code and no date."""
    ran = slow.on_terminal("get", "coco_valid", "--yes", whole=False)
    assert ran.code == 0
    assert BAR.search(ran.err)
    assert ESCAPE in ran.err
    assert not re.search(COLOUR, ran.err)
    assert len(set(re.findall(r"(\d+)%", ran.err))) >= 3
    assert "fetch    val2017.zip" in ran.err
    assert re.fullmatch(r"coco_valid: 8 samples.* in g3m-data/coco/coco_valid\n", ran.out)
    assert not re.search(r"\d{4}-\d\d-\d\dT", ran.err)
    assert re.search(r"    127\.0\.0\.1:\d+ \(direct\) +\d+ connections? +\S+ [kM]?B/s +\S+ [kM]?B", ran.err)
    assert ran.err.count("\x1b[?25l") == ran.err.count("\x1b[?25h")  # a hidden cursor comes back


@pytest.mark.parametrize("name", ["dumb", "unknown"])
def test_a_terminal_that_cannot_draw_gets_dated_lines(slow: Desk, name: str) -> None:
    """A terminal without cursor movements, as in editors, gets lines and no escape code."""
    ran = slow.on_terminal("get", "coco_valid", "--yes", TERM=name)
    assert ran.code == 0
    assert ESCAPE not in ran.err
    assert not BAR.search(ran.err)
    assert re.search(r"\d{4}-\d\d-\d\dT\S+ val2017\.zip: from 127\.0\.0\.1", ran.err)


def test_without_colour_the_picture_is_the_same(slow: Desk) -> None:
    """NO_COLOR takes nothing away: the picture has no colours anyway."""
    ran = slow.on_terminal("get", "coco_valid", "--yes", NO_COLOR="1")
    assert ran.code == 0
    assert BAR.search(ran.err)
    assert "connection" in ran.err
    assert not re.search(COLOUR, ran.err)


def test_json_on_a_terminal_draws_no_bars(slow: Desk) -> None:
    """--json prints documents, terminal or not, and no picture between them."""
    ran = slow.on_terminal("get", "coco_valid", "--yes", "--json", whole=False)
    assert ran.code == 0
    assert all(line["schema"] == 1 for line in ran.documents)
    assert not BAR.search(ran.err)


@pytest.mark.parametrize(
    "arguments", [("list",), ("plan", "eval"), ("info", "sbu"), ("status",), ("doctor",), ("verify",)]
)
def test_no_escape_codes_in_pipes(done_desk: Desk, arguments: tuple[str, ...]) -> None:
    """Whatever looks at data prints plain text into a pipe, also where colour is asked for elsewhere."""
    ran = done_desk.run(*arguments, FORCE_COLOR="1", TERM="xterm-256color")
    assert ran.code == 0
    assert ESCAPE not in ran.out + ran.err


def test_trouble_is_told_above_the_bars(desk: Desk) -> None:
    """What a careful user would want to know stays on the screen, as it was written."""
    desk.world.origin.mischief("*/val2017.zip", Status(404), times=None)
    ran = desk.on_terminal("get", "coco_valid", "--yes")
    assert ran.code == 5
    assert "is given up" in ran.err
    assert "G3M-E520" in ran.err


def test_ctrl_c_on_a_terminal(slow: Desk) -> None:
    """Ctrl-C: the bars go, the cursor comes back, the line that continues is shown, exit 130."""
    ran = slow.on_terminal("get", "coco_valid", "--yes", keys=[("127.0.0.1", "\x03")])
    assert ran.code == 130
    assert "press Ctrl-C again" in ran.err
    assert "Continue with:" in ran.err
    assert "g3m get coco_valid --yes" in ran.err
    assert ran.err.count("\x1b[?25l") == ran.err.count("\x1b[?25h")


def test_ctrl_c_while_a_line_is_being_written(desk: Desk) -> None:
    """A signal that comes in the middle of a write to stderr, as it does under load, is no traceback."""
    script = """
        import io, os, signal, sys
        from g3m.ui.options import open_context
        from g3m.ui.watch import watched

        class Raw(io.RawIOBase):
            asked = False

            def writable(self):
                return True

            def write(self, data):
                if not self.asked:
                    self.asked = True
                    signal.raise_signal(signal.SIGINT)
                return os.write(2, data)

        context = open_context({})
        with watched(context):
            sys.stderr = io.TextIOWrapper(io.BufferedWriter(Raw()), write_through=True)
            print("a line", file=sys.stderr, flush=True)
            sys.stderr.flush()
            print(context.session.stop.is_set())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=desk.cwd,
        env=desk.environment({}),
        capture_output=True,
        encoding="utf-8",
        timeout=LIMIT_S,
        check=False,
    )

    assert "Traceback" not in done.stderr
    assert done.stdout == "True\n"
    assert "a line" in done.stderr
    assert "Stopping" in done.stderr


def test_words_are_shown_as_they_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Square brackets and names between colons are text: neither markup nor pictures are made of them."""
    made = io.StringIO()
    console = rich.console.Console
    monkeypatch.setattr(rich.console, "Console", lambda **more: console(file=made, width=100, **_plain(more)))
    monkeypatch.setattr(terminal.sys, "stderr", _Terminal())
    with progress(quiet=False) as show:
        show(RunStarted(datasets=("x",), tasks=1, total_bytes=1))
        show(Noted(task="pack/x/0.tar", text="[red]a[/red] :warning: [link=http://x]b[/link]"))

    assert "[red]a[/red] :warning: [link=http://x]b[/link]" in made.getvalue()


def _plain(more: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in more.items() if name != "stderr"}


class _Terminal:
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        pass
