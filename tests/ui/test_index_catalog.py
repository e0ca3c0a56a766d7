"""`g3m index` and the catalog as a user meets them: names, paths, no arguments, JSON, both languages."""

from __future__ import annotations

import json

from tests.steps.offline import tar_bytes
from tests.ui.conftest import Desk
from tests.ui.test_index import foreign

from g3m.adapters.catalog import open_catalog
from g3m.core.browse import View


def folders(desk: Desk) -> list[str]:
    """Where an index is."""
    return [str(path.parent) for path in desk.root.rglob("index.bin")]


def test_all_that_is_here(done_desk: Desk) -> None:
    """Without arguments every dataset below the root is in the catalog; again, nothing is read."""
    first = done_desk.run("index")
    assert first.code == 0, first.err
    assert "g3m-data/.g3m/g3m.sqlite: the catalog has" in first.out
    assert "shards read: " in first.out
    with open_catalog(done_desk.root / ".g3m" / "g3m.sqlite") as book:
        assert "coco_valid" in [row.name for row in book.datasets()]
        assert book.browse(View(dataset="coco_valid")).rows
    again = done_desk.run("index", "--lang", "zh")
    assert "样本目录已是最新" in again.out
    assert "shards read" not in again.out


def test_one_by_its_name_and_with_its_pictures(done_desk: Desk) -> None:
    """Only that one; its index stands and is not read again; every picture is decoded."""
    done = done_desk.run("index", "coco_valid", "--pictures", "--json")
    assert done.code == 0, done.err
    last = done.documents[-1]["catalog"]
    assert (last["decoded"], last["failed"]) == (last["shards"], {})
    assert not any("index" in line for line in done.documents)
    with open_catalog(done_desk.root / ".g3m" / "g3m.sqlite") as book:
        assert [row.name for row in book.datasets()] == ["coco_valid"]
        assert len(list(book.looks())) == last["samples"]


def test_a_folder_elsewhere_has_no_catalog_and_one_below_the_root_has(done_desk: Desk) -> None:
    """The index of a folder is as always; the catalog of the root holds it only if it lies there."""
    foreign(done_desk.cwd / "wds")
    away = done_desk.run("index", "wds")
    assert "wds/index.bin" in away.out
    assert "catalog" not in away.out
    assert not (done_desk.root / ".g3m" / "g3m.sqlite").exists()
    (done_desk.cwd / "wds").rename(done_desk.root / "wds")
    (done_desk.root / "wds" / "index.bin").unlink()
    here = done_desk.run("index", "g3m-data/wds")
    assert "g3m-data/wds/index.bin" in here.out
    assert "g3m.sqlite: the catalog has 6 samples" in here.out
    named = done_desk.run("index", "wds")
    assert "the catalog is up to date" in named.out
    assert "index.bin" not in named.out
    checked = done_desk.run("index", "--check")
    assert (checked.code, checked.out.count("agrees with the names and sizes")) == (
        0,
        len(folders(done_desk)),
    )


def test_what_cannot_be_read_is_said_and_the_rest_is_there(done_desk: Desk) -> None:
    """Exit 7, the shard by its name and what to do, in both languages; all else is in the catalog."""
    shard = next((done_desk.root / "coco").rglob("coco_valid/*.tar"))
    shard.write_bytes(shard.read_bytes()[:2000])
    for lang, hint in (("en", "g3m verify --repair"), ("zh", "其余分片已收录")):
        done = done_desk.run("index", "--lang", lang)
        assert done.code == 7
        assert f"coco_valid/{shard.name}" in done.err
        assert hint in done.err
    with open_catalog(done_desk.root / ".g3m" / "g3m.sqlite") as book:
        assert book.browse(View(dataset="coco_valid")).rows == ()


def test_after_getting_if_asked(done_desk: Desk) -> None:
    """`get --catalog` brings it up to date at its end, also where there was nothing to fetch."""
    done = done_desk.run("get", "coco_valid", "-y", "--catalog", "--json")
    assert done.code == 0, done.err
    assert any(line.get("task", "").startswith("catalog/coco_valid/") for line in done.documents)
    assert (done_desk.root / ".g3m" / "g3m.sqlite").exists()
    status = done_desk.run("status", "--json")
    assert status.code == 0
    events = (done_desk.root / ".g3m" / "events.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(events[-1])["event"] == "RunFinished"


def test_folders_of_hidden_names_are_left_out(done_desk: Desk) -> None:
    """What g3m keeps below .g3m is no dataset."""
    hidden = done_desk.root / ".g3m" / "kept"
    hidden.mkdir(parents=True, exist_ok=True)
    (hidden / "0.tar").write_bytes(tar_bytes([("a.jpg", b"x"), ("a.txt", b"y")]))
    assert done_desk.run("index", str(hidden)).code == 0
    done = done_desk.run("index", "--json")
    with open_catalog(done_desk.root / ".g3m" / "g3m.sqlite") as book:
        assert "kept" not in [row.name for row in book.datasets()]
    assert done.code == 0
