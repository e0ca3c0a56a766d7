"""What is installed and shipped: pinned by digest, without addresses, free of weaknesses that are known."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from tools.lock import BY_VERSION, FOLDER, environments, locked

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(FOLDER.glob("*.txt"))
HASHED = [path for path in FILES if path.name != "torch.txt"]
PLACES = environments()


@cache
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@cache
def minimum() -> dict[str, dict[str, Any]]:
    packages = tomllib.loads((FOLDER / "minimum.toml").read_text(encoding="utf-8"))["package"]
    return {package["name"]: package for package in packages}


def asked() -> Iterator[tuple[str, str]]:
    """Every requirement of pyproject.toml, with the file that must lock it."""
    for line in project()["project"]["dependencies"]:
        yield "g3m", line
    for lines in project()["project"]["optional-dependencies"].values():
        yield from (("test", line) for line in lines)
    for group, lines in project()["dependency-groups"].items():
        yield from ((group, line) for line in lines)


@cache
def chosen(name: str, number: int) -> dict[str, Requirement]:
    """What a file installs in one of PLACES; one version of each package, or the test fails."""
    found: dict[str, Requirement] = {}
    for path in (FOLDER / f"{name}.txt", *([FOLDER / "torch.txt"] if name == "test" else [])):
        for package, _ in locked(path):
            if package.marker is None or package.marker.evaluate(PLACES[number]):
                assert package.name not in found, f"{path.name}: {package.name} twice in {number}"
                found[package.name] = package
    return found


@pytest.mark.parametrize("path", HASHED, ids=lambda path: path.name)
def test_every_locked_package_has_digests(path: Path) -> None:
    """Each line is one exact version with at least one sha256, and nothing but names, versions and digests is there."""
    packages = locked(path)
    assert packages
    for package, digests in packages:
        assert re.fullmatch(r"==[^,*]+", str(package.specifier)), package
        assert package.url is None
        assert digests, f"{path.name}: {package.name} has no digest"
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", digest) for digest in digests)
        assert not BY_VERSION.fullmatch(package.name)
    options = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("-")]
    assert options == []


def test_torch_alone_goes_without_digests() -> None:
    """torch.txt names torch, exactly, and nothing else; the reason is in the file."""
    ((package, digests),) = locked(FOLDER / "torch.txt")
    assert (package.name, digests) == ("torch", [])
    assert re.fullmatch(r"==[^,*]+", str(package.specifier))
    assert "CUDA" in (FOLDER / "torch.txt").read_text(encoding="utf-8")


def test_the_lock_is_what_the_project_asks_for() -> None:
    """Every requirement of pyproject.toml is locked, for each Python and machine, at a version that it allows."""
    for number, place in enumerate(PLACES):
        for name, line in asked():
            wanted = Requirement(line)
            if wanted.marker is not None and not wanted.marker.evaluate(place):
                continue
            package = chosen(name, number).get(canonicalize_name(wanted.name))
            assert package is not None, f"{name}.txt has no {wanted.name} for {place['python_version']}"
            (version,) = package.specifier
            assert wanted.specifier.contains(version.version), f"{package} is not {wanted}"


def test_the_files_agree_with_one_another() -> None:
    """A package has one version on a Python and machine, whichever files are installed together."""
    for number in range(len(PLACES)):
        versions: dict[str, str] = {}
        for path in HASHED:
            for package in chosen(path.stem, number).values():
                assert versions.setdefault(package.name, str(package.specifier)) == str(package.specifier)


def test_every_file_of_the_lock_is_made_and_installed() -> None:
    """There is a file for g3m and each group, no other, and the Makefile installs them by digest alone."""
    groups = project()["dependency-groups"]
    assert {path.stem for path in FILES} == {"g3m", "torch", *groups}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "LOCKED := install --quiet --require-hashes --only-binary :all:\n" in makefile
    assert "INSTALL := $(PIP) $(LOCKED)\n" in makefile
    for name in ("g3m", *groups):
        assert f"requirements/{name}.txt" in makefile
    for line in re.findall(r".*pip(?:\)| ) ?.*install .*", makefile, re.IGNORECASE):
        safe = "--require-hashes" in line or "--no-deps" in line or "requirements/torch.txt" in line
        assert safe or "bench/" in line or line.startswith("#"), line


def test_no_tracked_file_names_a_registry() -> None:
    """What is installed names no address, and no file says where to fetch: pip's own settings decide."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = (
        subprocess.run(listed, cwd=ROOT, capture_output=True, check=True, timeout=60)
        .stdout.decode()
        .split("\0")
    )
    setting = re.compile(
        r"--(extra-)?index-url|--find-links|(PIP|UV)_[A-Z_]*INDEX|https?://[\w.-]*pypi", re.IGNORECASE
    )
    for name in filter(None, names):
        path = ROOT / name
        if path != Path(__file__) and path.is_file():
            text = path.read_bytes().decode("utf-8", "replace")
            assert not setting.search(text), name
            if name.startswith(("requirements/", "Makefile", ".ci/", "tools/")):
                assert "://" not in text, name


