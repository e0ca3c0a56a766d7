"""load/names.py: what a name, a group, a path or an address means, and what is said if it means nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.load.folders import folder_of, numbered, published

import g3m
from g3m.adapters.local import LocalReader
from g3m.core.errors import NotVerified, Refused, SettingsError, UnknownDataset
from g3m.load.dataset import Dataset

GROUP = {"cc3m": "cc3m/cc3m", "sbu": "sbu/sbu", "coco": "coco/coco_train"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The three datasets of the group `g3m`, and one of a user's own."""
    for number, (name, folder) in enumerate(GROUP.items()):
        published(tmp_path / "data", folder, name, 2 + number)
    published(tmp_path / "data", "own", "own", 1)
    return tmp_path / "data"


@pytest.fixture
def opened() -> Iterator[list[Dataset]]:
    made: list[Dataset] = []
    yield made
    for one in made:
        one.close()


def test_names_and_groups(root: Path, opened: list[Dataset]) -> None:
    """A group is its datasets in its order; whatever is named twice is there once; the root may be a text."""
    for names, expected in (
        ("coco", ("coco",)),
        (["coco", "cc3m"], ("coco", "cc3m")),
        ("g3m", ("cc3m", "sbu", "coco")),
        (["own", "coco", "g3m"], ("own", "coco", "cc3m", "sbu")),
        (("sbu", "sbu"), ("sbu",)),
    ):
        opened.append(data := g3m.dataset(names, root=str(root)))
        assert data.names == expected
        assert [sample.text.split()[0] for sample in data] == [
            name for name, count in zip(data.names, data.lengths, strict=True) for _ in range(count)
        ]


