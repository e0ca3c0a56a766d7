"""Several processes gather one list into one root: `--part`."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.pictures_host import PicturesHost, pictures_host
from tests.runners.lists import Gathered, rows_of, run, same_files, write_list
from tests.whole.sources import REPOSITORY

from g3m.adapters.disk import Store
from g3m.core.errors import Locked, SettingsError
from g3m.core.gathering import parse_part
from g3m.runners.run import get_in, make_session

PROGRAM = """
import sys
from pathlib import Path
from tests.runners.lists import run
run(Path(sys.argv[1]), Path(sys.argv[2]), part=sys.argv[3])
"""


@pytest.fixture
def host() -> Iterator[PicturesHost]:
    with pictures_host() as host:
        yield host


def begin(source: Path, to: Path, part: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(source), str(to), part],
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors


def test_three_at_once_make_what_one_makes(host: PicturesHost, tmp_path: Path) -> None:
    """Each row is asked for once, every file is as of a single run, and the last one publishes."""
    source = write_list(tmp_path / "l.jsonl", rows_of(host, *["good", "missing", "good", "html"] * 8))
    parts = [begin(source, tmp_path / "out", f"{number}/3") for number in range(3)]
    for process in parts:
        wait(process)
    assert host.asked["good/0.jpg"] == host.asked["good/30.jpg"] == 1
    made = Gathered(tmp_path / "out")
    made.check_counts()
    assert len(made.manifest.shards) == 8
    assert not list((made.folder / ".g3m").glob("lock*"))
    assert same_files(run(source, tmp_path / "alone" / "out").folder, made.folder) == []


def test_a_part_that_was_killed_is_repeated(host: PicturesHost, tmp_path: Path) -> None:
    """The others end without it, nothing is published, and the array's second try finishes the dataset."""
    source = write_list(tmp_path / "l.jsonl", rows_of(host, *["good"] * 8, *["hang"] * 4, *["good"] * 4))
    out = tmp_path / "out"
    killed = begin(source, out, "2/3")  # its first task hangs
    end_s = time.monotonic() + 60
    while not host.asked["hang/8.jpg"] and time.monotonic() < end_s:
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    for part in ("0/3", "1/3"):
        wait(begin(source, out, part))
    assert not (out / "manifest.json").exists()
    host.moods["hang"] = lambda asked: (
        host.moods["html"](asked) if "html" in host.moods else asked.answer(b"?")
    )
    wait(begin(source, out, "2/3"))
    made = Gathered(out)
    made.check_counts()
    assert made.manifest.samples == 12
    assert not list((out / ".g3m" / "parts").iterdir())


def test_a_run_of_all_waits_for_no_part_and_no_part_for_it(host: PicturesHost, tmp_path: Path) -> None:
    """Locked on both sides: tasks would be done twice."""
    source = write_list(tmp_path / "l.jsonl", rows_of(host, *["good"] * 8))
    out = tmp_path / "out"
    (out / ".g3m").mkdir(parents=True)
    lease = {"host": socket.gethostname(), "pid": os.getpid(), "token": "another"}
    path = out / ".g3m" / "lock.0-of-2"
    path.write_text(json.dumps(lease))
    with pytest.raises(Locked):
        run(source, out)
    with pytest.raises(Locked):
        run(source, out, part="0/2")
    path.unlink()
    (out / ".g3m" / "lock").write_text(json.dumps(lease))
    with pytest.raises(Locked):
        run(source, out, part="0/2")


def test_half_of_the_parts_is_not_the_whole(host: PicturesHost, tmp_path: Path) -> None:
    """A part does its own tasks and no other; the summary has no manifest until the other is done."""
    source = write_list(tmp_path / "l.jsonl", rows_of(host, *["good"] * 12))
    out = tmp_path / "out"
    assert run(source, out, part="1/2").finished == 2  # arranging and one task
    assert [path.name for path in out.glob("*.tar")] == ["00001.tar"]
    assert host.asked["good/0.jpg"] == 0
    assert run(source, out, part="1/2").finished == 0
    assert run(source, out, part="0/2").finished == 3  # two tasks and publishing
    assert run(source, out, part="1/2").events == []
    Gathered(out).check_counts()


def test_parts_of_another_number_are_refused_meanwhile(host: PicturesHost, tmp_path: Path) -> None:
    """Eighths and halves would make the same shards at once; whoever comes second is told who is at work."""
    source, out = write_list(tmp_path / "l.jsonl", rows_of(host, *["good"] * 8)), tmp_path / "out"
    store = Store(out)
    store.prepare()
    other = store.part_lease(3, 8)
    other.take()
    with pytest.raises(Locked):
        run(source, out, part="0/2")
    other.release()
    run(source, out, part="0/2")
    run(source, out, part="1/2")
    Gathered(out).check_counts()


@pytest.mark.parametrize("text", ["3", "2/2", "-1/2", "1/0", "a/b", "1/2/3", "0/x", "²/3", "1/"])
def test_what_is_no_part_is_refused(text: str) -> None:
    """I/N with I from 0, as an array of jobs numbers them."""
    with pytest.raises(SettingsError):
        parse_part(text)


def test_only_lists_are_gathered_in_parts(tmp_path: Path) -> None:
    """Other datasets are not: the error says so before anything is fetched."""
    session = make_session({"root": str(tmp_path), "part": "0/2", "offline": True}, {})
    with pytest.raises(SettingsError, match="coco_valid"):
        get_in(["coco_valid"], session, [])
