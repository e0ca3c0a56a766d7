"""steps/find.py: what a user has already is recognised by its bytes, read where it lies and left alone."""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from g3m.core.digest import Digest
from g3m.core.errors import BadArchive, SettingsError
from g3m.core.events import Noted
from g3m.core.plan import asset_id, fetch_task
from g3m.core.receipt import AssetReceipt
from g3m.core.recipe import Asset
from g3m.lab.world import World
from g3m.runners.run import get_in, make_session
from g3m.steps import find as find_step
from g3m.steps.find import find, located, part_path, present, whole_path, write_receipt
from g3m.steps.resolve import resolve


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("world"), samples=4) as world:
        yield world


@pytest.fixture(autouse=True)
def _honest(world: World) -> None:
    world.origin.be_honest()
    world.origin.forget_requests()


def _state(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    """Every file below a folder: its bytes, times and mode."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_mode)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _get(world: World, root: Path, names: list[str], *sources: str) -> tuple[Any, list[Any]]:
    events: list[Any] = []
    session = make_session({"root": str(root), "source": list(sources), **world.options}, world.variables)
    return get_in(names, session, [events.append]), events


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    folder.mkdir()
    return folder


def test_a_right_file_of_another_name(world: World, tmp_path: Path, own: Path) -> None:
    """Size and digest say what a file is, its name nothing."""
    shutil.copy(world.sources.coco.valid, own / "pictures (1).bin")
    shutil.copy(world.sources.coco.annotations, own / "words")
    before = _state(own)
    summary, events = _get(world, tmp_path / "data", ["coco_valid"], str(own))
    assert summary.manifests["coco_valid"].samples == 4
    assert world.origin.requests == []
    assert _state(own) == before
    assert any("taken from" in event.text for event in events if isinstance(event, Noted))


def test_a_wrong_digest_under_the_right_name(world: World, tmp_path: Path, own: Path) -> None:
    """A file that only looks right is named, left alone, and the right one is downloaded."""
    data = bytearray(world.sources.coco.valid.read_bytes())
    data[1000] ^= 1
    (own / "val2017.zip").write_bytes(data)
    shutil.copy(world.sources.coco.annotations, own)
    before = _state(own)
    summary, events = _get(world, tmp_path / "data", ["coco_valid"], str(own))
    assert summary.manifests["coco_valid"].samples == 4
    assert [request.path.rpartition("/")[2] for request in world.origin.requests] == ["val2017.zip"]
    texts = [event.text for event in events if isinstance(event, Noted)]
    assert any("not used" in text and "val2017.zip" in text for text in texts)
    assert _state(own) == before


def test_a_file_of_another_size_is_not_even_read(world: World, tmp_path: Path, own: Path) -> None:
    """A cut archive of the right name is passed over and downloaded anew."""
    (own / "val2017.zip").write_bytes(world.sources.coco.valid.read_bytes()[:-1])
    before = _state(own)
    _get(world, tmp_path / "data", ["coco_valid"], str(own))
    assert len(world.origin.requests) == 2
    assert _state(own) == before


def test_an_unpacked_folder(world: World, tmp_path: Path, own: Path) -> None:
    """Folders that hold what the recipe names stand in for the archives."""
    for archive in (world.sources.coco.valid, world.sources.coco.annotations):
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(own)
    before = _state(own)
    summary, _ = _get(world, tmp_path / "unpacked", ["coco_valid"], str(own))
    fetched, _ = _get(world, tmp_path / "fetched", ["coco_valid"])
    assert {asset.proof for asset in summary.manifests["coco_valid"].assets} == {"folder"}
    assert summary.manifests["coco_valid"].shards == fetched.manifests["coco_valid"].shards
    assert _state(own) == before
    assert len(world.origin.requests) == 2  # those of the second run


def test_an_unpacked_folder_one_level_down(world: World, tmp_path: Path, own: Path) -> None:
    """`--from /datasets` finds /datasets/coco."""
    for archive in (world.sources.coco.valid, world.sources.coco.annotations):
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(own / "coco")
    _get(world, tmp_path / "data", ["coco_valid"], str(own))
    assert world.origin.requests == []


def test_a_path_meant_for_one_dataset(world: World, tmp_path: Path, own: Path) -> None:
    """DATASET=PATH counts for that dataset only, and names an unpinned file whatever it is called."""
    shutil.copy(world.sources.sbu, own / "from a friend.zip")
    before = _state(own)
    summary, _ = _get(world, tmp_path / "data", ["sbu"], f"sbu={own / 'from a friend.zip'}")
    assert summary.manifests["sbu"].samples > 0
    assert summary.manifests["sbu"].assets[0].proof == "first use"
    assert world.origin.requests == []
    assert _state(own) == before


def test_an_archive_that_nothing_proved_and_that_is_damaged_is_fetched_anew(
    world: World, tmp_path: Path
) -> None:
    """It may have been cut on its way without a sign: the error says so, and the next run is right."""
    plan = resolve(["sbu"], make_session({**world.options, "root": str(tmp_path / "data")}, world.variables))
    session = make_session({**world.options, "root": str(tmp_path / "data")}, world.variables)
    asset = plan.datasets[0].asset("sbucaptions.zip")
    session.store.prepare()
    cut = world.sources.sbu.read_bytes()[:-1000]
    whole_path(session, asset).write_bytes(cut)
    digest = Digest("sha256", hashlib.sha256(cut).hexdigest())
    receipt = AssetReceipt(
        id=asset_id(asset), name=asset.name, size_bytes=len(cut), digests=(digest,), proof="first use"
    )
    write_receipt(session, receipt)
    with pytest.raises(BadArchive) as caught:
        _get(world, tmp_path / "data", ["sbu"])
    assert "fetch it anew" in caught.value.hint[0]
    summary, _ = _get(world, tmp_path / "data", ["sbu"])
    assert summary.manifests["sbu"].samples > 0


def test_a_damaged_file_of_the_users_own_stays(world: World, tmp_path: Path, own: Path) -> None:
    """What g3m did not fetch it does not take away."""
    mine = own / "mine.zip"
    mine.write_bytes(world.sources.sbu.read_bytes()[:-1000])
    with pytest.raises(BadArchive):
        _get(world, tmp_path / "data", ["sbu"], f"sbu={mine}")
    assert mine.stat().st_size == world.sources.sbu.stat().st_size - 1000


def test_a_path_meant_for_another_dataset_is_not_looked_at(world: World, tmp_path: Path, own: Path) -> None:
    """What is said to be sbu is not searched for COCO."""
    shutil.copy(world.sources.coco.valid, own)
    shutil.copy(world.sources.coco.annotations, own)
    _get(world, tmp_path / "data", ["coco_valid"], f"sbu={own}")
    assert len(world.origin.requests) == 2


def test_an_unpinned_file_is_found_by_its_name(world: World, tmp_path: Path, own: Path) -> None:
    """Among several datasets only the recipe's own name marks a file without digest."""
    shutil.copy(world.sources.sbu, own / "sbucaptions.zip")
    shutil.copy(world.sources.coco.valid, own)
    shutil.copy(world.sources.coco.annotations, own)
    summary, _ = _get(world, tmp_path / "data", ["sbu", "coco_valid"], str(own))
    assert set(summary.manifests) == {"sbu", "coco_valid"}
    assert world.origin.requests == []


def test_an_unpinned_file_of_another_name_is_not_guessed(world: World, tmp_path: Path, own: Path) -> None:
    """A folder with any zip in it is no SBU where it was not said to be."""
    shutil.copy(world.sources.sbu, own / "other.zip")
    shutil.copy(world.sources.coco.valid, own)
    shutil.copy(world.sources.coco.annotations, own)
    _get(world, tmp_path / "data", ["sbu", "coco_valid"], str(own))
    assert any("sbucaptions" in request.path for request in world.origin.requests)


@pytest.mark.parametrize("source", ["{own}/nothing", "coco_valid={own}/nothing", "coco={own}"])
def test_a_missing_path_is_a_setting_that_is_not_right(
    world: World, tmp_path: Path, own: Path, source: str
) -> None:
    """A typing error in --from must not cost a download of 800 MB."""
    shutil.rmtree(own)
    with pytest.raises(SettingsError, match="nothing at") as caught:
        _get(world, tmp_path / "data", ["coco_valid"], source.format(own=own))
    assert caught.value.exit_code == 2
    assert world.origin.requests == []


def test_shards_of_the_users_stay(world: World, tmp_path: Path, own: Path) -> None:
    """Ready shards are copied or linked into the dataset; the user's are there afterwards, unchanged."""
    for path in world.sources.cc3m.folder.glob("cc3m-validation-*.tar"):
        shutil.copy(path, own)
    before = _state(own)
    summary, _ = _get(world, tmp_path / "data", ["cc3m_valid"], str(own))
    assert summary.manifests["cc3m_valid"].samples > 0
    assert _state(own) == before
    assert not any("/resolve/" in request.path for request in world.origin.requests)


def test_the_second_run_takes_the_same_copy(world: World, tmp_path: Path, own: Path) -> None:
    """A receipt that points to a copy which went away is no receipt: the file is downloaded."""
    shutil.copy(world.sources.coco.valid, own)
    shutil.copy(world.sources.coco.annotations, own)
    _get(world, tmp_path / "data", ["coco_valid"], str(own))
    shutil.rmtree(own)
    shutil.rmtree(tmp_path / "data" / "coco")
    shutil.rmtree(tmp_path / "data" / ".g3m" / "receipts" / "coco_valid", ignore_errors=True)
    _get(world, tmp_path / "data", ["coco_valid"])
    assert len(world.origin.requests) == 2


# The step by itself, with one asset on the bench.


def _found(bench: Any, asset: Asset, *sources: Path | str, run: Callable[..., Any] = find) -> Any:
    session = bench.session(source=[str(source) for source in sources])
    events = list(run(fetch_task(asset, "one"), asset, bench.plan(asset), session))
    receipt = present(session, asset)
    return receipt, events, session


def test_a_find_is_receipted_with_its_path(bench: Any, own: Path) -> None:
    """The receipt says where the copy lies, with its digests, and nothing is copied below the root."""
    (own / "x").write_bytes(bench.blob)
    receipt, _, session = _found(bench, bench.asset(), own)
    assert receipt.path == str(own / "x")
    assert receipt.proof == "recipe"
    assert hashlib.sha256(bench.blob).hexdigest() == receipt.digests[0].hex
    assert located(session, bench.asset(), receipt) == own / "x"
    assert not whole_path(session, bench.asset()).exists()
    assert not part_path(session, bench.asset()).exists()


def test_a_hub_mirrors_digest_is_called_so(bench: Any, own: Path) -> None:
    """A digest that came from a mirror of the hub is attested by the mirror only."""
    (own / "x").write_bytes(bench.blob)
    asset = Asset(
        name="x",
        places=("hub://o/n@" + "0" * 40 + "/x",),
        size_bytes=len(bench.blob),
        digests=bench.asset().digests,
    )
    assert _found(bench, asset, own)[0].proof == "hub"
    session = bench.session(source=[str(own)], hub_endpoint="http://127.0.0.1:1")
    shutil.rmtree(session.store.work)
    list(find(fetch_task(asset, "one"), asset, bench.plan(asset), session))
    assert present(session, asset).proof == "mirror"


def test_a_relative_path_survives_a_change_of_folder(
    bench: Any, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The receipt holds an absolute path."""
    (own / "x").write_bytes(bench.blob)
    monkeypatch.chdir(own.parent)
    receipt, _, session = _found(bench, bench.asset(), "own")
    monkeypatch.chdir("/")
    assert receipt is not None
    assert present(session, bench.asset()) == receipt


def test_a_home_is_expanded(bench: Any, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--from ~/data` means the user's home."""
    (own / "x").write_bytes(bench.blob)
    monkeypatch.setenv("HOME", str(own.parent))
    assert _found(bench, bench.asset(), "~/own")[0] is not None


def test_files_four_folders_down_are_found_and_deeper_ones_not(bench: Any, own: Path) -> None:
    """The search is bounded."""
    deep = own / "1" / "2" / "3" / "4"
    deep.mkdir(parents=True)
    (deep / "x").write_bytes(bench.blob)
    assert _found(bench, bench.asset(), own)[0] is not None
    shutil.rmtree(bench.root)
    (deep / "5").mkdir()
    (deep / "x").rename(deep / "5" / "x")
    assert _found(bench, bench.asset(), own)[0] is None


def test_hidden_folders_are_left_alone(bench: Any, own: Path) -> None:
    """Caches and .g3m itself are not searched."""
    (own / ".cache").mkdir()
    (own / ".cache" / "x").write_bytes(bench.blob)
    assert _found(bench, bench.asset(), own)[0] is None


def test_a_broken_link_and_a_pipe_are_passed_over(bench: Any, own: Path) -> None:
    """What is no file does not stop the search, and a pipe is never opened."""
    (own / "a").symlink_to(own / "nowhere")
    os.mkfifo(own / "blob.bin")
    (own / "x").write_bytes(bench.blob)
    assert _found(bench, bench.asset(), own)[0].path == str(own / "x")


def test_an_empty_file_is_no_unpinned_asset(bench: Any, own: Path) -> None:
    """A failed download of somebody else's, empty but well named, is not taken."""
    (own / "blob.bin").write_bytes(b"")
    receipt, *_ = _found(bench, bench.asset(pinned=False), own)
    assert receipt is None


def test_a_file_that_cannot_be_read_is_passed_over(
    bench: Any, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A candidate without permission is no reason to fail: the asset can be fetched."""
    (own / "a").write_bytes(bench.blob)
    (own / "x").write_bytes(bench.blob)
    real = open

    def closed(path: Any, *arguments: Any, **named: Any) -> Any:
        if Path(path) == own / "a":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *arguments, **named)

    monkeypatch.setattr(find_step, "open", closed, raising=False)
    assert _found(bench, bench.asset(), own)[0].path == str(own / "x")


def test_a_folder_of_pictures_is_not_listed_for_ever(
    bench: Any, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crowded folder is passed over, its neighbours are not."""
    monkeypatch.setattr(find_step, "_CROWD", 5)
    (own / "crowd").mkdir()
    for number in range(6):
        (own / "crowd" / str(number)).write_bytes(bench.blob)
    assert _found(bench, bench.asset(), own)[0] is None
    (own / "x").write_bytes(bench.blob)
    assert _found(bench, bench.asset(), own)[0] is not None
