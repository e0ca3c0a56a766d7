"""`g3m pack`: other shards of the same samples, the source untouched, and nothing lost in silence."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import os
import shutil
import tarfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.realdata import REAL
from tests.steps.offline import tar_bytes as tar_of
from tests.whole.disk import check_all_whole, tree

import g3m
from g3m.adapters.disk import Free, Store
from g3m.adapters.session import Session
from g3m.adapters.tar import list_tar
from g3m.core.errors import (
    BadArchive,
    G3MError,
    Interrupted,
    Locked,
    NoSpace,
    NotRecognised,
    NotVerified,
    OtherOptions,
    SettingsError,
    StorageError,
    TooManyRejected,
    UnknownDataset,
)
from g3m.core.events import Event, TaskFinished
from g3m.core.index import Index
from g3m.core.indexing import IndexedShard, encode
from g3m.core.members import Member
from g3m.core.receipt import Manifest, manifest
from g3m.core.shard import Entry, Field, end_of_archive
from g3m.lab.world import World
from g3m.runners.pack import cut_at, pack_in, plan_in
from g3m.runners.run import get_in, make_session
from g3m.steps import reshard, survey

LEAST_BYTES = 1_000_000
Samples = dict[str, dict[str, bytes]]


def picture(number: int, size: tuple[int, int] = (96, 64), kind: str = "JPEG", mode: str = "RGB") -> bytes:
    """A drawn picture that no other number gives."""
    noise = Image.frombytes(
        "L", (48, 32), bytes((number * 7 + place * place) % 256 for place in range(48 * 32))
    )
    image = (
        Image.merge("RGB", (noise, noise.transpose(Image.Transpose.ROTATE_180), noise))
        .resize(size)
        .convert(mode)
    )
    written = io.BytesIO()
    image.save(written, kind, quality=90) if kind == "JPEG" else image.save(written, kind)
    return written.getvalue()


def sample(number: int, **more: bytes) -> list[tuple[str, bytes]]:
    """The members of one sample as other programs name them."""
    parts = {"jpg": picture(number), "txt": f"text {number}".encode(), "cls": b"%d" % number, **more}
    return [(f"{number:04d}.{extension}", content) for extension, content in parts.items()]


def foreign(folder: Path, counts: tuple[int, ...] = (5, 4, 6), **more: bytes) -> Path:
    """Tars that g3m did not make, with keys that go on from one to the next."""
    folder.mkdir(parents=True, exist_ok=True)
    first = 0
    for number, count in enumerate(counts):
        members = [part for one in range(first, first + count) for part in sample(one, **more)]
        (folder / f"train-{number}.tar").write_bytes(tar_of(members))
        first += count
    return folder


def samples_of(folder: Path, names: list[str] | None = None) -> dict[str, Samples]:
    """Shard, key and extension: every byte, in the order in which they lie."""
    found: dict[str, Samples] = {}
    for path in sorted(folder.glob("*.tar")):
        own: Samples = found.setdefault(path.name, {})
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                key, _, extension = member.name.partition(".")
                content = archive.extractfile(member)
                assert content is not None
                assert extension not in own.setdefault(key, {})
                own[key][extension] = content.read()
    return found


def joined(folder: Path) -> Samples:
    """All samples of all shards, in order."""
    return {key: parts for shard in samples_of(folder).values() for key, parts in shard.items()}


def packed(source: Path | str | list[str], to: Path, **options: Any) -> Manifest:
    """Pack and give the manifest; every loss is allowed unless said otherwise."""
    summary = g3m.pack(source, to, **{"max_rejected": 1, **options})
    return next(iter(summary.manifests.values()))


def size_of(data: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(data)).size


def rejected_of(to: Path) -> dict[str, str]:
    rows = map(json.loads, (to / "rejected.jsonl").read_text(encoding="utf-8").splitlines())
    return {row["key"]: row["reason"] for row in rows}


@dataclass(frozen=True)
class Got:
    """A dataset that `get` has packed: session options, its name and folder."""

    options: dict[str, Any]
    name: str
    folder: Path


@pytest.fixture(scope="module")
def got(tmp_path_factory: pytest.TempPathFactory) -> Got:
    """`coco_valid` of the drawn world, fetched and packed in three shards."""
    root = tmp_path_factory.mktemp("got")
    with World(root / "world", samples=24) as world, pytest.MonkeyPatch.context() as patch:
        patch.setattr("g3m.core.samples.SHARD_SAMPLES", 7)
        options = {**world.options, "root": str(root / "data"), "jobs": 1}
        body = get_in(
            ["coco_valid", "sbu", "cc3m_valid"], make_session(options, world.variables), []
        ).manifests
    return Got({"root": options["root"]}, "coco_valid", root / "data" / body["coco_valid"].folder)


def test_foreign_tars_are_cut_anew_without_losing_a_byte(tmp_path: Path) -> None:
    """So many samples in each shard, all members of each in their order, the source as it was."""
    source = foreign(tmp_path / "source")
    before = {**tree(source), **{path.name: str(path.stat().st_mtime_ns) for path in source.iterdir()}}
    body = packed(source, tmp_path / "new", shard_size=4)
    assert [shard.samples for shard in body.shards] == [4, 4, 4, 3]
    assert joined(tmp_path / "new") == joined(source)
    assert [list(parts) for parts in joined(tmp_path / "new").values()] == [["jpg", "txt", "cls"]] * 15
    assert before == {
        **tree(source),
        **{path.name: str(path.stat().st_mtime_ns) for path in source.iterdir()},
    }
    assert check_all_whole(tmp_path / "new") == 4
    assert g3m.verify(root=str(tmp_path)).ok
    read = g3m.dataset("new", root=tmp_path)
    assert [one.text for one in read] == [f"text {number}" for number in range(15)]
    assert read[7].image == picture(7)
    read.close()


def test_without_limits_the_source_decides(tmp_path: Path) -> None:
    """One shard for each tar, with the same samples."""
    source = foreign(tmp_path / "source")
    body = packed(source, tmp_path / "new")
    assert [shard.samples for shard in body.shards] == [5, 4, 6]
    assert list(samples_of(tmp_path / "new").values()) == list(samples_of(source).values())


def test_shards_end_before_they_grow_too_large(tmp_path: Path) -> None:
    """With both limits the first that is reached ends a shard, and no shard could have held the next sample."""
    source = foreign(tmp_path / "source", (6, 6), npy=bytes(220_000))
    body = packed(source, tmp_path / "bytes", max_shard_bytes="1M")
    assert [shard.samples for shard in body.shards] == [4, 4, 4]
    one = (body.shards[0].size_bytes - len(end_of_archive(0))) // 4
    assert all(shard.size_bytes <= LEAST_BYTES < shard.size_bytes + one for shard in body.shards)
    body = packed(source, tmp_path / "both", max_shard_bytes=2 * LEAST_BYTES, shard_size=5)
    assert [shard.samples for shard in body.shards] == [5, 5, 2]
    large = foreign(tmp_path / "large", (3,), npy=bytes(1_200_000))
    body = packed(large, tmp_path / "alone", max_shard_bytes="1M")
    assert [shard.samples for shard in body.shards] == [1, 1, 1]


def test_files_are_taken_in_the_order_in_which_they_are_named(tmp_path: Path) -> None:
    """Several paths are one source; a folder gives its tars by name, also those of its folders."""
    source = foreign(tmp_path / "source")
    (source / "deeper").mkdir()
    (source / "train-0.tar").rename(source / "deeper" / "train-0.tar")
    (source / ".hidden").mkdir()
    (source / ".hidden" / "x.tar").write_bytes(b"not looked at")
    names = [str(source / "train-2.tar"), str(source / "train-1.tar")]
    packed(names, tmp_path / "two", shard_size=100)
    assert list(joined(tmp_path / "two")) == [f"{n:04d}" for n in (*range(9, 15), *range(5, 9))]
    packed(source, tmp_path / "all", shard_size=100)
    assert list(joined(tmp_path / "all")) == [f"{n:04d}" for n in range(15)]


@pytest.mark.parametrize(
    "options", [{}, {"image_size": 32}, {"image_size": 40, "resize": "border", "quality": 60}]
)
def test_the_same_bytes_for_any_number_of_jobs(options: dict[str, Any], tmp_path: Path) -> None:
    """Shards and index do not depend on how many are made at a time, nor on where the folder is."""
    source = foreign(tmp_path / "source", (9, 8))
    packed(source, tmp_path / "one" / "new", shard_size=3, jobs=1, **options)
    packed(source, tmp_path / "four" / "new", shard_size=3, jobs=4, **options)
    assert tree(tmp_path / "one" / "new") == tree(tmp_path / "four" / "new")


def test_pictures_are_made_smaller_and_nothing_else_changes(tmp_path: Path) -> None:
    """Every picture has the asked size, is called jpg, and can be read through the index; the rest stays."""
    source = tmp_path / "source"
    source.mkdir()
    members = [
        *sample(0),
        ("0001.png", picture(1, kind="PNG")),
        ("0001.txt", b"png"),
        ("0001.seg.png", b"mask"),
    ]
    members += [
        ("0002.jpeg", picture(2)),
        ("0003.jpg", picture(3, (30, 20))),
        ("0004.JPG", picture(4, mode="L")),
    ]
    (source / "a.tar").write_bytes(tar_of(members))
    body = packed(source, tmp_path / "new", image_size=32)
    new = joined(tmp_path / "new")
    assert [list(parts) for parts in new.values()] == [
        ["jpg", "txt", "cls"],
        ["jpg", "txt", "seg.png"],
        ["jpeg"],
        ["jpg"],
        ["jpg"],
    ]
    assert new["0001"]["seg.png"] == b"mask"
    assert (
        size_of(new["0000"]["jpg"]) == size_of(new["0001"]["jpg"]) == size_of(new["0002"]["jpeg"]) == (48, 32)
    )
    assert new["0003"]["jpg"] == picture(3, (30, 20)), "small enough: not a byte is touched"
    assert Image.open(io.BytesIO(new["0004"]["jpg"])).mode == "L"
    assert body.treatment.resize is not None
    assert body.findings == {"not_jpeg": {"fixed": 1}, "grayscale": {"kept": 1}}
    read = g3m.dataset("new", root=tmp_path)
    assert [size_of(one.image) for one in read] == [(48, 32), (48, 32), (48, 32), (30, 20), (48, 32)]
    read.close()


def test_a_picture_keeps_its_extension_unless_it_becomes_another_format(tmp_path: Path) -> None:
    """Cut anew a PNG stays `.png` and the index knows it as the picture; packed once more, too."""
    source = tmp_path / "source"
    source.mkdir()
    members = [("0.png", picture(0, kind="PNG")), ("0.txt", b"zero"), ("1.left.png", picture(1, kind="PNG"))]
    (source / "a.tar").write_bytes(tar_of(members))
    packed(source, tmp_path / "new")
    assert joined(tmp_path / "new") == joined(source)
    packed(tmp_path / "new", tmp_path / "again")
    assert joined(tmp_path / "again") == joined(source)
    packed(tmp_path / "again", tmp_path / "small", image_size=16)
    assert [list(parts) for parts in joined(tmp_path / "small").values()] == [["jpg", "txt"], ["left.jpg"]]
    read = g3m.dataset("again", root=tmp_path)
    assert [one.image for one in read] == [picture(0, kind="PNG"), picture(1, kind="PNG")]
    read.close()


def test_the_policy_holds_for_pictures(tmp_path: Path) -> None:
    """What is no picture is left out, as by `get`; what the policy rejects or fixes, too."""
    source = tmp_path / "source"
    source.mkdir()
    members = [*sample(0), ("0001.jpg", b"<html>"), ("0001.txt", b"page"), ("0002.jpg", picture(2, mode="L"))]
    members += [
        ("0003.png", picture(3, kind="PNG")),
        ("0004.jpg", picture(4)[:-300]),
        ("0005.jpg", picture(5) + b"tail"),
    ]
    (source / "a.tar").write_bytes(tar_of(members))
    packed(source, tmp_path / "plain")
    assert rejected_of(tmp_path / "plain") == {"0001": "not_an_image"}
    assert joined(tmp_path / "plain")["0004"]["jpg"] == picture(4)[:-300], "kept, listed as a finding"
    policy = ("grayscale=reject", "not_jpeg=fix", "truncated=reject", "trailing=fix")
    body = packed(source, tmp_path / "strict", policy=policy)
    assert rejected_of(tmp_path / "strict") == {
        "0001": "not_an_image",
        "0002": "grayscale",
        "0004": "truncated",
    }
    new = joined(tmp_path / "strict")
    assert list(new["0003"]) == ["jpg"]
    assert new["0005"]["jpg"] == picture(5)
    assert body.samples == 3
    packed(source, tmp_path / "small", image_size=32)
    assert rejected_of(tmp_path / "small") == {"0001": "not_an_image", "0004": "truncated"}


@pytest.mark.parametrize("line", ["no_caption=reject", "duplicate_image=reject", "caption_not_utf8=fix"])
def test_what_only_get_treats_is_refused(line: str, tmp_path: Path) -> None:
    """A policy that would do nothing here is an error before anything is written."""
    source = foreign(tmp_path / "source", (2,))
    with pytest.raises(SettingsError, match="pictures only"):
        packed(source, tmp_path / "new", policy=(line,))
    assert not (tmp_path / "new").exists()


def test_a_dataset_of_g3m_is_found_by_its_name(
    got: Got, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its index is read in place of its tars, its licence and words come along, and its samples stay as they are."""
    monkeypatch.setattr(survey, "list_tar", lambda path: pytest.fail("the index names every member"))
    body = packed(got.name, tmp_path / "new", shard_size=5, **got.options)
    old = manifest((got.folder / "manifest.json").read_text(encoding="utf-8"))
    assert old is not None
    assert [shard.samples for shard in body.shards][:-1] == [5] * (old.samples // 5)
    assert joined(tmp_path / "new") == joined(got.folder)
    assert (body.licence, body.title, body.expected_samples) == (old.licence, old.title, old.samples)
    assert old.identity[:16] in body.form
    assert "bibtex" in (tmp_path / "new" / "README.md").read_text(encoding="utf-8")
    again = packed(got.folder, tmp_path / "by path" / "new", shard_size=5)
    assert again.identity == body.identity


@pytest.mark.parametrize("place", ["first", "last"])
def test_an_index_that_leaves_members_out_is_not_relied_on(place: str, got: Got, tmp_path: Path) -> None:
    """Where a shard holds more than its index names, the tar is listed and all members come along."""
    copy = tmp_path / "copy"
    shutil.copytree(got.folder, copy)
    own = samples_of(copy)["00002.tar"]
    chosen = list(own)[0 if place == "first" else -1]
    own[chosen]["cls"] = b"9"
    shard = copy / "00002.tar"
    shard.write_bytes(
        tar_of([(f"{key}.{ext}", data) for key, parts in own.items() for ext, data in parts.items()])
    )
    entries: dict[str, list[Field]] = {}
    for item in list_tar(shard):
        assert isinstance(item, Member)
        key, _, extension = item.name.partition(".")
        entries.setdefault(key, []).append(Field(extension, item.offset, item.size_bytes))
    index = Index((copy / "index.bin").read_bytes())
    shards: dict[str, list[Entry]] = {}
    for number in range(len(index)):
        shards.setdefault(index[number][0], []).append(index[number][1])
    # As adopting does: members that are no part of the layout stay in the shard and out of the index.
    shards["00002.tar"] = [
        Entry(key, tuple(f for f in fields if f.extension != "cls")) for key, fields in entries.items()
    ]
    (copy / "index.bin").write_bytes(
        encode([IndexedShard(name, tuple(rows)) for name, rows in shards.items()])
    )
    text = json.loads((copy / "manifest.json").read_text(encoding="utf-8"))
    text["shards"][2]["size_bytes"] = shard.stat().st_size
    (copy / "manifest.json").write_text(json.dumps(text), encoding="utf-8")
    packed(copy, tmp_path / "new", shard_size=100)
    assert joined(tmp_path / "new") == joined(copy)
    assert joined(tmp_path / "new")[chosen]["cls"] == b"9"


def test_a_dataset_that_is_not_as_its_manifest_says_is_not_packed(got: Got, tmp_path: Path) -> None:
    """A shard that is missing, or has another size, stops before anything is written; a broken index, too."""
    copy = tmp_path / "copy"
    shutil.copytree(got.folder, copy)
    (copy / "index.bin").write_bytes(b"no index")
    with pytest.raises(NotVerified, match="index"):
        packed(copy, tmp_path / "new")
    with open(copy / "00001.tar", "ab") as file:
        file.write(bytes(10_240))
    with pytest.raises(NotVerified, match=r"00001\.tar"):
        packed(copy, tmp_path / "newer")
    assert not (tmp_path / "newer").exists()


def test_keys_that_begin_anew_are_numbered(tmp_path: Path) -> None:
    """Tars with the same keys are joined without loss, and the manifest counts the renamed ones."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("a", "b", "c"):
        (source / f"{name}.tar").write_bytes(
            tar_of([(f"000.{name}.jpg", picture(ord(name))), ("000.txt", name.encode())])
        )
    body = packed(source, tmp_path / "new", shard_size=10)
    assert {key: parts["txt"] for key, parts in joined(tmp_path / "new").items()} == {
        "000": b"a",
        "000_2": b"b",
        "000_3": b"c",
    }
    assert body.notes.get("renamed_keys") == 2
    assert packed(source, tmp_path / "apart").notes.get("renamed_keys", 0) == 0


def test_what_is_no_sample_is_listed_with_its_reason(tmp_path: Path) -> None:
    """Twice the same key, no picture, an empty one, no extension: nothing goes in silence."""
    source = tmp_path / "source"
    source.mkdir()
    members = [*sample(0), ("1.txt", b"alone"), ("2.jpg", b""), *sample(3), ("README", b"hello"), *sample(4)]
    members += [("0000.json", b"{}"), ("5.jpg", picture(5)), ("5.JPG", picture(5))]
    (source / "a.tar").write_bytes(tar_of(members))
    body = packed(source, tmp_path / "new")
    assert rejected_of(tmp_path / "new") == {
        "1": "missing_image",
        "2": "empty_image",
        "README": "unsafe_key",
        "0000": "duplicate_key",
        "5": "duplicate",
    }
    assert list(joined(tmp_path / "new")) == ["0000", "0003", "0004"]
    assert (body.samples, body.left_out) == (3, 5)


def test_members_that_are_not_side_by_side_are_told_as_that(tmp_path: Path) -> None:
    """A tar in the order of a folder is refused as a whole, with the option of tar that mends it."""
    source = tmp_path / "source"
    source.mkdir()
    parts = [part for number in range(20) for part in sample(number)]
    (source / "a.tar").write_bytes(tar_of(sorted(parts, key=lambda part: part[0].partition(".")[2])))
    with pytest.raises(TooManyRejected) as caught:
        packed(source, tmp_path / "new", max_rejected=-1)
    assert "duplicate_key" in caught.value.message
    assert all("--sort=name" in words for words in caught.value.hint)
    assert not list((tmp_path / "new").glob("*.tar"))


def garbage(path: Path) -> None:
    path.write_bytes(b"a page, no tar" * 100)


def compressed(path: Path) -> None:
    path.write_bytes(gzip.compress(tar_of(sample(0))))


def cut(path: Path) -> None:
    path.write_bytes(tar_of(sample(0))[:-9_000])


@pytest.mark.parametrize(
    ("spoil", "words"), [(garbage, "not a tar"), (compressed, "gzip"), (cut, "not a sound tar")]
)
def test_what_is_no_whole_tar_stops_with_a_hint(
    spoil: Callable[[Path], None], words: str, tmp_path: Path
) -> None:
    """One bad file is named before any shard is made, and the hint says what to do, in both languages."""
    source = foreign(tmp_path / "source", (3,))
    spoil(source / "bad.tar")
    with pytest.raises(BadArchive) as caught:
        packed(source, tmp_path / "new")
    assert words in caught.value.message
    assert "bad.tar" in caught.value.message
    assert len(set(caught.value.hint)) == 2
    assert not list((tmp_path / "new").glob("*.tar"))
    (source / "bad.tar").unlink()
    assert packed(source, tmp_path / "new").samples == 3


def test_where_there_is_nothing_to_pack_it_is_said(tmp_path: Path) -> None:
    """No such path, no tar in it, tars without samples."""
    with pytest.raises(UnknownDataset, match="no dataset under"):
        packed("nothing", tmp_path / "new", root=str(tmp_path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotRecognised, match=r"no \.tar"):
        packed(tmp_path / "empty", tmp_path / "new")
    assert not (tmp_path / "new").exists()
    (tmp_path / "empty" / "a.tar").write_bytes(tar_of([]))
    with pytest.raises(NotRecognised, match="no sample"):
        packed(tmp_path / "empty", tmp_path / "new")
    source = foreign(tmp_path / "source", (1,))
    with pytest.raises(SettingsError, match="twice"):
        packed([str(source), str(source / "train-0.tar")], tmp_path / "new")


def test_an_empty_tar_among_others_does_no_harm(tmp_path: Path) -> None:
    """A writer that had nothing left to write leaves such."""
    source = foreign(tmp_path / "source", (2,))
    (source / "z.tar").write_bytes(tar_of([]))
    assert [shard.samples for shard in packed(source, tmp_path / "new").shards] == [2]


def test_the_source_and_strange_folders_are_never_written_to(tmp_path: Path) -> None:
    """Not the source itself, not above or below it, not over a link to it, not where anything else lies."""
    source = foreign(tmp_path / "all" / "source", (2,))
    (tmp_path / "link").symlink_to(source)
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "thesis.txt").write_text("mine", encoding="utf-8")
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    before = tree(tmp_path)
    targets = [
        source,
        source / "new",
        tmp_path / "all",
        tmp_path / "link",
        tmp_path / "strange",
        tmp_path / "file",
    ]
    for target in targets:
        with pytest.raises(OtherOptions) as caught:
            packed(source, target)
        assert all("--to" in words for words in caught.value.hint)
        assert ("within one another" in caught.value.message) == (target in targets[:4])
    assert tree(tmp_path) == before
    assert not list(tmp_path.rglob(".g3m"))


def test_other_options_never_touch_what_stands(tmp_path: Path) -> None:
    """A finished folder stays; an unfinished one is not mixed with shards of other options."""
    source = foreign(tmp_path / "source")
    packed(source, tmp_path / "new", shard_size=4)
    before = tree(tmp_path / "new")
    for options in ({"shard_size": 5}, {"shard_size": 4, "image_size": 32}, {"max_shard_bytes": "1M"}):
        with pytest.raises(OtherOptions):
            packed(source, tmp_path / "new", **options)
    other = foreign(tmp_path / "other")
    (other / "train-0.tar").write_bytes(tar_of([part for number in range(4) for part in sample(number)]))
    with pytest.raises(OtherOptions):
        packed(other, tmp_path / "new", shard_size=4)
    assert tree(tmp_path / "new") == before
    assert not g3m.pack(source, tmp_path / "new", shard_size=4).finished
    stop_after(source, tmp_path / "begun", 1, shard_size=4)
    with pytest.raises(OtherOptions) as caught:
        packed(source, tmp_path / "begun", shard_size=5)
    assert all("--to" in words for words in caught.value.hint)


def stop_after(source: Path, to: Path, shards: int, **options: Any) -> None:
    """Pack, and stop after so many shards: the thread that packs them says so, before it begins the next."""
    cut = cut_at(options.pop("shard_size", 0), "")
    session = make_session({"jobs": 1, "max_rejected": 1, **options}, {})
    plan, session = plan_in([str(source)], to, cut, session)
    finish, made = reshard.finish_shard, itertools.count(1)

    def count(*given: Any) -> Event:
        finished = finish(*given)
        if next(made) == shards:
            session.stop.set()
        return finished

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(reshard, "finish_shard", count)
        pack_in(plan, session, [])


def test_a_stopped_run_goes_on_where_it_was(tmp_path: Path) -> None:
    """What is made is not made again, also where the source has been moved since, and the end is the same."""
    source = foreign(tmp_path / "source")
    packed(source, tmp_path / "whole" / "new", shard_size=2, image_size=32)
    stop_after(source, tmp_path / "new", 3, shard_size=2, image_size=32)
    first = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "new").glob("*.tar")}
    assert len(first) == 3
    source = source.rename(tmp_path / "moved")
    packed(source, tmp_path / "new", shard_size=2, image_size=32)
    assert {name: (tmp_path / "new" / name).stat().st_mtime_ns for name in first} == first
    assert joined(tmp_path / "new") == joined(tmp_path / "whole" / "new")
    assert not list((tmp_path / "new" / ".g3m" / "parts").iterdir())


def test_a_broken_shard_is_made_again(tmp_path: Path) -> None:
    """After `verify` found it and it was deleted, the same line makes that shard and no other."""
    source = foreign(tmp_path / "source")
    packed(source, tmp_path / "new", shard_size=4)
    before = tree(tmp_path / "new")
    (tmp_path / "new" / "00002.tar").unlink()
    done: list[Event] = []
    g3m.pack(source, tmp_path / "new", shard_size=4, on_event=done.append)
    made = [event.output for event in done if isinstance(event, TaskFinished) and event.kind == "pack"]
    assert made == ["./00002.tar"]
    assert tree(tmp_path / "new") == before


@pytest.mark.parametrize("when", [1, 8])
def test_a_source_that_changes_meanwhile_is_told(
    when: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tar that is written to while it is packed, before or after it is opened, gives no shard."""
    source = foreign(tmp_path / "source", (4, 4))
    real, treated = reshard.Treater.treat, []

    def treat(self: Any, image: bytes) -> Any:
        treated.append(image)
        if len(treated) == when:
            os.utime(source / "train-1.tar", ns=(1, 1))
        return real(self, image)

    monkeypatch.setattr(reshard.Treater, "treat", treat)
    with pytest.raises(BadArchive) as caught:
        packed(source, tmp_path / "new", shard_size=8)
    assert "has changed" in caught.value.message
    assert not list((tmp_path / "new").glob("*.tar"))


def test_a_source_that_changed_between_two_runs_is_another(tmp_path: Path) -> None:
    """Shards of the old and of the new are never mixed."""
    source = foreign(tmp_path / "source", (4, 4))
    stop_after(source, tmp_path / "begun", 1, shard_size=3)
    os.utime(source / "train-0.tar", ns=(5, 5))
    with pytest.raises(OtherOptions):
        packed(source, tmp_path / "begun", shard_size=3)


def test_a_source_that_vanishes_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path is in the message, and running again continues once it is back."""
    source = foreign(tmp_path / "source", (4, 4))
    stop_after(source, tmp_path / "new", 1, shard_size=3)
    session = make_session({"jobs": 1}, {})
    plan, session = plan_in([str(source)], tmp_path / "new", cut_at(3, ""), session)
    source.rename(tmp_path / "away")
    with pytest.raises(StorageError, match=r"train-0\.tar"):
        pack_in(plan, session, [])
    shutil.copytree(tmp_path / "away", source)
    os.truncate(source / "train-0.tar", 1000)
    with pytest.raises(BadArchive, match=r"train-0\.tar: has changed"):
        pack_in(plan, session, [])
    shutil.rmtree(source)
    (tmp_path / "away").rename(source)
    assert packed(source, tmp_path / "new", shard_size=3).samples == 8


def test_space_is_asked_for_before_the_first_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot fit is not begun; smaller pictures need less than the source has."""
    source = foreign(tmp_path / "source", (5,), jpg=picture(1, (2600, 2000)))
    needed = sum(path.stat().st_size for path in source.iterdir())
    monkeypatch.setattr(Store, "free", lambda store: Free(needed // 2, None))
    with pytest.raises(NoSpace) as caught:
        packed(source, tmp_path / "new")
    assert all("--to" in words for words in caught.value.hint)
    assert not list((tmp_path / "new").glob("*.tar"))
    assert packed(source, tmp_path / "small", image_size=64).samples == 5
    monkeypatch.setattr(Store, "free", lambda store: Free(1000, None))
    with pytest.raises(NoSpace):
        packed(source, tmp_path / "smaller", image_size=64)
    assert not list((tmp_path / "smaller").glob("*.tar"))


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    """The lease is that of the new folder, so the source's root stays free."""
    source = foreign(tmp_path / "source", (3,))
    store = Store(tmp_path / "new")
    store.prepare()
    held, go = threading.Event(), threading.Event()

    def hold() -> None:
        with store.lease():
            held.set()
            go.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(20)
    try:
        with pytest.raises(Locked):
            packed(source, tmp_path / "new")
    finally:
        go.set()
        holder.join()
    assert packed(source, tmp_path / "new").samples == 3


def test_many_sources_need_few_descriptors(tmp_path: Path) -> None:
    """However many tars flow into one shard, one is open at a time."""
    source = foreign(tmp_path / "source", (1,) * 40)
    most = 0
    real = reshard.MemberReader

    class Counting(real):  # type: ignore[misc, valid-type]
        def __init__(self, path: Path) -> None:
            nonlocal most
            super().__init__(path)
            most = max(most, sum("train-" in os.readlink(f"/proc/self/fd/{n}") for n in descriptors()))

    def descriptors() -> list[str]:
        return [n for n in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{n}")]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reshard, "MemberReader", Counting)
        assert packed(source, tmp_path / "new", shard_size=100, jobs=1).samples == 40
    assert most == 1


@pytest.mark.parametrize("path", sorted((REAL / "odd_tars").rglob("*.t*")), ids=lambda path: path.name)
def test_real_odd_tars_end_in_shards_or_an_explained_error(path: Path, tmp_path: Path) -> None:
    """Tars of other projects' tests: whatever they hold, whole shards or a message, and no file is changed."""
    before = path.read_bytes()
    try:
        body = packed(str(path), tmp_path / "new", shard_size=10)
    except G3MError as error:
        assert path.name in error.message or "new" in error.message
        return
    finally:
        assert path.read_bytes() == before
    assert body.samples == len(joined(tmp_path / "new")) or body.samples
    assert check_all_whole(tmp_path / "new") == len(body.shards)


def test_real_photographs_come_through(tmp_path: Path) -> None:
    """COCO's pictures, or drawn ones where they are not: whole at first, then 128 pixels on the shorter side."""
    photos = [path.read_bytes() for path in sorted((REAL / "coco_mini").glob("*/*.jpg"))[:30]] or [
        picture(1, (640, 480))
    ]
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.tar").write_bytes(
        tar_of([(f"{number:03d}.jpg", data) for number, data in enumerate(photos)])
    )
    packed(source, tmp_path / "same", shard_size=7)
    assert [parts["jpg"] for parts in joined(tmp_path / "same").values()] == photos
    packed(tmp_path / "same", tmp_path / "small", image_size=128)
    sizes = [size_of(parts["jpg"]) for parts in joined(tmp_path / "small").values()]
    assert len(sizes) == len(photos)
    assert all(min(size) == 128 for size in sizes)


def test_the_session_of_the_source_stays(tmp_path: Path) -> None:
    """Only the store is another: settings, recipes and the clock are the caller's."""
    source = foreign(tmp_path / "source", (1,))
    session = make_session({"root": str(tmp_path / "root")}, {})
    plan, other = plan_in([str(source)], tmp_path / "new", cut_at(0, ""), session)
    assert replace(other, store=session.store) == session
    assert isinstance(other, Session)
    assert other.store.root == tmp_path / "new"
    assert [dataset.name for dataset in plan.datasets] == ["new"]


def test_the_name_is_never_that_of_a_recipe(tmp_path: Path) -> None:
    """A folder called like a known dataset holds another one, which no repair may fetch."""
    source = foreign(tmp_path / "source", (1,))
    assert packed(source, tmp_path / "coco_valid").dataset == "coco_valid_packed"
    assert packed(source, tmp_path / "My tars").dataset == "My_tars"


@pytest.mark.parametrize("samples", [-1, True])
def test_a_wrong_number_of_samples_is_refused(samples: int, tmp_path: Path) -> None:
    """From the API, where no command line has looked at it."""
    with pytest.raises(SettingsError, match="shard-size"):
        g3m.pack(foreign(tmp_path / "source", (1,)), tmp_path / "new", shard_size=samples)
