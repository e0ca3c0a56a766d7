"""core/blocks.py: ranges are cut into blocks and joined again without a byte lost; damage of a block shows."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.blocks import (
    MAGIC,
    PAGE_BYTES,
    Piece,
    agrees,
    extent,
    head_bytes,
    name_of,
    pages,
    pieces,
    proves,
    runs,
    seal,
)

NAME = name_of("https://host/a.tar", '"1"', 100, (10, 3))


@given(st.data())
def test_pieces_are_the_range(data: st.DataObject) -> None:
    """Pieces, cut out of their blocks and joined, are the range, whatever the sizes are."""
    whole = bytes(number % 251 for number in range(data.draw(st.integers(0, 300))))
    block_bytes = data.draw(st.integers(1, 70))
    offset = data.draw(st.integers(0, len(whole)))
    size = data.draw(st.integers(0, len(whole) - offset))
    found = pieces(offset, size, block_bytes)
    cut = []
    for piece in found:
        start, end = extent(piece.number, len(whole), block_bytes)
        assert 0 <= piece.start < piece.end <= end - start
        cut.append(whole[start:end][piece.start : piece.end])
    assert b"".join(cut) == whole[offset : offset + size]
    numbers = [piece.number for piece in found]
    assert numbers == list(range(numbers[0], numbers[-1] + 1)) if size else not numbers


@given(st.integers(0, 1000), st.integers(1, 70))
def test_extents_tile_the_file(whole_bytes: int, block_bytes: int) -> None:
    """Blocks lie side by side, none is larger than a block, and together they are the file."""
    count = -(-whole_bytes // block_bytes)
    extents = [extent(number, whole_bytes, block_bytes) for number in range(count)]
    assert [start for start, _ in extents] == [number * block_bytes for number in range(count)]
    assert [end for _, end in extents] == [*(start for start, _ in extents[1:]), *[whole_bytes] * bool(count)]
    assert extent(count, whole_bytes, block_bytes) == (whole_bytes, whole_bytes)


@given(st.lists(st.integers(0, 40)), st.integers(1, 6))
def test_runs_hold_every_block_once(numbers: list[int], most: int) -> None:
    """Every block is in one run, no run is longer than allowed, and neighbours share one while there is room."""
    found = list(runs(numbers, most))
    assert [n for first, last in found for n in range(first, last)] == sorted(set(numbers))
    assert all(0 < last - first <= most for first, last in found)
    for (first, last), (after, _) in itertools.pairwise(found):
        assert after > last or last - first == most


@pytest.mark.parametrize("size", [1, PAGE_BYTES - 1, PAGE_BYTES, PAGE_BYTES + 1, 3 * PAGE_BYTES + 17])
def test_a_sealed_block_proves_itself(size: int) -> None:
    """The head is as long as announced, and any whole pages of the block agree with it."""
    data = bytes(number * 7 % 256 for number in range(size))
    head = seal(NAME, data)
    assert len(head) == head_bytes(size)
    assert proves(head, NAME, size)
    for start, end in ((0, size), (size - 1, size), (size // 2, size // 2 + 1)):
        low, high = pages(start, end, size)
        assert low <= start < end <= high <= size
        assert low % PAGE_BYTES == 0
        assert high - low < end - start + 2 * PAGE_BYTES
        assert agrees(head, low, data[low:high])


@given(st.data())
def test_every_flipped_bit_shows(data: st.DataObject) -> None:
    """One wrong bit, in the head or in the bytes, is found when what it lies in is read."""
    content = data.draw(st.binary(min_size=1, max_size=200)) + bytes(PAGE_BYTES)
    head = seal(NAME, content)
    whole = bytearray(head + content)
    place = data.draw(st.integers(0, len(head) + 400))
    whole[place] ^= 1 << data.draw(st.integers(0, 7))
    spoilt_head, spoilt = bytes(whole[: len(head)]), bytes(whole[len(head) :])
    proved = proves(spoilt_head, NAME, len(content)) and agrees(spoilt_head, 0, spoilt)
    assert not proved
    other_page = content[PAGE_BYTES:]
    assert agrees(head, PAGE_BYTES, other_page)


def test_a_head_of_another_block_is_none() -> None:
    """A head that is cut, or that of a block of another name or size, proves nothing."""
    head = seal(NAME, b"abc")
    other = name_of("https://host/a.tar", '"2"', 100, (10, 3))
    assert not proves(head[:-1], NAME, 3)
    assert not proves(head, other, 3)
    assert not proves(head, NAME, 4)
    assert not proves(b"", NAME, 3)


def test_names_differ_by_all_that_matters() -> None:
    """Another address, version, size, size of blocks or number has another name, and none shows the address."""
    names = [
        NAME,
        name_of("https://host/b.tar", '"1"', 100, (10, 3)),
        name_of("https://host/a.tar", '"2"', 100, (10, 3)),
        name_of("https://host/a.tar", '"1"', 101, (10, 3)),
        name_of("https://host/a.tar", '"1"', 100, (11, 3)),
        name_of("https://host/a.tar", '"1"', 100, (10, 4)),
    ]
    assert len(set(names)) == len(names)
    assert all(len(name) == 64 and "host" not in name for name in names)


def test_no_bytes_are_no_pieces() -> None:
    """An empty range takes nothing from any block, also at the edge of one."""
    assert pieces(0, 0, 10) == pieces(10, 0, 10) == pieces(7, 0, 10) == ()
    assert pieces(10, 1, 10) == (Piece(1, 0, 1),)


def test_how_blocks_are_kept() -> None:
    """Pages of 64 KiB have a checksum each, in a head of 44 bytes and 4 for each page."""
    assert (PAGE_BYTES, MAGIC) == (65_536, b"G3MBLOK1")
    assert [head_bytes(size) for size in (0, 1, 65_536, 65_537)] == [44, 48, 48, 52]
    assert len(seal("0" * 64, bytes(65_537))) == 52
