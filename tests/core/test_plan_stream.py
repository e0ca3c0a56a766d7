"""core/plan.py: which archive is streamed, and what that leaves of the disk that is needed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.core.test_plan import CAPTIONS, DIGEST, PICTURES, RECIPE

from g3m.core.plan import PACKED_AT_ONCE, DatasetPlan, Parity, asset_id, make_dataset_plan, window_bytes
from g3m.core.recipe import Asset, Expect, Recipe, SampleRule
from g3m.core.samples import SHARD_SAMPLES
from g3m.core.treatment import Treatment

GB = 2**30
ZIP = replace(PICTURES, size_bytes=18 * GB)
TAR_GZ = replace(ZIP, name="pictures.tar.gz")
COCO = replace(RECIPE, assets=(ZIP, CAPTIONS), expect=Expect(samples=40 * SHARD_SAMPLES, source="page"))
TOLD = SampleRule(reader="localized_narratives", images="pictures.tar.gz/val", captions="captions.json")
NARRATIVES = replace(COCO, samples=TOLD, assets=(TAR_GZ, CAPTIONS))
ZIPPED_NARRATIVES = replace(COCO, samples=replace(TOLD, images="pictures.zip/val"))


def planned(recipe: Recipe = COCO, *, parity: Parity = "none", stream: bool = True) -> DatasetPlan:
    return replace(make_dataset_plan(recipe, recipe.assets, parity), stream=stream)


def with_images(asset: Asset, recipe: Recipe = COCO) -> DatasetPlan:
    return planned(replace(recipe, assets=(asset, CAPTIONS)))


@pytest.mark.parametrize(
    ("recipe", "parity"),
    [(COCO, "none"), (COCO, "nxtp"), (NARRATIVES, "none"), (NARRATIVES, "nxtp"), (ZIPPED_NARRATIVES, "none")],
)
def test_a_pinned_archive_beside_its_captions_is_streamed(recipe: Recipe, parity: Parity) -> None:
    """A zip or a tar.gz of pictures, under both parities; its task is marked and waits for the others."""
    plan = planned(recipe, parity=parity)
    assert plan.streamed == recipe.assets[0]
    tasks = {task.asset: task for task in plan.first_tasks() if task.kind == "fetch"}
    images, captions = tasks[asset_id(recipe.assets[0])], tasks[asset_id(CAPTIONS)]
    assert images.streamed
    assert images.needs == (captions.id,)
    assert not captions.streamed
    assert captions.needs == ()


@pytest.mark.parametrize(
    "plan",
    [
        planned(stream=False),
        with_images(replace(ZIP, digests=())),
        with_images(replace(ZIP, size_bytes=None)),
        planned(ZIPPED_NARRATIVES, parity="nxtp"),
        planned(replace(COCO, samples=SampleRule(reader="pairs"))),
        planned(replace(COCO, samples=SampleRule(reader="shards"))),
        planned(replace(COCO, samples=replace(COCO.samples, captions="pictures.zip/captions.json"))),
        with_images(
            replace(ZIP, name="pictures.tar"),
            replace(COCO, samples=replace(COCO.samples, images="pictures.tar/val")),
        ),
        replace(planned(), treatment=Treatment(policy={"duplicate_image": "reject"})),
        replace(planned(), assets=(CAPTIONS,)),
    ],
    ids=[
        "not asked for",
        "no digest",
        "no size",
        "json of unknown size",
        "pairs",
        "ready shards",
        "captions inside",
        "plain tar",
        "duplicates",
        "no archive",
    ],
)
def test_everything_else_is_fetched_whole(plan: DatasetPlan) -> None:
    """No archive is streamed, no task is marked, and the peak is that of the plain run."""
    assert plan.streamed is None
    assert not any(task.streamed for task in plan.first_tasks())
    assert plan.peak_bytes == replace(plan, stream=False).peak_bytes


def test_streaming_does_not_change_the_identity() -> None:
    """The shards are the same bytes."""
    assert planned().identity == planned(stream=False).identity


def test_a_streamed_zip_needs_its_shards_and_a_window() -> None:
    """A growing shard is the shard: nothing lies there twice."""
    plan = planned()
    assert plan.peak_bytes == (plan.download_bytes or 0) + window_bytes(18 * GB)
    assert plan.peak_bytes < 0.6 * (planned(stream=False).peak_bytes or 0)


def test_a_streamed_tar_gz_needs_a_few_shards_more() -> None:
    """From its spool shards are copied, so many at a time; never more than all of them."""
    plan = planned(NARRATIVES)
    usual = (plan.download_bytes or 0) + window_bytes(18 * GB)
    assert plan.peak_bytes == usual + PACKED_AT_ONCE * (18 * GB // 40)
    unknown = planned(replace(NARRATIVES, expect=Expect(source="page")))
    assert unknown.peak_bytes == usual + 18 * GB
    assert unknown.peak_bytes < (replace(unknown, stream=False).peak_bytes or 0)


@pytest.mark.parametrize(("size", "window"), [(0, 2**25), (2**30, 2**25), (2**31, 2**26), (32 * GB, GB)])
def test_the_window_is_a_share_with_a_floor(size: int, window: int) -> None:
    """A thirty-second of the archive, 32 MiB at least."""
    assert window_bytes(size) == window


def test_the_digest_pins_what_is_streamed() -> None:
    """The toy's digest is what makes its zip fit for streaming."""
    assert ZIP.digests == (DIGEST,)