def test_known_weaknesses_are_not_allowed() -> None:
    """The lowest version that pyproject.toml allows of each package is at or above the one free of what is known."""
    direct = {}
    for line in (line for name, line in asked() if name == "g3m" or line in _extras()):
        wanted = Requirement(line)
        (direct[canonicalize_name(wanted.name)],) = [one for one in wanted.specifier if one.operator == ">="]
    for name, package in minimum().items():
        if name in direct:
            assert Version(direct[name].version) >= Version(package["version"]), name
    assert set(minimum()) & set(direct) >= {
        "certifi",
        "jinja2",
        "pillow",
        "pyarrow",
        "pycurl",
        "ray",
        "starlette",
        "torch",
    }


def _extras() -> list[str]:
    return [line for lines in project()["project"]["optional-dependencies"].values() for line in lines]


def test_known_weaknesses_are_not_locked() -> None:
    """No locked version, for any Python, is below the one free of what is known; every entry is still of use."""
    seen = set()
    for path in FILES:
        for package, _ in locked(path):
            (version,) = package.specifier
            if package.name in minimum():
                seen.add(package.name)
                assert Version(version.version) >= Version(minimum()[package.name]["version"]), package
    assert seen == set(minimum())


def test_every_minimum_has_its_reason() -> None:
    """Each entry names published advisories, the day of the repair and what it means to g3m; sorted by name."""
    assert list(minimum()) == sorted(minimum())
    for package in minimum().values():
        assert package["advisories"] == sorted(package["advisories"], key=_number)
        assert all(re.fullmatch(r"CVE-20\d\d-\d{4,}", number) for number in package["advisories"])
        assert package["released"].year >= 2023
        assert package["note"].endswith(".")


def _number(advisory: str) -> list[int]:
    return [int(part) for part in advisory.split("-")[1:]]


def test_what_is_imported_is_asked_for() -> None:
    """src/g3m imports nothing that its own requirements and extras do not name or bring."""
    runtime = [line for name, line in asked() if name == "g3m" or line in _extras()]
    known = {canonicalize_name(Requirement(line).name).replace("-", "_") for line in runtime}
    known |= {"PIL", "markupsafe", "numpy"}  # Pillow; brought by jinja2; brought by simplejpeg
    known |= {"torchcodec", "torchvision"}  # looked for, not needed
    own = {*sys.stdlib_module_names, "g3m", "tomllib"}
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for name in names:
                assert name.partition(".")[0] in known | own, f"{path}: {name}"


def test_a_marker_means_the_same_on_every_machine() -> None:
    """Markers of the lock are evaluated for five Pythons on three machines, which differ as they should."""
    assert len(PLACES) == 15
    assert sum(Marker("python_version < '3.11'").evaluate(place) for place in PLACES) == 3
    assert sum(Marker("sys_platform == 'linux'").evaluate(place) for place in PLACES) == 10
