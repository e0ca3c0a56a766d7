"""steps/catalog.py: the catalog follows what lies below the root, and no sample, however broken, stops it."""

from __future__ import annotations

import gc
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.steps.offline import tar_bytes

from g3m.adapters.catalog import Catalog, open_catalog
from g3m.core.browse import View
from g3m.core.dropped import DROPPED, Drop, Record
from g3m.core.errors import Interrupted, UnknownDataset
from g3m.core.events import Event, Noted, RunFinished, RunStarted, TaskFailed, TaskFinished
from g3m.runners.index import catalog, catalog_in, index
from g3m.runners.pack import pack
from g3m.runners.run import make_session
from g3m.runners.stats import stats
from g3m.steps import catalog as step
from g3m.steps import holdings
from g3m.steps.catalog import Catalogued

Files = list[tuple[str, bytes]]


@cache
def picture(number: int, kind: str = "JPEG", size: tuple[int, int] = (160, 120)) -> bytes:
    """Noise, so that the file is larger than what is read of it; no two are alike."""
    file = io.BytesIO()
    red = Image.effect_noise(size, 60 + number)
    Image.merge("RGB", (red, red.rotate(90).resize(size), red.rotate(180))).save(file, kind)
    return file.getvalue()


def sample(key: str, caption: str | bytes = "a dog", image: bytes = b"", **meta: Any) -> Files:
    text = caption.encode() if isinstance(caption, str) else caption
    return [
        (f"{key}.jpg", image or picture(len(key))),
        (f"{key}.json", json.dumps({"url": "https://host.example/a.jpg", **meta}).encode()),
        (f"{key}.txt", text),
    ]


def tars(folder: Path, *shards: Files) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, files in enumerate(shards):
        (folder / f"{number:05d}.tar").write_bytes(tar_bytes(files))
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a dataset of g3m in two shards, and a folder of foreign tars with an index."""
    source = tars(
        tmp_path / "source",
        [*sample("a0", "a red bus"), *sample("a1", "一只猫", picture(5, "PNG"))],
        [*sample("b0", "two dogs"), *sample("b1", ""), *sample("b2", b"caf\xe9")],
    )
    pack(source, tmp_path / "root" / "own")
    tars(tmp_path / "root" / "foreign", [*sample("c0"), *sample("c1", "a tram")])
    index(tmp_path / "root" / "foreign")
    return tmp_path / "root"


def books(root: Path) -> Catalog:
    return open_catalog(root / ".g3m" / "g3m.sqlite")


def keys(root: Path, view: View | None = None) -> list[str]:
    with books(root) as book:
        return [row.key for row in book.browse(view or View(), 1000).rows]


def run(root: Path, *names: str, **options: Any) -> tuple[Catalogued, list[Event]]:
    events: list[Event] = []
    made = catalog(*names, root=str(root), on_event=events.append, **options)
    return made, events


def test_everything_below_the_root_is_in_it(root: Path) -> None:
    """Datasets of g3m and folders with an index: sizes, captions, hosts, formats, places."""
    made, events = run(root)
    assert (made.samples, made.shards, made.read, made.failed) == (len(keys(root)), 3, 3, {})
    with books(root) as book:
        assert [row.name for row in book.datasets()] == ["foreign", "own"]
        found = {row.key: row for row in book.browse(View(), 100).rows}
        bus = found["a0"]
        assert (bus.caption, bus.words, bus.width, bus.height, bus.format) == (
            "a red bus",
            3,
            160,
            120,
            "jpeg",
        )
        assert bus.host == "host.example"
        assert (bus.dataset, bus.number) == ("own", 0)
        assert found["a1"].format == "png"
        assert found["a1"].flags == ("not_jpeg",)
        assert [row.key for row in book.browse(View(query="猫")).rows] == ["a1"]
        assert [row.folder for row in book.datasets()] == ["foreign", "own"]
    assert isinstance(events[0], RunStarted)
    assert isinstance(events[-1], RunFinished)
    assert sum(isinstance(event, TaskFinished) for event in events) == 3


def test_a_second_run_reads_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known by its stamp is not opened; `force` reads all of it."""
    run(root)
    before = (root / ".g3m" / "g3m.sqlite").read_bytes()
    monkeypatch.setattr(step, "outlines", None)
    made, _ = run(root)
    assert not made.is_changed
    assert (root / ".g3m" / "g3m.sqlite").read_bytes() == before
    monkeypatch.undo()
    assert run(root, force=True)[0].read == 3
    made, _ = run(root, "foreign", force=True)
    assert (made.read, made.shards) == (1, 3)


