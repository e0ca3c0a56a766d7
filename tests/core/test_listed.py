"""Lines of lists of samples."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.listed import Wanted, listed


@pytest.mark.parametrize("key", ["000000000139", "a/b", "a b", "红色", "it's", 'a"b'])
def test_a_plain_key_stands_as_it_is(key: str) -> None:
    """A line that can be read by a person is DATASET/KEY."""
    assert listed("coco_valid", key) == f"coco_valid/{key}"


@given(
    st.text(st.characters(exclude_categories=()), min_size=1), st.text(st.characters(exclude_categories=()))
)
def test_any_key_is_one_line_and_comes_back(dataset: str, key: str) -> None:
    """Whatever is in a name, the line has no break and no control character, and says the same names."""
    line = listed(dataset, key)
    assert line.isprintable()
    assert line.splitlines() == [line]
    line.encode()
    if line == line.strip() and not line.startswith("{"):
        assert line == f"{dataset}/{key}"
    else:
        assert json.loads(line) == {"dataset": dataset, "key": key}


def test_what_found_nothing_is_sorted() -> None:
    """Whatever the order of the lists, entries of one dataset and of any."""
    wanted = Wanted([("coco", key) for key in "hgfedcba"] + [("", "z"), ("", "y"), ("sbu", "x")])
    assert wanted.entries == 11
    assert list(wanted.unmatched()) == [*(f"coco/{key}" for key in "abcdefgh"), "sbu/x", "y", "z"]
    wanted.hit([("coco", "a"), ("", "z")])
    wanted.hit([("coco", "a")])
    assert list(wanted.unmatched()) == [*(f"coco/{key}" for key in "bcdefgh"), "sbu/x", "y"]
