"""steps/duplicates.py: the first of several equal pictures stays, and what was compared does not matter to anybody else."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.steps.offline import Files, Made, make, tar_bytes, zip_of
from tests.whole.sources import coco_recipe, coco_zips, my_recipe, narrative, tar_gz, tiny_jpeg, write_coco

from g3m.adapters.members import MemberReader
from g3m.core.errors import TooManyRejected
from g3m.steps import duplicates

REJECT = {"policy": ["duplicate_image=reject"]}


def pairs(folder: Path, images: dict[str, bytes], *, tar: bool = False, **options: object) -> Made:
    """Pack pictures with a text each, from a zip (which has checksums) or a tar (which has none)."""
    files: Files = {
        k: v for key, data in images.items() for k, v in ((f"{key}.jpg", data), (f"{key}.txt", b"words"))
    }
    archive = folder / "source" / ("heap.tar" if tar else "heap.zip")
    if tar:
        archive.parent.mkdir(parents=True)
        archive.write_bytes(tar_bytes(files))
    else:
        zip_of(archive, files)
    recipe = my_recipe(folder / "heap.toml", [(archive, [])], {"reader": "pairs", "images": archive.name})
    return make(recipe, archive, **options)


def details(made: Made) -> dict[str, str]:
    text = (made.folder / "rejected.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    return {row["key"]: row["detail"] for row in rows if row["reason"] == "duplicate_image"}


def same_size(mark: str) -> bytes:
    return tiny_jpeg(f"{mark:>4}")


IMAGES = {
    "a": same_size("1"),
    "b": same_size("2"),
    "c": same_size("1"),
    "d": tiny_jpeg("longer than the others"),
    "e": same_size("1"),
    "f": same_size("2"),
    "g": same_size("3"),
}


@pytest.mark.parametrize("tar", [False, True])
def test_later_ones_are_left_out(tmp_path: Path, tar: bool) -> None:
    """Each with the key of the first as detail; pictures that merely have the same size stay."""
    made = pairs(tmp_path, IMAGES, tar=tar, **REJECT)
    assert set(made.samples) == {"a", "b", "d", "g"}
    assert details(made) == {"c": "a", "e": "a", "f": "b"}
    assert made.manifest.rejected == {"duplicate_image": 3}
    assert made.manifest.seen == len(IMAGES)


def test_under_the_default_they_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is compared, and nothing said of it."""
    monkeypatch.setattr(duplicates, "Duplicates", None)
    made = pairs(tmp_path, IMAGES)
    assert set(made.samples) == set(IMAGES)
    assert made.findings == []


def test_shards_keep_their_partition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A duplicate leaves its place empty, as every other loss does; a shard of duplicates alone is not made."""
    monkeypatch.setattr("g3m.core.samples.SHARD_SAMPLES", 2)
    images = {
        "a": same_size("1"),
        "b": same_size("1"),
        "c": same_size("1"),
        "d": same_size("4"),
        "e": same_size("5"),
    }
    made = pairs(tmp_path, images, **REJECT)
    assert [(shard.name, shard.samples) for shard in made.manifest.shards] == [
        ("00000.tar", 1),
        ("00002.tar", 2),
    ]
    assert list(made.samples) == ["a", "d", "e"]


def test_only_what_may_be_equal_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a zip whose checksums all differ no picture is read twice, though all have one size."""
    read: list[str] = []
    plain = MemberReader.read

    def counted(self: MemberReader, member: object) -> bytes:
        read.append(member.name)  # type: ignore[attr-defined]
        return plain(self, member)  # type: ignore[arg-type]

    monkeypatch.setattr(MemberReader, "read", counted)
    unlike = {str(n): same_size(str(n)) for n in range(9)}
    pairs(tmp_path / "unlike", unlike, **REJECT)
    assert len([name for name in read if name.endswith(".jpg")]) == 0
    pairs(tmp_path / "alike", {**unlike, "x": same_size("3")}, **REJECT)
    assert sorted(name for name in read if name.endswith(".jpg")) == ["3.jpg", "x.jpg"]


@pytest.mark.parametrize("tar", [False, True])
def test_a_bounded_number_is_compared_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tar: bool
) -> None:
    """Where there are more, the list is gone through again, with the same outcome; also with far too few slots."""
    whole = pairs(tmp_path / "whole", IMAGES, tar=tar, **REJECT)
    monkeypatch.setattr(duplicates, "COMPARED_LIMIT", 2)
    monkeypatch.setattr(duplicates, "SLOTS", 2)
    made = pairs(tmp_path / "parts", IMAGES, tar=tar, **REJECT)
    assert (details(made), made.manifest.shards) == (details(whole), whole.manifest.shards)


