"""g3m as the command runs it, on a machine that lacks something or lies: `python driver.py CONDITIONS ARGUMENTS...`.

Conditions are names of `CONDITIONS`, with commas between. Shards are small and journals are written often, so
that little data has many moments.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import resource
import runpy
import sqlite3
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn

SHARD_SAMPLES = 6
FLUSH_BYTES = 32 * 1024
TEN_YEARS_S = 10 * 365.25 * 86400
JUMP_S = 0.4


def _refused(code: int) -> Callable[..., NoReturn]:
    def refuse(*arguments: Any, **_: Any) -> NoReturn:
        raise OSError(code, os.strerror(code), str(arguments[0]) if arguments else None)

    return refuse


def small() -> None:
    """Small shards, and a journal from the first bytes on."""
    import g3m.adapters.parts
    import g3m.core.samples

    g3m.core.samples.SHARD_SAMPLES = SHARD_SAMPLES
    g3m.adapters.parts.LEAST_FLUSH_BYTES = g3m.adapters.parts.MOST_FLUSH_BYTES = FLUSH_BYTES
    g3m.adapters.parts.LEAST_FLUSH_S = 0.0


def no_lease() -> None:
    """Everybody who asks for a lease believes that he has it, and that nobody else does."""
    from g3m.adapters.disk import Lease

    for name in ("take", "refuse", "beat", "release"):
        setattr(Lease, name, lambda lease: None)
    Lease.holder = lambda lease: None  # type: ignore[method-assign]


def no_locks() -> None:
    """SQLite is granted every lock that it asks for."""
    connect = sqlite3.connect

    def lying(address: str, *rest: Any, **more: Any) -> sqlite3.Connection:
        return connect(f"{address}&nolock=1" if "?" in address else address, *rest, **more)

    sqlite3.connect = lying  # type: ignore[assignment]


def no_links() -> None:
    """A file system without hard links."""
    os.link = _refused(errno.EPERM)


def no_holes() -> None:
    """A file system that neither reserves room nor punches holes, nor copies within the kernel."""

    class Lacking(ctypes.CDLL):
        def __getattr__(self, name: str) -> Any:
            if name in ("fallocate", "sync_file_range", "copy_file_range"):
                raise AttributeError(name)
            return super().__getattr__(name)

    ctypes.CDLL = Lacking  # type: ignore[misc]
    for name in ("posix_fallocate", "copy_file_range", "sendfile"):
        if hasattr(os, name):
            setattr(os, name, _refused(errno.EOPNOTSUPP))


def no_maps() -> None:
    """A file system whose files cannot be mapped."""

    class Unmapped(mmap.mmap):
        def __new__(cls, *arguments: Any, **more: Any) -> Any:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))

    mmap.mmap = Unmapped  # type: ignore[misc]


def _limited(kind: int, limit: int) -> Callable[[], None]:
    def limit_it() -> None:
        resource.setrlimit(kind, (limit, limit))

    return limit_it


def _clock(shift: Callable[[], float]) -> None:
    now, now_ns = time.time, time.time_ns
    time.time = lambda: now() + shift()
    time.time_ns = lambda: now_ns() + int(shift() * 1e9)


def in_ten_years() -> None:
    """A clock ten years ahead of that of the disk."""
    _clock(lambda: TEN_YEARS_S)


def ten_years_ago() -> None:
    """A clock ten years behind that of the disk."""
    _clock(lambda: -TEN_YEARS_S)


def jumping() -> None:
    """A clock that is right, ten years ahead and ten years behind by turns."""
    started_s = time.monotonic()
    _clock(lambda: TEN_YEARS_S * ((int((time.monotonic() - started_s) / JUMP_S) + 1) % 3 - 1))


CONDITIONS: dict[str, Callable[[], None]] = {
    name.__name__: name
    for name in (
        no_lease,
        no_locks,
        no_links,
        no_holes,
        no_maps,
        in_ten_years,
        ten_years_ago,
        jumping,
    )
} | {
    "descriptors_32": _limited(resource.RLIMIT_NOFILE, 32),
    "descriptors_64": _limited(resource.RLIMIT_NOFILE, 64),
    "files_of_40_kb": _limited(resource.RLIMIT_FSIZE, 40_000),
    "files_of_200_kb": _limited(resource.RLIMIT_FSIZE, 200_000),
}


def main() -> None:
    """Prepare the machine, then be g3m."""
    conditions, arguments = sys.argv[1], sys.argv[2:]
    small()
    for name in filter(None, conditions.split(",")):
        CONDITIONS[name]()
    sys.argv = ["g3m", *arguments]
    runpy.run_module("g3m", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
