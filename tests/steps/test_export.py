"""steps/export.py: what is exported says what the tars hold, and the programs installed beside the tests load it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import sqlite3
import struct
import subprocess
import sys
import tarfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.whole import nxtp_reader

import g3m.core.samples
from g3m.core.errors import ContentError, NotVerified, NotWritable, SettingsError, UnknownDataset, UsageError
from g3m.lab.world import World
from g3m.runners.export import export
from g3m.runners.index import index
from g3m.runners.run import get_in, make_session, verify
from g3m.steps import export as export_step
from g3m.steps.export import FORMATS, SNIPPETS

Row = tuple[str, str, str]
TRAIN, VALID = ("cc3m", "coco"), ("cc3m_valid",)
LARGEST_BYTES = 2**16
"""All foreign tars are as long, so that an index tells them apart by nothing but their content."""

BY_WEBDATASET = """
    import hashlib, json, sys, webdataset
    module = {}
    exec(sys.argv[1], module)
    found = {**module["URLS"], "train": module["TRAIN"], "validation": module.get("VALIDATION", [])}
    rows = {
        name: [
            [one["__key__"], one["txt"].decode(), hashlib.sha256(one.get("jpg") or one["png"]).hexdigest()]
            for one in (webdataset.WebDataset(urls, shardshuffle=False) if urls else ())
        ]
        for name, urls in found.items()
    }
    print(json.dumps(rows))
"""
BY_DATASETS = """
    import hashlib, json, sys, datasets
    datasets.disable_progress_bars()
    found = {}
    for name in datasets.get_dataset_config_names(sys.argv[1]):
        loaded = datasets.load_dataset(sys.argv[1], name, cache_dir="cache")
        for split, rows in loaded.items():
            images = [one for one in rows.column_names if one in ("jpg", "png")]
            for one in images:
                rows = rows.cast_column(one, datasets.Image(decode=False))
            found[split if name == "all" else name] = [
                [row["__key__"], row["txt"],
                 hashlib.sha256(next(row[one]["bytes"] for one in images if row[one])).hexdigest()]
                for row in rows
            ]
    print(json.dumps(found))
"""


def run(script: str, argument: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A reader in a process of its own: it may import, warn and leave files open as it likes."""
    offline = {"HF_DATASETS_OFFLINE": "1", "HF_HUB_OFFLINE": "1", "HF_HOME": str(cwd), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), argument],
        env={**os.environ, **offline},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )


def rows_of(path: Path) -> Iterator[Row]:
    """What a tar holds, by tarfile alone."""
    found: dict[str, dict[str, bytes]] = {}
    with tarfile.open(path) as tar:
        for member in tar:
            key, _, extension = member.name.partition(".")
            data = tar.extractfile(member)
            assert data is not None
            found.setdefault(key, {})[extension] = data.read()
    for key, parts in found.items():
        picture = parts.get("jpg") or parts["png"]
        yield key, parts["txt"].decode(), hashlib.sha256(picture).hexdigest()


