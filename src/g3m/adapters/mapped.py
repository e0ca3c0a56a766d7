"""A file as if it were in memory, also where the file system cannot map one.

Only for what is used by its offsets, such as an index; what is read once is read.
"""

from __future__ import annotations

import errno
import mmap
from pathlib import Path

from g3m.adapters.plain import open_plain

_CANNOT = (errno.ENODEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


def mapped(path: Path) -> memoryview:
    """The content of a file; OSError if it cannot be read, ValueError if nothing is in it."""
    with open_plain(path) as file:
        try:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except OSError as error:
            if error.errno not in _CANNOT:
                raise
            return memoryview(file.read())
