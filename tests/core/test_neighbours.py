"""core/neighbours.py: what is said to each program reads back as the same paths and counts."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from typing import Any

import pytest
from braceexpand import braceexpand
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.errors import UsageError
from g3m.core.neighbours import (
    OPEN_CLIP_IMAGES,
    Part,
    address,
    below,
    braces,
    by_split,
    nxtp,
    open_clip,
    split_of,
    webdataset,
    wids,
)
from g3m.core.shard import ShardSummary


def part(name: str = "toy", *shards: str, place: str = "/data/toy/toy", **more: Any) -> Part:
    names = shards or ("00000.tar", "00001.tar")
    summaries = tuple(ShardSummary(one, at + 2, 10_240, f"{at:064x}") for at, one in enumerate(names))
    return Part(name=name, place=place, folder=place.removeprefix("/data/"), shards=summaries, **more)


def options(text: str) -> dict[str, str]:
    words = shlex.split(text.replace("\\\n", " "))
    return {
        word: "" if next_word.startswith("--") else next_word
        for word, next_word in zip(words, [*words[1:], "--"], strict=True)
        if word.startswith("--")
    }


@given(st.lists(st.text(alphabet="ab{}\\,.019-", min_size=1, max_size=8), max_size=8))
def test_patterns_expand_to_the_same_names_in_order(names: list[str]) -> None:
    """Whatever stands in a name, who expands the patterns gets it back, and in its place."""
    assert [name for pattern in braces(names) for name in braceexpand(pattern)] == names


@given(st.integers(0, 120), st.integers(1, 12), st.integers(1, 4))
def test_numbers_that_go_on_are_one_pattern(first: int, count: int, width: int) -> None:
    """Names of one width are one pattern; where the width changes, or one is missing, another begins."""
    names = [f"x-{number:0{width}}.tar" for number in range(first, first + count)]
    found = braces(names)
    assert len(found) == len({len(name) for name in names})
    assert [name for pattern in found for name in braceexpand(pattern)] == names
    gap = [name for name in names if name != names[count // 2]]
    assert [name for pattern in braces(gap) for name in braceexpand(pattern)] == gap


def test_names_that_count_down_or_stand_still_are_no_range() -> None:
    """A range is made of names that go up by one."""
    names = ["b2.tar", "b1.tar", "b1.tar", "c1.tar", "plain.tar"]
    assert braces(names) == names


@pytest.mark.parametrize(
    ("name", "stated", "split"),
    [
        ("coco_valid", "", "validation"),
        ("cc3m-validation", "", "validation"),
        ("dev", "", "validation"),
        ("x_test", "", "test"),
        ("latest", "", "train"),
        ("coco", "train2017", "train"),
        ("coco_valid", "val2017", "validation"),
        ("validity", "", "train"),
    ],
)
def test_the_split_is_told_by_the_recipe_or_the_name(name: str, stated: str, split: str) -> None:
    """Words count, not parts of words; the recipe's word wins."""
    assert split_of(name, stated) == split


def test_nxtps_table_is_python_with_measured_lengths() -> None:
    """Executed, it has each dataset's count and folder, by names in lower case as its loader asks."""
    table: dict[str, Any] = {}
    exec(nxtp([part("coco", place="/data/coco/coco_train"), part("Own", place='/else/a "b"')]), table)
    assert table["_DATASETS_META"] == {
        "coco": {"length": 5, "root": "coco/coco_train"},
        "own": {"length": 5, "root": '/else/a "b"'},
    }


def test_nxtp_is_refused_what_its_loader_would_stumble_over() -> None:
    """A sample without .jpg or .txt ends an epoch there, so the table is not written."""
    for lacking in (("png", "txt"), ("jpg",)):
        with pytest.raises(UsageError, match="NXTP's loader needs jpg, txt in every sample"):
            nxtp([part(fields=("jpg", "png", "txt"), common=lacking)])


def test_the_module_for_webdataset_has_each_dataset_and_each_split() -> None:
    """Imported, its strings expand to the paths, and its counts are the sums."""
    parts = [
        part("a"),
        part("b", "x.tar", place="/data/{b}"),
        part("b_valid", place="/v", split="validation"),
    ]
    module: dict[str, Any] = {}
    exec(webdataset(parts), module)
    assert [*braceexpand(module["URLS"]["a"])] == [*parts[0].paths]
    assert [*braceexpand(module["URLS"]["b"])] == ["/data/{b}/x.tar"]
    assert [path for url in module["TRAIN"].split("::") for path in braceexpand(url)] == [
        *parts[0].paths,
        *parts[1].paths,
    ]
    assert module["SAMPLES"] == {"a": 5, "b": 2, "b_valid": 5}
    assert (module["TRAIN_SAMPLES"], module["VALIDATION_SAMPLES"]) == (7, 5)
    assert 'to_tuple("jpg", "txt")' in webdataset(parts)
    assert "# webdataset.WebDataset(TRAIN, " in webdataset(parts)
    assert 'to_tuple("jpg;png", "txt")' in webdataset([part(fields=("jpg", "png", "txt"))])


