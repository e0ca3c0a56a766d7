"""Results wait for their turn, in memory or beyond it in a file without a name."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.adapters.turns import Turns
from g3m.core.errors import NoSpace


@given(
    order=st.permutations(range(12)),
    limit=st.integers(0, 60),
    sizes=st.lists(st.integers(0, 20), min_size=12),
)
def test_whatever_the_order_they_leave_in_their_places(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], limit: int, sizes: list[int]
) -> None:
    """Each result comes out once, with its bytes, as soon as all before it have; memory keeps its bound."""
    folder = tmp_path_factory.getbasetemp()
    out: list[tuple[int, bytes]] = []
    with Turns[int](folder, limit) as turns:
        for place in order:
            before = turns.memory_bytes
            turns.put(place, place, bytes([place]) * sizes[place])
            assert turns.memory_bytes <= max(limit, before) or place == turns.next
            while (found := turns.pop()) is not None:
                out.append((found[0], bytes(found[1])))
        assert len(turns) == turns.memory_bytes == 0
    assert out == [(place, bytes([place]) * sizes[place]) for place in range(12)]


def test_what_is_too_much_lies_in_a_file_without_a_name(tmp_path: Path) -> None:
    """The folder stays empty, and the file is gone when nothing waits in it any more."""
    files = len(os.listdir("/proc/self/fd"))
    with Turns[str](tmp_path, 10) as turns:
        turns.put(2, "c", b"x" * 100)
        turns.put(1, "b", b"y" * 8)
        assert (turns.memory_bytes, list(tmp_path.iterdir())) == (8, [])
        assert len(os.listdir("/proc/self/fd")) == files + 1
        assert turns.pop() is None
        turns.put(0, "a", b"")
        assert [turns.pop() for _ in range(3)] == [("a", b""), ("b", b"y" * 8), ("c", b"x" * 100)]
        assert len(os.listdir("/proc/self/fd")) == files


def test_a_place_is_taken_once(tmp_path: Path) -> None:
    """A row that came to an end twice would be packed twice."""
    with Turns[int](tmp_path) as turns:
        turns.put(0, 0, b"")
        with pytest.raises(ValueError, match="place 0"):
            turns.put(0, 0, b"")
        turns.pop()
        with pytest.raises(ValueError, match="place 0"):
            turns.put(0, 0, b"")


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends the task as NoSpace, and the descriptor is closed."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    files = len(os.listdir("/proc/self/fd"))
    with pytest.raises(NoSpace), Turns[int](tmp_path, 0) as turns:
        turns.put(1, 1, b"x")
    assert len(os.listdir("/proc/self/fd")) == files


def test_results_that_take_much_wait_outside_too(tmp_path: Path) -> None:
    """Long captions of rows that failed are bounded as pictures are."""
    with Turns[list[str]](tmp_path, memory_bytes=1000) as turns:
        for place in range(20, 0, -1):
            turns.put(place, ["c" * 400, str(place)], b"", 400)
        assert turns.memory_bytes <= 1000
        turns.put(0, ["", "0"], b"first")
        found = [turns.pop() for _ in range(21)]
        assert [each[0][1] for each in found if each] == [str(place) for place in range(21)]
        assert turns.memory_bytes == 0
