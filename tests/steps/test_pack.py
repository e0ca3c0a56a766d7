"""steps/pack.py: bytes go into shards as they are; what is no image or no text is left out with its reason."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from tests.steps.offline import Files, Made, make, zip_of
from tests.whole.sources import my_recipe, tiny_jpeg

from g3m.adapters.shards import ShardWriter
from g3m.core.errors import BadArchive, G3MError, Interrupted, NoSpace
from g3m.core.events import Event
from g3m.core.index import Index
from g3m.core.plan import DatasetPlan, Plan, Task
from g3m.core.samples import CAPTION_LIMIT_BYTES
from g3m.runners.run import get_in, make_session
from g3m.steps.arrangement import pack_tasks, read_arrangement
from g3m.steps.pack import index_path, making_path, pack, read_shard_receipt, shard_path
from g3m.steps.resolve import resolve

PAGE = b"<!DOCTYPE html><html><body>Please log in</body></html>"


def recipe_of(folder: Path, files: Files, method: int = zipfile.ZIP_STORED) -> Path:
    archive = zip_of(folder / "source" / "heap.zip", files, method=method)
    return my_recipe(folder / "heap.toml", [(archive, [])], {"reader": "pairs", "images": archive.name})


def packed(folder: Path, files: Files, **options: object) -> Made:
    return make(recipe_of(folder, files), folder / "source", **options)


def image(kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 30, 30)).save(file, kind)
    return file.getvalue()


def pair(key: str, data: bytes, text: bytes = b"words") -> dict[str, bytes]:
    return {f"{key}.jpg": data, f"{key}.txt": text}


def test_images_are_kept_byte_for_byte(tmp_path: Path) -> None:
    """JPEG and whatever else is an image under the name of one: the same bytes, noted where it is no JPEG."""
    kinds = {"a": tiny_jpeg("a"), "b": image("PNG"), "c": image("WEBP"), "d": image("GIF"), "e": image("BMP")}
    made = packed(tmp_path, {k: v for key, data in kinds.items() for k, v in pair(key, data).items()})
    assert {key: files["jpg"] for key, files in made.samples.items()} == kinds
    assert made.findings == [(key, "not_jpeg", "kept") for key in "bcde"]
    assert made.rejected == []


@pytest.mark.parametrize("data", [PAGE, b"x", b"\0" * 500, b"\xff\xd8", b"GIF8", b"%PDF-1.4", b"{}"])
def test_what_is_no_image_is_left_out(tmp_path: Path, data: bytes) -> None:
    """A page, a PDF, zeros, the first two bytes of a JPEG: `not_an_image`, with the member that it was."""
    made = packed(tmp_path, {**pair("good", tiny_jpeg(1)), **pair("bad", data)})
    assert set(made.samples) == {"good"}
    assert made.rejected == [("bad", "not_an_image")]
    row = json.loads((made.folder / "rejected.jsonl").read_text(encoding="utf-8"))
    assert row == {"key": "bad", "reason": "not_an_image", "detail": "bad.jpg"}


def test_a_jpeg_without_its_end_is_kept_and_noted(tmp_path: Path) -> None:
    """The source delivered it so: it is packed as it is, and counted."""
    made = packed(tmp_path, {**pair("a", tiny_jpeg(1)), **pair("b", tiny_jpeg(2)[:-2])})
    assert made.samples["b"]["jpg"] == tiny_jpeg(2)[:-2]
    assert made.findings == [("b", "no_end", "kept")]
    assert made.manifest.findings == {"no_end": {"kept": 1}}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_damage_that_the_archive_knows_of(tmp_path: Path, method: int) -> None:
    """A flipped byte inside one member: that sample is `damaged`, with file and member in the detail; the others are fine."""
    files = {k: v for n in range(3) for k, v in pair(f"k{n}", tiny_jpeg(n) + bytes(range(256))).items()}
    recipe = recipe_of(tmp_path, files, method)
    archive = tmp_path / "source" / "heap.zip"
    with zipfile.ZipFile(archive) as content:
        entry = content.getinfo("k1.jpg")
    data = bytearray(archive.read_bytes())
    data[entry.header_offset + 30 + len("k1.jpg") + entry.compress_size // 2] ^= 0x10
    archive.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    text = recipe.read_text(encoding="utf-8")
    old = text.partition("sha256:")[2][:64]
    recipe.write_text(text.replace(old, digest), encoding="utf-8")
    made = make(recipe, archive)
    assert set(made.samples) == {"k0", "k2"}
    assert made.rejected == [("k1", "damaged")]
    row = json.loads((made.folder / "rejected.jsonl").read_text(encoding="utf-8"))
    assert "heap.zip" in row["detail"]
    assert "k1.jpg" in row["detail"]


@pytest.mark.parametrize(
    ("raw", "text", "reason"),
    [
        (b" words \n", "words", ""),
        ("déjà 图".encode(), "déjà 图", ""),
        (b"caf\xe9", "caf\ufffd", ""),
        (b"\xff\xfe", "\ufffd\ufffd", ""),
        (b"a\x00b", "a\x00b", ""),
        (b"two\nlines", "two\nlines", ""),
        (b"", "", "no_caption"),
        (b" \t\n", "", "no_caption"),
        (b"x" * CAPTION_LIMIT_BYTES, "x" * CAPTION_LIMIT_BYTES, ""),
        (b"x" * (CAPTION_LIMIT_BYTES + 1), "", "caption_too_long"),
        (b"\xff" * (CAPTION_LIMIT_BYTES // 3 + 1), "", "caption_too_long"),
    ],
)
def test_texts(tmp_path: Path, raw: bytes, text: str, reason: str) -> None:
    """Stripped and otherwise as they are; bytes that are no UTF-8 are replaced and noted; empty or huge is left out."""
    made = packed(tmp_path, {**pair("good", tiny_jpeg(1)), **pair("odd", tiny_jpeg(2), raw)})
    if reason:
        assert made.rejected == [("odd", reason)]
        return
    assert made.texts["odd"] == text
    broken = "\ufffd" in text
    assert made.findings == ([("odd", "caption_not_utf8", "fixed")] if broken else [])


@pytest.mark.parametrize("raw", [b"", b"{", b"[1]", b"3", b"\xff", b"[" * 100_000, b"null"])
def test_a_json_that_is_none_becomes_an_empty_one(tmp_path: Path, raw: bytes) -> None:
    """The sample is not lost for its metadata."""
    made = packed(tmp_path, {**pair("a", tiny_jpeg(1)), "a.json": raw})
    assert (made.metas["a"], made.texts["a"]) == ({}, "words")


def test_members_stand_side_by_side_and_the_index_finds_them(tmp_path: Path) -> None:
    """jpg, json, txt of each key in this order; the index of the shard says where each lies."""
    made = packed(tmp_path, {k: v for n in range(5) for k, v in pair(f"k{n}", tiny_jpeg(n)).items()})
    assert [list(files) for files in made.samples.values()] == [["jpg", "json", "txt"]] * 5
    shard = (made.folder / "00000.tar").read_bytes()
    index = Index(index_path("heap", "00000.tar", made.session).read_bytes())
    assert len(index) == 5
    for number in range(5):
        name, entry = index[number]
        assert name == "00000.tar"
        found = {
            field.extension: shard[field.offset : field.offset + field.size_bytes] for field in entry.fields
        }
        assert found == made.samples[entry.key]


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    """Two roots, two runs, other times, other job counts, stored or deflated: the shards have one digest."""
    files = {k: v for n in range(6) for k, v in pair(f"k{n}", tiny_jpeg(n)).items()}
    digests = set()
    for number, method in enumerate((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED)):
        folder = tmp_path / str(number)
        made = make(recipe_of(folder, files, method), folder / "source", jobs=number)
        digests.add(hashlib.sha256((made.folder / "00000.tar").read_bytes()).hexdigest())
    assert len(digests) == 1


# --- one task at a time ---------------------------------------------------------------------------------------------


class Bench:
    """A dataset arranged and packed, of which single tasks can be run again."""

    def __init__(self, folder: Path, samples: int = 6) -> None:
        files = {k: v for n in range(samples) for k, v in pair(f"k{n}", tiny_jpeg(n)).items()}
        self.made = packed(folder, files, keep_assets=True)
        self.session = self.made.session
        self.plan: Plan = resolve([str(folder / "heap.toml")], self.session)
        self.dataset: DatasetPlan = self.plan.datasets[0]
        found = read_arrangement(self.dataset, self.session)
        assert found is not None
        self.tasks: tuple[Task, ...] = pack_tasks(self.dataset, found)

    def run(self, number: int = 0) -> list[Event]:
        return list(pack(self.tasks[number], self.plan, self.session))

    @property
    def half_made(self) -> list[Path]:
        return list(self.session.store.part("").glob("*.making"))


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr("g3m.core.samples.SHARD_SAMPLES", 3)
    return Bench(tmp_path)


def test_each_task_makes_its_own_shard(bench: Bench) -> None:
    """Shards of two, three and one; each is made again alone, with the same bytes and the same receipt."""
    assert [task.samples for task in bench.tasks] == [2, 3, 1]
    for number, task in enumerate(bench.tasks):
        path = shard_path(bench.dataset, task.shard, bench.session)
        before, receipt = path.read_bytes(), read_shard_receipt(bench.dataset, task.shard, bench.session)
        path.unlink()
        assert read_shard_receipt(bench.dataset, task.shard, bench.session) is None
        bench.run(number)
        assert path.read_bytes() == before
        assert read_shard_receipt(bench.dataset, task.shard, bench.session) == receipt
        assert receipt is not None
        assert receipt.shard.sha256 == hashlib.sha256(before).hexdigest()


def test_a_receipt_is_written_last(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever stops the task before: no receipt. The shard under its name is whole or not there."""
    task = bench.tasks[0]
    path = shard_path(bench.dataset, task.shard, bench.session)
    receipt = bench.session.store.receipt("heap", task.shard)
    for place in ("publish", "write_document"):
        path.unlink(missing_ok=True)
        receipt.unlink(missing_ok=True)

        def fail(*_: object) -> None:
            raise NoSpace("full")

        with monkeypatch.context() as patched:
            patched.setattr(f"g3m.steps.pack.{place}", fail)
            with pytest.raises(NoSpace):
                bench.run()
        assert not receipt.exists()
        assert path.exists() is (place == "write_document")


