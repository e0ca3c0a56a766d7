"""adapters/disk.py: documents whole or not at all, one run at a time, and room that is really there."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from g3m.adapters import disk, fsio
from g3m.adapters.disk import Lease, Store, link_or_copy, publish, read_document, remove, write_document
from g3m.core.errors import Locked, NoSpace, NotWritable, StorageError


def _raiser(code: int) -> Any:
    def fails(*_: Any, **__: Any) -> Any:
        raise OSError(code, os.strerror(code))

    return fails


def test_a_document_is_written_and_read(tmp_path: Path) -> None:
    """Text and bytes, with folders made on the way, and nothing else left behind."""
    write_document(tmp_path / "a" / "b.json", "Grüße\n")
    write_document(tmp_path / "a" / "c", b"\x00\x01")
    assert read_document(tmp_path / "a" / "b.json") == "Grüße\n"
    assert (tmp_path / "a" / "c").read_bytes() == b"\x00\x01"
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["b.json", "c"]


@pytest.mark.parametrize("name", ["fsync", "replace"])
@pytest.mark.parametrize(
    ("code", "kind"), [(errno.ENOSPC, NoSpace), (errno.EROFS, NotWritable), (errno.EIO, StorageError)]
)
def test_a_failed_write_leaves_the_old_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int, kind: type[StorageError]
) -> None:
    """The old text stands, the temporary file is gone, and the error names the path."""
    path = tmp_path / "a.json"
    write_document(path, "old")
    with monkeypatch.context() as patch:
        patch.setattr(disk.os, name, _raiser(code))
        with pytest.raises(kind, match=r"a\.json"):
            write_document(path, "new")
    assert read_document(path) == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_the_order_of_a_durable_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """fsync of the file, rename, fsync of the folder."""
    calls: list[str] = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)

        def spy(*arguments: Any, real: Any = real, name: str = name) -> Any:
            kind = (
                ""
                if name == "replace"
                else " folder"
                if os.path.isdir(f"/proc/self/fd/{arguments[0]}")
                else " file"
            )
            calls.append(name + kind)
            return real(*arguments)

        monkeypatch.setattr(disk.os, name, spy)
    write_document(tmp_path / "a", "x")
    assert calls == ["fsync file", "replace", "fsync folder"]


def test_a_reader_never_sees_half_a_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the moment of the rename the temporary file holds everything already."""
    seen: list[bytes] = []
    real = os.replace

    def look(source: Path, target: Path) -> None:
        seen.append(Path(source).read_bytes())
        real(source, target)

    monkeypatch.setattr(disk.os, "replace", look)
    write_document(tmp_path / "a", "x" * 100_000)
    assert seen == [b"x" * 100_000]


def test_a_document_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    """Missing, a folder, or bytes: None."""
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\xff")
    assert read_document(tmp_path / "none") is None
    assert read_document(tmp_path) is None
    assert read_document(tmp_path / "bytes") is None


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    """A path through a file is a storage error that names it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        write_document(tmp_path / "file" / "a", "x")
    with pytest.raises(StorageError):
        Store(tmp_path / "file").prepare()


def test_prepare_makes_the_folders_and_no_tar(tmp_path: Path) -> None:
    """The work folder is made below the root; nothing in it looks like a shard."""
    store = Store(tmp_path / "data")
    store.prepare()
    store.prepare()
    assert sorted(path.name for path in store.work.iterdir()) == ["parts", "plan", "receipts"]
    assert store.part("x.tar.part").parent == store.work / "parts"
    assert store.receipt("assets", "1").name == "1.json"


def test_prepare_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed disk is NotWritable."""
    monkeypatch.setattr(disk.os, "mkdir", _raiser(errno.EACCES))
    with pytest.raises(NotWritable):
        Store(tmp_path / "data").prepare()


def test_publish_moves_between_folders(tmp_path: Path) -> None:
    """A file gets its final name and folder, and its old name is gone."""
    part = tmp_path / "parts" / "x.making"
    part.parent.mkdir()
    part.write_text("shard")
    publish(part, tmp_path / "coco" / "coco" / "0.tar")
    assert (tmp_path / "coco" / "coco" / "0.tar").read_text() == "shard"
    assert not part.exists()
    with pytest.raises(StorageError):
        publish(part, tmp_path / "1.tar")


