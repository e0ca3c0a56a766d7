"""adapters/beneath.py: no name and no link leads out of the folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from g3m.adapters.beneath import open_beneath


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "in" / "deep").mkdir(parents=True)
    (root / "in" / "deep" / "file").write_bytes(b"inside")
    (tmp_path / "secret").write_bytes(b"outside")
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "own").symlink_to(root / "in" / "deep" / "file")
    (root / "folder").symlink_to(tmp_path)
    (root / "loop").symlink_to("loop")
    os.mkfifo(root / "pipe")
    return root


def test_a_file_is_opened(root: Path) -> None:
    """Folder by folder, and closed afterwards with everything on the way."""
    before = len(os.listdir("/proc/self/fd"))
    with open_beneath(root, ("in", "deep", "file")) as file:
        assert file.read() == b"inside"
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    "parts",
    [
        (),
        ("",),
        (".",),
        ("..", "secret"),
        ("in", "..", "..", "secret"),
        ("../secret",),
        ("/etc/passwd",),
        ("in/deep/file",),
        ("link",),
        ("own",),
        ("folder", "secret"),
        ("loop",),
        ("pipe",),
        ("in",),
        ("in", "deep"),
        ("in", "deep", "file", "more"),
        ("none",),
        ("a" * 300,),
        ("in\0",),
    ],
)
def test_anything_else_is_not_there(root: Path, parts: tuple[str, ...]) -> None:
    """Links, folders, pipes, steps upwards and names with a slash: all the same FileNotFoundError, no descriptor left."""
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError), open_beneath(root, parts):
        raise AssertionError("opened")
    assert len(os.listdir("/proc/self/fd")) == before
