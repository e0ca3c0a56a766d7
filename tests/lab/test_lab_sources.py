"""The drawn sources: their archives open as the real ones do, and hold what they should."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import time
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet  # type: ignore[import-untyped]
import pytest

from g3m.lab import drawings
from g3m.lab.drawings import draw
from g3m.lab.img2dataset import FIRST_MTIME_S
from g3m.lab.sbu import GOLDEN_CAPTION, GOLDEN_URL, GOLDEN_USER
from g3m.lab.sources import cc3m, coco, open_images, sbu, surviving_pairs
from g3m.lab.world import draw_sources

SAMPLES = 18


def _digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    """Digests of drawn sources can be pinned: no clock and no machine gets into the files."""
    for folder in ("one", "two"):
        draw_sources(tmp_path / folder, samples=8)
    assert _digests(tmp_path / "one") == _digests(tmp_path / "two")
    draw_sources(tmp_path / "three", samples=8, seed=1)
    assert _digests(tmp_path / "one") != _digests(tmp_path / "three")


def test_a_demo_is_drawn_in_two_seconds(tmp_path: Path) -> None:
    """Nobody waits for the demo's data: that is what it takes of a processor."""
    started_s = time.process_time()
    draw_sources(tmp_path)
    assert time.process_time() - started_s < 2


def test_coco_images_are_stored_behind_a_folder_entry(tmp_path: Path) -> None:
    """The image archives are as Info-ZIP made the real ones: uncompressed, unsorted, 12 digits."""
    paths = coco(tmp_path, train=9, valid=7)
    for path, split, count in ((paths.train, "train2017", 9), (paths.valid, "val2017", 7)):
        assert path.name == f"{split}.zip"
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
            folder, *members = archive.infolist()
        assert folder.filename == f"{split}/" and folder.is_dir()
        names = [member.filename for member in members]
        assert len(names) == count and names != sorted(names)
        assert all(member.compress_type == zipfile.ZIP_STORED for member in members)
        assert all(len(name) == len(f"{split}/000000000139.jpg") for name in names)
    with zipfile.ZipFile(paths.valid) as archive:
        expected = draw(0, drawings.COCO_VALID_FIRST).jpeg
        assert archive.read("val2017/000000000139.jpg") == expected


@pytest.mark.parametrize(("split", "count"), [("train2017", 11), ("val2017", 6)])
def test_coco_captions_belong_to_the_images(tmp_path: Path, split: str, count: int) -> None:
    """Joined by id, the two unsorted lists give each image of the archive its own true captions."""
    paths = coco(tmp_path, train=11, valid=6, seed=3)
    with zipfile.ZipFile(paths.annotations) as archive:
        assert all(one.compress_type == zipfile.ZIP_DEFLATED for one in archive.infolist())
        document = json.loads(archive.read(f"annotations/captions_{split}.json"))
    assert list(document) == ["info", "licenses", "images", "annotations"]
    assert len(document["licenses"]) == 8
    ids = [image["id"] for image in document["images"]]
    assert len(ids) == count and ids != sorted(ids)
    owners = [annotation["image_id"] for annotation in document["annotations"]]
    assert owners != sorted(owners)
    assert set(Counter(owners).values()) == {5, 6}
    first = drawings.COCO_TRAIN_FIRST if split == "train2017" else drawings.COCO_VALID_FIRST
    known = {one.jpeg: one for one in (draw(3, first + place) for place in range(count))}
    with zipfile.ZipFile(tmp_path / f"{split}.zip") as archive:
        for image in document["images"]:
            drawing = known[archive.read(f"{split}/{image['file_name']}")]
            assert (image["width"], image["height"]) == (drawing.width, drawing.height)
            captions = {
                annotation["caption"]
                for annotation in document["annotations"]
                if annotation["image_id"] == image["id"]
            }
            assert captions >= set(drawing.captions)
            assert {text.strip() for text in captions} == {text.strip() for text in drawing.captions}


