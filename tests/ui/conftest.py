"""A desk at which g3m is used: real processes beside a drawn world, pseudo-terminals, and the snapshots."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.running import running

from g3m.lab.world import World
from g3m.ui import cli as cli_module

SAMPLES = 8
LIMIT_S = 50
"""Longer than any command here takes on the slowest machine: then it hangs."""

SNAPSHOTS = Path(__file__).parent / "snapshots"
ESCAPE = "\x1b"

# A process that makes its stdin its controlling terminal, so that Ctrl-C works as on a real one.
TAKE_TERMINAL = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def documents(self) -> list[dict[str, Any]]:
        """Every line of stdout as JSON."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass
class Desk:
    """A working folder with a `g3m.toml` that leads to the world, and the environment of a plain user."""

    cwd: Path
    world: World
    variables: dict[str, str]
    data: str = "g3m-data"

    @property
    def root(self) -> Path:
        return self.cwd / self.data

    def arguments(self, *arguments: str) -> list[str]:
        """A warning anywhere in the product is a failure, as it is in the tests themselves."""
        return [sys.executable, "-W", "error", "-m", "g3m", *arguments]

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        return {name: value for name, value in {**self.variables, **more}.items() if value}

    def run(self, *arguments: str, text: str = "", **more: str) -> Ran:
        """Run g3m to its end in a process of its own, away from any terminal; `more` are variables."""
        done = subprocess.run(
            self.arguments(*arguments),
            cwd=self.cwd,
            env=self.environment(more),
            input=text,
            capture_output=True,
            encoding="utf-8",
            timeout=LIMIT_S,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Ran(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def start(self, *arguments: str, **more: str) -> Iterator[subprocess.Popen[str]]:
        """Run g3m beside the test; whatever happens, nothing is left running."""
        with running(self.arguments(*arguments), self.environment(more), self.cwd) as process:
            yield process

    def on_terminal(
        self,
        *arguments: str,
        keys: Sequence[tuple[str, str]] = (),
        whole: bool = True,
        limit_s: float = LIMIT_S,
        **more: str,
    ) -> Ran:
        """Run g3m on a pseudo-terminal and type: each of `keys` is (what is waited for, what is typed then).

        `whole`: stdout is the terminal, too; otherwise it is a pipe. All that the terminal showed is `err`.
        """
        here, there = pty.openpty()
        os.set_blocking(here, False)
        pipe = subprocess.DEVNULL if whole else subprocess.PIPE
        process = subprocess.Popen(
            [sys.executable, "-c", TAKE_TERMINAL, *self.arguments(*arguments)],
            cwd=self.cwd,
            env=self.environment({"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40", **more}),
            stdin=there,
            stdout=there if whole else pipe,
            stderr=there,
            start_new_session=True,
            encoding="utf-8",
        )
        os.close(there)
        with process:
            try:
                shown = _watch(here, process, list(keys), limit_s)
            finally:
                process.kill()
                os.close(here)
            out = process.stdout.read() if process.stdout else ""
        return Ran(process.returncode, out, shown)

    def files(self) -> dict[str, tuple[int, int]]:
        """Every file and folder below the working folder, with its time of change and its size."""
        return {
            str(path.relative_to(self.cwd)): (path.lstat().st_mtime_ns, path.lstat().st_size)
            for path in sorted(self.cwd.rglob("*"))
        }

    def everything_written(self) -> bytes:
        """The content of every file below the working folder, one after the other."""
        return b"\n".join(path.read_bytes() for path in sorted(self.cwd.rglob("*")) if path.is_file())


def _watch(terminal: int, process: subprocess.Popen[str], keys: list[tuple[str, str]], limit_s: float) -> str:
    """All that appears on the terminal until the process has ended and nothing more comes."""
    shown, end_s = b"", time.monotonic() + limit_s
    typed = 0
    while time.monotonic() < end_s:
        ended = process.poll() is not None
        data = b""
        ready, _, _ = select.select([terminal], [], [], 0.05)
        if ready:
            with suppress(OSError):  # EIO: how Linux says that the other end is closed
                data = os.read(terminal, 65536)
            shown += data
        if keys and keys[0][0] in shown[typed:].decode("utf-8", "replace"):
            typed = len(shown)
            # A person needs longer, and Python loses a signal that comes just before it begins to read.
            time.sleep(0.2)
            os.write(terminal, keys.pop(0)[1].encode())
        if ended and not data:
            return shown.decode("utf-8")
    raise AssertionError(f"g3m did not end; on the terminal: {shown.decode('utf-8', 'replace')}")


def wait_for(found: Callable[[], Any], what: str) -> Any:
    """The first true answer, asked for every few milliseconds."""
    end_s = time.monotonic() + LIMIT_S
    while time.monotonic() < end_s:
        answer = found()
        if answer:
            return answer
        time.sleep(0.01)
    raise AssertionError(f"waited in vain for {what}")


@pytest.fixture(scope="session")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Six drawn datasets that stay up for all tests."""
    with World(tmp_path_factory.mktemp("world"), samples=SAMPLES) as world:
        yield world


@pytest.fixture
def world(shared_world: World) -> Iterator[World]:
    """The world, honest and with an empty record."""
    shared_world.origin.be_honest()
    shared_world.origin.forget_requests()
    yield shared_world
    shared_world.origin.be_honest()


def plain_variables(home: Path, world: World) -> dict[str, str]:
    """The environment of a user with a Kaggle account and nothing else that matters."""
    home.mkdir(exist_ok=True)
    passed = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return {**passed, "HOME": str(home), "LANG": "C.UTF-8", "TZ": "UTC", **world.variables}


@pytest.fixture
def desk(world: World, tmp_path: Path) -> Desk:
    """A new user's working folder."""
    cwd = tmp_path / "cwd"
    cwd.mkdir()
    (cwd / "g3m.toml").write_text(world.config(), encoding="utf-8")
    return Desk(cwd, world, plain_variables(tmp_path / "home", world))


@pytest.fixture(scope="session")
def finished(shared_world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ran]:
    """The working folder after `g3m get all --yes --json`, made once; only to be copied or read."""
    folder = tmp_path_factory.mktemp("finished")
    cwd = folder / "cwd"
    cwd.mkdir()
    (cwd / "g3m.toml").write_text(shared_world.config(), encoding="utf-8")
    desk = Desk(cwd, shared_world, plain_variables(folder / "home", shared_world))
    return cwd, desk.run("get", "all", "--yes", "--json")


@pytest.fixture
def done_desk(desk: Desk, finished: tuple[Path, Ran]) -> Desk:
    """A working folder where everything is here already."""
    shutil.copytree(finished[0] / "g3m-data", desk.root)
    return desk


Command = Callable[..., Ran]


@pytest.fixture
def here(desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the entry point in this process, where parts of the product can be replaced first."""

    def run(*arguments: str, **more: str) -> Ran:
        monkeypatch.chdir(desk.cwd)
        for name in set(os.environ) - {"PYTEST_CURRENT_TEST"}:
            monkeypatch.delenv(name)
        for name, value in desk.environment(more).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["g3m", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli_module.main()
        shown = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Ran(ended.value.code, shown.out, shown.err)

    return run


def plain(text: str, desk: Desk) -> str:
    """Text without what differs between machines and runs: folders, ports, times, sizes of drawn files."""
    text = text.replace(str(desk.cwd), "CWD")
    text = re.sub(r"\b(127\.0\.0\.1|localhost):\d+", r"\1:PORT", text)
    return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", "TIME", text)


@pytest.fixture
def snapshot() -> Callable[[str, str], None]:
    """Compares text with a kept one; G3M_UPDATE_SNAPSHOTS=1 keeps the new one instead."""
    update = os.environ.get("G3M_UPDATE_SNAPSHOTS") == "1"

    def compare(name: str, text: str) -> None:
        path = SNAPSHOTS / f"{name}.txt"
        if update:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.is_file(), f"{path.name} is not kept yet: run with G3M_UPDATE_SNAPSHOTS=1 and read it"
        assert text == path.read_text(encoding="utf-8")

    return compare
