"""The disk below a root: documents written atomically, publishing by rename, free space, the lease.

Order of every durable write: a temporary file of a unique name, fsync, rename, fsync of the folder.
A folder that only lists `*.tar` therefore sees whole shards or none. Correctness rests on that and
on digests; the lease only saves two runs from doing the same work.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from g3m.core.errors import Locked, storage_error

HEARTBEAT_S = 15.0
STALE_S = 120.0


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
    shared file systems. A holder that is dead or silent for two minutes is replaced."""

    def __init__(self, path: Path, words: str = "") -> None:
        self.path = path
        self._words = words
        self._token = secrets.token_hex(8)
        self._beaten_s = 0.0

    def holder(self) -> dict[str, object] | None:
        """Who holds the lease now, or None; a stale or unreadable lease has no holder."""
        try:
            body = json.loads(self.path.read_text(encoding="utf-8"))
            age_s = time.time() - self.path.stat().st_mtime
        except (OSError, ValueError):
            return None
        if not isinstance(body, dict) or age_s > STALE_S:
            return None
        pid = body.get("pid")
        if body.get("host") == socket.gethostname() and isinstance(pid, int) and not _alive(pid):
            return None
        return body

    def take(self) -> None:
        """Take the lease, or raise Locked; of several who try at one moment one gets it."""
        seen = self._content()
        self.refuse()
        if seen is not None and self._content() == seen:
            remove(self.path)  # of somebody who is gone
        self._write()

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
                os.utime(self.path)
            self._beaten_s = time.monotonic()

    def release(self) -> None:
        """Give the lease back if it is still ours."""
        holder = self.holder()
        if holder is not None and holder.get("token") == self._token:
            with contextlib.suppress(OSError):
                self.path.unlink()

    def _content(self) -> bytes | None:
        try:
            return self.path.read_bytes()
        except OSError:
            return None

    def _write(self) -> None:
        body = {"host": socket.gethostname(), "pid": os.getpid(), "token": self._token}
        if self._words:
            body["for"] = self._words
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.{self._token}.tmp")
        try:
            write_document(temporary, json.dumps(body) + "\n")
            os.link(temporary, self.path)  # unlike a rename it puts nothing over what is there
        except FileExistsError:
            raise Locked(f"{self.path.parent.parent}: another process begins there at this moment") from None
        except OSError:  # a file system without links
            os.replace(temporary, self.path)
        finally:
            remove(temporary)
        self._beaten_s = time.monotonic()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def make_folder(path: Path) -> None:
    """Create a folder and its parents, whose names are on the disk when this returns."""
    try:
        new = [folder for folder in (path, *path.parents) if not folder.exists()]
        path.mkdir(parents=True, exist_ok=True)
        for folder in reversed(new):
            with contextlib.suppress(
                PermissionError
            ):  # to make names in a folder one need not be able to list it
                sync_folder(folder.parent)
    except OSError as error:
        raise storage_error(error, path) from error


def sync_folder(path: Path) -> None:
    """Make renames in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rename(made: Path, final: Path) -> None:
    """Move a file that is finished and synced over its final name, which is on the disk when this returns."""
    os.replace(made, final)
    sync_folder(final.parent)


def write_document(path: Path, content: str | bytes | Iterable[bytes]) -> None:
    """Write a file, whole or in pieces, so that all of it is there or nothing, also after a power cut."""
    whole = content.encode("utf-8") if isinstance(content, str) else content
    pieces = (whole,) if isinstance(whole, bytes) else whole
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        rename(temporary, path)
    except OSError as error:
        raise storage_error(error, path) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()  # only a failure has left it


def read_document(path: Path) -> str | None:
    """The text of a document, or None if it is not there or not text."""
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, UnicodeDecodeError):
        return None
    except OSError as error:
        raise storage_error(error, path) from error


def publish(part: Path, final: Path) -> None:
    """Give a finished and synced file its final name."""
    make_folder(final.parent)
    try:
        os.replace(part, final)
        # Where both are names of one file already, as after a kill, the system leaves both.
        part.unlink(missing_ok=True)
        sync_folder(final.parent)
        if part.parent != final.parent:
            sync_folder(part.parent)
    except OSError as error:
        raise storage_error(error, final) from error


def link_or_copy(source: Path, target: Path) -> None:
    """A second name for a file of the user's, or a copy where the file system has no hard links; synced."""
    make_folder(target.parent)
    with contextlib.suppress(OSError):
        target.unlink()
    try:
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)
        with open(target, "rb") as file:  # also of a link: the user may have copied the file a moment ago
            os.fsync(file.fileno())
    except OSError as error:
        raise storage_error(error, target) from error


def remove(path: Path) -> None:
    """Delete a file of ours if it is there."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(error, path) from error
