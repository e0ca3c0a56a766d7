"""What is released: the same bytes from the same tree, with nothing in it that nobody put there."""

from __future__ import annotations

import io
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest
from tools.release import OTHERWISE, build, digest, known, surprises
from tools.sbom import needed, problems

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the files that git knows, or would know."""
    folder = tmp_path_factory.mktemp("tree") / "first"
    for name in known(ROOT):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    return folder


@pytest.fixture(scope="module")
def built(tree: Path) -> list[Path]:
    return build(tree, tree.with_name("built"))


def test_two_builds_are_the_same_bytes(tree: Path, built: list[Path]) -> None:
    """Another folder, umask, time zone and hash seed change no byte of the archive and the wheel."""
    second = shutil.copytree(tree, tree.with_name("a second place"))
    again = build(second, tree.with_name("built again"), 0o077, OTHERWISE)
    assert [file.suffix for file in built] == [".whl", ".gz"]
    assert [(file.name, digest(file)) for file in again] == [(file.name, digest(file)) for file in built]


def test_the_wheel_from_the_archive_is_the_same(tree: Path, built: list[Path]) -> None:
    """Who builds from the archive gets the wheel that is released, byte for byte."""
    wheel, archive = built
    with tarfile.open(archive) as opened:
        for member in opened:
            target, content = tree.with_name("unpacked") / member.name, opened.extractfile(member)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.read() if content else b"")
    (source,) = tree.with_name("unpacked").iterdir()
    assert digest(build(source, tree.with_name("from the archive"))[0]) == digest(wheel)


def test_nothing_unexpected_is_shipped(tree: Path, built: list[Path]) -> None:
    """The wheel holds src/g3m and what it says of itself, the archive what git knows; no more and no less."""
    names = {path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file()}
    assert [surprises(file, names) for file in built] == [[], []]
    for file in built:
        assert len(surprises(file, names - {"src/g3m/__main__.py"})) == 1
        assert len(surprises(file, names | {"src/g3m/more.py"})) == 1


def test_what_slips_in_is_noticed(tmp_path: Path, built: list[Path]) -> None:
    """A file beside the package, and a link in the archive, are named."""
    wheel, archive = built
    altered = Path(shutil.copy(wheel, tmp_path))
    with zipfile.ZipFile(altered, "a") as file:
        file.writestr("sitecustomize.py", "")
    assert f"{wheel.name}: sitecustomize.py: unexpected" in surprises(altered, known(ROOT))
    with tarfile.open(tmp_path / archive.name, "w:gz") as file:
        member = tarfile.TarInfo("g3m-0/README.md")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(member, io.BytesIO())
    assert any("no plain file" in line for line in surprises(tmp_path / archive.name, known(ROOT)))


def test_the_list_of_parts_is_checked() -> None:
    """A part that is missing, too much, of another version, or that names a place of the machine is said."""
    wanted = needed()
    assert {"certifi", "click", "pillow", "pycurl", "starlette"} <= set(wanted)
    parts = [{"name": name.replace("-", "_"), "version": version} for name, version in wanted.items()]
    assert problems({"components": parts}, wanted) == []
    assert problems({"components": parts[1:]}, wanted) == [
        f"{parts[0]['name']} {parts[0]['version']} is not listed"
    ]
    assert problems({"components": [*parts, {"name": "left-pad", "version": "1"}]}, wanted) == [
        "left-pad is listed and not needed"
    ]
    other = [{**parts[0], "version": "0"}, *parts[1:]]
    assert problems({"components": other}, wanted) == [
        f"{parts[0]['name']} 0 is listed, and {parts[0]['version']} is locked"
    ]
    assert problems({"components": parts, "url": "file:///home"}, wanted) == [
        "a place of this machine is named"
    ]
