"""The end of a command's process: nothing that comes late changes its exit code."""

from __future__ import annotations

import subprocess
import sys

import pytest

from g3m.ui.leave import SIGNALS

BEGIN = """
import atexit, os, signal, sys, threading, time
from g3m.ui.leave import leave

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
    script = BEGIN.replace("NUMBER", str(int(number))) + WHEN[when] + "\nleave(7)\n"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (7, "what it found\n", "")
