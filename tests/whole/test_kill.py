"""Killed at any moment, g3m loses nothing: no half shard is ever to be seen, and the end is the same bytes."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.whole.crashes import crashed
from tests.whole.disk import check_all_whole, flip, litter, tree

from g3m.adapters.parts import claimed_bytes
from g3m.lab.mischief import Trickle
from g3m.lab.world import World

SHARD_SAMPLES = 6
FLUSH_BYTES = 32 * 1024
LAUNCH = f"""
import runpy
import g3m.adapters.parts, g3m.core.samples
g3m.core.samples.SHARD_SAMPLES = {SHARD_SAMPLES}
g3m.adapters.parts.LEAST_FLUSH_BYTES = g3m.adapters.parts.MOST_FLUSH_BYTES = {FLUSH_BYTES}
g3m.adapters.parts.LEAST_FLUSH_S = 0.0
runpy.run_module("g3m", run_name="__main__", alter_sys=True)
"""
"""`python -m g3m` with small shards and a journal that writes often, so that little data has many moments."""

BYTES_PER_S = 4_000_000
KILLS_EACH = 10
STOP_LIMIT_S = 20.0
"""That it is two seconds on a machine that does not stall is proved in tests/ui/test_watch.py."""


@dataclass(frozen=True)
class Place:
    """A user's working folder with a g3m.toml that leads to the drawn world."""

    folder: Path
    variables: dict[str, str]
    world: World

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", LAUNCH, *arguments],
            cwd=self.folder,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        with self.start(*arguments) as process:
            try:
                out, error = process.communicate(timeout=60)
            finally:
                process.kill()
        return subprocess.CompletedProcess(arguments, process.returncode, out, error)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A world whose line is slow, and a user beside it."""
    folder = tmp_path_factory.mktemp("kill")
    with World(folder / "world", samples=24) as world:
        (folder / "g3m.toml").write_text(world.config(), encoding="utf-8")
        own = {"HOME": str(folder), "G3M_LANG": "en", "XDG_CONFIG_HOME": str(folder)}
        yield Place(folder, {**os.environ, **world.variables, **own}, world)


@pytest.fixture(autouse=True)
def honest(place: Place) -> Iterator[None]:
    """Each test begins with an honest and fast origin."""
    place.world.origin.be_honest()
    place.world.origin.forget_requests()
    yield
    place.world.origin.be_honest()


@pytest.fixture(scope="module")
def undisturbed(place: Place) -> dict[str, str]:
    """What a run leaves that nobody disturbs."""
    done = place.run("get", "all", "--yes", "--root", "undisturbed")
    assert done.returncode == 0, done.stderr
    assert check_all_whole(place.folder / "undisturbed") > 15
    return tree(place.folder / "undisturbed")


@pytest.mark.parametrize("seed", range(5))
def test_fifty_kills_at_random_moments_lose_nothing(
    seed: int, place: Place, undisturbed: dict[str, str]
) -> None:
    """After each of ten SIGKILLs no tar is partial; whatever kills came before, a last run gives the same tree."""
    place.world.origin.mischief("*", Trickle(BYTES_PER_S), times=None)
    generator = random.Random(seed)
    root = place.folder / f"seed-{seed}"
    killed = 0
    history: list[str] = []
    while killed < KILLS_EACH:
        shutil.rmtree(root, ignore_errors=True)
        while True:
            moment_s = generator.uniform(0.1, 1.0)
            with place.start("get", "all", "--yes", "--root", root.name) as process:
                try:
                    process.wait(timeout=moment_s)
                    history.append("finished")
                except subprocess.TimeoutExpired:
                    process.kill()
                    killed += 1
                    history.append(f"killed after {moment_s:.3f} s")
                process.communicate(timeout=10)
            words = f"seed {seed}: {', '.join(history)}"
            assert process.returncode in (0, -signal.SIGKILL), words
            _assert_whole(root, words)
            if process.returncode == 0 or generator.random() < 0.35 or killed >= KILLS_EACH:
                break
        done = place.run("get", "all", "--yes", "--root", root.name)
        history.append("ran to the end")
        assert done.returncode == 0, f"{words}\n{done.stderr}"
        assert tree(root) == undisturbed, words
        assert litter(root) == [], words


def _assert_whole(root: Path, words: str) -> None:
    try:
        check_all_whole(root)
    except AssertionError as error:
        raise AssertionError(f"{words}: {error}") from None


def _crash_everywhere(place: Place, *, temporary: tuple[str, ...] = (), **job: Any) -> dict[str, Any]:
    """The answer of crash_driver.py for a job, after the checks that hold for all; `temporary` may be left."""
    body = {
        "options": {**place.world.options, "jobs": 1},
        "variables": place.world.variables,
        "shard_samples": 12,
        "flush_bytes": FLUSH_BYTES,
        "count_file": str(place.folder / "count"),
        "begin": "",
        "offset": 0,
        "stride": 1,
        **job,
    }
    answer, said = crashed(body, place.variables, 280)
    for crash in answer["crashes"]:
        words = f"killed before change {crash['step']} of {answer['steps']}: {crash}\n{said}"
        assert "broken" not in crash, words
        assert crash["second"] == 0, words
        assert [name for name, _ in crash["differs"] if not name.endswith(temporary)] == [], words
    assert sum(crash["killed"] for crash in answer["crashes"]) >= 0.9 * len(answer["crashes"])
    return answer


@pytest.mark.parametrize(
    ("dataset", "offset", "stride"),
    [("sbu", 0, 1), ("cc3m_valid", 0, 1), ("coco_valid", 0, 3), ("openimages_v7_valid", 1, 3)],
)
def test_a_kill_before_any_change_on_the_disk_loses_nothing(
    dataset: str, offset: int, stride: int, place: Place
) -> None:
    """Killed before a rename, removal or new file, whichever it is, the next run ends with the same tree."""
    root = str(place.folder / f"each-{dataset}")
    answer = _crash_everywhere(place, work="get", datasets=[dataset], root=root, offset=offset, stride=stride)
    assert answer["steps"] > 25
    left = {crash["step"]: crash["left"] for crash in answer["crashes"] if crash["left"]}
    assert left == {}, "files that no later run deletes"


def test_a_kill_during_a_repair_loses_nothing(place: Place, tmp_path: Path) -> None:
    """Killed before any fifth change of `verify --repair`, the same command again ends with whole shards."""
    begin = tmp_path / "begin"
    done = place.run("get", "coco_valid", "cc3m_valid", "--yes", "--root", str(begin))
    assert done.returncode == 0, done.stderr
    expected = tree(begin)
    for shard in ("coco/coco_valid/00001.tar", "cc3m/cc3m_valid/cc3m-validation-0000.tar"):
        flip(begin / shard, 3000)
    # A dataset that was whole again when the kill came is not run again, so nobody sweeps its folder yet.
    answer = _crash_everywhere(
        place,
        temporary=(".tmp",),
        work="repair",
        shard_samples=SHARD_SAMPLES,
        begin=str(begin),
        root=str(tmp_path / "root"),
        stride=5,
    )
    assert answer["tree"] == expected


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_a_run_and_says_how_to_continue(
    number: signal.Signals, code: int, place: Place, undisturbed: dict[str, str]
) -> None:
    """Ctrl-C and SIGTERM in a download keep its bytes, show the command again, and that command ends the work."""
    origin = place.world.origin
    origin.mischief("*/val2017.zip", Trickle(100_000), times=None)
    arguments = ("get", "coco_valid", "cc3m_valid", "--yes", "--root", f"stopped-{code}")
    root = place.folder / f"stopped-{code}"
    with place.start(*arguments) as process:
        _wait_for(
            lambda: any(r.path.endswith("/val2017.zip") and r.sent_bytes > 50_000 for r in origin.requests)
        )
        asked_s = time.monotonic()
        process.send_signal(number)
        try:
            _, error = process.communicate(timeout=60)
        finally:
            process.kill()
        assert time.monotonic() - asked_s < STOP_LIMIT_S
    assert process.returncode == code, error
    assert f"g3m get coco_valid cc3m_valid --yes --root stopped-{code}" in error
    assert "Traceback" not in error
    assert check_all_whole(root) <= 5
    (part,) = root.rglob("*val2017.zip.part")
    kept = claimed_bytes(part)
    assert kept > 32_000
    origin.be_honest()
    origin.forget_requests()
    done = place.run(*arguments)
    assert done.returncode == 0, done.stderr
    asked = [request for request in origin.requests if request.path.endswith("/val2017.zip")]
    assert asked
    assert all(request.status == 206 for request in asked)
    whole = place.world.sources.coco.valid.stat().st_size
    assert sum(request.sent_bytes for request in asked) <= whole - kept // 2
    assert tree(root) == {name: digest for name, digest in undisturbed.items() if name in tree(root)}
    assert litter(root) == []


def test_two_signals_end_the_process_at_once(place: Place) -> None:
    """A second Ctrl-C does not wait for anything, and the bytes claimed before are continued all the same."""
    origin = place.world.origin
    origin.mischief("*/val2017.zip", Trickle(50_000), times=None)
    arguments = ("get", "coco_valid", "--yes", "--root", "twice")
    with place.start(*arguments) as process:
        _wait_for(lambda: any(request.path.endswith("/val2017.zip") for request in origin.requests))
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        asked_s = time.monotonic()
        process.communicate(timeout=10)
        assert time.monotonic() - asked_s < STOP_LIMIT_S
    assert process.returncode == 130
    origin.be_honest()
    assert place.run(*arguments).returncode == 0
    assert check_all_whole(place.folder / "twice") == 5


def _wait_for(happened: Callable[[], bool], limit_s: float = 20.0) -> None:
    end_s = time.monotonic() + limit_s
    while not happened():
        assert time.monotonic() < end_s, "it did not happen"
        time.sleep(0.01)
