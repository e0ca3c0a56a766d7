"""The disk below a root: documents written atomically, publishing by rename, free space, the lease.

Order of every durable write: a temporary file of a unique name, fsync, rename, fsync of the folder.
A folder that only lists `*.tar` therefore sees whole shards or none. Correctness rests on that and
on digests; the lease only saves two runs from doing the same work.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, ClassVar

from g3m.adapters import fsio
from g3m.adapters.plain import read_plain
from g3m.core.errors import Locked, storage_error

HEARTBEAT_S = 15.0
STALE_S = 120.0

_COPY_BYTES = 2**20
_MAKING_S = 86_400.0
"""No temporary file is written for so long without a change; numbers of processes come again."""
_PID_LIMIT = 2**31
_MAKER = re.compile(r"\.([2-9]|[1-9]\d+)(?:[.-][0-9a-f]+)?\.(?:tmp|making)$")


@dataclass(frozen=True, slots=True)
class Free:
    """What the file system still offers; `inodes` is None where it does not count them."""

    size_bytes: int
    inodes: int | None


class Store:
    """The root folder of the datasets and its `.g3m` folder of work in progress."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.work = root / ".g3m"

    def part(self, name: str) -> Path:
        """A file being made; its name never ends in `.tar`."""
        return self.work / "parts" / name

    def receipt(self, group: str, name: str) -> Path:
        """The receipt of a task: group is a dataset, or `assets`."""
        return self.work / "receipts" / group / f"{name}.json"

    def plan(self, name: str) -> Path:
        """Listings, sample lists and other products of planning."""
        return self.work / "plan" / name

    def prepare(self) -> None:
        """Create the folders; NotWritable if that is not allowed."""
        for name in ("parts", "receipts", "plan"):
            make_folder(self.work / name)

    def half_made(self) -> list[Path]:
        """What was begun here and has no final name yet, by whomever; journaled parts are none of it."""
        found = [*self.work.glob("parts/*.making"), *self.work.rglob("*.tmp")]
        # Another part of the run may be taking its lease at this moment.
        return [path for path in found if not path.match("*.lock.*-of-*")]

    def free(self) -> Free:
        """Free bytes and inodes where the root is or will be."""
        place = self.root.absolute()
        while not place.exists():
            place = place.parent
        state = os.statvfs(place)
        inodes = state.f_favail if state.f_files else None
        return Free(shutil.disk_usage(place).free, inodes)

    @contextlib.contextmanager
    def lease(self) -> Iterator[Lease]:
        """Hold the root for one run; Locked names the other run if there is one."""
        for other in self.part_leases():
            other.refuse()
        lease = self.root_lease()
        lease.take()
        try:
            yield lease
        finally:
            lease.release()

    def root_lease(self, words: str = "") -> Lease:
        """The lease of the whole root, not taken yet; `words` say what for."""
        return Lease(self.work / "lock", words)

    def part_lease(self, number: int, count: int) -> Lease:
        """The lease of one part of a run that several processes share, not taken yet."""
        return Lease(self.work / f"lock.{number}-of-{count}")

    def part_leases(self) -> list[Lease]:
        """The leases of parts that somebody holds now."""
        try:
            found = [Lease(path) for path in sorted(self.work.glob("lock.*-of-*"))]
        except OSError as error:
            raise storage_error(error, self.work) from error
        return [lease for lease in found if lease.holder() is not None]


class Lease:
    """A file that says who works here: host, process and a heartbeat, because file locks lie on some
    shared file systems. A holder that is dead or silent for two minutes is replaced, and so is one whose
    heartbeat lies in the future: a clock was wrong, now or then."""

    _given_back: ClassVar[set[str]] = set()
    """Those that this process holds no more, though the file could not be removed."""

    def __init__(self, path: Path, words: str = "") -> None:
        self.path = path
        self._words = words
        self._token = secrets.token_hex(8)
        self._beaten_s = 0.0

    def holder(self) -> dict[str, object] | None:
        """Who holds the lease now, or None; a stale or unreadable lease has no holder."""
        body = self._body()
        try:
            age_s = time.time() - self.path.stat().st_mtime
        except OSError:
            return None
        if abs(age_s) > STALE_S:
            return None
        pid, host, token = body.get("pid"), body.get("host"), body.get("token")
        if type(pid) is not int or not 0 < pid < _PID_LIMIT or not isinstance(host, str):
            return None
        if not isinstance(token, str) or token in self._given_back:
            return None
        return None if host == socket.gethostname() and not _alive(pid) else body

    def take(self) -> None:
        """Take the lease, or raise Locked; of several who try at one moment one gets it."""
        seen = self._content()
        self.refuse()
        if seen is not None and self._content() == seen:
            remove(self.path)  # of somebody who is gone
        self._write()
        clear_left(self.path.parent.glob(f".{self.path.name}.*.tmp"))

    def refuse(self) -> None:
        """Locked if somebody else holds the lease."""
        holder = self.holder()
        if holder is not None and holder.get("token") != self._token:
            raise Locked(
                f"{self.path.parent.parent}: held by process {holder.get('pid')} on {holder.get('host')}"
            )

    def beat(self) -> None:
        """Show that the run is alive; cheap enough to call at every event."""
        if time.monotonic() - self._beaten_s >= HEARTBEAT_S:
            with contextlib.suppress(OSError):
                fsio.touch(self.path)
            self._beaten_s = time.monotonic()

    def release(self) -> None:
        """Give the lease back if it is still ours."""
        if self._body().get("token") == self._token:
            self._given_back.add(self._token)
            with contextlib.suppress(OSError):
                fsio.unlink(self.path)

    def _body(self) -> dict[str, object]:
        try:
            body = json.loads(self._content() or b"")
        except (ValueError, RecursionError):
            return {}
        return body if isinstance(body, dict) else {}

    def _content(self) -> bytes | None:
        try:
            return read_plain(self.path)
        except OSError:
            return None

    def _write(self) -> None:
        body = {"host": socket.gethostname(), "pid": os.getpid(), "token": self._token}
        if self._words:
            body["for"] = self._words
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.{self._token}.tmp")
        make_folder(self.path.parent)
        try:
            with fsio.writing(temporary) as file:
                file.write(json.dumps(body).encode() + b"\n")
            self._put(temporary)
        except OSError as error:
            raise storage_error(error, self.path) from error
        finally:
            remove(temporary)
        self._beaten_s = time.monotonic()

    def _put(self, made: Path) -> None:
        try:
            fsio.link(made, self.path)  # unlike a rename it puts nothing over what is there
        except (FileExistsError, FileNotFoundError):  # somebody was faster, and took ours for what was left
            raise Locked(f"{self.path.parent.parent}: another process begins there at this moment") from None
        except OSError:  # a file system without links
            fsio.rename(made, self.path)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def in_the_making(path: Path) -> Path:
    """A name beside a final one that no other process uses; what is left under it is swept."""
    return path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.making")


