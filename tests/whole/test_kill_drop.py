"""`g3m drop --rewrite`, killed at any moment: readers see right samples or a refusal, and the end is the same."""

from __future__ import annotations

import json
import os
import tarfile
import zlib
from pathlib import Path
from typing import Any

import pytest
from tests.pictures_host import picture, pictures_host
from tests.runners.lists import rows_of, run, write_list
from tests.whole.conftest import Opener
from tests.whole.crashes import crashed

import g3m
from g3m.lab.world import World
from g3m.runners.index import catalog
from g3m.runners.run import get_in


def same_size_without_one(folder: Path) -> list[str]:
    """A key of each shard that is as long without it: only there a wrong index could go unseen."""
    keys = []
    for path in sorted(folder.glob("*.tar")):
        sizes: dict[str, int] = {}
        with tarfile.open(path) as archive:
            for member in archive:
                key = member.name.partition(".")[0]
                sizes[key] = sizes.get(key, 0) + 512 + member.size + -member.size % 512
        total = sum(sizes.values())
        keys += [
            key
            for key, size in sizes.items()
            if -(-(total - size + 1024) // 10240) == -(-(total + 1024) // 10240)
        ][:1]
    assert keys
    return keys


@pytest.mark.parametrize("offset", range(2))
def test_a_kill_before_any_change_on_the_disk_loses_nothing(
    offset: int, open_session: Opener, small_shards: int, world: World, tmp_path: Path
) -> None:
    """Whichever change is not made, nobody reads wrong bytes or a dropped sample, and the same line ends it."""
    assert small_shards
    begin = tmp_path / "begin"
    get_in(["cc3m_valid"], open_session(begin), [])
    g3m.pack("cc3m_valid", to=begin / "small", root=begin, image_size=16, shard_size=small_shards)
    expected: dict[str, dict[str, Any]] = {}
    dropped = same_size_without_one(begin / "small")
    for folder in (begin / "small", begin / "cc3m" / "cc3m_valid"):
        with g3m.dataset(folder) as data:
            expected[str(folder.relative_to(begin))] = {
                one.key: [zlib.crc32(one.image), one.text] for one in data
            }
    (tmp_path / "expected.json").write_text(json.dumps(expected))
    (tmp_path / "keys.txt").write_text("\n".join(dropped))
    job = {
        "work": "drop",
        "source": str(tmp_path / "keys.txt"),
        "expected": str(tmp_path / "expected.json"),
        "dropped": dropped,
        "root": str(tmp_path / "root"),
        "begin": str(begin),
        "options": {**world.options, "jobs": 1},
        "variables": world.variables,
        "shard_samples": small_shards,
        "flush_bytes": 32768,
        "count_file": str(tmp_path / "count"),
        "offset": offset,
        "stride": 2,
    }
    answer, said = crashed(job, {**os.environ, "HOME": str(tmp_path), "G3M_LANG": "en"}, 280)
    assert answer["steps"] > 60
    for crash in answer["crashes"]:
        words = f"killed before change {crash['step']} of {answer['steps']}: {crash}\n{said}"
        assert "broken" not in crash, words
        assert crash["killed"], words
        assert crash["read"] == 0, words
        assert crash["second"] == 0, words
        seen = [name for name, _ in crash["differs"] if ".g3m/" not in name and not name.endswith(".tmp")]
        assert seen == [], words
        assert [name for name in crash["left"] if not name.endswith(".tmp")] == [], words


def test_after_a_kill_nothing_of_a_sample_is_left_in_a_gathered_dataset_and_the_catalog(
    tmp_path: Path,
) -> None:
    """The rows of lists and of retries, the tables, and the catalog of the folder around it."""
    begin = tmp_path / "begin"
    with pictures_host() as host:
        rows = rows_of(host, "good", "good", "cut", "good", "missing", "cut", "good")
        run(write_list(tmp_path / "list.jsonl", rows), begin / "web")
        host.moods["cut"] = lambda asked: asked.answer(picture(asked.number))
        run(None, begin / "web", retry_failed=True)
    catalog(root=str(begin))
    (tmp_path / "keys.txt").write_text("000001\n000020\n")
    job = {
        "work": "drop",
        "source": str(tmp_path / "keys.txt"),
        "words": ["row 1", "row 2", "good/1.jpg", "cut/2.jpg"],
        "root": str(tmp_path / "root"),
        "begin": str(begin),
        "options": {"jobs": 1},
        "variables": {},
        "shard_samples": 12,
        "flush_bytes": 32768,
        "count_file": str(tmp_path / "count"),
        "offset": 1,
        "stride": 5,
    }
    answer, said = crashed(job, {**os.environ, "HOME": str(tmp_path), "G3M_LANG": "en"}, 280)
    assert answer["steps"] > 40
    for crash in answer["crashes"]:
        words = f"killed before change {crash['step']} of {answer['steps']}: {crash}\n{said}"
        assert "broken" not in crash, words
        assert crash["killed"], words
        assert crash["second"] == 0, words
        assert crash["words"] == [], words
        assert [name for name, _ in crash["differs"] if not name.endswith(".tmp")] == [], words