def test_open_images_archive_is_gnu_tar_behind_gzip(tmp_path: Path) -> None:
    """The archive begins with its folder and has names of 16 hex digits, without pax headers."""
    paths = open_images(tmp_path, images=9, repeats=2)
    with tarfile.open(paths.images, "r:gz") as archive:
        folder, *members = archive.getmembers()
        assert folder.isdir() and folder.name == "validation"
        assert all(not member.pax_headers for member in members)
        contents = {member.name: archive.extractfile(member) for member in members}
        jpegs = {name: file.read() for name, file in contents.items() if file is not None}
    assert len(jpegs) == 9
    assert all(len(name) == len("validation/0123456789abcdef.jpg") for name in jpegs)
    expected = {draw(0, drawings.OPEN_IMAGES_FIRST + place).jpeg for place in range(9)}
    assert set(jpegs.values()) == expected


def test_narratives_repeat_images_near_and_far(tmp_path: Path) -> None:
    """Some images are told twice, close together and far apart, and one record has no traces."""
    paths = open_images(tmp_path, images=20, repeats=4)
    records: list[dict[str, Any]] = [
        json.loads(line) for line in paths.narratives.read_text("utf-8").splitlines()
    ]
    assert len(records) == 24
    ids = [record["image_id"] for record in records]
    places = {one: [at for at, other in enumerate(ids) if other == one] for one in ids}
    gaps = sorted(at[1] - at[0] for at in places.values() if len(at) == 2)
    assert len(gaps) == 4
    assert gaps[:2] == [1, 1] and gaps[-1] > 10
    with tarfile.open(paths.images) as archive:
        names = [Path(name).stem for name in archive.getnames()[1:]]
    assert set(names) == set(ids) and names != list(dict.fromkeys(ids))
    assert sum("traces" not in record for record in records) == 1
    traced = records[0]
    assert list(traced) == [
        "dataset_id",
        "image_id",
        "annotator_id",
        "caption",
        "timed_caption",
        "traces",
        "voice_recording",
    ]
    assert " ".join(part["utterance"] for part in traced["timed_caption"]) == traced["caption"]
    assert all(isinstance(point["x"], float) for trace in traced["traces"] for point in trace)


def test_cc3m_shards_are_written_as_webdataset_does(tmp_path: Path) -> None:
    """Members come as jpg, json, txt with pax headers; validation has no json; keys have gaps."""
    paths = cc3m(tmp_path, 2, 1, 6)
    assert [path.name for path in paths.train] == ["cc3m-train-0000.tar", "cc3m-train-0001.tar"]
    assert [path.name for path in paths.valid] == ["cc3m-validation-0000.tar"]
    for path, suffixes in (
        (paths.train[1], ["jpg", "json", "txt"]),
        (paths.valid[0], ["jpg", "txt"]),
    ):
        with tarfile.open(path) as archive:
            members = archive.getmembers()
            assert all(member.pax_headers.keys() == {"mtime"} for member in members)
            assert members[0].mtime == FIRST_MTIME_S
            text = archive.extractfile(members[-1])
            assert text is not None and text.read().decode().islower()
        assert [member.name.partition(".")[2] for member in members] == suffixes * 6
        keys = list(dict.fromkeys(member.name.partition(".")[0] for member in members))
        assert len(keys) == 6 and all(len(key) == 9 for key in keys)
        assert int(keys[-1]) - int(keys[0]) > 5
    information = json.loads((tmp_path / "_info.json").read_text())
    assert information["splits"]["train"]["filenames"] == [path.name for path in paths.train]
    assert information["splits"]["validation"]["num_samples"] == 6
    assert (tmp_path / "README.md").is_file()


