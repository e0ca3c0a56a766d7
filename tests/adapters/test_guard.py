"""adapters/guard.py and worker.py: whatever a picture does to its decoder, the caller gets an answer."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.adapters.test_image import COLLECTION, GENERATED, UNUSABLE, VALID, decodes

from g3m.adapters import guard as guard_module
from g3m.adapters.guard import Guard, GuardFailure, Limits, worker_command
from g3m.core.errors import G3MError
from g3m.core.structure import look

PLANTED = """
import contextlib, json, os, sys
paths, limits = json.loads(sys.argv[1])
sys.path[:0] = paths
from g3m.adapters import worker

def hang(data, options):
    import signal
    if options.get("deaf"): signal.setitimer(signal.ITIMER_REAL, 0)
    while True: signal.pause()

def spin(data, options):
    while True: pass

def hog(data, options):
    held = []
    while True: held.append(bytearray(2**26))

def babble(data, options):
    print("a word on stdout", flush=True)
    os.write(1, b"and another")
    return {"said": True}, b""

def garbage(data, options):
    for number in range(3, 9):
        with contextlib.suppress(OSError): os.write(number, bytes(options["bytes"]) * 99)
    while True: pass

def about(data, options):
    import resource
    descriptors = sorted(int(name) for name in os.listdir("/proc/self/fd"))
    limits = [resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE)]
    return dict(pid=os.getpid(), session=os.getsid(0), variables=dict(os.environ), folder=os.getcwd(),
        descriptors=descriptors, limits=limits, modules=sorted(sys.modules)), b""

def write(data, options):
    with open(options["path"], "wb", buffering=0) as file:
        file.write(b"x")
    return {}, b""

worker.OPERATIONS |= dict(hang=hang, spin=spin, hog=hog, babble=babble, garbage=garbage, about=about, write=write,
    abort=lambda data, options: os.abort(), leave=lambda data, options: os._exit(7),
    echo=lambda data, options: (options, data), fail=lambda data, options: 1 // 0,
    long=lambda data, options: ({"words": "x" * 2**17}, b""))
worker.main(*limits)
"""

MEMORY = 2**29


def planted(workers: int = 1, **limits: float) -> Guard:
    """A guard whose workers know a few evil operations, too."""
    chosen = Limits(**{"memory_bytes": MEMORY, **limits})  # type: ignore[arg-type]
    return Guard(workers, chosen, command=worker_command(chosen, PLANTED))


def pid_of(guard: Guard) -> int:
    return int(guard.call("about", b"", {}).body["pid"])


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has waited for yet counts."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def wait_until_gone(pid: int, limit_s: float = 20) -> None:
    end_s = time.monotonic() + limit_s
    while not is_gone(pid):
        assert time.monotonic() < end_s, f"{pid} is still there"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def guard() -> Iterator[Guard]:
    """Two ordinary workers."""
    with Guard(2) as guard:
        yield guard


def test_every_odd_picture_has_a_verdict_that_pillow_shares(guard: Guard) -> None:
    """All that is malformed here, through the workers: no crash, no hang, and decoding is judged as Pillow does."""
    pictures = [path.read_bytes() for path in COLLECTION.values()] + list(GENERATED.values())
    names = [*COLLECTION, *GENERATED]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(guard.judge, pictures))
    for name, data, verdict in zip(names, pictures, found, strict=True):
        assert bool(UNUSABLE & set(verdict.classes)) == (not decodes(data)), (name, verdict)
        assert not verdict.detail.startswith(("time", "memory", "crash", "error")), (name, verdict)
        seen = set(look(data).classes) - {"broken", "bomb"}
        assert seen <= set(verdict.classes), name


@pytest.mark.parametrize("kind", ["JPEG", "progressive", "PNG", "WEBP"])
def test_the_largest_picture_passes(guard: Guard, kind: str) -> None:
    """64 million pixels, the most that is no bomb, are decoded within the limits."""
    picture = io.BytesIO()
    image = Image.effect_noise((500, 500), 90).convert("RGB").resize((8000, 8000), Image.Resampling.NEAREST)
    image.save(
        picture, "JPEG" if kind == "progressive" else kind, progressive=kind == "progressive", method=0
    )
    assert not UNUSABLE & set(guard.judge(picture.getvalue()).classes)


def test_a_worker_is_alone() -> None:
    """No variable, no descriptor and no folder of its parent's, a session of its own, and no heavy modules."""
    os.environ["G3M_TEST_SECRET"] = "hunter2"
    held = os.open(os.devnull, os.O_RDONLY)
    os.set_inheritable(held, True)
    try:
        with planted() as guard:
            about = guard.call("about", b"", {}).body
    finally:
        os.close(held)
        del os.environ["G3M_TEST_SECRET"]
    assert "hunter2" not in str(about["variables"])
    assert set(about["variables"]) <= {
        "LD_LIBRARY_PATH",
        "OPENBLAS_NUM_THREADS",
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "LC_CTYPE",
    }
    assert about["folder"] == "/"
    assert about["session"] == about["pid"] != os.getsid(0)
    assert len(about["descriptors"]) <= 7
    assert about["limits"] == [0, 0]
    assert not {"pycurl", "click", "rich", "ssl", "asyncio"} & set(about["modules"])


