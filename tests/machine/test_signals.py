"""Signals at any moment: the run ends soon, by the right code, and the next one makes the same bytes.

As Slurm does it: the signal goes to every process of the step, those that decode pictures among them.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from tests.machine.conftest import ALL, Place, check_ends_whole, ended, wait_for
from tests.whole.disk import check_all_whole, tree

from g3m.adapters.guard import Guard
from g3m.lab.drawings import draw
from g3m.lab.mischief import Trickle

WHAT = ("sbu", "coco", "openimages_v7_valid", "--image-size", "16", "--jobs", "2")
"""So that every picture goes through a process of its own."""

BYTES_PER_S = 600_000
LONGEST_S = 1.6
GRACE_S = 30.0
NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


@pytest.fixture(scope="module")
def small(place: Place) -> dict[str, str]:
    """What is made of smaller pictures when nobody disturbs."""
    assert place.get("small", WHAT).returncode == 0
    return tree(place.folder / "small")


def step_of(pid: int) -> list[int]:
    """A process with all that came of it, whatever their sessions."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
    found = [pid]
    for number in found:
        found += [child for child, parent in parents.items() if parent == number]
    return found


def send(process: subprocess.Popen[str], number: int) -> None:
    """Send a signal to every process of the step, the first one last."""
    for one in reversed(step_of(process.pid)):
        try:
            os.kill(one, number)
        except ProcessLookupError:
            continue


def stopped(place: Place, root: Path, moment_s: float, signals: tuple[int, ...]) -> tuple[int, float]:
    """The exit code of a run that gets signals at a moment, and how long it took to end."""
    place.world.origin.mischief("*", Trickle(BYTES_PER_S), times=None)
    with place.start("get", *WHAT, "--yes", "--root", str(root)) as process:
        wait_for(lambda: (root / ".g3m" / "g3m.log").exists() or process.poll() is not None, "the run")
        time.sleep(moment_s)
        for number in signals:
            send(process, number)
        asked_s = time.monotonic()
        try:
            process.wait(timeout=GRACE_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still there {GRACE_S} seconds after the signal") from None
        took_s = time.monotonic() - asked_s
        done = ended(process)
    place.world.origin.be_honest()
    check_all_whole(root)
    return done.returncode, took_s


@pytest.mark.parametrize("seed", range(10 if ALL else 1))
def test_a_signal_at_any_moment_costs_nothing(
    seed: int, place: Place, small: dict[str, str], tmp_path: Path
) -> None:
    """Ten times (three in a sample) at a random moment, to all processes, and the rest makes the same bytes."""
    generator = random.Random(seed)
    took: list[float] = []
    for turn in range(10 if ALL else 3):
        root = tmp_path / str(turn)
        number, moment_s = NUMBERS[(turn + seed) % 3], generator.uniform(0, LONGEST_S)
        code, took_s = stopped(place, root, moment_s, (number,))
        assert code in (0, 128 + number), (number, moment_s)
        took.append(took_s)
        check_ends_whole(place, root, small, WHAT)
    print("seconds from the signal to the end:", *(f"{one:.2f}" for one in sorted(took)))


@pytest.mark.parametrize("seed", range(20 if ALL else 2))
def test_two_signals_at_any_moment_cost_nothing(
    seed: int, place: Place, small: dict[str, str], tmp_path: Path
) -> None:
    """The second one ends the process where it stands, and the rest makes the same bytes."""
    generator = random.Random(seed)
    first, second = generator.choice(NUMBERS), generator.choice(NUMBERS)
    code, took_s = stopped(place, tmp_path / "root", generator.uniform(0, LONGEST_S), (first, second))
    assert code in (0, 128 + first, 128 + second)
    print(f"seconds from the signals to the end: {took_s:.2f}")
    check_ends_whole(place, tmp_path / "root", small, WHAT)


def test_who_decodes_pictures_leaves_signals_to_its_parent() -> None:
    """A picture is not blamed for a signal that every process of a step got."""
    picture, before = draw(0, 0, width=64, height=48).jpeg, set(step_of(os.getpid()))
    with Guard(1) as guard:
        verdict = guard.judge(picture)
        (worker,) = set(step_of(os.getpid())) - before
        for number in (*NUMBERS, signal.SIGHUP):
            os.kill(worker, number)
            assert guard.judge(picture) == verdict
        assert set(step_of(os.getpid())) - before == {worker}
