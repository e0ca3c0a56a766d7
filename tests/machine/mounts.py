"""File systems that only the processes of one test see, and that go with it, also when the test is killed.

python -m tests.machine.mounts    exits with 0, or says why there can be none and exits with 1
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

LIMIT_S = 60


class MountError(RuntimeError):
    """Something could not be mounted."""


@dataclass(frozen=True)
class Mounts:
    """A namespace of mounts, kept by a process that does nothing else."""

    keeper: int

    def before(self, folder: Path) -> list[str]:
        """What stands in front of a command that is to see the mounts."""
        return ["nsenter", f"--target={self.keeper}", "--mount", f"--wd={folder}", "--"]

    def call(self, *command: str) -> None:
        """Run a program among the mounts."""
        done = subprocess.run(
            [*self.before(Path("/")), *command], capture_output=True, text=True, check=False, timeout=LIMIT_S
        )
        if done.returncode:
            raise MountError(f"{' '.join(command)}: {done.stderr.strip()}")

    def memory(self, path: Path, options: str) -> Path:
        """A tmpfs at a folder; the path by which this process sees what is in it."""
        self.call("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path))
        return self.seen(path)

    def image(self, path: Path, size_bytes: int) -> Path:
        """A new ext4 at a folder, in a file beside it; the path by which this process sees what is in it."""
        with open(_image_of(path), "wb") as made:
            made.truncate(size_bytes)
        self.call("mkfs.ext4", "-q", "-F", str(_image_of(path)))
        self.call("mount", "-o", "loop,errors=remount-ro", str(_image_of(path)), str(path))
        return self.seen(path)

    def break_image(self, path: Path) -> None:
        """Have Linux find an error of such a file system: nothing can be written any more, whoever is at it."""
        found = subprocess.run(
            ["losetup", "--noheadings", "--output", "NAME", "--associated", str(_image_of(path))],
            capture_output=True,
            text=True,
            check=True,
            timeout=LIMIT_S,
        )
        device = Path(found.stdout.strip()).name
        Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("1")

    def repair_image(self, path: Path) -> None:
        """What an administrator does then."""
        self.call("umount", str(path))
        self.call("sh", "-c", f"e2fsck -fy '{_image_of(path)}' || test $? = 1")
        self.call("mount", "-o", "loop,errors=remount-ro", str(_image_of(path)), str(path))

    def seen(self, path: Path) -> Path:
        """A path among the mounts, as this process can use it."""
        return Path(f"/proc/{self.keeper}/root{path.absolute()}")


def _image_of(path: Path) -> Path:
    return path.with_suffix(".ext4")


@contextmanager
def mounts() -> Iterator[Mounts]:
    """Mounts of one's own; MountError where this machine allows none."""
    # The signal comes when this process ends, however it does.
    command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private", "cat"]
    keeper = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with keeper:
        try:
            assert keeper.stdin is not None
            assert keeper.stdout is not None
            with suppress(BrokenPipeError):
                keeper.stdin.write(b"ready\n")
                keeper.stdin.flush()
            if keeper.stdout.readline() != b"ready\n":  # what the last of the three programs says
                raise MountError("no namespace of mounts can be made")
            yield Mounts(keeper.pid)
        finally:
            keeper.kill()


def why_not() -> str:
    """What stands against mounts, as one line; empty if nothing does."""
    if os.geteuid() != 0:
        return "needs root, to mount file systems"
    try:
        with mounts() as found:
            inside = found.memory(Path("/mnt"), "size=20m") / "disk"
            inside.mkdir()
            found.call("sh", "-c", "truncate -s 10M /mnt/file && mkfs.ext4 -q /mnt/file")
            found.call("mount", "-o", "loop", "/mnt/file", "/mnt/disk")
    except (OSError, MountError) as error:
        return f"needs mounts of its own ({error})"
    return ""


if __name__ == "__main__":
    if words := why_not():
        print(words)
    sys.exit(bool(words))
