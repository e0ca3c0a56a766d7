"""A user's folder beside a drawn world, and g3m in processes of its own on machines that lack something."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.running import running
from tests.whole.disk import check_all_whole, litter, tree

from g3m.lab.world import World

DRIVER = str(Path(__file__).with_name("driver.py"))
ALL = os.environ.get("G3M_SEARCH") == "all"
LIMIT_S = 120
"""Longer than any command here takes on the slowest machine: then it hangs."""

NAMED = range(11)
"""The exit codes of an end that has its words; a signal's are beside them."""


@dataclass(frozen=True)
class Place:
    """A working folder with a g3m.toml that leads to the drawn world; `before` stands in front of a command."""

    folder: Path
    variables: Mapping[str, str]
    world: World
    before: Sequence[str] = ()

    def with_variables(self, **more: str) -> Place:
        """The same with other variables; an empty one is not set."""
        changed = {**self.variables, **more}
        return replace(self, variables={name: value for name, value in changed.items() if value})

    def command(self, *arguments: str, conditions: str = "") -> list[str]:
        return [*self.before, sys.executable, "-W", "error", DRIVER, conditions, *arguments]

    @contextmanager
    def start(self, *arguments: str, conditions: str = "") -> Iterator[subprocess.Popen[str]]:
        """g3m beside the test."""
        command = self.command(*arguments, conditions=conditions)
        with running(command, self.variables, self.folder) as process:
            yield process

    def run(self, *arguments: str, conditions: str = "") -> subprocess.CompletedProcess[str]:
        """g3m to its end, which is never a traceback."""
        with self.start(*arguments, conditions=conditions) as process:
            return ended(process)

    def get(
        self, root: Path | str, what: Sequence[str] = ("all",), conditions: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """`g3m get` of some datasets into a root."""
        return self.run("get", *what, "--yes", "--root", str(root), conditions=conditions)


def ended(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """The end of a process, which is never a traceback."""
    out, error = process.communicate(timeout=LIMIT_S)
    assert "Traceback" not in error, error
    assert "Traceback" not in out, out
    return subprocess.CompletedProcess(process.args, process.returncode, out, error)


def wait_for(happened: Callable[[], object], what: str) -> None:
    """Wait until something is true."""
    end_s = time.monotonic() + LIMIT_S
    while not happened():
        assert time.monotonic() < end_s, f"waited in vain for {what}"
        time.sleep(0.005)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A user beside a world of six datasets."""
    folder = tmp_path_factory.mktemp("machine")
    with World(folder / "world", samples=24) as world:
        (folder / "g3m.toml").write_text(world.config(), encoding="utf-8")
        passed = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        own = {"HOME": str(folder), "LANG": "C.UTF-8", "TZ": "UTC"}
        yield Place(folder, {**passed, **own, **world.variables}, world)


@pytest.fixture(autouse=True)
def honest(place: Place) -> Iterator[None]:
    """Each test begins with an honest and fast origin."""
    place.world.origin.be_honest()
    place.world.origin.forget_requests()
    yield
    place.world.origin.be_honest()


@pytest.fixture(scope="module")
def undisturbed(place: Place) -> Path:
    """What a run leaves that nobody disturbs; only to be read or copied."""
    done = place.get("undisturbed")
    assert done.returncode == 0, done.stderr
    root = place.folder / "undisturbed"
    assert check_all_whole(root) > 15
    return root


def check_ends_whole(
    place: Place,
    root: Path,
    expected: Mapping[str, str],
    what: Sequence[str] = ("all",),
    seen: Path | None = None,
) -> None:
    """The same line once more ends well, with the bytes of an undisturbed run, and leaves nothing else.

    `seen` is the root as this process sees it.
    """
    here = seen or root
    check_all_whole(here)
    done = place.get(root, what)
    assert done.returncode == 0, done.stderr
    assert tree(here) == expected
    assert litter(here) == []
    assert not list((here / ".g3m").glob("*lock*"))
    verified = place.run("verify", "--structure", "--root", str(root))
    assert verified.returncode == 0, verified.stdout + verified.stderr
