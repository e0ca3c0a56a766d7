"""Builds what is released from the last commit, twice, and compares; `make dist` puts it into dist/.

The second build lies elsewhere and has another umask, time zone and hash seed. The two files must hold what
git knows, and nothing else.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).resolve().parent.parent
ABOUT = ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")
"""What a wheel says of itself, in its folder .dist-info."""
OTHERWISE = {"TZ": "Asia/Shanghai", "PYTHONHASHSEED": "1"}


def main() -> int:
    """Build, compare and keep; 1 and a sentence where something differs."""
    with TemporaryDirectory() as place:
        built = []
        for number, (umask, variables) in enumerate([(0o022, {}), (0o077, OTHERWISE)]):
            source = Path(place) / f"source {number}"
            _run("git", "clone", "--quiet", "--no-hardlinks", str(HERE), str(source))
            built.append(build(source, Path(place) / str(number), umask, variables))
        problems = [
            f"{one.name} was built twice and differs"
            for one, two in zip(*built, strict=True)
            if digest(one) != digest(two)
        ]
        problems += [problem for file in built[0] for problem in surprises(file, known(HERE, "HEAD"))]
        for problem in problems:
            print(problem)
        if not problems:
            shutil.rmtree(HERE / "dist", ignore_errors=True)
            (HERE / "dist").mkdir()
            for file in built[0]:
                print(f"{digest(file)}  dist/{file.name}")
                shutil.copy(file, HERE / "dist")
    return 1 if problems else 0


def build(
    source: Path, folder: Path, umask: int = 0o022, variables: Mapping[str, str] | None = None
) -> list[Path]:
    """The archive and the wheel of a source tree, in a folder, with the time of the last commit."""
    time_s = subprocess.run(
        ["git", "log", "-1", "--format=%ct"],
        cwd=HERE, check=True, capture_output=True, text=True, timeout=60,
    ).stdout.strip()  # fmt: skip
    surrounding = {**os.environ, "SOURCE_DATE_EPOCH": time_s, **(variables or {})}
    _run(
        sys.executable,
        "-m",
        "hatchling",
        "build",
        "-d",
        str(folder),
        cwd=source,
        env=surrounding,
        umask=umask,
    )
    return sorted(folder.iterdir())


def known(tree: Path, commit: str = "") -> set[str]:
    """The files that git knows: of a commit, or those that a next commit could have."""
    which = ["ls-tree", "-r", "--name-only", commit] if commit else ["ls-files", "-co", "--exclude-standard"]
    names = subprocess.run(
        ["git", *which, "-z"],
        cwd=tree, check=True, capture_output=True, text=True, timeout=60,
    ).stdout.split("\0")  # fmt: skip
    return {name for name in names if name and (commit or (tree / name).is_file())}


def surprises(file: Path, names: set[str]) -> list[str]:
    """What is in an archive or wheel and should not be there, or the other way round."""
    if file.suffix == ".whl":
        with zipfile.ZipFile(file) as wheel:
            found = set(wheel.namelist())
        about = "-".join(file.name.split("-")[:2]) + ".dist-info"
        wanted = {name.removeprefix("src/") for name in names if name.startswith("src/g3m/")}
        wanted |= {f"{about}/{name}" for name in ABOUT}
    else:
        with tarfile.open(file) as archive:
            members = archive.getmembers()
        found = {member.name.partition("/")[2] for member in members}
        found |= {f"{member.name} (no plain file)" for member in members if not member.isreg()}
        wanted = {*names, "PKG-INFO"}
    return [f"{file.name}: {name}: unexpected" for name in sorted(found - wanted)] + [
        f"{file.name}: {name}: missing" for name in sorted(wanted - found)
    ]


def digest(file: Path) -> str:
    """The sha256 of a file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _run(*command: str, cwd: Path = HERE, env: Mapping[str, str] | None = None, umask: int = -1) -> None:
    subprocess.run(command, cwd=cwd, env=env, umask=umask, check=True, capture_output=True, timeout=600)


if __name__ == "__main__":
    sys.exit(main())