def test_names_choose(root: Path) -> None:
    """Only those are read; a name that is not there is an error, and so is an empty root."""
    assert run(root, "foreign")[0].shards == 1
    with pytest.raises(UnknownDataset, match="nowhere"):
        run(root, "nowhere")
    (root.parent / "empty").mkdir()
    with pytest.raises(UnknownDataset, match="no dataset"):
        run(root.parent / "empty")


def test_shards_that_change_come_and_go(root: Path) -> None:
    """A tar that was written anew is read again, one that is gone is taken out, then the folder."""
    run(root)
    tars(root / "foreign", [*sample("d0", "a swan")], [*sample("e0", "a boat")])
    index(root / "foreign")
    made, _ = run(root)
    assert made.read == 2
    assert {"d0", "e0"} < set(keys(root))
    assert not {"c0", "c1"} & set(keys(root))
    (root / "foreign" / "00000.tar").unlink()
    index(root / "foreign")
    made, _ = run(root)
    assert (made.read, made.forgotten) == (0, 1)
    with books(root) as book:
        assert [(row.key, row.number) for row in book.browse(View(dataset="foreign")).rows] == [("e0", 0)]
        assert book.row("foreign", 0) is not None
    shutil.rmtree(root / "foreign")
    made, _ = run(root)
    assert made.forgotten == 1
    assert "e0" not in keys(root)


def test_a_moved_root_needs_nothing_new(root: Path) -> None:
    """Folders are noted below the root, so that a root can be carried elsewhere."""
    run(root)
    moved = root.rename(root.parent / "moved")
    assert run(moved)[0].read == 0


def test_dropped_samples_are_taken_out(root: Path) -> None:
    """The record beside the shards counts, and numbers stay; a record that cannot be read stops its dataset."""
    run(root)
    record = Record().added([Drop("a0", "asked", "list")])
    (root / "own" / DROPPED).write_text(record.encode(), encoding="utf-8")
    made, _ = run(root)
    assert made.read == 1
    assert "a0" not in keys(root)
    with books(root) as book:
        assert book.row("own", 0) is None
        assert book.row("own", 1) is not None
        assert book.browse(View(query="bus")).rows == ()
    (root / "own" / DROPPED).write_text("nonsense\n", encoding="utf-8")
    made, events = run(root)
    assert list(made.failed) == ["own"]
    assert keys(root, View(dataset="own")) == []
    assert any(isinstance(event, TaskFailed) for event in events)


def profiled() -> bytes:
    """A picture whose size stands far behind its beginning."""
    file = io.BytesIO()
    Image.new("RGB", (77, 55), "red").save(file, "JPEG", icc_profile=b"p" * 20_000)
    return file.getvalue()


