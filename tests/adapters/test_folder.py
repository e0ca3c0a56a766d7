"""adapters/folder.py: the files below a folder, and no way out of it."""

from __future__ import annotations

import os
import socket
import string
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.adapters.folder import list_folder
from g3m.adapters.members import MemberReader
from g3m.core.errors import StorageError
from g3m.core.members import MEMBER_LIMIT_BYTES, Member, Refusal

parts = st.text(string.ascii_letters + "-_ 0.é漢", min_size=1, max_size=8).filter(
    lambda part: not part.startswith(".")
)
names = st.lists(parts, min_size=1, max_size=4).map("/".join)


@given(st.dictionaries(names, st.binary(max_size=20), max_size=12))
def test_every_file_is_listed_in_order_and_read(content: dict[str, bytes]) -> None:
    """Names come sorted as whole strings, with sizes, and read back; folders are no members."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        written: dict[str, bytes] = {}
        for name, data in content.items():
            try:
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_bytes(data)
            except (FileExistsError, NotADirectoryError, IsADirectoryError):
                continue  # a name that is a folder in another name
            written[name] = data
        found = list(list_folder(root))
        assert [member.name for member in found] == sorted(written)
        with MemberReader(root) as reader:
            for member in found:
                assert isinstance(member, Member)
                assert (member.method, member.size_bytes) == ("file", len(written[member.name]))
                assert reader.read(member) == written[member.name]


def test_a_folder_falls_where_its_files_belong(tmp_path: Path) -> None:
    """Names are sorted as wholes, in which the slash comes behind the hyphen and the dot."""
    names = ["a!1", "a-1", "a.1", "a/1", "a/b-1", "a/b/1", "a01"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert listed(tmp_path) == sorted(names) == names


def refused(folder: Path) -> dict[str, str]:
    return {item.name: item.reason for item in list_folder(folder) if isinstance(item, Refusal)}


def listed(folder: Path) -> list[str]:
    return [item.name for item in list_folder(folder) if isinstance(item, Member)]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with two files, beside a file that is not part of it."""
    root = tmp_path / "tree"
    (root / "sub").mkdir(parents=True)
    (root / "a.jpg").write_bytes(b"a")
    (root / "sub" / "b.jpg").write_bytes(b"bb")
    (tmp_path / "secret").write_bytes(b"secret")
    return root


def test_hidden_files_and_folders_are_left_out(tree: Path) -> None:
    """What begins with a dot is no member and no refusal."""
    (tree / ".DS_Store").touch()
    (tree / ".git").mkdir()
    (tree / ".git" / "c.jpg").touch()
    assert listed(tree) == ["a.jpg", "sub/b.jpg"]
    assert refused(tree) == {}


def test_links_within_the_folder_are_followed(tree: Path) -> None:
    """A link to a file of the folder, direct or over another link, stands for the file."""
    (tree / "sub" / "one.jpg").symlink_to("../a.jpg")
    (tree / "two.jpg").symlink_to(tree / "sub" / "one.jpg")
    assert listed(tree) == ["a.jpg", "sub/b.jpg", "sub/one.jpg", "two.jpg"]
    with MemberReader(tree) as reader:
        two = next(item for item in list_folder(tree) if item.name == "two.jpg")
        assert isinstance(two, Member)
        assert reader.read(two) == b"a"


def test_links_that_lead_outside_are_refused(tree: Path) -> None:
    """A link out of the folder is refused, also over a chain, to a folder, or to a twin."""
    (tree / "up.jpg").symlink_to("../secret")
    (tree / "absolute.jpg").symlink_to("/etc/passwd")
    (tree / "chain.jpg").symlink_to("up.jpg")
    (tree / "folder").symlink_to("/etc")
    (tree.parent / "tree2").mkdir()
    (tree.parent / "tree2" / "x").touch()
    (tree / "twin.jpg").symlink_to("../tree2/x")
    names = ("up.jpg", "absolute.jpg", "chain.jpg", "folder", "twin.jpg")
    assert refused(tree) == dict.fromkeys(names, "link_outside")
    assert listed(tree) == ["a.jpg", "sub/b.jpg"]


def test_loops_and_other_kinds_are_refused(tree: Path) -> None:
    """Links in a circle, to nowhere or to a folder, FIFOs and sockets are refused."""
    (tree / "self").symlink_to("self")
    (tree / "sub" / "parent").symlink_to("..")
    (tree / "nowhere").symlink_to("none")
    os.mkfifo(tree / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(tree, os.O_RDONLY)
        try:  # a short path, because that of a socket may have 107 bytes only
            server.bind(f"/proc/self/fd/{here}/socket")
        finally:
            os.close(here)
        names = ("self", "sub/parent", "nowhere", "fifo", "socket")
        assert refused(tree) == dict.fromkeys(names, "not_a_file")
    assert listed(tree) == ["a.jpg", "sub/b.jpg"]


def test_names_that_cannot_be_used_are_refused(tree: Path) -> None:
    """Backslashes, control characters and bytes that are no UTF-8 are refused and can be shown."""
    for raw in (b"a\\b.jpg", b"a\nb.jpg", b"caf\xe9.jpg"):
        (tree / os.fsdecode(raw)).touch()
    assert set(refused(tree).values()) == {"unsafe_name"}
    assert len(refused(tree)) == 3
    for name in refused(tree):
        name.encode()


def test_files_beyond_the_limit_are_refused(tree: Path) -> None:
    """More than 2 GiB is refused, exactly 2 GiB is not."""
    for name, size_bytes in (("fits", MEMBER_LIMIT_BYTES), ("large", MEMBER_LIMIT_BYTES + 1)):
        (tree / name).touch()
        os.truncate(tree / name, size_bytes)
    assert refused(tree) == {"large": "too_large"}
    assert "fits" in listed(tree)


def test_a_linked_root_is_no_way_out(tree: Path) -> None:
    """The folder itself may be reached over a link."""
    link = tree.parent / "link"
    link.symlink_to(tree)
    (tree / "one.jpg").symlink_to("a.jpg")
    assert listed(link) == ["a.jpg", "one.jpg", "sub/b.jpg"]


def test_deep_folders_are_walked(tmp_path: Path) -> None:
    """Folders nested deeper than Python recurses do not stop the walk."""
    here = os.open(tmp_path, os.O_RDONLY)
    depth = 1200
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("a.jpg", os.O_CREAT, dir_fd=here))
    os.close(here)
    assert listed(tmp_path) == ["d/" * depth + "a.jpg"]


def test_a_file_removed_meanwhile_is_refused(tree: Path) -> None:
    """A file that vanishes between listing and looking costs itself only."""
    found = list_folder(tree)
    assert next(found).name == "a.jpg"
    (tree / "c.jpg").touch()
    assert [item.name for item in found] == ["sub/b.jpg"]


def test_a_missing_folder_is_a_storage_error(tmp_path: Path) -> None:
    """What the system refuses to list is named with the system's words."""
    with pytest.raises(StorageError, match="none: cannot be read: No such file"):
        list(list_folder(tmp_path / "none"))