def test_a_worker_cannot_write_files(tmp_path: Path) -> None:
    """A decoder that is taken over leaves nothing on the disk."""
    with planted() as guard, pytest.raises(G3MError, match="too large"):
        guard.call("write", b"", {"path": str(tmp_path / "x")})
    assert [path.read_bytes() for path in tmp_path.iterdir()] in ([], [b""])


@pytest.mark.parametrize("operation", ["fail", "unheard of"])
def test_a_defect_of_ours_is_no_verdict_on_a_picture(operation: str) -> None:
    """An exception that names no finding stops the run: else a mistake in the code would reject every picture."""
    with planted() as guard, pytest.raises(G3MError, match=operation) as caught:
        guard.call(operation, b"", {})
    assert not isinstance(caught.value, GuardFailure)


@pytest.mark.parametrize(
    ("operation", "options", "limits", "cause"),
    [
        ("hang", {}, {"wall_s": 0.3}, "time"),
        ("hang", {"deaf": True}, {"wall_s": 0.3}, "time"),
        ("hog", {}, {}, "memory"),
        ("abort", {}, {}, "crash"),
        ("leave", {}, {}, "crash"),
        ("garbage", {"bytes": [255]}, {"wall_s": 2}, "crash"),
        ("garbage", {"bytes": [0, 0, 0, 1]}, {"wall_s": 2}, "crash"),
        ("garbage", {"bytes": [0]}, {"wall_s": 2}, "crash"),
        ("long", {}, {}, "crash"),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else None,
)
def test_a_bad_picture_is_a_failure_and_nothing_else(
    operation: str, options: dict[str, object], limits: dict[str, float], cause: str
) -> None:
    """Hung, spinning, hungry, dead or babbling: the failure says why, and the next picture is judged."""
    with planted(**limits) as guard:
        before = pid_of(guard)
        with pytest.raises(GuardFailure) as caught:
            guard.call(operation, b"data", options)
        assert caught.value.cause == cause
        assert caught.value.finding == "broken"
        after = pid_of(guard)
        assert (before == after) == (cause == "error")
        if before != after:
            wait_until_gone(before)


def test_time_is_that_of_the_processor() -> None:
    """A picture that keeps the processor busy is stopped by that, long before the wall clock."""
    with planted(cpu_s=0.2) as guard, pytest.raises(GuardFailure, match="it takes too long"):
        guard.call("spin", b"", {})


def test_what_a_decoder_prints_is_no_answer() -> None:
    """Words on stdout and stderr go nowhere."""
    with planted() as guard:
        assert guard.call("babble", b"", {}).body == {"said": True}
        assert guard.call("echo", b"after", {}).data == b"after"


@pytest.mark.parametrize(
    ("operation", "words"), [("abort", "SIGABRT"), ("leave", "code 7"), ("hog", "memory"), ("hang", "long")]
)
def test_a_failure_becomes_a_verdict(operation: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the worker does not survive is broken; the header's classes stay, and the detail says what happened."""
    with planted(wall_s=0.5) as guard:
        real = Guard.call
        monkeypatch.setattr(
            Guard, "call", lambda self, name, data, options: real(self, operation, data, options)
        )
        found = guard.judge(VALID["cmyk"])
        assert found.classes == ("broken", "cmyk")
        assert words in found.detail
        assert guard.judge(b"<html>").classes == ("not_an_image",)


@pytest.mark.parametrize("size_bytes", [0, 1, 65_536, 3_000_001])
def test_bytes_come_back_as_they_went(size_bytes: int) -> None:
    """Any size goes both ways through the pipes."""
    data = os.urandom(size_bytes)
    with planted() as guard:
        answer = guard.call("echo", data, {"a": [1, None, "é"]})
    assert answer.data == data
    assert answer.body == {"a": [1, None, "é"]}


def test_a_picture_too_large_to_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told before a worker sees it; one that the worker cannot hold is told as well."""
    with planted() as guard:
        with pytest.raises(GuardFailure) as caught:
            guard.call("echo", bytes(2**29 - 2**20), {})
        assert caught.value.cause == "memory"
        monkeypatch.setattr(guard_module, "DATA_LIMIT_BYTES", 99)
        with pytest.raises(GuardFailure, match="100 bytes are too many"):
            guard.call("echo", bytes(100), {})
        assert guard.call("echo", b"x", {}).data == b"x"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_worker_that_dies_between_two_pictures(number: signal.Signals) -> None:
    """The picture that comes next is not blamed: a new worker is asked."""
    with planted(2) as guard, ThreadPoolExecutor(2) as threads:
        pids = set(threads.map(lambda _: pid_of(guard), range(20)))
        for pid in pids:
            os.kill(pid, number)
            wait_until_gone(pid)
        for _ in range(4):
            assert guard.call("echo", b"still here", {}).data == b"still here"
        assert pid_of(guard) not in pids


def test_ctrl_c_does_not_reach_a_worker() -> None:
    """It has a session of its own, and even a SIGINT of its own does nothing to it."""
    with planted() as guard:
        pid = pid_of(guard)
        os.kill(pid, signal.SIGINT)
        assert guard.call("echo", b"x", {}).data == b"x"
        assert pid_of(guard) == pid


def test_many_threads_share_few_workers() -> None:
    """Thirty threads and three workers: everyone gets its own answer, and there are never more processes."""
    with planted(3) as guard:

        def work(number: int) -> int:
            data = bytes([number % 251]) * (1000 * number + 1)
            assert guard.call("echo", data, {"n": number}) == guard_module.Answer({"n": number}, data)
            return pid_of(guard)

        with ThreadPoolExecutor(30) as threads:
            pids = set(threads.map(work, range(300)))
        assert 1 <= len(pids) <= 3


def test_crashes_among_many_threads() -> None:
    """Every third picture kills its worker: the others are answered all the same, and the count stays."""
    with planted(2) as guard:

        def work(number: int) -> str:
            try:
                return (
                    guard.call("echo" if number % 3 else "leave", b"", {"n": number}).body["n"] == number
                    and "ok"
                )
            except GuardFailure as failure:
                return failure.cause

        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(work, range(24)))
        assert found == ["ok" if number % 3 else "crash" for number in range(24)]
        alive = {pid_of(guard) for _ in range(8)}
        assert len(alive) <= 2


def test_a_guard_that_is_closed_leaves_nobody() -> None:
    """Idle workers end at once, busy ones too, and their callers learn it; asking again fails."""
    others, guard = children(), planted(2)
    idle = pid_of(guard)
    failures: list[GuardFailure] = []

    def work() -> None:
        try:
            guard.call("hang", b"", {})
        except GuardFailure as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work) for _ in range(3)]  # the third waits for a place
    for thread in threads:
        thread.start()
    while len(children() - others) < 2:
        time.sleep(0.01)
    workers = children() - others
    guard.close()
    guard.close()
    for thread in threads:
        thread.join(20)
    assert [failure.cause for failure in failures] == ["crash"] * 3
    for pid in {idle, *workers}:
        wait_until_gone(pid)
    with pytest.raises(GuardFailure):
        guard.call("echo", b"", {})


def children() -> set[int]:
    """The processes whose parent is this one."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[1]) == os.getpid() and fields[0] != "Z":
                found.add(int(path.parent.name))
    return found


@pytest.mark.parametrize("operation", ["about", "hang"])
def test_workers_end_with_their_parent(operation: str) -> None:
    """A parent that is killed leaves no worker, idle or at work."""
    code = (
        "import sys, threading, time\n"
        "from tests.adapters.test_guard import planted, pid_of\n"
        "guard = planted(1, wall_s=0.2)\n"
        "print(pid_of(guard), flush=True)\n"
        f"threading.Thread(target=guard.call, args=({operation!r}, b'', dict())).start()\n"
        "time.sleep(0.05)\n"
        "print('asked', flush=True)\n"
        "time.sleep(99)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert parent.stdout.readline() == "asked\n"
        parent.kill()
    wait_until_gone(pid)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ([sys.executable, "-c", "raise SystemExit(9)"], "code 9"),
        ([sys.executable, "-c", "print('Welcome to this cluster')"], "cannot be read"),
        (["/nowhere/python"], "No such file"),
        (worker_command(Limits(), "import sys; sys.modules['simplejpeg'] = None\n" + PLANTED), "simplejpeg"),
    ],
    ids=["ends", "talks", "is not there", "lacks a decoder"],
)
def test_an_installation_that_does_not_work_is_an_error(command: list[str], words: str) -> None:
    """No picture is blamed for a worker that never started: it is told with what to do, each time."""
    with Guard(1, command=command) as guard:
        for _ in range(2):
            with pytest.raises(G3MError, match=words):
                guard.judge(VALID["JPEG"])


@pytest.mark.parametrize("kills", [0, 2, 3])
def test_a_worker_that_is_killed_at_once_is_started_again(
    kills: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it has said a word; if that goes on, it is told as what it is, and no place is lost."""
    real, killed = subprocess.Popen, []

    def started(*words: Any, **options: Any) -> subprocess.Popen[bytes]:
        process = real(*words, **options)
        if len(killed) < kills:
            process.kill()
            killed.append(process.pid)
        return process

    monkeypatch.setattr(guard_module.subprocess, "Popen", started)
    with Guard(1) as guard:
        if kills == guard_module.START_TRIES:
            with pytest.raises(G3MError, match="SIGKILL") as caught:
                guard.judge(VALID["JPEG"])
            assert "memory" in caught.value.hint[0]
        assert guard.judge(VALID["JPEG"]).classes == ()
    assert len(killed) == kills


def test_workers_start_when_they_are_needed() -> None:
    """A guard that is never asked costs nothing."""
    before = children()
    with Guard(4):
        assert children() == before
