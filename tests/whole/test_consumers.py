"""One tree, many readers: what g3m leaves on the disk loads in the programs that people train with."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path
from typing import Any

import pytest
from tests.whole import nxtp_reader
from tests.whole.conftest import SMALL_SHARD
from tests.whole.disk import ORDER, check_all_whole, tree

import g3m
from g3m.core.index import Index
from g3m.core.receipt import Manifest
from g3m.lab.world import World
from g3m.load.dataset import Sample
from g3m.runners.run import get_in, make_session

DATASETS = ("cc3m", "sbu", "coco", "cc3m_valid", "coco_valid", "openimages_v7_valid")
WITHOUT_JSON = ("cc3m_valid",)

LOAD_WITH_WEBDATASET = """
    import hashlib, json, sys
    import webdataset

    def row(sample):
        return [
            sample["__key__"],
            hashlib.sha256(sample["jpg"]).hexdigest(),
            sample["txt"].decode(),
            json.loads(sample["json"]) if "json" in sample else None,
        ]

    answers = {}
    for name, files in json.loads(sys.argv[1]).items():
        raw = webdataset.WebDataset(files, shardshuffle=False, empty_check=True)
        pairs = webdataset.WebDataset(files, shardshuffle=False).decode("pil").to_tuple("jpg", "txt")
        answers[name] = {
            "rows": [row(sample) for sample in raw],
            "pairs": [[list(image.size), text] for image, text in pairs],
        }
    print(json.dumps(answers))
"""

LOAD_WITH_DATASETS = """
    import hashlib, json, sys
    import datasets

    datasets.disable_progress_bars()
    answers = {}
    for name, files in json.loads(sys.argv[1]).items():
        loaded = datasets.load_dataset(
            "webdataset", data_files=files, split="train", cache_dir=f"{sys.argv[2]}/{name}"
        )
        loaded = loaded.cast_column("jpg", datasets.Image(decode=False))
        answers[name] = [
            [row["__key__"], hashlib.sha256(row["jpg"]["bytes"]).hexdigest(), row["txt"], row.get("json")]
            for row in loaded
        ]
    print(json.dumps(answers))