def clear_left(paths: Iterable[Path]) -> None:
    """Remove what killed processes left of these files, and nothing that another one makes now."""
    for path in paths:
        if not is_being_made(path):
            remove(path)


def is_being_made(path: Path) -> bool:
    """Whether a temporary file is young, and has the number of another process in its name that runs here."""
    maker = _MAKER.search(path.name)
    if maker is None or int(maker[1]) == os.getpid() or not _alive(int(maker[1])):
        return False
    with contextlib.suppress(OSError):
        return abs(time.time() - path.stat().st_mtime) < _MAKING_S
    return False


def make_folder(path: Path) -> None:
    """Create a folder and its parents, whose names are on the disk when this returns."""
    try:
        new = [folder for folder in (path, *path.parents) if not folder.exists()]
        fsio.make_folder(path)
        for folder in reversed(new):
            with contextlib.suppress(
                PermissionError
            ):  # to make names in a folder one need not be able to list it
                fsio.sync_folder(folder.parent)
    except OSError as error:
        raise storage_error(error, path) from error


def rename(made: Path, final: Path) -> None:
    """Move a file that is finished and synced over its final name, which is on the disk when this returns."""
    fsio.rename(made, final)
    fsio.sync_folder(final.parent)


def write_document(path: Path, content: str | bytes | Iterable[bytes], *, mode: int = 0o666) -> None:
    """Write a file, whole or in pieces, so that all of it is there or nothing, also after a power cut."""
    whole = content.encode("utf-8") if isinstance(content, str) else content
    with replacing(path, mode=mode) as file:
        file.writelines((whole,) if isinstance(whole, bytes) else whole)


@contextlib.contextmanager
def replacing(path: Path, *, mode: int = 0o666) -> Iterator[BinaryIO]:
    """A file to write, which takes its name, synced, when the block ends; if it fails nothing is left."""
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        with fsio.writing(temporary, mode=mode) as file:
            yield file
        rename(temporary, path)
    except OSError as error:
        raise storage_error(error, path) from error
    finally:
        with contextlib.suppress(OSError):
            fsio.unlink(temporary)  # only a failure has left it


def read_document(path: Path) -> str | None:
    """The text of a document, or None if it is not there or not text."""
    try:
        return read_plain(path).decode()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, UnicodeDecodeError):
        return None
    except OSError as error:
        if error.errno == errno.ENXIO:  # a pipe or a device
            return None
        raise storage_error(error, path) from error


def publish(part: Path, final: Path) -> None:
    """Give a finished and synced file its final name."""
    make_folder(final.parent)
    try:
        fsio.rename(part, final)
        # Where both are names of one file already, as after a kill, the system leaves both.
        fsio.discard(part)
        fsio.sync_folder(final.parent)
        if part.parent != final.parent:
            fsio.sync_folder(part.parent)
    except OSError as error:
        raise storage_error(error, final) from error


def link_or_copy(source: Path, target: Path) -> None:
    """A second name for a file of the user's, or a copy where the file system has no hard links; synced."""
    make_folder(target.parent)
    with contextlib.suppress(OSError):
        fsio.unlink(target)
    try:
        try:
            fsio.link(source, target)
        except OSError:
            with open(source, "rb") as file, fsio.writing(target) as copy:
                shutil.copyfileobj(file, copy, _COPY_BYTES)
        else:
            with open(target, "rb") as file:  # the user may have copied the file a moment ago
                fsio.sync(file.fileno())
    except OSError as error:
        raise storage_error(error, target) from error


def remove(path: Path) -> None:
    """Delete a file of ours if it is there."""
    try:
        fsio.discard(path)
    except OSError as error:
        raise storage_error(error, path) from error
