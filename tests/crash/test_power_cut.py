"""When the power goes at any moment, g3m loses nothing: judged from a record of its system calls.

A sample of the states is tried; `G3M_CRASH=all` tries all of them (`make crash`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.crash import toy
from tests.crash.jobs import ALL, bring_job, driven, drop_job, gather_job
from tests.crash.power import lay_down, states
from tests.crash.trace import record
from tests.pictures_host import PicturesHost
from tests.whole.sources import REPOSITORY
from tests.whole.test_kill_pack import foreign

from g3m.lab.world import World

LIMIT_S = 3600 if ALL else 280


@pytest.fixture
def tables_world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path / "world", samples=24, sbu_form=8) as world:
        yield world


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
    given = {"share": 1.0 if ALL else share, "seed": 7, "variables": variables, **job}
    answer, said = driven("power_driver", tmp_path, LIMIT_S, **given)
    print(f"{given['work']}: {answer['changes']} changes, {len(answer['states'])} states")
    assert len(answer["states"]) >= 10
    for state in answer["states"]:
        words = f"{state}\n{said[-2000:]}"
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
    survive(tmp_path, {}, 0.01, **gather_job(host, tmp_path, moods, task_rows=5))


def test_a_power_cut_during_drop_loses_nothing(world: World, tmp_path: Path) -> None:
    """`g3m drop --rewrite`: at every state readers see right samples or a refusal, and the same line ends it."""
    # `.tmp`: in the folder of a dataset whose shards were written anew already.
    answer = survive(tmp_path, world.variables, 0.02, temporary=(".tmp",), **drop_job(world, tmp_path))
    assert all(state["read"] == 0 for state in answer["states"])


def test_a_power_cut_during_import_loses_nothing(world: World, tmp_path: Path) -> None:
    """`g3m import`: what has its name is whole, and the same line takes the rest in."""
    survive(tmp_path, world.variables, 0.04, temporary=(".whole",), **bring_job(world, tmp_path))


def test_a_power_cut_during_index_loses_nothing(tmp_path: Path) -> None:
    """`g3m index` of foreign tars: there is no index, or a right one, and nothing else in the folder in the end."""
    begin = foreign(tmp_path / "source")
    survive(tmp_path, {}, 0.2, work="index", begin=str(begin), options={})
