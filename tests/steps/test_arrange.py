"""steps/arrange.py: the sample list says what goes where, in the source's order, and what cannot go anywhere."""

from __future__ import annotations

import hashlib
import json
import struct
import zipfile
from pathlib import Path

import pytest
from tests.steps.offline import Files, Made, make, pairs_of, zip_of
from tests.whole.sources import coco_document, my_recipe, narrative, tar_gz, tiny_jpeg

from g3m.core.errors import BadArchive, DigestMismatch, Interrupted, NotRecognised, TooManyRejected
from g3m.core.receipt import arrangement
from g3m.core.samples import CAPTION_LIMIT_BYTES, Pick
from g3m.runners.base import drive
from g3m.runners.local import run_local
from g3m.runners.run import make_session
from g3m.steps.arrangement import list_path, pack_tasks, read_arrangement, sources_present
from g3m.steps.resolve import resolve

SPLIT = "val2017"


def coco(
    folder: Path,
    images: Files,
    captions: dict[int, list[str]],
    *,
    document: bytes | None = None,
    pinned: str = "",
    **options: object,
) -> Made:
    """Pack a COCO of these images and captions from its archives."""
    source = folder / "source"
    inner = f"annotations/captions_{SPLIT}.json"
    content = document if document is not None else json.dumps(coco_document(captions)).encode()
    archive = zip_of(
        source / f"{SPLIT}.zip",
        [(f"{SPLIT}/{name}" if "/" not in name else name, data) for name, data in pairs_of(images)],
    )
    annotations = zip_of(source / "annotations.zip", {inner: content}, method=zipfile.ZIP_DEFLATED)
    rule = {
        "reader": "coco_captions",
        "images": f"{archive.name}/{SPLIT}",
        "captions": f"annotations.zip/{inner}",
        "split": SPLIT,
        **({"captions_digest": pinned} if pinned else {}),
    }
    recipe = my_recipe(folder / "mine.toml", [(archive, []), (annotations, [])], rule)
    return make(recipe, source, **options)


def name_of(number: int) -> str:
    return f"{number:012d}.jpg"


def images_of(*numbers: int) -> dict[str, bytes]:
    return {name_of(number): tiny_jpeg(number) for number in numbers}


def key_of(number: int) -> str:
    return f"{number:012d}"


def test_samples_stand_in_the_order_of_their_ids(tmp_path: Path) -> None:
    """By image id, whatever the order of the archive and of the lists; captions stripped and joined."""
    made = coco(tmp_path, images_of(30, 7, 100), {100: ["c "], 7: [" a\n", "b"], 30: ["x"]})
    assert list(made.texts.items()) == [(key_of(7), "a b"), (key_of(30), "x"), (key_of(100), "c")]
    assert list(made.metas[key_of(7)])[:3] == ["path", "cap", "split"]
    assert made.metas[key_of(7)]["captions"] == ["a", "b"]


