"""The same sources give the same bytes: in any folder, with any number of jobs, however they came here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.whole.conftest import Opener
from tests.whole.disk import WORK, check_all_whole, tree
from tests.whole.sources import unpack_tar, unpack_zip

from g3m.core.errors import Interrupted
from g3m.core.events import Event, Progressed, RouteChosen, TaskFinished, TaskStarted
from g3m.core.receipt import Manifest
from g3m.lab.mischief import Reset
from g3m.lab.world import World
from g3m.runners.run import get_in

pytestmark = pytest.mark.usefixtures("small_shards")

Moment = Callable[[Event], bool]
MOMENTS: dict[str, Moment] = {
    "a download": lambda event: isinstance(event, RouteChosen) and "val2017.zip" in event.task,
    "arranging": lambda event: isinstance(event, TaskStarted) and event.kind == "arrange",
    "packing": lambda event: isinstance(event, Progressed) and event.task.startswith("pack/sbu"),
    "the first shard": lambda event: isinstance(event, TaskFinished) and event.kind == "pack",
    "the first dataset": lambda event: isinstance(event, TaskFinished) and event.kind == "publish",
}


@pytest.fixture
def plain(tmp_path: Path, open_session: Opener) -> dict[str, str]:
    """What one job leaves that takes the direct way."""
    get_in(["all"], open_session(tmp_path / "plain", jobs=1), [])
    assert check_all_whole(tmp_path / "plain") > 15
    return tree(tmp_path / "plain")


def test_jobs_and_roots_do_not_show(plain: dict[str, str], tmp_path: Path, open_session: Opener) -> None:
    """Four jobs below a root of another name and depth leave the same bytes as one."""
    root = tmp_path / "elsewhere" / "with blanks and ü" / "data"
    get_in(["all"], open_session(root, jobs=4), [])
    assert tree(root) == plain


def test_order_and_number_of_commands_do_not_show(
    plain: dict[str, str], tmp_path: Path, open_session: Opener
) -> None:
    """Six commands, one for each dataset, in another order, leave the same bytes as one for all."""
    for name in ("openimages_v7_valid", "coco_valid", "cc3m", "sbu", "coco", "cc3m_valid"):
        get_in([name], open_session(tmp_path / "one by one"), [])
    assert tree(tmp_path / "one by one") == plain


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_interruption_does_not_show(
    moment: str, plain: dict[str, str], tmp_path: Path, open_session: Opener
) -> None:
    """Stopped in the middle of something and continued by a new session, the run leaves the same bytes."""
    session = open_session(tmp_path / "data", jobs=1)
    seen: list[Event] = []

    def stop(event: Event) -> None:
        if MOMENTS[moment](event):
            seen.append(event)
            session.stop.set()

    with pytest.raises(Interrupted):
        get_in(["all"], session, [stop])
    assert seen
    check_all_whole(tmp_path / "data")
    get_in(["all"], open_session(tmp_path / "data", jobs=4), [])
    assert tree(tmp_path / "data") == plain


def test_a_bad_line_does_not_show(
    plain: dict[str, str], tmp_path: Path, world: World, open_session: Opener
) -> None:
    """With every second connection reset after 40 kB the run takes longer and leaves the same bytes."""
    world.origin.forget_requests()
    world.origin.mischief("*", Reset(40_000), times=12)
    get_in(["all"], open_session(tmp_path / "data"), [])
    assert sum(request.mischief == "Reset" for request in world.origin.requests) == 12
    assert tree(tmp_path / "data") == plain


def test_kept_assets_differ_in_the_work_folder_alone(
    plain: dict[str, str], tmp_path: Path, world: World, open_session: Opener
) -> None:
    """With keep_assets the archives stay below .g3m, whole and under no shard's name; all else is the same."""
    get_in(["all"], open_session(tmp_path / "data", keep_assets=True), [])
    assert tree(tmp_path / "data") == plain
    kept = {path.name.partition("-")[2]: path for path in (tmp_path / "data" / WORK).rglob("*.whole")}
    drawn = {f"{path.name}.whole": path for path in (*world.sources.files, world.sources.sbu)}
    assert sorted(kept) == sorted(drawn)
    assert all(kept[name].read_bytes() == drawn[name].read_bytes() for name in drawn)
    assert list((tmp_path / "plain" / WORK).rglob("*.whole")) == []


