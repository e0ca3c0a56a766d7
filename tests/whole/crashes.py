"""Starts crash_driver.py, which runs g3m in children that kill themselves, and reads its answer."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from tests.whole.sources import REPOSITORY


def crashed(
    job: Mapping[str, Any], variables: Mapping[str, str], timeout_s: float
) -> tuple[dict[str, Any], str]:
    """What the driver answers to a job, and what it wrote to its stderr; its first run, without a kill, succeeds."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.whole.crash_driver"],
        cwd=REPOSITORY,
        env=dict(variables),
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    assert answer["first"] == 0, done.stderr
    return answer, done.stderr