def test_every_loss_is_listed(tmp_path: Path) -> None:
    """Missing and empty images, no captions, blank captions, captions too long: each with its key and reason."""
    captions = {
        1: ["good"],
        2: ["no image"],
        3: ["empty image"],
        4: [],
        5: ["  ", "\n"],
        6: ["é" * (CAPTION_LIMIT_BYTES // 2 + 1)],
        7: ["x" * CAPTION_LIMIT_BYTES],
    }
    made = coco(tmp_path, {**images_of(1, 4, 5, 6, 7), name_of(3): b""}, captions)
    assert set(made.texts) == {key_of(1), key_of(7)}
    assert dict(made.rejected) == {
        key_of(2): "missing_image",
        key_of(3): "empty_image",
        key_of(4): "no_caption",
        key_of(5): "no_caption",
        key_of(6): "caption_too_long",
    }
    assert made.manifest.rejected == {
        "caption_too_long": 1,
        "empty_image": 1,
        "missing_image": 1,
        "no_caption": 2,
    }
    assert made.manifest.samples + len(made.rejected) == len(captions)


def test_hostile_names_in_the_archive_are_listed_and_harmless(tmp_path: Path) -> None:
    """Names that lead out, absolute ones, drives, control characters: refused, listed, and nothing is written there."""
    hostile = ["../../../evil.jpg", "/etc/evil.jpg", "C:\\evil.jpg", "val2017/a\x1b.jpg", "val2017\\x.jpg"]
    files = [(name_of(1), tiny_jpeg(1)), *((name if "/" in name else f"x/{name}", b"x") for name in hostile)]
    made = coco(tmp_path, files, {1: ["good"]})
    assert set(made.texts) == {key_of(1)}
    assert made.manifest.rejected == {"unsafe_name": 5}
    assert len(made.rejected) == 5
    assert not list(tmp_path.rglob("*evil*"))


def test_a_member_twice_in_the_archive(tmp_path: Path) -> None:
    """The first is taken, the second is listed."""
    files = [(name_of(1), tiny_jpeg("first")), (name_of(1), tiny_jpeg("second")), (name_of(2), tiny_jpeg(2))]
    made = coco(tmp_path, files, {1: ["a"], 2: ["b"]})
    assert made.samples[key_of(1)]["jpg"] == tiny_jpeg("first")
    assert set(made.texts) == {key_of(1), key_of(2)}
    assert made.rejected == [(f"{SPLIT}/{name_of(1)}", "duplicate")]


def encrypted(path: Path, name: str) -> None:
    """Set the flag of encryption on one member, in both of its headers."""
    data = bytearray(path.read_bytes())
    at = 0
    while (at := data.find(name.encode(), at)) >= 0:
        for signature, header, flags in ((b"PK\x03\x04", 30, 6), (b"PK\x01\x02", 46, 8)):
            if data[at - header : at - header + 4] == signature:
                data[at - header + flags] |= 1
        at += 1
    path.write_bytes(data)


def test_an_unreadable_member_costs_one_sample_and_counts_once(tmp_path: Path) -> None:
    """One encrypted image of three is one loss of three in the list and in the budget."""
    source = tmp_path / "source"
    archive = zip_of(
        source / f"{SPLIT}.zip", {f"{SPLIT}/{name}": data for name, data in images_of(1, 2, 3).items()}
    )
    encrypted(archive, f"{SPLIT}/{name_of(2)}")
    inner = f"annotations/captions_{SPLIT}.json"
    document = json.dumps(coco_document({n: ["words"] for n in (1, 2, 3)})).encode()
    annotations = zip_of(source / "annotations.zip", {inner: document})
    rule = {
        "reader": "coco_captions",
        "images": f"{archive.name}/{SPLIT}",
        "captions": f"annotations.zip/{inner}",
    }
    made = make(my_recipe(tmp_path / "mine.toml", [(archive, []), (annotations, [])], rule), source)
    assert set(made.texts) == {key_of(1), key_of(3)}
    assert made.manifest.rejected == {"encrypted": 1}


def test_names_that_give_no_key_or_the_same(tmp_path: Path) -> None:
    """A name without a usable letter is `unsafe_key`; a second sample with the same key is `duplicate_key`."""
    document = {
        "images": [
            {"id": 1, "file_name": "图.jpg"},
            {"id": 2, "file_name": "a b.jpg"},
            {"id": 3, "file_name": "a_b.jpg"},
            {"id": 4, "file_name": "a.b.jpg"},
        ],
        "annotations": [{"image_id": n, "caption": f"c{n}"} for n in (1, 2, 3, 4)],
    }
    files = {name["file_name"]: tiny_jpeg(name["id"]) for name in document["images"]}
    made = coco(tmp_path, {str(k): v for k, v in files.items()}, {}, document=json.dumps(document).encode())
    assert made.texts == {"a_b": "c2", "a": "c4"}
    assert made.rejected == [("", "unsafe_key"), ("a_b", "duplicate_key")]


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"images": 3, "annotations": []}',
        b'{"images": [], "annotations": [{}]}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_captions_that_are_none(tmp_path: Path, document: bytes) -> None:
    """A caption file that is no COCO document is an error that names it."""
    with pytest.raises((BadArchive, TooManyRejected), match=f"captions_{SPLIT}.json|mine: 0 of 0"):
        coco(tmp_path, images_of(1), {}, document=document)


def test_captions_of_other_types(tmp_path: Path) -> None:
    """A caption that is a number or null is an error of ours that names the file."""
    document = {
        "images": [{"id": 1, "file_name": name_of(1)}],
        "annotations": [{"image_id": 1, "caption": 7}],
    }
    with pytest.raises(BadArchive, match=r"captions_val2017\.json"):
        coco(tmp_path, images_of(1), {}, document=json.dumps(document).encode())


def test_pinned_captions_are_checked(tmp_path: Path) -> None:
    """The right digest passes; another one is DigestMismatch that names file, found and official digest."""
    content = json.dumps(coco_document({1: ["a"]})).encode()
    right = hashlib.sha256(content).hexdigest()
    made = coco(tmp_path / "good", images_of(1), {}, document=content, pinned=f"sha256:{right}")
    assert made.manifest.samples == 1
    wrong = "0" * 64
    with pytest.raises(DigestMismatch) as caught:
        coco(tmp_path / "bad", images_of(1), {}, document=content, pinned=f"sha256:{wrong}")
    for word in (f"captions_{SPLIT}.json", right, wrong):
        assert word in caught.value.message
    assert not list((tmp_path / "bad").rglob("*.tar"))


def test_pinned_captions_are_checked_in_a_folder_too(tmp_path: Path) -> None:
    """An unpacked folder stands in for the archive, but not with other captions."""
    content = json.dumps(coco_document({1: ["a"]})).encode()
    folder = tmp_path / "unpacked"
    (folder / SPLIT).mkdir(parents=True)
    (folder / SPLIT / name_of(1)).write_bytes(tiny_jpeg(1))
    (folder / "annotations").mkdir()
    inner = folder / "annotations" / f"captions_{SPLIT}.json"
    inner.write_bytes(content)
    archive = zip_of(tmp_path / "elsewhere" / f"{SPLIT}.zip", {f"{SPLIT}/{name_of(1)}": tiny_jpeg(1)})
    annotations = zip_of(tmp_path / "elsewhere" / "annotations.zip", {f"annotations/{inner.name}": content})
    rule = {
        "reader": "coco_captions",
        "images": f"{archive.name}/{SPLIT}",
        "captions": f"annotations.zip/annotations/{inner.name}",
        "captions_digest": f"sha256:{hashlib.sha256(content).hexdigest()}",
    }
    assets = [(archive, [SPLIT]), (annotations, [f"annotations/{inner.name}"])]
    recipe = my_recipe(tmp_path / "mine.toml", assets, rule)
    assert make(recipe, folder).manifest.samples == 1
    inner.write_bytes(content.replace(b'"a"', b'"b"'))
    with pytest.raises(DigestMismatch):
        make(recipe, folder, root=tmp_path / "again")


def test_a_missing_caption_file_or_folder(tmp_path: Path) -> None:
    """NotRecognised says which file, or which folder, the archive does not hold."""
    with pytest.raises(NotRecognised, match="holds no files in the folder 'val2017'"):
        coco(tmp_path / "a", {"train2017/x.jpg": b"x"}, {1: ["a"]})
    source = tmp_path / "b" / "source"
    archive = zip_of(source / "v.zip", {"v/1.jpg": tiny_jpeg(1)})
    annotations = zip_of(source / "annotations.zip", {"annotations/other.json": b"{}"})
    rule = {"reader": "coco_captions", "images": "v.zip/v", "captions": "annotations.zip/annotations/c.json"}
    with pytest.raises(NotRecognised, match=r"annotations\.zip: holds no file 'annotations/c.json'"):
        make(my_recipe(tmp_path / "b" / "mine.toml", [(archive, []), (annotations, [])], rule), source)


@pytest.mark.parametrize(("limit", "passes"), [(0.5, True), (0.49, False), (0.0, False), (1, True)])
def test_max_rejected_both_ways(tmp_path: Path, limit: float, passes: bool) -> None:
    """Exactly the limit passes, a hair less does not, and then nothing is packed."""
    captions = {1: ["a"], 2: ["b"]}
    if passes:
        assert coco(tmp_path, images_of(1), captions, max_rejected=limit).manifest.samples == 1
        return
    with pytest.raises(TooManyRejected, match=r"mine: 1 of 2 samples are unusable \(1 missing_image\)"):
        coco(tmp_path, images_of(1), captions, max_rejected=limit)
    assert not list(tmp_path.rglob("*.tar"))


def test_nothing_usable_is_always_too_little(tmp_path: Path) -> None:
    """A dataset without a single sample fails whatever the limit."""
    with pytest.raises(TooManyRejected, match="1 of 1 samples"):
        coco(tmp_path, images_of(9), {1: ["a"]}, max_rejected=1)


# --- narratives -----------------------------------------------------------------------------------------------------


def narratives(folder: Path, lines: bytes, images: dict[str, bytes], **options: object) -> Made:
    """Pack narratives of images in a tar.gz."""
    source = folder / "source"
    source.mkdir(parents=True)
    archive = tar_gz(
        source / "validation.tar.gz", {f"validation/{name}": data for name, data in images.items()}
    )
    file = source / "lines.jsonl"
    file.write_bytes(lines)
    rule = {
        "reader": "localized_narratives",
        "images": "validation.tar.gz/validation",
        "captions": "lines.jsonl",
    }
    return make(my_recipe(folder / "mine.toml", [(archive, []), (file, [])], rule), source, **options)


def test_repeated_narratives(tmp_path: Path) -> None:
    """Each narrative is a sample of its own; under parity the last one overwrites, as the old script did."""
    lines = "".join(
        narrative(image, text) + "\n" for image, text in (("a", "one"), ("b", "two"), ("a", "three"))
    )
    images = {"a.jpg": tiny_jpeg("a"), "b.jpg": tiny_jpeg("b")}
    made = narratives(tmp_path / "none", lines.encode(), images)
    assert made.texts == {"a": "one", "b": "two", "a_2": "three"}
    made = narratives(tmp_path / "nxtp", lines.encode(), images, parity="nxtp")
    assert made.texts == {"b": "two", "a": "three"}


def test_bad_lines_are_listed_and_do_not_move_the_others(tmp_path: Path) -> None:
    """Broken JSON, other types, invalid UTF-8, blank lines, no newline at the end: each line stands for itself."""
    good = narrative("a", "fine").encode()
    lines = b"\n".join(
        [
            good,
            b"{broken",
            b"[]",
            b"",
            b'{"image_id": "a"}',
            b"\xff\xfe",
            narrative("gone", "x").encode(),
            narrative("b", "last").encode(),
        ]
    )
    made = narratives(tmp_path, lines, {"a.jpg": tiny_jpeg("a"), "b.jpg": tiny_jpeg("b")})
    assert made.texts == {"a": "fine", "b": "last"}
    assert made.rejected == [
        ("line-2", "bad_record"),
        ("line-3", "bad_record"),
        ("line-4", "bad_record"),
        ("line-5", "bad_record"),
        ("gone", "missing_image"),
    ]


def test_a_giant_line_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line without an end is not read into memory."""
    monkeypatch.setattr("g3m.steps.arrange.LINE_LIMIT_BYTES", 1000)
    with pytest.raises(BadArchive, match="line at byte 0 has more than 1000 bytes"):
        narratives(tmp_path, b"x" * 1001, {"a.jpg": tiny_jpeg("a")})


def test_a_long_name_told_twice(tmp_path: Path) -> None:
    """A name of eighty letters with two narratives is no reason to end the run."""
    name = "a" * 80
    lines = (
        narrative(name, "one") + "\n" + narrative(name, "two") + "\n" + narrative("b", "x") + "\n"
    ).encode()
    images = {f"{name}.jpg": tiny_jpeg("a"), "b.jpg": tiny_jpeg("b")}
    made = narratives(tmp_path, lines, images)
    assert set(made.texts.values()) >= {"one", "x"}


# --- the list and its receipt ---------------------------------------------------------------------------------------


def arranged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    monkeypatch.setattr("g3m.core.samples.SHARD_SAMPLES", 3)
    made = coco(tmp_path, images_of(*range(1, 8)), {n: ["words"] for n in range(1, 9)}, keep_assets=True)
    assert [shard.samples for shard in made.manifest.shards] == [2, 3, 2]
    return made


def test_the_list_says_what_goes_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line a sample; each shard's range of lines is its own; rejected samples keep their place in the order."""
    made = arranged(tmp_path, monkeypatch)
    (dataset,) = resolve([str(tmp_path / "mine.toml")], made.session).datasets
    found = read_arrangement(dataset, made.session)
    assert found is not None
    data = list_path(made.session, "mine").read_bytes()
    assert len(data) == found.list_size_bytes
    keys: list[str] = []
    for task, shard in zip(pack_tasks(dataset, found), found.shards, strict=True):
        assert (task.shard, task.samples, task.offset_bytes) == (
            shard.name,
            shard.samples,
            shard.offset_bytes,
        )
        lines = data[shard.offset_bytes :].splitlines()[: shard.samples]
        keys += [Pick.from_line(line).key for line in lines]
    assert keys == [key_of(number) for number in range(1, 8)]
    assert [rejected[:2] for rejected in found.rejected] == [(key_of(8), "missing_image")]
    assert list(tmp_path.rglob("*.tmp")) == []


def test_an_arrangement_is_believed_only_if_all_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cut list, a torn receipt or one of other options counts as none; so do sources that are gone."""
    made = arranged(tmp_path, monkeypatch)
    (dataset,) = resolve([str(tmp_path / "mine.toml")], made.session).datasets
    found = read_arrangement(dataset, made.session)
    assert found is not None
    assert sources_present(dataset, found, made.session)
    (tmp_path / "source" / "val2017.zip").rename(tmp_path / "source" / "moved.zip")
    assert not sources_present(dataset, found, made.session)
    other = make_session({"root": str(made.root), "parity": "nxtp"}, {})
    (exact,) = resolve([str(tmp_path / "mine.toml")], other).datasets
    assert read_arrangement(exact, other) is None
    path = list_path(made.session, "mine")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert read_arrangement(dataset, made.session) is None
    path.write_bytes(whole)
    receipt = made.session.store.receipt("mine", "arrange")
    text = receipt.read_text(encoding="utf-8")
    assert arrangement(text) == found
    receipt.write_text(text[:-20], encoding="utf-8")
    assert read_arrangement(dataset, made.session) is None


def test_a_stop_while_arranging_leaves_no_list(tmp_path: Path) -> None:
    """Stopped in the middle: no list under its name, no receipt, no temporary file; the next run makes it."""
    source = tmp_path / "source"
    archive = zip_of(source / "mine.zip", {**images_of(1), "000000000001.txt": b"x"})
    recipe = my_recipe(tmp_path / "mine.toml", [(archive, [])], {"reader": "pairs", "images": archive.name})
    session = make_session({"root": str(tmp_path / "data"), "source": [str(source)], "offline": True}, {})
    plan = resolve([str(recipe)], session)

    def stop(event: object) -> None:
        if type(event).__name__ == "TaskStarted" and getattr(event, "kind", "") == "arrange":
            session.stop.set()

    with pytest.raises(Interrupted):
        drive(plan, session, run_local, [stop])
    assert list((tmp_path / "data").rglob("*.tmp")) == []
    assert not list((tmp_path / "data").rglob("*.tar"))
    assert make(recipe, source).manifest.samples == 1


def test_the_flag_of_encryption_is_set_where_it_is_read(tmp_path: Path) -> None:
    """The helper above makes what other programs call encrypted."""
    path = zip_of(tmp_path / "z.zip", {"a": b"x", "b": b"y"})
    encrypted(path, "b")
    with zipfile.ZipFile(path) as archive:
        assert [entry.flag_bits & 1 for entry in archive.infolist()] == [0, 1]
    assert struct.unpack_from("<H", path.read_bytes(), 6) == (0,)
