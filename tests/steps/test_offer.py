"""steps/offer.py: what of a root is shared is exactly what lies there and can be proved."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from g3m.adapters.beneath import open_beneath
from g3m.adapters.disk import remove
from g3m.adapters.session import Session
from g3m.core.digest import Digest
from g3m.core.errors import UnknownDataset
from g3m.core.peers import parse
from g3m.core.plan import DatasetPlan, asset_id
from g3m.core.receipt import AssetReceipt
from g3m.core.serving import SharedPath
from g3m.lab.world import World
from g3m.runners.run import get_in, make_session
from g3m.steps import offer as offer_module
from g3m.steps.find import part_path, read_receipt, whole_path, write_receipt
from g3m.steps.offer import known_datasets, offer
from g3m.steps.publish import COMPANIONS


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Path]]:
    """A root with COCO packed (its archives kept) and CC3M adopted, only to be copied."""
    folder = tmp_path_factory.mktemp("offer")
    with World(folder / "world", samples=6) as world:
        session = session_at(folder / "data", world, keep_assets=True)
        get_in(["coco_valid", "cc3m_valid"], session, [])
        yield world, folder / "data"


def session_at(root: Path, world: World, **options: Any) -> Session:
    return make_session({"root": str(root), **world.options, **options}, dict(world.variables))


@pytest.fixture
def session(made: tuple[World, Path], tmp_path: Path) -> Session:
    shutil.copytree(made[1], tmp_path / "data")
    return session_at(tmp_path / "data", made[0])


def dataset(name: str, session: Session) -> DatasetPlan:
    return known_datasets(session, [name])[0]


def content(shared: SharedPath, session: Session) -> bytes:
    with open_beneath(session.store.root, shared.parts) as file:
        return file.read()


def test_everything_that_stands_is_offered(session: Session) -> None:
    """Archives as assets, adopted shards as assets, packed shards and small files as a dataset; each file is what the list says."""
    listing, catalogue = offer(known_datasets(session), session)
    assert {asset.name for asset in listing.assets} == {
        "val2017.zip",
        "annotations_trainval2017.zip",
        "cc3m-validation-0000.tar",
    }
    assert all(asset.ranges is None for asset in listing.assets)
    assert [one.name for one in listing.datasets] == ["coco_valid"]
    coco = listing.datasets[0]
    assert coco.identity == dataset("coco_valid", session).identity
    assert {file.name for file in coco.files} == {"manifest.json", *COMPANIONS}
    assert [shard.samples for shard in coco.shards] == [6]
    named = {asset.path: (asset.size_bytes, asset.digest) for asset in listing.assets}
    for file in (*coco.shards, *coco.files):
        named[coco.path(file.name)] = (file.size_bytes, Digest("sha256", file.sha256))
    assert set(named) == set(catalogue.paths)
    for path, (size_bytes, digest) in named.items():
        shared = catalogue.paths[path]
        data = content(shared, session)
        assert (len(data), hashlib.new(digest.algorithm, data).hexdigest()) == (size_bytes, digest.hex)
        assert (shared.size_bytes, shared.digest) == (size_bytes, str(digest))
    assert parse(catalogue.listing) == listing


def test_the_assets_are_those_of_the_plan(session: Session) -> None:
    """Ids, sizes and digests are what another machine with the same recipes asks for."""
    listing, _ = offer(known_datasets(session), session)
    wanted = {asset_id(asset): asset for one in known_datasets(session) for asset in one.assets}
    for shared in listing.assets:
        asset = wanted[shared.id]
        assert (shared.name, shared.size_bytes) == (asset.name, asset.size_bytes)
        assert shared.digest in asset.digests


def test_only_named_datasets_are_offered(session: Session) -> None:
    """With names, nothing else is in the list; a wrong name is told."""
    listing, catalogue = offer(known_datasets(session, ["cc3m_valid"]), session)
    assert [asset.name for asset in listing.assets] == ["cc3m-validation-0000.tar"]
    assert listing.datasets == ()
    assert len(catalogue.paths) == 1
    with pytest.raises(UnknownDataset):
        known_datasets(session, ["coco_vaild"])


def test_nothing_is_asked_of_a_network(made: tuple[World, Path], session: Session) -> None:
    """A dataset whose listing is not kept here is simply not known."""
    made[0].origin.forget_requests()
    session.store.plan("cc3m_valid.listing.json").unlink()
    assert "cc3m_valid" not in {one.name for one in known_datasets(session)}
    assert made[0].origin.requests == []


def test_an_empty_root_offers_nothing(made: tuple[World, Path], tmp_path: Path) -> None:
    """No folder, no list; and none is made."""
    session = session_at(tmp_path / "none", made[0])
    listing, catalogue = offer(known_datasets(session), session)
    assert (listing.assets, listing.datasets, dict(catalogue.paths)) == ((), (), {})
    assert not (tmp_path / "none").exists()


def test_a_growing_file_has_ranges(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the journal claims and the part holds, joined and in order; the id and digest are the plan's."""
    asset = dataset("coco", session).assets[0]
    part = part_path(session, asset)
    part.write_bytes(bytes(50))
    monkeypatch.setattr(
        offer_module, "claimed", lambda path: [(20, 80), (0, 5), (5, 10)] if path == part else []
    )
    listing, catalogue = offer([dataset("coco", session)], session)
    shared = next(one for one in listing.assets if one.id == asset_id(asset))
    assert shared.ranges == ((0, 10), (20, 50))
    assert (shared.size_bytes, shared.digest) == (asset.size_bytes, asset.digests[0])
    assert catalogue.paths[shared.path].ranges == shared.ranges
    assert listing.partial


