"""Tells the C library to keep one pool of memory instead of several for each thread.

The bytes of downloads pass from thread to thread; with a pool for each, glibc's memory grows for hours.
Other C libraries have no such pools, and nothing happens there.
"""

from __future__ import annotations

import ctypes

M_ARENA_MAX = -8


def use_one_arena() -> bool:
    """Whether the C library knows what is meant; to be called before threads begin."""
    try:
        return bool(ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1))
    except (OSError, AttributeError):
        return False
