"""steps/adopt.py: a ready shard stays the very file it was, unless something in it cannot be used."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.steps.offline import Files, Made, make, tar_bytes
from tests.whole.sources import my_recipe, tiny_jpeg

from g3m.core.errors import BadArchive, TooManyRejected
from g3m.core.events import Noted
from g3m.core.index import Index
from g3m.core.receipt import Manifest
from g3m.lab.world import World
from g3m.load.dataset import dataset
from g3m.runners.run import get_in, make_session, verify_in

PAGE = b"<!DOCTYPE html><html></html>"


def sample(
    key: str, *, meta: bool = True, image: bytes | None = None, text: bytes = b"words"
) -> dict[str, bytes]:
    files = {f"{key}.jpg": tiny_jpeg(key) if image is None else image}
    if meta:
        files[f"{key}.json"] = json.dumps({"key": key}).encode()
    return {**files, f"{key}.txt": text}


def shard_of(folder: Path, content: bytes, name: str = "cc3m-train-0000.tar") -> tuple[Path, Path]:
    """A recipe of one ready shard, and the shard."""
    source = folder / "source"
    source.mkdir(parents=True, exist_ok=True)
    (source / name).write_bytes(content)
    return my_recipe(folder / "mine.toml", [(source / name, [])], {"reader": "shards"}), source / name


def adopted(folder: Path, files: Files, **options: object) -> Made:
    recipe, shard = shard_of(folder, tar_bytes(files))
    return make(recipe, shard, **options)


def the_shard(made: Made) -> Path:
    return made.folder / "cc3m-train-0000.tar"


def check(made: Made) -> None:
    """Manifest, index and file agree, and every sample is read through the index."""
    (shard,) = made.manifest.shards
    data = the_shard(made).read_bytes()
    assert shard.sha256 == hashlib.sha256(data).hexdigest()
    assert shard.size_bytes == len(data)
    index = Index((made.folder / "index.bin").read_bytes())
    assert len(index) == shard.samples == made.manifest.samples
    for number in range(len(index)):
        _, entry = index[number]
        for field in entry.fields:
            assert (
                data[field.offset : field.offset + field.size_bytes]
                == made.samples[entry.key][field.extension]
            )


@pytest.mark.parametrize("meta", [True, False], ids=["json", "no json"])
def test_a_good_shard_is_taken_over_as_it_is(tmp_path: Path, meta: bool) -> None:
    """Byte for byte the source's file, with json or without; the user's own file is neither changed nor moved."""
    files = {k: v for n in range(4) for k, v in sample(f"00000000{n}", meta=meta).items()}
    recipe, source = shard_of(tmp_path, tar_bytes(files))
    before = (source.read_bytes(), source.stat().st_mtime_ns, source.stat().st_mode)
    made = make(recipe, source)
    assert the_shard(made).read_bytes() == before[0]
    assert (source.read_bytes(), source.stat().st_mtime_ns, source.stat().st_mode) == before
    assert made.manifest.samples == 4
    assert made.manifest.notes == {}
    check(made)
    data = dataset("mine", made.root)
    assert [one.meta for one in data] == ([{"key": f"00000000{n}"} for n in range(4)] if meta else [{}] * 4)
    data.close()


def test_a_file_of_the_users_is_linked_where_that_is_possible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hard link costs no disk; where the file system has none, a copy; either way the user's file stays."""
    recipe, source = shard_of(tmp_path, tar_bytes(sample("1")))
    linked = make(recipe, source, root=tmp_path / "linked")
    assert the_shard(linked).samefile(source)
    monkeypatch.setattr(os, "link", _no_links)
    copied = make(recipe, source, root=tmp_path / "copied")
    assert not the_shard(copied).samefile(source)
    assert the_shard(copied).read_bytes() == source.read_bytes()
    assert source.is_file()


def _no_links(*_: object) -> None:
    raise OSError(1, "no hard links here")


def test_repairing_a_linked_shard_does_not_write_into_the_users_file(tmp_path: Path) -> None:
    """The published name is replaced, never written through: the user's file is the same all along."""
    recipe, source = shard_of(tmp_path, tar_bytes(sample("1")))
    made = make(recipe, source)
    content = source.read_bytes()
    the_shard(made).unlink()
    make(recipe, source)
    assert source.read_bytes() == content
    assert source.stat().st_nlink == 2