def test_a_name_with_the_separator_is_given_as_a_list() -> None:
    """`::` cannot be escaped, so webdataset gets lists, and open_clip a clear no."""
    odd = part("odd", place="/data/a::b")
    assert address(odd) == [*odd.paths]
    module: dict[str, Any] = {}
    exec(webdataset([part("a"), odd]), module)
    assert module["TRAIN"] == [*part("a").paths, *odd.paths]
    with pytest.raises(UsageError, match="`::` for the end of a name"):
        open_clip([odd])


@pytest.mark.parametrize("place", ["/a\nb", "/a\x00", "/a\x1b[31m", "/a\u2028b", "/a\udcff"])
def test_control_characters_are_refused_everywhere(place: str) -> None:
    """What would break a line, or a terminal, is in no snippet and no file."""
    bad = part(place=place)
    for say in (nxtp, webdataset, open_clip, lambda parts: wids(parts, "/")):
        with pytest.raises(UsageError, match="control character"):
            say([bad])


def test_open_clip_gets_addresses_and_counts_by_split() -> None:
    """Training and validation are told apart, each with its own count; a shell gives back the paths."""
    given_ = options(
        open_clip([part("a", place="/it's {here}"), part("b_valid", place="/v", split="validation")])
    )
    assert [*braceexpand(given_["--train-data"])] == [*part(place="/it's {here}").paths]
    assert (given_["--train-num-samples"], given_["--val-num-samples"]) == ("5", "5")
    assert given_["--dataset-type"] == "webdataset"
    assert "--dataset-resampled" not in given_
    with pytest.raises(UsageError, match="none for a test set"):
        open_clip([part(split="test")])


def test_open_clips_factors_stand_for_each_address() -> None:
    """A dataset of two patterns has its factor twice; one without a factor counts once."""
    parts = [part("a", "0.tar", "1.tar", "5.tar"), part("b", place="/b")]
    given_ = options(open_clip(parts, {"a": 2.5}))
    assert given_["--train-data"].count("::") == given_["--train-data-upsampling-factors"].count("::") == 2
    assert given_["--train-data-upsampling-factors"] == "2.5::2.5::1"
    assert "--dataset-resampled" in given_


def test_open_clip_needs_a_picture_that_it_knows_and_a_text() -> None:
    """With other fields its training would hang without a word."""
    for fields in (("jpg", "json"), ("gif", "txt")):
        with pytest.raises(UsageError, match="open_clip needs txt and one of"):
            open_clip([part(fields=fields)])
    assert open_clip([part(fields=("webp", "txt"))])


def test_wids_gets_relative_addresses_below_the_list_and_whole_ones_elsewhere() -> None:
    """The list can move with its folder; shards elsewhere are named by their whole path."""
    body = json.loads(wids([part("a"), part("b", place="/else")], "/data"))
    assert body["wids_version"] == 1
    assert body["shardlist"] == [
        {"url": "toy/toy/00000.tar", "nsamples": 2},
        {"url": "toy/toy/00001.tar", "nsamples": 3},
        {"url": "/else/00000.tar", "nsamples": 2},
        {"url": "/else/00001.tar", "nsamples": 3},
    ]


@pytest.mark.parametrize("place", ["/a?b", "/a#b", "/a;b", "/a%20b"])
def test_wids_refuses_what_it_would_take_for_parts_of_an_address(place: str) -> None:
    """wids cuts paths at such signs and would look for another file."""
    with pytest.raises(UsageError, match="wids cannot read a path"):
        wids([part(place=place)], "/")
    with pytest.raises(UsageError, match="wids cannot read a path"):
        wids([part("a", "x:1.tar")], "/data/toy/toy")


def test_below_cuts_whole_folders_only() -> None:
    """A folder whose name begins alike is another folder."""
    assert below("/data2/x", "/data") == "/data2/x"
    assert below("/data/x", "/data/") == "x"
    assert below("/x", "/") == "x"


def test_splits_come_in_their_order_and_without_empty_ones() -> None:
    """Training first."""
    parts = [part("v_valid", split="validation"), part("a"), part("b")]
    assert {split: [one.name for one in found] for split, found in by_split(parts).items()} == {
        "train": ["a", "b"],
        "validation": ["v_valid"],
    }
    assert [*by_split([replace(parts[0])])] == ["validation"]


def test_the_pictures_that_open_clip_reads() -> None:
    """The four extensions of its own table."""
    assert OPEN_CLIP_IMAGES == ("jpg", "png", "jpeg", "webp")
