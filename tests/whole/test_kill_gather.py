"""`g3m gather`, killed at any moment: no half shard is seen, no row is lost or counted twice, the end is the same."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.pictures_host import MOODS, PicturesHost, picture, pictures_host
from tests.whole.crashes import crashed


@pytest.fixture(scope="module")
def host() -> Iterator[PicturesHost]:
    with pictures_host() as host:
        yield host


def answers(tmp_path: Path, host: PicturesHost, **job: Any) -> dict[str, Any]:
    """What the crash driver saw of a list of fourteen rows, three of which may succeed another time."""
    moods = ["good"] * 5 + ["missing", "html", "cut"] + ["good"] * 4 + ["cut", "late"]
    source = tmp_path / "list.txt"
    source.write_text("".join(f"{host.url(f'{mood}/{n}.jpg')}\n" for n, mood in enumerate(moods)))
    given = {
        "work": "gather",
        "source": str(source),
        "root": str(tmp_path / "new"),
        "options": {"jobs": 1, "url_timeout_s": 20.0},
        "task_rows": 5,
        "retry_failed": False,
        "shard_samples": 12,
        "flush_bytes": 32768,
        "count_file": str(tmp_path / "count"),
        "begin": "",
        "offset": 0,
        "stride": 7,
        **job,
    }
    answer, said = crashed(given, {**os.environ, "HOME": str(tmp_path), "G3M_LANG": "en"}, 280)
    for crash in answer["crashes"]:
        words = f"killed before change {crash['step']} of {answer['steps']}: {crash}\n{said}"
        assert "broken" not in crash, words
        assert crash["second"] == 0, words
        assert crash["differs"] == [], words
        assert crash["left"] == [], words
    return answer


def test_a_kill_before_any_change_on_the_disk_loses_nothing(host: PicturesHost, tmp_path: Path) -> None:
    """Whatever is killed while gathering, the next run ends with the tree of an undisturbed one."""
    answer = answers(tmp_path, host)
    names = sorted(answer["tree"])
    assert [name for name in names if name.endswith(".tar")] == ["00000.tar", "00001.tar", "00002.tar"]
    assert {"00000.parquet", "00000_stats.json", "manifest.json"} <= set(names)
    assert len(answer["crashes"]) >= 6
    assert sum(crash["killed"] for crash in answer["crashes"]) >= 0.8 * len(answer["crashes"])


def test_a_kill_while_failed_rows_are_asked_for_again_loses_nothing(
    host: PicturesHost, tmp_path: Path
) -> None:
    """A retry is planned or it is not; once planned, any next run finishes it, and nothing counts twice."""
    begin = tmp_path / "begin"
    host.moods["late"] = partial(MOODS["cut"], host)
    first = answers(tmp_path, host, stride=1000)
    for mood in ("late", "cut"):  # all succeed: a second retry, after a kill at the very end, finds nothing
        host.moods[mood] = lambda asked: asked.answer(picture(asked.number))
    shutil.copytree(tmp_path / "new", begin)
    answer = answers(tmp_path, host, begin=str(begin), retry_failed=True, stride=6)
    assert sorted(answer["tree"].keys() - first["tree"].keys()) == [
        "00003.parquet",
        "00003.tar",
        "00003_stats.json",
    ]
    standing = [name for name in first["tree"] if name.startswith("0")]
    assert all(answer["tree"][name] == first["tree"][name] for name in standing)
    assert len(answer["crashes"]) >= 5
