"""`g3m view`: what it says, the browser that it opens or not, and an export that is watched and stopped."""

from __future__ import annotations

import re
import signal
import stat
import sys
from pathlib import Path

import pytest
from tests.ui.conftest import LIMIT_S, Command, Desk, wait_for

from g3m.core.tunnel import is_without_display
from g3m.ui import view_copy

BROWSER = """#!{python}
import os, pathlib, sys, urllib.parse
path = pathlib.Path(urllib.parse.unquote(urllib.parse.urlsplit(sys.argv[-1]).path))
modes = [oct(one.stat().st_mode & 0o777) for one in (path.parent, path)]
note = pathlib.Path({note!r})
note.with_suffix(".new").write_text("\\n".join([*sys.argv[1:], *modes, path.read_text()]))
note.with_suffix(".new").rename(note)
sys.exit({code})
"""


@pytest.fixture
def browsers(tmp_path: Path) -> Path:
    """A folder for programs, the only one that is searched: no real browser may be found."""
    folder = tmp_path / "programs"
    folder.mkdir()
    return folder


def drawn_browser(folder: Path, code: int = 0) -> tuple[str, Path]:
    """A browser that only notes what it was given, and where it does."""
    note, path = folder / "note", folder / "browser"
    path.write_text(BROWSER.format(python=sys.executable, note=str(note), code=code), encoding="utf-8")
    path.chmod(0o700)
    return str(path), note


def test_open_hands_the_address_to_a_browser_and_to_nobody_else(done_desk: Desk, browsers: Path) -> None:
    """Every user can read a command line: the token stands in a file that only its owner can, until the end."""
    program, note = drawn_browser(browsers)
    variables = {"BROWSER": program, "DISPLAY": ":7", "PATH": str(browsers)}
    with done_desk.start("view", "--port", "0", "--open", **variables) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        wait_for(note.exists, "the browser")
        url, folder_mode, file_mode, page = note.read_text(encoding="utf-8").split("\n", 3)
        token = address.partition("?t=")[2]
        assert token and token not in url and url.startswith("file:///")
        assert (folder_mode, file_mode) == ("0o700", "0o600")
        assert f'content="0;url={address}"' in page
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=LIMIT_S)
    assert "No browser" not in err and "Traceback" not in err
    assert not Path(url.removeprefix("file://")).parent.exists()


@pytest.mark.parametrize(
    ("variables", "arguments", "said"),
    [
        ({}, (), "no display"),
        ({"DISPLAY": ":7", "SSH_CONNECTION": "10.0.0.9 5 10.0.0.7 22"}, (), "another machine"),
        ({"DISPLAY": ":7", "SLURM_JOB_ID": "7"}, (), "another machine"),
        ({"DISPLAY": ":7"}, ("--socket", "own.sock"), "socket"),
    ],
    ids=["no display", "ssh", "slurm", "socket"],
)
def test_why_no_browser_is_opened(
    done_desk: Desk, browsers: Path, variables: dict[str, str], arguments: tuple[str, ...], said: str
) -> None:
    """None that would open a window where nobody sits; the address is printed all the same."""
    program, note = drawn_browser(browsers)
    more = {"BROWSER": program, "PATH": str(browsers), **variables}
    with done_desk.start("view", "--port", "0", "--open", *arguments, **more) as process:
        assert process.stdout is not None and process.stdout.readline().strip()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0 and re.search(f"No browser is opened: .*{said}", err), err
    assert not note.exists()


def test_a_browser_that_does_not_start_is_told_of(done_desk: Desk, browsers: Path) -> None:
    """And the pages are there all the same."""
    program, note = drawn_browser(browsers, code=1)
    variables = {"BROWSER": program, "DISPLAY": ":7", "PATH": str(browsers)}
    with done_desk.start("view", "--port", "0", "--open", **variables) as process:
        assert process.stderr is not None
        told = ""
        while "No browser" not in told:
            told = process.stderr.readline()
            assert told, "it was not told"
        assert note.exists() and process.poll() is None
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=LIMIT_S)


