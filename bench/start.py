"""How long `g3m --help` and `import g3m` take, beside Python itself: people type help often.

python bench/start.py [--times 15]
"""

from __future__ import annotations

import argparse
import sys
from importlib import metadata
from pathlib import Path

from machine import describe, middle, run

COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import click": [sys.executable, "-c", "import click"],
    "import g3m": [sys.executable, "-c", "import g3m"],
    "g3m --help": [sys.executable, "-m", "g3m", "--help"],
    "g3m list": [sys.executable, "-m", "g3m", "list"],
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=15)
    times = parser.parse_args().times
    print(f"g3m {metadata.version('g3m')}, median of {times} runs after one warm-up\n{describe(Path('.'))}")
    print("\n| what | wall s | times python |\n|---|--:|--:|")
    for command in COMMANDS.values():
        run(command)
    walls: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(times):
        for name, command in COMMANDS.items():
            walls[name].append(run(command).wall_s)
    floor = middle(walls["python -c pass"])
    for name, several in walls.items():
        print(f"| {name} | {middle(several):.3f} | {middle(several) / floor:.1f} |")


if __name__ == "__main__":
    main()
