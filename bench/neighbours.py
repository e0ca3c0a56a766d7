"""Does each neighbour's own package load what `g3m export` says? A table of versions and counts.

python bench/neighbours.py [PEER...]     every peer by default; needs the package index at the first run

Two trees: the six datasets of the lab, and an odd one: a root whose name has blanks, quotes and braces,
shards that are not numbered on, pictures that are no JPEG, and foreign tars with an index and no manifest.
Every sample that a peer gives is compared with the tars themselves (read by tarfile): key, caption, and the
picture's digest where the peer hands out its bytes. Exit 1 if one differs. The peers' environments live
under .cache/bench-neighbours.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

import g3m.core.samples
from g3m.lab.world import World
from g3m.runners.export import export
from g3m.runners.run import get_in, make_session

BENCH = Path(__file__).resolve().parent
HOME = BENCH.parent / ".cache" / "bench-neighbours"
OWN = ("webdataset", "datasets")
"""Peers that are installed beside the tests."""

ODD = "odd 'root' \"of\" {a,b} and {0..3}"

Row = tuple[str, ...]


@dataclass
class Tree:
    """A root with what its tars hold, by dataset: (key, caption, digest of the picture)."""

    name: str
    root: Path
    names: list[str]
    tars: dict[str, list[Path]]
    splits: dict[str, str]
    rows: dict[str, list[Row]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, paths in self.tars.items():
            self.rows[name] = [row for path in paths for row in read_tar(path)]
        for split in dict.fromkeys(self.splits.values()):
            members = [name for name in self.tars if self.splits[name] == split]
            self.rows[split] = [row for name in members for row in self.rows[name]]


def read_tar(path: Path) -> Iterator[Row]:
    found: dict[str, dict[str, bytes]] = {}
    with tarfile.open(path) as tar:
        for member in tar:
            stem, _, extension = member.name.partition(".")
            data = tar.extractfile(member)
            assert data is not None
            found.setdefault(stem, {})[extension] = data.read()
    for key, parts in found.items():
        picture = next(parts[name] for name in ("jpg", "png", "webp") if name in parts)
        yield key, parts["txt"].decode(), hashlib.sha256(picture).hexdigest()


def lab_tree(folder: Path) -> Tree:
    g3m.core.samples.SHARD_SAMPLES = 7
    with World(folder / "world") as world:
        root = folder / "data"
        session = make_session({**world.options, "root": str(root)}, world.variables)
        bodies = get_in(["all"], session, []).manifests
    tars = {name: [root / body.folder / one.name for one in body.shards] for name, body in bodies.items()}
    assert all(len(list(tars[name])) == len(body.shards) for name, body in bodies.items())
    splits = {name: "validation" if name.endswith("_valid") else "train" for name in bodies}
    tree = Tree("lab", root, [], tars, splits)
    assert {name: len(tree.rows[name]) for name in bodies} == {n: b.samples for n, b in bodies.items()}
    return tree


def odd_tree(folder: Path, lab: Tree) -> Tree:
    """Two datasets of the lab under an odd name, and foreign tars beside them, indexed by `g3m index`."""
    root = folder / ODD
    for name in ("coco", "cc3m"):
        own = lab.tars[name][0].parent
        shutil.copytree(
            own, root / own.relative_to(lab.root), ignore=shutil.ignore_patterns(".nv-meta", "*.idx")
        )
    foreign = root / "fore'ign {x}"
    foreign.mkdir()
    names = ["cc3m-train-0000.tar", "cc3m-train-0001.tar", "cc3m-train-0007.tar", "extra.tar"]
    for at, name in enumerate(names):
        foreign_tar(foreign / name, at)
    subprocess.run([sys.executable, "-m", "g3m", "index", str(foreign), "-q"], check=True)
    tars = {name: [root / path.relative_to(lab.root) for path in lab.tars[name]] for name in ("coco", "cc3m")}
    tars["fore_ign_x_"] = [foreign / name for name in names]
    splits = dict.fromkeys(tars, "train")
    return Tree("odd", root, ["coco", "cc3m", str(foreign)], tars, splits)


def foreign_tar(path: Path, number: int) -> None:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for at in range(3 + number):
            picture = io.BytesIO()
            Image.effect_noise((48, 40), 40 + at).convert("RGB").save(picture, "PNG")
            text = f"foreign {number} {at}".encode()
            for extension, data in (("png", picture.getvalue()), ("txt", text)):
                member = tarfile.TarInfo(f"{number:02d}{at:03d}.{extension}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


# One job a peer


def job(peer: str, tree: Tree, scratch: Path) -> dict[str, Any]:
    names, root = tree.names, str(tree.root)
    if peer == "webdataset":
        return {"text": export("webdataset", names, root=root).text}
    if peer == "open_clip":
        factors = {next(iter(tree.tars)): 2.0}
        own = {name: ["::".join(map(escape, paths))] for name, paths in tree.tars.items()}
        known = {
            name: one[0] for name, one in own.items() if (tree.tars[name][0].parent / "sizes.json").exists()
        }
        return {"text": export("open_clip", names, root=root, factors=factors).text, "single": known}
    if peer == "wids":
        export("wids", names, root=root)
        lists = {
            split: str(tree.root / f"wids-{split}.json") for split in dict.fromkeys(tree.splits.values())
        }
        folders = {name: paths[0].parent for name, paths in tree.tars.items()}
        own = {name: folder / "wids-meta.json" for name, folder in folders.items()}
        return {"lists": lists | {name: str(path) for name, path in own.items() if path.exists()}}
    if peer == "energon":
        export("energon", names, root=root)
        datasets = {name: (str(paths[0].parent), tree.splits[name]) for name, paths in tree.tars.items()}
        splits = list(dict.fromkeys(tree.splits.values()))
        return {"datasets": datasets, "blend": str(tree.root / "metadataset.yaml"), "splits": splits}
    export("hf", names, root=root)
    if peer == "datasets":
        return {"folder": root, "cache": str(scratch / "hf")}
    return {"path": str(tree.root / "croissant.json"), "names": list(tree.tars)}


def escape(path: Path) -> str:
    return str(path).replace("{", "\\{").replace("}", "\\}")


def interpreter(peer: str) -> str:
    """The peer's own Python, installed at the first run."""
    if peer in OWN:
        return sys.executable
    lines = (BENCH / "neighbours_peers.txt").read_text(encoding="utf-8").splitlines()
    wanted = next(line.partition(":")[2].split() for line in lines if line.startswith(f"{peer}:"))
    folder, done = HOME / peer, HOME / f"{peer}.installed"
    python = folder / "bin" / "python"
    if not done.exists() or done.read_text(encoding="utf-8") != " ".join(wanted):
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        plain = [one for one in wanted if not one.startswith("+")]
        # torch first and alone: asked for beside others, pip may take another build of it.
        steps = [plain[:1], plain, ["--no-deps", *(one[1:] for one in wanted if one.startswith("+"))]]
        for step in steps:
            if step != ["--no-deps"]:
                pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *step]
                subprocess.run(pip, check=True)
        done.write_text(" ".join(wanted), encoding="utf-8")
    return str(python)


