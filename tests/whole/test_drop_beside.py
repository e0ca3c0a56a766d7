"""`g3m drop` beside others at work in the same folder: readers, the catalog, another drop."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.steps.offline import Made, make, zip_of
from tests.whole.sources import my_recipe, tiny_jpeg

import g3m
from g3m.adapters.catalog import FILE, open_catalog
from g3m.adapters.disk import Lease, Store
from g3m.core.dropped import Drop
from g3m.core.errors import Locked, NotVerified, StorageError
from g3m.runners.index import catalog
from g3m.runners.run import verify_in
from g3m.steps import record
from g3m.steps.catalog import _Work
from g3m.steps.dropped import read_record


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Forty small samples; a shard of them is as long with one less."""
    monkeypatch.setattr("g3m.core.samples.SHARD_SAMPLES", 19)
    files: dict[str, bytes] = {}
    for number in range(40):
        files |= {f"k{number:02d}.jpg": tiny_jpeg(number), f"k{number:02d}.txt": f"words {number}".encode()}
    archive = zip_of(tmp_path / "source" / "heap.zip", files)
    recipe = my_recipe(tmp_path / "heap.toml", [(archive, [])], {"reader": "pairs", "images": archive.name})
    return make(recipe, archive)


@pytest.fixture
def keys(made: Made) -> Path:
    path = made.root.parent / "keys.txt"
    path.write_text("heap/k23\n")
    return path


def shown(root: Path) -> set[str]:
    """The keys that the catalog has."""
    with open_catalog(root / ".g3m" / FILE) as opened:
        return {str(key) for (key,) in opened.sql("SELECT key FROM samples").rows}


def test_a_reader_of_before_never_gives_another_samples_bytes(made: Made, keys: Path) -> None:
    """A shard that it has open stays as it was; one that it opens later is refused, also if its size is the same."""
    other = g3m.dataset(made.folder)
    early = g3m.dataset(made.folder)
    assert early[20].key == "k20"
    sizes = [path.stat().st_size for path in sorted(made.folder.glob("*.tar"))]
    report = g3m.drop(keys=keys, root=made.root, rewrite=True)
    assert [path.stat().st_size for path in sorted(made.folder.glob("*.tar"))] == sizes
    assert report.rewritten["heap"].samples == 1
    assert [(early[number].key, early[number].text) for number in (23, 24, 39)] == [
        ("k23", "words 23"),
        ("k24", "words 24"),
        ("k39", "words 39"),
    ]
    assert other[3].text == "words 3"  # its shard is another one
    with pytest.raises(NotVerified, match="written anew") as caught:
        other[24]
    assert "open the dataset again" in caught.value.hint[0]
    for data in (early, other):
        data.close()
    with g3m.dataset(made.folder) as data:
        assert [data[number].text for number in (22, 23)] == ["words 22", "words 24"]


def test_a_plain_drop_does_not_disturb_a_reader(made: Made, keys: Path) -> None:
    """No shard was changed, so a training goes on to its end; who opens the data anew sees less."""
    with g3m.dataset(made.folder) as data:
        g3m.drop(keys=keys, root=made.root)
        assert data[24].text == "words 24"
    assert len(g3m.dataset(made.folder)) == 39


