"""Listing a folder as if it were an archive: every file below it is a member.

Here: which files there are and which links may be followed. Reading them is for
adapters/members.py.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from g3m.core.errors import StorageError
from g3m.core.members import MEMBER_LIMIT_BYTES, Member, Refusal, refuse_name


def list_folder(path: Path) -> Iterator[Member | Refusal]:
    """List the files below a folder, sorted by name, refused ones with the reason.

    Names are relative to the folder. Hidden files and folders are left out silently. A link to a
    file within the folder stands for that file; a link to a folder is refused, so a loop of links
    cannot trap the walk. Raises StorageError if a folder cannot be read.
    """
    root = os.path.realpath(path)
    # A stack instead of recursion: how deep folders nest is for a stranger to choose.
    stack = _entries(path, "")
    while stack:
        name, entry = stack.pop()
        if entry.is_dir(follow_symlinks=False):
            stack.extend(_entries(Path(entry.path), name + "/"))
        else:
            yield _member(root, name, entry)


def _entries(folder: Path, prefix: str) -> list[tuple[str, os.DirEntry[str]]]:
    """What is in one folder, last name first, as a stack wants it."""
    try:
        with os.scandir(folder) as found:
            entries = [entry for entry in found if not entry.name.startswith(".")]
            # With its slash, a folder falls where its files belong among all names: "a-1" < "a/1".
            entries.sort(
                key=lambda entry: entry.name + "/" * entry.is_dir(follow_symlinks=False),
                reverse=True,
            )
    except OSError as error:
        raise StorageError(f"{folder}: cannot be read: {error.strerror or error}") from error
    return [(prefix + entry.name, entry) for entry in entries]


def _member(root: str, raw_name: str, entry: os.DirEntry[str]) -> Member | Refusal:
    # What is no UTF-8 becomes \xNN: fit to be shown, and refused for its backslash.
    name = os.fsencode(raw_name).decode("utf-8", "backslashreplace")
    unsafe = refuse_name(name)
    if unsafe:
        return Refusal(name, unsafe)
    try:
        if entry.is_symlink():
            target = os.path.realpath(entry.path)
            if os.path.commonpath((root, target)) != root:
                return Refusal(name, "link_outside", f"to {target}")
        state = entry.stat()
    except OSError as error:  # a link to nowhere, a loop of links, a file removed meanwhile
        return Refusal(name, "not_a_file", error.strerror or str(error))
    if not stat.S_ISREG(state.st_mode):
        return Refusal(name, "not_a_file", stat.filemode(state.st_mode))
    if state.st_size > MEMBER_LIMIT_BYTES:
        return Refusal(name, "too_large", f"{state.st_size} bytes")
    return Member(name, "file", 0, state.st_size, state.st_size)
