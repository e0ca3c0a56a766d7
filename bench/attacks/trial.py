"""Runs one program in a folder of its own and says, from its exit code and the bytes it left, what it did."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
LIMIT_S = 90.0

RIGHT = "right bytes"
NAMED = "named error"
MUTE = "error without a word"
REFUSED = "refused"
SILENT = "**silent wrong**"
LEFT = "error, **wrong file under the final name**"
NOTHING = "**exit 0, no file**"
RAN = "**ran code**"
TRACEBACK = "**traceback**"
ABSENT = "not applicable"


def hangs(limit_s: float) -> str:
    """The words for what had to be stopped."""
    return f"**hangs** (stopped after {limit_s:.0f} s)"


@dataclass(frozen=True, slots=True)
class Call:
    """A command, what it adds to the environment, and the file that it is to make."""

    command: Sequence[str]
    out: Path
    variables: dict[str, str] = field(default_factory=dict)


class Running:
    """A started program in a process group of its own; its output goes to `folder/said-N`."""

    def __init__(self, call: Call, folder: Path) -> None:
        self.said = folder / f"said-{len(list(folder.glob('said-*')))}"
        self._started_s = time.monotonic()
        with open(self.said, "wb") as said:
            self._process = subprocess.Popen(
                call.command,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env=environment(folder) | call.variables,
                cwd=folder,
                start_new_session=True,
            )

    def wait(self, limit_s: float = LIMIT_S) -> int | None:
        """The exit code; None if it had to be stopped."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.1, limit_s - (time.monotonic() - self._started_s)))
            code = self._process.returncode
            self.kill()  # what it left behind
            return code
        self.kill()
        return None

    def kill(self) -> None:
        """kill -9, the whole group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def words(self) -> str:
        return self.said.read_text(errors="replace")


def environment(folder: Path) -> dict[str, str]:
    """Nothing of the caller's proxies, tokens and settings."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    quiet = {"NO_ALBUMENTATIONS_UPDATE": "1", "WANDB_MODE": "disabled", "NO_COLOR": "1"}
    return kept | quiet | {"LANG": "C.UTF-8", "HOME": str(folder), "TMPDIR": str(folder), "COLUMNS": "200"}


def judge(code: int | None, right: bool | None, words: str, limit_s: float = LIMIT_S) -> str:
    """What was done: `right` is whether the file is as it must be, None where there is none."""
    if code is None:
        return hangs(limit_s)
    if right:
        return RIGHT if code == 0 else f"{RIGHT}, exit {code}"
    if code == 0:
        return NOTHING if right is None else SILENT
    if right is False:
        return LEFT
    return failed(words)


def failed(words: str) -> str:
    """How a program that ended with an error said so; a library's exception is its way of naming it."""
    if "Traceback" in words and "g3m/__main__.py" in words:
        print(words[-2000:], file=sys.stderr)
        return TRACEBACK
    return NAMED if words.strip() else MUTE


def same(path: Path, data: bytes) -> bool | None:
    """Whether a file holds just these bytes; None if it is not there."""
    try:
        return path.read_bytes() == data
    except FileNotFoundError:
        return None


def g3m(*words: str | Path) -> list[str]:
    """The installed command."""
    return [sys.executable, "-m", "g3m", *map(str, words)]


def write_recipe(path: Path, name: str, data: bytes, place: str, *, known: bool = True) -> Path:
    """A recipe of one ready shard, with its size and digest if they are `known`."""
    pin = f'size_bytes = {len(data)}\ndigests = ["sha256:{hashlib.sha256(data).hexdigest()}"]\n'
    path.write_text(
        'format = 1\nname = "bench"\ntitle = "bench"\nfolder = "bench"\nlicence = "none"\n\n'
        f'[[assets]]\nname = "{name}"\nplaces = ["{place}"]\n{pin if known else ""}\n'
        '[samples]\nreader = "shards"\n',
        encoding="utf-8",
    )
    return path