def test_what_is_dropped_while_the_catalog_is_made_does_not_come_back(
    made: Made, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shard was read before the sample was dropped, and is written into the catalog behind it."""
    put, dropped = _Work._put, list[object]()

    def put_late(work: _Work, job: object, entries: object) -> None:
        if not dropped:
            dropped.append(g3m.drop(keys=keys, root=made.root))
        put(work, job, entries)  # type: ignore[arg-type]

    monkeypatch.setattr(_Work, "_put", put_late)
    catalog(root=str(made.root))
    assert len(shown(made.root)) == 39
    assert b"words 23" not in (made.root / ".g3m" / FILE).read_bytes()


def test_the_same_line_makes_the_catalog_forget_what_a_killed_run_recorded(made: Made, keys: Path) -> None:
    """The record was written and nothing else; nothing is new in the second run."""
    catalog(root=str(made.root))
    (made.folder / "dropped.jsonl").write_text(
        read_record(made.folder).added([Drop("k23", "asked", "keys.txt")]).encode()
    )
    assert "k23" in shown(made.root)
    assert g3m.drop(keys=keys, root=made.root).dropped.found[0].before == 1
    assert "k23" not in shown(made.root)


def test_a_catalog_of_a_folder_above_forgets_what_is_rewritten_below(made: Made, tmp_path: Path) -> None:
    """What `g3m pack` makes is a root of its own, and the catalog lies in the one around it."""
    g3m.pack(str(made.folder), to=made.root / "small", image_size=0, shard_size=20)
    catalog(root=str(made.root))
    (made.root / "small" / "dropped.jsonl").write_text(
        read_record(made.root / "small").added([Drop("k23")]).encode()
    )
    g3m.drop(rewrite=True, root=made.root / "small")
    with open_catalog(made.root / ".g3m" / FILE) as opened:
        found = opened.sql("SELECT dataset FROM samples WHERE key = 'k23'").rows
    assert found == (("heap",),) or [tuple(row) for row in found] == [("heap",)]


def test_two_folders_of_one_name_are_told_apart(made: Made, tmp_path: Path) -> None:
    """DATASET/KEY as the catalog says it finds the sample, and the other folder keeps its own."""
    g3m.pack(str(made.folder), to=made.root / "other" / "heap", image_size=0, shard_size=20)
    catalog(root=str(made.root))
    with open_catalog(made.root / ".g3m" / FILE) as opened:
        names = sorted(row.name for row in opened.datasets())
    assert len(names) == 2
    for name in names:
        (tmp_path / "list.txt").write_text(f"{name}/k05\n")
        report = g3m.drop(keys=tmp_path / "list.txt", root=made.root)
        assert report.dropped.unmatched == 0
        assert [one.place.name for one in report.dropped.found if one.new] == [name]
        with open_catalog(made.root / ".g3m" / FILE) as opened:
            rows = opened.sql("SELECT dataset FROM samples WHERE key = 'k05'").rows
        assert [row[0] for row in rows] == [other for other in names if other > name]
    other = next(name for name in names if "/" in name)
    with g3m.dataset(made.root / other, exclude=[f"{other}/k06"]) as data:
        assert data.exclusion is not None
        assert (data.exclusion.samples, data.exclusion.unmatched) == (1, 0)


def test_foreign_tars_below_the_root_are_datasets_of_it(made: Made, tmp_path: Path) -> None:
    """What `g3m search` finds, `g3m drop` drops."""
    odd = made.root / "odd"
    odd.mkdir()
    (odd / "0.tar").write_bytes((made.folder / "00000.tar").read_bytes())
    g3m.index(odd)
    catalog(root=str(made.root))
    (tmp_path / "list.txt").write_text("odd/k05\n")
    report = g3m.drop(keys=tmp_path / "list.txt", root=made.root)
    assert [(one.place.name, len(one.new)) for one in report.dropped.found if one.new] == [("odd", 1)]
    assert (g3m.dataset(odd).dropped, g3m.dataset(made.folder).dropped) == (1, 0)
    report = g3m.drop("odd", keys=tmp_path / "list.txt", root=made.root)
    assert report.dropped.found[0].before == 1


def test_two_who_drop_at_one_moment_both_do(
    made: Made, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second waits for the first; only one that does not end is an error."""
    lists = [tmp_path / f"{number}.txt" for number in range(4)]
    for number, path in enumerate(lists):
        path.write_text(f"k{number:02d}\nk3{number}\n")
    failed: list[BaseException] = []

    def drop(path: Path) -> None:
        try:
            g3m.drop(keys=path, root=made.root)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=drop, args=(path,)) for path in lists]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert set(read_record(made.folder).drops) == {f"k{n:02d}" for n in (0, 1, 2, 3, 30, 31, 32, 33)}
    monkeypatch.setattr(record, "PATIENCE_S", 0.0)
    lease = Lease(made.folder / ".dropped.jsonl.lock", "drop")
    lease.take()
    with pytest.raises(Locked):
        g3m.drop(keys=keys, root=made.root)
    lease.release()
    assert sorted(path.name for path in made.folder.glob(".*")) == []


def test_a_rewriting_waits_for_nobody_who_writes_shards(made: Made, keys: Path) -> None:
    """While `g3m get` holds the root, the samples are recorded and the rewriting is refused by name."""
    with Store(made.root).lease(), pytest.raises(Locked):
        g3m.drop(keys=keys, root=made.root, rewrite=True)
    assert "k23" in read_record(made.folder)
    assert g3m.drop(rewrite=True, root=made.root).rewritten["heap"].samples == 1
    assert verify_in(["heap"], made.session, [], deep=False, repair=False).ok


def test_an_unreadable_shard_or_list_in_an_exchange_is_an_error_and_costs_nothing(
    made: Made, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails once must not end the exchange as if the shard were not the new one."""

    def fail(*_: object) -> Iterator[object]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("g3m.steps.rewrite.remake", fail)
        g3m.drop(keys=keys, root=made.root, rewrite=True)
    opened = open

    def broken(path: object, *rest: object, **more: object) -> object:
        if str(path).endswith("00001.tar"):
            raise OSError(5, "Input/output error")
        return opened(path, *rest, **more)  # type: ignore[call-overload]

    with monkeypatch.context() as patched:
        patched.setattr("builtins.open", broken)
        with pytest.raises(StorageError, match="Input/output"):
            g3m.drop(rewrite=True, root=made.root)
    assert read_record(made.folder).rewriting
    g3m.drop(rewrite=True, root=made.root)
    assert verify_in(["heap"], made.session, [], deep=False, repair=False, structure=True).ok
    assert json.loads((made.folder / "manifest.json").read_text())["samples"] == 39
    with closing(g3m.dataset(made.folder)) as data:
        assert [data[number].text for number in (22, 23)] == ["words 22", "words 24"]


def test_the_lease_of_the_root_stays_fresh_while_a_large_shard_is_exchanged(
    made: Made, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is renewed with every piece that is read, in both readings of a shard, not with whole shards."""
    beats: list[bool] = []
    monkeypatch.setattr("g3m.steps.rewrite._READ_BYTES", 4096)
    monkeypatch.setattr(Lease, "beat", lambda lease: beats.append(bool(read_record(made.folder).rewriting)))
    g3m.drop(keys=keys, root=made.root, rewrite=True)
    pieces = (made.folder / "00001.tar").stat().st_size // 4096
    assert beats.count(False) >= pieces
    assert beats.count(True) >= pieces
