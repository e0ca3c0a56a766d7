"""The targets of `make fuzz` do what they say, over whole documents and damaged ones: they cannot rot unseen."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from tests.fuzz.targets import TARGETS, forget

DAMAGED = 150


@pytest.fixture(scope="module", autouse=True)
def clean() -> Iterator[None]:
    """No file is left behind."""
    yield
    forget()


def damaged(seeds: tuple[bytes, ...]) -> Iterator[bytes]:
    """Pieces of whole documents gone, doubled, joined, or with other bytes."""
    chosen = random.Random(8)
    for number in range(DAMAGED):
        data = bytearray(seeds[number % len(seeds)])
        for _ in range(chosen.randint(1, 4)):
            start = chosen.randrange(len(data) + 1)
            end = min(start + chosen.choice((1, 1, 4, 30)), len(data))
            way = chosen.randrange(5)
            if way == 0:
                del data[start:end]
            elif way == 1:
                data[start:start] = data[start:end] * chosen.choice((1, 3))
            elif way == 2:
                data[start:end] = chosen.randbytes(end - start)
            elif way == 3:
                data[start:end] = chosen.choice(
                    (b"[", b'"', b"\0", b"9" * 400, b"\\u0000", b"\xff", b"../", b"-1", b"\n")
                )
            else:
                data[start:start] = chosen.choice(seeds)
        yield bytes(data)


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_raises_nothing(name: str) -> None:
    """Whole documents, nothing, and some damaged ones."""
    target = TARGETS[name]
    for data in (b"", *target.seeds, *damaged(target.seeds)):
        target.run(data)
