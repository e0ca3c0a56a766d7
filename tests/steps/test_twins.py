"""steps/twins.py: pictures of the same bytes are found by their bytes, in a bounded memory."""

from __future__ import annotations

import random
import sys
import tracemalloc
import zlib
from pathlib import Path

import pytest
from tests.steps.offline import tar_bytes

from g3m.adapters.tar import list_tar
from g3m.core.members import Member
from g3m.steps import twins
from g3m.steps.twins import Twins, sample_key


def shards(tmp_path: Path, contents: list[dict[str, bytes]]) -> tuple[list[Path], Twins]:
    """Tars of such pictures, and what a walk through them tells."""
    paths, found = [], Twins()
    for number, files in enumerate(contents):
        path = tmp_path / f"{number}.tar"
        path.write_bytes(tar_bytes(files))
        paths.append(path)
        for member in list_tar(path):
            assert isinstance(member, Member)
            data = files[member.name]
            found.add(zlib.crc32(data), len(data), (number, member.offset))
    return paths, found


@pytest.mark.parametrize("at_a_time", [1, 3, 2**18])
def test_equal_pictures_of_any_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_a_time: int) -> None:
    """Each but the first is told with the first, however many passes it takes."""
    monkeypatch.setattr(twins, "AT_A_TIME", at_a_time)
    one, two = b"one" * 400, b"two" * 400
    paths, found = shards(
        tmp_path,
        [{"a.jpg": one, "b.jpg": two, "c.jpg": one}, {"x/d.jpg": b"alone", "e.f.jpg": one, "g.jpg": two}],
    )
    pairs = sorted((key, first) for _, key, _, first in found.pairs(paths))
    assert pairs == [("c", "a"), ("e", "a"), ("g", "b")]


def test_an_equal_checksum_is_not_enough(tmp_path: Path) -> None:
    """Pictures of one size and one checksum with other bytes are no twins."""
    paths, _ = shards(tmp_path, [{"a.jpg": b"one", "b.jpg": b"two"}])
    found = Twins()
    for member in list_tar(paths[0]):
        assert isinstance(member, Member)
        found.add(7, 3, (0, member.offset))
    assert list(found.candidates()) == [((0, 1536), (0, 512), 3)]
    assert list(found.pairs(paths)) == []


def test_a_shard_that_is_gone_meanwhile(tmp_path: Path) -> None:
    """What cannot be read any more is left out."""
    paths, found = shards(tmp_path, [{"a.jpg": b"x"}, {"b.jpg": b"x"}])
    paths[0].unlink()
    assert list(found.pairs(paths)) == []


def test_memory_for_many_pictures() -> None:
    """Three hundred thousand take less than eight megabytes while they are added."""
    numbers = random.Random(1)
    tracemalloc.start()
    try:
        found = Twins()
        for number in range(300_000):
            found.add(numbers.getrandbits(32), 160_000, (number // 5000, 512 * number))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 8_000_000
    assert len(found) == 300_000
    assert sys.getsizeof(found._marks) < 3_000_000


@pytest.mark.parametrize(
    ("name", "key"),
    [("000139.jpg", "000139"), ("./a/b.c/1.seg.png", "a/b.c/1"), ("x/.hidden", "x/"), ("plain", "plain")],
)
def test_keys(name: str, key: str) -> None:
    """Up to the first dot behind the last slash."""
    assert sample_key(name) == key
