"""When the power goes at any moment, g3m loses nothing: judged from a record of its system calls.

A sample of the states is tried; `G3M_CRASH=all` tries all of them (`make crash`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.crash import toy
from tests.crash.power import lay_down, states
from tests.crash.trace import record
from tests.pictures_host import PicturesHost, pictures_host
from tests.whole.sources import REPOSITORY
from tests.whole.test_kill_drop import same_size_without_one
from tests.whole.test_kill_pack import foreign

import g3m
from g3m.lab.world import World
from g3m.runners.run import get_in, make_session

ALL = os.environ.get("G3M_CRASH") == "all"
LIMIT_S = 3600 if ALL else 280


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("world"), samples=24) as world:
        yield world


@pytest.fixture
def tables_world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path / "world", samples=24, sbu_form=8) as world:
        yield world


@pytest.fixture(scope="module")
def host() -> Iterator[PicturesHost]:
    with pictures_host() as host:
        yield host


@pytest.mark.parametrize("bug", toy.BUGS)
def test_the_harness_finds_what_was_hidden_for_it(bug: str, tmp_path: Path) -> None:
    """A writer with a missing fsync, or with a final name too early, loses data in some state; the right one in none."""
    root = tmp_path / "root"
    root.mkdir()
    command = [sys.executable, "-m", "tests.crash.toy", str(root), bug]
    variables = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    trace = record(command, root, tmp_path / "log", "", variables)
    seen = broken = 0
    for _, disk in states(trace, {}):
        state = tmp_path / "state"
        lay_down(disk, trace.root, state)
        half = any(path.read_bytes() != toy.content(int(path.stem)) for path in state.glob("*.shard"))
        toy.run(state)
        seen += 1
        broken += half or toy.is_broken(state)
    assert seen > 30
    assert bool(broken) == bool(bug), f"{broken} of {seen}"


def survive(
    tmp_path: Path, variables: dict[str, str], share: float, *, temporary: tuple[str, ...] = (), **job: Any
) -> dict[str, Any]:
    """What the driver saw of a job, after the checks that hold for all; `temporary` files may be left."""
    body = {
        "root": str(tmp_path / "root"),
        "begin": "",
        "shard_samples": 12,
        "flush_bytes": 32768,
        "count_file": str(tmp_path / "count"),
        "log": str(tmp_path / "log"),
        "share": 1.0 if ALL else share,
        "seed": 7,
        "variables": variables,
        **job,
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.crash.power_driver"],
        cwd=REPOSITORY,
        env={**os.environ, **variables, "HOME": str(tmp_path), "G3M_LANG": "en"},
        input=json.dumps(body),
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    answer: dict[str, Any] = json.loads(done.stdout)
    print(f"{body['work']}: {answer['changes']} changes, {len(answer['states'])} states")
    assert len(answer["states"]) >= 10
    for state in answer["states"]:
        words = f"{state}\n{done.stderr[-2000:]}"
        assert "broken" not in state, words
        assert state["second"] == 0, words
        assert [name for name, _ in state["differs"] if not name.endswith(temporary)] == [], words
        assert [name for name in state["left"] if not name.endswith(temporary)] == [], words
    return answer


@pytest.mark.parametrize("dataset", ["cc3m_valid", "sbu", "coco_valid", "openimages_v7_valid"])
def test_a_power_cut_during_get_loses_nothing(dataset: str, world: World, tmp_path: Path) -> None:
    """Whatever of the unsynced is on the disk: no tar is half, and the next run ends with the same tree."""
    options = {**world.options, "jobs": 1}
    answer = survive(tmp_path, world.variables, 0.02, work="get", datasets=[dataset], options=options)
    assert any(state["tars"] for state in answer["states"])


def test_a_power_cut_while_a_parquet_table_is_read_loses_nothing(tables_world: World, tmp_path: Path) -> None:
    """The pictures of a table, put into a file of their own before they are packed, are on the disk when they count."""
    options = {**tables_world.options, "jobs": 1}
    survive(tmp_path, tables_world.variables, 0.03, work="get", datasets=["sbu"], options=options)


def test_a_power_cut_during_pack_loses_nothing(tmp_path: Path) -> None:
    """`g3m pack` of foreign tars, cut off at any moment, ends with the same tree when it is called again."""
    source = foreign(tmp_path / "source")
    survive(tmp_path, {}, 0.02, work="pack", source=str(source), options={"jobs": 1, "shard_size": 4})


def test_a_power_cut_during_gather_loses_nothing(host: PicturesHost, tmp_path: Path) -> None:
    """`g3m gather` of a list, cut off at any moment, ends with the same tree when it is called again."""
    moods = ["good"] * 5 + ["missing", "html", "cut"] + ["good"] * 4
    source = tmp_path / "list.txt"
    source.write_text("".join(f"{host.url(f'{mood}/{n}.jpg')}\n" for n, mood in enumerate(moods)))
    options = {"jobs": 1, "url_timeout_s": 20.0}
    survive(
        tmp_path,
        {},
        0.01,
        work="gather",
        source=str(source),
        options=options,
        task_rows=5,
        retry_failed=False,
    )


def test_a_power_cut_during_drop_loses_nothing(world: World, tmp_path: Path) -> None:
    """`g3m drop --rewrite`: at every state readers see right samples or a refusal, and the same line ends it."""
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
    answer = survive(
        tmp_path,
        world.variables,
        0.02,
        temporary=(".tmp",),  # in the folder of a dataset whose shards were written anew already
        work="drop",
        source=str(tmp_path / "keys.txt"),
        expected=str(tmp_path / "expected.json"),
        dropped=dropped,
        begin=str(begin),
        shard_samples=7,
        options={**world.options, "jobs": 1},
    )
    assert all(state["read"] == 0 for state in answer["states"])
