"""ui/watch.py: what ends a run before its end, and that it ends soon, in good order, and can go on."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import textwrap
import time
from typing import Any

import pytest
from tests.ui.conftest import LIMIT_S, Desk, wait_for

from g3m.lab.mischief import Silence, Stall, Trickle

SOON_S = 2.0
TIMES = 3
"""How often it is tried whether something happens soon: a machine that stalls does not stall each time."""


def slow(desk: Desk, *, seconds: float = 60.0) -> float:
    """The first file takes a minute."""
    rate = desk.world.sources.coco.valid.stat().st_size / seconds
    desk.world.origin.mischief("*/val2017.zip", Trickle(rate), times=None)
    return rate


def bytes_here(desk: Desk) -> int:
    return sum(path.stat().st_size for path in desk.root.glob(".g3m/parts/*val2017.zip.part"))


# --- the end of its time --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lang", "words"),
    [
        ("en", ("The 1.5s of --max-time are over: stopping", "Nothing is lost. Continue with:")),
        ("zh", ("已到 --max-time 设定的 1.5s：正在停止", "没有丢失数据。继续请运行：")),
    ],
)
def test_a_run_ends_when_its_time_is_up(desk: Desk, lang: str, words: tuple[str, str]) -> None:
    """Exit 10, how to go on, no traceback and no lock; what has come is kept, and the same line continues."""
    slow(desk)
    begin_s = time.monotonic()
    ran = desk.run("get", "coco_valid", "--yes", "--lang", lang, "--max-time", "1.5s")
    assert 1.5 <= time.monotonic() - begin_s < LIMIT_S
    assert (ran.code, ran.out) == (10, "")
    for text in words:
        assert text in ran.err
    assert f"  g3m get coco_valid --yes --lang {lang} --max-time 1.5s\n" in ran.err
    assert "error" not in ran.err
    assert not (desk.root / ".g3m" / "lock").exists()
    kept = bytes_here(desk)
    assert kept
    desk.world.origin.be_honest()
    desk.world.origin.forget_requests()
    assert desk.run("get", "coco_valid", "--yes", "--max-time", "1h").code == 0
    sent = sum(r.sent_bytes for r in desk.world.origin.requests if r.path.endswith("/val2017.zip"))
    assert sent < desk.world.sources.coco.valid.stat().st_size


def test_time_that_suffices_is_not_mentioned(desk: Desk) -> None:
    """A run that is done before exits 0 and does not wait for its time."""
    ran = desk.run("get", "coco_valid", "--yes", "--max-time", "0-01:00:00")
    assert ran.code == 0
    assert "max-time" not in ran.err


def test_time_up_under_json_and_quiet(desk: Desk) -> None:
    """Programs get the error with its code on stdout; -q says nothing; both exit 10."""
    slow(desk)
    ran = desk.run("get", "coco_valid", "--yes", "--json", G3M_MAX_TIME="1s")
    assert ran.code == 10
    error = ran.documents[-1]["error"]
    assert (error["code"], error["exit_code"]) == ("G3M-E131", 10)
    assert "1s" in error["message"]
    ran = desk.run("get", "coco_valid", "--yes", "-q", "--max-time", "1s")
    assert (ran.code, ran.out, ran.err) == (10, "", "")


@pytest.mark.parametrize("command", [("get", "coco_valid", "--yes"), ("verify",)])
@pytest.mark.parametrize(("lang", "hint"), [("en", "write 90m"), ("zh", "请写成 90m")])
def test_a_time_that_is_none(desk: Desk, command: tuple[str, ...], lang: str, hint: str) -> None:
    """What cannot be understood is refused before anything begins, with how to write it."""
    ran = desk.run(*command, "--max-time", "soon", "--lang", lang)
    assert (ran.code, ran.out) == (2, "")
    assert "'soon'" in ran.err
    assert hint in ran.err
    assert not desk.world.origin.requests


@pytest.mark.parametrize(("first", "code"), [("time", 10), ("signal", 130)])
def test_what_came_first_gives_the_code(desk: Desk, first: str, code: int) -> None:
    """A signal after the time is up does not change the code, nor does the time after a signal."""
    script = f"""
        import signal, time
        from g3m.core.errors import Interrupted
        from g3m.ui.options import open_context
        from g3m.ui.watch import watched

        context = open_context({{"max_time": "{"0.05s" if first == "time" else "0.3s"}"}})
        try:
            with watched(context):
                if {first!r} == "time":
                    context.session.stop.wait(5)
                signal.raise_signal(signal.SIGINT)
                assert context.session.stop.is_set()
                time.sleep(0.5)
                raise Interrupted("stopped")
        except Interrupted as error:
            print(type(error).__name__, error.exit_code)
    """
    done = _python(desk, script)
    assert "Traceback" not in done.stderr
    assert done.stdout.split()[1] == str(code)
    assert ("max-time" in done.stderr) is (first == "time")


def test_a_run_that_ended_has_no_timer(desk: Desk) -> None:
    """After the run, nothing of the time's end comes; and a year is no overflow."""
    script = """
        import threading, time
        from g3m.ui.options import open_context
        from g3m.ui.watch import watched

        for limit in ("0.2s", "999999d"):
            context = open_context({"max_time": limit})
            with watched(context):
                assert threading.active_count() == 2
            time.sleep(0.4)
            print(context.session.stop.is_set(), threading.active_count())
    """
    done = _python(desk, script)
    assert (done.stdout, done.stderr) == ("False 1\nFalse 1\n", "")