def rows_below(*folders: Path) -> list[Row]:
    return sorted(row for folder in folders for path in folder.glob("*.tar") for row in rows_of(path))


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.lstat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three datasets of the lab below a root, in shards of three."""
    folder = tmp_path_factory.mktemp("made")
    with World(folder / "world", samples=8) as world, pytest.MonkeyPatch.context() as patch:
        patch.setattr(g3m.core.samples, "SHARD_SAMPLES", 3)
        session = make_session({**world.options, "root": str(folder / "data")}, world.variables)
        get_in([*TRAIN, *VALID], session, [])
    return folder / "data"


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    """A copy of them under a name that has to be quoted."""
    return Path(shutil.copytree(made, tmp_path / 'it\'s "data" {a,b}'))


def folder(root: Path, name: str) -> Path:
    return root / {"coco": "coco/coco_train", "cc3m": "cc3m/cc3m", "cc3m_valid": "cc3m/cc3m_valid"}[name]


def foreign(place: Path, names: tuple[str, ...] = ("t-0000.tar", "t-0002.tar", "x.tar")) -> Path:
    """Tars with long headers that g3m did not make, and an index of their pictures and texts."""
    place.mkdir(parents=True)
    for number, name in enumerate(names):
        with tarfile.open(place / name, "w", format=tarfile.PAX_FORMAT) as tar:
            for at in range(number + 1):
                picture = io.BytesIO()
                Image.effect_noise((16, 16), 50).convert("RGB").save(picture, "PNG")
                for extension, data in (("png", picture.getvalue()), ("txt", b"a text"), ("cls", b"1")):
                    member = tarfile.TarInfo(f"k{number}{at}.{extension}")
                    member.size, member.mtime = len(data), 1.5  # a fraction needs an extension header
                    tar.addfile(member, io.BytesIO(data))
        whole = (place / name).read_bytes()
        (place / name).write_bytes(whole.ljust(LARGEST_BYTES, b"\0"))
    index(place)
    return place


def test_every_format_leaves_shards_and_manifests_alone_and_does_nothing_twice(root: Path) -> None:
    """All formats, twice: what was there before is untouched, and the second run writes nothing."""
    before = tree(root)
    first = {kind: export(kind, root=root) for kind in FORMATS}
    after = tree(root)
    assert {name: after[name] for name in before} == before
    assert verify(root=str(root)).ok
    for kind in FORMATS:
        again = export(kind, root=root)
        assert again.written == ()
        assert again.text == first[kind].text
        assert sorted(again.kept) == sorted((*first[kind].written, *first[kind].kept))
        assert again.datasets == {"cc3m": 8, "cc3m_valid": 4, "coco": 8}
    assert tree(root) == after
    assert not [name for name in after if name.endswith(".tmp")]


@pytest.mark.parametrize("kind", SNIPPETS)
def test_a_snippet_is_returned_and_goes_to_a_file_only_if_asked(
    kind: str, root: Path, tmp_path: Path
) -> None:
    """The file holds the text and says who wrote it, so that another export may replace it."""
    before = tree(root)
    text = export(kind, "coco", root=root).text
    assert text
    assert tree(root) == before
    target = tmp_path / "out" / "told.txt"
    assert export(kind, "coco", root=root, to=target).written == (target,)
    assert target.read_text(encoding="utf-8").endswith(text)
    assert export(kind, ["coco", "cc3m"], root=root, to=target).written == (target,)
    target.write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="stands there already"):
        export(kind, "coco", root=root, to=target)
    assert target.read_text(encoding="utf-8") == "mine"


def test_nxtps_table_leads_to_as_many_samples_as_it_says(root: Path) -> None:
    """NXTP's way of listing and grouping below data_root and each root finds the length."""
    table: dict[str, Any] = {}
    exec(export("nxtp", root=root).text, table)
    for name, entry in table["_DATASETS_META"].items():
        found = list(nxtp_reader.samples(Path(os.path.join(root, entry["root"]))))
        assert len(found) == entry["length"], name
    assert sorted(table["_DATASETS_META"]) == ["cc3m", "cc3m_valid", "coco"]


