"""core/index.py: the flat table of samples, read as it was written or refused."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from g3m.core.index import ABSENT, FIELDS, MAGIC, Index, IndexedShard, encode, head
from g3m.core.shard import Entry, Field

sizes = st.integers(0, ABSENT - 1)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    names = draw(st.sets(st.sampled_from(FIELDS)))
    found = tuple(Field(name, draw(st.integers(0, 2**63)), draw(sizes)) for name in FIELDS if name in names)
    return Entry(draw(st.text(max_size=8)), found)


shards = st.lists(
    st.builds(IndexedShard, st.text(max_size=8), st.lists(entries(), max_size=4).map(tuple)), max_size=4
)
TOY = [
    IndexedShard("00000.tar", (Entry("a", (Field("jpg", 512, 9), Field("txt", 2048, 0))), Entry("bé", ()))),
    IndexedShard("00001.tar", ()),
    IndexedShard("00002.tar", (Entry("c", (Field("json", 2**40, 5),)),)),
]


@given(shards)
@example(TOY)
def test_an_index_is_read_as_it_was_written(written: list[IndexedShard]) -> None:
    """Every sample comes back in order with its shard, key and fields, from bytes or a view of them."""
    expected = [(shard.name, entry) for shard in written for entry in shard.entries]
    for data in (encode(written), memoryview(encode(written))):
        index = Index(data)
        assert len(index) == len(expected)
        assert [index[number] for number in range(len(index))] == expected
        assert list(index) == expected
        assert index.shards == tuple(shard.name for shard in written)


@given(shards)
def test_the_same_samples_give_the_same_bytes(written: list[IndexedShard]) -> None:
    """An index is made again byte for byte."""
    assert encode(written) == encode(list(written))
    assert encode(written).startswith(MAGIC)


@pytest.mark.parametrize("number", [-1, 3, 4, 2**40])
def test_numbers_outside_are_refused(number: int) -> None:
    """There is no sample before the first or after the last; negative numbers do not wrap."""
    with pytest.raises(IndexError) as caught:
        Index(encode(TOY))[number]
    assert caught.value.args == (number,)


def test_samples_may_be_asked_in_any_order() -> None:
    """Each sample is found on its own, without those before it."""
    index = Index(encode(TOY))
    assert index[2] == ("00002.tar", Entry("c", (Field("json", 2**40, 5),)))
    assert index[1] == ("00000.tar", Entry("bé", ()))
    assert index[0][1].fields[1] == Field("txt", 2048, 0)


def test_an_empty_file_is_a_field_and_a_missing_one_is_none() -> None:
    """Size 0 and absence are different things."""
    (entry,) = (Entry("k", (Field("txt", 0, 0),)),)
    assert Index(encode([IndexedShard("s", (entry,))]))[0][1] == entry


@pytest.mark.parametrize(
    "data", [b"", b"G3M", MAGIC, MAGIC + b"\0\0\0", b"G3MINDX2" + encode(TOY)[8:], b"PK\3\4" + bytes(200)]
)
def test_other_files_are_refused(data: bytes) -> None:
    """Without the magic of this version, whole, it is no index."""
    with pytest.raises(ValueError, match="not an index of this version"):
        Index(data)


def test_an_index_cut_before_its_keys_is_refused() -> None:
    """A file that ends inside the head or the records is never half an index."""
    data = encode(TOY)
    for length in range(len(data) - len("abéc".encode())):
        with pytest.raises(ValueError, match=r"."):
            Index(data[:length])


def test_an_index_cut_inside_its_keys_is_refused() -> None:
    """A missing end would give samples wrong or empty keys."""
    data = encode(TOY)
    for length in range(len(data) - len("abéc".encode()), len(data)):
        with pytest.raises(ValueError, match="cut"):
            Index(data[:length])


def test_an_index_with_something_behind_it_is_refused() -> None:
    """Two files written into one another are not an index."""
    with pytest.raises(ValueError, match=r"."):
        Index(encode(TOY) + b"x")


HEADS = [
    [],
    5,
    None,
    {},
    {"shards": []},
    {"samples": 0},
    {"shards": 5, "samples": 0, "fields": list(FIELDS)},
    {"shards": [], "samples": "x", "fields": list(FIELDS)},
    {"shards": [], "samples": None, "fields": list(FIELDS)},
    {"shards": [], "samples": -1, "fields": list(FIELDS)},
    {"shards": [], "samples": 1, "fields": list(FIELDS)},
    {"shards": [], "samples": float("inf"), "fields": list(FIELDS)},
    {"shards": [], "samples": 0, "fields": ["png"]},
]


@pytest.mark.parametrize("head", HEADS, ids=json.dumps)
def test_a_wrong_head_is_a_value_error(head: object) -> None:
    """Whatever the head holds instead of its three keys, the reader says so with the error it promises."""
    text = json.dumps(head).encode()
    with pytest.raises(ValueError, match=r"index|."):
        Index(MAGIC + struct.pack("<I", len(text)) + text)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[" * 100_000])
def test_an_unreadable_head_is_a_value_error(text: bytes) -> None:
    """A head that is no JSON, or nested beyond all limits, is refused."""
    with pytest.raises(ValueError, match=r"."):
        Index(MAGIC + struct.pack("<I", len(text)) + text)


@given(shards)
def test_shards_joined_one_by_one_give_the_index_of_all(written: list[IndexedShard]) -> None:
    """Head, records and keys of each shard's own index, one behind the other, are the index of the whole."""
    parts = [Index(encode([shard])) for shard in written]
    joined = head([shard.name for shard in written], sum(map(len, parts)))
    keys = b""
    for number, part in enumerate(parts):
        joined += part.records(number, len(keys))
        keys += part.keys
    assert joined + keys == encode(written)
