"""Describes the machine and runs commands with the system's own accounting of time, memory and bytes."""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a command: seconds of wall and processor time, and the largest memory of a process.

    `read_bytes` and `written_bytes` are what its processes asked the system for, whether from the disk or
    from memory (-1 where the system does not count). `disk_bytes` and `files` are the most that stood below
    the watched folder beyond what stood there before.
    """

    wall_s: float
    cpu_s: float
    peak_bytes: int
    read_bytes: int = -1
    written_bytes: int = -1
    disk_bytes: int = 0
    files: int = 0


def describe(root: Path) -> str:
    """Processor, cores, memory, file system and Python, in one line."""
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    found = subprocess.run(["stat", "-f", "-c", "%T", str(root)], capture_output=True, text=True, check=False)
    return (
        f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, {found.stdout.strip()}, "
        f"Linux {platform.release()}, Python {platform.python_version()}"
    )


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def run(command: Sequence[str], *, watch: Path | None = None, **options: object) -> Run:
    """Run a command to its end; raises if it fails. `watch` is a folder whose size is followed meanwhile."""
    watcher = None if watch is None else _Watcher(watch)
    started_s = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **options)  # type: ignore[call-overload]
    errors = process.stderr.read().decode()
    process.stderr.close()
    # Its counters are read before it is taken away; they include those of the processes it waited for.
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    wall_s = time.perf_counter() - started_s
    counted = dict(line.split(": ") for line in _lines(f"/proc/{process.pid}/io"))
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    disk_bytes, files = watcher.stop() if watcher else (0, 0)
    if process.returncode:
        raise RuntimeError(f"{command}: exit {process.returncode}\n{errors}")
    return Run(
        wall_s,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss * 1024,
        int(counted.get("rchar", -1)),
        int(counted.get("wchar", -1)),
        disk_bytes,
        files,
    )


class _Watcher:
    """Follows the size of a folder; a look may cost a twentieth of the time at most."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._before = _size(folder)
        self._most = self._before
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()

    def stop(self) -> tuple[int, int]:
        self._done.set()
        self._thread.join()
        self._look()
        return self._most[0] - self._before[0], self._most[1] - self._before[1]

    def _look(self) -> float:
        started_s = time.perf_counter()
        found = _size(self._folder)
        self._most = (max(self._most[0], found[0]), max(self._most[1], found[1]))
        return time.perf_counter() - started_s

    def _follow(self) -> None:
        pause_s = 0.05
        while not self._done.wait(pause_s):
            pause_s = max(0.05, 20 * self._look())


def _size(folder: Path) -> tuple[int, int]:
    """Bytes of disk and number of files and folders below a folder."""
    size_bytes = files = 0
    folders = [str(folder)]
    while folders:
        try:
            with os.scandir(folders.pop()) as found:
                for entry in found:
                    files += 1
                    size_bytes += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
        except OSError:
            continue
    return size_bytes, files


def repeat(times: int, prepare: Callable[[], None], command: Sequence[str], **options: object) -> list[Run]:
    """Several runs, each after a preparation that is not counted."""
    runs = []
    for _ in range(times):
        prepare()
        runs.append(run(command, **options))
    return runs


def middle(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)


def empty(path: Path) -> None:
    """Delete a folder of the benchmark's own and make it again."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
