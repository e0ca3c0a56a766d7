"""core/plan.py: what is pinned, what decides the identity, and what a dataset costs."""

from __future__ import annotations

import importlib
import json
import pickle
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import g3m.recipes
from g3m.core.digest import Digest
from g3m.core.plan import (
    FORMAT,
    PACK_FORMAT,
    PACKED_AT_ONCE,
    DatasetPlan,
    Parity,
    Plan,
    Task,
    asset_id,
    fetch_task,
    identify,
    make_dataset_plan,
)
from g3m.core.recipe import Asset, Expect, Recipe, SampleRule, parse
from g3m.core.treatment import DRAWING, Resize, Treatment

toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
FOLDER = Path(str(g3m.recipes.__file__)).parent

DIGEST = Digest("sha256", "a" * 64)
PICTURES = Asset(name="pictures.zip", places=("https://a/p.zip",), size_bytes=100, digests=(DIGEST,))
CAPTIONS = Asset(name="captions.json", places=("https://a/c.json",), size_bytes=7)
RECIPE = Recipe(
    name="toy",
    title="A toy",
    folder="toy/toy",
    homepage="https://a/",
    licence="CC0",
    terms="none",
    citation="@x",
    samples=SampleRule(
        reader="coco_captions", images="pictures.zip/val", captions="captions.json", split="val"
    ),
    expect=Expect(samples=3, source="page", download_bytes=500, files=2),
    assets=(PICTURES, CAPTIONS),
)


def built_in(name: str) -> DatasetPlan:
    recipe = parse(toml.loads((FOLDER / f"{name}.toml").read_text("utf-8")), file=name)
    return make_dataset_plan(recipe, recipe.assets, "none")


def toy(recipe: Recipe = RECIPE, *assets: Asset, parity: Parity = "none") -> DatasetPlan:
    return make_dataset_plan(recipe, assets or recipe.assets, parity)


def shards_recipe() -> Recipe:
    return replace(RECIPE, samples=SampleRule(reader="shards"))


@pytest.mark.parametrize(
    "changes",
    [
        {"title": "Another"},
        {"licence": "MIT"},
        {"terms": "many"},
        {"terms_zh": "无"},
        {"homepage": "https://b/"},
        {"citation": "@y"},
        {"expect": Expect(samples=9, source="other", rejected_fraction=0.5)},
        {"name": "toy2"},
    ],
)
def test_words_do_not_change_the_identity(changes: dict[str, object]) -> None:
    """Title, licence, terms, citation, name and expectations may be corrected without packing anew."""
    assert identify(replace(RECIPE, **changes), RECIPE.assets, "none") == toy().identity  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "asset",
    [
        replace(PICTURES, places=("https://mirror/p.zip",)),
        replace(PICTURES, places=("http://b/x", *PICTURES.places)),
        replace(PICTURES, digests=(DIGEST, Digest("md5", "b" * 32))),
        replace(PICTURES, digests=(Digest("md5", "b" * 32), DIGEST)),
        replace(PICTURES, holds=("val",)),
    ],
)
def test_ways_to_a_pinned_asset_do_not_change_the_identity(asset: Asset) -> None:
    """Other places, a weaker second digest or a folder's marks leave the packed bytes as they are."""
    assert identify(RECIPE, (asset, CAPTIONS), "none") == toy().identity


@pytest.mark.parametrize(
    ("recipe", "assets", "parity"),
    [
        (RECIPE, RECIPE.assets, "nxtp"),
        (replace(RECIPE, folder="toy/other"), RECIPE.assets, "none"),
        (RECIPE, (PICTURES,), "none"),
        (RECIPE, (CAPTIONS, PICTURES), "none"),
        (RECIPE, (replace(PICTURES, digests=(Digest("sha256", "b" * 64),)), CAPTIONS), "none"),
        (RECIPE, (replace(PICTURES, size_bytes=101), CAPTIONS), "none"),
        (RECIPE, (replace(PICTURES, size_bytes=None), CAPTIONS), "none"),
        (RECIPE, (replace(PICTURES, name="other.zip"), CAPTIONS), "none"),
        (RECIPE, (PICTURES, replace(CAPTIONS, places=("https://b/c.json",))), "none"),
        *(
            (replace(RECIPE, samples=replace(RECIPE.samples, **change)), RECIPE.assets, "none")
            for change in (
                {"reader": "pairs"},
                {"images": "pictures.zip/train"},
                {"captions": "pictures.zip/c.json"},
                {"captions_digest": DIGEST},
                {"split": "train"},
            )
        ),
    ],
)
def test_what_decides_bytes_changes_the_identity(
    recipe: Recipe, assets: tuple[Asset, ...], parity: Parity
) -> None:
    """Parity, folder, each key of the samples rule and each asset's name, content and size take part."""
    assert identify(recipe, assets, parity) != toy().identity


