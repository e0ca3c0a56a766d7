"""load/captions.py: which caption a step gets."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.load.captions import captions_of, chosen, text_of


@pytest.mark.parametrize(
    ("meta", "expected"),
    [
        (b'{"captions": ["a dog", "two dogs"]}', ("a dog", "two dogs")),
        (b'{"captions": ["a dog", "", 7, null]}', ("a dog",)),
        (b'{"captions": [""]}', ("the text",)),
        (b'{"captions": []}', ("the text",)),
        (b'{"captions": "a dog"}', ("the text",)),
        (b'{"cap": "a dog"}', ("the text",)),
        (b'["captions"]', ("the text",)),
        (b"", ("the text",)),
        (b'{"captions": ["a dog"', ("the text",)),
        (b'{"captions": ["\xff"]}', ("the text",)),
        (b"[" * 100_000, ("the text",)),
    ],
)
def test_the_captions_that_json_lists(meta: bytes, expected: tuple[str, ...]) -> None:
    """The texts of its list `captions`; where there is no such list, or no json, or a broken one: the text."""
    assert captions_of("the text", meta) == expected


@given(st.binary(max_size=60))
def test_no_bytes_are_too_bad(data: bytes) -> None:
    """Any bytes give a text, whole where they are UTF-8, and any json gives at least one caption."""
    text = text_of(data)
    try:
        assert text == data.decode("utf-8")
    except UnicodeDecodeError:
        assert "\ufffd" in text
    assert len(captions_of(text, data)) >= 1


@given(st.integers(0, 2**40), st.integers(0, 1000), st.integers(-(2**63), 2**63), st.integers(1, 9))
def test_a_choice_is_a_function(number: int, epoch: int, seed: int, count: int) -> None:
    """The same sample, epoch and seed give the same one of the captions."""
    captions = tuple(map(str, range(count)))
    assert chosen(captions, number, epoch, seed) == chosen(captions, number, epoch, seed)
    assert chosen(captions, number, epoch, seed) in captions


def test_a_choice_is_fair() -> None:
    """Over samples, over epochs and over seeds each of five captions comes about as often as the others."""
    five = tuple("abcde")
    rows = (
        [chosen(five, number, 3, 7) for number in range(5000)],
        [chosen(five, 3, epoch, 7) for epoch in range(5000)],
        [chosen(five, 3, 7, seed) for seed in range(5000)],
    )
    for row in rows:
        assert all(900 < row.count(caption) < 1100 for caption in five)


def test_a_choice_stays_what_it_is() -> None:
    """A run that is continued by a later version sees the captions it would have seen."""
    five = tuple("abcde")
    assert "".join(chosen(five, number, epoch, 42) for epoch in range(2) for number in range(8)) == PINNED


PINNED = "eeceaccedcbdadeb"


def test_real_json() -> None:
    """What g3m writes for COCO is read back: all captions of a picture one by one."""
    own = ["A dog.", "Two dogs é."]
    meta = {"path": "x.jpg", "cap": " ".join(own), "split": "val2017", "image_id": 1, "captions": own}
    assert captions_of(" ".join(own), json.dumps(meta).encode()) == tuple(own)
