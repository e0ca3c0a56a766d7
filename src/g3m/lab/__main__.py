"""Draw all sources into a folder and serve them until Ctrl-C: `python -m g3m.lab FOLDER`."""

from __future__ import annotations

import argparse
import threading
from pathlib import Path

from g3m.lab.world import World


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m g3m.lab", description=__doc__)
    parser.add_argument("folder", type=Path, help="where to draw; existing files are drawn anew")
    parser.add_argument("--port", type=int, default=0, help="port of the site (default: a free one)")
    parser.add_argument("--samples", type=int, default=24, help="samples per source (default: 24)")
    parser.add_argument("--sbu-form", type=int, default=1, choices=range(1, 9), metavar="1..8")
    options = parser.parse_args(arguments)
    with World(options.folder, options.samples, options.sbu_form, options.port) as world:
        config = options.folder / "g3m.toml"
        config.write_text(world.config(), encoding="utf-8")
        exports = " ".join(f"{name}={value}" for name, value in world.variables.items())
        print(f"The local internet is up at {world.origin.url}. In another shell:\n")
        print(f"  cd {options.folder} && {exports} g3m get all\n\nCtrl-C ends it.", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print("closed")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
