"""Refused at any single call that changes the disk, or at all from it on, g3m says so by name and loses nothing.

The calls are counted where they leave g3m, in one process and without a system call of a tracer: so many more points
are tried than by strace (test_faults.py), of which `G3M_CRASH=all` tries all.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from tests.crash.jobs import ALL, bring_job, drop_job
from tests.crash.seam import CHANGES, KILL, Harm, harms, seam
from tests.whole.crash_driver import bring
from tests.whole.disk import check_all_whole, litter, tree
from tests.whole.test_kill_pack import foreign

import g3m
from g3m.adapters import fsio
from g3m.adapters.disk import write_document
from g3m.adapters.parts import Part
from g3m.core.digest import Digest
from g3m.core.errors import G3MError, PartialError, StorageError, storage_error
from g3m.lab.world import World
from g3m.runners.drop import Wish, drop_in
from g3m.runners.run import get_in, make_session
from g3m.ui.web.export import export as write_copy
from g3m.ui.web.server import opened

Work = Callable[[Path], object]
Tree = dict[str, str]

CONTENT = random.Random(3).randbytes(40_000)
SHA256 = Digest("sha256", hashlib.sha256(CONTENT).hexdigest())
PIECE_BYTES = 8_000

NOBODY = 2**22 + 1
"""A number that no process has."""


@dataclass(frozen=True)
class Job:
    """Something that is done to a root, which lies as `begin` before; `temporary` names may be left there."""

    work: Work
    root: Path
    begin: Path | None = None
    temporary: tuple[str, ...] = ()
    sample: int = 60
    """So many harms are tried by default."""

    def lay(self) -> None:
        """The root as it was before the run."""
        shutil.rmtree(self.root, ignore_errors=True)
        if self.begin is None:
            self.root.mkdir()
        else:
            shutil.copytree(self.begin, self.root, symlinks=True)

    def differs(self, whole: Tree) -> list[str]:
        """What is other than after an undisturbed run."""
        names = {name for name, _ in set(tree(self.root).items()) ^ set(whole.items())}
        return sorted(name for name in names if not name.endswith(self.temporary))


def survive(job: Job) -> None:
    """Do the job with each harm, look, and do it again: nothing half, every error has a name, the same end."""
    job.lay()
    with seam() as undisturbed:
        job.work(job.root)
    whole, all_harms = tree(job.root), list(harms(undisturbed.calls))
    tried = all_harms if ALL else random.Random(7).sample(all_harms, min(job.sample, len(all_harms)))
    wrong, begun_s = [], time.monotonic()
    for harm in tried:
        job.lay()
        problems = {words: what for words, what in _problems(job, harm, whole) if what}
        if problems:
            wrong.append(f"{harm} of {undisturbed.calls[harm.when - 1]}: {problems}")
    each_s = (time.monotonic() - begun_s) / max(len(tried), 1)
    print(
        f"{len(undisturbed.calls)} calls, {len(tried)} of {len(all_harms)} harms, {60 / max(each_s, 1e-9):.0f} a minute"
    )
    assert not wrong, "\n".join([f"{len(wrong)} of {len(tried)}", *wrong[:20]])


def _problems(job: Job, harm: Harm, whole: Tree) -> Iterator[tuple[str, object]]:
    """What is not as it should be after a harm, and after the same command was given again."""
    try:
        with seam(harm):
            job.work(job.root)
        if harm.kind != KILL:  # which may have met what matters to nobody
            yield "success with another tree", job.differs(whole)
    except G3MError as error:
        parts = list(error.failed.values()) if isinstance(error, PartialError) else []
        message = "; ".join([error.message, *parts])
        yield "an error that names no file", message if str(job.root.parent) not in message else ""
    except Exception as error:  # whatever it is, it has no name
        yield "an error without a name", repr(error)
    _bury(job.root)
    try:
        check_all_whole(job.root)
        if job.begin is None:  # where nothing lay before, a final name is given once
            yield (
                "half",
                [name for name, digest in tree(job.root).items() if digest != whole.get(name, digest)],
            )
        with seam():
            job.work(job.root)
        yield "another tree", job.differs(whole)
        check_all_whole(job.root)
    except Exception as error:  # also a check that failed
        yield "the next run", repr(error)
    if (job.root / ".g3m" / "parts").is_dir():
        yield "litter", [name for name in litter(job.root) if not name.endswith(job.temporary)]


def _bury(root: Path) -> None:
    """Leases that were left are those of a process that is gone; here it is the same one as that of the next run."""
    for path in root.rglob("*lock*"):
        if path.is_file():
            path.write_text(path.read_text().replace(f'"pid": {os.getpid()}', f'"pid": {NOBODY}'))


# What is done


def download(root: Path) -> None:
    """A file in five pieces, each claimed before the next comes."""
    whole = root / "a.whole"
    if whole.exists():
        return
    part = Part(root / ".g3m" / "parts" / "a.part", (SHA256,), len(CONTENT))
    try:
        for start, end in part.restore().gaps(0, len(CONTENT)):
            for first in range(start, end, PIECE_BYTES):
                part.begin("host:1", '"v1"', len(CONTENT))
                part.write(0, first, [CONTENT[first : min(first + PIECE_BYTES, end)]], "host:1")
                part.flush()
                part.settle()
        part.settle()
        assert part.wrong((SHA256,)) is None
        part.finish(whole, len(CONTENT))
    finally:
        part.close()


def planted(root: Path, bug: str) -> None:
    """Three files, each with a note that it is there, right or with a bug."""
    for name in ("0", "1", "2"):
        note = root / f"{name}.done"
        if note.exists():
            continue
        if bug == "note first":
            write_document(note, "")
        if bug == "final name at once":
            with fsio.writing(root / name, fsio.OVER) as file:
                file.write(CONTENT)
        elif bug == "one write is all":
            _half_written(root / name)
        else:
            with suppress(StorageError if bug == "goes on after an error" else ()):
                write_document(root / name, CONTENT)
        write_document(note, "")


def _half_written(path: Path) -> None:
    file = fsio.open_file(path.with_suffix(".making"), fsio.OVER)
    try:
        fsio.write(file, CONTENT)
        fsio.sync(file)
    except OSError as error:
        raise storage_error(error, path) from error
    finally:
        os.close(file)
    fsio.rename(path.with_suffix(".making"), path)


# What holds


@pytest.mark.parametrize(
    "bug", ["", "final name at once", "goes on after an error", "note first", "one write is all"]
)
def test_the_loop_finds_what_was_hidden_for_it(bug: str, tmp_path: Path) -> None:
    """A writer with a bug is wrong after some harm; the right one is after none."""
    work = partial(planted, bug=bug)
    if not bug:
        survive(Job(work, tmp_path / "root", temporary=(".tmp",)))
    else:
        with pytest.raises(AssertionError, match=r"^\d+ of \d+"):
            survive(Job(work, tmp_path / "root", temporary=(".tmp", ".making")))


def test_every_change_goes_through_the_calls_that_are_counted() -> None:
    """What the module offers is one of the counted calls, or made of them."""
    made_of_them = {
        "appending",
        "buffered",
        "can_punch",
        "discard",
        "make_folder",
        "nameless",
        "put",
        "sync_folder",
        "write_all",
    }
    made_of_them |= {"write_all_at", "writing"}
    offered = {name for name, one in vars(fsio).items() if callable(one) and one.__module__ == fsio.__name__}
    assert {name for name in offered if not name.startswith("_")} == set(CHANGES) | made_of_them


def test_a_download_survives_any_refusal(tmp_path: Path) -> None:
    """Bytes, journal and name of a file that is fetched in pieces."""
    survive(
        Job(download, tmp_path / "root", temporary=(".journal",))
    )  # which `g3m get` looks for, and takes away


def test_pack_survives_any_refusal(tmp_path: Path) -> None:
    """`g3m pack` of foreign tars."""
    source = str(foreign(tmp_path / "source"))
    pack = partial(g3m.pack, source, jobs=1, shard_size=4)
    survive(Job(lambda root: pack(to=root / "new"), tmp_path / "root", temporary=("lock",)))


@pytest.mark.parametrize("dataset", ["cc3m_valid", "sbu", "coco_valid", "openimages_v7_valid"])
def test_get_survives_any_refusal(dataset: str, world: World, tmp_path: Path) -> None:
    """`g3m get` of ready shards, of a tar.gz, of a zip, and of pictures in a bucket."""

    def get(root: Path) -> None:
        options = {**world.options, "jobs": 1, "root": str(root)}
        get_in([dataset], make_session(options, world.variables), [])

    survive(Job(get, tmp_path / "root"))


def test_drop_survives_any_refusal(world: World, tmp_path: Path) -> None:
    """`g3m drop --rewrite` in an adopted and in a packed dataset."""
    job = drop_job(world, tmp_path)

    def drop(root: Path) -> None:
        session = make_session({**job["options"], "root": str(root)}, world.variables)
        for error in drop_in(
            (), Wish(keys=(Path(job["source"]),), rewrite=True), session, []
        ).failed.values():
            raise error

    survive(Job(drop, tmp_path / "root", Path(job["begin"]), (".tmp", "lock")))


@pytest.fixture(scope="module")
def packed(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a dataset, which nobody changes."""
    root = tmp_path_factory.mktemp("packed") / "root"
    get_in(["cc3m_valid"], make_session({**world.options, "jobs": 1, "root": str(root)}, world.variables), [])
    return root


