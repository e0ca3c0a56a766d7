"""The collection: what stands on the disk and in the catalog, as the pages get it."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.web.conftest import LOOKALIKES, SAMPLES, Root, copied

import g3m
from g3m.core.browse import Span, View
from g3m.core.dropped import DROPPED, Drop, Record
from g3m.runners.run import make_session
from g3m.ui.web.collection import Collection
from g3m.ui.web.drawing import python_lines
from g3m.ui.web.facts import Gone, NeedsCatalog, NotHere
from g3m.ui.web.left_out import LINES


def _collection(root: Path) -> Collection:
    return Collection(make_session({"root": str(root)}, {}))


@pytest.fixture
def collection(drawn_root: Root) -> Iterator[Collection]:
    """Over the drawn root with its catalog."""
    found = _collection(drawn_root.path)
    yield found
    found.close()


def _all(collection: Collection, view: View) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    following: View | None = view
    while following is not None:
        grid = collection.browse(following)
        found += [(row.dataset, row.number) for row in grid.shown]
        following = grid.next
    return found


def test_cards_say_what_is_here(collection: Collection) -> None:
    """A card for each dataset, with what its manifest says and what the catalog knows."""
    cards = {card.name: card for card in collection.cards() if card.state == "done"}
    assert {"coco_valid", "sbu", LOOKALIKES} <= set(cards)
    card = cards["coco_valid"]
    assert (card.samples, card.catalogued, card.shards, card.problem) == (SAMPLES, SAMPLES, 1, "")
    assert card.title and card.licence and card.size_bytes > 0
    assert cards["laion115m"].missing


def test_lists_are_the_same_with_and_without_a_catalog(collection: Collection, bare_root: Root) -> None:
    """Browsing by number shows every sample once, in the order of the catalog's pages."""
    bare = _collection(bare_root.path)
    assert not bare.has_catalog() and collection.has_catalog()
    for name in ("coco_valid", "sbu"):
        view = View(dataset=name)
        numbers = [(name, number) for number in range(len(_all(bare, view)))]
        assert _all(bare, view) == numbers == _all(collection, view)
    rows = bare.browse(View(dataset="sbu")).shown
    known = collection.browse(View(dataset="sbu")).shown
    assert [replace(row, id=0) for row in known] == list(rows)


def test_pages_by_number_lead_back(bare_root: Root) -> None:
    """Before a page stands the one from which it was reached."""
    bare = _collection(bare_root.path)
    first = bare.browse(View())
    assert first.next is not None and first.previous is None
    second = bare.browse(first.next)
    assert second.previous is not None
    assert bare.browse(second.previous).shown == first.shown


@pytest.mark.parametrize(
    "view", [View(query="red"), View(words=Span(1, 5)), View(seed=1), View(flag="grayscale")]
)
def test_what_only_a_catalog_answers_says_so(bare_root: Root, view: View) -> None:
    """Search, filters and order need it; so do charts, pairs and leaks."""
    bare = _collection(bare_root.path)
    with pytest.raises(NeedsCatalog):
        bare.browse(view)
    with pytest.raises(NeedsCatalog):
        bare.keys(view)
    for ask in (lambda: bare.stats(""), lambda: bare.pairs("", 0), lambda: bare.leaks("coco_valid")):
        with pytest.raises(NeedsCatalog):
            ask()


def test_a_sample_is_the_one_that_loading_gives(collection: Collection, drawn_root: Root) -> None:
    """Key, caption, members and neighbours agree with g3m.dataset and with the bytes of the tar."""
    with g3m.dataset("coco_valid", root=drawn_root.path) as data:
        for number in (0, 7, SAMPLES - 1):
            detail, sample = collection.sample("coco_valid", number), data[number]
            assert (detail.shown.key, detail.shown.caption) == (sample.key, sample.text.strip())
            assert detail.json_text == sample.json.decode() and detail.captions == sample.captions
            shard = Path(detail.folder, detail.shard).read_bytes()
            found = {one.extension: shard[one.offset : one.offset + one.size_bytes] for one in detail.members}
            assert (found["jpg"], found["txt"]) == (sample.image, sample.text.encode())
            assert collection.image("coco_valid", number, 2**30) == sample.image
    assert collection.sample("coco_valid", 0).before is None
    assert collection.sample("coco_valid", SAMPLES - 1).after is None


def test_what_is_not_there_is_said(collection: Collection) -> None:
    """An unknown dataset, and a number beyond, wherever they are asked for."""
    for ask in (
        lambda: collection.sample("coco_valid", SAMPLES),
        lambda: collection.image("coco_valid", -1, 1),
        lambda: collection.sample("nothing", 0),
        lambda: collection.browse(View(dataset="nothing")),
        lambda: collection.shards("nothing"),
        lambda: collection.left_out("nothing"),
        lambda: collection.leaks("nothing"),
        lambda: collection.stats("nothing"),
        lambda: collection.pairs("nothing", 0),
        lambda: collection.keys(View(dataset="nothing")),
    ):
        with pytest.raises(NotHere):
            ask()
    assert collection.version("nothing") == ""