IDENTITIES = {
    "coco": "227419b31109cf1ede1dcc36fe9499d6607675c44c31ccc2b0695b71a22f91a8",
    "coco_valid": "47558b651f04b08b6f700fd6088a478c62283a74890714b58accaff6829e978a",
    "openimages_v7_valid": "2b6f3b678da4d35e969aa34b70e24314ea8b1371146886cffcbb6a62953cc6cb",
    "sbu": "3570085b8e2b070e79bf8ef5fc5c70017d6bf771a0bf8a9cc33221d4766a9a4f",
}


@pytest.mark.parametrize("name", sorted(IDENTITIES))
def test_identities_of_published_datasets_do_not_change(name: str) -> None:
    """What was packed before there was a policy is still the same dataset."""
    assert built_in(name).identity == IDENTITIES[name]


TREATMENTS = [
    Treatment(policy={"cmyk": "reject"}),
    Treatment(policy={"cmyk": "fix"}),
    Treatment(policy={"cmyk": "fix"}, quality=80),
    Treatment(policy={"grayscale": "fix"}),
    Treatment(resize=Resize(size=512)),
    Treatment(resize=Resize(size=511)),
    Treatment(resize=Resize(size=512, mode="border")),
    Treatment(resize=Resize(size=512, quality=80)),
]


def test_the_treatment_takes_part_in_the_identity() -> None:
    """Each class, action, size, mode and quality makes another dataset, and the default makes the one of old."""
    made = [make_dataset_plan(RECIPE, RECIPE.assets, "none", treatment=one) for one in TREATMENTS]
    assert len({plan.identity for plan in (*made, toy())}) == len(TREATMENTS) + 1
    assert [plan.treatment for plan in made] == TREATMENTS
    for default in (Treatment(), Treatment(quality=50)):  # a quality that nothing asks for changes nothing
        assert make_dataset_plan(RECIPE, RECIPE.assets, "none", treatment=default).identity == toy().identity


def test_a_plan_shows_its_treatment() -> None:
    """`g3m plan --json` has it beside the identity."""
    made = make_dataset_plan(RECIPE, RECIPE.assets, "none", treatment=TREATMENTS[2])
    shown = Plan(datasets=(made, toy())).to_dict()["datasets"]
    assert [row["treatment"] for row in shown] == [
        {"policy": {"cmyk": "fix"}, "quality": 80, "drawing": DRAWING},
        {},
    ]


def test_equal_pictures_cannot_be_found_in_a_stream() -> None:
    """They are compared before the first shard is packed, so such a dataset is not streamed."""
    plain = replace(toy(), stream=True)
    assert plain.streamed == PICTURES
    assert replace(plain, treatment=Treatment(policy={"duplicate_image": "reject"})).streamed is None


