"""Do the tests of g3m/core notice small faults? python -m tests.mutation [--sample N] [--seed N] [MODULE ...]

A fault is planted in a copy of the repository, the tests nearest to the module run there, and stop at the
first that fails: then the mutant is killed. One that lives is a fault that nobody would notice.
`equivalent.txt` holds those that change nothing, with the reason. Not for here: which faults (mutants.py).
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import random
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.mutation.mutants import Mutant, Mutants
from tests.mutation.trial import outcome, quick_outcomes
from tests.realdata import REAL

ROOT = Path(__file__).resolve().parents[2]
CORE = Path("src/g3m/core")
EQUIVALENT = Path(__file__).with_name("equivalent.txt")

FURTHER = {
    "alike": ["tests/steps/test_alike.py"],
    "gathering": ["tests/steps/test_layout.py", "tests/steps/test_resolve.py"],
    "indexing": ["tests/steps/test_index.py"],
    "shard": ["tests/steps/test_pack.py"],
    "toml_table": ["tests/core/test_recipe.py", "tests/core/test_settings.py"],
    "frames": ["tests/core/test_structure.py"],
}
"""Tests of modules that those of tests/core do not name: asked last."""


def main() -> int:
    """Plants faults, one at a time, and says how many were noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="of g3m/core, all if none is named")
    parser.add_argument(
        "--sample", type=int, metavar="N", help="so many mutants of all modules, chosen by chance"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a file that takes each result as a line of JSON")
    parser.add_argument("--near", action="store_true", help="ask the module's own tests only, which is fast")
    parser.add_argument(
        "--again", type=Path, metavar="FILE", help="only those that lived, by an earlier --out"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="g3m-mutation-") as folder:
        copy = Path(folder)
        _copy_repository(copy)
        _enter(copy)
        names = options.modules or sorted(path.stem for path in CORE.glob("*.py") if path.stem != "__init__")
        chosen = list(_chosen(names, options.again))
        if options.sample is not None and options.sample < len(chosen):
            chosen = random.Random(options.seed).sample(chosen, options.sample)
        results = _judge(chosen, options.out, near=options.near)
    _report(results)
    return 1 if any(outcome == "lives" for outcome in results.values()) else 0


def _copy_repository(copy: Path) -> None:
    for name in ("src", "tests", "docs", "bench"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy2(path, copy)


def _enter(copy: Path) -> None:
    """From here on, and in all processes, g3m is that of the copy; what all tests need is imported once."""
    os.chdir(copy)
    sys.path.insert(0, str(copy / "src"))
    os.environ["PYTHONPATH"] = str(copy / "src")
    os.environ.setdefault("G3M_REALDATA", str(REAL))
    for name in [name for name in sys.modules if name == "tests" or name.startswith("tests.")]:
        del sys.modules[name]
    sys.path[:] = [entry for entry in sys.path if entry not in ("", str(ROOT))]
    for name in (
        "pytest",
        "hypothesis",
        "hypothesis.strategies",
        "_pytest.doctest",
        "_hypothesis_pytestplugin",
    ):
        importlib.import_module(name)


def _chosen(names: list[str], again: Path | None) -> Iterator[tuple[Mutants, int]]:
    equivalent = {line for line in EQUIVALENT.read_text("utf-8").splitlines() if "  =>  " in line}
    told = map(json.loads, again.read_text("utf-8").splitlines()) if again is not None else ()
    lived = {one["name"] for one in told if one["outcome"] == "lives"}
    for name in names:
        mutants = Mutants(name, (CORE / f"{name}.py").read_text("utf-8"))
        for number, mutant in enumerate(mutants.names):
            if mutant not in equivalent and (again is None or mutant in lived):
                yield mutants, number
        if gone := [
            line for line in equivalent if line.startswith(f"{name}: ") and line not in mutants.names
        ]:
            print(f"equivalent.txt names what is no mutant any more: {gone}")


def _judge(chosen: list[tuple[Mutants, int]], out: Path | None, *, near: bool) -> dict[tuple[str, str], str]:
    results: dict[tuple[str, str], str] = {}

    def note(mutants: Mutants, number: int, found: str) -> None:
        name = mutants.names[number]
        results[mutants.module, name] = found
        if found == "lives":
            print(name, flush=True)
        if out is not None:
            with out.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"module": mutants.module, "name": name, "outcome": found}) + "\n")

    for mutants in {id(mutants): mutants for mutants, _ in chosen}.values():
        numbers = [number for whose, number in chosen if whose is mutants]
        rounds = _rounds(mutants.module)[: 1 if near else None]
        limit_s = _limit_s(*rounds[0])
        if limit_s is not None:
            for number, found in quick_outcomes(mutants, list(numbers), rounds[0], limit_s):
                note(mutants, number, found)
                numbers.remove(number)
        for number in numbers:
            note(mutants, number, _in_file(mutants[number], rounds))
    return results