"""


def run_reader(script: str, shards: dict[str, list[str]], cache: Path) -> Any:
    """Run a reader in a process of its own: it may import, warn and leave files open as it likes."""
    offline = {"HF_DATASETS_OFFLINE": "1", "HF_HUB_OFFLINE": "1", "HF_HOME": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), json.dumps(shards), str(cache)],
        env={**os.environ, **offline},
        cwd=cache,
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


class Made:
    """Everything that `get all` made: the root, the manifests, and every sample by our own loader."""

    def __init__(self, root: Path, manifests: dict[str, Manifest]) -> None:
        self.root = root
        self.manifests = manifests
        self.samples: dict[str, list[Sample]] = {}
        for name in manifests:
            opened = g3m.dataset(name, root)
            self.samples[name] = list(opened)
            opened.close()

    def folder(self, name: str) -> Path:
        return self.root / self.manifests[name].folder

    def shards(self, name: str) -> list[str]:
        return [str(self.folder(name) / shard.name) for shard in self.manifests[name].shards]

    def document(self, name: str, file: str) -> Any:
        return json.loads((self.folder(name) / file).read_bytes())


@pytest.fixture(scope="module")
def made(world: World, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """All six datasets, in shards of seven."""
    root = tmp_path_factory.mktemp("made") / "data"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("g3m.core.samples.SHARD_SAMPLES", SMALL_SHARD)
        session = make_session({**world.options, "root": str(root)}, world.variables)
        return Made(root, get_in(["all"], session, []).manifests)


def test_all_six_datasets_stand(made: Made) -> None:
    """Every dataset is there with several dozen samples in whole tars, and nothing was left out."""
    assert sorted(made.manifests) == sorted(DATASETS)
    counts = {name: manifest.samples for name, manifest in made.manifests.items()}
    assert counts == dict(zip(DATASETS, (24, 24, 24, 12, 24, 26), strict=True))
    assert not any(manifest.rejected for manifest in made.manifests.values())
    assert check_all_whole(made.root) == sum(len(manifest.shards) for manifest in made.manifests.values())


@pytest.fixture(scope="module")
def by_webdataset(made: Made, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, list[Any]]]:
    """What the library webdataset gives for all datasets: raw rows, and pairs decoded by Pillow."""
    shards = {name: made.shards(name) for name in DATASETS}
    answers: dict[str, dict[str, list[Any]]] = run_reader(
        LOAD_WITH_WEBDATASET, shards, tmp_path_factory.mktemp("webdataset")
    )
    return answers


@pytest.fixture(scope="module")
def by_datasets(made: Made, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[list[Any]]]:
    """Rows of all datasets as the library `datasets` gives them, offline."""
    shards = {name: made.shards(name) for name in DATASETS}
    answers: dict[str, list[list[Any]]] = run_reader(
        LOAD_WITH_DATASETS, shards, tmp_path_factory.mktemp("datasets")
    )
    return answers


@pytest.mark.parametrize("name", DATASETS)
def test_webdataset_reads_every_sample(
    name: str, made: Made, by_webdataset: dict[str, dict[str, list[Any]]]
) -> None:
    """The library webdataset finds the manifest's count, the index's keys and the very same bytes."""
    rows = by_webdataset[name]["rows"]
    assert len(rows) == made.manifests[name].samples
    for (key, image, text, meta), ours in zip(rows, made.samples[name], strict=True):
        assert (key, image, text) == (ours.key, hashlib.sha256(ours.image).hexdigest(), ours.text)
        assert (meta or {}) == ours.meta
        assert (meta is None) == (name in WITHOUT_JSON)


@pytest.mark.parametrize("name", DATASETS)
def test_webdataset_decodes_every_sample(
    name: str, made: Made, by_webdataset: dict[str, dict[str, list[Any]]]
) -> None:
    """The usual pipeline of decoding and tuples works: each picture opens, each text is there."""
    pairs = by_webdataset[name]["pairs"]
    assert [text for _, text in pairs] == [sample.text for sample in made.samples[name]]
    assert all(min(size) >= 200 and text.strip() for size, text in pairs)


@pytest.mark.parametrize("name", DATASETS)
def test_datasets_loads_every_sample(name: str, made: Made, by_datasets: dict[str, list[list[Any]]]) -> None:
    """`load_dataset("webdataset", ...)` gives each key, image, text and json of the manifest's samples."""
    rows = by_datasets[name]
    expected = [
        [sample.key, hashlib.sha256(sample.image).hexdigest(), sample.text] for sample in made.samples[name]
    ]
    assert [row[:3] for row in rows] == expected
    assert len(rows) == made.manifests[name].samples
    for row, sample in zip(rows, made.samples[name], strict=True):
        meta = row[3] if isinstance(row[3], dict) else json.loads(row[3] or "{}")
        assert meta == sample.meta


@pytest.mark.parametrize("name", DATASETS)
def test_nxtps_grouping_finds_every_sample(name: str, made: Made) -> None:
    """NXTP's way of listing and grouping gives the manifest's count, each with `.jpg` and `.txt`."""
    found = list(nxtp_reader.samples(made.folder(name)))
    assert len(found) == made.manifests[name].samples
    assert len({key for key, _, _ in found}) == len(found)
    assert [(key.rpartition("/")[2], image, text) for key, image, text in found] == [
        (sample.key, sample.image, sample.text) for sample in made.samples[name]
    ]


def test_nxtps_grouping_of_a_group_folder_leaks_nothing(made: Made) -> None:
    """Listing `coco/` or `cc3m/` gives the sum of its two datasets: nothing else there looks like a shard."""
    for folder in ("coco", "cc3m"):
        expected = sum(m.samples for m in made.manifests.values() if m.folder.startswith(f"{folder}/"))
        assert sum(1 for _ in nxtp_reader.samples(made.root / folder)) == expected
    assert sum(1 for _ in nxtp_reader.samples(made.root)) == sum(m.samples for m in made.manifests.values())


@pytest.mark.parametrize("name", DATASETS)
def test_our_loader_gives_the_bytes_of_the_tars(name: str, made: Made) -> None:
    """`g3m.dataset` has the manifest's length, takes numbers from both ends, and agrees with the tar members."""
    opened = g3m.dataset(name, made.root)
    direct = [
        (key.rpartition("/")[2], image, text) for key, image, text in nxtp_reader.samples(made.folder(name))
    ]
    assert len(opened) == len(direct)
    assert (opened[-1].key, opened[-1].image, opened[-1].text) == direct[-1]
    assert [(sample.key, sample.image, sample.text) for sample in opened] == direct
    opened.close()


@pytest.mark.parametrize("name", DATASETS)
def test_the_small_files_agree_with_the_manifest_and_the_shards(name: str, made: Made) -> None:
    """sizes.json, _info.json, wids-meta.json, index and manifest state the same shards, counts and sizes."""
    manifest = made.document(name, "manifest.json")
    shards = {shard["name"]: shard["samples"] for shard in manifest["shards"]}
    index = Index((made.folder(name) / "index.bin").read_bytes())
    counted = dict.fromkeys(shards, 0)
    for number in range(len(index)):
        counted[index[number][0]] += 1
    assert counted == shards
    assert made.document(name, "sizes.json") == shards
    assert made.document(name, "wids-meta.json") == {
        "wids_version": 1,
        "shardlist": [{"url": shard, "nsamples": count} for shard, count in shards.items()],
    }
    split = made.document(name, "_info.json")["splits"][name]
    assert dict(zip(split["filenames"], split["shard_lengths"], strict=True)) == shards
    assert split["num_samples"] == manifest["samples"] == sum(shards.values()) == len(made.samples[name])
    assert manifest["size_bytes"] == sum((made.folder(name) / shard).stat().st_size for shard in shards)
    assert sorted(path.name for path in made.folder(name).glob("*.tar")) == sorted(shards)
    lines = (made.folder(name) / "rejected.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == sum(manifest["rejected"].values())
    assert f"{manifest['samples']} samples" in (made.folder(name) / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", DATASETS)
def test_sha256sum_agrees(name: str, made: Made) -> None:
    """`sha256sum --check --strict SHA256SUMS` finds every shard OK, and the manifest holds the same digests."""
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"],
        cwd=made.folder(name),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    shards = [shard.name for shard in made.manifests[name].shards]
    assert (done.returncode, done.stdout.splitlines()) == (0, [f"{shard}: OK" for shard in shards])
    sums = (made.folder(name) / "SHA256SUMS").read_text().splitlines()
    assert sums == [f"{shard.sha256}  {shard.name}" for shard in made.manifests[name].shards]


@pytest.mark.parametrize("name", DATASETS)
def test_gnu_tar_lists_each_sample_side_by_side(name: str, made: Made) -> None:
    """`tar -tf` shows KEY.jpg, KEY.json, KEY.txt of one sample after the other and says nothing on stderr."""
    order = [extension for extension in ORDER if name not in WITHOUT_JSON or extension != "json"]
    listed: list[str] = []
    for shard in made.shards(name):
        done = subprocess.run(["tar", "-tf", shard], capture_output=True, text=True, check=False, timeout=30)
        assert (done.returncode, done.stderr) == (0, "")
        listed += done.stdout.splitlines()
    assert listed == [f"{sample.key}.{extension}" for sample in made.samples[name] for extension in order]


def test_every_form_of_sbu_loads_in_webdataset(tmp_path: Path) -> None:
    """Whichever of its eight forms SBU comes in, webdataset reads the samples that the manifest counts."""
    manifests: dict[str, Manifest] = {}
    shards: dict[str, list[str]] = {}
    for form in range(1, 9):
        root = tmp_path / f"form-{form}"
        with World(tmp_path / "world", samples=16, sbu_form=form) as world:
            session = make_session({**world.options, "root": str(root)}, world.variables)
            made = get_in(["sbu"], session, []).manifests["sbu"]
        manifests[str(form)] = made
        shards[str(form)] = [str(root / made.folder / shard.name) for shard in made.shards]
    answers = run_reader(LOAD_WITH_WEBDATASET, shards, tmp_path)
    for name, made in manifests.items():
        opened = g3m.dataset("sbu", tmp_path / f"form-{name}")
        rows = answers[name]["rows"]
        assert [(row[0], row[2]) for row in rows] == [(sample.key, sample.text) for sample in opened], name
        assert len(rows) == made.samples == 16 - sum(made.rejected.values()), name
        assert rows[0][2].lower() == "a wooden chair in the living room", name
        opened.close()


def test_reading_changes_nothing(made: Made) -> None:
    """Loading with our own reader leaves every published byte as it was and warns of nothing."""
    before = tree(made.root)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened = g3m.dataset("coco_valid", made.root)
        assert opened[0].key == "000000000139"
        opened.close()
    assert tree(made.root) == before
