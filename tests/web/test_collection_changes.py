"""The collection while others work on the same root: nothing dropped is shown, and nothing that is not so any more."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest
from tests.web.conftest import LOOKALIKES, SAMPLES, Root, copied

from g3m.adapters.catalog import FILE
from g3m.core.alike import Leaks
from g3m.core.browse import View
from g3m.core.dropped import DROPPED, Drop, Exchange, Record
from g3m.core.errors import NotVerified
from g3m.core.shard import ShardSummary
from g3m.runners import stats
from g3m.runners.run import make_session
from g3m.ui.web import collection as module
from g3m.ui.web import current
from g3m.ui.web.collection import Collection
from g3m.ui.web.facts import Gone, NotHere, Rewriting

VALID = View(dataset="coco_valid")


def _collection(root: Path) -> Collection:
    return Collection(make_session({"root": str(root)}, {}))


def _record(root: Path, record: Record) -> None:
    """The record of coco_valid, written as `g3m drop` does: by a rename."""
    path = root / "coco" / "coco_valid" / DROPPED
    new = path.with_suffix(".new")
    new.write_text(record.encode(), encoding="utf-8")
    new.replace(path)


def _dropped(*keys: str) -> Record:
    return Record().added([Drop(key, "asked", "list") for key in keys])


@pytest.fixture
def root(drawn_root: Root, tmp_path: Path) -> Path:
    """A root of one's own with its catalog."""
    return copied(drawn_root, tmp_path).path


def test_a_dropped_sample_is_gone_at_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while the list of datasets is still believed, and while the catalog still has it."""
    monkeypatch.setattr(current, "FRESH_S", 1e9)
    collection = _collection(root)
    rows = collection.browse(VALID).shown
    alike = collection.sample(LOOKALIKES, 0).alike
    keys = [rows[0].key, rows[1].key, *(other.key for other, _ in alike)]
    _record(root, _dropped(*keys))
    for number in (0, 1):
        with pytest.raises(Gone):
            collection.sample("coco_valid", number)
        with pytest.raises(Gone):
            collection.image("coco_valid", number, 1)
    grid = collection.browse(VALID)
    assert not {row.key for row in grid.shown} & set(keys) and grid.is_behind
    assert not set(collection.keys(VALID)) & {("coco_valid", key) for key in keys}
    assert not [one for one, _ in collection.sample(LOOKALIKES, 0).alike if one.key in keys]
    pairs = collection.pairs(LOOKALIKES, 0).pairs
    assert not [pair for pair in pairs if {pair.one.key, pair.other.key} & set(keys)]
    assert not [leak for leak in collection.leaks("coco_valid").pairs if leak.like_key in keys]
    collection.close()


def test_while_shards_are_exchanged_nobody_reads_them(root: Path) -> None:
    """Samples, pictures and lists of that dataset wait; the others are shown, and so is it when that is over."""
    collection = _collection(root)
    whole = len(collection.browse(View(dataset="sbu")).shown)
    shard = ShardSummary("00000.tar", SAMPLES - 1, 1, "0" * 64)
    _record(root, replace(_dropped("x"), rewriting=(Exchange(shard, "part", ("x",)),)))
    for ask in (
        lambda: collection.sample("coco_valid", 5),
        lambda: collection.image("coco_valid", 5, 1),
        lambda: collection.browse(VALID),
        lambda: collection.shards("coco_valid"),
        lambda: list(collection.image_pieces("coco_valid", 5)),
    ):
        with pytest.raises(Rewriting, match="coco_valid"):
            ask()
    assert len(collection.browse(View(dataset="sbu")).shown) == whole
    assert "coco_valid" not in {row.dataset for row in collection.browse(View()).shown}
    card = next(card for card in collection.cards() if card.name == "coco_valid")
    assert card.is_rewriting and not card.first and not card.problem
    _record(root, Record())
    assert collection.sample("coco_valid", 5).shown.number == 5
    collection.close()


@pytest.mark.parametrize("is_whole", [True, False], ids=["the folder", "its index"])
def test_a_dataset_that_is_taken_away_is_not_here(
    root: Path, is_whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while the list of datasets is still believed: that is no error of anybody's."""
    monkeypatch.setattr(current, "FRESH_S", 1e9)
    collection = _collection(root)
    assert "coco_valid" in collection.datasets()
    if is_whole:
        shutil.rmtree(root / "coco" / "coco_valid")
    else:
        (root / "coco" / "coco_valid" / "index.bin").unlink()
    for ask in (
        lambda: collection.shards("coco_valid"),
        lambda: collection.sample("coco_valid", 5),
        lambda: collection.image("coco_valid", 5, 1),
    ):
        with pytest.raises(NotHere, match="coco_valid"):
            ask()
    collection.close()


def test_files_that_change_while_they_are_read_give_nothing(root: Path) -> None:
    """What was read of an index and of shards that may not fit is not handed out."""
    collection = _collection(root)
    pieces = collection.image_pieces("coco_valid", 0)
    next(pieces)
    _record(root, _dropped("x"))
    with pytest.raises(Rewriting):
        list(pieces)
    collection.close()