def _members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def _pairs(form: int, members: dict[str, bytes]) -> list[tuple[str, bytes | None]]:
    """Caption and image (None: missing) of every record, read by the rule of the form."""
    if form == 1:
        files = {}
        for name in sorted(name for name in members if name.endswith(".tar")):
            with tarfile.open(fileobj=io.BytesIO(members[name])) as archive:
                for member in archive:
                    file = archive.extractfile(member)
                    files[member.name] = file.read() if file else b""
            assert json.loads(members[name.replace(".tar", "_stats.json")])["successes"]
        return _triplets(files)
    if form == 2:
        return _triplets({name.partition("/")[2]: body for name, body in members.items()})
    if form == 8:
        table = pyarrow.parquet.read_table(io.BytesIO(members["data/train-00000-of-00001.parquet"]))
        assert table.column_names == ["key", "caption", "image"]
        return [(row["caption"], row["image"]) for row in table.to_pylist()]
    if form in (3, 4):
        arrays = json.loads(members["sbu-captions-all.json"])
        assert arrays["user_ids"][0] == GOLDEN_USER
        names = [f"images/{url.rpartition('/')[2]}" for url in arrays["image_urls"]]
        if form == 4:
            names = [f"{place // 1000:04d}/{place % 1000:03d}.jpg" for place in range(len(names))]
        return [(text, members.get(name)) for text, name in zip(arrays["captions"], names, strict=True)]
    if form == 5:
        both = [
            members[f"dataset/SBU_captioned_photo_dataset_{kind}.txt"].decode("utf-8").splitlines()
            for kind in ("captions", "urls")
        ]
        return [
            (text, members.get(f"dataset/{url.rpartition('/')[2]}")) for text, url in zip(*both, strict=True)
        ]
    records = json.loads(members["sbu.json" if form == 6 else "ccs_filtered.json"])
    assert set(records[0]) == ({"image", "caption", "url"} if form == 6 else {"url", "caption"})
    return [(one["caption"], members.get(f"images/{one['url'].rpartition('/')[2]}")) for one in records]


def _triplets(files: dict[str, bytes]) -> list[tuple[str, bytes | None]]:
    keys = sorted({name.partition(".")[0] for name in files})
    assert json.loads(files[f"{keys[0]}.json"])["url"] == GOLDEN_URL
    return [(files[f"{key}.txt"].decode(), files.get(f"{key}.jpg")) for key in keys]


@pytest.mark.parametrize("form", range(1, 9))
def test_sbu_pairs_images_with_captions_in_every_form(tmp_path: Path, form: int) -> None:
    """Read by each form's own rule, every surviving image is the drawing its caption speaks of."""
    path = sbu(tmp_path, form, SAMPLES)
    assert path.name == "sbucaptions.zip"
    pairs = _pairs(form, _members(path))
    assert len(pairs) == SAMPLES
    golden = GOLDEN_CAPTION.lower() if form == 6 else GOLDEN_CAPTION
    assert pairs[0][0] == golden
    alive = [position for position, (_, image) in enumerate(pairs) if image]
    assert tuple(alive) == surviving_pairs(form, SAMPLES)
    for position in alive:
        caption, image = pairs[position]
        drawing = draw(0, drawings.SBU_FIRST + position)
        assert image == drawing.jpeg
        if position:
            assert caption.lower().startswith(drawing.captions[0].strip().lower())


@pytest.mark.parametrize("form", range(2, 8))
def test_sbu_has_missing_and_empty_images(tmp_path: Path, form: int) -> None:
    """Dead links leave no file or an empty one, in every form that can show it."""
    images = [image for _, image in _pairs(form, _members(sbu(tmp_path, form, SAMPLES)))]
    assert images.count(None) == 2
    assert images.count(b"") == 2


def test_sbu_captions_are_not_all_ascii(tmp_path: Path) -> None:
    """A reader that leaves the encoding to the locale is found out."""
    texts = _members(sbu(tmp_path, 5, SAMPLES))["dataset/SBU_captioned_photo_dataset_captions.txt"]
    assert not texts.isascii()


def test_sbu_has_eight_forms(tmp_path: Path) -> None:
    """A form that does not exist is a mistake of the caller."""
    with pytest.raises(ValueError, match="not 9"):
        sbu(tmp_path, 9, 1)