def without_assets(root: Path) -> tuple[dict[str, str], dict[str, object]]:
    """The tree without the manifests, and the manifests without what was said of the assets.

    A manifest states how an asset was proved, which does depend on the way: a folder has no digest.
    """
    files = tree(root)
    manifests = {
        name: json.loads((root / name).read_bytes()) for name in files if name.endswith("manifest.json")
    }
    for name, body in manifests.items():
        del files[name], body["assets"]
    return files, manifests


def test_archives_of_the_users_own_do_not_show(
    plain: dict[str, str], tmp_path: Path, world: World, open_session: Opener
) -> None:
    """Taken from archives in --from, nothing but listings is asked for, and the same bytes come out."""
    world.origin.forget_requests()
    before = tree(world.sources.coco.train.parents[1])
    session = open_session(tmp_path / "data", source=[str(world.sources.coco.train.parents[1])])
    made = get_in(["all"], session, []).manifests
    assert [request.path for request in world.origin.requests if "/resolve/" in request.path] == []
    assert sum(request.sent_bytes for request in world.origin.requests) < 10_000
    assert without_assets(tmp_path / "data") == without_assets(tmp_path / "plain")
    changed = {name for name, digest in tree(tmp_path / "data").items() if plain[name] != digest}
    assert changed <= {"sbu/sbu/manifest.json"}, "Kaggle's own digest is known only to who asks Kaggle"
    assert made["sbu"].assets[0].proof == "first use"
    assert tree(world.sources.coco.train.parents[1]) == before, "the user's own files were changed"


def test_unpacked_folders_do_not_show(
    plain: dict[str, str], tmp_path: Path, world: World, open_session: Opener
) -> None:
    """Taken from unpacked folders in --from, shards and small files are those of the archives."""
    drawn, mine = world.sources, tmp_path / "mine"
    for archive in (drawn.coco.train, drawn.coco.valid, drawn.coco.annotations):
        unpack_zip(archive, mine / "coco")
    unpack_zip(drawn.sbu, mine / "sbu")
    unpack_tar(drawn.open_images.images, mine / "open images")
    narratives = mine / "open images" / drawn.open_images.narratives.name
    narratives.write_bytes(drawn.open_images.narratives.read_bytes())
    before = tree(mine)
    world.origin.forget_requests()
    session = open_session(
        tmp_path / "data", source=[str(mine / "coco"), f"sbu={mine / 'sbu'}", str(mine / "open images")]
    )
    made = get_in(["all"], session, []).manifests
    assert not [
        r.path for r in world.origin.requests if r.path.endswith((".zip", ".gz", ".jsonl", "sbucaptions"))
    ]
    assert without_assets(tmp_path / "data") == without_assets(tmp_path / "plain")
    assert [asset.proof for asset in made["coco"].assets] == ["folder", "folder"]
    assert tree(mine) == before, "the user's own files were changed"


def test_a_second_run_asks_and_writes_nothing(
    plain: dict[str, str], tmp_path: Path, world: World, open_session: Opener
) -> None:
    """Running a finished plan again sends no request and touches no file outside .g3m."""
    root = tmp_path / "plain"
    times = {
        path: path.stat().st_mtime_ns for path in root.rglob("*") if WORK not in path.parts and path.is_file()
    }
    world.origin.forget_requests()
    events: list[Event] = []
    made: dict[str, Manifest] = get_in(["all"], open_session(root), [events.append]).manifests
    assert len(made) == 6
    assert (world.origin.requests, events) == ([], [])
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert tree(root) == plain