def ask(peer: str, tree: Tree, scratch: Path) -> dict[str, Any]:
    """What the peer gave; an error of it is told with the end of what it wrote."""
    # mlcroissant keeps what it unpacked by the shards' relative paths, which are alike in both trees.
    home = str(scratch / f"home-{tree.name}")
    offline = {"HF_DATASETS_OFFLINE": "1", "HF_HUB_OFFLINE": "1", "HF_HOME": home, "HOME": home}
    quiet = {**offline, "OMP_NUM_THREADS": "1", "WIDS_CACHE": str(scratch / f"wids-{tree.name}")}
    Path(home).mkdir(exist_ok=True)
    done = subprocess.run(
        [
            interpreter(peer),
            str(BENCH / "neighbours_programs.py"),
            peer,
            json.dumps(job(peer, tree, scratch)),
        ],
        env={**os.environ, **quiet},
        cwd=scratch,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    if done.returncode:
        return {"version": "?", "gave": {}, "error": done.stderr.strip()[-1500:]}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def compare(tree: Tree, gave: dict[str, Any]) -> Iterator[tuple[str, int, int, bool]]:
    """For each dataset and split: its samples, how many came, and whether they are the same."""
    for name, rows in gave.items():
        if isinstance(rows, list):
            expected = tree.rows[name]
            width = len(rows[0]) if rows else 0
            keys = bool(rows) and bool(rows[0][0])
            mine = sorted(tuple(row[:width]) if keys else ("", row[1]) for row in expected)
            yield name, len(expected), len(rows), mine == sorted(tuple(row) for row in rows)
        elif isinstance(rows, int):
            expected_count = len(tree.rows[name.rpartition("-")[0]])
            yield name, expected_count, rows, rows == expected_count


def main() -> int:
    peers = sys.argv[1:] or ["webdataset", "datasets", "wids", "open_clip", "energon", "croissant"]
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="neighbours-") as place:
        scratch = Path(place)
        lab = lab_tree(scratch)
        trees = [lab, odd_tree(scratch, lab)]
        print("| peer | version | tree | what | samples | loaded | same |")
        print("| --- | --- | --- | --- | --: | --: | --- |")
        for peer in peers:
            for tree in trees:
                started_s = time.monotonic()
                answer = ask(peer, tree, scratch)
                if "error" in answer:
                    wrong += 1
                    print(f"| {peer} | | {tree.name} | failed | | | no |\n{answer['error']}")
                    continue
                for name, samples, loaded, same in compare(tree, answer["gave"]):
                    wrong += not same
                    shown = "yes" if same else "NO"
                    row = (peer, answer["version"], tree.name, name, samples, loaded, shown)
                    print(f"| {' | '.join(map(str, row))} |", flush=True)
                for name, weights in answer["gave"].items():
                    if isinstance(weights, dict):
                        print(f"{peer} {name}: {sorted(set(weights.values()))}", file=sys.stderr)
                print(f"{peer} {tree.name}: {time.monotonic() - started_s:.1f} s", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
