"""steps/bring.py: files fetched by hand are recognised by their bytes, taken in, and never changed."""

from __future__ import annotations

import hashlib
import os
import random
import time
from pathlib import Path
from typing import Any

import pytest

from g3m.adapters import fsio
from g3m.adapters.session import Session
from g3m.core.digest import Digest
from g3m.core.errors import Interrupted, Locked, NoSpace, StorageError
from g3m.core.events import Event, Progressed, RunStarted, TaskFailed, TaskFinished
from g3m.core.plan import DatasetPlan, asset_id, make_dataset_plan
from g3m.core.recipe import Asset, Expect, Recipe, SampleRule
from g3m.runners.run import make_session
from g3m.steps import bring as bring_module
from g3m.steps.bring import Brought, bring
from g3m.steps.find import part_path, present, whole_path

BYTES = {
    name: random.Random(name).randbytes(size)
    for name, size in (("a.zip", 5000), ("b.zip", 5000), ("c.tar", 7000))
}


def asset(name: str, *algorithms: str, size: int | None = -1) -> Asset:
    data = BYTES[name]
    kinds = {
        "sha256": hashlib.sha256(data).hexdigest(),
        "md5": hashlib.md5(data).hexdigest(),
        "git-sha1": hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest(),
    }
    digests = tuple(Digest(kind, kinds[kind]) for kind in algorithms or ("sha256",))
    return Asset(
        name=name,
        places=(f"https://h/{name}",),
        size_bytes=len(data) if size == -1 else size,
        digests=digests,
    )


def dataset(*assets: Asset, name: str = "one") -> DatasetPlan:
    recipe = Recipe(
        name=name,
        title="One",
        folder=f"{name}/{name}",
        homepage="",
        licence="none",
        terms="",
        citation="",
        samples=SampleRule(reader="pairs"),
        expect=Expect(),
        assets=assets,
    )
    return make_dataset_plan(recipe, assets, "none")


@pytest.fixture
def session(tmp_path: Path) -> Session:
    made = make_session({"root": str(tmp_path / "data")}, {})
    made.store.prepare()
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "by-hand").mkdir()
    return tmp_path / "by-hand"


def run(folder: Path, session: Session, *datasets: DatasetPlan) -> tuple[Brought, list[Event]]:
    result = Brought()
    return result, list(bring(folder, datasets, session, result))


def why(result: Brought) -> list[tuple[str, str]]:
    return [(Path(one.path).name, one.why) for one in result.passed]


def leftovers(session: Session) -> list[str]:
    return [path.name for path in session.store.part("").iterdir() if path.suffix != ".whole"]


@pytest.mark.parametrize("algorithms", [("sha256",), ("md5",), ("git-sha1",), ("sha256", "md5")])
def test_a_file_is_taken_in_whatever_its_name(
    session: Session, folder: Path, algorithms: tuple[str, ...]
) -> None:
    """Size and digest decide; ours is a second name for the same bytes, with a receipt that says what was compared."""
    wanted = asset("a.zip", *algorithms)
    (folder / "deep" / "er").mkdir(parents=True)
    mine = folder / "deep" / "er" / "download (1)"
    mine.write_bytes(BYTES["a.zip"])
    before = mine.stat()
    result, events = run(folder, session, dataset(wanted))
    receipt = present(session, wanted)
    assert receipt is not None
    assert (receipt.proof, receipt.path, receipt.size_bytes) == ("recipe", "", 5000)
    assert set(wanted.digests) <= set(receipt.digests)
    assert [(one.name, path) for one, path in result.taken] == [("a.zip", mine)]
    assert whole_path(session, wanted).samefile(mine)
    assert (mine.stat().st_mtime_ns, mine.stat().st_mode, mine.stat().st_ino) == (
        before.st_mtime_ns,
        before.st_mode,
        before.st_ino,
    )
    assert [event.size_bytes for event in events if isinstance(event, TaskFinished)] == [5000]
    assert leftovers(session) == []