def test_a_home_is_understood(root: Path, opened: list[Dataset], monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` is the home folder, in a root and in a path."""
    monkeypatch.setenv("HOME", str(root.parent))
    opened += [g3m.dataset("own", root="~/data"), g3m.dataset("~/data/own")]
    assert [data.names for data in opened] == [("own",), ("own",)]


def test_all_that_is_missing_is_said_at_once(root: Path) -> None:
    """A group of which parts are missing names each of them, and the line that gets just those."""
    shutil.rmtree(root / "cc3m")
    (root / "sbu/sbu/manifest.json").unlink()
    with pytest.raises(UnknownDataset) as caught:
        g3m.dataset(["cc3m", "g3m", "coco_valid", "own"], root=root)
    message, (english, chinese) = caught.value.message, caught.value.hint
    assert message.startswith(f"'cc3m', 'sbu', 'coco_valid' are not under {root}")
    assert message.endswith(f"; {root}/sbu/sbu is not finished")
    line = f"`g3m get cc3m sbu coco_valid --root {root}`"
    assert line in english
    assert line in chinese


def test_a_name_that_is_nearly_right(root: Path) -> None:
    """A slip of the finger gets the name that was meant, also of a dataset of one's own."""
    for name, meant in (("cocoo", "coco"), ("onw", "own"), ("g3", "g3m")):
        with pytest.raises(UnknownDataset, match=rf"'{name}' is not under .*; did you mean '{meant}'\?"):
            g3m.dataset(name, root=root)


def test_a_root_that_is_not_there(tmp_path: Path) -> None:
    """A wrong root is named as what is wrong."""
    with pytest.raises(UnknownDataset, match=r"'coco' is not under .*/nowhere, which is no folder"):
        g3m.dataset("coco", root=tmp_path / "nowhere")


def test_no_name(root: Path) -> None:
    """An empty list of names is a mistake, not an empty dataset."""
    with pytest.raises(SettingsError, match="no name"):
        g3m.dataset([], root=root)


def test_copies_and_strays(root: Path, opened: list[Dataset]) -> None:
    """A copy elsewhere below the root does not disturb the dataset in its place; hidden folders are not looked at."""
    shutil.copytree(root / "coco/coco_train", root / "backup/coco")
    shutil.copytree(root / "own", root / ".trash/own")
    shutil.copytree(root / "own", root / ".own")
    opened += [g3m.dataset("coco", root=root), g3m.dataset("own", root=root)]
    assert [data.folders[0].place for data in opened] == [f"{root}/coco/coco_train", f"{root}/own"]
    shutil.rmtree(root / "own")
    with pytest.raises(UnknownDataset, match="'own' is not under"):
        g3m.dataset("own", root=root)


def test_two_that_could_be_meant(root: Path, opened: list[Dataset]) -> None:
    """Where no folder is the one that the manifest says, nobody guesses: both are named."""
    shutil.copytree(root / "own", root / "a/first")
    (root / "own").rename(root / "second")
    with pytest.raises(
        UnknownDataset, match=rf"'own' is the name of {root}/second and {root}/a/first"
    ) as caught:
        g3m.dataset("own", root=root)
    assert "path" in caught.value.hint[0]
    shutil.rmtree(root / "second")
    opened.append(data := g3m.dataset("own", root=root))
    assert len(data) == 1


def test_foreign_manifests_do_not_disturb(root: Path, opened: list[Dataset]) -> None:
    """Torn, foreign or unreadable manifests below the root are passed over."""
    for name, content in (("a/b", b"{"), ("z/z", b"[]"), ("y", b"\xff\xfe"), ("x", b"[" * 99_999)):
        (root / name).mkdir(parents=True)
        (root / name / "manifest.json").write_bytes(content)
    (root / "w/manifest.json").mkdir(parents=True)
    opened.append(g3m.dataset("own", root=root))


def test_folders_of_tars(
    root: Path, tmp_path: Path, opened: list[Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Indexed tars of others are opened by a path, by their name below the root, or in the working folder."""
    folder = folder_of(tmp_path / "flowers", {"a.tar": numbered("f", 3), "sub/b.tar": numbered("g", 2)})
    monkeypatch.chdir(tmp_path)
    for name in (
        folder,
        str(folder),
        "./flowers",
        "flowers",
        "flowers/",
        Path("flowers"),
        "flowers/index.bin",
    ):
        opened.append(data := g3m.dataset(name, root=root))
        assert (data.names, len(data), data.folders[0].place) == (("flowers",), 5, str(folder))
    opened.append(g3m.dataset("flowers", root=tmp_path))
    opened.append(mixed := g3m.dataset(["own", folder], root=root))
    assert [sample.text for sample in mixed] == ["own 0", "f 0", "f 1", "f 2", "g 0", "g 1"]
    assert mixed.key(4) == "flowers/k0"


def test_a_name_below_the_root_comes_first(
    root: Path, tmp_path: Path, opened: list[Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that happens to lie in the working folder takes no dataset's place, present or missing."""
    for name in ("own", "coco_valid"):
        folder_of(tmp_path / name, {"a.tar": numbered("wrong", 1)})
    monkeypatch.chdir(tmp_path)
    opened.append(data := g3m.dataset("own", root=root))
    assert data[0].text == "own 0"
    with pytest.raises(UnknownDataset, match="'coco_valid' is not under"):
        g3m.dataset("coco_valid", root=root)


def test_no_index(tmp_path: Path) -> None:
    """Tars without an index: the hint is the line that makes one, in both languages, fit for a shell."""
    (tmp_path / "my tars").mkdir()
    with pytest.raises(UnknownDataset, match=r"my tars: has no index\.bin") as caught:
        g3m.dataset(tmp_path / "my tars")
    for hint in caught.value.hint:
        assert f"`g3m index '{tmp_path}/my tars'`" in hint
    with pytest.raises(UnknownDataset, match="nothing: there is no such folder"):
        g3m.dataset(tmp_path / "nothing")


def test_a_root_is_no_dataset(root: Path) -> None:
    """Whoever gives the path of a root, or of a folder of datasets, learns what lies below it."""
    with pytest.raises(UnknownDataset, match="datasets lie below it: cc3m, coco, own, sbu") as caught:
        g3m.dataset(root)
    assert f"g3m.dataset(['cc3m', 'coco', 'own', 'sbu'], root='{root}')" in caught.value.hint[0]


def test_an_index_beside_its_tars_may_not_lead_away(tmp_path: Path, opened: list[Dataset]) -> None:
    """An index of tars elsewhere is opened by its own path; one that lies in a folder leads nowhere."""
    (tmp_path / "mine").mkdir()
    index = tmp_path / "mine/index.bin"
    shards = {"a.tar": numbered("f", 3)}
    far = folder_of(tmp_path / "far", shards, index=index, leads_to=str(tmp_path / "far"))
    opened.append(data := g3m.dataset(index))
    assert (data.names, data[2].text, data.folders[0].place) == (("far",), "f 2", str(index))
    with pytest.raises(NotVerified, match=f"mine: its index.bin is for shards in {far}") as caught:
        g3m.dataset(tmp_path / "mine")
    assert "path of the index file" in caught.value.hint[0]
    opened.append(g3m.dataset(shutil.copy(index, tmp_path / "mine/far.bin")))
    assert opened[-1][0].text == "f 0"


def test_alike_names_are_told_apart(tmp_path: Path, opened: list[Dataset]) -> None:
    """Folders of one name get as much of their paths as tells them apart, so that every key is one sample's."""
    paths = [tmp_path / "x/a/train", tmp_path / "y/a/train", tmp_path / "x/valid"]
    for path in paths:
        folder_of(path, {"0.tar": numbered("s", 1)})
    opened.append(data := g3m.dataset(paths))
    assert data.names == ("x/a/train", "y/a/train", "valid")
    assert [data.key(number) for number in range(3)] == ["x/a/train/k0", "y/a/train/k0", "valid/k0"]
    opened.append(once := g3m.dataset([paths[0], f"{paths[0]}/", paths[0] / "../train"]))
    assert once.names == ("train",)


def test_an_address_as_root(root: Path, monkeypatch: pytest.MonkeyPatch, opened: list[Dataset]) -> None:
    """Addresses go to the reader of addresses; below a root that is one, a dataset lies where its recipe says."""
    seen = remote_is(root, monkeypatch)
    opened.append(data := g3m.dataset(["coco", "sbu"], root="https://example.org/data/"))
    assert (data.names, data[0].text) == (("coco", "sbu"), "coco 0")
    opened.append(single := g3m.dataset("s3://example.org/data/own/"))
    assert (single.names, single[0].text) == (("own",), "own 0")
    assert {url for url, _ in seen} == {
        "https://example.org/data/coco/coco_train",
        "https://example.org/data/sbu/sbu",
        "s3://example.org/data/own",
    }
    assert next(sizes for _, sizes in seen if sizes) == {
        "00000.tar": (root / "coco/coco_train/00000.tar").stat().st_size
    }
    with pytest.raises(UnknownDataset, match="no dataset, group or recipe file is called 'cocoo'"):
        g3m.dataset("cocoo", root="https://example.org/data")
    with pytest.raises(UnknownDataset, match=r"https://example\.org/data/none: has no index\.bin"):
        g3m.dataset("https://example.org/data/none")


def test_the_same_dataset_from_everywhere(
    root: Path, monkeypatch: pytest.MonkeyPatch, opened: list[Dataset]
) -> None:
    """A dataset has the same fingerprint here and behind an address: a run can be continued elsewhere."""
    remote_is(root, monkeypatch)
    opened += [g3m.dataset("coco", root=root), g3m.dataset("https://example.org/data/coco/coco_train")]
    assert opened[0].fingerprint == opened[1].fingerprint


def test_a_bucket_that_refuses_what_is_not_there(
    root: Path, monkeypatch: pytest.MonkeyPatch, opened: list[Dataset]
) -> None:
    """S3 says 403 where there is no object: a folder without a manifest is opened all the same."""
    remote_is(root, monkeypatch)
    (root / "own/manifest.json").unlink()
    real = LocalReader.document

    def document(self: LocalReader, name: str) -> bytes | None:
        found = real(self, name)
        if found is None:
            raise Refused(f"{name}: 403")
        return found

    monkeypatch.setattr(LocalReader, "document", document)
    opened.append(data := g3m.dataset("s3://example.org/data/own"))
    assert (data.names, data[0].text) == (("own",), "own 0")
    with pytest.raises(Refused):
        g3m.dataset("s3://example.org/data/none")


def remote_is(root: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, int] | None]]:
    """Let ANY://example.org/data be a root on the disk; gives what readers are asked for."""
    seen: list[tuple[str, dict[str, int] | None]] = []

    def reader(url: str, *, sizes: dict[str, int] | None = None) -> LocalReader:
        seen.append((url, sizes))
        return LocalReader(Path(os.fspath(root)) / url.partition("example.org/data/")[2], sizes)

    monkeypatch.setattr("g3m.adapters.remote.RemoteReader", reader)
    return seen


def test_a_root_that_is_not_said(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `root` it is G3M_ROOT's, as for every function; an empty variable is none, and then `g3m-data`."""
    monkeypatch.chdir(root.parent)
    shutil.copytree(root, root.parent / "g3m-data")
    for value, folder in (("data", "data"), ("", "g3m-data")):
        monkeypatch.setenv("G3M_ROOT", value)
        with g3m.dataset("coco") as data:
            assert data.folders[0].place == str(root.parent / folder / "coco" / "coco_train")