def hostile() -> list[Files]:
    """Shards of samples that are wrong in every way that a tar can hold."""
    good = picture(1)
    return [
        [
            *sample("ok"),
            *sample("html", "<script>alert(1)</script>", b"<html>not a picture</html>"),
            *sample("cut", "cut", good[: len(good) // 2]),
            *sample("long", "x" * 100_000),
            *sample("null", "a\0b\0c"),
            *sample("latin", b"\xff\xfe\xfa"),
            *sample("bidi", "\u202eevil"),
            ("nojson.jpg", good),
            ("nojson.txt", b"alone"),
            ("notext.jpg", good),
            ("notext.json", json.dumps({"captions": ["one", 5, "two"]}).encode()),
            ("badjson.jpg", good),
            ("badjson.json", b"[" * 50_000),
            ("badjson.txt", b"nested"),
            ("key'\"<b>.jpg", good),
            ("key'\"<b>.txt", b"quotes"),
            ("only.jpg", good),
            *sample("profile", "a long header", profiled()),
            *sample("zero", "nothing", b" "),
        ]
    ]


def test_nothing_stops_it(tmp_path: Path) -> None:
    """Each sample is there as what it is, the good ones as always; so also with pictures."""
    root = tmp_path / "root"
    tars(root / "wild", *hostile())
    index(root / "wild")
    for pictures in (False, True):
        made, _ = run(root, pictures=pictures)
        assert made.failed == {}
        with books(root) as book:
            found = {row.key: row for row in book.browse(View(), 100).rows}
        assert len(found) == 14
        assert (found["profile"].width, found["profile"].height, found["profile"].flags) == (77, 55, ())
        assert found["ok"].flags == ()
        assert found["html"].caption == "<script>alert(1)</script>"
        assert found["html"].flags == ("not_an_image", "unreadable")
        assert found["long"].flags == ("caption_too_long",)
        assert found["null"].caption == "a\ufffdb\ufffdc"
        assert found["latin"].flags == ("caption_not_utf8",)
        assert found["notext"].caption == "one two"
        assert found["badjson"].host == ""
        assert found["only"].flags == ("no_caption",)
        assert "unreadable" in found["zero"].flags
        assert ("unreadable" in found["cut"].flags) == pictures
        assert ("no_end" in found["cut"].flags) or pictures


def test_pictures_are_decoded_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Digest and hashes of every picture, and what looks alike is noted; the next run decodes nothing."""
    made, _ = run(root, pictures=True)
    assert (made.read, made.decoded) == (3, 3)
    with books(root) as book:
        found = {one: (digest, rows, columns) for one, digest, rows, columns in book.looks()}
        rows = {row.key: row for row in book.browse(View(), 100).rows}
        assert len(found) == len(rows)
        assert found[rows["a1"].id][0] == hashlib.sha256(picture(5, "PNG")).digest()
        assert all(one[1:] != (0, 0) for one in found.values())
        assert any(
            distance == 0 for _, _, _, distance in book.pairs()
        )  # keys of one length: the same picture
    monkeypatch.setattr(step, "glimpses", None)
    made, _ = run(root, pictures=True)
    assert not made.is_changed


def test_a_shard_that_is_cut_is_named_and_the_others_are_there(root: Path) -> None:
    """Its rows are not kept, because they are not those of the shard; repaired, it comes again."""
    shard = next((root / "own").glob("*.tar"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[:1500])
    made, _ = run(root)
    assert list(made.failed) == [f"own/{shard.name}"]
    assert {"c0", "c1"} <= set(keys(root))
    shard.write_bytes(whole)
    assert run(root)[0].failed == {}
    assert "a0" in keys(root)
    tar = root / "foreign" / "00000.tar"
    tar.write_bytes(tar.read_bytes()[:1500])
    assert list(run(root)[0].failed) == ["foreign/00000.tar"]
    assert keys(root, View(dataset="foreign")) == []
    assert "a0" in keys(root)


def test_a_missing_index_is_made(root: Path) -> None:
    """A dataset of g3m whose index was lost gets it back on the way."""
    (root / "own" / "index.bin").unlink()
    assert run(root)[0].failed == {}
    assert (root / "own" / "index.bin").exists()
    assert "a0" in keys(root)


def test_a_damaged_catalog_is_made_anew(root: Path) -> None:
    """It is only an index: whatever lies in its place, and wherever it is damaged."""
    run(root)
    path = root / ".g3m" / "g3m.sqlite"
    whole, expected = path.read_bytes(), keys(root)
    for damaged in (b"text", whole[: len(whole) // 2], whole[:8192] + b"\xff" * (len(whole) - 8192)):
        path.write_bytes(damaged)
        run(root)
        assert keys(root) == expected


def test_a_stopped_run_is_continued(tmp_path: Path) -> None:
    """Shards that are in the catalog stay there; the rest comes with the next run; no thread is left."""
    root = tmp_path / "root"
    tars(root / "many", *([*sample(f"k{number}")] for number in range(12)))
    index(root / "many")
    threads = threading.active_count()
    session = make_session({"root": str(root)})
    seen: list[Event] = []

    def stop(event: Event) -> None:
        seen.append(event)
        if sum(isinstance(one, TaskFinished) for one in seen) == 3:
            session.stop.set()

    with pytest.raises(Interrupted):
        catalog_in((), session, [stop])
    assert threading.active_count() <= threads
    here = len(keys(root))
    assert 3 <= here < 12
    made, _ = run(root)
    assert made.read == 12 - here
    assert len(keys(root)) == 12


def test_shards_that_are_being_exchanged_are_left_alone(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Index and shards may differ at that moment: what is known stays."""
    run(root)
    before = keys(root)
    monkeypatch.setattr(
        holdings, "parsed_record", lambda folder: type("R", (), {"rewriting": (1,), "numbers": list})()
    )
    _, events = run(root)
    assert keys(root) == before
    assert any(isinstance(event, Noted) and "exchanged" in event.text for event in events)


def test_two_folders_of_one_name(tmp_path: Path) -> None:
    """The second is called by its path."""
    root = tmp_path / "root"
    for place in ("x/set", "y/set"):
        tars(root / place, [*sample(place.replace("/", "-"))])
        index(root / place)
    run(root)
    with books(root) as book:
        assert [row.name for row in book.datasets()] == ["set", "y/set"]


@pytest.mark.parametrize("answer", ["True", "False"])
def test_packing_brings_it_up_to_date_if_asked(tmp_path: Path, answer: str) -> None:
    """With the setting `catalog`, and not without."""
    source = tars(tmp_path / "source", [*sample("a0", "a red bus")])
    pack(source, tmp_path / "own", catalog=answer == "True")
    assert (tmp_path / "own" / ".g3m" / "g3m.sqlite").exists() == (answer == "True")
    if answer == "True":
        assert keys(tmp_path / "own") == ["a0"]


@pytest.fixture(autouse=True)
def few_descriptors() -> Iterator[None]:
    """Every file that a run opens is closed again."""
    before = len(os.listdir("/proc/self/fd"))
    yield
    gc.collect()  # an error holds the frames that it came through
    assert len(os.listdir("/proc/self/fd")) <= before + 2


def test_dropping_costs_no_decoding(root: Path) -> None:
    """What the catalog was told of is not read again, and of the other samples all stays known."""
    run(root, pictures=True)
    record = Record().added([Drop("b1", "asked", "list")])
    (root / "own" / DROPPED).write_text(record.encode(), encoding="utf-8")
    with open_catalog(root / ".g3m" / "g3m.sqlite", writing=True) as book:
        before = len(list(book.looks()))
        assert book.drop("own", {"b1"}) == 1
    made, _ = run(root, pictures=True)
    assert (made.read, made.decoded) == (0, 0)
    with books(root) as book:
        assert len(list(book.looks())) == before - 1
        assert all(shard.looked for shard in book.shards())


def test_words_that_were_dropped_behind_its_back_leave_the_file(root: Path) -> None:
    """A shard that is read again because the catalog was not told: no word of what was dropped stays."""
    (root / ".g3m").mkdir(exist_ok=True)
    tars(root / "foreign", [*sample("c0"), *sample("c1", "a sesquipedalian tram")])
    index(root / "foreign")
    run(root)
    path = root / ".g3m" / "g3m.sqlite"
    assert b"sesquipedalian" in path.read_bytes()
    record = Record().added([Drop("c1", "asked", "list")])
    (root / "foreign" / DROPPED).write_text(record.encode(), encoding="utf-8")
    run(root)
    assert keys(root, View(dataset="foreign")) == ["c0"]
    assert b"sesquipedalian" not in path.read_bytes()


def test_a_dataset_without_an_index_does_not_stop_the_others(root: Path) -> None:
    """One whose index cannot be made is told, and the others are in the catalog."""
    (root / "own" / "index.bin").unlink()
    for shard in (root / "own").glob("*.tar"):
        shard.write_bytes(shard.read_bytes()[:1000])
    made, _ = run(root)
    assert list(made.failed) == ["own"]
    assert keys(root) == ["c0", "c1"]


def test_a_kill_before_the_pairs_are_noted_is_noticed(root: Path) -> None:
    """Decoded and killed before anything was compared: told by the statistics, and done by the next run."""
    program = (
        "import os, signal, sys; from g3m.runners.index import catalog; from g3m.steps import catalog as step;"
        "step.find_alike = lambda *_: os.kill(os.getpid(), signal.SIGKILL);"
        "catalog(root=sys.argv[1], pictures=True)"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(root)], check=False)
    assert ended.returncode == -signal.SIGKILL
    with books(root) as book:
        assert all(shard.looked for shard in book.shards())
        assert book.pairs() == []
    assert not stats(root=str(root)).is_current
    run(root)
    assert not stats(root=str(root)).is_current
    made, _ = run(root, pictures=True)
    assert made.decoded == 0
    assert stats(root=str(root)).is_current
    with books(root) as book:
        assert "b0" in {other.key for other, _ in book.alike_of(book.locate("own", "a0")[0].id)}


def test_pairs_are_compared_again_only_where_pictures_changed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second run compares nothing; a shard that is read and decoded anew with the same bytes does."""
    run(root, pictures=True)
    compared: list[Catalog] = []
    monkeypatch.setattr(step, "find_alike", lambda book, _: compared.append(book) or iter(()))
    run(root, pictures=True)
    assert compared == []
    run(root, "foreign", pictures=True, force=True)
    assert len(compared) == 1