# --- Ctrl-C ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mischief", [Trickle(5.0), Stall(100, 60.0), Silence(60.0)], ids=lambda m: type(m).__name__
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_comes_soon_also_from_a_slow_host(desk: Desk, mischief: Any, number: signal.Signals) -> None:
    """Five bytes a second, none any more, or no answer at all: the command ends within two seconds all the same."""
    desk.world.origin.mischief("*/val2017.zip", mischief, times=None)
    for _ in range(TIMES):
        desk.world.origin.forget_requests()
        with desk.start("get", "coco_valid", "--yes") as process:
            wait_for(
                lambda: [r for r in desk.world.origin.requests if r.path.endswith("/val2017.zip")],
                "a request",
            )
            begin_s = time.monotonic()
            process.send_signal(number)
            out, err = process.communicate(timeout=LIMIT_S)
            took_s = time.monotonic() - begin_s
        assert (process.returncode, out) == (128 + number, "")
        assert "Continue with:\n  g3m get coco_valid --yes\n" in err
        assert "Traceback" not in err
        assert not (desk.root / ".g3m" / "lock").exists()
        if took_s < SOON_S:
            return
    pytest.fail(f"it took {took_s:.1f} s")


def test_the_request_to_stop_stands_below_the_picture(desk: Desk) -> None:
    """On a terminal the next pictures say that the run is stopping, until it has; then the cursor is back."""
    slow(desk)
    for seconds in (1, 3, 6):  # a busy machine may need some until there is a picture
        ran = desk.on_terminal("get", "coco_valid", "--yes", "--max-time", f"{seconds}s")
        assert ran.code == 10
        below = rf"connections?[^\n]*\r?\n[^\n]*The {seconds}s of --max-time are over"
        if re.search(below, ran.err):
            break
    else:
        pytest.fail("no picture with the request below it")
    assert ran.err.count("\x1b[?25l") == ran.err.count("\x1b[?25h") == 1
    assert "Continue with:" in ran.err


def test_two_signals_leave_a_cursor(desk: Desk) -> None:
    """Who does not wait gets the cursor back, too."""
    script = f"""
        import time
        import g3m.runners.run
        def deaf(names, session, sinks):
            from g3m.core.events import RunStarted
            for sink in sinks:
                sink(RunStarted(datasets=("deaf",), tasks=1, total_bytes=1))
            end = time.monotonic() + {LIMIT_S}
            while time.monotonic() < end:
                time.sleep(0.05)
        g3m.runners.run.get_in = deaf
        import sys
        sys.argv = ["g3m", "get", "coco_valid", "--yes"]
        from g3m.ui.cli import main
        main()
    """
    path = desk.cwd / "deaf.py"
    path.write_text(textwrap.dedent(script), encoding="utf-8")
    desk.arguments = lambda *arguments: [sys.executable, str(path)]  # type: ignore[method-assign]
    ran = desk.on_terminal(keys=[("0/1 tasks", "\x03"), ("Stopping", "\x03")])
    assert ran.code == 130
    assert ran.err.count("\x1b[?25l") == ran.err.count("\x1b[?25h") == 1


def _python(desk: Desk, script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        cwd=desk.cwd,
        env=desk.environment({}),
        capture_output=True,
        encoding="utf-8",
        timeout=LIMIT_S,
        check=True,
    )
