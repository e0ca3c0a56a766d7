"""The soak in small: every kind of work to its end, every kind of fault at least once. The hour is `make soak`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
LIMIT_S = 900
KINDS = {
    "wall",
    "names",
    "proxy",
    "host",
    "liar",
    "pictures",
    "rate",
    "SIGKILL",
    "SIGTERM",
    "SIGINT",
    "worker",
}


def soaked(*words: str | Path, folder: Path) -> tuple[int, str]:
    """Soak in a folder: the exit code, and what was told as wrong. Nothing of it is left running."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.soak.soak", *map(str, words)],
        cwd=REPOSITORY,
        env={**os.environ, "TMPDIR": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    )
    with process:
        try:
            _, told = process.communicate()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, told


@pytest.mark.timeout(LIMIT_S)
def test_the_soak_in_small(tmp_path: Path) -> None:
    """Get, gather, view, share, loader and a long download end right, and nothing is left; all kinds of faults came."""
    report = tmp_path / "report.json"
    code, words = soaked("--short", "--report", report, folder=tmp_path)
    assert (code, words) == (0, ""), words
    told = json.loads(report.read_text(encoding="utf-8"))
    assert told["failures"] == []
    counts = told["counts"]
    assert min(counts[f"rounds: {name}"] for name in ("get", "gather", "view")) >= 1
    assert counts["rows: gather"] >= 100 and counts["shards: get"] >= 5 and counts["epochs: loader"] >= 2
    assert counts["bytes: long get"] > 20_000_000 and counts["requests: view"] > 20
    faults = {name.removeprefix("fault: ").split()[0] for name in counts if name.startswith("fault: ")}
    assert faults == KINDS
    assert {"view", "share", "loader", "long get"} <= {name.split(" #")[0] for name in told["series"]}
