"""Rounds of `g3m gather` over thousands of rows, one in twenty of which never comes.

Where processes alone are killed, the end is the same bytes. Where the network fails too, rows may fail for its sake:
then they are asked for again in peace, and in the end every row has the outcome that it has undisturbed, once.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from tests.runners.lists import Gathered, same_files
from tests.soak.adversary import Adversary
from tests.soak.gets import documents
from tests.soak.scene import BY_SIGNAL, Scene, Seat
from tests.whole.disk import check_all_whole, litter

from g3m.core.outcomes import may_succeed

MOST_RUNS = 30
NAMED = {0, 3, 5, *BY_SIGNAL}
SIDE = "96"

Outcomes = dict[int, tuple[str, str]]
"""Of every row the reason, or nothing and a digest of its sample."""


def outcomes(folder: Path) -> Outcomes:
    """What became of each row; AssertionError if something does not add up, or a row has two samples."""
    made = Gathered(folder)
    made.check_counts()
    found: Outcomes = {}
    for table in made.tables:
        for row in table:
            earlier = found.get(row["row"])
            assert earlier is None or earlier[0], (
                f"row {row['row']} was asked for again although it was there"
            )
            digest = ""
            if not row["reason"]:
                parts = made.samples[row["key"]]
                content = parts["jpg"] + b"\0" + parts["txt"]
                digest = hashlib.sha256(content).hexdigest()
            found[row["row"]] = (row["reason"], digest)
    return found


@dataclass
class Gathers:
    """`to` is made anew in every round."""

    scene: Scene
    seat: Seat
    adversary: Adversary
    expected: Outcomes = field(default_factory=dict)
    expected_documents: set[str] = field(default_factory=set)
    patience: int = 8
    """So many runs of a round may be disturbed."""

    @property
    def reference(self) -> Path:
        return self.scene.folder / "undisturbed/gathered"

    @property
    def to(self) -> Path:
        return self.scene.folder / "disturbed/gathered"

    def _words(self, to: Path, *more: str) -> list[str]:
        source = self.scene.folder / "list.jsonl"
        words = ["gather", str(source), "--to", str(to), "--task-rows", str(self.scene.size.task_rows)]
        words += ["--image-size", SIDE, "--requests", "16", "--per-host", "4", "--json", "--jobs", "2"]
        return self.scene.g3m(*words, *more)

    def refer(self) -> None:
        """Gather undisturbed, once."""
        code = self.seat.run(self._words(self.reference), self.scene.folder / "logs/gather-reference")
        assert code == 0, f"the undisturbed gather ended with {code}"
        self.expected = outcomes(self.reference)
        self.expected_documents = documents(self.reference)

    def round(self, number: int) -> None:
        """One list from nothing to the end."""
        is_cut_off = bool(number % 2)
        shutil.rmtree(self.to, ignore_errors=True)
        self.adversary.expose(self.seat, "kill", "worker", *["network", "pictures"] * is_cut_off)
        label = f"gather-{number}"
        if not self._run_to_end(label):
            return
        self.adversary.expose(self.seat)
        again = 0
        while self._is_worth_another(label):
            again += 1
            log = self.scene.folder / f"logs/{label}-again-{again}"
            code = self.seat.run(self._words(self.to, "--retry-failed"), log)
            self.scene.tally.count(f"gather --retry-failed ended with: {code}")
            if code or again > MOST_RUNS:
                self.scene.tally.fail(f"{label}: asking again ended with {code} the {again}. time")
                return
        self._compare(label, again)
        self.scene.tally.count("rounds: gather")

    def _run_to_end(self, label: str) -> bool:
        for attempt in range(MOST_RUNS):
            if attempt == self.patience:
                self.adversary.expose(self.seat)
            log = self.scene.folder / f"logs/{label}-{attempt}"
            code = self.seat.run(self._words(self.to), log)
            self.scene.tally.count(f"gather ended with: {code}")
            if code not in NAMED:
                self.scene.tally.fail(f"{label} ended with {code}")
            try:
                check_all_whole(self.to)
            except AssertionError as error:
                self.scene.tally.fail(f"{label}: {error}")
            if code == 0:
                return True
        self.scene.tally.fail(f"{label} did not come to its end in {MOST_RUNS} runs")
        return False

    def _outcomes(self, label: str) -> Outcomes:
        try:
            return outcomes(self.to)
        except AssertionError as error:
            self.scene.tally.fail(f"{label}: {error}")
            return {}

    def _is_worth_another(self, label: str) -> bool:
        """Whether a row failed that comes undisturbed, for a reason that may pass."""
        found = self._outcomes(label)
        return any(own[0] and may_succeed(own[0]) and own != self.expected[row] for row, own in found.items())

    def _compare(self, label: str, again: int) -> None:
        tally = self.scene.tally
        found = self._outcomes(label)
        if found != self.expected:
            rows = [row for row in self.expected if found.get(row) != self.expected[row]]
            told = [(row, found.get(row), self.expected[row]) for row in rows[:5]]
            tally.fail(f"{label}: {len(rows)} rows have another outcome: {told}")
        if again:
            tally.count("gather rounds asked again")
        else:
            if names := same_files(self.reference, self.to):
                tally.fail(f"{label}: other bytes: {names}")
            if other := documents(self.to) ^ self.expected_documents:
                tally.fail(f"{label}: .g3m holds, or lacks: {sorted(other)}")
            tally.count("gather rounds with the same bytes")
        if left := litter(self.to):
            tally.fail(f"{label}: left over: {left}")
        words = ["verify", "--structure", "--quiet", "--root", str(self.to)]
        code = self.seat.run(self.scene.g3m(*words), self.scene.folder / f"logs/{label}-verify")
        if code:
            tally.fail(f"{label}: verify ended with {code}")
        tally.count("rows: gather", len(found))
        tally.count("bytes: gather", sum(path.stat().st_size for path in self.to.glob("*.tar")))
