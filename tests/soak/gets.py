"""Rounds of `g3m get`: a new root each, killed and cut off, and in the end the same bytes as undisturbed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from tests.netlab.ways import WAYS
from tests.soak.adversary import Adversary
from tests.soak.scene import BY_SIGNAL, Scene, Seat
from tests.whole.disk import check_all_whole, litter, tree

DATASETS = ("ready", "coco_valid")
MOST_RUNS = 30
NAMED = {0, 3, 4, 5, 7, *BY_SIGNAL}
"""How a run may end while routes fail and places lie; anything else is a defect."""

PASSING = (
    "lock",
    "terms.json",
    "g3m.sqlite",
    "network.json",
    ".kept",
    ".stream",
    "g3m.log",
    "events.jsonl",
    "verified.jsonl",
)
"""Documents of .g3m that depend on options, commands and routes, not on what was fetched."""


def documents(root: Path) -> set[str]:
    """What stands in .g3m and does not depend on how a run went."""
    work = root / ".g3m"
    names = {path.relative_to(work).as_posix() for path in work.rglob("*") if path.is_file()}
    return {name for name in names if not name.endswith(PASSING)}


@dataclass
class Gets:
    """`reference` is what nobody disturbed; `live` is made anew in every round."""

    scene: Scene
    seat: Seat
    adversary: Adversary
    live: Path
    peer: str = ""
    bwlimit: str = "off"
    expected: dict[str, str] = field(default_factory=dict)
    expected_documents: set[str] = field(default_factory=set)
    patience: int = 8
    """So many runs of a round may be disturbed."""

    def refer(self) -> Path:
        """Fetch undisturbed, once; what is fetched stays beside it for others to be had."""
        root = self.scene.files / "reference"
        for keep, where in ((True, root), (False, self.live)):
            words = ["get", *DATASETS, "--yes", "--quiet", "--root", str(where)]
            code = self.seat.run(
                self.scene.g3m(*words, *["--keep-assets"] * keep), self.scene.folder / "logs/reference"
            )
            assert code == 0, f"the undisturbed get ended with {code}"
        self.expected = tree(root)
        self.expected_documents = documents(self.live)
        return root

    def round(self, number: int) -> None:
        """One root from nothing to the end."""
        shutil.rmtree(self.live)
        self.adversary.expose(self.seat, "network", "kill", "worker")
        words = ["get", *DATASETS, "--yes", "--json", "--root", str(self.live), "--bwlimit", self.bwlimit]
        words += [
            "--jobs",
            str(1 + number % 2),
            *["--stream"] * (number % 3 == 1),
            *["--catalog"] * (number % 4 < 2),
        ]
        words += [
            word for name in ("squid", "tinyproxy", "microsocks") for word in ("--proxy", WAYS[name].url)
        ]
        words += ["--peer", self.peer] if self.peer and number % 2 else []
        label = f"get-{number}"
        for attempt in range(MOST_RUNS):
            if attempt == self.patience:
                self.adversary.expose(self.seat)
            code = self.seat.run(self.scene.g3m(*words), self.scene.folder / f"logs/{label}-{attempt}")
            self.scene.tally.count(f"get ended with: {code}")
            if code not in NAMED:
                self.scene.tally.fail(f"{label} ended with {code}")
            self._check_whole(label)
            if code == 0:
                break
        else:
            self.scene.tally.fail(f"{label} did not come to its end in {MOST_RUNS} runs")
            return
        self.adversary.expose(self.seat)
        self._compare(label)
        self.scene.tally.count("rounds: get")

    def _check_whole(self, label: str) -> None:
        if not self.live.exists():
            return
        try:
            check_all_whole(self.live)
        except AssertionError as error:
            self.scene.tally.fail(f"{label}: {error}")

    def _compare(self, label: str) -> None:
        tally = self.scene.tally
        found = tree(self.live)
        if found != self.expected:
            names = {
                name
                for name in found.keys() | self.expected.keys()
                if found.get(name) != self.expected.get(name)
            }
            tally.fail(f"{label}: other bytes: {sorted(names)}")
        if left := litter(self.live):
            tally.fail(f"{label}: left over: {left}")
        if other := documents(self.live) ^ self.expected_documents:
            tally.fail(f"{label}: .g3m holds, or lacks: {sorted(other)}")
        words = ["verify", "--structure", "--quiet", "--root", str(self.live)]
        code = self.seat.run(self.scene.g3m(*words), self.scene.folder / f"logs/{label}-verify")
        if code:
            tally.fail(f"{label}: verify ended with {code}")
        shards = sum(path.stat().st_size for path in self.live.rglob("*.tar"))
        tally.count("bytes: get", shards)
        tally.count("shards: get", sum(name.endswith(".tar") for name in found))