def test_where_no_link_can_be_the_file_is_copied(
    session: Session, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another file system, or one without hard links: a copy that is hashed while it is written."""

    def refuse(*_: Any) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(bring_module.os, "link", refuse)
    (folder / "a.zip").write_bytes(BYTES["a.zip"])
    (folder / "wrong").write_bytes(BYTES["b.zip"])
    wanted = asset("a.zip")
    result, _ = run(folder, session, dataset(wanted))
    whole = whole_path(session, wanted)
    assert whole.read_bytes() == BYTES["a.zip"]
    assert not whole.samefile(folder / "a.zip")
    assert len(result.taken) == 1
    assert leftovers(session) == []


def test_a_link_of_the_users_stands_for_its_file(session: Session, folder: Path, tmp_path: Path) -> None:
    """The file behind a symbolic link is taken in, not the link."""
    (tmp_path / "elsewhere").write_bytes(BYTES["a.zip"])
    (folder / "a.zip").symlink_to(tmp_path / "elsewhere")
    (folder / "dangling").symlink_to(tmp_path / "nowhere")
    wanted = asset("a.zip")
    result, _ = run(folder, session, dataset(wanted))
    assert not whole_path(session, wanted).is_symlink()
    assert whole_path(session, wanted).samefile(tmp_path / "elsewhere")
    assert why(result) == [("dangling", "unreadable")]


def test_what_does_not_fit_is_said(session: Session, folder: Path) -> None:
    """Another size under the right name, another digest at the right size, and files that are nothing to us."""
    (folder / "a.zip").write_bytes(BYTES["a.zip"][:-1])
    (folder / "x").write_bytes(BYTES["b.zip"][:-1] + b"?")
    (folder / "readme").write_bytes(b"hello")
    os.mkfifo(folder / "pipe")
    result, events = run(folder, session, dataset(asset("a.zip"), asset("c.tar")))
    assert why(result) == [("a.zip", "size"), ("x", "digest")]
    assert result.passed[0].values == {"name": "a.zip", "size": 4999, "planned": 5000}
    assert result.passed[1].values["pinned"] == str(asset("a.zip").digests[0])
    assert result.others == 2
    assert [one.name for one in result.missing] == ["a.zip", "c.tar"]
    assert [type(event) for event in events if isinstance(event, (TaskFailed, TaskFinished))] == [TaskFailed]
    assert leftovers(session) == []
    assert not list(session.store.part("").glob("*.whole"))


def test_among_files_of_one_size_the_digest_decides(session: Session, folder: Path) -> None:
    """Two assets of the same size, under each other's names: each is found."""
    (folder / "a.zip").write_bytes(BYTES["b.zip"])
    (folder / "b.zip").write_bytes(BYTES["a.zip"])
    first, second = asset("a.zip"), asset("b.zip")
    result, _ = run(folder, session, dataset(first, second))
    assert {one.name: path.name for one, path in result.taken} == {"a.zip": "b.zip", "b.zip": "a.zip"}
    assert whole_path(session, first).read_bytes() == BYTES["a.zip"]
    assert result.missing == []


def test_a_second_copy_is_nothing_new(session: Session, folder: Path) -> None:
    """What was taken is not taken again, in the same run or in the next one."""
    for name in ("1", "2"):
        (folder / name).write_bytes(BYTES["a.zip"])
    wanted = asset("a.zip")
    result, _ = run(folder, session, dataset(wanted), dataset(wanted, name="two"))
    assert (len(result.taken), result.others) == (1, 1)
    again, events = run(folder, session, dataset(wanted), dataset(wanted, name="two"))
    assert (again.taken, list(again.here.values()), again.missing) == ([], [wanted], [])
    assert [event.tasks for event in events if isinstance(event, RunStarted)] == [0]


def test_what_cannot_be_recognised_is_said(session: Session, folder: Path) -> None:
    """Without a pinned digest a name proves nothing; with one, a missing size is made up for by the name."""
    (folder / "a.zip").write_bytes(BYTES["a.zip"])
    (folder / "c.tar").write_bytes(BYTES["c.tar"])
    loose = Asset(name="a.zip", places=("https://h/a",), size_bytes=5000)
    unsized = asset("c.tar", size=None)
    result, _ = run(folder, session, dataset(loose, unsized))
    assert why(result) == [("a.zip", "unpinned")]
    assert [one.name for one, _ in result.taken] == ["c.tar"]


def test_what_aria2_has_not_finished_is_left_alone(session: Session, folder: Path) -> None:
    """A file with a control file beside it may have its full size and holes."""
    (folder / "a.zip").write_bytes(BYTES["a.zip"])
    (folder / "a.zip.aria2").write_bytes(b"")
    result, _ = run(folder, session, dataset(asset("a.zip")))
    assert why(result) == [("a.zip", "unfinished")]
    assert [one.name for one in result.missing] == ["a.zip"]


def test_an_unfinished_download_makes_way(session: Session, folder: Path) -> None:
    """The part and its journal go when the whole file is here."""
    wanted = asset("a.zip")
    part = part_path(session, wanted)
    part.write_bytes(b"half")
    part.with_suffix(".journal").write_bytes(b"")
    (folder / "a.zip").write_bytes(BYTES["a.zip"])
    run(folder, session, dataset(wanted))
    assert leftovers(session) == []


def test_a_folder_of_ours_is_not_read_as_the_users(session: Session, folder: Path) -> None:
    """The working folder of a root inside the folder is passed over."""
    (folder / ".g3m" / "parts").mkdir(parents=True)
    (folder / ".g3m" / "parts" / "x.whole").write_bytes(BYTES["a.zip"])
    result, _ = run(folder, session, dataset(asset("a.zip")))
    assert result.taken == []
    assert result.others == 0


def test_a_single_file_may_be_named(session: Session, folder: Path) -> None:
    """In place of a folder, the file itself."""
    (folder / "x").write_bytes(BYTES["a.zip"])
    result, _ = run(folder / "x", session, dataset(asset("a.zip")))
    assert len(result.taken) == 1


def test_a_run_at_work_is_not_disturbed(session: Session, folder: Path) -> None:
    """The lease of the root is held: nothing is taken in beside a run."""
    other = make_session({"root": str(session.store.root)}, {})
    with other.store.lease(), pytest.raises(Locked):
        run(folder, session, dataset(asset("a.zip")))
    assert not (session.store.work / "lock").exists()


def test_stopping_leaves_nothing_half(
    session: Session, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C between two pieces: no receipt, no file, the lease given back."""
    wanted = asset("a.zip")
    (folder / "a.zip").write_bytes(BYTES["a.zip"])
    monkeypatch.setattr(bring_module, "_READ_BYTES", 1000)
    with pytest.raises(Interrupted):
        for event in bring(folder, [dataset(wanted)], session, Brought()):
            if isinstance(event, Progressed):
                assert event.done_bytes == 1000
                session.stop.set()
    assert present(session, wanted) is None
    assert list(session.store.part("").iterdir()) == []
    assert not (session.store.work / "lock").exists()


def test_a_full_disk_is_the_disks_error(
    session: Session, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copying onto a full disk ends with its name and leaves nothing behind."""

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(
        bring_module.os, "link", lambda *_: (_ for _ in ()).throw(OSError(18, "cross-device"))
    )
    monkeypatch.setattr(fsio, "write", full)
    (folder / "a.zip").write_bytes(BYTES["a.zip"])
    with pytest.raises(NoSpace):
        run(folder, session, dataset(asset("a.zip")))
    assert leftovers(session) == []


def test_a_file_that_fails_while_it_is_read(
    session: Session, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bad sector costs that file; the next one is taken in."""
    real = bring_module._read
    reads: list[int] = []

    def fail_first(source: Any) -> bytes:
        reads.append(1)
        if len(reads) == 1:
            raise bring_module._Unreadable("Input/output error")
        return real(source)

    monkeypatch.setattr(bring_module, "_read", fail_first)
    for name in ("1", "2"):
        (folder / name).write_bytes(BYTES["a.zip"])
    result, _ = run(folder, session, dataset(asset("a.zip")))
    assert why(result) == [("1", "unreadable")]
    assert [path.name for _, path in result.taken] == ["2"]


def test_a_folder_that_cannot_be_walked(
    session: Session, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a folder is not taken for the whole of it."""

    def walk(_: Path, onerror: Any) -> list[Any]:
        onerror(PermissionError(13, "Permission denied", str(folder)))
        return []

    monkeypatch.setattr(bring_module.os, "walk", walk)
    with pytest.raises(StorageError, match="Permission denied"):
        run(folder, session, dataset(asset("a.zip")))


def test_the_lease_beats_while_a_large_file_is_read(
    session: Session, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hashing for minutes does not look like a dead run."""
    monkeypatch.setattr(bring_module, "_READ_BYTES", 1000)
    monkeypatch.setattr("g3m.adapters.disk.HEARTBEAT_S", 0.0)
    (folder / "a.zip").write_bytes(BYTES["a.zip"])
    lock, seen = session.store.work / "lock", []
    result = Brought()
    for _ in bring(folder, [dataset(asset("a.zip"))], session, result):
        seen.append(lock.stat().st_mtime_ns)
        time.sleep(0.002)
    assert len(set(seen)) > 3


def test_the_identifier_is_the_plans(session: Session, folder: Path) -> None:
    """What was taken in lies where a fetch would have put it."""
    wanted = asset("a.zip")
    (folder / "x").write_bytes(BYTES["a.zip"])
    run(folder, session, dataset(wanted))
    assert whole_path(session, wanted).name == f"{asset_id(wanted)}-a.zip.whole"