def test_the_pack_format_takes_part_in_the_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new way of packing makes other datasets, so that old shards are not taken for new ones."""
    before = toy().identity
    monkeypatch.setattr("g3m.core.plan.PACK_FORMAT", PACK_FORMAT + 1)
    assert toy().identity != before


def test_the_identity_is_a_digest_and_repeats() -> None:
    """Equal input gives the equal identity: 64 hexadecimal digits."""
    assert toy().identity == toy().identity
    assert Digest.parse(f"sha256:{toy().identity}")


def test_two_datasets_share_the_annotations_of_coco() -> None:
    """coco and coco_valid need one annotation archive: it is one asset and one task for both."""
    train, valid = built_in("coco"), built_in("coco_valid")
    shared = {task.id for task in train.first_tasks()} & {task.id for task in valid.first_tasks()}
    assert [name.partition("-")[2] for name in shared] == ["annotations_trainval2017.zip"]
    plan = Plan(datasets=(train, valid))
    assert len(plan.assets) == 3
    assert all(asset_id(asset) == identifier for identifier, asset in plan.assets.items())
    assert train.identity != valid.identity
    assert plan.dataset("coco_valid") is valid


def test_an_asset_is_named_by_its_best_digest_or_its_first_place() -> None:
    """16 digits: the same for the same pinned bytes wherever they lie, else by the first place."""
    moved = replace(PICTURES, name="x", places=("https://b/",), digests=(Digest("md5", "c" * 32), DIGEST))
    assert asset_id(moved) == asset_id(PICTURES)
    assert asset_id(replace(PICTURES, digests=())) != asset_id(PICTURES)
    assert asset_id(replace(CAPTIONS, places=(*CAPTIONS.places, "https://z/"))) == asset_id(CAPTIONS)
    assert asset_id(replace(CAPTIONS, places=("https://z/",))) != asset_id(CAPTIONS)
    assert len(asset_id(CAPTIONS)) == 16
    assert set(asset_id(CAPTIONS)) <= set("0123456789abcdef")


def test_a_fetch_task_is_the_assets_own() -> None:
    """Its id does not depend on the dataset, and it knows the asset and its size."""
    one, two = fetch_task(PICTURES, "a"), fetch_task(PICTURES, "b")
    assert one.id == two.id == f"fetch/{asset_id(PICTURES)}-pictures.zip"
    assert (one.dataset, one.kind, one.asset, one.size_bytes) == ("a", "fetch", asset_id(PICTURES), 100)
    assert fetch_task(replace(PICTURES, size_bytes=None), "a").size_bytes == 0


def test_a_captioned_dataset_is_fetched_arranged_and_published() -> None:
    """Arranging waits for every asset, publishing for what comes between."""
    *fetches, arrange, publish = toy().first_tasks()
    assert [task.kind for task in fetches] == ["fetch", "fetch"]
    assert (arrange.id, arrange.kind, arrange.needs) == (
        "arrange/toy",
        "arrange",
        tuple(t.id for t in fetches),
    )
    assert (publish.id, publish.kind, publish.needs) == ("publish/toy", "publish", ("arrange/toy",))


def test_ready_shards_are_adopted_one_by_one() -> None:
    """Each ready shard has a fetch and an adopt task of its own, and publishing needs all of them."""
    assets = tuple(
        Asset(name=f"{n}.tar", places=(f"hub://o/n@r/{n}.tar",), size_bytes=n or None) for n in range(3)
    )
    tasks = toy(shards_recipe(), *assets).first_tasks()
    fetches, adopts, publish = tasks[:3], tasks[3:6], tasks[6]
    for asset, fetch, adopt in zip(assets, fetches, adopts, strict=True):
        assert (adopt.id, adopt.kind, adopt.needs) == (f"adopt/toy/{asset.name}", "adopt", (fetch.id,))
        assert (adopt.asset, adopt.shard, adopt.size_bytes) == (
            asset_id(asset),
            asset.name,
            asset.size_bytes or 0,
        )
    assert publish.needs == tuple(adopt.id for adopt in adopts)
    assert len({task.id for task in tasks}) == 7


@given(st.lists(st.none() | st.integers(0, 10**12), max_size=5), st.none() | st.integers(0, 10**12))
def test_sizes_are_added_only_if_all_are_known(sizes: list[int | None], figure: int | None) -> None:
    """The download is the sum of the assets, or the recipe's figure where a size is unknown or none is listed."""
    assets = [Asset(name=f"{n}.zip", places=("https://a/",), size_bytes=size) for n, size in enumerate(sizes)]
    recipe = replace(RECIPE, expect=Expect(download_bytes=figure, files=77))
    dataset = make_dataset_plan(recipe, assets, "none")
    known = [size for size in sizes if size is not None]
    whole = bool(sizes) and len(known) == len(sizes)
    assert dataset.download_bytes == (sum(known) if whole else figure)
    assert dataset.files == (len(sizes) or 77)
    assert dataset.peak_bytes == (None if dataset.download_bytes is None else 2 * dataset.download_bytes)