def test_open_is_for_a_server(done_desk: Desk) -> None:
    """An export opens nothing."""
    ran = done_desk.run("view", "--export", "copy", "--open")
    assert ran.code == 2 and "--export" in ran.err and not (done_desk.cwd / "copy").exists()


@pytest.mark.parametrize(
    ("variables", "system", "is_without"),
    [
        ({}, "linux", True),
        ({"DISPLAY": ""}, "linux", True),
        ({"DISPLAY": ":0"}, "linux", False),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", False),
        ({}, "darwin", False),
    ],
)
def test_where_a_window_can_be_opened(variables: dict[str, str], system: str, is_without: bool) -> None:
    """By the variables that every desktop sets; macOS has none."""
    assert is_without_display(variables, system) == is_without


def test_an_export_shows_how_far_it_is_on_a_terminal(done_desk: Desk) -> None:
    """One line that changes, and is gone in the end."""
    ran = done_desk.on_terminal("view", "--export", "copy", "--samples", "2")
    assert ran.code == 0
    counts = re.findall(r"\r\x1b\[2K(\d+) pages are written of (\d+) known", ran.err)
    assert counts and all(int(written) <= int(known) for written, known in counts)
    last, _, rest = ran.err.rpartition("\r\x1b[2K")
    assert "known" in last and "known" not in rest and "open index.html" in rest


def test_an_export_tells_a_log_how_far_it_is(
    done_desk: Desk, here: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In dated lines, as other commands do; with -q and --json not a word of it."""
    monkeypatch.setattr(view_copy, "HEARTBEAT_S", 0.0)
    ran = here("view", "--export", "copy", "--samples", "1")
    lines = re.findall(r"^\d{4}-\d\d-\d\dT\S+ (\d+) pages are written", ran.err, re.MULTILINE)
    assert [int(count) for count in lines] == list(range(1, len(lines) + 1)) and len(lines) > 10
    assert "pages are written" not in here("view", "--export", "copy", "--samples", "1", "-q").err
    ran = here("view", "--export", "copy", "--samples", "1", "--json")
    assert ran.err == "" and ran.documents[0]["pages"] == len(lines)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_export_leaves_nothing(done_desk: Desk, number: signal.Signals, code: int) -> None:
    """Neither half a copy nor what it was made of; it says so, and the earlier copy is as it was."""
    folder = done_desk.cwd / "copies" / "copy"
    half = folder.with_name(".copy.new")
    folder.mkdir(parents=True)
    for name in ("index.html", "g3m-view.json"):
        (folder / name).write_text("an earlier copy", encoding="utf-8")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with done_desk.start("view", "--export", str(folder), "--samples", "8") as process:
        wait_for(lambda: list(half.glob("pages/*")), "the first pages")
        process.send_signal(number)
        out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == code and out == "" and "Traceback" not in err
    assert "No half copy" in err
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert [path.name for path in folder.parent.iterdir()] == ["copy"]


def test_a_killed_export_leaves_nothing_that_looks_whole(done_desk: Desk) -> None:
    """Its folder is hidden and has no first page; the next export takes it away."""
    folder = done_desk.cwd / "copies" / "copy"
    half = folder.with_name(".copy.new")
    with done_desk.start("view", "--export", str(folder), "--samples", "8") as process:
        wait_for(lambda: list(half.glob("pages/*")), "the first pages")
        process.kill()
        process.communicate(timeout=LIMIT_S)
    assert [path.name for path in folder.parent.iterdir()] == [".copy.new"]
    assert not (half / "index.html").exists() and not (half / "g3m-view.json").exists()
    assert done_desk.run("view", "--export", str(folder), "--samples", "1").code == 0
    assert [path.name for path in folder.parent.iterdir()] == ["copy"]
    assert (folder / "index.html").is_file() and stat.S_IMODE(folder.stat().st_mode) & 0o755 == 0o755