def test_a_full_disk_leaves_no_half_shard(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """NoSpace while writing: what was being made is removed."""

    def full(self: ShardWriter, key: str, parts: object) -> None:
        raise NoSpace("full")

    monkeypatch.setattr(ShardWriter, "add", full)
    with pytest.raises(NoSpace):
        bench.run()
    assert bench.half_made == []


def test_a_stop_while_packing(bench: Bench) -> None:
    """The flag is looked at for every sample; nothing half made remains."""
    bench.session.stop.set()
    with pytest.raises(Interrupted):
        bench.run()
    assert bench.half_made == []


def test_a_list_that_is_gone_is_said(bench: Bench) -> None:
    """Without the sample list a task cannot run: an error that says to run again, and running again helps."""
    bench.session.store.plan("heap.samples").unlink()
    with pytest.raises(BadArchive, match="run again"):
        bench.run()
    (bench.made.folder / "00000.tar").unlink()
    assert (
        get_in([str(bench.made.root.parent / "heap.toml")], bench.session, []).manifests["heap"].samples == 6
    )


def test_names_of_what_is_being_made(bench: Bench) -> None:
    """Unique for each try, and never a name that a loader lists."""
    names = {making_path(bench.tasks[0], bench.session).name for _ in range(50)}
    assert len(names) == 50
    assert not any(name.endswith(".tar") for name in names)


def test_two_runs_of_one_task_do_not_harm_each_other(bench: Bench) -> None:
    """The same task twice at the same time, as after a stolen lease: one whole shard with the right bytes."""
    path = shard_path(bench.dataset, bench.tasks[1].shard, bench.session)
    before = path.read_bytes()
    errors: list[BaseException] = []
    gate = threading.Barrier(2)

    def work() -> None:
        gate.wait(timeout=30)
        try:
            bench.run(1)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert errors == []
    assert path.read_bytes() == before
    assert bench.half_made == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_text("{", encoding="utf-8"),
        lambda path: path.write_text(
            path.read_text().replace('"format": 1', '"format": 9'), encoding="utf-8"
        ),
        lambda path: path.write_text(
            path.read_text().replace('"identity": "', '"identity": "0'), encoding="utf-8"
        ),
        lambda path: path.write_bytes(b"\xff"),
        lambda path: path.unlink(),
    ],
    ids=["torn", "other format", "other identity", "no text", "gone"],
)
def test_a_receipt_that_does_not_count(bench: Bench, spoil: Callable[[Path], None]) -> None:
    """Torn, of another version, of other options, or gone: the shard counts as not made."""
    task = bench.tasks[0]
    assert read_shard_receipt(bench.dataset, task.shard, bench.session) is not None
    spoil(bench.session.store.receipt("heap", task.shard))
    assert read_shard_receipt(bench.dataset, task.shard, bench.session) is None


