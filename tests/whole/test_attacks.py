"""The benchmark of hostile cases: it tells right from wrong, and g3m's column is what the docs say it is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from bench.attacks import downloads, lies, shards
from bench.attacks.downloads import Job, Tool
from bench.attacks.trial import (
    LEFT,
    MUTE,
    NAMED,
    NOTHING,
    RIGHT,
    SILENT,
    TRACEBACK,
    Call,
    Running,
    hangs,
    judge,
)

TRUSTING = """
import sys, urllib.request
with urllib.request.urlopen(sys.argv[1]) as answer, open(sys.argv[2], "wb") as file:
    file.write(answer.read())
"""


def _trusting(job: Job) -> Call:
    return Call([sys.executable, "-c", TRUSTING, job.url, str(job.out)], job.out)


@pytest.mark.parametrize(
    ("code", "right", "words", "verdict"),
    [
        (0, True, "", RIGHT),
        (3, True, "", f"{RIGHT}, exit 3"),
        (0, False, "", SILENT),
        (1, False, "cut", LEFT),
        (0, None, "", NOTHING),
        (1, None, "cut", NAMED),
        (1, None, " \n", MUTE),
        (1, None, 'Traceback (most recent call last):\n  File "/x/g3m/__main__.py"', TRACEBACK),
        (None, True, "", hangs(90)),
    ],
)
def test_what_is_said_of_an_end(code: int | None, right: bool | None, words: str, verdict: str) -> None:
    """Exit code, bytes and words give one verdict each."""
    assert judge(code, right, words) == verdict


@pytest.mark.parametrize(
    ("behave", "verdict"),
    [(lies.range_ignored, RIGHT), (lies.page, SILENT), (lies.other_bytes, SILENT), (lies.cut, LEFT)],
)
def test_a_program_that_believes_everything_is_seen_through(behave, verdict, tmp_path: Path) -> None:
    """The lies reach the client, and what it keeps is called wrong, with or without a word."""
    tool = Tool("trusting", _trusting, sys.executable)
    assert downloads.run(tool, downloads.lying(behave), tmp_path / "run") == verdict


def test_a_program_that_does_not_end_is_stopped(tmp_path: Path) -> None:
    """Whoever waits for a body without end is stopped, and called hanging."""
    running = Running(Call([sys.executable, "-c", "import time; time.sleep(600)"], tmp_path), tmp_path)
    assert judge(running.wait(0.5), None, running.words, 0.5) == hangs(0.5)


@pytest.mark.parametrize(
    ("title", "verdict"),
    [
        ("one wrong byte, same size, same ETag", NAMED),
        ("login page with status 200", NAMED),
        ("a leftover of the right size, wrong bytes", RIGHT),
    ],
)
def test_g3m_is_not_deceived(title: str, verdict: str, tmp_path: Path) -> None:
    """A sample of the cases of one file, with the installed command."""
    tool = next(tool for tool in downloads.tools("", "") if tool.name == "g3m")
    assert downloads.run(tool, dict(downloads.cases())[title], tmp_path / "run") == verdict


@pytest.mark.parametrize(
    ("title", "verdict"),
    [("one bit flipped in a header", shards.ALL), ("cut between two samples", NAMED)],
)
def test_the_loader_on_damaged_shards(title: str, verdict: str, tmp_path: Path) -> None:
    """A sample of the damaged shards: the loader knows its places, and does not read less than all."""
    tool = next(tool for tool in shards.readers("") if tool.name == "g3m loader")
    assert shards.read_damaged(tool, dict(shards.damages())[title], tmp_path / "run") == verdict
