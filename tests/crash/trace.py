"""What a program did to the disk below a folder, read from what strace recorded of its system calls.

The record is complete: every byte written, every name made, moved or removed, every fsync. Nothing of
g3m's own is used, so that g3m is judged from outside.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

CALLS = (
    "open,openat,creat,close,dup,dup2,dup3,fcntl,lseek,write,pwrite64,writev,pwritev,pwritev2,copy_file_range,sendfile,"
    "fsync,fdatasync,ftruncate,truncate,fallocate,rename,renameat,renameat2,link,linkat,unlink,unlinkat,"
    "mkdir,mkdirat,rmdir,clone,clone3,fork,vfork,execve,mmap,chdir,symlink,symlinkat,splice,sync_file_range"
)
WHOLE = ("-xx", "-s", "100000000", "-e", "signal=none", "-e", f"trace={CALLS}")
"""How strace is asked for a record without gaps."""

_UNKNOWN = {"splice", "symlink", "symlinkat", "chdir"}
"""What g3m never does below its root, and is therefore not modelled: a trace that has it is refused."""

_WRITES = ("write", "pwrite64", "writev", "pwritev", "pwritev2", "copy_file_range", "sendfile")

_LINE = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+|0x[0-9a-f]+|\?)[^()]*(?:\(.*\))?$", re.DOTALL)
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


@dataclass(frozen=True)
class Write:
    """Bytes at a place of a file."""

    file: int
    offset: int
    data: bytes


@dataclass(frozen=True)
class Resize:
    """A file cut or lengthened to a size; with `only_longer` never cut."""

    file: int
    size: int
    only_longer: bool = False


@dataclass(frozen=True)
class Zeros:
    """A hole punched into a file."""

    file: int
    offset: int
    size: int


@dataclass(frozen=True)
class Named:
    """A file got a name: it was created, or linked."""

    path: str
    file: int


@dataclass(frozen=True)
class NewFolder:
    """A folder was made."""

    path: str


@dataclass(frozen=True)
class Removed:
    """A name or an empty folder was removed."""

    path: str


@dataclass(frozen=True)
class Renamed:
    """A name or a folder was moved over whatever had the new name."""

    path: str
    """The new name."""
    old: str


@dataclass(frozen=True)
class Synced:
    """fsync or fdatasync of a file came back without an error."""

    file: int


@dataclass(frozen=True)
class SyncedFolder:
    """fsync of a folder came back without an error."""

    path: str


@dataclass(frozen=True)
class Lost:
    """fsync of a file failed: what was not synced before is gone, and a later fsync that succeeds does not bring it."""

    file: int


Change: TypeAlias = (
    Write | Resize | Zeros | Named | NewFolder | Removed | Renamed | Synced | SyncedFolder | Lost
)  # fmt: skip


@dataclass
class _Open:
    """An open file description, which duplicated descriptors share."""

    file: int | None
    path: str
    position: int = 0
    append: bool = False


@dataclass
class Trace:
    """The changes below `root` in their order, and the files that lay there before, by number and path."""

    root: str
    changes: list[Change] = field(default_factory=list)
    before: dict[str, int] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    files: int = 0


def record(command: Sequence[str], root: Path, log: Path, given: str, variables: Mapping[str, str]) -> Trace:
    """Run a command with `given` on its stdin under strace; what it did below `root`. It has to succeed."""
    trace = begun(root)
    # Without --seccomp-bpf, and with all strings whole and in hexadecimal.
    strace = ["strace", "-f", "-qq", *WHOLE]
    done = subprocess.run(
        [*strace, "-o", str(log), *command],
        input=given,
        env=dict(variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return read(trace, log)


def begun(root: Path) -> Trace:
    """A trace that knows what lies below the root now."""
    trace = Trace(os.fspath(root))
    for path in sorted(root.rglob("*")):
        if path.is_file():
            trace.files += 1
            trace.before[str(path)] = trace.names[str(path)] = trace.files
            trace.sizes[trace.files] = path.stat().st_size
    return trace


def read(trace: Trace, log: Path) -> Trace:
    """Add what stands in a log of strace, made with the options WHOLE."""
    _Reader(trace).read(log)
    return trace


class _Reader:
    """Follows descriptors of all processes, so that each write is of a file and each file has a number."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._tables: dict[int, dict[int, _Open]] = {}
        self._parents: dict[int, tuple[int, bool]] = {}

    def read(self, log: Path) -> None:
        calls = list(_calls(log))
        for thread, name, arguments, result in calls:
            if name in ("clone", "clone3", "fork", "vfork") and result > 0:
                self._parents[result] = (thread, "CLONE_FILES" in arguments)
        for thread, name, arguments, result in calls:
            if name == "execve":
                self._tables[thread] = {}  # Python opens all its files with O_CLOEXEC
            elif result >= 0:
                self._see(self._table(thread), name, arguments, result)
            elif name in ("fsync", "fdatasync"):
                self._lose(self._table(thread).get(int(arguments)))

    def _table(self, thread: int) -> dict[int, _Open]:
        table = self._tables.get(thread)
        if table is None:
            parent, shared = self._parents.get(thread, (0, False))
            inherited = self._table(parent) if parent else {}
            table = self._tables[thread] = inherited if shared else dict(inherited)
        return table

    def _see(self, table: dict[int, _Open], name: str, text: str, result: int) -> None:
        if name in ("open", "openat", "creat"):
            self._open(table, name, text, result)
        elif name in ("close", "dup", "dup2", "dup3", "fcntl", "lseek"):
            _follow(table, name, text, result)
        elif name in _WRITES:
            self._write(table, name, text, result)
        elif name in ("fsync", "fdatasync", "ftruncate", "fallocate", "sync_file_range", "mmap"):
            self._of_descriptor(table, name, text)
        elif name in _UNKNOWN:
            there = table.get(int(text.split(",")[0])) if text[:1].isdigit() else None
            known = self._trace.root in "".join(_texts(text)) or (
                there is not None and there.file is not None
            )
            assert not known, f"{name}({text[:200]}) is not modelled"
        elif name not in ("clone", "clone3", "fork", "vfork"):
            self._of_names(table, name, text)

    def _open(self, table: dict[int, _Open], name: str, text: str, result: int) -> None:
        path = _paths(table, text if name == "openat" else f"AT_FDCWD, {text}")[0]
        if "O_TMPFILE" in text:
            self._trace.files += 1
            table[result] = _Open(self._trace.files, path)
            self._trace.sizes[self._trace.files] = 0
            return
        if not self._is_below(path):
            table[result] = _Open(None, path)
            return
        file = self._trace.names.get(path)
        if file is None and ("O_CREAT" in text or name == "creat"):
            self._trace.files += 1
            file = self._trace.names[path] = self._trace.files
            self._trace.sizes[file] = 0
            self._trace.changes.append(Named(path, file))
        elif file is not None and ("O_TRUNC" in text or name == "creat"):
            self._resize(file, 0)
        table[result] = _Open(file, path, append="O_APPEND" in text)

    def _write(self, table: dict[int, _Open], name: str, text: str, result: int) -> None:
        numbers = [part.strip() for part in text.split(",")]
        source = b""
        if name == "copy_file_range":
            target, given = table.get(int(numbers[2])), table.get(int(numbers[0]))
        elif name == "sendfile":
            target, given = table.get(int(numbers[0])), table.get(int(numbers[1]))
        else:
            target, given = table.get(int(numbers[0])), None
            source = b"".join(bytes.fromhex(one.replace("\\x", "")) for one in _TEXT.findall(text))
        if given is not None:
            start = given.position
            given.position += result
            if target is not None and target.file is not None:
                assert "NULL" in text, f"{name}({text}) is not modelled"
                source = self._bytes_of(given, start, result)
        if target is None or target.file is None:
            return
        size = self._trace.sizes[target.file]
        offset = size if target.append else target.position
        if name in ("pwrite64", "pwritev", "pwritev2"):
            offset = int(numbers[-2 if name == "pwritev2" else -1])
        else:
            target.position = offset + result
        self._trace.changes.append(Write(target.file, offset, source[:result]))
        self._trace.sizes[target.file] = max(size, offset + result)

    def _bytes_of(self, given: _Open, start: int, size: int) -> bytes:
        if given.file is None:
            with open(given.path, "rb") as file:
                return os.pread(file.fileno(), size, start)
        data = bytearray()
        for change in self._trace.changes:
            if isinstance(change, Write) and change.file == given.file:
                data.extend(bytes(max(0, change.offset + len(change.data) - len(data))))
                data[change.offset : change.offset + len(change.data)] = change.data
        return bytes(data[start : start + size])

    def _of_descriptor(self, table: dict[int, _Open], name: str, text: str) -> None:
        numbers = [part.strip() for part in text.split(",")]
        if name == "mmap":
            there = table.get(int(numbers[4])) if "MAP_SHARED" in text and "PROT_WRITE" in text else None
            assert there is None or there.file is None, f"mmap({text}) is not modelled"
            return
        there = table.get(int(numbers[0]))
        if there is None or (there.file is None and not self._is_below(there.path)):
            return
        if there.file is None:
            if name in ("fsync", "fdatasync"):
                self._trace.changes.append(SyncedFolder(there.path))
        elif name in ("fsync", "fdatasync"):
            self._trace.changes.append(Synced(there.file))
        elif name == "ftruncate":
            self._resize(there.file, int(numbers[1]))
        elif name == "fallocate" and "PUNCH_HOLE" in text:
            self._trace.changes.append(Zeros(there.file, int(numbers[2]), int(numbers[3])))
        elif name == "fallocate" and "KEEP_SIZE" not in text:
            end = int(numbers[2]) + int(numbers[3])
            self._trace.changes.append(Resize(there.file, end, only_longer=True))
            self._trace.sizes[there.file] = max(end, self._trace.sizes[there.file])

    def _lose(self, there: _Open | None) -> None:
        if there is not None and there.file is not None:
            self._trace.changes.append(Lost(there.file))

    def _resize(self, file: int, size: int) -> None:
        self._trace.changes.append(Resize(file, size))
        self._trace.sizes[file] = size

    def _of_names(self, table: dict[int, _Open], name: str, text: str) -> None:
        at = name.endswith(("at", "at2"))
        if not at:
            text = ", AT_FDCWD, ".join(["", *text.split(", ")]) if "\\x" in text else text
        paths = _paths(table, text)
        inside = [self._is_below(path) for path in paths]
        if name == "truncate":
            if inside[0]:
                self._resize(self._trace.names[paths[0]], int(text.rsplit(",", 1)[1]))
        elif name in ("mkdir", "mkdirat") and inside[0]:
            self._trace.changes.append(NewFolder(paths[0]))
        elif name in ("unlink", "unlinkat", "rmdir") and inside[0]:
            self._trace.names.pop(paths[0], None)
            self._trace.changes.append(Removed(paths[0]))
        elif name in ("link", "linkat") and inside[1]:
            self._link(table, paths[0], paths[1])
        elif name in ("rename", "renameat", "renameat2") and any(inside):
            assert all(inside), f"{name}({paths}) crosses the border"
            self._rename(*paths)

    def _link(self, table: dict[int, _Open], old: str, new: str) -> None:
        opened = re.fullmatch(r"/proc/(?:self|\d+)/fd/(\d+)", old)
        file = table[int(opened.group(1))].file if opened else self._trace.names.get(old)
        if file is None:  # a file from outside, which is whole
            self._trace.files += 1
            file = self._trace.files
            data = Path(old).read_bytes()
            self._trace.changes += [Write(file, 0, data), Synced(file)]
            self._trace.sizes[file] = len(data)
        self._trace.names[new] = file
        self._trace.changes.append(Named(new, file))

    def _rename(self, old: str, new: str) -> None:
        for path in [path for path in self._trace.names if path == old or path.startswith(f"{old}/")]:
            self._trace.names[new + path[len(old) :]] = self._trace.names.pop(path)
        for table in self._tables.values():
            for there in table.values():
                if there.path == old or there.path.startswith(f"{old}/"):
                    there.path = new + there.path[len(old) :]
        self._trace.changes.append(Renamed(new, old))

    def _is_below(self, path: str) -> bool:
        return path == self._trace.root or path.startswith(f"{self._trace.root}/")