def test_a_shard_of_another_size_does_not_count(bench: Bench) -> None:
    """A receipt vouches only for a shard of its size."""
    task = bench.tasks[0]
    with open(shard_path(bench.dataset, task.shard, bench.session), "ab") as file:
        file.write(b"x")
    assert read_shard_receipt(bench.dataset, task.shard, bench.session) is None


def test_an_archive_that_changed_after_arranging(bench: Bench) -> None:
    """The user's zip was replaced meanwhile: samples are refused as damaged or the task fails; no wrong bytes are packed."""
    task = bench.tasks[0]
    good = {key: files["jpg"] for key, files in bench.made.samples.items()}
    archive = bench.made.root.parent / "source" / "heap.zip"
    data = archive.read_bytes()
    archive.write_bytes(data.replace(b"drawn for", b"dr4wn for"))
    path = shard_path(bench.dataset, task.shard, bench.session)
    path.unlink()
    try:
        bench.run()
    except G3MError:
        return
    receipt = read_shard_receipt(bench.dataset, task.shard, bench.session)
    assert receipt is not None
    assert {reason for _, reason, _ in receipt.rejected} == {"damaged"}
    assert not any(content in path.read_bytes() for content in good.values())


def test_progress_is_told(bench: Bench) -> None:
    """Ticks carry how many samples are done; the last event is the finished shard with its counts."""
    *ticks, last = bench.run(1)
    assert ticks
    assert (last.samples, last.output) == (3, "mine/heap/00001.tar")  # type: ignore[attr-defined]


def test_a_session_is_not_needed_to_be_new(tmp_path: Path) -> None:
    """Another process takes over between tasks: a session of its own sees the same arrangement."""
    bench = Bench(tmp_path)
    bench.session = make_session({"root": str(bench.made.root)}, {})
    (bench.made.folder / "00000.tar").unlink()
    events: Iterator[Event] = iter(bench.run())
    assert list(events)
    assert read_shard_receipt(bench.dataset, "00000.tar", bench.session) is not None
