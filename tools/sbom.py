"""Writes dist/g3m-VERSION.cdx.json: the parts of g3m and of what it needs, as CycloneDX; see `make sbom`.

    .venv/bin/python -m tools.sbom ENVIRONMENT

The environment holds g3m and requirements/g3m.txt and nothing else. What is written must name each of these,
with its version, no other, and no place of this machine.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from packaging.markers import default_environment
from packaging.utils import canonicalize_name
from tools.lock import FOLDER, locked

from g3m import __version__

HERE = Path(__file__).resolve().parent.parent


def main(environment: str) -> int:
    """Write it and check it; 1 and a sentence for each part that is wrong."""
    command = [sys.executable, "-m", "cyclonedx_py", "environment", environment]
    options = ["--pyproject", "pyproject.toml", "--output-format", "JSON", "--output-reproducible"]
    made = subprocess.run([*command, *options], cwd=HERE, check=True, capture_output=True, timeout=300)
    document = json.loads(made.stdout)
    document["metadata"]["component"]["version"] = __version__  # which pyproject.toml leaves to hatchling
    wrong = problems(document, needed())
    for problem in wrong:
        print(problem)
    if not wrong:
        path = HERE / "dist" / f"g3m-{__version__}.cdx.json"
        path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        print(f"dist/{path.name}: g3m and {len(document['components'])} parts")
    return 1 if wrong else 0


def needed() -> dict[str, str]:
    """What g3m needs on this Python and machine, by the lock: names and versions."""
    here = {name: str(value) for name, value in default_environment().items()}
    return {
        package.name: next(iter(package.specifier)).version
        for package, _ in locked(FOLDER / "g3m.txt")
        if package.marker is None or package.marker.evaluate(here)
    }


def problems(document: dict[str, Any], wanted: dict[str, str]) -> list[str]:
    """What a list of parts lacks, has too much or says wrong."""
    parts = document.get("components", ())
    found: dict[str, str] = {canonicalize_name(part["name"]): part["version"] for part in parts}
    lines = [f"{name} {version} is not listed" for name, version in wanted.items() if name not in found]
    lines += [f"{name} is listed and not needed" for name in found if name not in wanted]
    lines += [
        f"{name} {found[name]} is listed, and {version} is locked"
        for name, version in wanted.items()
        if found.get(name, version) != version
    ]
    if "file:" in json.dumps(document):
        lines.append("a place of this machine is named")
    return lines


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
