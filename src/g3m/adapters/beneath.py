"""Opening files below one folder without following any link, for whoever shows them to strangers."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path


@contextmanager
def open_beneath(root: Path, parts: tuple[str, ...]) -> Iterator[io.BufferedReader]:
    """A regular file, reached folder by folder from `root`; FileNotFoundError whatever is in the way."""
    with ExitStack() as stack:
        if not parts or any(part in ("", ".", "..") or "/" in part for part in parts):
            raise FileNotFoundError("no plain names")
        try:
            folder = _open(stack, root, os.O_DIRECTORY, None)
            for part in parts[:-1]:
                folder = _open(stack, part, os.O_DIRECTORY | os.O_NOFOLLOW, folder)
            # A pipe must not keep us waiting for its other end.
            found = _open(stack, parts[-1], os.O_NOFOLLOW | os.O_NONBLOCK, folder)
        except (OSError, ValueError) as error:
            raise FileNotFoundError(str(error)) from None
        if not stat.S_ISREG(os.fstat(found).st_mode):
            raise FileNotFoundError("no regular file")
        yield stack.enter_context(open(found, "rb", closefd=False))


def _open(stack: ExitStack, name: str | Path, flags: int, folder: int | None) -> int:
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC | flags, dir_fd=folder)
    stack.callback(os.close, descriptor)
    return descriptor
