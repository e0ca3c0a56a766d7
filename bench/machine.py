"""Describes the machine and runs commands with the system's own accounting of time and memory."""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a command: seconds of wall and processor time, and the largest memory of a process."""

    wall_s: float
    cpu_s: float
    peak_bytes: int


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


def run(command: Sequence[str], **options: object) -> Run:
    """Run a command to its end; raises if it fails."""
    started_s = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **options)  # type: ignore[call-overload]
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - started_s
    errors = process.stderr.read().decode()
    process.stderr.close()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command}: exit {process.returncode}\n{errors}")
    return Run(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


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
