"""The programs of bench/gather.py: how each is called, and what one run of it takes."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from machine import empty

SIDE = 512
LIMIT_S = 900.0


@dataclass(slots=True)
class Took:
    """One run of a program; `code` is None where it had to be killed."""

    code: int | None
    wall_s: float
    cpu_s: float
    peak_bytes: int


def img2dataset(
    case: str, listed: Path, out: Path, options: argparse.Namespace, work: tuple[int, int]
) -> list[str]:
    """Its command line; `work` is the number of processes and of threads in each."""
    words = [options.peer, "-c", "from img2dataset.main import main; main()"]
    flags = {
        "url_list": listed,
        "input_format": "parquet",
        "url_col": "url",
        "caption_col": "caption",
        "output_format": "webdataset",
        "output_folder": out,
        "processes_count": work[0],
        "thread_count": work[1],
        "number_sample_per_shard": options.rows,
        "image_size": SIDE,
        "encode_quality": 95,
    }
    if case == "keep":
        flags |= {"resize_mode": "no", "disable_all_reencoding": True}
    elif case == "checked":
        flags |= {"resize_mode": "no", "skip_reencode": True}
    else:
        flags |= {"resize_mode": "keep_ratio", "resize_only_if_bigger": True}
    return [*words, *(f"--{name}={value}" for name, value in flags.items())]


def g3m(case: str, listed: Path, out: Path, options: argparse.Namespace, *extra: str) -> list[str]:
    """The installed command; loopback has one host, so the limit of a host is lifted as far as it goes."""
    flags = ["--url", "url", "--caption", "caption", "--task-rows", str(options.rows)]
    flags += ["--allow-private", "--per-host", "32", "--quiet", *extra]
    if case == "resize":
        flags += ["--image-size", str(SIDE)]
    return [sys.executable, "-m", "g3m", "gather", str(listed), "--to", str(out), *flags]


def run(command: list[str], out: Path, bundle: Path) -> Took:
    """Run a program and its processes to their end, or to the limit."""
    empty(out.parent)
    os.sync()
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    kept |= {"SSL_CERT_FILE": str(bundle), "HOME": str(out.parent), "LANG": "C.UTF-8"}
    kept |= {"NO_ALBUMENTATIONS_UPDATE": "1", "WANDB_MODE": "disabled"}
    started_s = time.monotonic()
    with open(out.parent / "said", "wb") as said:
        process = subprocess.Popen(
            command, stdout=said, stderr=said, env=kept, cwd=out.parent, start_new_session=True
        )
    memory = _Memory(process.pid)
    late = threading.Timer(LIMIT_S, os.killpg, [process.pid, 9])
    late.start()
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.monotonic() - started_s
    late.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    code = process.returncode if wall_s < LIMIT_S else None
    if code:
        print((out.parent / "said").read_text(errors="replace")[-2000:], file=sys.stderr)
    return Took(code, wall_s, usage.ru_utime + usage.ru_stime, memory.stop())


class _Memory:
    """Adds up what a program and all below it hold, four times a second."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._most = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()

    def stop(self) -> int:
        self._done.set()
        self._thread.join()
        return self._most

    def _follow(self) -> None:
        while not self._done.wait(0.25):
            self._most = max(self._most, sum(map(_pss_bytes, _family(self._pid))))


def _family(pid: int) -> Iterator[int]:
    yield pid
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = thread.read_text(encoding="ascii").split()
        except OSError:
            continue
        for child in children:
            yield from _family(int(child))


def _pss_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