@settings(max_examples=25)
@given(marks=st.lists(st.integers(0, 3), min_size=1, max_size=8), tar=st.booleans())
def test_exactly_the_repeats_are_left_out(
    tmp_path_factory: pytest.TempPathFactory, marks: list[int], tar: bool
) -> None:
    """For any heap: the first of each picture is packed, every later one refers to it."""
    images = {f"k{place}": same_size(str(mark)) for place, mark in enumerate(marks)}
    made = pairs(tmp_path_factory.mktemp("heap"), images, tar=tar, **REJECT)
    first = {mark: f"k{marks.index(mark)}" for mark in marks}
    assert set(made.samples) == set(first.values())
    assert details(made) == {f"k{n}": first[mark] for n, mark in enumerate(marks) if marks.index(mark) != n}


def test_a_picture_that_is_told_twice_is_no_duplicate(tmp_path: Path) -> None:
    """Two narratives of one member are two samples; another member of the same bytes is a duplicate, however often told."""
    lines = [("one", "first"), ("one", "second"), ("two", "third"), ("three", "fourth"), ("two", "fifth")]
    text = "".join(narrative(image, caption) + "\n" for image, caption in lines)
    source = tmp_path / "source"
    source.mkdir()
    images = {"one": same_size("1"), "two": same_size("1"), "three": same_size("3")}
    archive = tar_gz(source / "v.tar.gz", {f"validation/{name}.jpg": data for name, data in images.items()})
    told = source / "told.jsonl"
    told.write_text(text, encoding="utf-8")
    rule = {"reader": "localized_narratives", "images": f"{archive.name}/validation", "captions": told.name}
    made = make(my_recipe(tmp_path / "mine.toml", [(archive, []), (told, [])], rule), source, **REJECT)
    assert set(made.samples) == {"one", "one_2", "three"}
    assert details(made) == {"two": "one", "two_2": "one"}


def test_coco(tmp_path: Path) -> None:
    """In the order of the image ids, whatever the archive's order."""
    folder = write_coco(tmp_path / "coco", "val2017", {7: ["a"], 3: ["b"], 5: ["c"]})
    (folder / "val2017" / f"{7:012d}.jpg").write_bytes(tiny_jpeg(3))
    archives = coco_zips(folder, "val2017", tmp_path / "source")
    made = make(coco_recipe(tmp_path / "mine.toml", "val2017", *archives), tmp_path / "source", **REJECT)
    assert set(made.samples) == {f"{3:012d}", f"{5:012d}"}
    assert details(made) == {f"{7:012d}": f"{3:012d}"}


def test_a_tar_inside_a_zip(tmp_path: Path) -> None:
    """Where some pictures have checksums and others have none, their sizes say what to compare."""
    inner = tar_bytes(
        {"b.jpg": same_size("1"), "b.txt": b"words", "c.jpg": same_size("2"), "c.txt": b"words"}
    )
    files = {"a.jpg": same_size("1"), "a.txt": b"words", "inner.tar": inner}
    archive = zip_of(tmp_path / "source" / "heap.zip", files)
    recipe = my_recipe(tmp_path / "heap.toml", [(archive, [])], {"reader": "pairs", "images": archive.name})
    made = make(recipe, archive, **REJECT)
    assert (set(made.samples), details(made)) == ({"b", "c"}, {"a": "b"})


def test_an_unpacked_folder(tmp_path: Path) -> None:
    """Files of a folder have no checksums and are compared all the same."""
    source = tmp_path / "files"
    source.mkdir()
    archive = zip_of(
        tmp_path / "heap.zip",
        {k: v for key, data in IMAGES.items() for k, v in ((f"{key}.jpg", data), (f"{key}.txt", b"w"))},
    )
    with zipfile.ZipFile(archive) as content:
        content.extractall(source)
    recipe = my_recipe(
        tmp_path / "heap.toml", [(archive, ["a.jpg", "a.txt"])], {"reader": "pairs", "images": archive.name}
    )
    made = make(recipe, source, **REJECT)
    assert details(made) == {"c": "a", "e": "a", "f": "b"}


def test_what_was_asked_for_is_no_damage(tmp_path: Path) -> None:
    """However many duplicates there are, the dataset is no failure for them; for other losses it is."""
    made = pairs(tmp_path / "good", IMAGES, max_rejected=0.0, **REJECT)
    assert made.manifest.rejected == {"duplicate_image": 3}
    with pytest.raises(TooManyRejected, match=r"1 of 8 samples are unusable \(1 not_an_image\)"):
        pairs(tmp_path / "bad", {**IMAGES, "page": b"<html>"}, max_rejected=0.1, **REJECT)
