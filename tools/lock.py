"""Writes requirements/*.txt: what `make` installs, each with its exact version and the digests of its wheels.

    make lock                                 # after a change of pyproject.toml; versions stay as they are
    .venv/bin/python -m tools.lock --upgrade  # the newest that pyproject.toml allows

uv resolves once for all Pythons and machines below. Names, versions, markers and digests are kept, and no
address, so that any index or mirror can serve the files. How they are installed, the Makefile says.
"""

from __future__ import annotations

import argparse
import itertools
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.markers import Marker, default_environment
from packaging.requirements import Requirement
from packaging.tags import Tag
from packaging.utils import parse_wheel_filename

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).resolve().parent.parent
FOLDER = HERE / "requirements"
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
MACHINES = (("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"))
BY_VERSION = re.compile(r"torch|triton|(nvidia|cuda)-.+")
"""Not by digest: torch is built with CUDA and without under one version, and names what its build needs.

`torch` is written to a file of its own; the others come with it, where it asks for them."""

HEAD = """\
# {what}, for Python {first} to {last} on Linux (x86-64, ARM) and macOS (ARM).
# Exact versions with the digests of their wheels, and no addresses. Made by tools/lock.py: CONTRIBUTING.md.
"""
TORCH_HEAD = """\
# By version and without digests, alone of all: torch is built with CUDA and without under one version, and
# pip takes the build that it is offered. What else torch needs is in test.txt, apart from CUDA's packages.
# Made by tools/lock.py: CONTRIBUTING.md.
"""


def main() -> None:
    """Write every file anew."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--upgrade", action="store_true", help="the newest versions instead of those that stand"
    )
    upgrade = parser.parse_args().upgrade
    project = (HERE / "pyproject.toml").read_text(encoding="utf-8")
    groups = sorted(tomllib.loads(project)["dependency-groups"])
    FOLDER.mkdir(exist_ok=True)
    with TemporaryDirectory() as place:
        work = Path(place)
        (work / "pyproject.toml").write_text(
            f"{project}\n[tool.uv]\nenvironments = {_environments()}\n", encoding="utf-8"
        )
        (work / "all.txt").write_text("" if upgrade else _standing(), encoding="utf-8")
        every = [argument for group in groups for argument in ("--group", group)]
        _compile(work, "pyproject.toml", "--all-extras", *every, "--output-file", "all.txt")
        _write(work, "g3m", "What g3m needs", ["pyproject.toml"])
        for group in groups:
            _write(work, group, f"The group {group} of pyproject.toml", ["--group", group])


def locked(path: Path) -> list[tuple[Requirement, list[str]]]:
    """What a file of requirements/ holds: each package with its digests."""
    whole = path.read_text(encoding="utf-8").replace("\\\n", "")
    lines = (line.split("--hash=") for line in whole.splitlines() if line and not line.startswith("#"))
    return [(Requirement(first), [digest.strip() for digest in rest]) for first, *rest in lines]


def environments() -> list[dict[str, str]]:
    """The Pythons and machines that are locked for, as markers see them."""
    return [
        {
            **{name: str(value) for name, value in default_environment().items()},
            "python_version": python,
            "python_full_version": f"{python}.0",
            "sys_platform": system,
            "platform_system": system.capitalize(),
            "platform_machine": machine,
            "os_name": "posix",
            "implementation_name": "cpython",
            "platform_python_implementation": "CPython",
        }
        for python, (system, machine) in itertools.product(PYTHONS, MACHINES)
    ]


def _environments() -> list[str]:
    which = f"platform_python_implementation == 'CPython' and python_version < '3.{int(PYTHONS[-1][2:]) + 1}'"
    return [
        f"sys_platform == '{system}' and platform_machine == '{machine}' and {which}"
        for system, machine in MACHINES
    ]


def _standing() -> str:
    return "".join(f"{package}\n" for path in sorted(FOLDER.glob("*.txt")) for package, _ in locked(path))


def _compile(work: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "uv", "--quiet", "--no-python-downloads", "pip", "compile"]
    options = ["--universal", "--no-build", "--no-header", "--no-annotate", "--python-version", PYTHONS[0]]
    subprocess.run(
        [*command, *options, *arguments], cwd=work, check=True, stdout=subprocess.DEVNULL, timeout=600
    )


def _write(work: Path, name: str, what: str, arguments: list[str]) -> None:
    output = f"pylock.{name}.toml"
    _compile(work, *arguments, "--constraint", "all.txt", "--format", "pylock.toml", "--output-file", output)
    packages: list[dict[str, Any]] = tomllib.loads((work / output).read_text(encoding="utf-8"))["packages"]
    lines = [HEAD.format(what=what, first=PYTHONS[0], last=PYTHONS[-1])]
    for package in packages:
        line = f"{package['name']}=={package['version']}"
        marker = _marker(package.get("marker"))
        line += f" ; {marker}" if marker else ""
        if package["name"] == "torch":
            (FOLDER / "torch.txt").write_text(f"{TORCH_HEAD}\n{line}\n", encoding="utf-8")
        if not BY_VERSION.fullmatch(package["name"]):
            lines.append(
                " \\\n".join([line, *(f"    --hash=sha256:{digest}" for digest in _digests(package))])
            )
    (FOLDER / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _digests(package: dict[str, Any]) -> list[str]:
    found = [wheel["hashes"]["sha256"] for wheel in package.get("wheels", ()) if _fits(_file_name(wheel))]
    if not found:
        raise SystemExit(
            f"{package['name']} {package['version']} has no wheel for any Python and machine of ours"
        )
    return sorted(found)


def _file_name(wheel: dict[str, Any]) -> str:
    return str(wheel.get("name") or unquote(urlsplit(wheel["url"]).path).rpartition("/")[2])


def _fits(name: str) -> bool:
    return any(_runs(tag) for tag in parse_wheel_filename(name)[3])


def _runs(tag: Tag) -> bool:
    ours = re.fullmatch(r"any|manylinux.*_(x86_64|aarch64)|macosx.*_(arm64|universal2)", tag.platform)
    numbers = {python.replace(".", "") for python in PYTHONS}
    exact = tag.interpreter.removeprefix("cp") in numbers and tag.abi == tag.interpreter
    stable = tag.abi in ("abi3", "none") and re.fullmatch(r"py3\d*|py2|cp3\d*", tag.interpreter)
    return bool(ours and (exact or stable))


def _marker(text: str | None) -> str:
    """The plainest marker that means the same on every Python and machine of ours."""
    if text is None:
        return ""
    places = environments()
    wanted = [Marker(text).evaluate(place) for place in places]
    lows = ("", *(f"python_version >= '{python}'" for python in PYTHONS[1:]))
    highs = ("", *(f"python_version < '{python}'" for python in PYTHONS[1:]))
    systems = ("", "sys_platform == 'linux'", "sys_platform == 'darwin'")
    plain = (" and ".join(filter(None, parts)) for parts in itertools.product(systems, lows, highs))
    for candidate in sorted(plain, key=len):
        if [not candidate or Marker(candidate).evaluate(place) for place in places] == wanted:
            return candidate
    return text


if __name__ == "__main__":
    main()