def _calls(log: Path) -> Iterator[tuple[int, str, str, int]]:
    """Thread, name, arguments and result of each call that came back, in the order in which they did."""
    begun: dict[str, str] = {}
    with open(log, encoding="ascii") as lines:
        for one in lines:
            line = one.rstrip("\n")
            thread = line.split(" ", 1)[0]
            if line.endswith("<unfinished ...>"):
                begun[thread] = line[: -len("<unfinished ...>")].rstrip()
                continue
            if resumed := re.match(r"\d+ +<\.\.\. \w+ resumed>", line):
                line = begun.pop(thread) + line[resumed.end() :]
            found = _LINE.match(line)
            if found is None:
                assert "= ?" in line or "+++" in line or "---" in line, line[:300]
            elif found.group(4) != "?":
                yield int(found.group(1)), found.group(2), found.group(3), int(found.group(4), 0)


def _texts(text: str) -> list[str]:
    return [
        bytes.fromhex(one.replace("\\x", "")).decode("utf-8", "surrogateescape")
        for one in _TEXT.findall(text)
    ]


def _paths(table: Mapping[int, _Open], text: str) -> list[str]:
    """The absolute paths of a call that names folders by descriptors."""
    found = []
    for folder, path in re.findall(r'(AT_FDCWD|\d+), ("(?:\\x[0-9a-f]{2})*")', text):
        (name,) = _texts(path)
        there = os.getcwd() if folder == "AT_FDCWD" else table[int(folder)].path
        found.append(os.path.normpath(os.path.join(there, name)))
    return found


def _follow(table: dict[int, _Open], name: str, text: str, result: int) -> None:
    numbers = [part.strip() for part in text.split(",")]
    descriptor = int(numbers[0])
    there = table.get(descriptor)
    if name == "close":
        table.pop(descriptor, None)
    elif name == "lseek":
        if there is not None:
            there.position = result
    elif name != "fcntl" or "F_DUPFD" in text:
        table.pop(result, None)
        if there is not None:
            table[result] = there
