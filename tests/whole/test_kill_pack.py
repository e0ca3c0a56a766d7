"""`g3m pack`, killed at any moment: the source is as it was, no half shard is seen, and the end is the same."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.steps.offline import tar_bytes
from tests.whole.crashes import crashed
from tests.whole.disk import tree


def foreign(folder: Path) -> Path:
    """Three tars with ten samples of drawn pictures."""
    folder.mkdir()
    for number, (first, end) in enumerate([(0, 4), (4, 5), (5, 10)]):
        members = []
        for one in range(first, end):
            written = io.BytesIO()
            Image.effect_noise((96, 64), 40 + one).save(written, "JPEG")
            members += [(f"{one}.jpg", written.getvalue()), (f"{one}.txt", b"%d" % one)]
        (folder / f"{number}.tar").write_bytes(tar_bytes(members))
    return folder


@pytest.mark.parametrize(
    ("options", "offset", "stride"),
    [({"shard_size": 4}, 0, 1), ({"shard_size": 4, "image_size": 32}, 0, 4)],
    ids=["cut", "resized"],
)
def test_a_kill_before_any_change_on_the_disk_loses_nothing(
    options: dict[str, Any], offset: int, stride: int, tmp_path: Path
) -> None:
    """Killed before a rename, a removal or a new file, whichever it is, the next run ends with the same tree."""
    source = foreign(tmp_path / "source")
    before = tree(source)
    job = {
        "work": "pack",
        "source": str(source),
        "root": str(tmp_path / "new"),
        "options": {"jobs": 1, **options},
        "shard_samples": 12,
        "flush_bytes": 32768,
        "count_file": str(tmp_path / "count"),
        "begin": "",
        "offset": offset,
        "stride": stride,
    }
    answer, said = crashed(job, {**os.environ, "HOME": str(tmp_path), "G3M_LANG": "en"}, 280)
    assert len([name for name in answer["tree"] if name.endswith(".tar")]) == 3
    assert len(answer["crashes"]) >= 10
    for crash in answer["crashes"]:
        words = f"killed before change {crash['step']} of {answer['steps']}: {crash}\n{said}"
        assert "broken" not in crash, words
        assert crash["second"] == 0, words
        assert crash["differs"] == [], words
        assert crash["left"] == [], words
    assert sum(crash["killed"] for crash in answer["crashes"]) >= 0.9 * len(answer["crashes"])
    assert tree(source) == before
