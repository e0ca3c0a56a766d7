"""core/catalog.py, charts.py: bins hold every value exactly once, and what a shard's entries add up to."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.browse import Span
from g3m.core.catalog import (
    CAPTION_LETTERS,
    CHARTS,
    FLAGS,
    NUMBERS,
    PLACE_LIMIT,
    Entry,
    aspect,
    count_words,
    mask,
    names,
    place_of,
    sample_id,
    terms,
)
from g3m.core.charts import (
    BLOCK,
    HOSTS_A_SHARD,
    WORDS_A_SHARD,
    bin_of,
    bin_order,
    bin_range,
    bins_within,
    blocks,
    most_frequent,
    tally,
)
from g3m.core.treatment import CLASSES

charts = st.sampled_from(NUMBERS)
values = st.integers(min_value=0, max_value=10**9)


def test_every_class_is_a_flag_and_the_known_bits_stay() -> None:
    """Catalogs on disks hold the bits: the order is for ever, and no class is without one."""
    assert set(CLASSES) < set(FLAGS)
    assert FLAGS[:3] == ("not_an_image", "bomb", "broken")
    assert FLAGS[9:16] == (
        "grayscale",
        "orientation",
        "duplicate_image",
        "no_caption",
        "caption_too_long",
        "caption_not_utf8",
        "unreadable",
    )


@given(st.sets(st.sampled_from(FLAGS)))
def test_a_mask_is_read_back(chosen: set[str]) -> None:
    """Names become bits and the same names again, in the order of the table."""
    assert names(mask(chosen)) == tuple(name for name in FLAGS if name in chosen)
    assert mask([*chosen, "no such flag"]) == mask(chosen)


DOUBLINGS = {  # small values, then each doubling from the first to the last in so many parts
    "words": ([0, 1, 2, 3], 4, 4096, 4),
    "letters": ([0, 1, 4], 8, 32768, 4),
    "width": ([0, 1, 16], 32, 8192, 4),
    "height": ([0, 1, 16], 32, 8192, 4),
    "bytes": ([0, 1], 1024, 33554432, 2),
}


@pytest.mark.parametrize("chart", DOUBLINGS)
def test_where_bins_begin(chart: str) -> None:
    """Links and catalogs on disks name bins, so their edges stay: a few small values, then parts of each doubling."""
    small, first, last, parts = DOUBLINGS[chart]
    wide = [
        low * (parts + part) // parts
        for low in (first * 2**n for n in range(40))
        if low < last
        for part in range(parts)
    ]
    begins = [*small, *wide, last]
    found = bins_within(chart, None, None)
    assert [int(name.partition("-")[0]) for name in found] == begins
    assert [name.partition("-")[2] for name in found] == [
        "" if after - 1 == begin else str(after - 1) for begin, after in pairwise(begins)
    ] + [""]
    assert found[-1] == f"{last}-"
    assert bin_of(chart, last) == f"{last}-" != bin_of(chart, last - 1)
    assert bins_within(chart, -5, 0) == bins_within(chart, 0, 0) == ["0"]
    assert bins_within(chart, last, None) == [f"{last}-"]
    assert bins_within(chart, 2, 1) == []


def test_where_the_bins_of_shapes_begin() -> None:
    """The shapes of cameras and screens begin bins of their own; a square has one alone."""
    begins = "0.00 0.01 0.25 0.33 0.40 0.50 0.56 0.60 0.67 0.75 0.80 0.90 1.00 1.01 1.11 1.25 1.33 1.50 1.67 1.78 2.00 2.50 3.00 4.00"
    found = bins_within("aspect", None, None)
    assert [name.partition("-")[0] for name in found] == begins.split()
    assert (found[0], found[12], found[-1]) == ("0.00", "1.00", "4.00-")


def test_the_charts_and_how_long_they_are() -> None:
    """What is on disks is of these sizes."""
    assert (BLOCK, HOSTS_A_SHARD, WORDS_A_SHARD) == (64, 500, 500)
    assert (CAPTION_LETTERS, PLACE_LIMIT) == (65_536, 16_777_216)
    assert (*NUMBERS, "format", "host", "flag", "word") == CHARTS
    assert NUMBERS == ("words", "letters", "width", "height", "aspect", "bytes")
    assert FLAGS[3:9] == ("truncated", "no_end", "trailing", "warning", "not_jpeg", "cmyk")


@given(charts, values)
def test_a_value_lies_within_its_bin(chart: str, value: int) -> None:
    """The text of a bin is a filter that holds the value, and no other bin holds it."""
    name = bin_of(chart, value)
    shown = value / 100 if chart == "aspect" else value
    span = Span.parse(bin_range(chart, name))
    assert span.low is not None
    assert span.low <= shown
    assert span.high is None or shown <= span.high
    assert bins_within(chart, value, value) == [name]


@given(charts, values, values)
def test_the_bins_of_a_range_hold_all_of_it(chart: str, one: int, other: int) -> None:
    """Whatever lies between two values falls into the bins that are named for them."""
    low, high = sorted((one, other))
    bins = bins_within(chart, low, high)
    assert bin_of(chart, low) == bins[0]
    assert bin_of(chart, high) == bins[-1]
    assert bin_of(chart, (low + high) // 2) in bins
    assert set(bins) <= set(bins_within(chart, None, None))
    assert bins_within(chart, None, high)[-1] == bins[-1]
    assert bins_within(chart, low, None)[0] == bins[0]


def test_bins_of_numbers_stand_by_value_and_names_by_count() -> None:
    """A chart of numbers is read from left to right, one of names from the most frequent on."""
    widths = ["1024-1279", "0", "640-767", "8192-"]
    assert sorted(widths, key=lambda name: bin_order("width", name, 1)) == [
        "0",
        "640-767",
        "1024-1279",
        "8192-",
    ]
    hosts = [("a.example", 2), ("b.example", 9), ("c.example", 2)]
    assert [name for name, _ in sorted(hosts, key=lambda one: bin_order("host", *one))] == [
        "b.example",
        "a.example",
        "c.example",
    ]


def test_a_word_is_asked_for_as_a_phrase() -> None:
    """The bin of a word is a query: two Chinese characters must stand side by side."""
    assert bin_range("word", "红色") == '"红色"'


@given(st.integers(1, 2**30), st.integers(0, 2**24 - 1))
def test_an_id_is_a_shard_and_a_place(shard: int, place: int) -> None:
    """An id is taken apart as it was made."""
    assert place_of(sample_id(shard, place)) == (shard, place)


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [(4, 3, 133), (3, 4, 75), (1, 1, 100), (16, 9, 178), (5, 0, 0), (0, 5, 0)],
)
def test_aspects_are_hundredths(width: int, height: int, expected: int) -> None:
    """Rounded to the nearest; unknown sizes have none."""
    assert aspect(width, height) == expected


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("a dog", 2),
        ("  it's   l'été, 3 ", 3),
        ("红色沙发", 4),
        ("きれいな cat", 5),
        ("snake_case", 2),
        ("***", 0),
    ],
)
def test_words_are_counted_as_people_do(text: str, count: int) -> None:
    """Characters of scripts without blanks count by themselves."""
    assert count_words(text) == count


def test_terms_leave_out_the_small_words() -> None:
    """What every caption has says nothing; numbers and short words neither."""
    assert terms("The Red bus of 2020 is with a red DOG") == {"red", "bus", "dog"}
    assert terms("猫") == set()


def entry(**values: object) -> Entry:
    return Entry(key="k", **values)  # type: ignore[arg-type]


def test_a_tally_counts_samples_and_not_words() -> None:
    """Each sample counts once in each chart, and once for each of its words, hosts and flags."""
    found = tally(
        [
            entry(
                caption="red red bus",
                words=3,
                width=640,
                height=480,
                size_bytes=2000,
                format="jpeg",
                host="h",
            ),
            entry(caption="red", words=1, width=640, height=480, format="png", flags=mask(["bomb", "cmyk"])),
        ]
    )
    assert found["word", "red"] == 2
    assert found["word", "bus"] == 1
    assert found["width", "640-767"] == 2
    assert found["aspect", "1.33-1.49"] == 2
    assert found["words", "3"] == found["words", "1"] == 1
    assert found["letters", "10-11"] == 1
    assert found["host", "h"] == 1
    assert ("host", "") not in found
    assert found["flag", "bomb"] == found["flag", "cmyk"] == 1
    assert found["format", "jpeg"] == 1


def test_rare_hosts_do_not_grow_the_tally() -> None:
    """A shard of a list has thousands of hosts: only the most frequent are counted."""
    many = [entry(host=f"h{number}") for number in range(2 * HOSTS_A_SHARD)] + [entry(host="often")] * 3
    found = {name: count for (chart, name), count in tally(many).items() if chart == "host"}
    assert len(found) == HOSTS_A_SHARD
    assert found["often"] == 3


def test_blocks_say_where_a_bin_is() -> None:
    """A bit for each block that has such a sample, and how many samples there are."""
    made = blocks((place // BLOCK, entry(width=640 if place in (0, 1, 200) else 32)) for place in range(256))
    assert made["width", "640-767"] == (3, 0b1001)
    assert made["width", "32-39"] == (253, 0b1111)


def test_blocks_hold_names_too() -> None:
    """Formats and flags are filtered by as numbers are."""
    made = blocks([(0, entry(format="png")), (2, entry(format="png", flags=mask(["bomb", "cmyk"])))])
    assert made["format", "png"] == (2, 0b101)
    assert made["flag", "cmyk"] == made["flag", "bomb"] == (1, 0b100)
    assert made["bytes", "0"] == made["words", "0"] == made["aspect", "0.00"] == (2, 0b101)


def test_the_same_sizes_add_up() -> None:
    """Samples of one value, and of other values in the same bin, are all counted."""
    found = tally([entry(width=640), entry(width=640), entry(width=700), entry(host="h"), entry(host="h")])
    assert (found["width", "640-767"], found["width", "0"], found["host", "h"]) == (3, 2, 2)


def test_the_most_frequent_words_are_counted() -> None:
    """As many words as hosts; among equals by name; what is counted down to nothing is left out."""
    words = Counter({f"w{number:04}": 1 for number in range(WORDS_A_SHARD + 9)})
    words["often"] = 7
    found = most_frequent({"host": Counter({"a": 1, "gone": 0}), "word": words})
    assert found["word", "often"] == 7
    assert found["host", "a"] == 1
    assert ("host", "gone") not in found
    kept = [name for chart, name in found if chart == "word"]
    assert kept == ["often", *(f"w{number:04}" for number in range(WORDS_A_SHARD - 1))]


def test_an_entry_begins_empty() -> None:
    """What is not known of a sample is empty or 0."""
    assert entry() == entry(
        caption="",
        width=0,
        height=0,
        size_bytes=0,
        words=0,
        host="",
        format="",
        flags=0,
        digest=b"",
        rows=0,
        columns=0,
    )
    assert (entry(caption="red").letters, entry(width=3, height=4).aspect) == (3, 75)
    assert (sample_id(1, 0), place_of(2**24 + 5)) == (16_777_216, (1, 5))