def test_link_or_copy_links(tmp_path: Path) -> None:
    """Where the file system can, the user's shard gets a second name and costs no space."""
    (tmp_path / "own").write_text("bytes")
    link_or_copy(tmp_path / "own", tmp_path / "a" / "x")
    assert (tmp_path / "own").stat().st_ino == (tmp_path / "a" / "x").stat().st_ino
    link_or_copy(tmp_path / "own", tmp_path / "a" / "x")
    assert (tmp_path / "a" / "x").read_text() == "bytes"


def test_link_or_copy_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Across file systems it is a copy, and a full disk is named."""
    (tmp_path / "own").write_text("bytes")
    monkeypatch.setattr(disk.os, "link", _raiser(errno.EXDEV))
    link_or_copy(tmp_path / "own", tmp_path / "x")
    assert (tmp_path / "x").read_text() == "bytes"
    assert (tmp_path / "own").stat().st_ino != (tmp_path / "x").stat().st_ino
    monkeypatch.setattr(fsio, "write", _raiser(errno.ENOSPC))
    with pytest.raises(NoSpace):
        link_or_copy(tmp_path / "own", tmp_path / "y")


def test_remove_is_quiet_about_nothing(tmp_path: Path) -> None:
    """What is not there needs no deleting."""
    (tmp_path / "x").write_text("")
    remove(tmp_path / "x")
    remove(tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_free_of_a_root_that_does_not_exist_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Space is measured where the root will be, and nothing is made for it."""
    deep = Store(tmp_path / "not" / "yet" / "there").free()
    assert abs(deep.size_bytes - shutil.disk_usage(tmp_path).free) < 2**30
    assert deep.inodes is None or deep.inodes > 0
    assert list(tmp_path.iterdir()) == []
    monkeypatch.chdir(tmp_path)
    assert Store(Path("relative/data")).free().size_bytes > 0


def test_free_where_inodes_are_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that reports no inodes is not full of them."""
    values = list(os.statvfs(tmp_path))
    values[5] = values[6] = values[7] = 0
    monkeypatch.setattr(disk.os, "statvfs", lambda _: os.statvfs_result(values))
    assert Store(tmp_path).free().inodes is None


# The lease.


def test_a_second_process_is_refused_with_host_and_pid(tmp_path: Path) -> None:
    """Another process on the same root learns who is there; afterwards it may work."""
    code = (
        "import sys; from pathlib import Path; from g3m.adapters.disk import Store\n"
        "from g3m.core.errors import Locked\n"
        "try:\n"
        "    with Store(Path(sys.argv[1])).lease(): print('held')\n"
        "except Locked as error: print(error.message)"
    )
    ask = [sys.executable, "-c", code, str(tmp_path)]
    with Store(tmp_path).lease():
        said = subprocess.run(ask, capture_output=True, text=True, check=True, timeout=20).stdout
    assert f"process {os.getpid()} on {socket.gethostname()}" in said
    assert str(tmp_path) in said
    assert not (tmp_path / ".g3m" / "lock").exists()
    assert subprocess.run(ask, capture_output=True, text=True, check=True, timeout=20).stdout == "held\n"


def test_a_second_run_of_the_same_process_is_refused(tmp_path: Path) -> None:
    """Two leases of one process are two runs."""
    with Store(tmp_path).lease(), pytest.raises(Locked) as caught, Store(tmp_path).lease():
        pass
    assert caught.value.exit_code == 1


def test_a_lease_is_given_back_after_an_error(tmp_path: Path) -> None:
    """A run that fails leaves the root free."""
    with pytest.raises(RuntimeError), Store(tmp_path).lease():
        raise RuntimeError
    with Store(tmp_path).lease():
        pass


def _held(path: Path, **changes: Any) -> None:
    body = {"host": socket.gethostname(), "pid": os.getpid(), "token": "other", **changes}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(body))


def test_a_dead_process_is_replaced(tmp_path: Path) -> None:
    """A run that was killed does not lock its root."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait(20)
    lease = Lease(tmp_path / ".g3m" / "lock")
    _held(lease.path, pid=ended.pid)
    assert lease.holder() is None
    lease.take()
    assert lease.holder()["pid"] == os.getpid()  # type: ignore[index]
    lease.release()