def test_webdataset_loads_each_dataset_and_each_split(root: Path, tmp_path: Path) -> None:
    """The very samples of the tars, out of a root with blanks, quotes and braces, and of foreign tars."""
    own = foreign(tmp_path / "for{ei}gn")
    done = run(BY_WEBDATASET, export("webdataset", [*TRAIN, *VALID, own], root=root).text, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    found = {name: sorted(tuple(row) for row in rows) for name, rows in json.loads(done.stdout).items()}
    places = [folder(root, name) for name in TRAIN]
    assert found == {
        "coco": rows_below(folder(root, "coco")),
        "cc3m": rows_below(folder(root, "cc3m")),
        "cc3m_valid": rows_below(folder(root, "cc3m_valid")),
        "for_ei_gn": rows_below(own),
        "train": rows_below(*places, own),
        "validation": rows_below(folder(root, "cc3m_valid")),
    }


def test_datasets_loads_the_whole_tree(root: Path, tmp_path: Path) -> None:
    """`load_dataset` on the root: each configuration, and all of a split; .jpg and .png lose nothing."""
    own = foreign(root / "own")
    export("hf", [*TRAIN, *VALID, own], root=root)
    done = run(BY_DATASETS, str(root), tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    found = {name: sorted(tuple(row) for row in rows) for name, rows in json.loads(done.stdout).items()}
    assert found == {
        "coco": rows_below(folder(root, "coco")),
        "cc3m": rows_below(folder(root, "cc3m")),
        "cc3m_valid": rows_below(folder(root, "cc3m_valid")),
        "own": rows_below(own),
        "train": rows_below(*(folder(root, name) for name in TRAIN), own),
        "validation": rows_below(folder(root, "cc3m_valid")),
    }


def test_datasets_notices_when_a_shard_is_gone(root: Path, tmp_path: Path) -> None:
    """The card's counts are compared with what is read."""
    export("hf", "coco", root=root)
    next(iter(folder(root, "coco").glob("*.tar"))).unlink()
    done = run(BY_DATASETS, str(root), tmp_path)
    assert "NonMatchingSplitsSizesError" in done.stderr


def test_a_stray_tar_is_in_no_pattern(root: Path) -> None:
    """Where a folder holds another tar, the card names each shard."""
    (folder(root, "coco") / "stray.tar").write_bytes(b"")
    export("hf", "coco", root=root)
    text = (root / "README.md").read_text(encoding="utf-8")
    assert '- "coco/coco_train/00000.tar"' in text
    assert "*.tar" not in text


def test_croissant_names_every_shard_by_path_and_digest(root: Path) -> None:
    """The digests are those of the files, also where nobody had stated one."""
    own = foreign(root / "own")
    export("hf", ["coco", own], root=root)
    body = json.loads((root / "croissant.json").read_text(encoding="utf-8"))
    files = {
        one["contentUrl"]: one["sha256"] for one in body["distribution"] if one["@type"] == "cr:FileObject"
    }
    paths = [*folder(root, "coco").glob("*.tar"), *own.glob("*.tar")]
    assert files == {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths
    }


def test_stated_digests_of_foreign_tars_are_taken(root: Path) -> None:
    """A SHA256SUMS beside them saves the reading."""
    own = foreign(root / "own", ("a.tar",))
    (own / "SHA256SUMS").write_text(f"{'c' * 64}  a.tar\n", encoding="utf-8")
    export("hf", own, root=root)
    assert "c" * 64 in (root / "croissant.json").read_text(encoding="utf-8")


def test_wids_lists_lead_to_the_shards(root: Path, tmp_path: Path) -> None:
    """A list for each split beside the data; one dataset has the list that publishing wrote."""
    done = export("wids", root=root)
    assert sorted(path.name for path in (*done.written, *done.kept)) == ["wids-meta.json", "wids-train.json"]
    body = json.loads((root / "wids-train.json").read_text(encoding="utf-8"))
    counts = {one["url"]: one["nsamples"] for one in body["shardlist"]}
    assert counts == {
        str(path.relative_to(root)): len(list(rows_of(path)))
        for name in TRAIN
        for path in folder(root, name).glob("*.tar")
    }
    outside = export("wids", TRAIN, root=root, to=tmp_path / "lists" / "mine.json")
    body = json.loads(outside.written[0].read_text(encoding="utf-8"))
    assert all(Path(one["url"]).is_absolute() and Path(one["url"]).is_file() for one in body["shardlist"])
    with pytest.raises(UsageError, match="need a file each"):
        export("wids", root=root, to=tmp_path / "both.json")
    assert export("wids", "coco", root=root).written == ()


def energon_truth(place: Path, names: list[str]) -> tuple[list[Any], list[Any], list[list[int]]]:
    """Rows of both tables and the offsets, by tarfile alone."""
    samples, parts, offsets = [], [], []
    for number, name in enumerate(names):
        begins: list[int] = []
        keys: list[str] = []
        with tarfile.open(place / name) as tar:
            for member in tar:
                key, _, extension = member.name.partition(".")
                if key not in keys:
                    keys.append(key)
                    begins.append(member.offset)
                parts.append((number, len(keys) - 1, extension, member.offset_data, member.size))
            begins.append(tar.offset)
        for at, key in enumerate(keys):
            samples.append((number, key, at, begins[at], begins[at + 1] - begins[at]))
        offsets.append(begins)
    return samples, parts, offsets


def tables(place: Path) -> tuple[list[Any], list[Any]]:
    database = sqlite3.connect(place / ".nv-meta" / "index.sqlite")
    try:
        return (
            database.execute("SELECT * FROM samples ORDER BY 1, 3").fetchall(),
            database.execute("SELECT * FROM sample_parts ORDER BY 1, 2, 4").fetchall(),
        )
    finally:
        database.close()


@pytest.mark.parametrize("kind", ["ours", "foreign", "hidden member"])
def test_energons_tables_are_what_the_tars_say(kind: str, root: Path) -> None:
    """Out of the index, or of the headers where it does not know every member."""
    place = folder(root, "coco") if kind == "ours" else foreign(root / "own")
    if kind == "hidden member":
        # A last member that the index does not know, which only the end of the tar tells.
        place = folder(root, "coco")
        shard = min(place.glob("*.tar"))
        with tarfile.open(shard, "a", format=tarfile.USTAR_FORMAT) as tar:
            member = tarfile.TarInfo(f"{list(rows_of(shard))[-1][0]}.extra")
            member.size = 3
            tar.addfile(member, io.BytesIO(b"new"))
    export("energon", place, root=root)
    names = sorted(path.name for path in place.glob("*.tar"))
    samples, parts, offsets = energon_truth(place, names)
    assert tables(place) == (samples, parts)
    for name, begins in zip(names, offsets, strict=True):
        data = (place / f"{name}.idx").read_bytes()
        assert list(struct.unpack(f"<{len(data) // 8}Q", data)) == begins
    counts = json.loads((place / ".nv-meta" / ".info.json").read_text(encoding="utf-8"))["shard_counts"]
    assert counts == {name: len(begins) - 1 for name, begins in zip(names, offsets, strict=True)}


def test_several_datasets_get_a_blend_with_relative_paths(root: Path, tmp_path: Path) -> None:
    """Beside the data by relative paths; elsewhere there are links to the shards, and no copy."""
    export("energon", root=root, factors={"coco": 2})
    text = (root / "metadataset.yaml").read_text(encoding="utf-8")
    assert '    - repetitions: 2\n      path: "./coco/coco_train"' in text
    before = tree(root)
    to = tmp_path / "told"
    export("energon", ["coco", "cc3m"], root=root, to=to)
    assert tree(root) == before
    assert '      path: "./coco"' in (to / "metadataset.yaml").read_text(encoding="utf-8")
    assert all(path.is_symlink() for path in to.rglob("*.tar"))
    assert tables(to / "coco") == tables(folder(root, "coco"))
    assert export("energon", ["coco", "cc3m"], root=root, to=to).written == ()
    with pytest.raises(UsageError, match="lies below the root"):
        export("energon", "coco", root=root, to=root / "told")
    (to / "coco" / "00000.tar").unlink()
    (to / "coco" / "00000.tar").write_bytes(b"mine")
    with pytest.raises(UsageError, match="stands there already"):
        export("energon", "coco", root=root, to=to)


def test_what_was_begun_is_finished_and_what_is_spoiled_is_made_again(root: Path) -> None:
    """The stamp is written last: without it, or with a tar's index cut, the tables are written anew."""
    export("energon", "coco", root=root)
    place = folder(root, "coco")
    whole = {name: data for name, (_, data) in tree(place).items() if "sqlite" not in name}
    rows = tables(place)
    for spoil in (".nv-meta/index.uuid", ".nv-meta/index.sqlite", "00000.tar.idx", ".nv-meta/split.yaml"):
        (place / spoil).unlink()
        written = export("energon", "coco", root=root).written
        assert place / spoil in written
        # The tables are believed only under their stamp.
        assert (place / ".nv-meta" / "index.sqlite" in written) == (spoil != ".nv-meta/split.yaml")
        assert tables(place) == rows
        assert {name: data for name, (_, data) in tree(place).items() if "sqlite" not in name} == whole
    (place / "00001.tar.idx").write_bytes(b"short")
    export("energon", "coco", root=root)
    assert {name: data for name, (_, data) in tree(place).items() if "sqlite" not in name} == whole


def test_energons_own_files_are_left(root: Path) -> None:
    """A `.nv-meta` that somebody prepared stays as it is."""
    meta = folder(root, "coco") / ".nv-meta"
    meta.mkdir()
    (meta / "dataset.yaml").write_text("sample_type: mine\n", encoding="utf-8")
    before = tree(root)
    with pytest.raises(UsageError, match=r"\.nv-meta: stands there already"):
        export("energon", "coco", root=root)
    assert tree(root) == before


def test_a_key_that_stands_twice_is_told(root: Path) -> None:
    """Energon refuses it, so no database is left that could be taken for one."""
    own = foreign(root / "own", ("a.tar",))
    shutil.copy(own / "a.tar", own / "b.tar")
    index(own)
    with pytest.raises(ContentError, match="a key stands for two samples"):
        export("energon", own, root=root)
    assert not list((own / ".nv-meta").glob("*.sqlite*"))
    assert not list((own / ".nv-meta").glob(".*"))


def test_a_shard_of_another_count_is_told(root: Path) -> None:
    """Headers that were read must give as many samples as the index."""
    own = foreign(root / "own")
    shutil.copy(own / "x.tar", own / "t-0000.tar")
    with pytest.raises(NotVerified, match="holds 3 samples, 1 are stated"):
        export("energon", own, root=root)


def test_files_of_others_are_not_replaced(root: Path) -> None:
    """A README.md that no export wrote stays, also that of a dataset which is its own root."""
    (root / "README.md").write_text("# my notes\n", encoding="utf-8")
    with pytest.raises(UsageError, match="stands there already"):
        export("hf", "coco", root=root)
    own = folder(root, "coco")
    with pytest.raises(UsageError, match="stands there already"):
        export("hf", root=own)
    assert export("hf", root=own, to=root.parent / "card").written
    assert (root / "README.md").read_text(encoding="utf-8") == "# my notes\n"


def test_a_folder_that_cannot_be_written_is_told_with_what_to_do(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hint names --to and not --root: the data is where it is."""

    def refuse(path: Path, content: object) -> None:
        raise NotWritable(f"{path}: Read-only file system")

    monkeypatch.setattr(export_step, "write_document", refuse)
    for kind in ("wids", "hf", "energon"):
        with pytest.raises(NotWritable) as told:
            export(kind, list(TRAIN), root=root)
        assert "--to" in told.value.hint[0]
        assert "--to" in told.value.hint[1]


def test_names_are_datasets_groups_and_folders(root: Path, tmp_path: Path) -> None:
    """What is not here is told, with a name that is near; a group must be here as a whole."""
    assert export("nxtp", "coco", root=root).datasets == {"coco": 8}
    assert export("nxtp", ["coco", "coco", folder(root, "coco")], root=root).datasets == {"coco": 8}
    assert export("wids", foreign(root / "own"), root=root).datasets == {"own": 6}
    with pytest.raises(UnknownDataset, match=r"'cocoo' is not under .*did you mean 'coco'"):
        export("nxtp", "cocoo", root=root)
    with pytest.raises(UnknownDataset, match="'sbu' is not under"):
        export("nxtp", "g3m", root=root)
    with pytest.raises(UnknownDataset, match="no dataset is under"):
        export("nxtp", root=tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnknownDataset, match=r"neither manifest\.json nor index\.bin"):
        export("nxtp", tmp_path / "empty", root=root)
    with pytest.raises(UsageError, match="two datasets are called 'own'"):
        export("wids", [root / "own", foreign(tmp_path / "own")], root=root)


def test_a_field_that_some_samples_lack_is_no_field_of_all(root: Path) -> None:
    """One tar with captions and one with none: nobody is promised a caption."""
    own = root / "own"
    own.mkdir()
    for number, names in enumerate((("jpg", "txt"), ("jpg",))):
        with tarfile.open(own / f"{number}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
            for name in names:
                member = tarfile.TarInfo(f"k{number}.{name}")
                member.size = 4
                tar.addfile(member, io.BytesIO(b"data"))
    index(own)
    with pytest.raises(UsageError, match="NXTP's loader needs jpg, txt in every sample"):
        export("nxtp", own, root=root)


def test_an_index_that_does_not_fit_is_told(root: Path) -> None:
    """Missing, damaged, or of another number of samples."""
    place = folder(root, "coco")
    whole = (place / "index.bin").read_bytes()
    (place / "index.bin").write_bytes((folder(root, "cc3m_valid") / "index.bin").read_bytes())
    with pytest.raises(NotVerified, match=r"has 4 samples, manifest\.json 8"):
        export("nxtp", "coco", root=root)
    (place / "index.bin").write_bytes(whole[:-1])
    with pytest.raises(NotVerified, match="cannot be used"):
        export("nxtp", "coco", root=root)
    (place / "index.bin").unlink()
    with pytest.raises(NotVerified, match="cannot be used"):
        export("nxtp", "coco", root=root)
    own = foreign(root / "own")
    (own / "x.tar").unlink()
    with pytest.raises(NotVerified, match=r"x\.tar: No such file"):
        export("wids", own, root=root)


def test_factors_are_checked_before_anything_is_written(root: Path) -> None:
    """Of a dataset that is exported, above zero, and for formats that know them."""
    before = tree(root)
    for kind, factors, words in (
        ("energon", {"cocoo": 2.0}, "'cocoo' is not among .*did you mean 'coco'"),
        ("energon", {"coco": 0.0}, "no number above 0"),
        ("open_clip", {"coco": float("nan")}, "no number above 0"),
        ("hf", {"coco": 2.0}, "hf knows none; open_clip and energon do"),
    ):
        with pytest.raises(SettingsError, match=words):
            export(kind, ["coco", "cc3m"], root=root, factors=factors)
    with pytest.raises(SettingsError, match="no export is called 'energonn'; did you mean 'energon'"):
        export("energonn", root=root)
    assert tree(root) == before