def test_a_catalog_that_is_older_than_the_shards_shows_no_caption_of_another(root: Path) -> None:
    """Rows whose number means another sample by now are left out, and the page is told."""
    (root / "sbu" / "sbu").rename(root / "kept")
    shutil.copytree(root / "coco" / "coco_train", root / "sbu" / "sbu")
    manifest = root / "sbu" / "sbu" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"dataset": "coco"', '"dataset": "sbu"'))
    shutil.rmtree(root / "kept")
    collection = _collection(root)
    grid = collection.browse(View(dataset="sbu"))
    assert not grid.shown and grid.is_behind
    assert not collection.browse(VALID).is_behind
    collection.close()


@pytest.mark.parametrize("spoil", ["", '{"format": 1, "kind": "Dropped"}\n{"key": "a"', "\udc80"])
def test_a_record_that_cannot_be_read_hides_its_dataset_and_no_other(root: Path, spoil: str) -> None:
    """Nobody knows what was dropped, so nothing of it is shown; the first page and the others go on."""
    path = root / "coco" / "coco_valid" / DROPPED
    path.write_bytes(spoil.encode("utf-8", "surrogateescape"))
    collection = _collection(root)
    cards = {card.name: card for card in collection.cards()}
    assert DROPPED in cards["coco_valid"].problem and not cards["sbu"].problem
    with pytest.raises(NotVerified):
        collection.sample("coco_valid", 0)
    assert "coco_valid" not in {row.dataset for row in collection.browse(View()).shown}
    assert "coco_valid" not in {name for name, _ in collection.keys(View())}
    assert collection.pairs("", 0).pairs and collection.leaks("coco_valid").pairs == ()
    collection.close()


def test_a_catalog_that_is_made_anew_is_read(root: Path, tmp_path: Path) -> None:
    """Deleted, replaced, damaged and whole again under a running page: each is seen at the next request."""
    collection, path = _collection(root), root / ".g3m" / FILE
    assert all(card.looked for card in collection.cards() if card.state == "done")
    shutil.copy(path, tmp_path / "whole")
    os.unlink(path)
    assert not collection.has_catalog() and collection.browse(View()).shown
    Root(root, {**os.environ, "HOME": str(tmp_path)}).run("index")
    assert collection.has_catalog() and not any(card.looked for card in collection.cards())
    (tmp_path / "bad").write_bytes(b"no database" * 999)
    os.replace(tmp_path / "bad", path)
    assert not collection.has_catalog() and collection.browse(View()).shown
    os.replace(tmp_path / "whole", path)
    assert all(card.looked for card in collection.cards() if card.state == "done")
    collection.close()


def test_a_dataset_that_is_not_in_the_catalog_is_shown_all_the_same(root: Path) -> None:
    """Its samples are listed by number; a search says how many it could not search."""
    shutil.copytree(root / LOOKALIKES, root / "later")
    collection = _collection(root)
    assert {row.dataset for row in collection.browse(View(dataset="later")).shown} == {"later"}
    assert collection.browse(View()).total == collection.browse(View(query="red")).lacking + sum(
        card.catalogued for card in collection.cards()
    )
    assert collection.browse(View(query="red")).lacking == 20
    assert collection.browse(View(dataset="sbu", query="red")).lacking == 0
    assert not collection.pairs("", 0).is_whole and collection.pairs("coco_valid", 0).is_whole
    collection.close()


def test_one_damaged_shard_hides_no_other(bare_root: Root, tmp_path: Path) -> None:
    """A list by number shows what can be read, and of the rest what the index knows."""
    root = copied(bare_root, tmp_path).path
    shard = root / "coco" / "coco_valid" / "00000.tar"
    with open(shard, "r+b") as file:
        file.truncate(shard.stat().st_size // 2)
    collection = _collection(root)
    rows = collection.browse(View()).shown
    assert len(rows) == 60 and all(row.key for row in rows)
    assert any("unreadable" in row.flags for row in collection.browse(VALID).shown)
    collection.close()


def test_leaks_are_computed_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several who ask at one moment, one waits for the other."""
    collection, calls = _collection(root), list[str]()

    def counted(_catalog: object, evaluation: str, _session: object) -> Leaks:
        calls.append(evaluation)
        time.sleep(0.2)  # so long that the others ask meanwhile
        return Leaks(evaluation=evaluation, samples=1, looked=1)

    monkeypatch.setattr(stats, "leaks_in", counted)
    readers = [Thread(target=collection.leaks, args=("coco_valid",)) for _ in range(4)]
    for one in readers:
        one.start()
    for one in readers:
        one.join(60)
    assert calls == ["coco_valid"]
    collection.close()


def test_a_full_last_page_of_pairs_is_the_last(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No page follows that would have nothing to say but that there are none."""
    collection = _collection(root)
    found = len(collection.pairs(LOOKALIKES, 0).pairs)
    for size in (found, found - 1):
        monkeypatch.setattr(module, "PAIRS", size)
        first = collection.pairs(LOOKALIKES, 0)
        assert len(first.pairs) == size and bool(first.after) is (size < found)
    assert len(collection.pairs(LOOKALIKES, first.after).pairs) == 1
    collection.close()