def test_the_peak_counts_archives_shards_and_spools() -> None:
    """Archives stand beside their shards, a .tar.gz is inflated once more, and ready shards only move."""
    assert toy().peak_bytes == 2 * 107
    packed = replace(PICTURES, name="pictures.tar.gz")
    assert toy(RECIPE, packed, CAPTIONS).peak_bytes == 2 * 107 + 100
    assert toy(RECIPE, replace(packed, name="p.tgz"), CAPTIONS).peak_bytes == 2 * 107 + 100
    assert toy(shards_recipe()).peak_bytes == 107
    assert built_in("openimages_v7_valid").peak_bytes == 2 * (12_844_530_798 + 1_139_215_790) + 12_844_530_798


def test_the_shards_take_about_what_the_pictures_take() -> None:
    """The size of the asset with the images is the estimate, or the download where it is not known."""
    assert toy().shard_bytes == 100
    assert toy(RECIPE, replace(PICTURES, size_bytes=None), CAPTIONS).shard_bytes == 500
    assert built_in("cc3m").shard_bytes == 275_000_000_000
    assert built_in("coco_valid").shard_bytes == 815_585_330


def test_a_plan_prints_as_json() -> None:
    """The JSON form names each dataset, its cost and its pinned assets, and survives json."""
    plan = Plan(datasets=(toy(), make_dataset_plan(shards_recipe(), (), "nxtp", estimated=True)))
    document = json.loads(json.dumps(plan.to_dict()))
    first, second = document["datasets"]
    assert document["format"] == 1
    assert first["assets"][0] == {
        "id": asset_id(PICTURES),
        "name": "pictures.zip",
        "size_bytes": 100,
        "digests": [str(DIGEST)],
        "places": ["https://a/p.zip"],
    }
    assert (first["identity"], first["parity"], first["estimated"]) == (toy().identity, "none", False)
    assert (first["download_bytes"], first["shard_bytes"], first["peak_bytes"]) == (107, 100, 214)
    assert (first["expected_samples"], first["expected_source"], first["licence"]) == (3, "page", "CC0")
    assert (second["parity"], second["estimated"], second["assets"]) == ("nxtp", True, [])
    assert (second["download_bytes"], second["name"], second["folder"]) == (500, "toy", "toy/toy")


def test_assets_are_found_by_name_and_plans_cross_processes() -> None:
    """An asset is asked for by its name; a pickled plan is the same plan."""
    plan = Plan(datasets=(toy(),))
    assert plan.datasets[0].asset("captions.json") is CAPTIONS
    assert plan.datasets[0].name == "toy"
    assert pickle.loads(pickle.dumps(plan)) == plan


@pytest.mark.parametrize(
    ("samples", "packing"),
    [
        (SampleRule(reader="urls"), "gathered"),
        (SampleRule(reader="shards"), "renamed"),
        (SampleRule(reader="pairs"), "found"),
        (SampleRule(reader="coco_captions", images="p.tar.gz/val", captions="c.json"), "spooled"),
        (SampleRule(reader="coco_captions", images="p.tgz", captions="c.json"), "spooled"),
        (SampleRule(reader="coco_captions", images="p.zip/val.tar.gz", captions="c.json"), "in-place"),
        (SampleRule(reader="coco_captions", images="p.tar", captions="c.json"), "in-place"),
    ],
)  # fmt: skip
def test_how_members_come_into_the_order_of_the_shards(samples: SampleRule, packing: str) -> None:
    """By the reader, and by the name of the archive that holds the pictures."""
    assert toy(replace(RECIPE, samples=samples)).packing == packing


def test_a_task_begins_with_nothing() -> None:
    """What a task does not name, it does not have."""
    task = Task(id="a", kind="arrange", dataset="toy")
    assert (task.needs, task.asset, task.shard, task.offset_bytes, task.samples, task.size_bytes) == (
        (),
        "",
        "",
        0,
        0,
        0,
    )
    assert not task.streamed
    assert (PACK_FORMAT, FORMAT, PACKED_AT_ONCE) == (1, 1, 4)
    assert toy().estimated is toy().stream is False
