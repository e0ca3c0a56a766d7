"""The jobs that both drivers are given, and how one is run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.pictures_host import PicturesHost
from tests.whole.sources import REPOSITORY
from tests.whole.test_kill_drop import same_size_without_one

import g3m
from g3m.lab.world import World
from g3m.runners.run import get_in, make_session

ALL = os.environ.get("G3M_CRASH") == "all"


def driven(driver: str, tmp_path: Path, limit_s: float, **job: Any) -> tuple[dict[str, Any], str]:
    """What a driver (a module of this folder) answers to a job, and what it wrote to its stderr."""
    body = {
        "root": str(tmp_path / "root"),
        "begin": "",
        "shard_samples": 12,
        "flush_bytes": 32768,
        "count_file": str(tmp_path / "count"),
        "log": str(tmp_path / "log"),
        **job,
    }
    done = subprocess.run(
        [sys.executable, "-m", f"tests.crash.{driver}"],
        cwd=REPOSITORY,
        env={**os.environ, **body["variables"], "HOME": str(tmp_path), "G3M_LANG": "en"},
        input=json.dumps(body),
        capture_output=True,
        text=True,
        check=False,
        timeout=limit_s,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer, done.stderr


def gather_job(host: PicturesHost, tmp_path: Path, moods: Sequence[str], task_rows: int) -> Mapping[str, Any]:
    """`g3m gather` of a list of pictures."""
    source = tmp_path / "list.txt"
    source.write_text("".join(f"{host.url(f'{mood}/{n}.jpg')}\n" for n, mood in enumerate(moods)))
    return {
        "work": "gather",
        "source": str(source),
        "options": {"jobs": 1, "url_timeout_s": 20.0},
        "task_rows": task_rows,
        "retry_failed": False,
    }


def drop_job(world: World, tmp_path: Path) -> Mapping[str, Any]:
    """`g3m drop --rewrite` of samples in an adopted and in a packed dataset, which lie there already."""
    begin = tmp_path / "begin"
    options = {**world.options, "root": str(begin)}
    get_in(["cc3m_valid"], make_session(options, world.variables), [])
    g3m.pack("cc3m_valid", to=begin / "small", root=begin, image_size=16, shard_size=7)
    dropped = same_size_without_one(begin / "small")
    expected: dict[str, dict[str, Any]] = {}
    for folder in (begin / "small", begin / "cc3m" / "cc3m_valid"):
        with g3m.dataset(folder) as data:
            samples = {one.key: [zlib.crc32(one.image), one.text] for one in data}
        expected[str(folder.relative_to(begin))] = samples
    (tmp_path / "expected.json").write_text(json.dumps(expected))
    (tmp_path / "keys.txt").write_text("\n".join(dropped))
    return {
        "work": "drop",
        "source": str(tmp_path / "keys.txt"),
        "expected": str(tmp_path / "expected.json"),
        "dropped": dropped,
        "begin": str(begin),
        "shard_samples": 7,
        "options": {**world.options, "jobs": 1},
    }


def bring_job(world: World, tmp_path: Path) -> Mapping[str, Any]:
    """`g3m import` of the archives of a dataset, which lie in a folder under other names."""
    kept, by_hand = tmp_path / "kept", tmp_path / "by-hand"
    options = {**world.options, "jobs": 1, "keep_assets": True}
    get_in(["coco_valid"], make_session({**options, "root": str(kept)}, world.variables), [])
    by_hand.mkdir()
    for number, path in enumerate(sorted((kept / ".g3m" / "parts").glob("*.whole"))):
        shutil.copy(path, by_hand / str(number))
    return {"work": "bring", "source": str(by_hand), "datasets": ["coco_valid"], "options": options}
