"""The end of a command's process: nothing that comes late changes its exit code."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from g3m.ui.leave import SIGNALS

BEGIN = """
import atexit, os, signal, sys, threading, time
from g3m.ui.leave import give_back, run_and_leave

def decided():
    while signal.getsignal(NUMBER) is before:
        time.sleep(0.01)
    late()

def late():
    os.kill(os.getpid(), NUMBER)
    time.sleep(0.2)

before = signal.getsignal(NUMBER)
print("what it found")
"""
WHEN = {
    "while threads end": "threading.Thread(target=decided).start()",
    "in the last steps": "atexit.register(late)",
}


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("number", SIGNALS)
def test_a_late_signal_changes_nothing(number: int, when: str) -> None:
    """Slurm's signal, or Ctrl-C, to a process that is about to end: the same code, and all of its output."""
    assert _ended(BEGIN + WHEN[when] + "\nrun_and_leave(lambda: 7)\n", number) == (7, "what it found\n", "")


AFTER_A_RUN = """
def command():
    give_back({signal.Signals(NUMBER): signal.signal(NUMBER, lambda *_: None)})
    for _ in range(COUNT):
        os.kill(os.getpid(), NUMBER)
    print("how it went")
    return 7

run_and_leave(command)
"""


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_after_a_run_does_not_hide_how_it_went(number: int) -> None:
    """Between the end of a run and of its process the first one is passed over; the second acts as ever."""
    script = BEGIN + AFTER_A_RUN
    assert _ended(script.replace("COUNT", "1"), number) == (7, "what it found\nhow it went\n", "")
    code, out, _ = _ended(script.replace("COUNT", "2"), number)
    assert code in (-number, 1)  # of SIGINT Python makes KeyboardInterrupt
    assert "how it went" not in out


def test_a_process_of_somebody_else_keeps_its_handlers() -> None:
    """Where g3m is a library a signal after a run is its caller's at once."""
    script = "give_back({signal.Signals(NUMBER): signal.SIG_DFL})\nlate()\nprint('still here')\n"
    assert _ended(BEGIN + script, signal.SIGTERM)[0] == -signal.SIGTERM


def _ended(script: str, number: int) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", script.replace("NUMBER", str(int(number)))],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr
