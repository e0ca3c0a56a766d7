"""The data are those of the old scripts: same samples, same bytes, same texts, same partition."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.realdata import REAL
from tests.whole import seed_reference
from tests.whole.conftest import SMALL_SHARD, Opener
from tests.whole.disk import Shards, read_shards
from tests.whole.seed_reference import FOLDER_SIZE, Folders
from tests.whole.sources import (
    coco_recipe,
    coco_zips,
    narrative,
    narratives_recipe,
    tar_gz,
    tiny_jpeg,
    unpack_tar,
    unpack_zip,
    write_coco,
)

from g3m.core.receipt import Manifest
from g3m.lab.world import World
from g3m.runners.run import get_in, make_session

GOLDEN_KEY = "000000000139"
GOLDEN_TEXT = (
    "A woman stands in the dining area at the table. A room with chairs, a table, and a woman in it. "
    "A woman standing in a kitchen by a window A person standing at a table in a room. "
    "A living area with a television and a table"
)


def get_offline(root: Path, recipe: Path, source: Path, **options: object) -> tuple[Manifest, Shards]:
    """Pack a user's recipe from archives or a folder on this disk; its manifest and its shards."""
    session = make_session({"root": str(root), "source": [str(source)], "offline": True, **options}, {})
    made = get_in([str(recipe)], session, []).manifests[recipe.stem]
    return made, read_shards(root / made.folder)


def assert_same(shards: Shards, folders: Folders, *, whole_json: bool) -> None:
    """Shard by shard the keys, image bytes and texts agree, and of the json at least what the script wrote."""
    assert {name: sorted(samples) for name, samples in shards.items()} == {
        name: sorted(samples) for name, samples in folders.items()
    }
    for name, samples in folders.items():
        for key, files in samples.items():
            ours = shards[name][key]
            assert ours["jpg"] == files["jpg"], (name, key)
            assert ours["txt"] == files["txt"], (name, key)
            if whole_json:
                assert ours["json"] == files["json"], (name, key)
            else:
                expected = json.loads(files["json"])
                begin = list(json.loads(ours["json"]).items())[: len(expected)]
                assert begin == list(expected.items()), (name, key)


@dataclass(frozen=True)
class CocoCase:
    """Where an unpacked COCO split comes from, and how many samples a folder of the script holds."""

    name: str
    split: str
    folder_size: int


COCO_CASES = [
    CocoCase("drawn", split, size) for split in ("train2017", "val2017") for size in (2, SMALL_SHARD)
]
COCO_CASES += [CocoCase("drawn", "val2017", FOLDER_SIZE)]
if (REAL / "coco_mini").is_dir():
    COCO_CASES += [
        CocoCase("coco_mini", split, size) for split in ("train2017", "val2017") for size in (7, 2999)
    ]


