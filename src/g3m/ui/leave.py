"""The end of a command's process: by the exit code that is decided, whatever signal comes on the way out.

Slurm sends its signal when the time is over, also to a run that has just become whole; Python takes a moment
to end, and a job that died of a signal counts as failed.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)

_is_ours = False
"""Whether the process is there for one command."""


def run_and_leave(command: Callable[[], int]) -> NoReturn:
    """Run a command in a process that is there for it alone, and end by its exit code."""
    global _is_ours  # noqa: PLW0603
    _is_ours = True
    code = command()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # Python tries again, and says so
            stream.flush()
    for number in SIGNALS:
        signal.signal(number, lambda *_: os._exit(code))
    atexit.register(_heed_nothing)
    sys.exit(code)


def give_back(before: Mapping[signal.Signals, Any]) -> None:
    """Signals to their handlers before a run that is over; in a command's own process after one more of them.

    What is left to do there is to say how it went.
    """

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def pass_over(_number: int, _frame: FrameType | None) -> None:
        restore()

    if not _is_ours:
        restore()
        return
    for number in before:
        signal.signal(number, pass_over)


def _heed_nothing() -> None:
    """For the last steps, in which Python runs no handler any more."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
