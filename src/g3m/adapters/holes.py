"""Giving bytes in the middle of a file back to the disk: the file keeps its size, and reads zeros there.

ext4, xfs, btrfs, tmpfs, Lustre from 2.14 on and NFS from 4.2 on can do it; elsewhere `punch` says no.
"""

from __future__ import annotations

import ctypes
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

_KEEP_SIZE, _PUNCH_HOLE = 0x01, 0x02
_TRIAL_BYTES = 2**18


def punch(file: int, start: int, end: int) -> bool:
    """Free the whole blocks between two offsets of an open file; False if the file system cannot."""
    if end <= start:
        return True
    fallocate = _fallocate()
    return fallocate is not None and fallocate(file, _KEEP_SIZE | _PUNCH_HOLE, start, end - start) == 0


@cache
def _fallocate() -> Callable[[int, int, int, int], int] | None:
    """The system's call, if its C library has it."""
    try:
        found: Callable[[int, int, int, int], int] = ctypes.CDLL(None, use_errno=True).fallocate
    except (OSError, AttributeError):
        return None
    found.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)  # type: ignore[attr-defined]
    return found


def can_punch(folder: Path) -> bool:
    """Whether files in this folder can have holes punched into them: tried on a small file of our own."""
    try:
        file, name = tempfile.mkstemp(prefix="holes.", suffix=".tmp", dir=folder)
    except OSError:
        return False
    try:
        os.write(file, b"\1" * _TRIAL_BYTES)
        os.fsync(file)
        before = os.fstat(file).st_blocks
        return punch(file, 0, _TRIAL_BYTES) and os.fstat(file).st_blocks < before
    except OSError:
        return False
    finally:
        os.close(file)
        with suppress(OSError):
            os.unlink(name)