def test_look_alikes_are_told_of_a_sample_and_of_all(collection: Collection) -> None:
    """What the catalog knows of pairs comes with the sample, and as a list."""
    assert {other.dataset for other, _ in collection.sample(LOOKALIKES, 0).alike} == {"coco_valid"}
    pairs = collection.pairs(LOOKALIKES, 0).pairs
    assert pairs and all(LOOKALIKES in (pair.one.dataset, pair.other.dataset) for pair in pairs)
    assert collection.leaks("coco_valid").hit > 0
    same, near = collection.alike_counts("") or (0, 0)
    assert 0 < same + near <= sum(card.samples for card in collection.cards())
    assert collection.alike_counts("nothing") is None


def test_what_was_dropped_is_gone_everywhere(bare_root: Root, tmp_path: Path) -> None:
    """From lists, counts, keys, neighbours, pictures and samples; the Python lines still name the right sample."""
    root = copied(bare_root, tmp_path).path
    collection = _collection(root)
    folder = root / "coco" / "coco_valid"
    gone, kept = collection.sample("coco_valid", 1).shown, collection.sample("coco_valid", 2).shown
    (folder / DROPPED).write_text(Record().added([Drop(gone.key, "asked", "list")]).encode())
    collection = _collection(root)
    with pytest.raises(Gone, match="asked"):
        collection.sample("coco_valid", 1)
    with pytest.raises(Gone):
        collection.image("coco_valid", 1, 1)
    numbers = [row.number for row in collection.browse(View(dataset="coco_valid")).shown]
    assert numbers[:3] == [0, 2, 3]
    assert ("coco_valid", gone.key) not in set(collection.keys(View(dataset="coco_valid")))
    assert collection.sample("coco_valid", 0).after == 2 and collection.sample("coco_valid", 2).before == 0
    detail = collection.sample("coco_valid", 2)
    assert detail.shown.key == kept.key and detail.loads_as == 1 and "data[1]" in python_lines(detail)
    card = next(card for card in collection.cards() if card.name == "coco_valid")
    assert (card.samples, card.dropped) == (SAMPLES - 1, 1)


def test_a_folder_that_is_packed_anew_is_seen(bare_root: Root, tmp_path: Path) -> None:
    """The version changes with the files, so that no old picture is shown for a new one."""
    root = copied(bare_root, tmp_path).path
    before = _collection(root).version("sbu")
    path = root / "sbu" / "sbu" / "manifest.json"
    path.write_bytes(path.read_bytes() + b"\n")
    assert before and _collection(root).version("sbu") not in ("", before)


def test_shards_of_a_foreign_folder_are_counted(tmp_path: Path) -> None:
    """Without a manifest the index says how many samples a shard has."""
    folder = tmp_path / "mine"
    folder.mkdir()
    for shard, count in (("a.tar", 2), ("b.tar", 3)):
        with tarfile.open(folder / shard, "w") as tar:
            for number in range(count):
                for ending in ("jpg", "txt"):
                    member = tarfile.TarInfo(f"{shard[0]}{number}.{ending}")
                    member.size = 1
                    tar.addfile(member, io.BytesIO(b"x"))
    g3m.index(str(folder))
    collection = _collection(tmp_path)
    assert collection.datasets() == ["mine"]
    assert [(one.name, one.first, one.samples) for one in collection.shards("mine")] == [
        ("a.tar", 0, 2),
        ("b.tar", 2, 3),
    ]
    shown = collection.sample("mine", 3).shown
    assert (shown.shard, shown.key, shown.width, "unreadable" in shown.flags) == ("b.tar", "b1", 0, True)


def test_lists_of_what_was_left_out_go_on(bare_root: Root, tmp_path: Path) -> None:
    """Every line of both files once, over pages; what cannot be read is passed over."""
    root = copied(bare_root, tmp_path).path
    folder = root / "sbu" / "sbu"
    lines = [json.dumps({"key": f"k{number}", "reason": "damaged"}) for number in range(LINES + 5)]
    (folder / "rejected.jsonl").write_text("\n".join([*lines, "[1]", "{"]) + "\n")
    (folder / "findings.jsonl").write_text(
        '{"shard": "0.tar", "key": "f", "class": "cmyk", "action": "kept"}\n'
    )
    collection = _collection(root)
    first = collection.left_out("sbu")
    assert len(first.rows) == LINES and first.after
    rest = collection.left_out("sbu", first.after)
    assert [row.key for row in (*first.rows, *rest.rows)] == [f"k{number}" for number in range(LINES + 5)] + [
        "f"
    ]
    assert (rest.rows[-1].reason, rest.rows[-1].found, rest.after) == ("cmyk", True, "")
    for wrong in ("x", "rejected.jsonl:x", "../../x:1", "findings.jsonl:-1"):
        assert collection.left_out("sbu", wrong).rows


def test_a_damaged_catalog_is_no_catalog(bare_root: Root, tmp_path: Path) -> None:
    """Then the pages go on without one."""
    root = copied(bare_root, tmp_path).path
    (root / ".g3m" / "g3m.sqlite").write_bytes(b"no database" * 1000)
    collection = _collection(root)
    assert not collection.has_catalog() and collection.browse(View()).shown
