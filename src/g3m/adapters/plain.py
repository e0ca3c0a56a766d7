"""Reading a file at once, whatever stands in its place.

Like curl.py it is for other adapters to use, and for who reads documents. A pipe that nobody writes to would
make its reader wait for ever, and a device may never end: neither is a document of ours or of a person's.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

GIVEN = ("/dev/stdin", "/dev/fd/", "/proc/self/fd/")
"""Names by which a shell hands over a pipe, which the user then means."""


def open_plain(path: Path) -> BinaryIO:
    """A file, opened to be read; OSError also for a folder, a pipe or a device."""
    return open(path, "rb", opener=None if str(path).startswith(GIVEN) else _plain)


def _plain(name: str, flags: int) -> int:
    descriptor = os.open(name, flags | os.O_NONBLOCK)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # a folder Python itself refuses
        os.close(descriptor)
        raise OSError(errno.ENXIO, "it is no file", name)
    return descriptor


def read_plain(path: Path) -> bytes:
    """All bytes of such a file."""
    with open_plain(path) as file:
        return file.read()
