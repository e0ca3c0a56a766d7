"""Killed at any write-type system call, or told there that the disk is full, broken or closed, g3m loses nothing.

A sample of the points is tried; `G3M_CRASH=all` tries all of them (`make crash`).
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
from tests.pictures_host import PicturesHost, pictures_host
from tests.whole.sources import REPOSITORY
from tests.whole.test_kill_drop import same_size_without_one
from tests.whole.test_kill_pack import foreign

import g3m
from g3m.lab.world import World
from g3m.runners.run import get_in, make_session

ALL = os.environ.get("G3M_CRASH") == "all"
LIMIT_S = 7200 if ALL else 280
HIT = 0.8
"""At least so many of the points have to be reached: threads of two runs are not always equally fast."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("world"), samples=24) as world:
        yield world


@pytest.fixture(scope="module")
def host() -> Iterator[PicturesHost]:
    with pictures_host() as host:
        yield host


def tried(
    tmp_path: Path,
    limit: int,
    kinds: tuple[str, ...] = (),
    variables: dict[str, str] | None = None,
    **job: Any,
) -> dict[str, Any]:
    """What the driver saw of a job; where the limit is 0 of all its faults."""
    body = {
        "root": str(tmp_path / "root"),
        "begin": "",
        "shard_samples": 12,
        "flush_bytes": 32768,
        "count_file": str(tmp_path / "count"),
        "log": str(tmp_path / "log"),
        "limit": limit,
        "kinds": kinds,
        "calls": (),
        "variables": variables or {},
        **job,
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.crash.faults_driver"],
        cwd=REPOSITORY,
        env={**os.environ, **(variables or {}), "HOME": str(tmp_path), "G3M_LANG": "en"},
        input=json.dumps(body),
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    answer: dict[str, Any] = json.loads(done.stdout)
    seen, shadowed = answer["seen"], answer["shadowed"]
    print(f"{body['work']}: {answer['points']} calls ({shadowed} more have the number of another thread's),")
    print(f"{len(seen)} of {answer['faults']} faults, {answer['seconds'] / len(seen):.2f} s each")
    assert sum(one["hit"] for one in seen) >= HIT * len(seen), [
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
            "success with another tree": one["after"],
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
    source = tmp_path / "list.txt"
    source.write_text("".join(f"{host.url(f'{mood}/{n}.jpg')}\n" for n, mood in enumerate(moods)))
    options = {"jobs": 1, "url_timeout_s": 20.0}
    survive(tmp_path, 8, work="gather", source=str(source), options=options, task_rows=4, retry_failed=False)


def test_drop_survives_a_fault_at_any_call(world: World, tmp_path: Path) -> None:
    """The same for `g3m drop --rewrite`; and at every state readers see right samples or a refusal."""
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
    survive(
        tmp_path,
        8,
        world.variables,
        temporary=(".tmp",),  # in the folder of a dataset whose shards were written anew already
        work="drop",
        source=str(tmp_path / "keys.txt"),
        expected=str(tmp_path / "expected.json"),
        dropped=dropped,
        begin=str(begin),
        shard_samples=7,
        options={**world.options, "jobs": 1},
    )