@pytest.fixture(scope="module")
def unpacked(world: World, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of an unpacked COCO by its name."""
    folder = tmp_path_factory.mktemp("unpacked")
    drawn = world.sources.coco
    for archive in (drawn.train, drawn.valid, drawn.annotations):
        unpack_zip(archive, folder)
    return {"drawn": folder, "coco_mini": REAL / "coco_mini"}.__getitem__


@pytest.mark.parametrize("parity", ["none", "nxtp"])
@pytest.mark.parametrize("case", COCO_CASES, ids=lambda case: f"{case.name}-{case.split}-{case.folder_size}")
def test_coco_is_what_the_script_makes(
    case: CocoCase,
    parity: str,
    unpacked: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From zips and from an unpacked folder come the script's samples, in the script's partition."""
    monkeypatch.setattr("g3m.core.samples.SHARD_SAMPLES", case.folder_size)
    folder = unpacked(case.name)
    expected = seed_reference.coco(folder, case.split, tmp_path / "seed", case.folder_size)
    images, annotations = coco_zips(folder, case.split, tmp_path / "zips")
    recipe = coco_recipe(tmp_path / "mine.toml", case.split, images, annotations)
    for name, source in (("zip", tmp_path / "zips"), ("folder", folder)):
        made, shards = get_offline(tmp_path / name, recipe, source, parity=parity)
        assert_same(shards, expected, whole_json=parity == "nxtp")
        assert made.samples == sum(map(len, expected.values()))
        assert not made.rejected


@pytest.mark.parametrize("parity", ["none", "nxtp"])
def test_the_built_in_coco_recipes_make_what_the_script_makes(
    parity: str,
    world: World,
    unpacked: Callable[[str], Path],
    tmp_path: Path,
    open_session: Opener,
    small_shards: int,
) -> None:
    """`get coco coco_valid` over the network gives both splits as the script would, edited for each."""
    made = get_in(["coco", "coco_valid"], open_session(tmp_path / "data", parity=parity), []).manifests
    for name, split in (("coco", "train2017"), ("coco_valid", "val2017")):
        expected = seed_reference.coco(unpacked("drawn"), split, tmp_path / split, small_shards)
        assert len(expected) > 2
        assert_same(read_shards(tmp_path / "data" / made[name].folder), expected, whole_json=parity == "nxtp")


def test_six_thousand_pictures_fall_into_the_scripts_folders(tmp_path: Path) -> None:
    """With the scripts' own 2999 the first shard has 2,998 samples and each later one 2,999."""
    captions = {number: [f" picture {number} \n", "said  twice"] for number in range(5, 5 + 2998 + 2999 + 3)}
    folder = write_coco(tmp_path / "coco", "val2017", captions)
    expected = seed_reference.coco(folder, "val2017", tmp_path / "seed")
    images, annotations = coco_zips(folder, "val2017", tmp_path / "zips")
    recipe = coco_recipe(tmp_path / "mine.toml", "val2017", images, annotations)
    made, shards = get_offline(tmp_path / "data", recipe, tmp_path / "zips")
    assert [shard.samples for shard in made.shards] == [2998, 2999, 3]
    assert_same(shards, expected, whole_json=False)


OFFICIAL = REAL / "coco_captions_val2017" / "captions_val2017.json"

if OFFICIAL.is_file():

    def test_the_official_captions_give_the_golden_text(tmp_path: Path) -> None:
        """COCO's own 5,000 images give 2,998 + 2,002 samples, and image 139 the text in NXTP's docs."""
        folder = tmp_path / "coco"
        (folder / "annotations").mkdir(parents=True)
        (folder / "val2017").mkdir()
        shutil.copy(OFFICIAL, folder / "annotations")
        for image in json.loads(OFFICIAL.read_bytes())["images"]:
            (folder / "val2017" / image["file_name"]).write_bytes(tiny_jpeg(image["id"]))
        expected = seed_reference.coco(folder, "val2017", tmp_path / "seed")
        images, annotations = coco_zips(folder, "val2017", tmp_path / "zips")
        recipe = coco_recipe(tmp_path / "mine.toml", "val2017", images, annotations)
        made, shards = get_offline(tmp_path / "data", recipe, tmp_path / "zips")
        assert [shard.samples for shard in made.shards] == [2998, 2002]
        assert not made.rejected
        assert_same(shards, expected, whole_json=False)
        assert shards["00000"][GOLDEN_KEY]["txt"].decode() == GOLDEN_TEXT


@pytest.fixture
def unpacked_images(world: World, tmp_path: Path) -> Path:
    """The drawn Open Images as a folder."""
    unpack_tar(world.sources.open_images.images, tmp_path / "open_images")
    return tmp_path / "open_images" / "validation"


@pytest.mark.parametrize("folder_size", [2, 3, SMALL_SHARD, FOLDER_SIZE])
def test_open_images_under_parity_is_what_the_script_makes(
    folder_size: int,
    world: World,
    unpacked_images: Path,
    tmp_path: Path,
    open_session: Opener,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With parity nxtp every file is the script's: whole lines as json, repeats lost where it loses them."""
    monkeypatch.setattr("g3m.core.samples.SHARD_SAMPLES", folder_size)
    lines = world.sources.open_images.narratives.read_text(encoding="utf-8").splitlines()
    expected = seed_reference.open_images(unpacked_images, lines, tmp_path / "seed", folder_size)
    session = open_session(tmp_path / "data", parity="nxtp")
    made = get_in(["openimages_v7_valid"], session, []).manifests["openimages_v7_valid"]
    assert_same(read_shards(tmp_path / "data" / made.folder), expected, whole_json=True)
    assert made.samples == sum(map(len, expected.values()))


def test_open_images_without_parity_keeps_every_narrative(
    world: World, unpacked_images: Path, tmp_path: Path, open_session: Opener, small_shards: int
) -> None:
    """Without parity each line is a sample, in the shard where the script would have put it."""
    name = "openimages_v7_valid"
    made = get_in([name], open_session(tmp_path / "data"), []).manifests[name]
    lines = world.sources.open_images.narratives.read_text(encoding="utf-8").splitlines()
    told: dict[str, int] = {}
    expected: dict[str, dict[str, tuple[bytes, str]]] = {}
    for place, record in enumerate(map(json.loads, lines), start=1):
        name = record["image_id"]
        told[name] = told.get(name, 0) + 1
        key = name if told[name] == 1 else f"{name}_{told[name]}"
        shard = expected.setdefault(f"{place // small_shards:05d}", {})
        shard[key] = ((unpacked_images / f"{name}.jpg").read_bytes(), record["caption"])
    found = {
        name: {key: (files["jpg"], files["txt"].decode()) for key, files in samples.items()}
        for name, samples in read_shards(tmp_path / "data" / made.folder).items()
    }
    assert found == expected
    assert made.samples == len(lines) == len(told) + 2


def test_six_thousand_narratives_repeat_across_the_scripts_folders(tmp_path: Path) -> None:
    """With the scripts' own 2999 a repeat is lost within a folder and kept across two."""
    ids = [f"{number:016x}" for number in range(40)]
    lines = [narrative(ids[place * 7 % 40], f"Told at line {place}.", place) for place in range(6010)]
    seed = _narratives_seed(tmp_path, ids, lines, FOLDER_SIZE)
    made, shards = get_offline(tmp_path / "data", *_narratives_mine(tmp_path, ids, lines), parity="nxtp")
    assert [shard.samples for shard in made.shards] == [40, 40, 13]
    assert_same(shards, seed, whole_json=True)


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(str.strip)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    told=st.lists(st.tuples(st.integers(0, 3), texts), min_size=1, max_size=14),
    folder_size=st.integers(2, 6),
)
def test_any_narratives_under_parity_are_what_the_script_makes(
    told: list[tuple[int, str]], folder_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever order repeats come in and whatever people say, parity nxtp gives the script's files."""
    monkeypatch.setattr("g3m.core.samples.SHARD_SAMPLES", folder_size)
    ids = [f"{number:016x}" for number in range(4)]
    lines = [narrative(ids[image], text, place) for place, (image, text) in enumerate(told)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seed = _narratives_seed(folder, ids, lines, folder_size)
        _, shards = get_offline(folder / "data", *_narratives_mine(folder, ids, lines), parity="nxtp")
        assert_same(shards, seed, whole_json=True)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    captions=st.dictionaries(
        st.integers(0, 999_999), st.lists(texts, min_size=1, max_size=4), min_size=1, max_size=9
    ),
    folder_size=st.integers(2, 6),
    parity=st.sampled_from(["none", "nxtp"]),
)
def test_any_coco_captions_are_what_the_script_makes(
    captions: Mapping[int, list[str]], folder_size: int, parity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever numbers images have and whatever blanks captions end in, the script's files come out."""
    monkeypatch.setattr("g3m.core.samples.SHARD_SAMPLES", folder_size)
    with tempfile.TemporaryDirectory() as name:
        folder = write_coco(Path(name) / "coco", "val2017", captions)
        expected = seed_reference.coco(folder, "val2017", Path(name) / "seed", folder_size)
        images, annotations = coco_zips(folder, "val2017", Path(name) / "zips")
        recipe = coco_recipe(Path(name) / "mine.toml", "val2017", images, annotations)
        _, shards = get_offline(Path(name) / "data", recipe, folder, parity=parity)
        assert_same(shards, expected, whole_json=parity == "nxtp")


def _narratives_seed(folder: Path, ids: list[str], lines: list[str], folder_size: int) -> Folders:
    images = folder / "images"
    images.mkdir()
    for image_id in ids:
        (images / f"{image_id}.jpg").write_bytes(tiny_jpeg(image_id))
    return seed_reference.open_images(images, lines, folder / "seed", folder_size)


def _narratives_mine(folder: Path, ids: list[str], lines: list[str]) -> tuple[Path, Path]:
    """A recipe and the folder of its two files."""
    source = folder / "source"
    source.mkdir()
    members = {f"validation/{image_id}.jpg": tiny_jpeg(image_id) for image_id in ids}
    archive = tar_gz(source / "validation.tar.gz", members)
    file = source / "narratives.jsonl"
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="")
    return narratives_recipe(folder / "mine.toml", archive, file), source