def test_a_living_process_of_another_host_is_believed(tmp_path: Path) -> None:
    """A number of another machine says nothing here: only its heartbeat counts."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait(20)
    lease = Lease(tmp_path / ".g3m" / "lock")
    _held(lease.path, pid=ended.pid, host="elsewhere")
    with pytest.raises(Locked, match=f"process {ended.pid} on elsewhere"):
        lease.take()


@pytest.mark.parametrize("host", ["elsewhere", socket.gethostname()])
def test_a_stale_heartbeat_is_replaced(tmp_path: Path, host: str) -> None:
    """Two silent minutes end a lease, wherever its holder is."""
    lease = Lease(tmp_path / ".g3m" / "lock")
    _held(lease.path, host=host)
    past_s = time.time() - disk.STALE_S - 1
    os.utime(lease.path, (past_s, past_s))
    lease.take()
    assert lease.holder()["host"] == socket.gethostname()  # type: ignore[index]


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "\xff"])
def test_an_unreadable_lease_holds_nothing(tmp_path: Path, text: str) -> None:
    """Half a lease, or somebody else's file, stops nobody."""
    lease = Lease(tmp_path / ".g3m" / "lock")
    lease.path.parent.mkdir()
    lease.path.write_bytes(text.encode("latin-1"))
    assert lease.holder() is None
    lease.take()
    assert lease.holder() is not None


def test_a_heartbeat_shows_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The beat renews the file's time, but not at every event."""
    lease = Lease(tmp_path / ".g3m" / "lock")
    lease.take()
    os.utime(lease.path, (1, 1))
    lease.beat()
    assert lease.path.stat().st_mtime == 1
    monkeypatch.setattr(disk, "HEARTBEAT_S", 0.0)
    lease.beat()
    assert time.time() - lease.path.stat().st_mtime < 60
    lease.path.unlink()
    lease.beat()  # a lease that somebody deleted is no reason to fail


def test_a_lost_lease_is_not_taken_from_its_new_holder(tmp_path: Path) -> None:
    """A run that slept too long does not delete the lease of the one that replaced it."""
    lease = Lease(tmp_path / ".g3m" / "lock")
    lease.take()
    _held(lease.path, host="elsewhere", pid=1)
    lease.release()
    assert lease.path.exists()


def test_a_process_of_another_user_is_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No permission to signal a process means that it is there."""
    lease = Lease(tmp_path / ".g3m" / "lock")
    _held(lease.path, pid=1)
    monkeypatch.setattr(disk.os, "kill", _raiser(errno.EPERM))
    assert lease.holder() is not None


def test_of_many_who_take_a_lease_at_one_moment_one_gets_it(tmp_path: Path) -> None:
    """The parts of an array begin together: two of them must not both plan the list."""
    store = Store(tmp_path)
    store.prepare()
    gate, got = threading.Barrier(8), []

    def take() -> None:
        lease = store.root_lease()
        gate.wait()
        with contextlib.suppress(Locked):
            lease.take()
            got.append(lease)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1
    got[0].release()
    assert not list(store.work.glob("*lock*"))


@pytest.mark.parametrize("links", [True, False])
def test_link_or_copy_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    """What the user copied a moment ago is synced before it counts, under either name and as a copy."""
    synced: list[int] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        real(descriptor)

    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "another file system")

    monkeypatch.setattr(os, "fsync", fsync)
    if not links:
        monkeypatch.setattr(os, "link", refuse)
    source, target = tmp_path / "mine.tar", tmp_path / "part"
    source.write_bytes(b"bytes")
    disk.link_or_copy(source, target)
    assert target.stat().st_ino in synced
