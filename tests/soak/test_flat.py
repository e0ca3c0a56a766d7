"""Does the rule of the soak call a leak a leak, and nothing else? Drawn series, and a process that leaks on purpose."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
from tests.running import running
from tests.soak.flat import LEAST_SAMPLES, MIB, SLACKS, Slack, judge, judge_all
from tests.soak.watch import Watcher, processes, sample

REPOSITORY = Path(__file__).parents[2]
SAMPLES = 720
"""An hour, one every five seconds."""

MEMORY, DESCRIPTORS = SLACKS["rss_bytes"], SLACKS["descriptors"]


def noisy(seed: int, level: float, noise: float, rise: float = 0.0) -> list[float]:
    """An hour around a level, with one moment in twenty far above it, and a rise over the whole of it."""
    drawn = random.Random(seed)
    return [
        level
        + rise * number / SAMPLES
        + drawn.uniform(-noise, noise)
        + (20 * noise if drawn.random() < 0.05 else 0.0)
        for number in range(SAMPLES)
    ]


@pytest.mark.parametrize("seed", range(20))
def test_noise_and_high_moments_are_no_leak(seed: int) -> None:
    """Memory that goes up and down by 3 MiB, and descriptors by 5, are flat."""
    assert judge("rss", noisy(seed, 80 * MIB, 3 * MIB), MEMORY).flat
    assert judge("descriptors", noisy(seed, 20, 5), DESCRIPTORS).flat


@pytest.mark.parametrize("seed", range(20))
def test_a_slow_leak_under_noise_is_one(seed: int) -> None:
    """24 MiB an hour, or eight descriptors, rise."""
    assert not judge("rss", noisy(seed, 80 * MIB, 3 * MIB, rise=24 * MIB), MEMORY).flat
    assert not judge("descriptors", noisy(seed, 20, 1, rise=8), DESCRIPTORS).flat


def test_warming_up_is_no_leak() -> None:
    """What is taken within the first quarter and kept is not held against a process."""
    series = [min(number, SAMPLES // 4) * float(MIB) for number in range(SAMPLES)]
    assert judge("rss", series, MEMORY).flat


def test_a_leak_that_begins_late_or_in_steps_is_one() -> None:
    """A jump in the last third stays in the last quarter's median; so do steps."""
    late = [20.0] * (SAMPLES * 2 // 3) + [30.0] * (SAMPLES // 3)
    assert not judge("descriptors", late, DESCRIPTORS).flat
    assert not judge("descriptors", [20.0 + number // 90 for number in range(SAMPLES)], DESCRIPTORS).flat


def test_what_falls_is_flat_and_a_short_series_says_nothing() -> None:
    """Fewer than sixteen samples are an error, never a verdict; one zombie that stays is a rise."""
    assert judge("rss", [100.0] * 8 + [1.0] * 8, Slack(0)).flat
    assert not judge("zombies", [0.0] * 12 + [1.0] * 4, SLACKS["zombies"]).flat
    with pytest.raises(ValueError, match="too few"):
        judge("rss", [1.0] * (LEAST_SAMPLES - 1), MEMORY)


@pytest.mark.parametrize("what", ["nothing", "descriptors", "memory", "threads", "zombies"])
def test_a_process_that_leaks_is_caught(what: str, tmp_path: Path) -> None:
    """A real process keeps one more of something for each request: the rule names exactly that."""
    command = [sys.executable, "-m", "tests.soak.leaky", what]
    taken = []
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        for number in range(40):
            process.stdin.write(f"{number}\n")
            process.stdin.flush()
            assert process.stdout.readline() == f"{number}\n"
            one = sample(process.pid, processes())
            assert one is not None
            taken.append(one[0])
        process.stdin.close()
        assert process.wait(60) == 0
    rising = {verdict.name for verdict in judge_all(taken) if not verdict.flat}
    expected = {"nothing": set(), "memory": {"rss_bytes"}, "zombies": {"zombies", "children"}}
    assert rising == expected.get(what, {what})


def test_a_child_that_stays_is_found_again(tmp_path: Path) -> None:
    """The watcher knows children it has seen by number and start, also when their parent is gone; a reused name begins anew."""
    begin = "import subprocess, sys, time; c = subprocess.Popen(['sleep', '600'], stdout=subprocess.DEVNULL); print(c.pid, flush=True); time.sleep(600)"
    with running([sys.executable, "-c", begin], {}, tmp_path) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        watcher = Watcher(every_s=600)
        watcher.watch("one", process.pid)
        watcher.take()
        watcher.watch("one", process.pid)
        watcher.take()
        watcher.take()
        assert [len(series) for series in watcher.series.values()] == [1, 2]
        assert watcher.longest("one")[0]["children"] == 1
        process.kill()
        process.wait(60)
        assert watcher.alive() == [child]
        subprocess.run(["kill", "-9", str(child)], check=True)