@pytest.mark.parametrize("program", ["hf", "energon"])
def test_export_survives_any_refusal(program: str, packed: Path, tmp_path: Path) -> None:
    """What is written beside the shards for another program."""
    survive(Job(lambda root: g3m.export(program, root=str(root)), tmp_path / "root", packed, (".tmp",)))


def test_index_survives_any_refusal(tmp_path: Path) -> None:
    """`g3m index` of a folder of foreign tars, which stay as they are."""
    tars = foreign(tmp_path / "source")
    survive(Job(lambda root: g3m.index(root), tmp_path / "root", tars, (".tmp",)))


def test_import_survives_any_refusal(world: World, tmp_path: Path) -> None:
    """Archives that were fetched by hand are taken in under a second name, or copied."""
    job = {**bring_job(world, tmp_path), "variables": world.variables}
    survive(Job(partial(bring, job), tmp_path / "root", temporary=(".whole",)))


def test_a_copy_of_the_pages_survives_any_refusal(packed: Path, tmp_path: Path) -> None:
    """`g3m view --export`: the copy that was there, or the new one, whole."""

    def copy(root: Path) -> None:
        with opened(make_session({"root": str(root), "jobs": 1})) as (collection, pictures):
            write_copy(collection, pictures, root / "copy", samples=2)

    survive(Job(copy, tmp_path / "root", packed, sample=6))
