"""How many bytes a rank reads in an epoch: those of its own samples, however many ranks there are.

The kernel counts (`rchar` of /proc/self/io: what this process asked its disk, or the cache, for). A rank's share are
the bytes that its samples take up in the shards, headers and padding included.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.steps.offline import Made, make, zip_of
from tests.whole.sources import my_recipe, tiny_jpeg

import g3m
from g3m.load.dataset import Dataset

SAMPLES = 211
BATCH = 3
WORKERS = 2
BLOCK = 512
"""What a tar rounds to; a sample's first header and last padding need not be read."""


def photo_sized(number: int) -> bytes:
    """A tiny picture of 60 to 130 kB, most of it a comment, so that what is small beside a photograph is small here."""
    generator = random.Random(number)
    notes = [generator.randbytes(generator.randrange(30_000, 65_000)) for _ in range(2)]
    whole = tiny_jpeg(number)
    return (
        whole[:2]
        + b"".join(b"\xff\xfe" + (len(note) + 2).to_bytes(2, "big") + note for note in notes)
        + whole[2:]
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A heap of samples in eleven shards."""
    folder = tmp_path_factory.mktemp("bytes")
    files: dict[str, bytes] = {}
    for number in range(SAMPLES):
        files |= {f"k{number}.jpg": photo_sized(number), f"k{number}.txt": b"caption " * (number % 9 + 1)}
    archive = zip_of(folder / "source" / "heap.zip", files)
    recipe = my_recipe(folder / "heap.toml", [(archive, [])], {"reader": "pairs", "images": archive.name})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("g3m.core.samples.SHARD_SAMPLES", 20)
        return make(recipe, archive)


def asked_bytes() -> int:
    """How many bytes this process has asked the kernel for by reading, so far."""
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return int(dict(line.split(": ") for line in lines)["rchar"])


def taken_up(made: Made, keys: list[str]) -> int:
    """The bytes of these samples in the shards: a header for each member, content rounded up."""
    members = [content for key in keys for content in made.samples[key.partition("/")[2]].values()]
    return sum(BLOCK + -(-len(content) // BLOCK) * BLOCK for content in members)


def epoch(data: Dataset, rank: int, world: int, shuffle: str) -> tuple[list[str], int]:
    """The keys of one rank in one epoch, and what was read for them, from the making of the loader on."""
    before = asked_bytes()
    loader = g3m.loader(
        data, BATCH, image_size=8, shuffle=shuffle, last="even", workers=WORKERS, rank=rank, world=world
    )
    keys = [key for _, _, keys in loader for key in keys]
    return keys, asked_bytes() - before


@pytest.mark.parametrize("shuffle", ["full", "block"])
@pytest.mark.parametrize("world", [1, 4, 16])
def test_a_rank_reads_its_share(made: Made, world: int, shuffle: str) -> None:
    """A rank reads 1.00 of its share: never more than its samples take up, and all of what they hold."""
    with g3m.dataset("heap", root=made.root) as data:
        epoch(data, 0, SAMPLES // BATCH, shuffle)  # what is imported at the first batch is not the epoch's
        ranks = [epoch(data, rank, world, shuffle) for rank in range(world)]
    shares = [taken_up(made, keys) for keys, _ in ranks]
    assert [0.985 < read / share <= 1.0 for (_, read), share in zip(ranks, shares, strict=True)] == [
        True
    ] * world
    assert sum(shares) == taken_up(made, [f"heap/{key}" for key in made.samples])
    whole = sum(path.stat().st_size for path in made.folder.glob("*.tar"))
    assert 0.98 < sum(read for _, read in ranks) / whole <= 1.0
    assert max(shares) < 1.5 * min(shares)
