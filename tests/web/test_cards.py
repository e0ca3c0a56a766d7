"""Cards: what is here of each dataset, what was begun, and what is only known."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.web.conftest import LOOKALIKES, SAMPLES, Root, add_lookalikes, copied

from g3m.core.dropped import DROPPED, Drop, Record
from g3m.runners.run import make_session
from g3m.ui.web.collection import Collection
from g3m.ui.web.facts import Card


@pytest.fixture
def root(bare_root: Root, tmp_path: Path) -> Path:
    """A root of one's own."""
    return copied(bare_root, tmp_path).path


def _cards(root: Path) -> dict[str, Card]:
    collection = Collection(make_session({"root": str(root)}, {}))
    try:
        return {card.name: card for card in collection.cards()}
    finally:
        collection.close()


def test_what_was_begun_is_told_by_its_receipts(root: Path) -> None:
    """Samples and shards that are ready, how many there will be, and what was left out so far."""
    before = _cards(root)
    for name in ("cc3m", "laion115m"):
        shutil.rmtree(root / name / name)
    card = _cards(root)["cc3m"]
    # Its publisher packed it, so that nothing was arranged.
    assert (card.state, card.shards, card.planned_shards) == ("part", 2, None)
    assert (card.samples, card.is_recipe, card.first) == (before["cc3m"].samples, True, ())
    max((root / ".g3m" / "receipts" / "cc3m").glob("*.tar.json")).unlink()
    fewer = _cards(root)["cc3m"]
    assert fewer.shards == 1 and 0 < fewer.samples < card.samples
    laion = _cards(root)["laion115m"]
    assert (laion.planned_shards, laion.missing) == (1, before["laion115m"].missing) and laion.missing


def test_what_no_recipe_knows_is_shown_when_it_was_begun(root: Path) -> None:
    """A list of somebody's own has no recipe, and so no `g3m get`."""
    receipts = root / ".g3m" / "receipts"
    (receipts / "laion115m").rename(receipts / "mine")
    card = _cards(root)["mine"]
    assert (card.state, card.is_recipe, card.shards) == ("part", False, 1)


def test_what_is_dropped_is_counted_once(root: Path) -> None:
    """Also when the shards were written anew without it: then the manifest has left it out already."""
    record = Record().added([Drop("gone", shard="00000.tar"), Drop("held")])
    (root / "coco" / "coco_valid" / DROPPED).write_text(record.encode())
    card = _cards(root)["coco_valid"]
    assert (card.samples, card.dropped) == (SAMPLES - 1, 2)


def test_the_pictures_on_a_card_are_there(root: Path) -> None:
    """The first samples that were not dropped."""
    collection = Collection(make_session({"root": str(root)}, {}))
    keys = [collection.sample("coco_valid", number).shown.key for number in (0, 2)]
    collection.close()
    (root / "coco" / "coco_valid" / DROPPED).write_text(Record().added(map(Drop, keys)).encode())
    assert _cards(root)["coco_valid"].first == (1, 3, 4, 5, 6)


def test_a_folder_without_a_manifest_says_its_size(root: Path) -> None:
    """From its index, also where a link beside the shards leads nowhere."""
    add_lookalikes(root)
    folder = root / LOOKALIKES
    (folder / "broken.tar").symlink_to("nowhere")
    assert _cards(root)[LOOKALIKES].size_bytes == (folder / "own-0.tar").stat().st_size