BAD = {
    "no image": ({"x.json": b"{}", "x.txt": b"words"}, "incomplete"),
    "no text": ({"x.jpg": tiny_jpeg("x"), "x.json": b"{}"}, "incomplete"),
    "only json": ({"x.json": b"{}"}, "incomplete"),
    "a page": (sample("x", image=PAGE), "not_an_image"),
    "an empty image": (sample("x", image=b""), "empty_image"),
    "no key": (sample("ü"), "unsafe_key"),
    "outside": ({"../x.jpg": tiny_jpeg("x"), "../x.txt": b"words"}, "unsafe_name"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_used_is_left_out_and_listed(tmp_path: Path, case: str) -> None:
    """The shard is written anew without it: the others byte for byte, the loss listed, the rewriting told and noted."""
    bad, reason = BAD[case]
    good = {k: v for n in range(3) for k, v in sample(f"good{n}").items()}
    made = adopted(tmp_path, {**good, **bad, **sample("last")})
    assert set(made.samples) == {"good0", "good1", "good2", "last"}
    for key in ("good0", "last"):
        assert made.samples[key] == {name.partition(".")[2]: data for name, data in sample(key).items()}
    assert {found for _, found in made.rejected} == {reason}
    assert made.manifest.rejected == {reason: len(made.rejected)}
    strays = {"stray_files": 2} if case == "outside" else {}
    assert made.manifest.notes == {"rewritten_shard": 1, **strays}
    assert made.manifest.seen == (4 if strays else 5)
    assert any("written anew" in event.text for event in made.events if isinstance(event, Noted))
    check(made)
    assert verify_in([], made.session, [], deep=True, repair=False).ok


def test_members_twice(tmp_path: Path) -> None:
    """Of two members with one name the first stays, and the second is listed; no sample is lost for it."""
    files = [*sample("a").items(), *sample("b").items(), *sample("a", text=b"again").items()]
    files += [("c.jpg", tiny_jpeg("c")), ("c.jpg", tiny_jpeg("C")), ("c.txt", b"words")]
    made = adopted(tmp_path, files)
    assert made.texts == {"a": "words", "b": "words", "c": "words"}
    assert made.samples["c"]["jpg"] == tiny_jpeg("c")
    assert made.rejected == [(name, "duplicate") for name in ("a.jpg", "a.json", "a.txt", "c.jpg")]
    check(made)


def test_keys_twice(tmp_path: Path) -> None:
    """Two images of one sample, and a key that comes back later with a member more: nobody guesses, both are listed."""
    files = [("c.jpg", tiny_jpeg("c")), ("c.jpeg", tiny_jpeg("C")), ("c.txt", b"words")]
    files += [*sample("a").items(), *sample("b").items(), ("a.png", tiny_jpeg("A"))]
    made = adopted(tmp_path, files)
    assert made.texts == {"a": "words", "b": "words"}
    assert made.samples["a"]["jpg"] == tiny_jpeg("a")
    assert made.rejected == [("c", "duplicate_key"), ("a", "duplicate_key")]
    check(made)


def test_a_folder_entry_changes_nothing(tmp_path: Path) -> None:
    """A directory in the tar is no sample and no loss: the shard stays as it is."""
    content = tar_bytes(sample("a"), folders=["photos"])
    recipe, source = shard_of(tmp_path, content)
    made = make(recipe, source)
    assert the_shard(made).read_bytes() == content
    assert made.rejected == []


def test_links_and_devices_are_left_out(tmp_path: Path) -> None:
    """Members that are no files are listed, and the shard is written without them."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, data in sample("a").items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        link = tarfile.TarInfo("b.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    recipe, source = shard_of(tmp_path, file.getvalue())
    made = make(recipe, source)
    assert set(made.samples) == {"a"}
    assert made.rejected == [("b.jpg", "not_a_file")]
    check(made)


@pytest.mark.parametrize("extension", ["jpeg", "JPG", "png", "webp"])
def test_other_names_of_images_become_jpg(tmp_path: Path, extension: str) -> None:
    """The layout has `.jpg` alone: another suffix is renamed, the bytes stay."""
    made = adopted(tmp_path, {f"a.{extension}": tiny_jpeg("a"), "a.txt": b"words"})
    assert made.samples["a"] == {"jpg": tiny_jpeg("a"), "txt": b"words"}
    assert made.rejected == []
    check(made)


def test_an_empty_text_is_kept_and_counted(tmp_path: Path) -> None:
    """img2dataset writes an empty file where there was no caption: the shard stays as it is."""
    content = tar_bytes({**sample("a"), **sample("b", text=b"")})
    recipe, source = shard_of(tmp_path, content)
    made = make(recipe, source)
    assert the_shard(made).read_bytes() == content
    assert made.findings == [("b", "no_caption", "kept")]


def test_members_of_other_kinds_are_left_alone(tmp_path: Path) -> None:
    """A mask beside the image is neither a sample nor a loss, and a deep verify finds nothing wrong."""
    content = tar_bytes({**sample("a"), "a.mask.jpg": tiny_jpeg("m"), "a.cls": b"3"})
    recipe, source = shard_of(tmp_path, content)
    made = make(recipe, source)
    assert the_shard(made).read_bytes() == content
    assert made.manifest.samples == 1
    assert verify_in([], made.session, [], deep=True, repair=False).findings == []


@pytest.mark.parametrize("names", [("x/1", "y/1"), ("a b", "a_b"), ("é1", "1")])
def test_keys_that_fall_together_when_written_anew(tmp_path: Path, names: tuple[str, str]) -> None:
    """Two keys that become one are told apart or listed; the run does not end in an error of ours."""
    files = {**sample(names[0]), **sample(names[1]), **sample("bad", image=PAGE)}
    made = adopted(tmp_path, files)
    assert ("bad", "not_an_image") in made.rejected
    assert len(made.samples) + len(made.rejected) == 3
    check(made)


def test_a_shard_of_nothing_usable(tmp_path: Path) -> None:
    """All pages and no images, as from behind a login: the dataset fails with its reasons and no shard is left."""
    recipe, source = shard_of(tmp_path, tar_bytes({**sample("a", image=PAGE), **sample("b", image=PAGE)}))
    with pytest.raises(TooManyRejected, match=r"2 of 2 samples are unusable \(2 not_an_image\)"):
        make(recipe, source, max_rejected=0.5)


@pytest.mark.parametrize("cut", [100, 700, 2000])
def test_a_torn_shard_is_never_published(tmp_path: Path, cut: int) -> None:
    """A tar that ends too early is BadArchive that names it, whatever its digest was pinned as."""
    whole = tar_bytes(sample("a"))
    recipe, source = shard_of(tmp_path, whole[:cut])
    with pytest.raises(BadArchive, match=r"cc3m-train-0000\.tar"):
        make(recipe, source)
    assert not list((tmp_path / "data").rglob("*.tar"))


# --- shards from a hub ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("world"), samples=6) as world:
        yield world


def fetched(world: World, root: Path, name: str, **options: object) -> tuple[Path, Manifest]:
    session = make_session({**world.options, "root": str(root), **options}, world.variables)
    made = get_in([name], session, []).manifests[name]
    return root / made.folder, made


@pytest.mark.parametrize("name", ["cc3m", "cc3m_valid"])
def test_shards_of_the_hub_keep_their_bytes(world: World, tmp_path: Path, name: str) -> None:
    """Every shard has the sha256 that the hub lists, and nothing of the download is left beside it."""
    folder, made = fetched(world, tmp_path / "data", name)
    drawn = world.sources.cc3m.train if name == "cc3m" else world.sources.cc3m.valid
    assert [shard.name for shard in made.shards] == [path.name for path in drawn]
    for path in drawn:
        assert (folder / path.name).read_bytes() == path.read_bytes()
    assert {shard.sha256 for shard in made.shards} == {
        hashlib.sha256(p.read_bytes()).hexdigest() for p in drawn
    }
    assert list((tmp_path / "data" / ".g3m" / "parts").iterdir()) == []


def test_keeping_assets_of_shards_costs_no_second_copy(world: World, tmp_path: Path) -> None:
    """With --keep-assets the kept file and the shard are one file with two names, or the asset is not kept."""
    folder, made = fetched(world, tmp_path / "data", "cc3m_valid", keep_assets=True)
    kept = list((tmp_path / "data" / ".g3m" / "parts").glob("*.whole"))
    assert all(path.samefile(folder / made.shards[0].name) for path in kept)