def _in_file(mutant: Mutant, rounds: list[list[str]]) -> str:
    """What becomes of a mutant that stands in the file of its module."""
    path = CORE / f"{mutant.module}.py"
    original = path.read_text("utf-8")
    for tests in rounds:
        limit_s = _limit_s(*tests)
        if limit_s is not None:
            _write(path, mutant.source)
            found, _ = outcome(tests, limit_s)
            _write(path, original)
            if found != "lives":
                return found
    return "lives"


@cache
def _limit_s(*tests: str) -> int | None:
    """How long tests may compute before they count as endless: twice what they need and a little more, without a fault."""
    found, cpu_s = outcome(tests, 600)
    if found != "lives":
        print(f"not asked, because they fail without a fault: {tests}", flush=True)
        return None
    return round(5 + 2 * cpu_s)


def _write(path: Path, source: str) -> None:
    """A module's source, and nothing compiled: two mutants may have the same size and second."""
    path.write_text(source, "utf-8")
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
        compiled.unlink()


@cache
def _rounds(module: str) -> list[list[str]]:
    """The tests that may notice a fault of a module: its own, those of core that import it, those of others."""
    named = re.compile(rf"from g3m\.core import .*\b{module}\b|g3m\.core\.{module}\b")
    paths = sorted(Path("tests/core").glob("test_*.py"))
    own = [str(path) for path in paths if re.fullmatch(rf"test_{module}(_.*)?\.py", path.name)]
    others = [str(path) for path in paths if named.search(path.read_text("utf-8")) and str(path) not in own]
    rounds = [tests for tests in (own, others, FURTHER.get(module, [])) if tests]
    # Not alone, because options of the conftest beside the tests hold for the examples of the module, too.
    return [[str(CORE / f"{module}.py"), *rounds[0]], *rounds[1:]]


def _report(results: dict[tuple[str, str], str]) -> None:
    counted = Counter((module, outcome) for (module, _), outcome in results.items())
    print(f"{'module':14} {'mutants':>8} {'killed':>8} {'endless':>8} {'live':>6}  killed or endless (95 %)")
    for module in [*sorted({module for module, _ in results}), "all"]:
        killed, endless, lives = (
            sum(
                count
                for (name, kind), count in counted.items()
                if kind == outcome and module in (name, "all")
            )
            for outcome in ("killed", "endless", "lives")
        )
        whole = killed + endless + lives
        low, high = _interval(killed + endless, whole)
        print(
            f"{module:14} {whole:8} {killed:8} {endless:8} {lives:6}  {(killed + endless) / whole:.1%} ({low:.1%} to {high:.1%})"
        )


def _interval(hits: int, whole: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's interval for a share."""
    share = hits / whole
    middle = (share + z * z / (2 * whole)) / (1 + z * z / whole)
    half = z * math.sqrt(share * (1 - share) / whole + z * z / (4 * whole * whole)) / (1 + z * z / whole)
    return middle - half, middle + half


if __name__ == "__main__":
    raise SystemExit(main())
