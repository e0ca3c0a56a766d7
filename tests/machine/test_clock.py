"""A clock that is ten years wrong, or jumps while g3m runs: nothing waits for it and nothing is thrown away for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.machine.conftest import Place, check_ends_whole, ended, wait_for
from tests.whole.disk import tree

from g3m.adapters.cache import BlockCache
from g3m.adapters.disk import Lease
from g3m.core.errors import Locked
from g3m.lab.mischief import Trickle

TEN_YEARS_S = 10 * 365.25 * 86400
ARCHIVE = "/val2017.zip"
CLOCKS = ("in_ten_years", "ten_years_ago", "jumping")


@pytest.mark.parametrize(("first", "then"), [(CLOCKS[0], CLOCKS[1]), (CLOCKS[1], CLOCKS[2]), (CLOCKS[2], "")])
def test_a_clock_changes_no_byte(
    first: str, then: str, place: Place, undisturbed: Path, tmp_path: Path
) -> None:
    """Stopped under one clock and continued under another, with retries in between: the bytes of a right clock."""
    origin, root = place.world.origin, tmp_path / "root"
    origin.mischief("*/val2017.zip", Trickle(100_000), times=None)
    with place.start("get", "coco_valid", "--yes", "--root", str(root), conditions=first) as process:
        wait_for(lambda: any(r.path.endswith(ARCHIVE) and r.sent_bytes > 50_000 for r in origin.requests), "")
        process.send_signal(signal.SIGTERM)
        assert ended(process).returncode == 143
    origin.be_honest()
    origin.forget_requests()
    done = place.get(root, conditions=then)
    assert done.returncode == 0, done.stderr
    assert all(r.status == 206 for r in origin.requests if r.path.endswith(ARCHIVE))
    check_ends_whole(place, root, tree(undisturbed))


def test_the_time_that_a_run_may_take_is_none_of_the_clocks(place: Place, tmp_path: Path) -> None:
    """--max-time ends a run after its seconds, with its own code, while the clock jumps by decades."""
    place.world.origin.mischief("*.zip", Trickle(5_000), times=None)
    started_s = time.monotonic()
    done = place.get(tmp_path / "root", ("coco_valid", "--max-time", "1s"), conditions="jumping")
    assert done.returncode == 10, done.stderr
    assert time.monotonic() - started_s >= 1


def _lock(path: Path, host: str, pid: int, beaten_s: float) -> Lease:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"host": host, "pid": pid, "token": "of another"}) + "\n")
    os.utime(path, (beaten_s, beaten_s))
    return Lease(path)


def test_a_heartbeat_in_the_future_locks_nothing(tmp_path: Path) -> None:
    """What a clock that was ahead has left is replaced at once; a small difference of clocks is none."""
    path = tmp_path / ".g3m" / "lock"
    lease = _lock(path, "elsewhere", os.getpid(), time.time() + TEN_YEARS_S)
    assert lease.holder() is None
    lease.take()
    lease.release()
    assert not path.exists()
    for difference_s in (-60, 60):
        with pytest.raises(Locked):
            _lock(path, "elsewhere", os.getpid(), time.time() + difference_s).take()


def test_a_lease_that_cannot_be_removed_is_given_back_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next who takes it in the same process waits for nothing."""
    lease = Lease(tmp_path / "lock")
    lease.take()
    with monkeypatch.context() as patched:
        patched.setattr("g3m.adapters.fsio.unlink", lambda path: os.unlink(f"{path}/none"))
        lease.release()
    assert (tmp_path / "lock").exists()
    Lease(tmp_path / "lock").take()


def test_what_was_left_of_a_killed_taking_is_swept(tmp_path: Path) -> None:
    """The temporary file of a process that is gone goes with the next taking; that of a living one stays."""
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as here:
        dead, alive = (
            tmp_path / f"..dropped.jsonl.lock.{pid}.0123abcd.tmp" for pid in (int(gone.stdout), here.pid)
        )
        for path in (dead, alive):
            path.touch()
        lease = Lease(tmp_path / ".dropped.jsonl.lock")
        lease.take()
        lease.release()
        assert [path.name for path in tmp_path.iterdir()] == [alive.name]
        here.communicate(b"\n")


@pytest.mark.parametrize("shift_s", [TEN_YEARS_S, -TEN_YEARS_S])
def test_a_cache_of_another_time_serves_and_keeps_its_limit(shift_s: float, tmp_path: Path) -> None:
    """Blocks that a wrong clock has dated are read, and go when room is needed."""
    cache = BlockCache(tmp_path, 2**20)
    names = [f"{number:064x}" for number in range(40)]
    for name in names:
        cache.put(name, bytes(65536))
        for path in tmp_path.rglob(name):
            os.utime(path, (time.time() + shift_s,) * 2)
    assert cache.size_bytes() <= 2**20
    assert cache.get(names[-1], 65536, 0, 65536) == bytes(65536)
