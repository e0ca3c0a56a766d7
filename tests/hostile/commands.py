"""Many commands of g3m one after the other, each set of them in a fresh process with a limit of memory.

    with Commands() as commands:
        done = commands.run(["get", ...], ["verify"])     # Done: exit codes, what was printed, the peak of memory

Python and g3m are loaded once, in a process that forks; so a command costs what its work costs.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

LIMIT_BYTES = 4 * 2**30
"""So much of addresses a process may have; threads alone reserve some hundred megabytes."""

CPU_LIMIT_S = 60
"""What computes longer hangs, and is ended."""

CRASHED = 99
REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Done:
    """How the commands of one process ended, and how much memory it held at its peak."""

    codes: list[int]
    texts: list[str]
    peak_bytes: int


class Commands:
    """A process that has g3m loaded and runs commands in forks of itself."""

    def __enter__(self) -> Commands:
        paths = (str(REPOSITORY), os.environ.get("PYTHONPATH"))
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.hostile.commands"],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "NO_COLOR": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    def run(self, *commands: Sequence[str], cwd: Path) -> Done:
        """Run commands in one process, whatever comes of each."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"commands": commands, "cwd": str(cwd)}) + "\n")
        self._process.stdin.flush()
        return Done(**json.loads(self._process.stdout.readline()))


def _load() -> None:
    """Import what commands import when they are used."""
    import g3m.load.dataset
    import g3m.runners.index
    import g3m.runners.pack
    import g3m.steps.check
    import g3m.steps.unfold
    import g3m.ui.cli
    import g3m.ui.index
    import g3m.ui.pack
    import g3m.ui.verified  # noqa: F401


def _run(command: Sequence[str], text: Any) -> int:
    """One command as the entry point runs it; CRASHED for anything that it does not explain."""
    from g3m.ui import cli

    os.dup2(text.fileno(), 1)
    os.dup2(text.fileno(), 2)
    sys.argv = ["g3m", *command]
    try:
        cli.main()
    except SystemExit as error:
        return int(error.code or 0)
    except BaseException:
        traceback.print_exc()
        return CRASHED
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return CRASHED


def _child(commands: Sequence[Sequence[str]], cwd: str, answer: Any) -> None:
    os.chdir(cwd)
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_LIMIT_S, CPU_LIMIT_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    codes, texts = [], []
    for command in commands:
        with tempfile.TemporaryFile("w+b") as text:
            codes.append(_run(command, text))
            text.seek(0)
            texts.append(text.read().decode("utf-8", "replace"))
    answer.write(json.dumps([codes, texts]).encode())
    answer.flush()


def _serve() -> None:
    _load()
    os.fsync = lambda descriptor: None  # nobody cuts the power here
    for line in sys.stdin:
        asked = json.loads(line)
        with tempfile.TemporaryFile("w+b") as answer:
            child = os.fork()
            if not child:
                try:
                    _child(asked["commands"], asked["cwd"], answer)
                finally:
                    os._exit(0)
            _, status, usage = os.wait4(child, 0)
            answer.seek(0)
            codes, texts = json.loads(answer.read() or b"[[], []]")
        codes += [-os.WTERMSIG(status)] if os.WIFSIGNALED(status) else []
        done = {"codes": codes, "texts": texts, "peak_bytes": usage.ru_maxrss * 1024}
        sys.stdout.write(json.dumps(done) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
