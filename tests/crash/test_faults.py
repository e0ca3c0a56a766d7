"""Killed at any write-type system call, or told there that the disk is full, broken or closed, g3m loses nothing.

A sample of the points is tried; `G3M_CRASH=all` tries all of them (`make crash`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.crash.jobs import ALL, bring_job, driven, drop_job, gather_job
from tests.crash.toy import SHARDS
from tests.pictures_host import PicturesHost
from tests.whole.test_kill_pack import foreign

from g3m.lab.world import World

LIMIT_S = 7200 if ALL else 280
HIT = 0.8
"""So many of the points have to be reached, or one less: threads of two runs are not always equally fast."""


def tried(
    tmp_path: Path,
    limit: int,
    kinds: tuple[str, ...] = (),
    variables: dict[str, str] | None = None,
    **job: Any,
) -> dict[str, Any]:
    """What the driver saw of a job; where the limit is 0 of all its faults."""
    given = {"limit": limit, "kinds": kinds, "calls": (), "variables": variables or {}, **job}
    answer, _ = driven("faults_driver", tmp_path, LIMIT_S, **given)
    seen, shadowed = answer["seen"], answer["shadowed"]
    print(f"{given['work']}: {answer['points']} calls ({shadowed} more have the number of another thread's),")
    print(f"{len(seen)} of {answer['faults']} faults, {answer['seconds'] / len(seen):.2f} s each")
    assert sum(one["hit"] for one in seen) >= HIT * len(seen) - 1, [
        one["fault"] for one in seen if not one["hit"]
    ]
    return answer


@pytest.mark.parametrize(
    ("bug", "kinds", "calls"),
    [
        ("", ("KILL", "ENOSPC", "EIO", "EINTR"), ()),
        ("final name at once", ("KILL",), ()),
        ("journal first", ("KILL",), ()),
        ("goes on after an error", ("ENOSPC",), ("write",)),
        ("believes a second fsync", ("EIO",), ("fsync",)),
    ],
)
def test_the_harness_finds_what_was_hidden_for_it(
    bug: str, kinds: tuple[str, ...], calls: tuple[str, ...], tmp_path: Path
) -> None:
    """A writer with a bug is wrong after some kill or some error; the right one is after none."""
    answer = tried(tmp_path, 0 if ALL else 12, kinds, work="toy", bug=bug, calls=calls)
    wrong = [one["fault"] for one in answer["seen"] if "broken" in one or one["second"] or one["differs"]]
    assert bool(wrong) == bool(bug), wrong
    assert all(one["ended"] for one in answer["seen"])


def test_every_call_is_reached_in_whichever_thread_it_is(tmp_path: Path) -> None:
    """strace counts for each thread: calls of a second one with the numbers of the first are found by their paths."""
    answer = tried(tmp_path, 0, ("KILL",), work="toy", bug="", threads=[2, 4])
    assert [one["fault"] for one in answer["seen"] if not one["hit"]] == []
    named = [one["fault"].rsplit("/", 1)[1] for one in answer["seen"] if " at rename " in one["fault"]]
    assert named == [f"{number}.shard" for number in range(SHARDS)]


def _could_not_go(one: dict[str, Any], name: str) -> bool:
    """Whether a temporary file or a lease stayed because it could not be removed; the next run has to do it."""
    return " at unlink" in one["fault"] and name.endswith((".tmp", "/lock", ".lock"))


def survive(
    tmp_path: Path,
    limit: int,
    variables: dict[str, str] | None = None,
    *,
    temporary: tuple[str, ...] = (),
    **job: Any,
) -> dict[str, Any]:
    """`tried`, and what has to hold for every fault; `temporary` files may be left."""
    answer = tried(tmp_path, 0 if ALL else limit, variables=variables, **job)
    wrong = []
    for one in answer["seen"]:
        said = one["said"]
        problems = {
            "did not end": not one["ended"],
            "gave up at a signal": one["kind"] == "EINTR" and said.get("error"),
            "an error without a name": said.get("trace"),
            "an error that names no file": said.get("error") and str(tmp_path) not in said["message"],
            "something half": one.get("broken") or one["partial"],
            "success with another tree": [name for name in one["after"] if not _could_not_go(one, name)],
            "a reader saw something wrong": one.get("read"),
            "the next run failed": one.get("second"),
            "the next run ended with another tree": [
                name for name in one.get("differs", ()) if not name.endswith(temporary)
            ],
            "litter": [name for name in one["left"] if not name.endswith(temporary)],
        }
        found = {words: what for words, what in problems.items() if what}
        if found:
            wrong.append(f"{one['fault']}: {found}: {said}")
    assert not wrong, "\n".join([f"{len(wrong)} of {len(answer['seen'])}", *wrong[:20]])
    return answer


@pytest.mark.parametrize(("dataset", "limit"), [("cc3m_valid", 8), ("sbu", 12), ("coco_valid", 8)])
def test_get_survives_a_fault_at_any_call(dataset: str, limit: int, world: World, tmp_path: Path) -> None:
    """Killed or refused at one call or from then on, `g3m get` says so by name, and the next run ends right."""
    options = {**world.options, "jobs": 1}
    answer = survive(tmp_path, limit, world.variables, work="get", datasets=[dataset], options=options)
    assert any(one["tars"] for one in answer["seen"])


def test_pack_survives_a_fault_at_any_call(tmp_path: Path) -> None:
    """The same for `g3m pack` of foreign tars."""
    source = foreign(tmp_path / "source")
    survive(tmp_path, 10, work="pack", source=str(source), options={"jobs": 1, "shard_size": 4})


def test_gather_survives_a_fault_at_any_call(host: PicturesHost, tmp_path: Path) -> None:
    """The same for `g3m gather` of a list."""
    moods = ["good"] * 3 + ["missing", "html"] + ["good"] * 2
    survive(tmp_path, 8, **gather_job(host, tmp_path, moods, task_rows=4))


def test_drop_survives_a_fault_at_any_call(world: World, tmp_path: Path) -> None:
    """The same for `g3m drop --rewrite`; and at every state readers see right samples or a refusal."""
    # `.tmp`: in the folder of a dataset whose shards were written anew already.
    survive(tmp_path, 8, world.variables, temporary=(".tmp",), **drop_job(world, tmp_path))


def test_import_survives_a_fault_at_any_call(world: World, tmp_path: Path) -> None:
    """The same for `g3m import` of archives that were fetched by hand."""
    survive(tmp_path, 6, world.variables, temporary=(".whole",), **bring_job(world, tmp_path))
