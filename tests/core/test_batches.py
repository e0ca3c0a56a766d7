"""Rows of lists as tasks: the lines of the sample list, names and keys."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from g3m.core.gathering import TASK_ROWS, Batch, Span, row_key, shard_name

NUMBERS = st.integers(0, 2**40)
SPANS = st.builds(
    Span, st.integers(0, 5000), NUMBERS, NUMBERS, st.integers(0, TASK_ROWS), st.integers(0, 2**32 - 1)
)


@given(NUMBERS, st.lists(SPANS, max_size=5))
def test_a_batch_comes_back_from_its_line(first: int, spans: list[Span]) -> None:
    """What planning writes is what the task reads, in one line."""
    batch = Batch(first, tuple(spans))
    line = batch.to_line()
    assert line.endswith("\n")
    assert line.count("\n") == 1
    assert Batch.from_line(line.encode()) == batch
    assert batch.rows == sum(span.rows for span in spans)


def test_the_line_is_small() -> None:
    """Ten thousand tasks are a list of some hundred kilobytes."""
    line = Batch(99_990_000, (Span(31, 12_000_000_000, 12_001_500_000, 10_000, 2**32 - 1),)).to_line()
    assert len(line) < 80
    assert json.loads(line)[0] == 99_990_000


@given(st.integers(0, 10**7), st.integers(0, 10**7))
def test_names_of_shards_sort_and_differ(one: int, other: int) -> None:
    """Each number has a name of its own; up to a hundred thousand shards they sort as their numbers do."""
    assert (shard_name(one) == shard_name(other)) == (one == other)
    if max(one, other) < 100_000:
        assert (shard_name(one) < shard_name(other)) == (one < other)


@given(st.integers(0, 99_999), st.integers(1, 100_000), st.data())
def test_keys_are_unique_and_as_img2dataset_makes_them(
    number: int, task_rows: int, data: st.DataObject
) -> None:
    """The key is the shard's number and the place in it, with as many digits as places need."""
    place = data.draw(st.integers(0, task_rows - 1))
    key = row_key(shard_name(number), place, task_rows)
    assert key.startswith(f"{number:05d}")
    assert int(key[5:]) == place
    assert len(key) == 5 + len(str(task_rows - 1))
