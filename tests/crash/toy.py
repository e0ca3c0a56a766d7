"""A small writer of shards with a journal, right or with one bug planted: `python -m tests.crash.toy FOLDER BUG`.

A tool that looks for lost data is only to be believed after it has found what was hidden for it.
"""

from __future__ import annotations

import json
import os
import sys
import zlib
from contextlib import suppress
from pathlib import Path

SHARDS = 5
BUGS = ("", "no fsync of data", "no fsync of the folder", "final name at once", "journal first")
"""What replays of power cuts find; "goes on after an error" and "believes a second fsync" need a call that fails."""


def content(number: int) -> bytes:
    """The bytes of a shard."""
    return (f"shard {number} " * 400).encode()


def run(folder: Path, bug: str = "", shards: int = SHARDS) -> None:
    """Write what the journal does not know yet, of so many shards."""
    folder.mkdir(exist_ok=True)
    done = known(folder)
    with open(folder / "journal", "ab", buffering=0) as journal:
        for number in range(shards):
            if number in done:
                continue
            if bug == "journal first":
                _note(journal.fileno(), number)
            _write(folder, number, bug)
            if bug != "journal first":
                _note(journal.fileno(), number)


def _write(folder: Path, number: int, bug: str) -> None:
    final = folder / f"{number}.shard"
    making = final if bug == "final name at once" else folder / f"{number}.making"
    with open(making, "wb", buffering=0) as file:
        for start in range(0, len(content(number)), 2000):
            with suppress(OSError if bug == "goes on after an error" else ()):
                file.write(content(number)[start : start + 2000])
        if bug != "no fsync of data":
            try:
                os.fsync(file.fileno())
            except OSError:
                if bug != "believes a second fsync":
                    raise
                os.fsync(file.fileno())
    if making != final:
        os.rename(making, final)
    if bug != "no fsync of the folder":
        _sync(folder)


def _note(journal: int, number: int) -> None:
    body = json.dumps({"shard": number})
    os.write(journal, f"{zlib.crc32(body.encode()):08x} {body}\n".encode())
    os.fsync(journal)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(descriptor)
    os.close(descriptor)


def known(folder: Path) -> set[int]:
    """The shards that the journal says are there; a line that was torn ends it, and is cut away."""
    journal = folder / "journal"
    found: set[int] = set()
    if not journal.exists():
        return found
    good = 0
    for line in journal.read_bytes().splitlines(keepends=True):
        text = line.decode(errors="replace")
        check, _, body = text.partition(" ")
        if not text.endswith("\n") or check != f"{zlib.crc32(body.strip().encode()):08x}":
            break
        found.add(json.loads(body)["shard"])
        good += len(line)
    os.truncate(journal, good)
    return found


def is_broken(folder: Path) -> bool:
    """Whether something is wrong after a new run: a shard lacks or has other bytes; or before it: a shard is half."""
    return any(
        not (path := folder / f"{number}.shard").exists() or path.read_bytes() != content(number)
        for number in range(SHARDS)
    )


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2])
