"""Disks that fill up, run out of inodes or become read-only in the middle, and folders of another user."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.machine.conftest import ALL, Place, check_ends_whole, ended, wait_for
from tests.machine.mounts import Mounts, mounts
from tests.whole.disk import check_all_whole, tree

from g3m.lab.mischief import Trickle

MB = 1_000_000
BYTES_PER_S = 1_000_000


@pytest.fixture
def own() -> Iterator[Mounts]:
    """Mounts of this test alone."""
    with mounts() as found:
        yield found


@pytest.fixture
def among(place: Place, own: Mounts) -> Place:
    """The user, among the mounts."""
    return replace(place, before=own.before(place.folder))


def take_room(folder: Path) -> None:
    """Write until nothing more fits."""
    with open(folder / "thief", "ab", buffering=0) as file:
        for size_bytes in (65536, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size_bytes))


def take_inodes(folder: Path) -> None:
    """Make files until there can be no more."""
    (folder / "thieves").mkdir(exist_ok=True)
    number = len(list((folder / "thieves").iterdir()))
    with contextlib.suppress(OSError):
        while True:
            (folder / "thieves" / str(number)).touch()
            number += 1


def give_back(folder: Path) -> None:
    for path in [folder / "thief", *folder.glob("thieves/*")]:
        path.unlink(missing_ok=True)


def _begun(root: Path, names: int) -> Callable[[], bool]:
    """Whether a run has made so many files in its folder of work."""
    return lambda: len(list(root.glob(".g3m/**/*"))) >= names


@pytest.mark.parametrize("names", [3, 12, 20, 30, 40, 50] if ALL else [12, 40])
@pytest.mark.parametrize(
    ("take", "options"), [(take_room, "size=20m"), (take_inodes, "size=20m,nr_inodes=2500")]
)
def test_what_somebody_else_takes_of_a_disk_stops_a_run_and_costs_nothing(
    take: Callable[[Path], None],
    options: str,
    names: int,
    among: Place,
    own: Mounts,
    undisturbed: Path,
    tmp_path: Path,
) -> None:
    """20 MB of memory that are full, or without inodes, in the middle: exit code 6, no half shard, and it goes on."""
    (tmp_path / "disk").mkdir()
    disk = own.memory(tmp_path / "disk", options)
    root = tmp_path / "disk" / "root"
    among.world.origin.mischief("*", Trickle(BYTES_PER_S), times=None)
    with among.start("get", "all", "--yes", "--root", str(root)) as process:
        wait_for(lambda: _begun(disk / "root", names)() or process.poll() is not None, "some files")
        while process.poll() is None:  # also what the run itself gives back
            take(disk)
        done = ended(process)
    assert done.returncode in (3, 6), done.stderr
    assert os.strerror(errno.ENOSPC) in done.stderr or "are free" in done.stderr, done.stderr
    check_all_whole(disk / "root")
    again = among.get(root)
    assert again.returncode in (3, 6), again.stderr
    give_back(disk)
    among.world.origin.be_honest()
    done = among.get(root)
    assert done.returncode == 0, done.stderr
    check_ends_whole(among, root, tree(undisturbed), seen=disk / "root")


@pytest.mark.parametrize("left_bytes", [0, 4096, 65536, 300_000] if ALL else [4096])
def test_too_small_a_disk_is_said_before_the_first_byte(
    left_bytes: int, among: Place, own: Mounts, tmp_path: Path
) -> None:
    """How much is there and how much is missing stand in the error."""
    (tmp_path / "disk").mkdir()
    disk = own.memory(tmp_path / "disk", "size=20m")
    take_room(disk)
    with open(disk / "thief", "rb+") as file:
        file.truncate(max(file.seek(0, os.SEEK_END) - left_bytes, 0))
    among.world.origin.forget_requests()
    done = among.get(tmp_path / "disk" / "root", ("coco_valid",))
    assert done.returncode == 6, done.stderr
    assert not [r for r in among.world.origin.requests if r.path.endswith(".zip") and r.sent_bytes]


@pytest.mark.parametrize("names", [3, 12, 20, 30, 40, 50] if ALL else [20])
def test_a_disk_that_becomes_read_only_stops_a_run(
    names: int, among: Place, own: Mounts, undisturbed: Path, tmp_path: Path
) -> None:
    """As Linux does it after an error of the disk: exit code 6, and the run goes on when it can be written again."""
    (tmp_path / "disk").mkdir()
    disk = own.image(tmp_path / "disk", 40 * MB)
    root = tmp_path / "disk" / "root"
    among.world.origin.mischief("*", Trickle(BYTES_PER_S), times=None)
    with among.start("get", "all", "--yes", "--root", str(root)) as process:
        wait_for(lambda: _begun(disk / "root", names)() or process.poll() is not None, "some files")
        own.break_image(tmp_path / "disk")
        done = ended(process)
    assert done.returncode in (3, 6), done.stderr
    check_all_whole(disk / "root")
    among.world.origin.be_honest()
    assert among.get(root).returncode == 6
    own.repair_image(tmp_path / "disk")
    check_ends_whole(among, root, tree(undisturbed), seen=disk / "root")


def test_a_folder_of_another_user_is_read_and_not_written(
    place: Place, undisturbed: Path, tmp_path: Path
) -> None:
    """Who may only look can look, verify and list; what needs to write says so, and changes nothing."""
    root = tmp_path / "root"
    assert place.get(root).returncode == 0
    for folder in [place.folder, tmp_path, *tmp_path.parents]:
        if folder.stat().st_uid == 0 and len(folder.parts) > 2:
            folder.chmod(0o755)
    before = tree(root)
    nobody = replace(
        place.with_variables(HOME="/nonexistent"),
        before=["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"],
    )
    for line, codes in [
        (("list",), {0}),
        (("status",), {0}),
        (("verify",), {0}),
        (("get", "all", "--yes"), {0}),
        (("index",), {6}),
        (("export", "wids"), {6}),
        (("index", "--force"), {6}),
    ]:
        done = nobody.run(*line, "--root", str(root))
        assert done.returncode in codes, (line, done.returncode, done.stderr)
    assert nobody.get(tmp_path / "another").returncode == 6
    assert tree(root) == before
