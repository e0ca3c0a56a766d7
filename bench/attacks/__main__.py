"""The same hostile cases, given to g3m and to other programs, in one run on loopback.

    python -m bench.attacks [--group file list shard code] [--tool g3m ...] [--case TEXT ...] [--json FILE]
                            [--downloads VENV] [--gather VENV] [--readers VENV] [--folder DIR]

    file     one file from servers that lie; kill -9, a full disk, two processes
    list     a list of URLs with a bad row, and the same accidents
    shard    shards that are damaged
    code     shards that carry code

What a program did is judged from its exit code, its output and the bytes that it left; nothing is written
by hand. Tables go to stdout, in Markdown. It runs in a network namespace of its own, with a public address
and no way out; where that cannot be made, the lists are left out, and a limit on the size of files stands
for the full disk.

Peers: aria2c, curl and wget of the system; the others in environments of their own, as `make` makes them:

    .cache/bench           bench/peers.txt            hf
    .cache/bench-gather    bench/gather_peers.txt     img2dataset
    .cache/bench-attacks   bench/attacks_peers.txt    torchvision, webdataset
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.attacks import downloads, lists, shards
from bench.machine import describe

INSIDE = "G3M_BENCH_NAMESPACE"
VERSIONS = """
from importlib.metadata import PackageNotFoundError, version
for name in ("huggingface_hub", "img2dataset", "torch", "torchvision", "webdataset"):
    try:
        print(name, version(name))
    except PackageNotFoundError:
        pass
"""


@dataclass(frozen=True, slots=True)
class Group:
    """One table: its programs, its cases, and what runs a case with a program."""

    key: str
    title: str
    tools: Sequence[Any]
    cases: Callable[[], Sequence[tuple[str, Any]]]
    run: Callable[[Any, Any, Path], str]


def groups(options: argparse.Namespace) -> list[Group]:
    """All tables, with the programs that are here."""
    hf, gather, readers = (
        str(path / "bin" / name)
        for path, name in ((options.downloads, "hf"), (options.gather, "python"), (options.readers, "python"))
    )
    return [
        Group("file", "One file", downloads.tools(hf, readers), downloads.cases, downloads.run),
        Group("list", "A list of URLs", lists.tools(gather), lists.cases, lists.run),
        Group("shard", "Damaged shards", shards.readers(readers), shards.damages, shards.read_damaged),
        Group("code", "Shards that carry code", shards.runners(readers), shards.codes, shards.read_code),
    ]


def namespace() -> bool:
    """Start this program anew in a network and mount namespace, if there can be one; whether it is in one."""
    if INSIDE in os.environ:
        for words in ("ip link set lo up", f"ip addr add {lists.PUBLIC}/32 dev lo"):
            subprocess.run(words.split(), check=True)
        return True
    inner = ["unshare", "--map-root-user"] if os.geteuid() else ["unshare"]
    inner += ["--net", "--mount"]
    try:
        subprocess.run([*inner, "ip", "link", "set", "lo", "up"], check=True, capture_output=True)
        os.environ[INSIDE] = "1"
        os.execvp(inner[0], [*inner, sys.executable, "-m", "bench.attacks", *sys.argv[1:]])
    except (OSError, subprocess.CalledProcessError):
        return False


def versions(options: argparse.Namespace) -> list[str]:
    """What is compared, and on what machine."""
    asked = [[sys.executable, "-m", "g3m", "--version"]]
    asked += [[name, "--version"] for name in ("curl", "wget", "aria2c")]
    places = (options.downloads, options.gather, options.readers)
    asked += [[str(place / "bin" / "python"), "-c", VERSIONS] for place in places]
    lines = [describe(options.folder or Path(tempfile.gettempdir()))]
    for number, words in enumerate(asked):
        try:
            told = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            lines.append(f"{words[0]} is not here: left out")
            continue
        lines.append(", ".join(told.splitlines()) if number > 3 else told.splitlines()[0].partition(" (")[0])
    return lines


def wanted(group: Group, options: argparse.Namespace) -> tuple[list[Any], list[tuple[str, Any]]]:
    """The programs that are here and the cases, of those that were asked for."""
    tools = [tool for tool in group.tools if shutil.which(tool.needs)]
    tools = [tool for tool in tools if not options.tool or any(word in tool.name for word in options.tool)]
    cases = [
        pair for pair in group.cases() if not options.case or any(word in pair[0] for word in options.case)
    ]
    return tools, cases


def timed(group: Group, tool: Any, case: Any, folder: Path) -> tuple[str, float]:
    """What a program did, and how long it took."""
    started_s = time.monotonic()
    return group.run(tool, case, folder), time.monotonic() - started_s


def play(chosen: Sequence[Group], options: argparse.Namespace, folder: Path) -> list[dict[str, object]]:
    """Run all that is wanted, and print the tables; lists one at a time: their servers share addresses."""
    found: list[dict[str, object]] = []
    with ThreadPoolExecutor(1) as alone, ThreadPoolExecutor(options.at_once) as pool:
        work = [
            (
                group,
                tools,
                [
                    (
                        title,
                        [
                            (alone if group.key == "list" else pool).submit(
                                timed, group, tool, case, folder / f"{group.key}-{row}-{column}"
                            )
                            for column, tool in enumerate(tools)
                        ],
                    )
                    for row, (title, case) in enumerate(cases)
                ],
            )
            for group in chosen
            for tools, cases in [wanted(group, options)]
            if tools and cases
        ]
        for group, tools, rows in work:
            print(f"\n### {group.title}\n\n| case | {' | '.join(tool.name for tool in tools)} |")
            print("|---|" + "---|" * len(tools), flush=True)
            for title, waiting in rows:
                ends = [each.result() for each in waiting]
                print(f"| {title} | {' | '.join(verdict for verdict, _ in ends)} |", flush=True)
                for tool, (verdict, took_s) in zip(tools, ends, strict=True):
                    row = {"group": group.key, "case": title, "tool": tool.name, "verdict": verdict}
                    found.append({**row, "took_s": round(took_s, 1)})
    return found


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    cache = Path(__file__).parents[2] / ".cache"
    parser.add_argument("--group", nargs="+", default=["file", "list", "shard", "code"])
    parser.add_argument("--tool", nargs="+", default=[], help="programs whose name has one of these words")
    parser.add_argument("--case", nargs="+", default=[], help="cases whose title has one of these words")
    parser.add_argument("--at-once", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--downloads", type=Path, default=cache / "bench")
    parser.add_argument("--gather", type=Path, default=cache / "bench-gather")
    parser.add_argument("--readers", type=Path, default=cache / "bench-attacks")
    return parser.parse_args(words)


def main() -> None:
    options = arguments()
    inside = namespace()
    print("\n".join(versions(options)), flush=True)
    chosen = [group for group in groups(options) if group.key in options.group]
    if not inside and "list" in options.group:
        chosen = [group for group in chosen if group.key != "list"]
        print("The lists are left out: no network namespace can be made here (unshare --net).")
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="g3m-bench-") as temporary:
        tempfile.tempdir = temporary
        found = play(chosen, options, Path(temporary))
    if options.json:
        machine = {"machine": platform.node(), "versions": versions(options)}
        options.json.write_text(json.dumps({**machine, "found": found}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
