"""Follow the branches of the parsers with atheris: `python -m tests.fuzz SECONDS [TARGET...]`, each in a process of its own.

What a target is and where it begins is in targets.py. An input that makes one fail is shown, and lies in
`.cache/fuzz/TARGET/` with the inputs that reached new branches, from which the next time goes on.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CORPUS = Path(".cache/fuzz")
MOST_BYTES = 4096
LIMIT_S = 20
"""One input that takes longer is a find."""


def fuzz(name: str, seconds: str) -> None:
    """Fuzz one target in this process, which ends with it."""
    import atheris

    with atheris.instrument_imports(include=["g3m"]):
        from tests.fuzz.targets import TARGETS

    target, folder = TARGETS[name], CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (folder / f"seed-{number}").write_bytes(seed)
    limits = [
        f"-max_total_time={seconds}",
        f"-max_len={MOST_BYTES}",
        f"-timeout={LIMIT_S}",
        "-rss_limit_mb=2048",
    ]
    atheris.Setup(
        [name, str(folder), *limits, f"-artifact_prefix={folder}/", "-print_final_stats=1"], target.run
    )
    atheris.Fuzz()


def main(seconds: str, names: list[str]) -> int:
    """Fuzz the targets one after another; how many failed."""
    from tests.fuzz.targets import TARGETS

    failed = []
    for name in names or TARGETS:
        print(f"== {name}", flush=True)
        command = [sys.executable, "-m", "tests.fuzz", "--one", name, seconds]
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
    print("failed: " + ", ".join(failed) if failed else "nothing failed")
    return len(failed)


if __name__ == "__main__":
    if sys.argv[1] == "--one":
        fuzz(sys.argv[2], sys.argv[3])
    else:
        sys.exit(main(sys.argv[1], sys.argv[2:]))
