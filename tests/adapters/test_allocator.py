"""adapters/allocator.py: the memory of threads that pass bytes on stays small where glibc would let it grow."""

from __future__ import annotations

import platform

from g3m.adapters.allocator import use_one_arena


def test_glibc_takes_the_advice() -> None:
    """On glibc the call is known, as often as it is made; elsewhere it is False and does no harm."""
    assert use_one_arena() is (platform.libc_ver()[0] == "glibc")
    assert use_one_arena() is (platform.libc_ver()[0] == "glibc")
