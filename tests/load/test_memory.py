"""load/memory.py: memory is used again, and never while anything can see what was in it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import numpy
import pytest
import torch

from g3m.load.memory import Pool

SHAPE = (4, 3, 8, 8)


def address(array: Any) -> int:
    return int(array.__array_interface__["data"][0])


def test_forgotten_memory_is_used_again() -> None:
    """The next array of that size, or a smaller one, lies where a forgotten one lay; a larger one elsewhere."""
    pool = Pool(2)
    first = pool.array(SHAPE, "float32")
    assert (first.shape, first.dtype, first.flags.c_contiguous, first.flags.writeable) == (
        SHAPE,
        numpy.float32,
        True,
        True,
    )
    place = address(first)
    del first
    second = pool.array(SHAPE, "float32")
    assert address(second) == place
    del second
    third = pool.array((1, 3, 8, 8), "uint8")
    assert (address(third), third.shape) == (place, (1, 3, 8, 8))
    del third
    larger = pool.array((9, *SHAPE[1:]), "float32")
    larger[:] = 1
    assert larger.shape == (9, 3, 8, 8)
    assert pool.array((0, 3, 8, 8), "uint8").shape == (0, 3, 8, 8)


VIEWS: list[Callable[[Any], Any]] = [
    lambda array: array,
    lambda array: array[2],
    lambda array: array[1:3].transpose(0, 2, 3, 1),
    lambda array: array.view("uint8")[3:],
    memoryview,
    torch.from_numpy,
    lambda array: torch.from_numpy(array)[2:],
    lambda array: torch.from_numpy(array).permute(0, 2, 3, 1).detach(),
    lambda array: torch.from_numpy(array).numpy()[1],
    lambda array: torch.from_numpy(array).untyped_storage(),
    lambda array: torch.nn.Parameter(torch.from_numpy(array)),
    lambda array: torch.utils.dlpack.from_dlpack(torch.from_numpy(array)),
    lambda array: numpy.from_dlpack(torch.from_numpy(array)),
]


@pytest.mark.parametrize("view", VIEWS)
def test_memory_that_is_seen_is_not_used_again(view: Callable[[Any], Any]) -> None:
    """Whatever view of an array or a tensor is held, its memory stays; when it goes, it may be used again."""
    pool = Pool(3)
    array = pool.array(SHAPE, "float32")
    place = address(array)
    held = view(array)
    del array
    others = [pool.array(SHAPE, "float32") for _ in range(3)]
    assert place not in [address(other) for other in others]
    del held, others
    assert len(pool._free) == 3


def test_only_so_much_is_kept() -> None:
    """Of many forgotten arrays the memory of a few is kept."""
    pool = Pool(2)
    many = [pool.array(SHAPE, "uint8") for _ in range(10)]
    assert len({address(array) for array in many}) == 10
    del many
    assert len(pool._free) == 2


def test_many_threads() -> None:
    """Threads that take and forget never get memory that another one has."""
    pool = Pool(4)
    wrong: list[int] = []

    def use(mark: int) -> None:
        for _ in range(300):
            tensor = torch.from_numpy(pool.array((64,), "uint8"))
            tensor[:] = mark
            if not bool((tensor == mark).all()):
                wrong.append(mark)

    threads = [threading.Thread(target=use, args=(mark,)) for mark in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert wrong == []


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_writes_into_its_own() -> None:
    """Memory is private: what a child writes, its parent does not see."""
    array = Pool(1).array((4096,), "uint8")
    array[:] = 7
    child = os.fork()
    if child == 0:
        array[:] = 9
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert array.tolist() == [7] * 4096