@pytest.mark.parametrize("change", [{"digests": ()}, {"size_bytes": None}])
def test_a_growing_file_without_a_pin_is_not_offered(
    session: Session, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    """Nobody could prove its bytes."""
    one = dataset("coco", session)
    loose = replace(one.assets[0], **change)
    part_path(session, loose).write_bytes(bytes(50))
    monkeypatch.setattr(offer_module, "claimed", lambda _: [(0, 50)])
    listing, _ = offer([replace(one, assets=(loose,))], session)
    assert listing.assets == ()


def test_a_part_that_claims_nothing_is_not_offered(session: Session) -> None:
    """Bytes without a journal are no bytes."""
    part_path(session, dataset("coco", session).assets[0]).write_bytes(bytes(50))
    listing, _ = offer([dataset("coco", session)], session)
    assert not listing.partial


def test_what_was_changed_or_taken_away_is_not_offered(session: Session) -> None:
    """Another size, a missing receipt, a missing small file: that entry goes, the others stay."""
    coco, cc3m = dataset("coco_valid", session), dataset("cc3m_valid", session)
    first, second = coco.assets
    with open(whole_path(session, first), "ab") as file:
        file.write(b"x")
    remove(session.store.receipt("assets", asset_id(second)))
    (session.store.root / coco.recipe.folder / "README.md").unlink()
    with open(session.store.root / cc3m.recipe.folder / cc3m.assets[0].name, "ab") as file:
        file.write(b"x")
    listing, catalogue = offer(known_datasets(session), session)
    assert (listing.assets, listing.datasets, dict(catalogue.paths)) == ((), (), {})


def test_a_shard_of_another_size_takes_its_dataset_out(session: Session) -> None:
    """A dataset is offered whole or not at all."""
    coco = dataset("coco_valid", session)
    with open(session.store.root / coco.recipe.folder / "00000.tar", "ab") as file:
        file.write(b"x")
    listing, _ = offer([coco], session)
    assert listing.datasets == ()


def test_a_rewritten_shard_is_not_the_asset(session: Session) -> None:
    """An adopted shard that was written anew has other bytes than the plan pins."""
    cc3m = dataset("cc3m_valid", session)
    path = session.store.receipt("cc3m_valid", cc3m.assets[0].name)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(cc3m.assets[0].digests[0].hex, "0" * 64), encoding="utf-8")
    listing, _ = offer([cc3m], session)
    assert listing.assets == ()


def test_a_copy_of_the_users_is_not_handed_on(session: Session, tmp_path: Path) -> None:
    """A receipt that points at a file outside the root shares nothing; nor does a link in its place."""
    asset = dataset("coco_valid", session).assets[0]
    receipt = read_receipt(session, asset)
    assert receipt is not None
    own = whole_path(session, asset)
    shutil.move(own, tmp_path / "mine.zip")
    write_receipt(session, replace(receipt, path=str(tmp_path / "mine.zip")))
    listing, _ = offer([dataset("coco_valid", session)], session)
    assert asset_id(asset) not in {one.id for one in listing.assets}
    own.symlink_to(tmp_path / "mine.zip")
    write_receipt(session, receipt)
    listing, _ = offer([dataset("coco_valid", session)], session)
    assert asset_id(asset) not in {one.id for one in listing.assets}


def test_a_receipt_of_another_digest_shares_nothing(session: Session) -> None:
    """What was taken in under an older recipe is not offered as what the new one pins."""
    asset = dataset("coco_valid", session).assets[0]
    other = AssetReceipt(
        id=asset_id(asset),
        name=asset.name,
        size_bytes=asset.size_bytes or 0,
        digests=(Digest("sha256", "0" * 64),),
        proof="recipe",
    )
    write_receipt(session, other)
    listing, _ = offer([dataset("coco_valid", session)], session)
    assert asset_id(asset) not in {one.id for one in listing.assets}


def test_an_unpinned_file_is_offered_by_its_receipt(session: Session) -> None:
    """A finished file without a pin has the digest that was measured: for people, peers do not take it."""
    sbu = dataset("sbu", session)
    data = b"a zip of Kaggle's"
    whole_path(session, sbu.assets[0]).write_bytes(data)
    digest = Digest("sha256", hashlib.sha256(data).hexdigest())
    write_receipt(
        session,
        AssetReceipt(
            id=asset_id(sbu.assets[0]),
            name="sbucaptions.zip",
            size_bytes=len(data),
            digests=(digest,),
            proof="first use",
        ),
    )
    listing, _ = offer([sbu], session)
    assert [(one.name, one.digest) for one in listing.assets] == [("sbucaptions.zip", digest)]


def test_a_changed_small_file_is_hashed_again(session: Session) -> None:
    """Digests of small files are kept only as long as size and time stay the same."""
    coco = dataset("coco_valid", session)
    before = {file.name: file.sha256 for file in offer([coco], session)[0].datasets[0].files}
    (session.store.root / coco.recipe.folder / "README.md").write_text("other", encoding="utf-8")
    after = {file.name: file.sha256 for file in offer([coco], session)[0].datasets[0].files}
    assert after["README.md"] == hashlib.sha256(b"other").hexdigest() != before["README.md"]
