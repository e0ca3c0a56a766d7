"""The end of a command's process: by the exit code that is decided, whatever signal comes on the way out.

Slurm sends its signal when the time is over, also to a run that has just become whole; Python takes a moment
to end, and a job that died of a signal counts as failed.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from contextlib import suppress
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


def leave(code: int) -> NoReturn:
    """End the process; a signal ends it sooner, and by the same code."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # Python tries again, and says so
            stream.flush()
    for number in SIGNALS:
        signal.signal(number, lambda *_: os._exit(code))
    atexit.register(_heed_nothing)
    sys.exit(code)


def _heed_nothing() -> None:
    """For the last steps, in which Python runs no handler any more."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
