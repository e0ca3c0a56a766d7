"""The three streams of a process, where whoever started it has closed them or they cannot be written."""

from __future__ import annotations

import errno
import os
import sys

_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


def keep_streams() -> None:
    """Lead what is closed nowhere; else the next file that is opened gets its number, and our words."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it gets the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8", closefd=False))


def gave_up(error: OSError) -> bool:
    """Whether an error is of stdout, which then leads nowhere: Python would try it again at the end."""
    if error.filename is not None or error.errno not in _UNWRITABLE:
        return False
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return True
